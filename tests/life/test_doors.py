"""Every guard at every door: what keeps an object as it is does so in a plan, in an old plan that is applied, where a
person restages, and in a job that waited."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.schema import datasets
from storaged.clock import DAY
from storaged.decide.guards import AT_THE_QUEUE, AT_WORK, GUARDS, Move, Now, held_back, rules
from storaged.decide.load import load_policies
from storaged.model import Placement, RawState, Readers
from storaged.work import targets
from storaged.work.doctor.verify import verify
from storaged.work.plan.make import make_plan, plan_rows
from storaged.work.rewrite import returns
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.pointers import hold_objects, pin_objects
from tests.life.stage import NAME, OLD, Stage
from tests.life.world import text

POLICY = """
name: cool
target: {dataset: lake}
when: {age_over: 1d}
to: {tier: warm}
mode: active
"""


# -- guards --------------------------------------------------------------------------------------------------------


def collection(lake: Stage) -> None:
    lake.write("_delta_log/00000000000000000000.json", b"{}")
    lake.rescan()


def collection_since_the_scan(lake: Stage) -> None:
    lake.write("_delta_log/00000000000000000000.json", b"{}")


def hold(lake: Stage) -> None:
    hold_objects(lake.context, targets.pages(lake.context, f"lake/{NAME}"), "court")


def hold_of_the_dataset(lake: Stage) -> None:
    lake.context.datasets["lake"] = replace(lake.context.dataset("lake"), hold="court")


def readers(lake: Stage) -> None:
    lake.context.datasets["lake"] = replace(lake.context.dataset("lake"), readers=Readers.RAW)


def pin(lake: Stage) -> None:
    pin_objects(lake.context, targets.pages(lake.context, f"lake/{NAME}"), "hot")


def pin_of_the_dataset(lake: Stage) -> None:
    lake.context.datasets["lake"] = replace(lake.context.dataset("lake"), pin="hot")


def locked(lake: Stage) -> None:
    with lake.catalog.begin() as conn:
        placements.lock(conn, {lake.seen(NAME).id: lake.context.now_us() + DAY})


def unconditional(lake: Stage) -> None:
    with lake.catalog.begin() as conn:
        conn.execute(sa.update(datasets).values(conditional=False))


def stuck(lake: Stage) -> None:
    with lake.catalog.begin() as conn:
        placements.note_stuck(conn, {lake.seen(NAME).id: "it is immutable"})


def damaged(lake: Stage) -> None:
    verify(lake.context, [[lake.seen(NAME)]], chance=random.Random(1))  # learns the digest
    lake.find_damage("lake")


def fact(lake: Stage) -> None:
    seen = lake.seen(NAME)
    with lake.catalog.begin() as conn:
        new = replace(seen.placement, generation=2)
        change = placements.Change(seen, new, "adopt")
        placements.propose(conn, [change], now_us=lake.context.now_us(), why=lake.context.why())


def settling(lake: Stage) -> None:
    assert lake.migrate(NAME, tier="cold").done == 1


def quiet(lake: Stage) -> None:
    lake.write(NAME, text("newer"))
    lake.rescan()


def quiet_by_now(lake: Stage) -> None:
    lake.context.settings = lake.context.settings.model_copy(update={"quiet_for": 100 * DAY})


@dataclass(frozen=True)
class Keeping:
    """A guard and what makes it hold."""

    guard: str
    comes: Callable[[Stage], None]
    at_work: bool = True

    def __str__(self) -> str:
        return self.comes.__name__


KEEPING = [
    Keeping("collection", collection),
    Keeping("hold", hold),
    Keeping("hold", hold_of_the_dataset),
    Keeping("readers", readers),
    Keeping("pin", pin),
    Keeping("pin", pin_of_the_dataset),
    Keeping("locked", locked),
    Keeping("unconditional", unconditional, at_work=False),  # nothing is lost by a move: the sweep keeps the source
    Keeping("stuck", stuck, at_work=False),  # a worker looks at the root itself
    Keeping("damaged", damaged),
    Keeping("settling", settling, at_work=False),  # no other job can have moved it while this one waits
    Keeping("quiet", quiet),
    Keeping("quiet", quiet_by_now, at_work=False),  # it was old enough when its job was made
]


# -- doors ---------------------------------------------------------------------------------------------------------


def planned(lake: Stage) -> int:
    (lake.place / "policies" / "p.yaml").write_text(POLICY)
    found = load_policies(lake.place / "policies", lake.settings)
    return make_plan(lake.catalog, lake.context.settings, found.policies, lake.clock).id


def a_plan(lake: Stage, comes: Callable[[Stage], None]) -> Placement:
    comes(lake)
    lake.context.register()  # as every command that plans does
    before = lake.seen(NAME).placement
    assert [row.name for row in plan_rows(lake.catalog, planned(lake)) if row.held is None and row.name == NAME] == []
    return before


def an_old_plan(lake: Stage, comes: Callable[[Stage], None]) -> Placement:
    plan = planned(lake)
    comes(lake)
    before = lake.seen(NAME).placement
    apply_plan(lake.context, plan, load_policies(lake.place / "policies", lake.settings).policies)
    lake.work()
    return before


def restage(lake: Stage, comes: Callable[[Stage], None]) -> Placement:
    comes(lake)
    before = lake.seen(NAME).placement
    made = returns.restage(lake.context, [[lake.seen(NAME)]], "warm", reason="test")
    assert made.jobs == []
    [(name, why)] = made.left_out
    assert (name, bool(why)) == (f"lake/{NAME}", True)
    return before


def a_job_that_waited(lake: Stage, comes: Callable[[Stage], None]) -> Placement:
    made = returns.restage(lake.context, [[lake.seen(NAME)]], "warm", reason="test")
    assert len(made.jobs) == 1
    comes(lake)
    before = lake.seen(NAME).placement
    lake.work()
    return before


DOORS = [a_plan, an_old_plan, restage, a_job_that_waited]


# MUST 11
@pytest.mark.parametrize("keeping", KEEPING, ids=str)
@pytest.mark.parametrize("door", DOORS)
def test_a_guard_holds_at_every_door(
    door: Callable[[Stage, Callable[[Stage], None]], Placement], keeping: Keeping, lake: Stage
) -> None:
    if door is a_job_that_waited and not keeping.at_work:
        assert keeping.guard not in AT_WORK
        return
    lake.write(NAME, OLD)
    lake.scan()
    lake.days(30)
    before = door(lake, keeping.comes)
    assert lake.seen(NAME).placement == before
    assert lake.stored("warm") == {}


@pytest.mark.parametrize("door", DOORS[1:])
def test_without_a_guard_every_door_is_open(
    door: Callable[[Stage, Callable[[Stage], None]], Placement], lake: Stage
) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.days(30)
    if door is restage:
        assert len(returns.restage(lake.context, [[lake.seen(NAME)]], "warm", reason="test").jobs) == 1
        lake.work()
    else:
        door(lake, lambda _lake: None)
    assert len(lake.stored("warm")) == 1


# MUST 11
def test_words_rule_and_doors_speak_of_the_same_guards() -> None:
    made = rules(Now(0, 0), tier=sa.literal(1), in_place=False)
    assert list(made) == list(GUARDS)
    assert AT_WORK < AT_THE_QUEUE < set(GUARDS)
    of_references = {"referred", "unread"}  # tests/life/test_references.py has their doors
    of_forms = {"dense"}  # tests/life/test_collections.py has its own
    rest = {"fact", "busy", "moved", "versions", "transitions"}
    assert {k.guard for k in KEEPING} | of_references | of_forms | rest == set(GUARDS)


@pytest.mark.parametrize("keeping", KEEPING, ids=str)
def test_what_is_asked_of_one_object_is_what_a_plan_says(keeping: Keeping, lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.days(30)
    keeping.comes(lake)
    lake.context.register()
    [row] = [r for r in plan_rows(lake.catalog, planned(lake)) if r.name == NAME] or [None]
    with lake.catalog.read() as conn:
        warm = placements.tier_ids(conn)["warm"]
        seen = lake.seen(NAME)
        found = held_back(conn, {seen.id: Move(warm)}, lake.context.guards_now())
    assert seen.id in found
    if row is not None:  # else a condition left it out before
        assert (row.held or "").partition(":")[0] == keeping.guard


def test_what_is_held_by_a_fact_or_a_job_is_left_alone_too(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.write("b.csv", OLD)
    lake.scan()
    lake.days(30)
    lake.enqueue(["b.csv"], "warm")
    fact(lake)
    with lake.catalog.read() as conn:
        warm = placements.tier_ids(conn)["warm"]
        first, second = (lake.seen(name).id for name in (NAME, "b.csv"))
        found = held_back(conn, {first: Move(warm), second: Move(warm)}, lake.context.guards_now())
    assert found == {first: GUARDS["fact"], second: GUARDS["busy"]}
    assert lake.seen(NAME).placement.raw.state is RawState.CURRENT
