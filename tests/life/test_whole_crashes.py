"""After every single effect of what moves a collection whole, and of its undo, the process dies; another one goes on.

At that moment all of it is in one place, whichever; then every object reads right, all of it has moved, and when all
windows are over nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.work import journal, targets
from storaged.work.rewrite import as_one, members, parts, pointers, swap
from storaged.work.rewrite.enqueue import Enqueued, enqueue_whole
from tests.life.deaths import after_each_effect, another_goes_on, filled, nothing_is_lost
from tests.life.world import PLAIN, World, text

NAMES = {"t.zarr/c/0": text("a"), "t.zarr/c/1": text("b", 70_000), "t.zarr/zarr.json": b"{}"}


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be half-way would be half-way after two objects."""
    for module in (as_one, members, parts, pointers, swap):
        monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(journal, "BATCH", 2)


@pytest.fixture
def dialect() -> str:
    """What a crash leaves of a transaction is each database's own business, and tested of single objects."""
    return "sqlite"


def begun(world: World) -> World:
    enqueue(filled(world, NAMES))
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
    act: Callable[[World], None], moments: range, new_world: Callable[[], World]
) -> None:
    before, ends = SCENES[act]
    crashes = 0
    for world, _ in after_each_effect(moments, lambda: begun(new_world()), before, act):
        crashes += 1
        in_one_place(world)
        another_goes_on(world, act)
        assert in_one_place(world) == ends
        nothing_is_lost(world, NAMES)
    assert crashes * moments.step + moments.start > 5
