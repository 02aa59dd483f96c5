"""Kinds of collections: files that are one thing to the program that wrote them, and the names by which it is known.

Evidence is names alone; nothing is opened. Each alternative says what is found below one folder; where it names several
(with `+`), all of them must be there: a README beside a `config` is no backup. In a pattern `*` is any text within a
name, `#` digits, `{hex}` hexadecimal digits (`{hex64}`: so many), `{uuid}` a UUID, a last `**` anything below. The
collection is that folder with all below it; where a part stands in `<>` (empty: any text, or none), it is the files
whose names begin so, up to the sign that the kind tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    Kind("iceberg", "an Iceberg table", "pyiceberg 0.12", *_ICEBERG),
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


# -- patterns ------------------------------------------------------------------------------------------------------

_SIGNS: Final[Mapping[str, str]] = {
    "*": "[^/]*",
    "#": "[0-9]+",
    "<>": "([^/]*?)",
    "<*": "([^/]+?",
    ">": ")",
    "{hex}": "[0-9a-f]+",
    "{uuid}": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "{zeros}": "0{4,}",
    "{one}": "0{3,}1",
}
_DISPATCH: Final = 3  # signs at the beginning or end of a name that choose the patterns to try


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """One piece of evidence: the names of the folders below the collection's, then of the file (None: any below)."""

    kind: Kind
    rank: int
    alternative: int
    bit: int
    all_bits: int
    folders: tuple[re.Pattern[str], ...]
    name: re.Pattern[str] | None


@dataclass(slots=True)
class _Index:
    """The patterns by what a key must have for them to be tried."""

    by_folder: dict[str, list[tuple[_Pattern, int]]] = field(default_factory=dict)  # and which folder of them it is
    by_name: dict[str, list[_Pattern]] = field(default_factory=dict)
    by_start: dict[str, list[_Pattern]] = field(default_factory=dict)
    by_end: dict[str, list[_Pattern]] = field(default_factory=dict)
    ends: dict[str, tuple[str, ...]] = field(default_factory=dict)  # all that must stand there, by the same signs
    first: dict[str, int] = field(default_factory=dict)  # folders that a look must go into, and how many levels deeper
    literal: set[str] = field(default_factory=set)  # names and folders (with a slash) to ask for in a folder too large

    def add(self, pattern: _Pattern, text: str) -> None:
        *folders, name = text.split("/")
        plain = [n for n, part in enumerate(folders) if _is_plain(part)]
        if plain:
            self.by_folder.setdefault(folders[plain[0]], []).append((pattern, plain[0]))
            if plain[0] == 0:
                self.first[folders[0]] = max(self.first.get(folders[0], 0), len(folders) - 1)
                self.literal.add(f"{folders[0]}/")
        elif _is_plain(name):
            self.by_name.setdefault(name, []).append(pattern)
            if not folders:
                self.literal.add(name)
        elif _is_plain(name[:_DISPATCH]):
            self.by_start.setdefault(name[:_DISPATCH], []).append(pattern)
        else:
            tail = re.split(r"[*#}]", name.replace(">", ""))[-1]
            end = tail[-_DISPATCH:]
            self.by_end.setdefault(end, []).append(pattern)
            self.ends[end] = (*self.ends.get(end, ()), tail)


def _is_plain(part: str) -> bool:
    return not re.search(r"[*#<>{]", part)


def _compiled(part: str) -> re.Pattern[str]:
    """A name's pattern. What stands in `<>` ends as early as it can, and is not empty unless nothing stands there."""
    out = ""
    for piece in re.findall(r"\{[a-z]+\d*\}|<>|<\*|[*#>]|[^*#<>{]+", part):
        if piece in _SIGNS:
            out += _SIGNS[piece]
        elif piece.startswith("{hex"):
            out += f"[0-9a-f]{{{piece[4:-1]}}}"
        else:
            out += re.escape(piece)
    return re.compile(out)


def _indexed(kinds: Iterable[Kind]) -> _Index:
    index, number = _Index(), 0
    for rank, kind in enumerate(kinds):
        for alternative in kind.evidence:
            texts = alternative.split(" + ")
            number += 1
            for n, text in enumerate(texts):
                *folders, name = text.split("/")
                last = None if name == "**" else _compiled(name)
                made = tuple(_compiled(f) for f in folders)
                index.add(_Pattern(kind, rank, number, 1 << n, (1 << len(texts)) - 1, made, last), text)
    return index


_INDEX: Final = _indexed(KINDS)
INTO: Final[Mapping[str, int]] = _INDEX.first
"""Folders below which there is evidence, and how many levels of folders below them."""
LITERALS: Final = frozenset(_INDEX.literal)
"""Names by which a folder shows that it may be a collection; those of folders with a `/` behind them."""


