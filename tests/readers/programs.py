"""What other programs make of files, each by its ordinary call. Run by the interpreter that has them.

    python programs.py NAME FILE...

Prints a line of JSON for each file: {"rows": …, "total": …} by those that read tables (the sum of column n;
of Parquet "letters" too, those of column word),
{"bytes": …, "digest": …} by those that decompress, {"kind": …} by those that tell what a file is, {"error": …} where it
raised. Nothing of storaged is imported here: most environments that run it have none.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

Said = dict[str, Any]
READERS: dict[str, Callable[[str], Said]] = {}


def reader(name: str) -> Callable[[Callable[[str], Said]], Callable[[str], Said]]:
    """Registers a reader under the name that the documentation has for it."""

    def register(read: Callable[[str], Said]) -> Callable[[str], Said]:
        READERS[name] = read
        return read

    return register


def rows(count: int, total: int) -> Said:
    return {"rows": int(count), "total": int(total)}


def content(data: bytes) -> Said:
    return {"bytes": len(data), "digest": hashlib.sha256(data).hexdigest()}


def command(*words: str) -> Said:
    """What a command writes to stdout."""
    done = subprocess.run(words, check=False, capture_output=True)
    return content(done.stdout) if done.returncode == 0 else {"error": done.stderr.decode(errors="replace").strip()}


# -- commands ----------------------------------------------------------------------------------------------------------


@reader("zstd -dc")
def _(path: str) -> Said:
    return command("zstd", "-dcq", path)


@reader("curl --compressed")
def _(path: str) -> Said:
    with served(path) as url:
        return command("curl", "-sS", "--compressed", url)


# -- tables ------------------------------------------------------------------------------------------------------------


@reader("pandas read_csv")
def _(path: str) -> Said:
    import pandas

    frame = pandas.read_csv(path)
    return rows(len(frame), frame["n"].sum())


@reader("pyarrow read_csv")
def _(path: str) -> Said:
    import pyarrow
    import pyarrow.compute
    from pyarrow import csv

    table = csv.read_csv(pyarrow.input_stream(path, compression="zstd"))
    return rows(table.num_rows, pyarrow.compute.sum(table["n"]).as_py())


@reader("DuckDB FROM 'file'")
def _(path: str) -> Said:
    import duckdb

    [found] = duckdb.sql(f"SELECT count(*), sum(n) FROM '{path}'").fetchall()
    return rows(*found)


@reader("DuckDB read_csv")
def _(path: str) -> Said:
    import duckdb

    [found] = duckdb.sql(f"SELECT count(*), sum(n) FROM read_csv('{path}')").fetchall()
    return rows(*found)


@reader("Dask read_csv")
def _(path: str) -> Said:
    import dask
    import dask.dataframe

    with dask.config.set(scheduler="synchronous"):
        frame = dask.dataframe.read_csv(path, compression="zstd", blocksize=None)
        return rows(len(frame), frame["n"].sum().compute())


@reader("polars read_csv")
def _(path: str) -> Said:
    import polars

    frame = polars.read_csv(path)
    return rows(len(frame), frame["n"].sum())


@reader("polars scan_csv")
def _(path: str) -> Said:
    import polars

    [found] = polars.scan_csv(path).select(polars.len(), polars.col("n").sum()).collect().rows()
    return rows(*found)


@reader("polars scan_csv, len alone")
def _(path: str) -> Said:
    import polars

    count = polars.scan_csv(path).select(polars.len()).collect().item()
    return rows(count, polars.read_csv(path)["n"].sum())


@reader("DataFusion read_csv")
def _(path: str) -> Said:
    import datafusion

    frame = datafusion.SessionContext().read_csv(path, file_extension=".csv.zst", file_compression_type="zstd")
    column = datafusion.col("n")
    functions = datafusion.functions
    [found] = frame.aggregate([], [functions.count(column), functions.sum(column)]).to_arrow_table().to_pylist()
    return rows(*found.values())


@reader("chdb file()")
def _(path: str) -> Said:
    import chdb

    answer = chdb.query(f"SELECT count(), sum(n) FROM file('{path}')", "CSV")
    return rows(*map(int, str(answer).split(",")))


@contextlib.contextmanager
def sparks() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


@reader("PySpark read.csv")
def _(path: str) -> Said:
    with sparks() as spark:
        frame = spark.read.csv(path, header=True, inferSchema=True)
        [found] = frame.selectExpr("count(*) AS c", "sum(n) AS s").collect()
        return rows(found["c"], found["s"])


@reader("daft read_csv")
def _(path: str) -> Said:
    import daft

    found = daft.read_csv(path).agg(daft.col("n").count().alias("c"), daft.col("n").sum().alias("s")).to_pydict()
    return rows(found["c"][0], found["s"][0])


@reader("datasets load_dataset")
def _(path: str) -> Said:
    import datasets

    with contextlib.redirect_stderr(io.StringIO()):
        datasets.disable_progress_bars()
        loaded = datasets.load_dataset("csv", data_files=path, split="train", cache_dir=f"{path}.cache")
    return rows(len(loaded), sum(loaded["n"]))


# -- Parquet -----------------------------------------------------------------------------------------------------------

QUERY = "SELECT count(*) AS a, sum(n) AS b, sum(length(word)) AS c FROM "


def table(module: str, use: Callable[[Any, str], Any]) -> Callable[[str], Said]:
    """A reader of tables: one call of a module returns a frame of pandas, or the three numbers."""

    def read(path: str) -> Said:
        found = use(importlib.import_module(module), path)
        if hasattr(found, "columns"):
            found = len(found), found["n"].sum(), found["word"].str.len().sum()
        count, total, letters = map(int, found)
        return {**rows(count, total), "letters": letters}

    return read


def sparked(_: Any, path: str) -> Any:
    with sparks() as spark:
        return spark.sql(f"{QUERY} parquet.`{path}`").collect()[0]


def loaded(datasets: Any, path: str) -> Any:
    with contextlib.redirect_stderr(io.StringIO()):
        datasets.disable_progress_bars()
        found = datasets.load_dataset("parquet", data_files=path, split="train", cache_dir=f"{path}.cache")
    return found.to_pandas()


READERS |= {
    "pandas read_parquet": table("pandas", lambda m, p: m.read_parquet(p)),
    "pyarrow read_table": table("pyarrow.parquet", lambda m, p: m.read_table(p).to_pandas()),
    "DuckDB read_parquet": table("duckdb", lambda m, p: m.sql(f"{QUERY} read_parquet('{p}')").fetchall()[0]),
    "Dask read_parquet": table("dask.dataframe", lambda m, p: m.read_parquet(p).compute(scheduler="synchronous")),
    "polars read_parquet": table("polars", lambda m, p: m.read_parquet(p).to_pandas()),
    "polars scan_parquet": table("polars", lambda m, p: m.scan_parquet(p).collect().to_pandas()),
    "DataFusion read_parquet": table("datafusion", lambda m, p: m.SessionContext().read_parquet(p).to_pandas()),
    "chdb file(), Parquet": table("chdb", lambda m, p: str(m.query(f"{QUERY} file('{p}')", "CSV")).split(",")),
    "PySpark read.parquet": table("pyspark.sql", sparked),
    "datasets load_dataset, Parquet": table("datasets", loaded),
    "daft read_parquet": table("daft", lambda m, p: m.read_parquet(p).to_pandas()),
    "fastparquet ParquetFile": table("fastparquet", lambda m, p: m.ParquetFile(p).to_pandas()),
}


# -- streams -----------------------------------------------------------------------------------------------------------


def data(path: str) -> bytes:
    return Path(path).read_bytes()


def read(opened: Any) -> bytes:
    with opened as file:
        found: bytes = file.read()
    return found


def through(module: str, use: Callable[[Any, str], Any]) -> Callable[[str], Said]:
    """A reader of bytes: what one call of a module returns."""
    return lambda path: content(bytes(use(importlib.import_module(module), path)))


def copied(zstandard: Any, path: str) -> bytes:
    found = io.BytesIO()
    zstandard.ZstdDecompressor().copy_stream(io.BytesIO(data(path)), found)
    return found.getvalue()


def streamed(zstandard: Any, path: str) -> bytes:
    return read(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data(path)), read_across_frames=True))


def indexed(module: Any, path: str) -> bytes:
    file = module.IndexedZstdFile(path)
    found: bytes = file.read(file.size())
    return found


def mounted(factory: Any, path: str) -> bytes:
    with factory.open_mount_source(path) as source:
        [name] = source.list("/")
        return read(source.open(source.lookup(f"/{name}")))


READERS |= {
    "pyarrow input_stream": through("pyarrow", lambda m, p: read(m.input_stream(p, compression="zstd"))),
    "fsspec.open": through("fsspec", lambda m, p: read(m.open(p, compression="infer"))),
    "zstandard.open": through("zstandard", lambda m, p: read(m.open(p, "rb"))),
    "zstandard stream_reader": through("zstandard", streamed),
    "zstandard copy_stream": through("zstandard", copied),
    "zstandard read_to_iter": through(
        "zstandard", lambda m, p: b"".join(m.ZstdDecompressor().read_to_iter(io.BytesIO(data(p))))
    ),
    "zstandard decompressobj": through(
        "zstandard", lambda m, p: m.ZstdDecompressor().decompressobj().decompress(data(p))
    ),
    "zstandard.decompress": through("zstandard", lambda m, p: m.decompress(data(p))),
    "backports.zstd open": through("backports.zstd", lambda m, p: read(m.open(p))),
    "backports.zstd decompress": through("backports.zstd", lambda m, p: m.decompress(data(p))),
    "pyzstd decompress": through("pyzstd", lambda m, p: m.decompress(data(p))),
    "cramjam decompress": through("cramjam", lambda m, p: m.zstd.decompress(data(p))),
    "numcodecs Zstd": through("numcodecs", lambda m, p: m.Zstd().decode(data(p))),
    "smart_open": through("smart_open", lambda m, p: read(m.open(p, "rb"))),
    "xopen": through("xopen", lambda m, p: read(m.xopen(p, "rb", threads=0))),
    "indexed_zstd": through("indexed_zstd", indexed),
    "ratarmount": through("ratarmountcore.mountsource.factory", mounted),
}


# -- over HTTP, as Content-Encoding: zstd ------------------------------------------------------------------------------


@contextlib.contextmanager
def served(path: str) -> Iterator[str]:
    """The file under a URL of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = Path(path).read_bytes()
            self.send_response(200)
            self.send_header("Content-Encoding", "zstd")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@reader("requests")
def _(path: str) -> Said:
    import requests

    with served(path) as url:
        return content(requests.get(url, timeout=30).content)


@reader("httpx")
def _(path: str) -> Said:
    import httpx

    with served(path) as url:
        return content(httpx.get(url, timeout=30).content)


@reader("aiohttp")
def _(path: str) -> Said:
    import asyncio

    import aiohttp

    async def read(url: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.read()

    with served(path) as url:
        return content(asyncio.run(read(url)))


# -- what it is --------------------------------------------------------------------------------------------------------


@reader("puremagic")
def _(path: str) -> Said:
    import puremagic

    return {"kind": puremagic.from_string(Path(path).read_bytes())}


@reader("filetype")
def _(path: str) -> Said:
    import filetype

    return {"kind": filetype.guess_extension(path)}


def main() -> None:
    name, *paths = sys.argv[1:]
    warnings.simplefilter("ignore")
    for path in paths:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some are talkative
                said = READERS[name](path)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the answer)
            said = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
