"""What `explain` says would change the mind of `tier: auto` does, and what is cheaper and not chosen says why."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from math import log
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.daemon.ticks import wanted
from storaged.testing import FakeClock
from storaged.work.plan.make import make_plan, plan_rows
from tests.decide.choosing import HALF_LIFE, empty, learnt, model
from tests.decide.pricing import MONTH, planned, priced_settings
from tests.decide.seeding import MIB, NOW, Seeder, policies, remembered
from tests.decide.test_choice import BREAK_EVEN, FORECAST, MEMORY, ONLY, STAY, TEXT, one, told_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return priced_settings(tmp_path / "storaged.yaml")


def foretell(catalog: Catalog, per_month: Decimal) -> None:
    """Set what was read of the one object so that exactly so many reads a month are foretold for it."""
    told = model(ONLY)
    prior = told.of("", 180)[0]
    decay = log(2) / HALF_LIFE
    days = prior.rate + (1 - 0.5 ** (300 / HALF_LIFE)) / decay
    seen = float(per_month) / float(MONTH) * days - prior.shape
    heat = log(seen) + decay * (NOW // DAY)
    values = {"heat_reads": heat, "heat_bytes": heat + log(50 * MIB), "last_read_us": NOW - 2 * DAY}
    with catalog.begin() as conn:
        conn.execute(sa.update(objects).values(values))


def test_what_would_change_its_mind_does(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """With a hundredth more or fewer reads than it says, the object goes where it says; on this side it does not."""
    one(catalog, settings)
    told = told_of(catalog, settings, tmp_path, TEXT)
    assert [step.tier for step in told.evenly] == ["cold", "rare", "hot"]
    assert told.evenly[0].reads_per_month == 0
    for before, step in pairwise(told.evenly):
        for share, tier in ((Decimal("1.01"), step.tier), (Decimal("0.99"), before.tier)):
            foretell(catalog, step.reads_per_month * share)
            _, rows = planned(catalog, settings, tmp_path, TEXT)
            assert (rows["a.csv"].tier if rows else "hot") == tier


def test_what_changes_the_mind_of_memory_is_said_and_does(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """What is cold and read each day comes back from the rate on that explain says, and no sooner."""
    text = TEXT.replace("auto", "auto, among: [hot, cold]")
    for per_day, tier in ((0.02, "cold"), (2, "hot")):
        empty(catalog, settings)
        with catalog.begin() as conn:
            s = Seeder(conn)
            s.cover("events/web", NOW // DAY * DAY - 300 * DAY, NOW // DAY * DAY)
            known = {"size": 100 * MIB, "tier": "cold", "raw_state": "released"}
            made = s.object("events/web", "a.csv", **known)  # type: ignore[arg-type]  # of a mapping
            at = {"codec": "identity", "size": 100 * MIB, "created_us": NOW - 400 * DAY}
            s.replica(made, "cold", **at)  # type: ignore[arg-type]  # the same
            rates = remembered({NOW // DAY - ago: 1 for ago in range(1, 301)}, 100 * MIB)
            more = {name: (one or 0) + log(per_day) for name, one in rates.items()}
            last = {"last_read_us": NOW // DAY * DAY - DAY // 2}
            conn.execute(sa.update(objects).values(**more, **last))
        learnt(catalog, model({MEMORY: 0.6, STAY: 0.4}, share=1.0))
        told = told_of(catalog, settings, tmp_path, text)
        assert [step.tier for step in told.evenly] == ["cold", "hot"]
        edge = told.evenly[1].reads_per_month
        assert told.remembered is not None
        assert abs(told.remembered.days / (Decimal(per_day) * MONTH) - 1) < Decimal("0.02")
        assert (told.remembered.days > edge) == (tier == "hot")
        _, rows = planned(catalog, settings, tmp_path, text)
        assert (rows["a.csv"].tier if rows else "cold") == tier


@pytest.mark.parametrize(
    ("weights", "outcome"),
    [(ONLY, "rare"), ({STAY: 0.3, FORECAST: 0.3, BREAK_EVEN: 0.4}, "hot"), ({FORECAST: 0.6, BREAK_EVEN: 0.4}, "rare")],
)
def test_one_more_read_does_what_is_said_of_it(
    weights: dict[str, float], outcome: str, catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Break-even goes by the last read alone: where it decides, one read is enough, however few are foretold."""
    one(catalog, settings)
    learnt(catalog, model(weights, shape=0.5))
    told = told_of(catalog, settings, tmp_path, TEXT)
    assert told.if_read == outcome
    assert told.picks == dict.fromkeys(weights, "cold") | ({STAY: "hot"} if STAY in weights else {})
    until = NOW // DAY
    heat = log(2) / HALF_LIFE * until
    values = {"heat_reads": heat, "heat_bytes": heat + log(50 * MIB), "last_read_us": until * DAY}
    with catalog.begin() as conn:
        conn.execute(sa.update(objects).values(values))
    _, rows = planned(catalog, settings, tmp_path, TEXT)
    assert (rows["a.csv"].tier if rows else "hot") == outcome
    told = told_of(catalog, settings, tmp_path, TEXT)
    assert told.outweighed == (outcome == "hot")


