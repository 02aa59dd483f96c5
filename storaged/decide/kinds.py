"""Kinds of collections: files that are one thing to the program that wrote them, and the names by which it is known.

Evidence is names alone; nothing is opened. Each alternative says what is found below one folder; where it names several
(with `+`), all of them must be there: a README beside a `config` is no backup. In a pattern `*` is any text within a
name, `#` digits, `{hex}` hexadecimal digits (`{hex64}`: so many), `{uuid}` a UUID, a last `**` anything below. The
collection is that folder with all below it; where a part stands in `<>` (empty: any text, or none), it is the files
whose names begin so, up to the sign that the kind tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

LAST: Final = "\U0010ffff"  # sorts behind every key


_ICEBERG: Final = (
    "metadata/#-{uuid}*metadata.json*",
    "metadata/v#*.metadata.json + metadata/version-hint.text",
    "metadata/v#*.metadata.json + metadata/snap-*.avro",
)
_ICECHUNK: Final = ("refs/branch.*/ref.json + snapshots/*", "repo + snapshots/*", "repo + overwritten/*")
_SPARK: Final = (
    *(f"_SUCCESS + {partitions}part-*" for partitions in ("", "*=*/", "*=*/*=*/", "*=*/*=*/*=*/")),
    ".part-*.crc",
    "_spark_metadata/#",
)
_SHARDS: Final = (
    "<*>.safetensors.index.json + <*>-#-of-#.safetensors",
    "<*>.bin.index.json + <*>-#-of-#.bin",
)
_ZARR: Final = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
_HF_HUB: Final = ("blobs/{hex40} + refs/*", "blobs/{hex64} + refs/*")
_HF_DATASETS: Final = ("dataset_info.json + *.arrow", "dataset_dict.json + */dataset_info.json")
_SQLITE: Final = (
    "<*.sqlite3>",
    "<*.sqlite>",
    *(f"<*.{end}>-{beside}" for end in ("sqlite3", "sqlite", "db", "db3") for beside in ("wal", "journal")),
    "<*>-wal + <*>-shm",
)
_DUCKDB: Final = ("<*.duckdb>.wal", "<*.ddb>.wal", "<*.db>.wal")


class Kind:
    """A program's way of spreading one thing over files. `what` is it in words; `seen`: the program and version that
    was run and looked at. `span`: what follows the part in `<>` in the first and behind the last key of it. `through`:
    the programs that were seen to read it through storaged, by `storaged://`; empty: none was. `dense`: its program
    compresses or encrypts all that it stores."""

    def __init__(
        self,
        name: str,
        what: str,
        seen: str,
        *evidence: str,
        span: tuple[str, str] = ("", ""),
        through: str = "",
        dense: bool = False,
    ) -> None:
        self.name = name
        self.what = what
        self.seen = seen
        self.evidence = evidence
        self.span = span
        self.through = through
        self.dense = dense


# Of two that show at the same folder the first counts.
KINDS: Final = (
    Kind("delta", "a Delta table", "deltalake 1.6", "_delta_log/**"),
    Kind("hudi", "a Hudi table", "", ".hoodie/**"),
    Kind("iceberg", "an Iceberg table", "pyiceberg 0.12", *_ICEBERG, through="pyiceberg 0.12"),
    Kind("lance", "a Lance table", "pylance 14.0", "_versions/*.manifest", "_transactions/*.txn"),
    Kind("kerchunk", "a set of kerchunk references", "kerchunk", ".zmetadata + */refs.#.parq"),
    Kind("icechunk", "an Icechunk repository", "icechunk 1.1", *_ICECHUNK),
    Kind("zarr", "a Zarr array or group", "zarr 3.1", *_ZARR, through="zarr 3.1, xarray 2026.9"),
    Kind("tiledb", "a TileDB array or group", "tiledb 0.36", "__schema/* + __commits/*", "__tiledb_group.tdb"),
    Kind("mds", "a MosaicML streaming set", "mosaicml-streaming 0.13", "index.json + shard.#.*"),
    Kind("litdata", "a LitData set", "litdata 0.2", "index.json + chunk-#-#*.bin"),
    Kind("webdataset", "shards of a WebDataset", "webdataset 1.0", "<>{zeros}.tar + <>{one}.tar", span=("0", ":")),
    Kind("spark", "the output of a Spark or Hadoop job", "pyspark 4.3", *_SPARK),
    Kind("dcp", "a distributed checkpoint of PyTorch", "torch 2.13", ".metadata + *.distcp"),
    Kind(
        "shards", "a checkpoint in shards", "huggingface_hub 2.4", *_SHARDS, span=("-", "/"), through="safetensors 0.8"
    ),
    Kind("hf-hub", "an entry of the Hugging Face hub cache", "huggingface_hub", *_HF_HUB),
    Kind("hf-datasets", "a Hugging Face dataset", "datasets 5.2", *_HF_DATASETS),
    Kind("dvc", "a cache or remote of DVC", "dvc 3.67", "files/md5/{hex2}/{hex30}", "files/md5/{hex2}/{hex30}.dir"),
    Kind("git", "a Git repository", "git 2.39", "HEAD + objects/{hex2}/{hex38}", "HEAD + objects/pack/pack-{hex}.pack"),
    Kind("oci", "an OCI image layout", "umoci 0.4", "oci-layout + index.json + blobs/sha256/{hex64}"),
    Kind("restic", "a restic repository", "restic 0.14", "config + keys/{hex64}", dense=True),
    Kind("borg", "a Borg repository", "borg 1.2", "README + config + data/#/#", dense=True),
    Kind("kopia", "a kopia repository", "", "kopia.repository*", dense=True),
    Kind("leveldb", "a LevelDB or RocksDB database", "plyvel 1.5, rocksdict 0.3", "CURRENT + MANIFEST-#"),
    Kind("lmdb", "an LMDB database", "lmdb 3.0", "data.mdb + lock.mdb"),
    Kind("postgres", "the data of a Postgres server", "Postgres 16", "PG_VERSION + global/pg_control"),
    Kind("tantivy", "a Tantivy index", "tantivy 0.27", ".managed.json + meta.json"),
    Kind("chroma", "a Chroma database", "chromadb 1.5", "chroma.sqlite3"),
    Kind("qdrant", "a Qdrant database", "qdrant-client 1.20", "collection/*/storage.sqlite"),
    Kind("sqlite", "an SQLite database", "SQLite 3.40", *_SQLITE, span=("", ".")),
    Kind("duckdb", "a DuckDB database in use", "duckdb 2.0", *_DUCKDB, span=("", "/")),
    Kind("shapefile", "a shapefile", "pyshp 3.1", "<*>.shp + <*>.shx", span=(".", "/")),
)
BY_NAME: Final[Mapping[str, Kind]] = {kind.name: kind for kind in KINDS}

TABLES: Final = ("delta", "hudi", "iceberg")  # that are called table formats in views and JSON


READABLE: Final = frozenset(kind.name for kind in KINDS if kind.through)
"""Kinds that a program was seen to read through storaged."""
DENSE: Final = tuple(kind.name for kind in KINDS if kind.dense)
"""Kinds whose parts are never stored in another codec, whatever a sample of one says."""


class Collection(NamedTuple):
    """One thing of many files: the keys from `prefix` to before `until`. `marker`: a key that shows it."""

    prefix: str
    until: str
    kind: str
    marker: str = ""


def whole(prefix: str, kind: str, marker: str = "") -> Collection:
    """A folder (empty: the root) and all below it."""
    return Collection(prefix, f"{prefix[:-1]}0" if prefix else LAST, kind, marker)  # "0" is the sign behind "/"


def shown(prefix: str) -> str:
    """The keys of a collection, for people: its folder, or the names that begin so."""
    return prefix if prefix.endswith("/") else f"{prefix}*" if prefix else "all of the root"


def what_is(kind: str) -> str:
    """A kind in words; its name where only a later version knows it."""
    return BY_NAME[kind].what if kind in BY_NAME else kind
