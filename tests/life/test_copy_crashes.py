"""Copies that a server makes, again: with answers that are wrong or lost, and a process that dies after an effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer
from tests.life.conftest import LONG
from tests.life.crashes import Effects
from tests.life.places import NewPlaces
from tests.life.stage import NAME, OLD, Stage
from tests.life.test_copies import COPY
from tests.life.test_crashes import _check, _fresh, _recover, _under
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


def test_a_crash_after_every_effect_of_copies_loses_nothing(
    memory_place: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces, request: pytest.FixtureRequest
) -> None:
    """In a tier, and from it into the next."""

    def moves(world: World) -> None:
        world.work()
        world.days(8)
        world.sweep()
        world.enqueue([n for n in NAMES if world.seen(n).placement.current], "cold", PLAIN)
        world.work()

    log: list[str] = []
    for n in range(1, 300, 1 if LONG else 4):
        place = memory_place / f"world{n}"
        place.mkdir()
        world = World(place, _fresh(catalog, n, request), clock, new_places=new_places)
        for name, content in NAMES.items():
            world.write(name, content)
        world.write("stranger.txt", b"of nobody's plan")
        world.scan()
        world.enqueue(NAMES, "warm", PLAIN)
        effects = Effects(stop_after=n)
        _under(world, effects, moves)
        if not effects.dead:
            break
        log = effects.log
        _recover(world, World.work)
        _check(world, NAMES)
        world.catalog.close()
        world.places.give_back()
    assert sum(what.startswith("copy ") for what in log) >= 3, log
