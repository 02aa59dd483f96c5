"""`tier: auto` in plans: the cheapest tier of each object, by another computation; unknown is not cold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog import models
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import blobs, heat_coverage, objects, replicas, tiers
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide.choice.told import ChoiceTold
from storaged.decide.selection import KindChoice
from storaged.errors import ConfigError
from storaged.testing import FakeClock
from storaged.work.plan.explain import explain
from storaged.work.plan.funnel import Counting
from storaged.work.plan.make import make_plan, plan_rows
from tests.decide.choosing import (
    ORDER,
    UNTIL,
    Guessed,
    chosen,
    empty,
    forecast,
    learnt,
    middle,
    model,
    remembered,
    scatter,
    wave,
)
from tests.decide.pricing import MONTH, PICO, by_hand, planned, priced_settings
from tests.decide.seeding import MIB, NOW, Seeder, policies
from tests.laws import examples

STAY, MEMORY, FORECAST, BREAK_EVEN = "stay", "memory", "forecast", "break-even"
ONLY = {FORECAST: 1.0}
TEXT = "name: p\ntarget: {dataset: events/web}\nto: {tier: auto}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return priced_settings(tmp_path / "storaged.yaml")


WEIGHTS = (
    {FORECAST: 1.0},
    {STAY: 0.3, FORECAST: 0.7},
    {BREAK_EVEN: 1.0},
    {STAY: 0.2, FORECAST: 0.35, BREAK_EVEN: 0.45},
    {STAY: 0.5, FORECAST: 0.3, BREAK_EVEN: 0.2},
    {MEMORY: 1.0},
    {STAY: 0.3, MEMORY: 0.4, FORECAST: 0.3},
)


def test_each_object_goes_where_it_is_cheapest_by_another_computation(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """In decimals, candidate by candidate, guess by guess, then the weighted middle; and nothing moves for less than
    twice what its move costs."""
    seen: dict[str, int] = {}

    @examples(catalog, 16, derandomize=True)
    @given(
        seed=st.integers(0, 2**32),
        weights=st.sampled_from(WEIGHTS),
        among=st.sampled_from([("hot", "cold", "rare"), ("cold",), ("hot", "standard", "rare", "cold")]),
        days=st.sampled_from([90, 180, 400]),
        grace=st.integers(0, 30),
        covered=st.sampled_from([40, 300]),
        shape=st.sampled_from([0.001, 0.05, 1.0]),
    )
    def law(
        seed: int,
        weights: Mapping[str, float],
        among: tuple[str, ...],
        days: int,
        grace: int,
        covered: int,
        shape: float,
    ) -> None:
        things = scatter(catalog, settings, seed, covered)
        told = model(weights, shape=shape)
        learnt(catalog, told)
        to = f"to: {{tier: auto, among: [{', '.join(among)}], horizon: {days}d}}\n"
        text = f"name: p\ntarget: {{dataset: events/web}}\n{to}keep_source: {grace}d\n"
        _, rows = planned(catalog, settings, tmp_path, text)
        waved = wave(things.values())
        for name, thing in things.items():
            foretold, share = forecast(thing, told, days, covered=covered)
            last = min(thing.reads, default=1000)
            idle = min(last - 1, thing.age, covered)
            guesses = {
                FORECAST: foretold,
                BREAK_EVEN: Guessed(0.0, 0.0, min(idle / float(MONTH), days / float(MONTH))),
            }
            places, edges = {}, []
            for guess, reads in guesses.items():
                if weights.get(guess):
                    places[guess], edge = chosen(thing, reads, share, among, grace)
                    edges.append(edge)
            places[MEMORY], edge = remembered(thing, among, grace, days, covered, waved)
            edges.append(edge)  # without a weight too: staying goes by what any of them would bring back
            places[STAY] = min((thing.tier, *places.values()), key=ORDER.__getitem__)
            expected = middle(places, {STAY: 0.0, MEMORY: 0.0, **weights})
            if min(edges) * PICO < 10:
                continue
            row = rows.get(name)
            assert (thing.tier if row is None else row.tier) == expected, (name, thing, places)
            seen[expected if row else STAY] = seen.get(expected if row else STAY, 0) + 1

    law()
    if catalog.dialect == "sqlite":  # on Postgres they are few
        assert {STAY, "hot", "cold", "rare"} <= set(seen), seen
    assert sum(seen.values()) - seen[STAY] > seen[STAY] / 20


def one(catalog: Catalog, settings: Settings, *, tier: str = "hot", covered: int = 300) -> None:
    """A catalog with one large object that nobody reads, and a model that knows it."""
    empty(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - covered * DAY, NOW // DAY * DAY)
        s.object("events/web", "a.csv", size=100 * MIB, tier=tier, raw_class="STANDARD")
    learnt(catalog, model(ONLY))


def test_without_doubt_the_idle_one_goes_to_the_coldest(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Its row is an ordinary one, with the dollars of a policy that names the tier; its reason says more."""
    one(catalog, settings)
    plan, rows = planned(catalog, settings, tmp_path, TEXT)
    text = TEXT.replace("to: {tier: auto}", "when: {age_over: 1d}\nto: {tier: cold}")
    named, same = planned(catalog, settings, tmp_path, text)
    assert replace(rows["a.csv"], reason="") == replace(same["a.csv"], reason="")
    assert plan.summary.policies[0].money == named.summary.policies[0].money
    assert rows["a.csv"].reason.startswith("auto: 0.0")
    assert "in 180d, saves $0.010" in rows["a.csv"].reason
    spend, saving = by_hand("standard", "glacier-ir", 8 * MIB, age_days=400, grace_days=7)
    assert (rows["a.csv"].spend or 0) > spend * PICO
    assert (rows["a.csv"].saving or 0) > saving * PICO


