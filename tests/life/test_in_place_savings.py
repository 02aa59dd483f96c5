"""The savings of a storage class that was changed in place, by AWS's prices, until it is taken back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from storaged.catalog.engine import Catalog
from storaged.config.settings import load_settings
from storaged.prices.book import DAYS_PER_MONTH
from storaged.testing import FakeClock
from storaged.work.money.savings import AppliedPart, savings
from storaged.work.plan.make import make_plan
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.pointers import undo_job
from tests.life.places import NewPlaces
from tests.life.test_transition import Bucket, remote_root

SIZE, SMALLEST, GB = 1 << 20, 128 << 10, 1 << 30
NAMES = ("large.csv", "small.csv")
STANDARD, STANDARD_IA = Decimal("0.023"), Decimal("0.0125")  # USD per GB and month, us-east-1


@pytest.fixture
def new_places(s3_user: Any, request: pytest.FixtureRequest) -> NewPlaces:
    return remote_root("transition", s3_user, request)


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> Bucket:
    place = tmp_path / "world"
    place.mkdir()
    made = Bucket(place, catalog, clock, new_places)
    config = place / "storaged.yaml"
    text = config.read_text()
    for tier, prices in (("STANDARD", "standard"), ("STANDARD_IA", "standard-ia")):
        text = text.replace(f"storage_class: {tier},", f"storage_class: {tier}, prices: aws/us-east-1/{prices},")
    config.write_text(text)
    made.settings = load_settings(config)
    made.context = made.new_context()
    return made


def only(lake: Bucket) -> AppliedPart:
    (part,) = savings(lake.context)
    return part


def test_a_class_changed_in_place_saves_until_it_is_taken_back_and_small_objects_are_billed_larger(
    lake: Bucket,
) -> None:
    lake.put(b"x" * SIZE, NAMES[0])
    lake.put(b"y" * 1_000, NAMES[1])
    lake.days(40)
    lake.scan()
    policies = lake.policies()
    plan = make_plan(lake.catalog, lake.settings, policies, lake.clock)
    made = apply_plan(lake.context, plan.id, policies)
    assert lake.work().done == 2
    part = only(lake)
    assert (part.outcome.done, part.outcome.here, part.outcome.unpriced) == (2, 2, 0)
    before = (SIZE + 1_000) * STANDARD / GB
    after = (SIZE + SMALLEST) * STANDARD_IA / GB
    assert part.outcome.saving == before - after
    assert part.error is not None
    assert abs(part.error) < Decimal("1e-11"), "the ledger keeps picodollars"
    lake.days(10)
    undo_job(lake.context, made.jobs)
    lake.days(1)
    lake.work()
    lake.days(5)
    part = only(lake)
    assert (part.outcome.here, part.outcome.saving) == (0, 0)
    days = part.outcome.saved * DAYS_PER_MONTH / (before - after)
    assert days == pytest.approx(Decimal(11))
