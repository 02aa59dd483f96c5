"""What tables in a bucket keep and nothing needs: read by their own libraries, with our credentials and endpoint."""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.memory import InMemoryCatalog

from storaged.stores.registry import library_options
from storaged.work.show.removable import removable
from tests.life.stage import Stage

pytestmark = pytest.mark.usefixtures("layout")


@pytest.fixture
def layout() -> str:
    return "s3"


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested where their statements are."""
    return "sqlite"


def test_a_delta_table_in_a_bucket_tells_what_it_does_not_need(lake: Stage) -> None:
    root = lake.context.dataset("lake").root
    how = dict(library_options(root, lake.settings.access(root)))
    for number in range(3):
        write_deltalake(f"{root}/events", pa.table({"a": [number] * 10}), mode="overwrite", storage_options=how)
    lake.scan()
    [one] = removable(lake.context)
    assert one.needs is not None, one.error
    assert (one.needs.seen, one.unneeded.objects, one.aged.objects) == ("version 2", 0, 2)
    DeltaTable(f"{root}/events", storage_options=how).vacuum(0, dry_run=False, enforce_retention_duration=False)
    lake.rescan()
    [one] = removable(lake.context)
    assert one.aged.objects == 0
    assert one.table.objects > 3


def test_an_iceberg_table_in_a_bucket_tells_what_it_does_not_need(lake: Stage) -> None:
    root = lake.context.dataset("lake").root
    how = library_options(root, lake.settings.access(root))
    endpoint = lake.settings.access(root).endpoint
    properties = {
        "warehouse": root,
        "s3.endpoint": str(endpoint),
        "s3.access-key-id": how["aws_access_key_id"],
        "s3.secret-access-key": how["aws_secret_access_key"],
        "s3.region": how["aws_region"],
    }
    catalog = InMemoryCatalog("x", **properties)
    catalog.create_namespace("n")
    table = catalog.create_table("n.orders", schema=pa.schema([("a", pa.int64())]))
    for number in range(2):
        table.append(pa.table({"a": [number] * 10}))
    table.overwrite(pa.table({"a": [7]}))
    catalog.close()
    [data] = {entry.key.rpartition("/")[0] for entry in lake.context.root("lake").list() if "/data/" in entry.key}
    lake.write(f"{data}/orphan.parquet", b"left by a writer that died")
    lake.days(4)
    lake.scan()
    [one] = removable(lake.context)
    assert one.needs is not None, one.error
    assert one.unneeded.samples == (f"{data}/orphan.parquet",)
    assert one.aged.objects >= 2
    for key in [entry.key for entry in lake.context.root("lake").list()]:
        lake.write(f"copy/{key}", lake.read(key))
    lake.days(4)
    lake.scan()
    copied, again = removable(lake.context)
    assert (copied.needs, copied.unneeded.objects) == (None, 0)
    assert "it was moved or copied" in copied.error
    assert again.unneeded.samples == one.unneeded.samples
