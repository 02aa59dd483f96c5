"""pyiceberg on a table whose files were moved, by its own paths."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import StaticTable

from storaged.iceberg import CONFIG
from tests.cli.lake import OLD, Lake

WHOLE = "name: whole\ntarget: {dataset: lake}\nwhen: {age_over: 1d}\nto: {tier: cold}\ncollections: whole\n"


def numbers(first: int) -> pa.Table:
    return pa.table({"n": pa.array(range(first, first + 100), pa.int64())})


def test_a_table_that_moved_whole_is_read_and_appended_to_by_its_own_paths(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.configure(grace="0s")
    lake.good("catalog", "create")
    through = {"py-io-impl": "storaged.iceberg.StoragedFileIO", CONFIG: str(lake.config)}
    catalog = InMemoryCatalog("x", warehouse=f"file://{lake.root}", **through)
    catalog.create_namespace("web")
    table = catalog.create_table("web.events", schema=numbers(0).schema, location=f"file://{lake.root}/events")
    table.append(numbers(0))
    files = [path for path in (lake.root / "events").rglob("*") if path.is_file()]
    for path in files:
        os.utime(path, (OLD, OLD))
    lake.good("scan")
    lake.policy(WHOLE)
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    lake.good("sweep", "--yes")
    assert [path for path in files if path.exists()] == []
    with pytest.raises(FileNotFoundError):
        StaticTable.from_metadata(table.metadata_location)
    catalog.load_table("web.events").append(numbers(100))  # what no scan has seen is where it was written
    found = catalog.load_table("web.events").scan().to_arrow()["n"].to_pylist()
    assert sorted(found) == list(range(200))
    assert StaticTable.from_metadata(table.metadata_location, through).scan().to_arrow().num_rows == 100
