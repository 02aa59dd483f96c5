"""What tables keep and nothing needs, as their own libraries see it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

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
    for manifest in sorted((iceberg / "metadata").glob("*-m0.avro"))[:1]:
        manifest.write_bytes(manifest.read_bytes()[:100])
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
