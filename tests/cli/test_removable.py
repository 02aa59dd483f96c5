"""What tables keep and nothing needs, as their own libraries see it."""

from __future__ import annotations

import json
import os
import string
import struct
import sys
import uuid
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.statistics import StatisticsFile
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

from tests.cli.lake import OLD, Lake


def aged(folder: Path) -> None:
    """All of it was written some time ago."""
    for path in folder.rglob("*"):
        os.utime(path, (OLD, OLD))


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def priced(lake: Lake) -> None:
    lake.configure()
    text = lake.config.read_text()
    lake.config.write_text(text.replace("  hot: {", "  hot: {prices: aws/us-east-1/standard, "))


def a_delta_table(lake: Lake) -> Path:
    """Of version 4, which needs one file; four are of older versions only, and two of none."""
    path = lake.root / "events"
    for number in range(4):
        write_deltalake(path, pa.table({"a": [number] * 10, "p": ["x y"] * 10}), mode="append", partition_by=["p"])
    write_deltalake(path, pa.table({"a": [9] * 10, "p": ["x y"] * 10}), mode="overwrite", partition_by=["p"])
    (path / "orphan.parquet").write_bytes(b"x" * 1_000_000)
    (path / "p=odd%20name").mkdir()
    (path / "p=odd%20name" / "left.parquet").write_bytes(b"y" * 1_000_000)
    for orphan in ("orphan.parquet", "p=odd%20name/left.parquet"):
        os.utime(path / orphan, (OLD, OLD))
    return path


def an_iceberg_table(lake: Lake) -> Path:
    """Of five snapshots, and two files that none refers to, one of them young."""
    catalog = SqlCatalog("x", uri=f"sqlite:///{lake.place}/iceberg.db", warehouse=f"file://{lake.root}")
    catalog.create_namespace("n")
    table = catalog.create_table("n.orders", schema=pa.schema([("a", pa.int64())]))
    for number in range(3):
        table.append(pa.table({"a": [number] * 10}))
    table.overwrite(pa.table({"a": [7]}))
    catalog.close()
    path = lake.root / "n" / "orders"
    aged(path)
    (path / "data" / "orphan.parquet").write_bytes(b"x" * 1_000_000)
    os.utime(path / "data" / "orphan.parquet", (OLD, OLD))
    (path / "data" / "young.parquet").write_bytes(b"x" * 1_000_000)
    return path


class DeletesWriter(ManifestWriterV2):
    """pyiceberg reads manifests of deletes and writes none."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def delete_by_position(table: Table) -> None:
    """The first two rows of a table's only data file, as other programs do it: by a file of deletes."""
    before, io, place = table.current_snapshot(), table.io, table.metadata.location
    assert before is not None
    [data] = table.inspect.files()["file_path"].to_pylist()
    deletes, listed = f"{place}/data/deletes.parquet", f"{place}/metadata/snap-17.avro"
    pq.write_table(pa.table({"file_path": [data, data], "pos": [0, 1]}), deletes.removeprefix("file://"))
    file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=deletes,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=2,
        file_size_in_bytes=os.path.getsize(deletes.removeprefix("file://")),
    )
    made = io.new_output(f"{place}/metadata/deletes-m0.avro")
    with DeletesWriter(table.spec(), table.schema(), made, 17, "deflate") as writer:
        writer.add_entry(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=17, data_file=file))
    with write_manifest_list(2, io.new_output(listed), 17, before.snapshot_id, 2, "deflate") as manifests:
        manifests.add_manifests([writer.to_manifest_file(), *before.manifests(io)])
    now = Snapshot(
        **{"snapshot-id": 17, "parent-snapshot-id": before.snapshot_id, "sequence-number": 2, "schema-id": 0},
        **{"timestamp-ms": before.timestamp_ms + 1, "manifest-list": listed, "summary": Summary(Operation.DELETE)},
    )
    with table.transaction() as changing:
        head = SetSnapshotRefUpdate(**{"ref-name": "main", "type": "branch", "snapshot-id": 17})
        changing._apply((AddSnapshotUpdate(snapshot=now), head), ())


