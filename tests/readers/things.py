"""Things of many files: how their own programs write and read them, each by its ordinary call.

    python things.py make NAME FOLDER
    python things.py read NAME FOLDER-OR-URL

Prints a line of JSON: {"sum": …} of what was written or read, or {"error": …} where it raised. $APART: a folder of
packages, which are looked for there last.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS = 4_000
TOTAL = ROWS * (ROWS - 1) // 2  # of 0, 1, 2, ...
MAKERS: dict[str, Callable[[str], None]] = {}
READERS: dict[str, Callable[[str], float]] = {}

Maker = Callable[[str], None]
Read = Callable[[str], float]


def maker(name: str) -> Callable[[Maker], Maker]:
    def register(make: Maker) -> Maker:
        MAKERS[name] = make
        return make

    return register


def reader(name: str) -> Callable[[Read], Read]:
    def register(read: Read) -> Read:
        READERS[name] = read
        return read

    return register


def numbers() -> Any:
    import numpy

    return numpy.arange(float(ROWS))


@maker("zarr")
def _(folder: str) -> None:
    import zarr

    array = zarr.create_array(folder, shape=(ROWS,), chunks=(ROWS // 8,), dtype="f8")
    array[:] = numbers()


@reader("zarr")
def _(url: str) -> float:
    import zarr

    return float(zarr.open_array(url, mode="r")[:].sum())


@maker("xarray")
def _(folder: str) -> None:
    import xarray

    xarray.Dataset({"t": ("x", numbers())}).to_zarr(folder, encoding={"t": {"chunks": (ROWS // 8,)}})


@reader("xarray")
def _(url: str) -> float:
    import xarray

    return float(xarray.open_zarr(url, chunks=None).t.sum())


@maker("safetensors")
def _(folder: str) -> None:
    from safetensors.numpy import save_file

    where = {}
    for number, part in enumerate(numbers().reshape(4, -1), start=1):
        name = f"model-{number:05}-of-00004.safetensors"
        save_file({f"t{number}": part}, Path(folder) / name)
        where[f"t{number}"] = name
    (Path(folder) / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


@reader("safetensors")
def _(url: str) -> float:
    import fsspec
    from safetensors.numpy import load

    total = 0.0
    with fsspec.open(f"{url}/model.safetensors.index.json") as index:
        shards = sorted(set(json.load(index)["weight_map"].values()))
    for shard in shards:
        with fsspec.open(f"{url}/{shard}") as file:
            total += sum(float(tensor.sum()) for tensor in load(file.read()).values())
    return total


@maker("deltalake")
def _(folder: str) -> None:
    import pyarrow
    from deltalake import write_deltalake

    for part in numbers().reshape(4, -1):
        write_deltalake(folder, pyarrow.table({"n": part}), mode="append")


@reader("deltalake")
def _(url: str) -> float:
    """Its log is copied, since deltalake reads that by itself; the data is not."""
    import fsspec
    from deltalake import DeltaTable
    from pyarrow.fs import FSSpecHandler, PyFileSystem, SubTreeFileSystem

    files, folder = fsspec.url_to_fs(url)
    with tempfile.TemporaryDirectory() as place:
        files.get(f"{folder}/_delta_log", f"{place}/_delta_log", recursive=True)
        data = SubTreeFileSystem(folder, PyFileSystem(FSSpecHandler(files)))
        table = DeltaTable(place).to_pyarrow_dataset(filesystem=data).to_table()
    return float(table["n"].to_numpy().sum())


@maker("pyiceberg")
def _(folder: str) -> None:
    import pyarrow
    from pyiceberg.catalog.memory import InMemoryCatalog

    catalog = InMemoryCatalog("x", warehouse=f"file://{Path(folder).parent}")
    catalog.create_namespace("n")
    table = catalog.create_table("n.t", schema=pyarrow.schema([("n", pyarrow.float64())]), location=f"file://{folder}")
    for part in numbers().reshape(4, -1):
        table.append(pyarrow.table({"n": part}))


@reader("pyiceberg")
def _(url: str) -> float:
    import fsspec
    from pyiceberg.table import StaticTable

    files, folder = fsspec.url_to_fs(url)
    newest = files.unstrip_protocol(max(files.glob(f"{folder}/metadata/*.metadata.json")))
    through = {"py-io-impl": "storaged.iceberg.StoragedFileIO"} if url.startswith("storaged://") else {}
    return float(StaticTable.from_metadata(newest, through).scan().to_arrow()["n"].to_numpy().sum())


@maker("pylance")
def _(folder: str) -> None:
    import lance
    import pyarrow

    for part in numbers().reshape(4, -1):
        lance.write_dataset(pyarrow.table({"n": part}), folder, mode="append" if os.listdir(folder) else "create")


@reader("pylance")
def _(url: str) -> float:
    import lance

    return float(lance.dataset(url).to_table()["n"].to_numpy().sum())


def main() -> None:
    verb, name, place = sys.argv[1:]
    warnings.simplefilter("ignore")
    sys.path += filter(None, [os.environ.get("APART")])
    said: dict[str, Any]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # some are talkative
            if verb == "make":
                os.makedirs(place, exist_ok=True)
                MAKERS[name](place)
                said = {"sum": TOTAL}
            else:
                said = {"sum": READERS[name](place)}
    except BaseException as error:  # noqa: BLE001 (whatever it is, it is the answer)
        said = {"error": f"{type(error).__name__}: {error}"[:400]}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
