"""By which names collections are known: trees as the programs themselves wrote them, and what only looks like one."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.decide import finder as finding
from storaged.decide.finder import Finder
from storaged.decide.kinds import BY_NAME, KINDS, LAST, Collection, shown, what_is, whole
from storaged.stores.memory import MemoryStore
from storaged.work.rewrite.collections import PAGE, told

UUID = "0240b428-634a-4fcb-b7cd-c8b8d6aadab6"
HEX40 = "8b137891791fe96927ad78e64b0aad7bded08bdc"
HEX64 = "e49a45897807b03a5de810e5cdf8d52de253cd7b583baa460751bb86b910533b"
MD5 = "bcedc4d9a66cfdd1d4d0edc3b13d4f"
FRAGMENT = "__1795876636645_1795876636645_2f8ba87eae367c8eb32162c797a7c46f_22"

WRITTEN = [  # the kind, what its program wrote (some of it), and all of what is one thing where that is not the folder
    ("delta", ["_delta_log/00000000000000000000.json", f"part-00000-{UUID}-c000.snappy.parquet"], None),
    ("delta", ["_delta_log/00000000000000000010.checkpoint.parquet", "k=1/part-0.parquet"], None),
    ("hudi", [".hoodie/hoodie.properties", "k=1/.hoodie_partition_metadata", "k=1/a.parquet"], None),
    ("iceberg", [f"data/00000-0-{UUID}.parquet", f"metadata/00000-{UUID}.metadata.json"], None),
    ("iceberg", [f"data/00000-0-{UUID}.parquet", f"metadata/00000-{UUID}.metadata.json.gz"], None),
    ("iceberg", [f"data/00000-0-{UUID}.parquet", f"metadata/00012-{UUID}.gz.metadata.json"], None),
    ("iceberg", ["data/x.parquet", "metadata/v3.metadata.json", "metadata/version-hint.text"], None),
    ("iceberg", ["data/x.parquet", "metadata/snap-517-1-x.avro", "metadata/v3.gz.metadata.json"], None),
    ("lance", ["_transactions/0-x.txn", "_versions/18446744073709551614.manifest", "data/0101.lance"], None),
    ("lance", [f"_transactions/0-{UUID}.txn", "data/0101.lance"], None),
    ("kerchunk", [".zmetadata", "temp/refs.0.parq"], None),
    ("icechunk", ["manifests/NWKA", "refs/branch.main/ref.json", "snapshots/1CECHNKREP0F1RSTCMT0"], None),
    ("icechunk", ["manifests/NWKA", "overwritten/x", "repo", "snapshots/1CECHNKREP0F1RSTCMT0"], None),
    ("zarr", [".zattrs", ".zgroup", "x/.zarray", "x/.zattrs", "x/0", "x/1"], None),
    ("zarr", ["x/c/0", "x/c/1", "x/zarr.json", "zarr.json"], None),
    ("zarr", [".zarray", "0.0", "0.1"], None),
    ("tiledb", [f"__commits/{FRAGMENT}.wrt", f"__fragments/{FRAGMENT}/a0.tdb", "__schema/__1795876636635"], None),
    ("tiledb", ["__group/__1795876636677", "__tiledb_group.tdb", "arr/__schema/__1", "arr/__commits/x.wrt"], None),
    ("mds", ["index.json", "shard.00000.mds", "shard.00001.mds"], None),
    ("mds", ["index.json", "shard.00000.mds.zstd"], None),
    ("litdata", ["chunk-0-0.bin", "chunk-0-1.bin", "index.json"], None),
    ("webdataset", ["train-000000.tar", "train-000001.tar", "train-000017.tar"], ("train-0", "train-:")),
    ("webdataset", ["00000.tar", "00000.parquet", "00000_stats.json", "00001.tar"], ("0", ":")),
    ("spark", ["._SUCCESS.crc", ".part-00000-x.csv.crc", "_SUCCESS", "part-00000-x.csv"], None),
    ("spark", ["_SUCCESS", "part-00000-x.csv"], None),
    ("spark", ["_SUCCESS", "k=1/part-00000-x.parquet", "k=2/part-00000-x.parquet"], None),
    ("spark", ["_spark_metadata/0", "part-00000-x.parquet"], None),
    ("dcp", [".metadata", "__0_0.distcp", "__1_0.distcp"], None),
    (
        "shards",
        ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json"],
        ("model-", "model/"),
    ),
    ("shards", ["w-00001-of-00002.bin", "w.bin.index.json"], ("w-", "w/")),
    ("hf-hub", [f"blobs/{HEX40}", "refs/main", f"snapshots/{HEX40}/config.json"], None),
    ("hf-hub", [f"blobs/{HEX64}", "refs/main"], None),
    ("hf-datasets", ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"], None),
    ("hf-datasets", ["csv-train.arrow", "dataset_info.json"], None),
    ("hf-datasets", ["dataset_dict.json", "train/data-00000-of-00001.arrow", "train/dataset_info.json"], None),
    ("dvc", [f"files/md5/39/{MD5}", f"files/md5/39/{MD5}.dir"], None),
    ("git", ["HEAD", "config", f"objects/8b/{HEX40[2:]}", "refs/heads/main"], None),
    ("git", ["HEAD", "config", f"objects/pack/pack-{HEX40}.pack", "packed-refs"], None),
    ("oci", [f"blobs/sha256/{HEX64}", "index.json", "oci-layout"], None),
    ("restic", ["config", f"data/99/{HEX64}", f"index/{HEX64}", f"keys/{HEX64}", f"snapshots/{HEX64}"], None),
    ("borg", ["README", "config", "data/0/0", "data/0/1", "hints.5", "index.5", "integrity.5"], None),
    ("kopia", ["_log_x", "kopia.repository.f", "p01/234/56.f"], None),
    ("leveldb", ["000003.log", "CURRENT", "LOCK", "LOG", "MANIFEST-000002"], None),
    ("leveldb", ["000009.sst", "CURRENT", "IDENTITY", "MANIFEST-000005", "OPTIONS-000007"], None),
    ("lmdb", ["data.mdb", "lock.mdb"], None),
    ("postgres", ["PG_VERSION", "base/1/112", "global/pg_control", "pg_wal/000000010000000000000001"], None),
    ("tantivy", [".managed.json", "e28f.idx", "meta.json"], None),
    ("chroma", [f"{UUID}/data_level0.bin", "chroma.sqlite3"], None),
    ("qdrant", [".lock", "collection/c/storage.sqlite", "meta.json"], None),
    ("sqlite", ["x.db", "x.db-shm", "x.db-wal"], ("x.db", "x.db.")),
    ("sqlite", ["x.db", "x.db-journal"], ("x.db", "x.db.")),
    ("sqlite", ["cache", "cache-shm", "cache-wal"], ("cache", "cache.")),
    ("sqlite", ["x.sqlite3"], ("x.sqlite3", "x.sqlite3.")),
    ("duckdb", ["x.duckdb", "x.duckdb.wal"], ("x.duckdb", "x.duckdb/")),
    ("shapefile", ["x.dbf", "x.prj", "x.shp", "x.shx"], ("x.", "x/")),
]

NONE = [  # what has a part of the evidence, or looks like it
    ["metadata/run.metadata.json", "a.csv"],
    ["metadata/00001.metadata.json", f"metadata/{UUID}.metadata.json"],
    ["metadata/v1.metadata.json"],
    ["metadata/version-hint.text", "metadata/snap-517-1-x.avro"],
    [f"00000-{UUID}.metadata.json"],
    ["my_delta_log/0.json", "_delta_log"],
    ["zarr.json.bak", "x.zarray", "zarr.json/x"],
    ["_versions/notes.txt", "_versions/1/2.manifest"],
    ["index.json"],
    ["index.json", "other/shard.00000.mds"],
    ["index.json", "chunk-a.bin"],
    ["train-000000.tar", "other/train-000001.tar"],
    ["train-0.tar", "train-1.tar"],
    ["2024-000000.tar"],
    ["_SUCCESS"],
    ["_SUCCESS", "a.csv"],
    ["part-00000.csv", "part-00001.csv", "part-00000.crc"],
    [".metadata", "x.bin"],
    ["blobs/x", "refs/main"],
    ["blobs/sha256/x", "refs/main"],
    ["dataset_info.json"],
    ["x.arrow"],
    ["files/md5/39/x"],
    ["HEAD"],
    ["HEAD", "objects/x"],
    ["config", "README", "data/0/x.csv"],
    ["config", "keys/alice"],
    ["README", "data/2024/1"],
    ["CURRENT", "MANIFEST"],
    ["lock.mdb"],
    ["PG_VERSION"],
    ["x.db", "y.db"],
    ["x-wal", "x"],
    ["x.shp"],
    ["model-00001-of-00003.safetensors"],
    ["model.safetensors.index.json"],
    ["x.wal"],
]


IN_NO_CROWD = {"spark", "mds", "litdata", "dcp", "hf-datasets", "kopia", "leveldb"}  # a part of a name shows these


def found(keys: list[str]) -> list[Collection]:
    finder = Finder()
    finder.see(keys)
    return finder.found()


# MUST 11
@pytest.mark.parametrize("under", ["", "lake/", "lake/k=1/"])
@pytest.mark.parametrize(("kind", "keys", "span"), WRITTEN)
def test_what_a_program_wrote_is_known(kind: str, keys: list[str], span: tuple[str, str] | None, under: str) -> None:
    others = [f"{under}aaa.csv", f"{under}zzz/x.csv", "other/x.csv"] if span or under else []
    all_of_it = [f"{under}{key}" for key in keys]
    [one] = found(sorted([*all_of_it, *others]))
    assert one.kind == kind
    if span is None:
        assert one[:3] == whole(under, kind)[:3]
    else:
        assert one[:2] == (under + span[0], under + span[1])
    assert one.marker in all_of_it
    assert all(one.prefix <= key < one.until for key in all_of_it)
    assert not any(one.prefix <= key < one.until for key in others if span or not key.startswith(under))


# MUST 11
@pytest.mark.parametrize("under", ["", "lake/k=1/"])
@pytest.mark.parametrize("keys", NONE, ids=" ".join)
def test_what_only_looks_like_one_is_none(keys: list[str], under: str) -> None:
    assert found(sorted(f"{under}{key}" for key in keys)) == []


# MUST 11
@pytest.mark.parametrize(("kind", "keys", "span"), WRITTEN)
@pytest.mark.parametrize("under", ["", "a/", "a/b/"])
@pytest.mark.parametrize("crowd", [0, PAGE])
def test_a_look_at_the_folders_of_one_key_finds_what_a_listing_finds(
    kind: str, keys: list[str], span: tuple[str, str] | None, under: str, crowd: int
) -> None:
    """What a worker asks just before it moves the deepest of these. In a crowd it can ask for whole names only."""
    store = MemoryStore()
    for key in (*keys, *(f"!{n}" for n in range(crowd))):
        store.put(f"{under}{key}", b"")
    moved = max((f"{under}{key}" for key in keys), key=lambda key: key.count("/"))
    folders = ["", *(moved[: n + 1] for n, sign in enumerate(moved) if sign == "/")]
    seen = found([f"{folder}{name}" for folder in folders for name in told(store, folder)])
    if crowd and (span is not None or kind in IN_NO_CROWD):
        return
    assert [one[:2] for one in seen] == [one[:2] for one in found([f"{under}{key}" for key in keys])]
    assert [one.kind for one in seen] in ([kind], ["zarr"])  # a set of references is a Zarr group to its readers


def test_every_kind_has_been_written() -> None:
    assert {kind for kind, _, _ in WRITTEN} == set(BY_NAME)
    assert len(BY_NAME) == len(KINDS)


def test_the_outermost_counts() -> None:
    keys = ["a/zarr.json", "a/t/_delta_log/0.json", "a/x.sqlite3", "a.zarr/zarr.json", "b/zarr.json"]
    for order in (sorted(keys), sorted(keys, reverse=True)):
        assert [one.prefix for one in found(order)] == ["a.zarr/", "a/", "b/"]
    assert [one.prefix for one in found([*keys, "zarr.json"])] == [""]


def test_of_two_kinds_at_one_folder_the_first_in_the_registry_counts() -> None:
    for order in (["zarr.json", "_delta_log/0.json"], ["_delta_log/0.json", "zarr.json"]):
        assert [one.kind for one in found(order)] == ["delta"]


def test_memory_is_bounded_by_what_may_still_be_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_MANY", 10)
    finder = Finder()
    for n in range(1_000):
        finder.see([f"{n:04}/index.json", f"{n:04}/x.csv"])
    assert len(finder._seen) <= 12
    finder.see(["0999/shard.00000.mds", "a/zarr.json"])
    for n in range(100):
        finder.see([f"a/{n:03}/zarr.json"])
    assert [one.prefix for one in finder.found()] == ["0999/", "a/"]
    assert len(finder._found) <= 12


NAMES = st.sampled_from(
    ["a", "b", "zarr.json", "_delta_log", "_SUCCESS", "part-0", "k=1", "x.db", "x.db-wal", "config", "keys", HEX64, "0"]
)
KEYS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=30, unique=True)


@given(KEYS, st.integers())
def test_what_is_found_depends_on_no_order_and_never_overlaps(keys: list[str], seed: int) -> None:
    one = found(sorted(keys))
    shuffled = list(keys)
    random.Random(seed).shuffle(shuffled)
    assert [c[:3] for c in found(shuffled)] == [c[:3] for c in one]
    for before, after in pairwise(one):
        assert before.prefix < before.until <= after.prefix
    inside = [[c.prefix for c in one if c.prefix <= key < c.until] for key in keys]
    assert all(len(prefixes) <= 1 for prefixes in inside)


def test_what_must_stand_at_the_end_of_a_name_is_what_its_pattern_asks_for() -> None:
    """Names that end otherwise are not even tried."""
    index = finding._INDEX
    for end, patterns in index.by_end.items():
        for pattern, tail in zip(patterns, index.ends[end], strict=True):
            assert pattern.name is not None
            assert tail.endswith(end)
            assert pattern.name.pattern.replace(")", "").endswith(re.escape(tail))


def test_what_people_read_of_it() -> None:
    assert (shown(""), shown("a/"), shown("a/x.db")) == ("all of the root", "a/", "a/x.db*")
    assert (what_is("zarr"), what_is("of-a-later-version")) == ("a Zarr array or group", "of-a-later-version")
    assert whole("", "zarr") == Collection("", LAST, "zarr", "")


IN_ONE_FOLDER = st.sampled_from(
    [
        "a.json",
        "zarr.json",
        "x.safetensors.index.json",
        "x.bin",
        "x.db-wal",
        "ref-1",
        "shard.00000.mds",
        "a\nb",
        "MANIFEST",
    ]
)


@given(st.lists(IN_ONE_FOLDER, max_size=4), st.sampled_from(["", "k/", "k/data/", "_delta_log/", "k/snapshots/x/"]))
def test_neighbours_that_are_seen_together_show_what_each_shows(names: list[str], folder: str) -> None:
    keys = sorted({f"{folder}{name}" for name in [*names, *(f"part-{n}.csv" for n in range(finding._NEIGHBOURS))]})
    one_by_one = Finder()
    for key in keys:
        one_by_one.see([key])
    assert found(keys) == one_by_one.found()
