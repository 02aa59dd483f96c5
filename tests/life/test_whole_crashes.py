"""After every single effect of what moves a collection whole, and of its undo, the process dies; another one goes on.

At that moment all of it is in one place, whichever; then every object reads right, all of it has moved, and when all
windows are over nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.rewrite.enqueue import Enqueued, enqueue_whole
from tests.life.crashes import Effects
from tests.life.places import NewPlaces
from tests.life.test_crashes import _check, _fresh, _recover, _under
from tests.life.world import PLAIN, World, text

NAMES = {"t.zarr/c/0": text("a"), "t.zarr/c/1": text("b", 70_000), "t.zarr/zarr.json": b"{}"}


@pytest.fixture
def dialect() -> str:
    """What a crash leaves of a transaction is each database's own business, and tested of single objects."""
    return "sqlite"


def prepare(place: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> World:
    place.mkdir()
    world = World(place, catalog, clock, new_places=new_places)
    for name, content in NAMES.items():
        world.write(name, content)
    world.write("stranger.txt", b"of nobody's plan")
    world.scan()
    enqueue(world)
    return world


def enqueue(world: World) -> Enqueued:
    result = Enqueued()
    seen = [h for page in targets.pages(world.context, "lake/t.zarr") for h in page]
    items = [NewItem(h.id, h.version, h.placement.size, ToTier("warm", PLAIN, 7 * DAY), name=h.path) for h in seen]
    enqueue_whole(world.context, "lake", items, whole="t.zarr/", reason="test", result=result)
    assert len(result.jobs) == 1
    return result


def in_one_place(world: World) -> str:
    """Where all of it is."""
    query = sa.select(objects.c.raw_state).where(objects.c.name.startswith("t.zarr/"))
    with world.catalog.read() as conn:
        [found] = set(conn.execute(query).scalars())
    return str(found)


def works(world: World) -> None:
    world.work()


def goes_back(world: World) -> None:
    world.undo("lake/t.zarr/c/1")


SCENES: dict[Callable[[World], None], tuple[Callable[[World], None], str]] = {
    works: (lambda _: None, "superseded"),
    goes_back: (works, "current"),
}


# MUST 11
@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_a_crash_after_every_effect_leaves_all_of_it_in_one_place(
    act: Callable[[World], None],
    memory_place: Path,
    catalog: Catalog,
    clock: FakeClock,
    new_places: NewPlaces,
    moments: range,
    request: pytest.FixtureRequest,
) -> None:
    before, ends = SCENES[act]
    crashes = 0
    for n in moments:
        world = prepare(memory_place / f"world{n}", _fresh(catalog, n, request), clock, new_places)
        before(world)
        effects = Effects(stop_after=n)
        _under(world, effects, act)
        if not effects.dead:
            break
        crashes += 1
        in_one_place(world)
        _recover(world, act)
        assert in_one_place(world) == ends
        _check(world, NAMES)
        world.catalog.close()
        world.places.give_back()
    else:
        pytest.fail("the scene has no end")
    assert crashes >= 2, effects.log
