"""Each condition: what it selects at its edge, what it says, and when it would hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects
from storaged.clock import DAY, SECOND
from storaged.config.settings import Settings
from storaged.decide import conditions
from storaged.decide.conditions import CONDITIONS, Condition
from storaged.decide.evidence import Evidence, Window, best_window
from storaged.decide.selection import TABLES
from storaged.heat import rate
from storaged.work.plan.functions import give_functions
from tests.decide.seeding import HOUR, MIB, NOW, Seeder, register

WEB, APP, RAW = "events/web", "events/app", "logs/raw"


def condition(key: str, value: object) -> Condition:
    """A condition as a policy file would give it."""
    return CONDITIONS[key](TypeAdapter(CONDITIONS[key].wants).validate_python(value))


class Asked:
    """One catalog, one set of evidence, and questions to them."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        register(catalog, settings)
        self.catalog = catalog
        self.windows: dict[int, Window] = {}
        self.full: dict[int, float] = {}
        with catalog.read() as conn:
            seeder = Seeder(conn)
            self.datasets, self.tiers, self.ids = seeder.datasets, seeder.tiers, seeder.ids

    def evidence(self) -> Evidence:
        return Evidence(NOW, 30 * DAY, self.tiers, self.windows, self.full)

    def add(self, name: str, dataset: str = WEB, **columns: Any) -> None:
        with self.catalog.begin() as conn:
            seeder = Seeder(conn)
            seeder.ids = self.ids
            seeder.object(dataset, name, **columns)

    def cover(self, dataset: str, from_us: int, until_us: int) -> None:
        self.windows[self.datasets[dataset]] = Window(from_us, until_us)

    def selected(self, key: str, value: object) -> dict[str, str]:
        """Names that are selected, with the reason that the plan would give."""
        asked = condition(key, value)
        query = sa.select(objects.c.name, asked.reason(self.evidence())).select_from(TABLES)
        with self.catalog.read() as conn:
            give_functions(conn)
            return dict(map(tuple, conn.execute(query.where(asked.holds(self.evidence())).order_by(objects.c.id))))

    def told(self, key: str, value: object, name: str) -> tuple[str, int | None]:
        """What `explain` says of an object, and when the condition would hold."""
        asked = condition(key, value)
        query = sa.select(objects.c.dataset_id, *asked.facts()).select_from(TABLES).where(objects.c.name == name)
        with self.catalog.read() as conn:
            dataset_id, *facts = conn.execute(query).one()
        found = asked.tell(facts, self.windows.get(dataset_id), self.evidence())
        return found.what, found.holds_from_us


@pytest.fixture
def asked(catalog: Catalog, settings: Settings) -> Asked:
    """A catalog with datasets and no objects."""
    return Asked(catalog, settings)


# MUST 10
def test_idle_is_judged_at_the_end_of_what_the_logs_tell(asked: Asked) -> None:
    """To the microsecond; a read, a creation, or the begin of the window, whichever is last."""
    until = NOW - HOUR
    asked.cover(WEB, until - 20 * DAY, until)
    edge = until - 14 * DAY
    asked.add("read-at-the-edge", last_read_us=edge)
    asked.add("read-after-it", last_read_us=edge + 1)
    asked.add("made-at-the-edge", created_us=edge)
    asked.add("made-after-it", created_us=edge + 1)
    asked.add("never-read")
    assert asked.selected("idle_for", "14d") == {
        "read-at-the-edge": "idle 14 d ≥ 14 d",
        "made-at-the-edge": "idle 14 d ≥ 14 d",
        "never-read": "idle 20 d ≥ 14 d",
    }
    assert asked.told("idle_for", "14d", "read-after-it") == ("idle 13d", until + 1)
    assert asked.told("idle_for", "14d", "never-read") == ("idle 20d", until - 6 * DAY)


# MUST 10
def test_unknown_is_not_cold(asked: Asked) -> None:
    """No window, or one that does not reach back over all of the time, selects nothing and says so."""
    asked.cover(WEB, NOW - 14 * DAY + 1, NOW)
    asked.add("short")
    asked.add("uncovered", APP)
    assert asked.selected("idle_for", "14d") == {}
    for key, value in (("reads_below", "2/month"), ("read_share_below", "5%/month"), ("reads_above", "0.001/month")):
        assert asked.selected(key, value) == {}
    assert asked.told("idle_for", "14d", "short") == ("idle 13d, and its reads are known for 13d only", NOW + 1)
    assert asked.told("idle_for", "14d", "uncovered") == ("no heat source tells of its reads", None)
    assert asked.told("reads_below", "2/month", "uncovered") == ("no heat source tells of its reads", None)
    asked.cover(WEB, NOW - 14 * DAY, NOW)
    assert set(asked.selected("idle_for", "14d")) == {"short"}