def told_of(catalog: Catalog, settings: Settings, tmp_path: Path, text: str, name: str = "a.csv") -> ChoiceTold:
    loaded = policies(tmp_path / "p", settings, text)
    (policy,) = explain(catalog, settings, loaded, "events/web", name, NOW).policies
    assert policy.choice is not None
    return policy.choice


LATER, EARLIER = NOW + 9 * DAY, NOW - 9 * DAY
STRANGE = {
    "none": (None, {}, "nothing was learnt of its past yet; `storagectl learn` does"),
    "to come": ({"made_us": LATER}, {}, "the model is of 2026-09-30T14:13:20Z, which is to come"),
    "cut to come": ({"cut_day": LATER // DAY}, {}, "the model is of 2026-09-30T00:00:00Z, which is to come"),
    "old": ({"made_us": NOW - 100 * DAY}, {}, "the model was found good at 2026-06-13T14:13:20Z, long ago"),
    "half-life": ({"half_life_us": 7 * DAY}, {}, "the model is of a half-life of 7d, and heat has one of 30d"),
    "no weights": ({"weights": {}}, {}, "its past has not told yet what pays there"),
    "ten days": (
        {},
        {"from_us": NOW // DAY * DAY - 10 * DAY - 3_456},
        "its reads are known for 10d only, and it takes 30d",
    ),
    "stale": ({}, {"until_us": EARLIER}, "its logs end at 2026-09-12T14:13:20Z"),
    "clock": ({}, {"until_us": LATER}, "its logs reach until 2026-09-30T14:13:20Z, which is to come"),
    "not covered": ({}, None, "no heat source tells of its reads"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_not_known_stays_and_says_why(what: str, catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """In the plan, in its funnel, and where one asks of the object."""
    of_model, of_window, why = STRANGE[what]
    one(catalog, settings)
    with catalog.begin() as conn:
        models.use(conn, None)
        if of_window is None:
            conn.execute(sa.delete(heat_coverage))
        elif of_window:
            conn.execute(sa.update(heat_coverage).values(of_window))
    if of_model is not None:
        learnt(catalog, replace(model(ONLY), **of_model))
    loaded = policies(tmp_path / "p", settings, TEXT)
    plan = make_plan(catalog, settings, loaded, FakeClock(), why=Counting.IF_NOTHING)
    assert plan.summary.actions == 0
    assert why in str(plan)
    part = plan.summary.policies[0]
    steps = {step.key: step for step in part.funnel}
    assert (steps["target"].left, steps["foretold"].left, steps["worth"].left) == (1, 0, 0)
    assert f"events/web: {why}" in steps["foretold"].why or why in steps["foretold"].why
    assert why in told_of(catalog, settings, tmp_path, TEXT).stays


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "version 2 of the forecast model is damaged"),
        ('{"format": 99, "digest": "", "model": {}}', "version 2 of the forecast model was made by a newer version"),
    ],
)
def test_a_model_that_cannot_be_read_decides_nothing(
    text: str, why: str, catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Neither does it stop the plans of other policies."""
    one(catalog, settings)
    learnt(catalog, model(ONLY), text)
    plan, rows = planned(catalog, settings, tmp_path, TEXT)
    assert rows == {}
    assert why in str(plan)


def test_what_is_dated_ahead_is_not_foretold(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Its age is not known."""
    one(catalog, settings)
    with catalog.begin() as conn:
        conn.execute(sa.update(objects).values(created_us=NOW + DAY))
    _, rows = planned(catalog, settings, tmp_path, TEXT)
    assert rows == {}
    assert "it is of 2026-09-22T14:13:20Z, which is to come" in told_of(catalog, settings, tmp_path, TEXT).stays


def test_a_tier_without_prices_is_left_out_and_what_is_there_stays(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """The others are chosen from; so it is with what is not read at once, unless it is named, and what bills longer."""
    one(catalog, settings)
    text = TEXT.replace("tier: auto", "tier: auto, among: [warm, cold, deep]")
    loaded = policies(tmp_path / "p", settings, text)
    assert [str(w.message) for w in loaded.warnings] == ["tier warm has no prices, so that nothing is sent there"]
    plan, rows = planned(catalog, settings, tmp_path, text)
    assert rows["a.csv"].tier == "deep"
    assert "nothing is sent to warm: no prices are known of it" in str(plan)
    plan, rows = planned(catalog, settings, tmp_path, TEXT)
    assert rows["a.csv"].tier == "cold"
    assert "nothing is sent to deep: what is in it is not read at once; `among` may name it" in str(plan)
    plan, rows = planned(catalog, settings, tmp_path, TEXT.replace("auto", "auto, horizon: 60d"))
    assert rows["a.csv"].tier == "rare"
    assert "nothing is sent to cold: it bills 90 days at least, and the horizon is 60d" in str(plan)
    one(catalog, settings, tier="warm")
    plan, rows = planned(catalog, settings, tmp_path, TEXT)
    assert rows == {}
    assert told_of(catalog, settings, tmp_path, TEXT).stays == "no prices are known of where it is, in warm"


def test_the_cheapest_that_require_allows(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Where it allows none, the object is held back with the figures of the cheapest."""
    one(catalog, settings)
    for days, tier, held in ((100, "cold", None), (40, "rare", None), (1, "cold", "require")):
        text = f"{TEXT}require: {{payback_within: {days}d}}\n"
        plan, rows = planned(catalog, settings, tmp_path, text)
        assert (rows["a.csv"].tier, rows["a.csv"].held) == (tier, held)
        alternatives = told_of(catalog, settings, tmp_path, text).alternatives
        assert [one.tier for one in alternatives if one.chosen] == [tier]
        assert (plan.summary.policies[0].money is None) == (held is not None)


def test_where_a_guard_keeps_it_from_the_cheapest_it_goes_to_the_next(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Pinned to a tier that is cheaper than where it is, though not the cheapest."""
    one(catalog, settings)
    for pin, tier, held in ((None, "cold", None), ("rare", "rare", None), ("warm", "cold", "pin")):
        number = None
        with catalog.begin() as conn:
            if pin is not None:
                number = conn.execute(sa.select(tiers.c.id).where(tiers.c.name == pin)).scalar_one()
            conn.execute(sa.update(objects).values(pin_tier_id=number))
        _, rows = planned(catalog, settings, tmp_path, TEXT)
        assert (rows["a.csv"].tier, rows["a.csv"].held) == (tier, held)
        alternatives = told_of(catalog, settings, tmp_path, TEXT).alternatives
        assert [one.tier for one in alternatives if one.chosen] == [tier]


def test_a_silence_that_may_be_a_hole_is_no_rest(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Break-even counts from where reads are known again."""
    for since, moves in ((UNTIL - 200, True), (UNTIL - 5, False)):
        one(catalog, settings)
        learnt(catalog, replace(model({BREAK_EVEN: 1.0}), since={"events/web": since}))
        _, rows = planned(catalog, settings, tmp_path, TEXT)
        assert bool(rows) is moves


def test_guards_and_limits_hold_as_for_any_policy(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    one(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.ids = iter(range(2, 9))  # type: ignore[assignment]  # as it counts
        s.object("events/web", "held.csv", size=100 * MIB, hold="court")
        s.object("events/web", "pinned.csv", size=100 * MIB, pin="hot")
        s.object("events/web", "larger.csv", size=200 * MIB)
        s.object("logs/raw", "raw.csv", size=100 * MIB)
        s.cover("logs/raw", NOW // DAY * DAY - 300 * DAY, NOW // DAY * DAY)
    text = TEXT.replace("events/web", "[events/web, logs/raw]") + "limits: {max_objects: 1}\n"
    _, rows = planned(catalog, settings, tmp_path, text)
    assert {name: row.held for name, row in rows.items()} == {
        "a.csv": "max_objects",
        "held.csv": "hold",
        "pinned.csv": "pin",
        "larger.csv": None,
        "raw.csv": "readers",
    }


def test_samples_choose_the_codec_and_cost_the_tier(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """With `codec: auto` beside it: what is stored of it counts, and in its own tier it may be encoded too."""
    one(catalog, settings)
    text = TEXT.replace("tier: auto", "tier: auto, among: [hot, rare], codec: auto")
    loaded = policies(tmp_path / "p", settings, text)
    choices = {("events/web", "csv"): KindChoice("zstd", "zstd leaves 10% of 5 sampled")}
    for ratio, tier in ((0.001, "hot"), (0.9, "rare")):
        ratios = {("events/web", "csv", "zstd"): ratio}
        plan = make_plan(catalog, settings, loaded, FakeClock(), ratios=ratios, choices=choices)
        (row,) = plan_rows(catalog, plan.id)
        assert (row.tier, row.codec, row.after_bytes) == (tier, "zstd", int(100 * MIB * ratio))
        money = plan.summary.policies[0].money
        assert money is not None
        assert abs(money.one_time.total * PICO - (row.spend or 0)) <= 1
        assert abs(money.monthly_saving * PICO - (row.saving or 0)) <= 3


def test_alternatives_add_up_to_what_the_plan_says_of_the_winner(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    one(catalog, settings)
    told = told_of(catalog, settings, tmp_path, TEXT)
    _, rows = planned(catalog, settings, tmp_path, TEXT)
    stays, goes = (next(one for one in told.alternatives if getattr(one, what)) for what in ("stays", "chosen"))
    saved = (stays.keep + stays.reads) - (goes.keep + goes.reads)
    assert (
        f"saves ${saved:.6f}, the move and the risk of its way back cost ${goes.move + goes.risk * goes.back:.6f}"
        in rows["a.csv"].reason
    )
    assert goes.total == min(one.total for one in told.alternatives)
    assert abs(goes.move * PICO - (rows["a.csv"].spend or 0)) <= 1
    assert set(told.as_json()["alternatives"][0]) >= {"tier", "keep", "reads", "move", "back", "risk", "total"}


@pytest.mark.parametrize("busy", [False, True])
def test_nobody_leaves_a_pack_for_a_colder_tier_while_others_stay(
    catalog: Catalog, settings: Settings, tmp_path: Path, busy: bool
) -> None:
    """It is billed whole as long as anybody is in it. So once the last wants to go, all go, and not before."""
    empty(catalog, settings)
    size, blob = 100 * MIB, "ab" * 16
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - 300 * DAY, NOW // DAY * DAY)
        new = {"tier_id": s.tiers["hot"], "dataset_id": s.datasets["events/web"], "key": "a pack", "state": "live"}
        of = {"codec": "pack", "size": 3 * size, "packed_bytes": 3 * size, "live_bytes": 3 * size, "index": b""}
        conn.execute(sa.insert(blobs).values(new | of | {"id": blob, "created_us": NOW - 300 * DAY}))
        for n, name in enumerate(("a.csv", "b.csv", "c.csv")):
            reads = dict.fromkeys(range(1, 60), 200) if busy and name == "b.csv" else None
            number = s.object("events/web", name, size=size, reads=reads, raw_state="released", codec="pack")
            place = {"object_id": number, "blob_id": blob, "offset": n * size, "packed_before": n * size}
            conn.execute(sa.insert(replicas).values(place | {"length": size, "generation": 1, "state": "current"}))
    learnt(catalog, model(ONLY))
    text = "name: p\ntarget: {dataset: events/web}\nto: {tier: auto, codec: identity, among: [hot, cold]}\n"
    plan, rows = planned(catalog, settings, tmp_path, text)
    assert {name: row.held for name, row in rows.items()} == (
        {"a.csv": "stays", "c.csv": "stays"} if busy else dict.fromkeys(("a.csv", "b.csv", "c.csv"))
    )
    money = plan.summary.money
    assert (money is None) if busy else (money is not None and money.monthly_saving > 0)


MISTAKES = [
    ("{tier: auto, among: [colt]}", 3, "to.among: there is no tier 'colt'", "did you mean `cold`?"),
    ("{tier: auto, among: [cold, auto]}", 3, "`auto` is no tier to choose", "leave out `among`"),
    ("{tier: auto, among: [cold, cold]}", 3, "'cold' stands there twice", "once"),
    ("{tier: auto, among: [warm]}", 3, "`auto` goes by cost, and none of its tiers has prices", "`prices`"),
    ("{tier: auto, horizon: 2h}", 3, "nothing pays back within a day", "180d"),
    ("{tier: auto, horizon: 731d}", 3, "no forecast reaches that far", "730d at most"),
    ("{tier: auto, codec: pack}", 3, "packs go to one tier", "name the tier"),
    ("{tier: auto}\ncollections: whole", 1, "what moves whole goes to one tier", "collections: whole"),
    ("{tier: auto}\nwhen: {tier_full_above: 80%}", 1, "goes by cost, and not by how full", "tier_full_above"),
    ("{tier: auto, among: [cold], in_place: true}", 3, "tier cold is not on S3", "name one that is"),
]


@pytest.mark.parametrize(("to", "line", "message", "hint"), MISTAKES)
def test_what_makes_no_sense_is_refused(
    to: str, line: int, message: str, hint: str, settings: Settings, tmp_path: Path
) -> None:
    text = f"name: p\ntarget: {{dataset: events/web}}\nto: {to}\n"
    with pytest.raises(ConfigError) as error:
        policies(tmp_path / "p", settings, text)
    (problem,) = error.value.problems
    assert message in str(problem)
    assert hint in (problem.hint or "")
    assert problem.line == line