def asked(lake: Lake, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = lake.good("removable", *words, "--json").json
    return found


def test_what_no_version_of_a_delta_table_needs_is_told_with_its_dollars_and_left(lake: Lake) -> None:
    priced(lake)
    path = a_delta_table(lake)
    lake.good("catalog", "create")
    lake.good("scan")
    before = listing(lake.root)
    [one] = asked(lake)["tables"]
    assert (one["dataset"], one["prefix"], one["kind"], one["seen"], one["error"]) == (
        *("lake", "events/", "delta", "version 4", None),
    )
    assert one["unneeded"]["samples"] == ["events/orphan.parquet", "events/p=odd%20name/left.parquet"]
    assert (one["unneeded"]["objects"], one["unneeded"]["bytes"]) == (2, 2_000_000)
    assert float(one["unneeded"]["monthly"]) == pytest.approx(2_000_000 / 2**30 * 0.023, abs=1e-12)
    assert one["aged"]["objects"] == 4
    text = " ".join(lake.good("removable", "lake/events").out.split())
    assert "no live snapshot refers to 2 files, 1.9 MiB; nothing of it was removed" in text
    assert "vacuum(dry_run=False, full=True)" in text
    assert listing(lake.root) == before
    DeltaTable(path).vacuum(dry_run=False, full=True)
    lake.good("scan")
    assert asked(lake)["tables"][0]["unneeded"]["objects"] == 0


def in_z85(number: uuid.UUID) -> str:
    """As a version of a Delta table names a file of deletion vectors."""
    signs = string.digits + string.ascii_lowercase + string.ascii_uppercase + ".-:+=^!/*?&<>()[]{}@%$#"
    words = [int.from_bytes(number.bytes[at : at + 4], "big") for at in range(0, 16, 4)]
    return "".join(signs[word // 85**n % 85] for word in words for n in (4, 3, 2, 1, 0))


def test_deletion_vectors_and_the_books_of_iceberg_in_a_delta_table_are_never_called_unneeded(lake: Lake) -> None:
    """deltalake reads the table by its vector, and its VACUUM would delete that and what readers of Iceberg need."""
    path = lake.root / "events"
    write_deltalake(path, pa.table({"a": range(10)}))
    log = path / "_delta_log"
    told = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    [added] = [one["add"] for one in told if "add" in one]
    # by Delta's protocol: a magic number, and one bitmap of 32 bits with one container, of the values 0 and 3
    vector = struct.pack("<IQIIIHHIHH", 1681511377, 1, 0, 12346, 1, 0, 1, 16, 0, 3)
    number = uuid.UUID(int=7)
    names = {"storageType": "u", "pathOrInlineDv": in_z85(number), "offset": 1, "sizeInBytes": len(vector)}
    stored = b"\1" + struct.pack(">I", len(vector)) + vector + struct.pack(">I", zlib.crc32(vector))
    (path / f"deletion_vector_{number}.bin").write_bytes(stored)
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    gone = {"path": added["path"], "deletionTimestamp": int(OLD * 1000), "dataChange": True}
    lines: list[dict[str, Any]] = [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}},
        {"remove": gone},
        {"add": {**added, "deletionVector": {**names, "cardinality": 2}}},
    ]
    (log / f"{1:020}.json").write_text("\n".join(map(json.dumps, lines)))
    rows = QueryBuilder().register("t", DeltaTable(path)).execute("SELECT count(*) n FROM t").read_all()
    assert pa.table(rows)["n"].to_pylist() == [8]
    (path / "metadata").mkdir()
    (path / "metadata" / "v1.metadata.json").write_text("{}")
    (path / "orphan.parquet").write_bytes(b"x")
    aged(path)
    lake.good("catalog", "create")
    lake.good("scan")
    [one] = asked(lake)["tables"]
    assert one["error"] is None
    assert one["unneeded"]["samples"] == ["events/orphan.parquet"]
    assert "VACUUM in Spark, not by deltalake" in " ".join(lake.good("removable").out.split())


def test_what_no_snapshot_of_an_iceberg_table_needs_is_told_and_left(lake: Lake) -> None:
    an_iceberg_table(lake)
    lake.good("catalog", "create")
    lake.good("scan")
    before = listing(lake.root)
    found = asked(lake, "lake/n/orders/")
    [one] = found["tables"]
    assert one["kind"] == "iceberg"
    assert one["error"] is None
    assert one["seen"].startswith("metadata/00004-")
    assert one["unneeded"]["samples"] == ["n/orders/data/orphan.parquet"]
    assert one["unneeded"]["monthly"] is None
    # three data files, their manifests and the lists of four snapshots before the last one
    names = [name for name in before if "orders" in name]
    assert one["aged"]["objects"] == sum(name.endswith((".parquet", ".avro")) for name in names) - 2 - needed(
        names, lake
    )
    assert found["totals"]["unneeded"]["objects"] == 1
    assert listing(lake.root) == before


def needed(names: list[str], lake: Lake) -> int:
    """How many files the newest snapshot needs, as pyiceberg's own inspection has it."""
    from pyiceberg.table import StaticTable

    newest = max(name for name in names if name.endswith(".metadata.json"))
    table = StaticTable.from_metadata(f"file://{lake.root}/{newest}")
    manifests = table.inspect.manifests().num_rows
    files = table.inspect.files().num_rows
    return int(manifests + files + 1)


def test_what_branches_tags_deletes_and_statistics_of_an_iceberg_table_refer_to_is_needed(lake: Lake) -> None:
    """Also where a commit that failed left metadata of the same number: which of two is the table's only its catalog
    knows."""
    catalog = SqlCatalog("x", uri=f"sqlite:///{lake.place}/iceberg.db", warehouse=f"file://{lake.root}")
    catalog.create_namespace("n")
    table = catalog.create_table("n.orders", schema=pa.schema([("a", pa.int64())]))
    table.append(pa.table({"a": range(10)}))
    delete_by_position(table)
    table = catalog.load_table("n.orders")
    assert table.scan().to_arrow()["a"].to_pylist() == list(range(2, 10))
    path = lake.root / "n" / "orders"
    (path / "metadata" / "17.stats").write_bytes(b"PFA1")
    how = {"snapshot-id": 17, "file-size-in-bytes": 4, "file-footer-size-in-bytes": 4, "blob-metadata": []}
    told = StatisticsFile(**{"statistics-path": f"{table.metadata.location}/metadata/17.stats"}, **how)
    with table.update_statistics() as statistics:
        statistics.set_statistics(told)
    table.manage_snapshots().create_tag(17, "kept").create_branch(17, "side").commit()
    table.append(pa.table({"a": [1]}), branch="side")
    table = catalog.load_table("n.orders")
    before = table.metadata_location.removeprefix("file://")
    table.overwrite(pa.table({"a": [2]}))
    [number, _] = Path(table.metadata_location).name.split("-", 1)
    failed = path / "metadata" / f"{number}-{uuid.UUID(int=7)}.metadata.json"
    failed.write_bytes(Path(before).read_bytes())
    catalog.close()
    aged(path)
    (path / "data" / "orphan.parquet").write_bytes(b"x")
    os.utime(path / "data" / "orphan.parquet", (OLD, OLD))
    os.utime(failed, (OLD + 1, OLD + 1))
    lake.good("catalog", "create")
    lake.good("scan")
    [one] = asked(lake)["tables"]
    assert one["error"] is None
    assert one["unneeded"]["samples"] == ["n/orders/data/orphan.parquet"]


def test_an_iceberg_table_in_the_folder_of_one_that_was_dropped_is_told_from_it(lake: Lake) -> None:
    """The dropped one leaves its metadata, with higher numbers."""
    catalog = SqlCatalog("x", uri=f"sqlite:///{lake.place}/iceberg.db", warehouse=f"file://{lake.root}")
    catalog.create_namespace("n")
    table = catalog.create_table("n.orders", schema=pa.schema([("a", pa.int64())]))
    for number in range(2):
        table.append(pa.table({"a": [number]}))
    aged(path := lake.root / "n" / "orders")
    catalog.drop_table("n.orders")
    table = catalog.create_table("n.orders", schema=pa.schema([("a", pa.int64())]))
    table.append(pa.table({"a": [7]}))
    catalog.close()
    for young in set(path.rglob("*.*")) - {p for p in path.rglob("*.*") if p.stat().st_mtime == OLD}:
        os.utime(young, (OLD + 1, OLD + 1))
    (path / "data" / "orphan.parquet").write_bytes(b"x")
    os.utime(path / "data" / "orphan.parquet", (OLD, OLD))
    lake.good("catalog", "create")
    lake.good("scan")
    [one] = asked(lake)["tables"]
    assert one["error"] is None
    assert one["unneeded"]["samples"] == ["n/orders/data/orphan.parquet"]


def test_an_iceberg_table_is_read_wherever_its_files_are(lake: Lake) -> None:
    an_iceberg_table(lake)
    lake.policy("name: all\ntarget: {dataset: lake}\nwhen: {age_over: 1d}\nto: {tier: cold}\ncollections: ignore\n")
    lake.good("catalog", "create")
    lake.good("scan")
    before = asked(lake)["tables"][0]
    plan = str(lake.good("plan", "--json").json["plan"])
    lake.good("apply", plan, "--yes")
    lake.good("work")
    after = asked(lake)["tables"][0]
    assert after["error"] is None
    assert {k: after["unneeded"][k] for k in ("objects", "samples")} == {
        k: before["unneeded"][k] for k in ("objects", "samples")
    }
    assert after["aged"]["objects"] == before["aged"]["objects"]


def test_a_table_whose_books_are_damaged_is_told_and_nothing_of_it_is_called_removable(lake: Lake) -> None:
    delta, iceberg = a_delta_table(lake), an_iceberg_table(lake)
    (manifest, *_) = sorted((iceberg / "metadata").glob("*-m0.avro"))
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:100])
    os.utime(manifest, (OLD, OLD))
    for entry in sorted((delta / "_delta_log").glob("*.json"))[:1]:
        entry.write_text("{")
    lake.good("catalog", "create")
    lake.good("scan")
    found = asked(lake)
    assert [bool(one["error"]) for one in found["tables"]] == [True, True]
    assert found["totals"]["unneeded"]["objects"] == 0
    text = lake.good("removable").out
    assert "deltalake does not read it" in text
    assert "pyiceberg does not read" in text
    for length in (0, 3, 4, 20, len(whole) // 2, len(whole) - 1):
        manifest.write_bytes(whole[:length])
        assert "pyiceberg does not read" in lake.good("removable").out, length


@pytest.mark.parametrize(("library", "extra"), [("deltalake", "delta"), ("pyiceberg.serializers", "iceberg")])
def test_without_its_library_a_kind_of_tables_is_refused_with_what_to_install(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    a_delta_table(lake) if extra == "delta" else an_iceberg_table(lake)
    lake.good("catalog", "create")
    lake.good("scan")
    monkeypatch.setitem(sys.modules, library, None)
    answer = lake.ctl("removable")
    assert answer.code == 2
    assert f"pip install 'storaged[{extra}]'" in answer.err


def test_what_is_no_table_is_told(lake: Lake) -> None:
    lake.fill()
    assert lake.good("removable").out == "no Delta or Iceberg tables\n"
    assert lake.good("removable", "lake").out == "no Delta or Iceberg tables\n"
    answer = lake.ctl("removable", "lake/nowhere")
    assert answer.code == 2
    assert "is no Delta or Iceberg table" in answer.err
