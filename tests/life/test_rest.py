"""What was moved is not moved back by a policy before its rest is over; people may move it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema_moves import moves
from storaged.clock import DAY, iso
from storaged.decide.load import load_policies
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.plan.explain import explain
from storaged.work.plan.make import PlanRow, make_plan, plan_rows
from storaged.work.rewrite import returns
from storaged.work.rewrite.apply import apply_plan
from tests.life.world import PLAIN, World, text

NAME = "a.csv"


def policy(name: str, source: str, to: str, more: str = "") -> str:
    return (
        f"  - name: {name}\n    target: {{dataset: lake, tier: {source}}}\n    when: {{age_over: 1h}}\n"
        f"    to: {to}\n    mode: active\n    keep_source: 0s\n{more}"
    )


@pytest.fixture
def world(catalog: Catalog, clock: FakeClock, tmp_path: Path) -> World:
    made = World(tmp_path, catalog, clock, more="rest: 10d\nquiet_for: 0s\n")
    made.write(NAME, text("a"))
    made.scan()
    made.days(1)
    return made


def night(world: World, *policies: str) -> list[PlanRow]:
    """A plan of these policies is made and applied, and worked off; its rows."""
    (world.place / "policies" / "p.yaml").write_text("policies:\n" + "".join(policies))
    loaded = load_policies(world.place / "policies", world.settings)
    plan = make_plan(world.catalog, world.settings, loaded, world.clock)
    rows = list(plan_rows(world.catalog, plan.id))
    apply_plan(world.context, plan.id, loaded)
    world.work()
    world.sweep()
    world.days(1)
    return rows


DOWN = policy("down", "hot", "{tier: cold, codec: zstd}")
UP = policy("up", "cold", "{tier: hot, codec: identity}")


def told(world: World) -> str:
    loaded = load_policies(world.place / "policies", world.settings)
    return str(explain(world.catalog, world.settings, loaded, "lake", NAME, world.clock.now_us()))


# MUST Rest
def test_two_policies_move_an_object_once_in_its_rest_and_not_at_every_run(world: World) -> None:
    """Eleven nights: down in the first, up once ten days are over, and then it rests where it is."""
    [first] = night(world, DOWN, UP)
    assert (first.policy, first.held) == ("down", None)
    until = iso(world.clock.now_us() + 9 * DAY)
    for _ in range(9):
        [row] = night(world, DOWN, UP)
        assert (row.policy, row.held) == ("up", "rest")
        assert row.reason == f"age {row.reason.split()[1]} h ≥ 1 h; rests until {until}"
        if row.reason.split()[1] == "48":
            assert "would go back where it came from, and rests" in told(world)
            assert f"until {until}" in told(world)
    [back] = night(world, DOWN, UP)
    assert (back.policy, back.held) == ("up", None)
    [row] = night(world, DOWN, UP)
    assert (row.policy, row.held) == ("down", "rest")
    assert world.read(NAME) == text("a")


@pytest.mark.on_sqlite
def test_the_summary_says_why(world: World) -> None:
    night(world, DOWN)
    loaded = load_policies(world.place / "policies", world.settings)
    (world.place / "policies" / "p.yaml").write_text("policies:\n" + UP)
    loaded = load_policies(world.place / "policies", world.settings)
    said = str(make_plan(world.catalog, world.settings, loaded, world.clock))
    assert "held back: 1 object" in said
    assert "rests (rest, or the minimum duration of its storage class)" in said
    assert f"rests: 1 object, the last of them until {iso(world.clock.now_us() + 9 * DAY)}" in said


@pytest.mark.on_sqlite
def test_further_down_is_not_back(world: World) -> None:
    night(world, policy("down", "hot", "{tier: warm}"))
    [row] = night(world, policy("further", "warm", "{tier: cold}"))
    assert row.held is None
    [row] = night(world, policy("half", "cold", "{tier: warm}"))
    assert row.held == "rest"


def test_a_codec_that_it_had_is_back_too(world: World) -> None:
    shrink = policy("shrink", "hot", "{codec: zstd}")
    night(world, shrink)
    [row] = night(world, policy("grow", "hot", "{codec: identity}"))
    assert row.held == "rest"


def test_a_policy_has_its_own_word(world: World) -> None:
    night(world, DOWN)
    [row] = night(world, policy("up", "cold", "{tier: hot}", "    rest: 3d\n"))
    assert row.held == "rest"
    [row] = night(world, policy("up", "cold", "{tier: hot}", "    rest: 0s\n"))
    assert row.held is None


# MUST Rest
def test_nothing_leaves_a_class_upwards_within_its_minimum_duration(world: World) -> None:
    """Thirty days of Standard-IA are more than the ten of the configuration; a policy's own word is the last."""
    priced = {
        name: tier.model_copy(update={"prices": f"aws/us-east-1/{'standard-ia' if name == 'cold' else 'standard'}"})
        for name, tier in world.settings.tiers.items()
    }
    world.settings = world.settings.model_copy(update={"tiers": priced})
    world.context = world.new_context()
    night(world, DOWN)
    world.days(27)
    [row] = night(world, UP)
    assert row.held == "rest"
    world.days(1)
    [row] = night(world, UP)
    assert row.held is None


