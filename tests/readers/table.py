"""The readers that are tried, and how much of a blob each gets: what `docs/reading-without-storaged.md` says."""

from __future__ import annotations

import enum
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.seekable import FRAME
from storaged.codecs.zstd import Zstd
from storaged.naming import blob_key
from storaged.testing.contents import encoded

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ONE, MANY = 20_000, 100_000  # lines of content in one frame, and in several
ROWS = 60_000  # of a table
WORDS = [None if n % 7 == 3 else f"word {n * 7_919 % 10_007}" for n in range(1_000)]  # in it
LINE = 32  # bytes: a frame ends where a line does, so that whoever stops there sees nothing amiss


class Gets(enum.Enum):
    """How much of content over 1 MiB."""

    ALL = "all"
    FIRST = "the first MiB, silently"
    NOTHING = "nothing, with an error"


@dataclass(frozen=True, slots=True)
class Reader:
    """A program and the package that its version is of. `texts`: of Parquet that was a text, where it reads Parquet."""

    name: str
    package: str
    gets: Gets = Gets.ALL
    texts: Gets = Gets.ALL


LOCKED = (  # in the environment of the tests
    Reader("pandas read_csv", "pandas"),
    Reader("pyarrow read_csv", "pyarrow"),
    Reader("pyarrow input_stream", "pyarrow"),
    Reader("DuckDB FROM 'file'", "duckdb"),
    Reader("DuckDB read_csv", "duckdb"),
    Reader("Dask read_csv", "dask"),
    Reader("fsspec.open", "fsspec"),
    Reader("zstandard.open", "zstandard"),
    Reader("zstandard stream_reader", "zstandard"),
    Reader("zstandard copy_stream", "zstandard"),
    Reader("zstandard read_to_iter", "zstandard", Gets.FIRST),
    Reader("zstandard decompressobj", "zstandard", Gets.FIRST),
    Reader("zstandard.decompress", "zstandard", Gets.FIRST),
)
PARQUET_LOCKED = (  # of blobs of codec parquet
    Reader("pandas read_parquet", "pandas"),
    Reader("pyarrow read_table", "pyarrow"),
    Reader("DuckDB read_parquet", "duckdb"),
    Reader("Dask read_parquet", "dask"),
)
PAGE_APART = ("polars", "Spark")  # whose examples of docs/reading.md are run there, too
PARQUET_APART = (
    Reader("polars read_parquet", "polars"),
    Reader("polars scan_parquet", "polars"),
    Reader("DataFusion read_parquet", "datafusion"),
    Reader("chdb file(), Parquet", "chdb"),
    Reader("PySpark read.parquet", "pyspark"),
    Reader("datasets load_dataset, Parquet", "datasets"),
    Reader("daft read_parquet", "daft"),
    Reader("fastparquet ParquetFile", "fastparquet", texts=Gets.NOTHING),
)
APART = (  # in one of their own: `make readers`
    Reader("polars read_csv", "polars"),
    Reader("polars scan_csv", "polars"),
    Reader("polars scan_csv, len alone", "polars"),
    Reader("DataFusion read_csv", "datafusion"),
    Reader("chdb file()", "chdb"),
    Reader("PySpark read.csv", "pyspark"),
    Reader("datasets load_dataset", "datasets"),
    Reader("daft read_csv", "daft", Gets.FIRST),
    Reader("backports.zstd open", "backports.zstd"),
    Reader("backports.zstd decompress", "backports.zstd"),
    Reader("pyzstd decompress", "pyzstd"),
    Reader("cramjam decompress", "cramjam"),
    Reader("numcodecs Zstd", "numcodecs"),
    Reader("smart_open", "smart_open"),
    Reader("xopen", "xopen"),
    Reader("indexed_zstd", "indexed_zstd"),
    Reader("ratarmount", "ratarmountcore"),
    Reader("requests", "requests"),
    Reader("httpx", "httpx"),
    Reader("aiohttp", "aiohttp"),
    Reader("puremagic", "puremagic"),
    Reader("filetype", "filetype"),
)
NPM = (  # packages of npm, in the newest Node
    Reader("fzstd", "fzstd"),
    Reader("zstddec", "zstddec"),
    Reader("zstd-codec Streaming", "zstd-codec"),
    Reader("zstd-codec Simple", "zstd-codec", Gets.NOTHING),
    Reader("@bokuweb/zstd-wasm", "@bokuweb/zstd-wasm", Gets.NOTHING),
)
NODE = (Reader("Node zlib", "node"), Reader("Node fetch", "node"))  # in each of NODES
NODES = ("node24", "node26")
COMMANDS = (Reader("zstd -dc", ""), Reader("curl --compressed", ""))  # those of the machine