def test_each_dataset_is_judged_by_its_own_window(asked: Asked) -> None:
    """One that a log covers long ago does not lend its window to another."""
    asked.cover(WEB, NOW - 90 * DAY, NOW)
    asked.cover(APP, NOW - 90 * DAY, NOW - 60 * DAY)
    asked.cover(RAW, NOW - 90 * DAY, NOW)
    for dataset in (WEB, APP, RAW):
        asked.add(f"{dataset}/old", dataset)
        asked.add(f"{dataset}/40-days", dataset, created_us=NOW - 40 * DAY)
    assert set(asked.selected("idle_for", "25d")) == {
        f"{WEB}/old",
        f"{WEB}/40-days",
        f"{APP}/old",
        f"{RAW}/old",
        f"{RAW}/40-days",
    }


@pytest.mark.parametrize(("value", "words"), [("36h", "idle 480 h ≥ 36 h"), ("90s", "idle 1728000 s ≥ 90 s")])
def test_a_reason_counts_in_the_unit_of_the_threshold(value: str, words: str, asked: Asked) -> None:
    """36 hours are not 1 day."""
    asked.cover(WEB, NOW - 20 * DAY, NOW)
    asked.add("x")
    assert asked.selected("idle_for", value) == {"x": words}


def test_age_counts_from_when_the_content_was_first_known(asked: Asked) -> None:
    """Not from its modification time, which users set as they like."""
    asked.add("old", created_us=NOW - 30 * DAY, mtime_us=NOW)
    asked.add("new", created_us=NOW - 30 * DAY + 1, mtime_us=0)
    assert asked.selected("age_over", "30d") == {"old": "age 30 d ≥ 30 d"}
    assert asked.told("age_over", "30d", "new") == ("29d old", NOW + 1)


def test_rates_decay_and_explain_tells_when_they_will_have(asked: Asked) -> None:
    """Below and above are each other's opposite; at the told instant the rate is the limit."""
    asked.cover(WEB, NOW - 60 * DAY, NOW)
    asked.add("often", reads={1: 30, 5: 30})
    asked.add("once", reads={40: 1})
    asked.add("never")
    below, above = asked.selected("reads_below", "1/week"), asked.selected("reads_above", "1/week")
    assert below == {"once": "reads < 1/week", "never": "reads < 1/week"}
    assert above == {"often": "reads ≥ 1/week"}
    what, when = asked.told("reads_below", "1/week", "often")
    assert what.endswith("reads/day")
    assert when is not None
    with asked.catalog.read() as conn:
        score = conn.execute(sa.select(objects.c.heat_reads).where(objects.c.name == "often")).scalar()
    assert rate(score, when, 30 * DAY) == pytest.approx(1 / 7, rel=1e-6)
    assert asked.told("reads_above", "1/week", "never") == ("0 reads/day", None)


# MUST 10
def test_a_rate_needs_a_window_of_its_own_period(asked: Asked) -> None:
    """Two a month cannot be told from a week."""
    asked.add("x")
    asked.cover(WEB, NOW - 7 * DAY, NOW)
    assert asked.selected("reads_below", "2/month") == {}
    assert set(asked.selected("reads_below", "2/week")) == {"x"}
    assert asked.told("reads_below", "2/month", "x")[1] == NOW - 7 * DAY + round(30.4375 * DAY)


def test_a_share_is_of_the_objects_own_size(asked: Asked) -> None:
    """The same bytes read are much of a small object and little of a large one; an empty one is never read."""
    asked.cover(WEB, NOW - 60 * DAY, NOW)
    asked.add("small", size=MIB, reads={3: 1})
    with asked.catalog.read() as conn:
        score = conn.execute(sa.select(objects.c.heat_bytes)).scalar()
    asked.add("large", size=100 * MIB, heat_bytes=score)
    asked.add("empty", size=0)
    asked.add("unread", size=5)
    assert set(asked.selected("read_share_below", "5%/month")) == {"large", "empty", "unread"}
    what, when = asked.told("read_share_below", "5%/month", "small")
    assert what.endswith("of it read a day")
    assert when is not None
    share = rate(score, when, 30 * DAY) / MIB
    assert share == pytest.approx(0.05 / 30.4375, rel=1e-6)


def test_sizes_are_strict(asked: Asked) -> None:
    """Over and under leave out the size itself."""
    for size in (MIB - 1, MIB, MIB + 1):
        asked.add(str(size), size=size)
    assert asked.selected("size_over", "1MiB") == {str(MIB + 1): "size 1024 KiB > 1 MiB"}
    assert asked.selected("size_under", "1MiB") == {str(MIB - 1): "size 1023 KiB < 1 MiB"}
    assert asked.told("size_over", "1MiB", str(MIB - 1)) == ("1.0 MiB large", None)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (10239, "10239 B"), (10240, "10 KiB"), (10 * MIB, "10 MiB"), (1 << 50, "1024 TiB")]
)
def test_a_plan_says_sizes_with_two_digits_or_more(size: int, words: str, asked: Asked) -> None:
    """Rounded down, in every unit."""
    asked.add("x", size=size)
    assert asked.selected("size_under", "8000PiB") == {
        "x": f"size {words} < 8000 TiB".replace("8000 TiB", "8192000 TiB")
    }


