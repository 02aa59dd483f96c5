"""Collections that move whole: what conditions say of all of one, what holds all of it back, how limits count it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects
from storaged.catalog.schema_collections import collections as known
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide.kinds import whole
from storaged.errors import ConfigError
from storaged.testing import FakeClock
from storaged.work.advise.run import advise
from storaged.work.context import Context
from storaged.work.plan.explain import explain
from storaged.work.plan.funnel import Counting
from storaged.work.plan.make import Plan, make_plan, plan_rows
from tests.decide.pricing import priced_settings
from tests.decide.seeding import HOUR, MIB, NOW, Seeder, policies, register

POLICY = """
name: whole
target: {dataset: events/web, tier: hot}
when: {WHEN}
to: {tier: cold}
collections: whole
"""
A, B = "a.zarr/", "b.zarr/"  # of three and of two parts
PARTS = {A: ("a.zarr/c/0", "a.zarr/c/1", "a.zarr/zarr.json"), B: ("b.zarr/c/0", "b.zarr/zarr.json")}


@pytest.fixture
def lake(catalog: Catalog, settings: Settings) -> Catalog:
    """Two arrays and an object beside them; logs tell of the last 90 days."""
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW - 90 * DAY, NOW - HOUR)
        found = [whole(prefix, "zarr", f"{prefix}zarr.json") for prefix in (A, B)]
        collections.replace(conn, s.datasets["events/web"], found, now_us=NOW)
        for name in (*PARTS[A], *PARTS[B], "plain.csv"):
            s.object("events/web", name, size=MIB)
    return catalog


def change(lake: Catalog, name: str, **columns: Any) -> None:
    with lake.begin() as conn:
        conn.execute(sa.update(objects).where(objects.c.name == name).values(columns))


def planned(lake: Catalog, settings: Settings, tmp_path: Path, when: str, more: str = "", before: str = "") -> Plan:
    text = POLICY.replace("WHEN", when) + more
    if before:
        text = "policies:\n" + "".join(
            f"- {one.strip()}\n".replace("\n", "\n  ").rstrip() + "\n" for one in (before, text)
        )
    loaded = policies(tmp_path / "p", settings, text)
    return make_plan(lake, settings, loaded, FakeClock(), why=Counting.ALWAYS)


def held(lake: Catalog, plan: Plan) -> dict[str, str | None]:
    """What holds back what is planned: of collections, each of which is held back by one thing; and of `plain.csv`."""
    found: dict[str, str | None] = {}
    for row in plan_rows(lake, plan.id):
        if row.policy == "whole":
            assert found.setdefault(row.whole or row.name, row.held) == row.held
    for prefix, names in PARTS.items():
        rows = [row.name for row in plan_rows(lake, plan.id) if row.whole == prefix]
        assert sorted(rows) in ([], sorted(names))
    return found


def test_conditions_are_asked_of_all_of_it(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    assert held(lake, planned(lake, settings, tmp_path, "size_over: 2MiB")) == {A: None}
    assert held(lake, planned(lake, settings, tmp_path, "size_under: 3MiB")) == {B: None, "plain.csv": None}
    change(lake, PARTS[B][0], last_read_us=NOW - 2 * DAY)
    assert held(lake, planned(lake, settings, tmp_path, "idle_for: 30d")) == {A: None, "plain.csv": None}
    change(lake, PARTS[A][2], created_us=NOW - 2 * DAY)
    plan = planned(lake, settings, tmp_path, "age_over: 30d")
    assert held(lake, plan) == {B: None, "plain.csv": None}
    reasons = {row.reason for row in plan_rows(lake, plan.id) if row.whole == B}
    assert reasons == {"with all of b.zarr/ (zarr, 2 objects, 2048 KiB); age 400 d ≥ 30 d"}
    steps = [(step.key, step.left) for step in plan.summary.policies[0].funnel]
    assert steps == [("target", 6), ("age_over", 3), ("there", 3)]


def test_a_funnel_says_in_words_what_holds_a_part_back(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    change(lake, PARTS[A][0], raw_state="superseded", raw_until_us=NOW + DAY)
    told = str(planned(lake, settings, tmp_path, "size_over: 2MiB"))
    words = "not held back by a part of what would move whole (its last move is in grace: `storagectl sweep` ends that"
    assert words in told
    assert "whole:" not in told


def test_rates_of_reads_add_up(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Each part is read too seldom, and all of them together are not."""
    with lake.begin() as conn:
        one = Seeder(conn)
        one.ids = iter(range(100, 101))  # type: ignore[assignment]  # behind those that are there
        number = one.object("events/web", "c.csv", reads=dict.fromkeys(range(0, 90, 2), 1))
        score = conn.execute(sa.select(objects.c.heat_reads).where(objects.c.id == number)).scalar_one()
    for name in PARTS[A]:
        change(lake, name, heat_reads=score)
    assert B in held(lake, planned(lake, settings, tmp_path, "reads_below: 1/day"))
    assert A not in held(lake, planned(lake, settings, tmp_path, "reads_below: 1/day"))
    assert A in held(lake, planned(lake, settings, tmp_path, "reads_below: 2/day"))
    assert held(lake, planned(lake, settings, tmp_path, "reads_above: 1/day")) == {A: None}


