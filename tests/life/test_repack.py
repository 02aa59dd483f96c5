"""Packs of which little is left are packed anew, by the policy that packs, where that frees something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import blobs
from storaged.decide.load import load_policies
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.plan.explain import explain
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.pointers import hold_objects, remove_objects
from tests.life.stage import Stage, a_stage
from tests.life.world import text

NAMES = tuple(f"{number:02}.json" for number in range(10))
POLICY = """\
name: pack
target: {dataset: lake}
when: {size_under: 1MiB}
to: {tier: cold, codec: pack}
"""


@pytest.fixture
def world(dialect: str, clock: FakeClock, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Ten objects in one pack, their sources released."""
    with a_stage(dialect, clock, request) as made:
        for name in NAMES:
            made.write(name, text(name))
        made.scan()
        made.days(1)
        plan = planned(made)
        assert plan.summary.policies[0].actions.objects == 10
        assert applied(made, plan) == 10
        made.days(8)
        assert made.sweep().sources == 10
        yield made


def planned(world: Stage, policy: str = POLICY) -> Plan:
    (world.place / "policies" / "pack.yaml").write_text(policy)
    policies = load_policies(world.place / "policies", world.settings)
    return make_plan(world.catalog, world.settings, policies, world.clock)


def applied(world: Stage, plan: Plan) -> int:
    """How many objects were packed."""
    policies = load_policies(world.place / "policies", world.settings)
    apply_plan(world.context, plan.id, policies)
    return world.work().done


def remove_all(world: Stage, names: tuple[str, ...]) -> None:
    """Its user removes these, and their grace is over."""
    for name in names:
        assert remove_objects(world.context, targets.pages(world.context, f"lake/{name}")).refused == []
    world.days(8)


def remove(world: Stage, names: tuple[str, ...]) -> None:
    """Its user removes these for good."""
    remove_all(world, names)
    assert world.sweep().errors == []


def held(world: Stage, plan: Plan) -> set[str | None]:
    return {row.held for row in plan_rows(world.catalog, plan.id)}


def test_what_is_left_of_a_pack_is_packed_anew_and_the_old_one_goes(world: Stage) -> None:
    remove(world, NAMES[:6])
    plan = planned(world)
    rows = list(plan_rows(world.catalog, plan.id))
    assert [row.name for row in rows] == list(NAMES[6:])
    assert all("of its pack 40 % are left" in row.reason for row in rows)
    with world.catalog.read() as conn:
        size = conn.execute(sa.select(blobs.c.size)).scalar_one()
    assert size - 4 <= sum(row.stored_bytes for row in rows) <= size  # all of it, what is nobody's included
    assert sum(row.after_bytes for row in rows) <= -(-size * 4 // 10)
    assert applied(world, plan) == 4
    assert len(world.stored("cold")) == 2
    world.days(8)
    assert world.sweep().blobs == 1
    [stored] = world.stored("cold").values()
    assert len(stored) < size
    assert {name: world.read(name) for name in NAMES[6:]} == {name: text(name) for name in NAMES[6:]}
    assert planned(world).summary.policies[0].actions.objects == 0  # and it is left alone from now on


def test_a_pack_of_which_enough_is_left_is_left_alone(world: Stage) -> None:
    remove(world, NAMES[:5])
    assert list(plan_rows(world.catalog, planned(world).id)) == []
    more = POLICY.replace("codec: pack", "codec: {pack: {repack_below: 60%}}")
    assert len(list(plan_rows(world.catalog, planned(world, more).id))) == 5
    never = POLICY.replace("codec: pack", "codec: {pack: {repack_below: 0%}}")
    remove(world, NAMES[5:8])
    assert list(plan_rows(world.catalog, planned(world, never).id)) == []


def test_where_somebody_stays_nothing_is_packed_anew(world: Stage) -> None:
    """It would free nothing. Once nobody is held, it is."""
    remove(world, NAMES[:6])
    hold_objects(world.context, targets.pages(world.context, f"lake/{NAMES[7]}"), "a court")
    assert held(world, planned(world)) == {"stays", "hold"}
    limited = POLICY + "limits: {max_objects: 2}\n"
    assert held(world, planned(world, limited)) == {"stays", "hold"}
    hold_objects(world.context, targets.pages(world.context, f"lake/{NAMES[7]}"), None)
    assert held(world, planned(world, limited)) == {"stays", "max_objects"}
    assert held(world, planned(world)) == {None}


def test_what_is_left_goes_together_with_what_is_new(world: Stage) -> None:
    remove(world, NAMES[:9])
    assert held(world, planned(world)) == {"alone"}
    world.write("new.json", text("new"))
    world.scan()
    world.days(1)
    plan = planned(world)
    assert {row.name for row in plan_rows(world.catalog, plan.id)} == {NAMES[9], "new.json"}
    assert applied(world, plan) == 2
    world.days(8)
    world.sweep()
    assert len(world.stored("cold")) == 1
    assert (world.read(NAMES[9]), world.read("new.json")) == (text(NAMES[9]), text("new"))


def test_a_policy_that_looks_at_another_tier_packs_its_own_packs_anew(world: Stage) -> None:
    """As most do: from the tier where objects are written into the one where packs are."""
    elsewhere = POLICY.replace("{dataset: lake}", "{dataset: lake, tier: hot}")
    assert list(plan_rows(world.catalog, planned(world, elsewhere).id)) == []
    remove(world, NAMES[:6])
    limited = elsewhere + "limits: {max_percent: 100%}\n"  # of what it looks at, which are these four
    plan = planned(world, limited)
    assert {row.name: row.held for row in plan_rows(world.catalog, plan.id)} == dict.fromkeys(NAMES[6:])
    policies = load_policies(world.place / "policies", world.settings)
    told = explain(world.catalog, world.settings, policies, "lake", NAMES[6], world.clock.now_us())
    assert told.decides == "pack"
    assert applied(world, plan) == 4
    world.days(8)
    assert world.sweep().blobs == 1
    assert list(plan_rows(world.catalog, planned(world, elsewhere).id)) == []
    assert {name: world.read(name) for name in NAMES[6:]} == {name: text(name) for name in NAMES[6:]}


def test_a_sweep_tells_who_left_a_pack_and_what_was_gone_already(world: Stage) -> None:
    """Nothing is freed by the one, and nothing by the other: what was deleted before the catalog was lost."""
    remove_all(world, NAMES[:3])
    swept = world.sweep()
    assert (swept.blobs, swept.left, swept.absent, swept.freed_bytes) == (0, 3, 0, 0)
    remove_all(world, NAMES[3:])
    swept = world.sweep()
    assert (swept.blobs, swept.left, swept.absent) == (1, 0, 0)
    assert swept.freed_bytes > 0
    world.is_rebuilt()
    world.days(8)
    swept = world.sweep()
    assert (swept.blobs, swept.absent, swept.freed_bytes) == (1, 1, 0)