def test_formats_are_told_with_or_without_the_dot(asked: Asked) -> None:
    """In either case of letters."""
    for name in ("a.csv", "b.json", "c"):
        asked.add(name)
    assert asked.selected("format", [".CSV", "json"]) == {"a.csv": "format csv", "b.json": "format json"}
    assert asked.selected("format", "csv") == {"a.csv": "format csv"}
    assert asked.told("format", "csv", "c") == ("no known format", None)


def test_tags_must_all_fit(asked: Asked) -> None:
    """They are the dataset's."""
    asked.add("web")
    asked.add("app", APP)
    asked.add("raw", RAW)
    assert asked.selected("tags", {"team": "growth", "class": "A"}) == {"web": "tagged team=growth, class=A"}
    assert asked.selected("tags", {"team": "growth", "class": "B"}) == {}
    assert asked.told("tags", {"team": "growth"}, "app") == ("tagged team=core", None)
    assert asked.told("tags", {"team": "growth"}, "raw") == ("not tagged so", None)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"hour": 5}, "05 5"),
        ({"hour": "5"}, "05 5"),
        ({"hour": "=05"}, "05 5"),
        ({"hour": ">=5"}, "05 5 12 x"),
        ({"hour": "< 12"}, "05 5"),
        ({"hour": "<= x"}, "05 5 12 x"),
        ({"dt": "<2024-02-01"}, "05 12"),
        ({"dt": ">2024-01-31", "hour": "5"}, "5"),
        ({"no": "1"}, ""),
    ],
)
def test_partitions_compare_as_numbers_where_both_are(value: dict[str, Any], names: str, asked: Asked) -> None:
    """And as text, byte by byte, where one is not; without the key nothing is selected."""
    for hour, day in (("05", "2024-01-31"), ("5", "2024-02-01"), ("12", "2024-01-01"), ("x", "2024-12-31")):
        asked.add(hour, partition={"hour": hour, "dt": day})
    asked.add("none")
    assert " ".join(asked.selected("partition", value)) == names


def test_a_partition_s_reason_shows_what_was_compared(asked: Asked) -> None:
    """Key, value and limit."""
    asked.add("x", partition={"dt": "2024-01-31", "hour": "5"})
    reason = asked.selected("partition", {"dt": "<2025", "hour": 5})["x"]
    assert reason == "partition dt=2024-01-31 < 2025, hour=5"
    assert asked.told("partition", {"dt": "<2025"}, "x") == ("partition dt=2024-01-31", None)


def test_a_full_tier_selects_what_is_in_it(asked: Asked) -> None:
    """More than the share, not the share itself; a tier without capacity is never full."""
    asked.full = {asked.tiers["hot"]: 0.8, asked.tiers["warm"]: 0.9}
    for tier in ("hot", "warm", "cold"):
        asked.add(tier, tier=tier)
    assert asked.selected("tier_full_above", "80%") == {"warm": "tier full 90% > 80%"}
    assert asked.told("tier_full_above", "80%", "hot") == ("its tier is 80% full", None)
    assert asked.told("tier_full_above", "80%", "cold") == ("its tier has no capacity", None)
    asked.full = {}
    assert asked.selected("tier_full_above", "0%") == {}


def test_the_window_is_what_goes_on_with_what_it_continues() -> None:
    """Of several that go on the longest; of equals the one that ends last; none of none."""
    assert best_window([]) is None
    assert best_window([Window(0, 5), Window(3, 8), Window(1, 4)]) == Window(0, 8)
    assert best_window([Window(0, 9), Window(5, 10 * SECOND)]) == Window(0, 10 * SECOND)
    ended, lives = Window(0, 400 * DAY), Window(460 * DAY, 500 * DAY)
    assert best_window([ended, lives]) == lives, "a longer one that ended is no window"
    assert best_window([ended, lives, Window(395 * DAY, 470 * DAY)]) == Window(0, 500 * DAY)
    late = Window(100 * DAY, 495 * DAY)
    assert best_window([late, Window(496 * DAY, 500 * DAY)]) == late, "a log that lags some days goes on"


def test_every_condition_is_documented_and_registered() -> None:
    """A file for it, a line for it, a sentence about it."""
    folder = Path(str(conditions.__file__)).parent
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    assert all(kind.__doc__ for kind in CONDITIONS.values())
    assert text.count("    wants = ") + 2 == len(CONDITIONS)  # two inherit it
