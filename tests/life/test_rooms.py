"""Tiers with a capacity: what empties them stops at their low mark, and nobody puts more into one than it holds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import rooms
from storaged.catalog.control import retry
from storaged.catalog.engine import Catalog
from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.placements import tier_ids
from storaged.catalog.schema import access, job_items, jobs, objects
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.model import IDENTITY, JobKind
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.plan.make import make_plan, plan_rows
from storaged.work.rewrite import returns
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches
from tests.life.rooms import bounded
from tests.life.world import PLAIN, World, noise

KIB = 1 << 10
TEN = [f"f{number}.bin" for number in range(10)]
DRAIN = """
name: drain
target: {dataset: lake, tier: hot}
when: {tier_full_above: 85%}
to: {tier: cold}
mode: active
"""
DOWN = """
name: NAME
target: {dataset: lake, tier: hot}
when: {age_over: 1h}
to: {tier: cold}
mode: active
"""


@pytest.fixture
def world(catalog: Catalog, clock: FakeClock, tmp_path: Path) -> World:
    return World(tmp_path, catalog, clock)


def ten_files(world: World, size: int = 9 * KIB) -> None:
    """Written an hour apart, the first one first."""
    for name in TEN:
        world.write(name, noise(name, size))
        world.days(1 / 24)
    world.scan()
    world.days(1)


def loaded(world: World, text: str) -> PolicySet:
    (world.place / "policies" / "p.yaml").write_text(text)
    return load_policies(world.place / "policies", world.settings)


def plan(world: World, text: str) -> int:
    return make_plan(world.catalog, world.settings, loaded(world, text), world.clock).id


def held(world: World, number: int) -> dict[str, str | None]:
    """By object, what holds it back in a plan."""
    return {row.name: row.held for row in plan_rows(world.catalog, number)}


def acting(world: World, number: int) -> list[str]:
    return sorted(name for name, code in held(world, number).items() if code is None)


def applied(world: World, number: int) -> Enqueued:
    return apply_plan(world.context, number, load_policies(world.place / "policies", world.settings))


def heat(world: World, name: str, reads: float) -> None:
    with world.catalog.begin() as conn:
        conn.execute(sa.update(objects).where(objects.c.name == name).values(heat_reads=reads, last_read_us=1))
        conn.execute(sa.delete(access))


# MUST Room
def test_emptying_a_tier_takes_the_coldest_and_stops_at_its_low_mark(world: World) -> None:
    """90 of 100 KiB: 27 must go for 70, so three files; first what nobody reads, and of that the oldest."""
    bounded(world, hot=100)
    ten_files(world)
    heat(world, "f0.bin", 5.0)
    heat(world, "f1.bin", 2.0)
    number = plan(world, DRAIN)
    assert acting(world, number) == ["f2.bin", "f3.bin", "f4.bin"]
    assert set(held(world, number).values()) == {None, "max_drain"}
    applied(world, number)
    assert world.work().done == 3
    again = plan(world, DRAIN)  # what is in grace still fills the tier, and is not moved out once more
    assert acting(world, again) == []
    world.days(8)
    world.sweep()
    assert held(world, plan(world, DRAIN)) == {}  # 63%: not full any more
    with world.catalog.read() as conn:
        assert rooms.stored(conn)[tier_ids(conn)["hot"]] == 63 * KIB


def test_what_is_read_least_goes_first_though_it_was_read_last(world: World) -> None:
    bounded(world, hot=100)
    ten_files(world)
    for number, name in enumerate(TEN):
        heat(world, name, -float(number))
    assert acting(world, plan(world, DRAIN)) == ["f7.bin", "f8.bin", "f9.bin"]


# MUST Room
@pytest.mark.on_sqlite
def test_a_tier_never_takes_more_than_its_capacity(world: World) -> None:
    """Two of nine KiB in twenty; the rest is held back with the reason, also the next day and the one after."""
    bounded(world, hot=100, cold=20)
    ten_files(world)
    for _ in range(3):
        number = plan(world, DOWN.replace("NAME", "down"))
        assert set(held(world, number).values()) <= {None, "max_capacity", "settling"}
        applied(world, number)
        world.work()
        world.days(8)
        world.sweep()
        assert sum(map(len, world.stored("cold").values())) == 18 * KIB
    last = make_plan(world.catalog, world.settings, loaded(world, DOWN.replace("NAME", "down")), world.clock)
    assert "held back: 8 objects, 72.0 KiB: no room in the tier that it would go to (capacity)" in str(last)


def test_what_does_not_fit_does_not_keep_smaller_ones_waiting(world: World) -> None:
    bounded(world, cold=20)
    world.write("large.bin", noise("large", 30 * KIB))
    world.write("small.bin", noise("small", 5 * KIB))
    world.scan()
    world.days(1)
    assert held(world, plan(world, DOWN)) == {"large.bin": "max_capacity", "small.bin": None}


@pytest.mark.on_sqlite
def test_two_policies_of_one_plan_share_the_room(world: World) -> None:
    bounded(world, cold=40)
    ten_files(world)
    one = DOWN.replace("NAME", "even").replace("{age_over: 1h}", "{age_over: 1h}\nwhere: name < 'f3'")
    two = DOWN.replace("NAME", "odd")
    both = "policies:\n" + "".join("  - " + text.strip().replace("\n", "\n    ") + "\n" for text in (one, two))
    number = plan(world, both)
    by_policy: dict[str, list[str | None]] = {}
    for row in plan_rows(world.catalog, number):
        by_policy.setdefault(row.policy, []).append(row.held)
    assert by_policy["even"] == [None] * 3
    assert sorted(map(str, by_policy["odd"])) == ["None"] + ["max_capacity"] * 6


# MUST Room
def test_plans_that_were_made_side_by_side_share_the_room(world: World) -> None:
    """Each would fit by itself; what the second has no room for any more is left out when it is applied, and said."""
    bounded(world, cold=40)
    ten_files(world)
    first = plan(world, DOWN.replace("NAME", "one").replace("1h}", "1h}\nwhere: name < 'f4'"))
    made = load_policies(world.place / "policies", world.settings)
    second = plan(world, DOWN.replace("NAME", "two").replace("1h}", "1h}\nwhere: name > 'f6'"))
    assert len(acting(world, first)) == len(acting(world, second)) == 4
    assert apply_plan(world.context, first, made).objects == 4
    late = applied(world, second)
    assert late.objects == 0
    assert [name for name, _ in late.left_out] == [f"lake/f{n}.bin" for n in (6, 7, 8, 9)]
    assert late.left_out[0][1] == "no room in cold: 4.0 KiB of its capacity are free, and this takes 9.0 KiB"
    world.work()
    assert sum(map(len, world.stored("cold").values())) == 36 * KIB


# MUST Room
def test_no_number_of_daemons_together_promises_more_than_there_is_room(world: World) -> None:
    """Eight at the same time, each with an object of its own, and room for four of them."""
    bounded(world, cold=40)
    ten_files(world)
    found = {name: world.seen(name) for name in TEN[:8]}
    made = [Enqueued() for _ in found]
    together = threading.Barrier(len(found))

    def ask(number: int, name: str) -> None:
        h = found[name]
        item = NewItem(h.id, h.version, h.placement.size, ToTier("cold", IDENTITY, 0), name)
        together.wait()
        enqueue_batches(world.context, JobKind.REWRITE, "lake", [item], reason="test", result=made[number])

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(found)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(m.objects for m in made) == 4
    assert sum(len(m.left_out) for m in made) == 4


def test_a_job_that_is_over_gives_its_room_back(world: World) -> None:
    bounded(world, cold=20)
    ten_files(world)
    asked = world.enqueue(TEN[:2], "cold", PLAIN)
    with world.catalog.begin() as conn:
        assert rooms.promised(conn) == {tier_ids(conn)["cold"]: 18 * KIB}
        conn.execute(sa.update(jobs).where(jobs.c.id.in_(asked.jobs)).values(state="cancelled"))
        conn.execute(sa.update(job_items).values(state="failed"))
        assert rooms.promised(conn) == {}
    assert world.enqueue(TEN[2:4], "cold", PLAIN).objects == 2


def test_a_person_too_finds_no_room(world: World) -> None:
    bounded(world, warm=20)
    ten_files(world)
    made = returns.restage(world.context, targets.pages(world.context, "lake"), "warm", reason="test")
    assert (made.objects, len(made.left_out)) == (2, 8)


# MUST Room
def test_a_job_finds_that_its_room_went_since(world: World) -> None:
    """The capacity was lowered, or a cancelled job is retried when others have taken its place: skipped, and said."""
    bounded(world, cold=40)
    ten_files(world)
    asked = world.enqueue(TEN[:4], "cold", PLAIN)
    assert asked.objects == 4
    bounded(world, cold=20)
    report = world.work()
    assert (report.done, report.skipped, report.failed) == (2, 2, 0)
    assert all("no room in cold" in note for _, note in report.notes)
    other = world.enqueue(TEN[4:5], "warm", PLAIN)
    with world.catalog.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id.in_(other.jobs)).values(state="failed"))
        conn.execute(sa.update(job_items).where(job_items.c.job_id.in_(other.jobs)).values(state="failed"))
    bounded(world, warm=5)
    with world.catalog.begin() as conn:
        retry(conn, other.jobs[0], now_us=world.clock.now_us())
    assert world.work().skipped == 1
    assert world.stored("warm") == {}


@pytest.mark.on_sqlite
def test_what_comes_up_fills_a_tier_to_its_high_mark_only(world: World) -> None:
    """Beyond, it would be taken out again: 85 of 100 KiB are nine files of nine."""
    ten_files(world)
    world.migrate(*TEN, tier="cold", codec=PLAIN)
    world.days(8)
    world.sweep()
    bounded(world, hot=100)
    up = DOWN.replace("tier: hot}", "tier: cold}").replace("to: {tier: cold}", "to: {tier: hot}")
    number = plan(world, up.replace("NAME", "up"))
    assert len(acting(world, number)) == 9
    assert list(held(world, number).values()).count("max_capacity") == 1


def test_a_rewrite_within_a_full_tier_is_not_kept_from_making_it_smaller(world: World) -> None:
    bounded(world, hot=90)
    for name in TEN:
        world.write(name, b"the same line of text\n" * 420)
    world.scan()
    world.days(1)
    bounded(world, hot=50)
    shrink = DOWN.replace("NAME", "shrink").replace("to: {tier: cold}", "to: {codec: zstd}")
    number = plan(world, shrink)
    assert len(acting(world, number)) == 10
    assert applied(world, number).objects == 10
    assert world.work().done == 10


def test_limits_take_the_coldest_of_a_policy_that_empties_a_tier(world: World) -> None:
    bounded(world, hot=100)
    ten_files(world)
    number = plan(world, DRAIN + "limits: {max_objects: 2}\n")
    assert acting(world, number) == ["f0.bin", "f1.bin"]
    assert sorted(map(str, held(world, number).values())).count("max_objects") == 1


def test_the_high_mark_of_the_tier_itself_can_be_the_condition(world: World) -> None:
    bounded(world, hot=100)
    ten_files(world)
    assert len(acting(world, plan(world, DRAIN.replace("85%", "high")))) == 3
    bounded(world, hot=110)  # 82%
    assert held(world, plan(world, DRAIN.replace("85%", "high"))) == {}


def test_a_share_below_the_low_mark_is_told(world: World) -> None:
    bounded(world, hot=100)
    [warning] = loaded(world, DRAIN.replace("85%", "50%")).warnings
    assert "hot is emptied down to 70% (`low`) only" in warning.message
    assert loaded(world, DRAIN.replace("85%", "70%")).warnings == ()


@pytest.mark.on_both
def test_two_policies_that_empty_a_tier_stop_together_at_its_low_mark(world: World) -> None:
    """In one plan and in two, one applied before the other is made: 27 of 90 KiB must go, and no more."""
    bounded(world, hot=100)
    ten_files(world)
    one = DRAIN.replace("name: drain", "name: few").replace("85%}", "85%}\nwhere: name < 'f2'")
    two = DRAIN.replace("name: drain", "name: all")
    both = "policies:\n" + "".join("  - " + text.strip().replace("\n", "\n    ") + "\n" for text in (one, two))
    assert acting(world, plan(world, both)) == ["f0.bin", "f1.bin", "f2.bin"]
    applied(world, plan(world, one))
    assert acting(world, plan(world, two)) == ["f2.bin"]
    world.work()
    assert acting(world, plan(world, two)) == ["f2.bin"]
