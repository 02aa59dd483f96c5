"""A bill by what single objects have: format, age, size and partition."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import blobs, objects, replicas
from storaged.clock import DAY
from storaged.errors import UsageError
from storaged.work.money.cost import grouped, make_bill
from tests.cli.lake import Lake
from tests.cost.conftest import Priced

THINGS = {  # name: format, partition, age in days
    "a": ("csv", {"dt": "2026-01-01", "hour": "05"}, 10),
    "b": ("csv", {"dt": "2026-01-02"}, 100),
    "c": ("", None, 400),
    "d": ("parquet", None, 2000),
}


@pytest.fixture
def lake(world: Priced) -> Priced:
    """Four objects of 10 to 160 KiB in tier hot, the first of which is read; `c` and `d` are in one pack."""
    world.fill(a=10, b=140, c=20, d=160)
    world.cover(40)
    world.touch("a", reads=5, kilobytes=50)
    now = world.clock.now_us()
    with world.catalog.begin() as conn:
        for name, (kind, partition, age) in THINGS.items():
            told = {"format": kind, "partition": json.dumps(partition) if partition else None}
            one = sa.update(objects).where(objects.c.name == name).values(created_us=now - age * DAY, **told)
            conn.execute(one)
        pack = {"id": "f" * 32, "tier_id": 1, "key": "pack", "state": "live", "codec": "pack", "created_us": now}
        pack |= {"size": 2 << 20, "packed_bytes": 180 << 10, "live_bytes": 180 << 10, "dataset_id": 1}
        conn.execute(sa.insert(blobs).values(pack))
        for number in conn.execute(sa.select(objects.c.id).where(objects.c.name.in_(["c", "d"]))).scalars().all():
            row = {"object_id": number, "blob_id": pack["id"], "offset": 0, "length": 9, "generation": 1}
            conn.execute(sa.insert(replicas).values(row | {"state": "current"}))
            gone = {"raw_state": "released", "codec": "pack"}
            conn.execute(sa.update(objects).where(objects.c.id == number).values(gone))
        lone = {"id": "e" * 32, "tier_id": 1, "key": "lone", "state": "live", "size": 5, "created_us": now}
        conn.execute(sa.insert(blobs).values(lone | {"dataset_id": 1}))
    return world


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("format", {"(nobody's)": 1, "(several)": 1, "csv": 2}),
        ("age", {"under 30 days": 1, "90 days to 1 year": 1, "(nobody's)": 1, "(several)": 1}),
        ("size", {"under 128 KiB": 2, "128 KiB to 1 MiB": 1, "1 to 64 MiB": 1}),
        ("partition", {"(no partition)": 1, "(nobody's)": 1, "dt=2026-01-01, hour=05": 1, "dt=2026-01-02": 1}),
        ("partition:hour", {"(no hour)": 2, "(nobody's)": 1, "05": 1}),
    ],
)
def test_each_line_has_its_objects_and_the_lines_add_up(lake: Priced, by: str, expected: dict[str, int]) -> None:
    """In the order of ages and sizes, else of names; reads count where they are."""
    bill = make_bill(lake.context, by)
    lines = grouped(bill, by)
    assert {line.name: line.places for line in lines} == expected
    assert [line.name for line in lines] == list(expected)
    assert sum((line.cost.total for line in lines), Decimal(0)) == bill.total.total == lake.bill.total.total
    (read,) = [line for line in lines if line.cost.requests]
    assert read.name in ("csv", "under 30 days", "under 128 KiB", "dt=2026-01-01, hour=05", "05")


def test_a_key_that_cannot_be_looked_up_is_refused(lake: Priced) -> None:
    with pytest.raises(UsageError, match="cannot be looked up"):
        make_bill(lake.context, 'partition:a"b')
    with pytest.raises(UsageError, match="cannot be grouped by 'partition:'"):
        grouped(make_bill(lake.context, "partition:"), "partition:")


def test_the_command_shows_them(tmp_path: Path) -> None:
    """As a table and as JSON."""
    lake = Lake(tmp_path)
    lake.fill("a.csv", "b.csv")
    told = lake.good("cost", "--by", "format", "--json").json
    assert [(g["name"], g["objects"]) for g in told["groups"]] == [("csv", 2)]
    assert "under 128 KiB" in lake.good("cost", "--by", "size").out