@dataclass(frozen=True, slots=True)
class Thing:
    """A program that writes and reads a thing of many files, named as its package. `says`: what it raises; empty: it
    reads all of it."""

    name: str
    says: str = ""


THINGS_LOCKED = (  # in the environment of the tests
    Thing("safetensors"),
    Thing("deltalake"),
    Thing("pyiceberg"),
)
THINGS_APART = (
    Thing("zarr"),
    Thing("xarray"),
    Thing("pylance", "No object store provider found for scheme: 'storaged'"),
)


def versions() -> dict[str, str]:
    """What each package is pinned to."""
    texts = [(ROOT / "requirements-dev.txt").read_text(), (HERE / "requirements.txt").read_text()]
    apart, locked = (dict(re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.M)) for text in reversed(texts))
    found = {reader.package: locked[reader.package] for reader in (*LOCKED, *PARQUET_LOCKED)}
    found |= {reader.package: apart[reader.package] for reader in (*APART, *PARQUET_APART)}
    found |= {thing.name: locked[thing.name] for thing in THINGS_LOCKED}
    found |= {thing.name: apart[thing.name] for thing in THINGS_APART}
    pinned = json.loads((HERE / "npm" / "package.json").read_text())["dependencies"]
    return found | {name: version.rpartition("@")[2] for name, version in pinned.items()}


def lines(count: int) -> bytes:
    """A CSV of so many lines below its header, each as long as the others."""
    head = b"n,name,price".ljust(LINE - 1, b"_") + b"\n"
    return head + b"".join((b"%d,%d," % (n, n % 97)).ljust(LINE - 1, b"x") + b"\n" for n in range(count))


@dataclass(frozen=True, slots=True)
class Blobs:
    """A blob of one frame and one of several, under the names that blobs have."""

    one: Path
    many: Path

    @classmethod
    def make(cls, place: Path) -> Blobs:
        made = []
        for name, count in (("one.csv", ONE), ("many.csv", MANY)):
            _, blob = encoded(Zstd(), lines(count))
            path = place / Path(blob_key("lake", name, "0123456789abcdef" * 2, Zstd().suffix(name))).name
            path.write_bytes(blob)
            made.append(path)
        return cls(*made)

    def read_rightly(self, reader: Reader, words: Sequence[str | Path]) -> None:
        """Run a program on both. Raises AssertionError unless it gets of them what the table says."""
        done = subprocess.run([*words, reader.name, self.one, self.many], check=True, capture_output=True, text=True)
        one, many = (json.loads(line) for line in done.stdout.splitlines())
        assert one == told(one, lines(ONE)), done.stderr
        if reader.gets is Gets.NOTHING:
            assert "error" in many
        else:
            whole = lines(MANY)
            assert many == told(many, whole if reader.gets is Gets.ALL else whole[:FRAME]), done.stderr