# -- finding -------------------------------------------------------------------------------------------------------

_MANY: Final = 50_000  # prefixes with a part of their evidence that are remembered


class Finder:
    """Sees keys, best in order, and tells which collections they show. Memory grows with the collections, not with the
    keys."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, Collection]] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._folder: str | None = None
        self._parts: list[str] = []
        self._here: list[tuple[_Pattern, str]] = []
        self._spent: set[_Pattern] = set()  # of no more use in this folder
        self._most = _MANY

    def see(self, keys: Iterable[str]) -> None:
        """Take these keys into account."""
        names, starts, ends, tails = _INDEX.by_name, _INDEX.by_start, _INDEX.by_end, _INDEX.ends
        folder, here = self._folder, self._here
        for key in keys:
            at = key.rfind("/") + 1
            if key[:at] != folder:
                folder = key[:at]
                self._enter(folder, key)
                here = self._here
            name = key[at:]
            if here:
                self._see_here(name, key)
            if name in names:
                self._try(names[name], name, key)
            if name[:_DISPATCH] in starts:
                self._try(starts[name[:_DISPATCH]], name, key)
            end = name[-_DISPATCH:]
            if end in ends and name.endswith(tails[end]):  # a regular expression takes many times as long
                self._try(ends[end], name, key)
        if len(self._seen) > self._most or len(self._found) > self._most:
            self._forget()

    def found(self) -> list[Collection]:
        """The collections that were seen, in key order; what is inside another is a part of it."""
        out: list[Collection] = []
        for prefix in sorted(self._found):
            one = self._found[prefix][1]
            if not out or one.prefix >= out[-1].until:
                out.append(one)
        return out

    def _enter(self, folder: str, key: str) -> None:
        self._folder = folder
        self._parts = folder.split("/")[:-1]
        self._here = []
        self._spent = set()
        for n, part in enumerate(self._parts):
            for pattern, at in _INDEX.by_folder.get(part, ()):
                start, length = n - at, len(pattern.folders)
                below = self._parts[start : start + length] if start >= 0 else []
                if len(below) < length or not _match(pattern.folders, below):
                    continue
                prefix = _joined(self._parts[:start])
                if pattern.name is None:
                    self._note(pattern, prefix, key)
                elif start + length == len(self._parts):
                    self._here.append((pattern, prefix))

    def _see_here(self, name: str, key: str) -> None:
        for pattern, prefix in self._here:
            if pattern.name is not None and pattern.name.fullmatch(name):
                self._note(pattern, prefix, key)

    def _try(self, patterns: Iterable[_Pattern], name: str, key: str) -> None:
        for pattern in patterns:
            if pattern in self._spent:
                continue
            start = len(self._parts) - len(pattern.folders)
            if pattern.folders and (start < 0 or not _match(pattern.folders, self._parts[start:])):
                self._spent.add(pattern)
                continue
            matched = pattern.name.fullmatch(name) if pattern.name is not None else None
            if matched is None:
                continue
            stem = matched[1] if matched.re.groups else None
            self._note(pattern, _joined(self._parts[:start]), key, stem)
            if stem is None:
                self._spent.add(pattern)

    def _note(self, pattern: _Pattern, folder: str, key: str, stem: str | None = None) -> None:
        prefix = folder if stem is None else f"{folder}{stem}{pattern.kind.span[0]}"
        if pattern.all_bits != pattern.bit:
            at = (prefix, pattern.alternative)
            bits = self._seen.get(at, 0) | pattern.bit
            self._seen[at] = bits
            if bits != pattern.all_bits:
                return
        known = self._found.get(prefix)
        if known is None or pattern.rank < known[0]:
            name = pattern.kind.name
            one = whole(prefix, name, key)
            if stem is not None:
                one = Collection(prefix, f"{folder}{stem}{pattern.kind.span[1]}", name, key)
            self._found[prefix] = (pattern.rank, one)

    def _forget(self) -> None:
        """What is inside of what was found, and evidence of folders that were left behind."""
        kept = {one.prefix for one in self.found()}
        self._found = {prefix: value for prefix, value in self._found.items() if prefix in kept}
        now = self._folder or ""
        self._seen = {at: bits for at, bits in self._seen.items() if now.startswith(at[0]) and at[0] not in kept}
        self._most = max(_MANY, 2 * len(self._found))


def _match(patterns: Iterable[re.Pattern[str]], parts: Iterable[str]) -> bool:
    return all(pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=True))


def _joined(parts: list[str]) -> str:
    return "".join(f"{part}/" for part in parts)