@pytest.mark.on_sqlite
def test_people_are_not_held_back(world: World) -> None:
    night(world, DOWN)
    page = targets.pages(world.context, f"lake/{NAME}")
    assert returns.restage(world.context, page, "hot", reason="test").objects == 1
    assert world.work().done == 1


def test_what_was_undone_is_not_moved_again_at_once(world: World) -> None:
    night(world, DOWN.replace("keep_source: 0s", "keep_source: 5d"))
    assert world.undo(f"lake/{NAME}").done == [f"lake/{NAME}"]
    world.sweep()
    [row] = night(world, DOWN)
    assert row.held == "rest"
    world.days(10)
    [row] = night(world, DOWN)
    assert row.held is None


@pytest.mark.on_sqlite
def test_new_content_has_come_from_nowhere(world: World) -> None:
    """What its user wrote since is not what was moved."""
    night(world, DOWN)
    world.write(NAME, text("new"))
    world.scan()
    world.days(9)
    world.sweep()
    assert [row.held for row in night(world, DOWN)] == [None]


@pytest.mark.on_sqlite
def test_a_rebuilt_catalog_moves_without_knowing_where_things_came_from(world: World) -> None:
    night(world, DOWN)
    with world.catalog.begin() as conn:
        conn.execute(sa.delete(moves))
    assert [row.held for row in night(world, UP)] == [None]


def test_what_is_dated_ahead_waits_and_the_plan_says_until_when(world: World) -> None:
    ahead = world.clock.now_us() + 400 * DAY
    world.migrate(NAME, tier="warm", codec=PLAIN)
    with world.catalog.begin() as conn:
        conn.execute(sa.text("UPDATE objects SET mtime_us = :ahead"), {"ahead": ahead})
    world.days(8)
    world.sweep()
    down = policy("down", "warm", "{tier: cold}")
    [row] = night(world, down)
    assert row.held == "quiet"
    assert row.reason.endswith(f"; modified at {iso(ahead)}, which is to come: waits until {iso(ahead)}")
    assert f"modified too recently (quiet_for), until {iso(ahead)}" in told(world)
    loaded = load_policies(world.place / "policies", world.settings)
    said = str(make_plan(world.catalog, world.settings, loaded, world.clock))
    assert f"dated ahead of now: 1 object, the last of them until {iso(ahead)}" in said
    with world.catalog.begin() as conn:
        conn.execute(sa.text("UPDATE objects SET mtime_us = :ahead"), {"ahead": 2**63 - 1})
    [row] = night(world, down)
    assert "waits until 9999-12-31T23:59:59Z" in row.reason
    assert "until 9999-12-31T23:59:59Z" in told(world)
