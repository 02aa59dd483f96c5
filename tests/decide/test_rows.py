"""What makes plans quick makes them no other plans: rows, their digest and their sums, on every database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import plan_items, tiers
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide.selection import Inputs
from storaged.decide.summary import SAMPLES
from storaged.testing import FakeClock
from storaged.work.plan import rows as plan_rows
from storaged.work.plan.make import Plan, is_as_made, make_plan
from tests.decide.pricing import planned, policy, priced_settings
from tests.decide.seeding import MIB, NOW, Seeder, policies, register, seed

ALL = """
policies:
  - {name: rare, target: {dataset: "s3/*"}, when: {age_over: 1d}, to: {tier: rare}}
  - {name: idle, target: {dataset: "*", tier: hot}, when: {idle_for: 30d}, to: {tier: cold, codec: zstd}}
  - name: seldom
    target: {dataset: "*"}
    when: {reads_below: 1/month}
    to: {tier: cold}
    require: {payback_within: 90d}
  - {name: rest, target: {dataset: "events/*"}, when: {age_over: 1d}, to: {codec: "zstd:9"}, limits: {max_objects: 3}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return priced_settings(tmp_path / "storaged.yaml")


def made(catalog: Catalog, settings: Settings, place: Path) -> tuple[Plan, list[Any]]:
    plan = make_plan(catalog, settings, policies(place, settings, ALL), FakeClock())
    columns = [column for column in plan_items.c if column.name != "plan_id"]
    query = sa.select(*columns).where(plan_items.c.plan_id == plan.id).order_by(plan_items.c.object_id)
    with catalog.read() as conn:
        return plan, list(conn.execute(query).all())


def test_what_differs_between_other_datasets_changes_no_row(
    catalog: Catalog, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each policy is asked about its own datasets; asked as if about all, it wants the same."""
    seed(catalog, settings)
    plan, rows = made(catalog, settings, tmp_path / "p")
    monkeypatch.setattr(Inputs, "about", lambda inputs, _policy: inputs)
    other, others = made(catalog, settings, tmp_path / "p")
    assert rows == others
    assert {row.policy for row in rows} == {"rare", "idle", "seldom", "rest"}
    assert (plan.hash, plan.summary) == (other.hash, other.summary)


def test_the_sums_of_a_plan_are_those_of_its_rows(
    catalog: Catalog, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(catalog, settings)
    monkeypatch.setattr(plan_rows, "PAGE", 7)
    plan, rows = made(catalog, settings, tmp_path / "p")
    assert len(rows) > 3 * plan_rows.PAGE
    told = {
        (p.name, held): tally for p in plan.summary.policies for held, tally in [(None, p.actions), *p.held.items()]
    }
    assert {(row.policy, row.held) for row in rows} == {by for by, tally in told.items() if tally.objects}
    for (name, held), tally in told.items():
        mine = [row for row in rows if (row.policy, row.held) == (name, held)]
        sums = [len(mine), sum(row.stored_bytes for row in mine), sum(row.after_bytes for row in mine)]
        assert [tally.objects, tally.bytes_now, tally.bytes_after] == sums
        most = sorted(mine, key=lambda row: (row.after_bytes - row.stored_bytes, row.object_id))[:SAMPLES]
        assert tally.samples == names(catalog, [row.object_id for row in most])


def test_another_row_makes_another_hash(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    seed(catalog, settings)
    plan, _ = made(catalog, settings, tmp_path / "p")
    assert made(catalog, settings, tmp_path / "p")[0].hash == plan.hash
    with catalog.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE objects SET version = version + 1 WHERE id = (SELECT max(object_id) FROM plan_items)"
        )
    assert made(catalog, settings, tmp_path / "p")[0].hash != plan.hash


def test_no_column_of_a_row_can_be_changed_unseen(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    seed(catalog, settings)
    plan, _ = made(catalog, settings, tmp_path / "p")
    loaded = policies(tmp_path / "p", settings, ALL)
    assert is_as_made(catalog, settings, loaded, plan)
    row = plan_items.c.object_id == sa.select(sa.func.max(plan_items.c.object_id)).scalar_subquery()
    for column in plan_items.c:
        if column.name in ("plan_id", "object_id"):
            continue
        with catalog.begin() as conn:
            before = conn.execute(sa.select(column).where(row)).scalar_one()
            kind = column.type.python_type
            other: object = not before if kind is bool else f"{before}x" if kind is str else (before or 0) + 1
            if column.name == "tier_id":
                other = next(n for n in conn.execute(sa.select(tiers.c.id)).scalars() if n != before)
            conn.execute(sa.update(plan_items).where(row).values({column.name: other}))
        assert not is_as_made(catalog, settings, loaded, plan), column.name
        with catalog.begin() as conn:
            conn.execute(sa.update(plan_items).where(row).values({column.name: before}))
    assert is_as_made(catalog, settings, loaded, plan)


def test_what_was_written_since_the_logs_end_has_a_price(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """A class that moves what is idle by itself bills it as what was just used."""
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("s3/versions", NOW - 90 * DAY, NOW - 9 * DAY)
        own: Any = {"tier": "standard", "raw_class": "INTELLIGENT_TIERING", "size": MIB}
        s.object("s3/versions", "since.csv", age=3 * DAY, **own)
        s.object("s3/versions", "at-the-end.csv", age=9 * DAY, **own)
    _, rows = planned(catalog, settings, tmp_path, policy("{tier: rare}", target="s3/versions"))
    assert rows["since.csv"].saving is not None
    assert rows["since.csv"].saving == rows["at-the-end.csv"].saving


def names(catalog: Catalog, ids: list[int]) -> tuple[str, ...]:
    query = "SELECT d.name || ': ' || o.name FROM objects o JOIN datasets d ON d.id = o.dataset_id WHERE o.id = {}"
    with catalog.read() as conn:
        return tuple(conn.exec_driver_sql(query.format(number)).scalar_one() for number in ids)