@dataclass(frozen=True, slots=True)
class Tables:
    """Blobs of codec parquet: of files of several writers, of delimited text and of JSON lines."""

    files: tuple[Path, ...]
    texts: tuple[Path, ...]

    @classmethod
    def make(cls, place: Path) -> Tables:
        table = pa.table({"n": range(ROWS), "word": [WORDS[n % len(WORDS)] for n in range(ROWS)]})
        (place / "root").mkdir()
        files = {name: place / "root" / f"{name}.parquet" for name in ("v1", "v2", "plain", "duckdb")}
        more: dict[str, Any] = {"row_group_size": ROWS // 3, "write_page_index": True, "write_page_checksum": True}
        pq.write_table(table, files["v1"], compression="snappy", **more)
        pq.write_table(table, files["v2"], compression="snappy", data_page_version="2.0", **more)
        pq.write_table(table, files["plain"], compression="none", use_dictionary=False, data_page_size=50_000)
        duckdb.from_arrow(table).write_parquet(str(files["duckdb"]), compression="snappy")
        for name, text in (("text.csv", delimited()), ("lines.jsonl", json_lines())):
            files[name] = place / "root" / name
            files[name].write_text(text)
        paths = []
        for file in files.values():
            _, blob = encoded(Parquet(), file.read_bytes())
            assert "ZSTD" in str(pq.read_metadata(io.BytesIO(blob)).row_group(0).to_dict())
            paths.append(
                place / Path(blob_key("lake", file.name, "0123456789abcdef" * 2, Parquet().suffix(file.name))).name
            )
            paths[-1].write_bytes(blob)
        return cls(tuple(paths[:-2]), tuple(paths[-2:]))

    def read_rightly(self, reader: Reader, words: Sequence[str | Path]) -> None:
        """Run a program on all of them. Raises AssertionError unless it gets of them what the table says."""
        paths = (*self.files, *self.texts)
        done = subprocess.run([*words, reader.name, *paths], check=True, capture_output=True, text=True)
        letters = sum(len(WORDS[n % len(WORDS)] or "") for n in range(ROWS))
        whole = {"rows": ROWS, "total": ROWS * (ROWS - 1) // 2, "letters": letters}
        found = [json.loads(line) for line in done.stdout.splitlines()]
        files, texts = found[: len(self.files)], found[len(self.files) :]
        assert (files, len(texts)) == ([whole] * len(files), len(self.texts)), done.stderr
        assert all("error" in text if reader.texts is Gets.NOTHING else text == whole for text in texts), done.stderr


def delimited() -> str:
    """The table with columns of every type that a text's have."""
    rows = (
        f"{n},{WORDS[n % len(WORDS)] or ''},2026-01-{n % 28 + 1:02},2026-01-01 {n % 24:02}:00:{n % 60:02}.125,"
        f"{n % 100}.{n % 90 + 10},{n / 7},{'true' if n % 3 else 'false'}"
        for n in range(ROWS)
    )
    return "\n".join(("n,word,day,at,price,score,kept", *rows, ""))


def json_lines() -> str:
    """The same of JSON, with an object and an array within."""
    rows = (
        {
            "n": n,
            **({} if WORDS[n % len(WORDS)] is None else {"word": WORDS[n % len(WORDS)]}),
            "day": f"2026-01-{n % 28 + 1:02}",
            "at": f"2026-01-01T{n % 24:02}:00:{n % 60:02}.125Z",
            "score": n / 7,
            "of": {"kept": n % 3 > 0, "level": n % 5},
            "tags": [n % 2, "a"],
        }
        for n in range(ROWS)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def told(like: dict[str, Any], content: bytes) -> dict[str, Any]:
    """What a reader of this content answers, in the form of this answer."""
    if "bytes" in like:
        return {"bytes": len(content), "digest": hashlib.sha256(content).hexdigest()}
    if "kind" in like:
        return {"kind": like["kind"]} if like["kind"].strip(".") == "zst" else {"kind": "zst"}
    count = content.count(b"\n") - 1
    return {"rows": count, "total": count * (count - 1) // 2}