def test_what_cannot_be_put_together_must_hold_for_each_part(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    change(lake, PARTS[A][0], format="json")
    for name in PARTS[B]:
        change(lake, name, format="json")
    assert held(lake, planned(lake, settings, tmp_path, "format: json")) == {B: None}
    where = "where: format = 'json'\n"
    assert held(lake, planned(lake, settings, tmp_path, "age_over: 1d", where)) == {B: None}


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"hold": "court"}, "whole:hold"),
        ({"mtime_us": NOW}, "whole:quiet"),
        ({"damaged": "digest differs"}, "whole:damaged"),
    ],
)
def test_what_holds_a_part_holds_all_of_it(
    columns: dict[str, Any], why: str, lake: Catalog, settings: Settings, tmp_path: Path
) -> None:
    change(lake, PARTS[A][1], **columns)
    plan = planned(lake, settings, tmp_path, "age_over: 1d")
    assert held(lake, plan) == {A: why, B: None, "plain.csv": None}
    assert "held back: 3 objects, 3.0 MiB: a part of what would move whole is held back: " in str(plan.summary)


def test_what_is_in_two_tiers_stays(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    with lake.begin() as conn:
        warm = Seeder(conn).tiers["warm"]
    change(lake, PARTS[A][1], tier_id=warm)
    assert held(lake, planned(lake, settings, tmp_path, "age_over: 1d")) == {
        A: "scattered",
        B: None,
        "plain.csv": None,
    }
    for name in PARTS[A]:
        change(lake, name, tier_id=warm)
    assert held(lake, planned(lake, settings, tmp_path, "age_over: 1d")) == {B: None, "plain.csv": None}


def test_what_would_keep_others_from_writing_for_long_stays(
    lake: Catalog, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storaged.decide.whole.MOST", 3)
    monkeypatch.setattr("storaged.decide.whole.MOST_ON_SQLITE", 2)
    why = "many" if lake.engine.dialect.name == "sqlite" else None
    plan = planned(lake, settings, tmp_path, "age_over: 1d")
    assert held(lake, plan) == {A: why, B: None, "plain.csv": None}
    assert why is None or "90,000 in a catalog on SQLite, where nobody else writes" in str(plan.summary)


def test_what_its_own_program_does_not_read_through_storaged_stays(
    lake: Catalog, settings: Settings, tmp_path: Path
) -> None:
    with lake.begin() as conn:
        conn.execute(sa.update(known).where(known.c.prefix == B).values(kind="lance"))
    found = held(lake, planned(lake, settings, tmp_path, "age_over: 1d"))
    assert found == {A: None, B: "unreadable", "plain.csv": None}


BEFORE = "name: before\ntarget: {dataset: events/web}\nwhen: {size_over: 1KiB}\nto: {tier: warm}\n"


def test_a_policy_before_it_decides_unless_it_only_leaves_parts_alone(
    lake: Catalog, settings: Settings, tmp_path: Path
) -> None:
    plan = planned(lake, settings, tmp_path, "age_over: 1d", before=BEFORE)
    assert held(lake, plan) == {A: None, B: None}
    assert [row.name for row in plan_rows(lake, plan.id) if row.policy == "before"] == ["plain.csv"]
    change(lake, PARTS[A][0], size=2 * MIB)
    before = BEFORE.replace("1KiB", "1.5MiB") + "collections: ignore\n"
    plan = planned(lake, settings, tmp_path, "age_over: 1d", before=before)
    rows = {row.name: row.held for row in plan_rows(lake, plan.id) if row.policy == "whole"}
    assert rows == {**dict.fromkeys(PARTS[A][1:], "decided"), **dict.fromkeys((*PARTS[B], "plain.csv"))}


def test_limits_take_all_of_it_or_leave_it(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Of the three, one by one in the order of their names, a limit cuts none in two."""
    found = held(lake, planned(lake, settings, tmp_path, "age_over: 1d", "limits: {max_objects: 4}\n"))
    assert found == {A: None, B: "max_objects", "plain.csv": "max_objects"}
    found = held(lake, planned(lake, settings, tmp_path, "age_over: 1d", "limits: {max_bytes: 2.5MiB}\n"))
    assert found == {A: "max_bytes", B: None, "plain.csv": "max_bytes"}
    found = held(lake, planned(lake, settings, tmp_path, "age_over: 1d", "limits: {max_percent: 50%}\n"))
    assert set(found.values()) == {"max_percent"}


def test_a_limit_that_is_smaller_than_a_collection_says_so(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Its parts would wait for ever; what is merely over the limit goes when there is room for it."""
    for limit, which in (
        ("max_objects: 2", "max_objects: 2: all of events/web: a.zarr/ is"),
        ("max_objects: 1", "max_objects: 1: all of events/web: a.zarr/ and 1 more is"),
        ("max_bytes: 2.5MiB", "max_bytes: 2560 KiB: all of events/web: a.zarr/ is"),
    ):
        plan = planned(lake, settings, tmp_path, "age_over: 1d", f"limits: {{{limit}}}\n")
        assert f"{which} more than that, so it never moves" in str(plan)
    for limit in ("max_objects: 4", "max_objects: 3"):
        assert "never moves" not in str(planned(lake, settings, tmp_path, "age_over: 1d", f"limits: {{{limit}}}\n"))
    priced = priced_settings(tmp_path / "priced.yaml")
    plan = planned(lake, priced, tmp_path, "age_over: 1d", "limits: {max_spend: 0 USD}\n")
    assert "max_spend: 0 USD: all of events/web: a.zarr/ and 1 more is more than that" in str(plan)


@pytest.mark.parametrize("kind", ["zarr", "delta"])
def test_advice_proposes_to_move_whole_what_its_own_program_reads_then(
    lake: Catalog, clock: FakeClock, tmp_path: Path, kind: str
) -> None:
    """Of others it says why not; its dollars are those of the plan."""
    priced = priced_settings(tmp_path / "priced.yaml")
    with lake.begin() as conn:
        conn.execute(sa.update(objects).values(size=900 * MIB, stored_bytes=900 * MIB))
        conn.execute(sa.update(known).values(kind=kind))
    context = Context(priced, lake, clock, actor="test")
    told = advise(context, ["events/web"], [])
    found = {p.policy.name: p for p in told.proposals}
    name = "advised-7-whole-hot" if "advised-7-whole-hot" in found else "advised-7-whole"
    if kind == "delta":
        assert name not in found
        return
    assert "collections: whole" in found[name].draft.text
    assert found[name].expected.actions.objects == len(PARTS[A]) + len(PARTS[B])
    for p in told.proposals:
        among = policies(tmp_path / "p", priced, p.draft.text, f"{p.draft.name}.yaml")
    plan = make_plan(lake, priced, among, clock)
    whole_of_it = next(part for part in plan.summary.policies if part.name == name)
    assert (whole_of_it.actions, whole_of_it.money) == (found[name].expected.actions, found[name].expected.money)
    assert whole_of_it.money is not None
    assert whole_of_it.money.saving_12_months > 0


def test_money_is_judged_of_all_of_it(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    """A part that is too small to pay does not keep what pays as a whole, and the other way round."""
    priced = priced_settings(tmp_path / "priced.yaml")
    for name in PARTS[A][:2]:
        change(lake, name, size=900 * MIB, stored_bytes=900 * MIB)
    for name in (PARTS[A][2], *PARTS[B], "plain.csv"):
        change(lake, name, size=1_000, stored_bytes=1_000)
    require = "require: {payback_within: 365d}\n"
    plan = planned(lake, priced, tmp_path, "age_over: 1d", require)
    assert held(lake, plan) == {A: None, B: "require", "plain.csv": "require"}
    told = explain(
        lake,
        priced,
        policies(tmp_path / "p", priced, POLICY.replace("WHEN", "age_over: 1d") + require),
        "events/web",
        PARTS[A][2],
        NOW,
    )
    assert "whole decides: would go to cold with all of a.zarr/" in str(told)
    assert told.subject.part_of is not None
    assert str(told.subject.part_of) == (
        "part of a Zarr array or group (a.zarr/): 3 objects, 1.8 GiB, last written 2025-08-17T14:13:20Z, "
        "no read known, in hot"
    )


def test_explain_tells_of_all_of_it(lake: Catalog, settings: Settings, tmp_path: Path) -> None:
    text = f"policies:\n- {BEFORE.strip()}\n- {POLICY.replace('WHEN', 'size_over: 2MiB').strip()}\n"
    loaded = policies(tmp_path / "p", settings, text.replace("\n", "\n  ").replace("\n  -", "\n-"))
    told = explain(lake, settings, loaded, "events/web", PARTS[A][0], NOW)
    assert (told.decides, told.outcome) == ("whole", "whole decides: would go to cold with all of a.zarr/")
    assert "yes: larger than 2 MiB: 3.0 MiB large" in str(told)
    by_its_name = explain(lake, settings, loaded, "events/web", A, NOW)
    assert str(by_its_name).startswith("events/web: a Zarr array or group (a.zarr/): 3 objects, 3.0 MiB, last written ")
    assert (by_its_name.policies, by_its_name.subject.name) == (told.policies, PARTS[A][0])
    told = explain(lake, settings, loaded, "events/web", PARTS[B][0], NOW)
    assert "held back: part of a Zarr array or group (b.zarr/), which is one thing" in told.outcome
    change(lake, PARTS[A][1], hold="court")
    told = explain(lake, settings, loaded, "events/web", PARTS[A][0], NOW)
    assert "whole decides: held back: a part of what would move whole is held back: a legal hold" in told.outcome


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("to: {tier: cold}", "to: {tier: cold, codec: zstd}"),
            "what moves whole stays as it is: its own program has packed it",
        ),
        (("to: {tier: cold}", "to: {codec: identity}"), "what moves whole goes somewhere"),
        (
            ("age_over: 1d", "tier_full_above: high"),
            "a tier that is full is emptied by its coldest objects, one by one",
        ),
    ],
)
def test_what_cannot_be_done_whole_is_refused(
    change: tuple[str, str], message: str, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        policies(tmp_path / "p", settings, POLICY.replace("WHEN", "age_over: 1d").replace(*change))
    assert [problem.message for problem in error.value.problems] == [message]
