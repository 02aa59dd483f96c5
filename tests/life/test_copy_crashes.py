"""Copies that a server makes, again: with answers that are wrong or lost, and a process that dies after an effect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storaged.testing.servers import MotoServer
from tests.life.conftest import LONG
from tests.life.deaths import after_each_effect, another_goes_on, filled, nothing_is_lost
from tests.life.stage import NAME, OLD, Stage
from tests.life.test_copies import COPY
from tests.life.world import PLAIN, World, noise, text


@pytest.fixture
def layout() -> str:
    return "s3"


@pytest.fixture
def dialect() -> str:
    """Copies are the stores' matter."""
    return "sqlite"


# MUST 4
@pytest.mark.parametrize("fault", ["ErrorIn200", "InternalError", "Reset", "SlowDown"])
@pytest.mark.parametrize("late", [False, True])
def test_an_answer_to_a_copy_that_is_wrong_or_lost_costs_a_try_and_no_data(
    lake: Stage, moto: MotoServer, fault: str, late: bool
) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    moto.faults.add(fault, operation=COPY, key="/cold/lake/", times=40, late=late)
    lake.work()
    moto.faults.assert_all_fired()
    moto.faults.clear()
    assert lake.look() == OLD
    for _ in range(4):
        lake.days(0.1)
        lake.work()
    lake.days(8)
    lake.sweep()
    assert (lake.look(), lake.raw(NAME)) == (OLD, None)
    lake.days(8)
    lake.sweep()
    assert list(lake.stored("cold").values()) == [OLD]
    assert (lake.unknown_blobs(), lake.leftovers()) == ([], [])


NAMES = {"a.csv": text("a"), "d/b.bin": noise("b", 70_000)}


def test_a_crash_after_every_effect_of_copies_loses_nothing(new_world: Callable[[], World]) -> None:
    """In a tier, and from it into the next."""

    def queues(world: World) -> None:
        world.enqueue(NAMES, "warm", PLAIN)

    def moves(world: World) -> None:
        world.work()
        world.days(8)
        world.sweep()
        world.enqueue([n for n in NAMES if world.seen(n).placement.current], "cold", PLAIN)
        world.work()

    log: list[str] = []
    moments = range(1, 300, 1 if LONG else 4)
    for world, effects in after_each_effect(moments, lambda: filled(new_world(), NAMES), queues, moves):
        log = effects.log
        another_goes_on(world, World.work)
        nothing_is_lost(world, NAMES)
    assert sum(what.startswith("copy ") for what in log) >= 3, log
