"""A collection that gets another storage class in place, all of it or nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storaged.catalog.engine import Catalog
from storaged.decide.load import load_policies
from storaged.testing import FakeClock
from storaged.work.plan.make import make_plan
from storaged.work.rewrite.apply import apply_plan
from tests.life.places import NewPlaces
from tests.life.test_transition import POLICY, Bucket, remote_root
from tests.life.world import text

ARRAY = ("t.zarr/c/0", "t.zarr/c/1", "t.zarr/zarr.json")


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested where their statements are."""
    return "sqlite"


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog, clock: FakeClock, s3_user: Any, request: pytest.FixtureRequest) -> Bucket:
    """An array of three objects that is old enough for the policy, and planned."""
    new_places: NewPlaces = remote_root("whole", s3_user, request)
    (place := tmp_path / "world").mkdir()
    lake = Bucket(place, catalog, clock, new_places)
    for name in ARRAY:
        lake.put(text(name), name, ChecksumAlgorithm="CRC32C")
    lake.days(40)
    lake.scan()
    (place / "policies" / "p.yaml").write_text(f"{POLICY}collections: whole\n")
    loaded = load_policies(place / "policies", lake.settings)
    plan = make_plan(lake.catalog, lake.settings, loaded, lake.clock)
    assert len(apply_plan(lake.context, plan.id, loaded).jobs) == 1
    return lake


def classes(lake: Bucket) -> list[str]:
    return [lake.storage_class(name) for name in ARRAY]


# MUST 11
def test_all_of_it_gets_the_class_and_all_of_it_gets_it_back(lake: Bucket) -> None:
    report = lake.work()
    assert (report.done, report.failed, report.skipped) == (3, 0, 0)
    assert classes(lake) == ["STANDARD_IA"] * 3
    undone = lake.undo(f"lake/{ARRAY[0]}")
    assert len(undone.done) == 3
    assert undone.whole == ["lake/t.zarr/ was moved whole, so undo is of all of it: 3 objects"]
    assert lake.work().done == 3
    assert classes(lake) == ["STANDARD"] * 3


# MUST 11
@pytest.mark.parametrize("name", [ARRAY[1], "t.zarr/c/2"])
def test_what_its_user_does_to_a_part_keeps_all_of_it_as_it_is(name: str, lake: Bucket) -> None:
    lake.put(text("other"), name)
    report = lake.work()
    assert (report.done, report.failed, report.skipped) == (0, 0, 3)
    assert classes(lake) == ["STANDARD"] * 3