def test_what_is_cheaper_and_not_chosen_says_why(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """The least total may not pay for its move twice over."""
    one(catalog, settings)
    with catalog.begin() as conn:
        conn.execute(sa.update(objects).values(size=2 * MIB, stored_bytes=2 * MIB))
    told = told_of(catalog, settings, tmp_path, TEXT)
    here = next(one for one in told.alternatives if one.stays)
    few = [one for one in told.alternatives if not one.stays and not one.chosen and one.total < here.total]
    assert few
    assert all("saves less than 2 times what it costs" in str(one) for one in few)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (ONLY, " reads expected in 180d, saves $"),
        ({FORECAST: 0.3, MEMORY: 0.7}, "auto: 0.000 reads in 180d if it goes on as remembered, saves $"),
        ({FORECAST: 0.3, BREAK_EVEN: 0.4, STAY: 0.3}, "auto: if it rests as long again as it has, saves $"),
    ],
)
def test_a_reason_is_of_the_way_that_decides(
    weights: dict[str, float], words: str, catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Of those that are for the tier it is the one that counts most, and not always what is foretold."""
    one(catalog, settings)
    learnt(catalog, model(weights))
    _, rows = planned(catalog, settings, tmp_path, TEXT)
    assert words in rows["a.csv"].reason


@pytest.mark.parametrize(
    ("schedule", "planned_by"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("30 2 * * mon", "30 2 * * *"),
        ("0 2 * 1-6 *", "0 2 * * *"),
        ("0 2,14 */2 * *", "0 2,14 * * *"),
    ],
)
def test_what_chooses_is_planned_each_day_whatever_its_schedule(
    schedule: str, planned_by: str, settings: Settings, tmp_path: Path
) -> None:
    """A rule by idle days loses nothing by a week, and is planned when it says."""
    line = f'schedule: "{schedule}"\n'
    found = policies(tmp_path / "p", settings, TEXT + line)
    assert found.warnings == ()
    assert wanted(settings, found)["plan:p"] == planned_by
    named = TEXT.replace("to: {tier: auto}", "when: {idle_for: 9d}\nto: {tier: cold}")
    assert wanted(settings, policies(tmp_path / "q", settings, named + line))["plan:p"] == schedule


def test_between_its_days_what_comes_back_is_planned_and_nothing_else(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """One that is cold in `rare` and read daily, and one that is hot and never read."""
    text = TEXT.replace("auto", "auto, among: [hot, rare]")
    one(catalog, settings)
    with catalog.begin() as conn:
        known = {"size": 100 * MIB, "tier": "rare", "raw_state": "released", "reads": dict.fromkeys(range(1, 60), 9)}
        s = Seeder(conn)
        next(s.ids)
        made = s.object("events/web", "b.csv", **known)  # type: ignore[arg-type]  # of a mapping
        s.replica(made, "rare", codec="identity", size=100 * MIB, created_us=NOW - 400 * DAY)
    loaded = policies(tmp_path / "p", settings, text)
    found = []
    for only_back in (False, True):
        plan = make_plan(catalog, settings, loaded, FakeClock(), only=["p"], only_back=only_back)
        found.append({row.name: row.tier for row in plan_rows(catalog, plan.id)})
    assert found == [{"a.csv": "rare", "b.csv": "hot"}, {"b.csv": "hot"}]
