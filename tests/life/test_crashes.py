"""After every single effect of a job, a sweep, an undo, an eject and a rebuild the process dies; another one goes on.

Then: every object reads with the right content under its old name, the user's files are untouched, nothing of ours is
unknown to the catalog, and when all windows are over nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.errors import PermissionDenied
from storaged.model import RawState
from storaged.testing import FakeClock, Fault, Faults, FaultyStore
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.places import NewPlaces
from tests.life.world import World, noise, text

NAMES = {"a.csv": text("a"), "d/b.csv": text("b", 70_000), "c.bin": noise("c")}
Step = Callable[[World], object]


def _prepare(place: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> World:
    place.mkdir()
    world = World(place, catalog, clock, new_places=new_places)
    for name, content in NAMES.items():
        world.write(name, content)
    world.write("stranger.txt", b"of nobody's plan")
    world.scan()
    return world


def _moved(world: World) -> None:
    world.migrate(*NAMES)


def _released(world: World) -> None:
    _moved(world)
    world.days(8)
    world.sweep()


def _migrate(world: World) -> None:
    world.work()


def _sweep(world: World) -> None:
    world.sweep()


def _undo(world: World) -> None:
    world.undo("lake")


def _eject(world: World) -> None:
    world.eject()


def _due(world: World) -> None:
    _moved(world)
    world.days(8)


def _undone(world: World) -> None:
    _moved(world)
    world.undo("lake")


def _ejected(world: World) -> None:
    _released(world)
    world.eject()
    world.days(8)


def _queued(world: World) -> None:
    world.enqueue(NAMES, "cold")


def _denied(world: World) -> None:
    """The store lets no original be deleted once the intent to do so is taken."""
    _due(world)
    denied = Faults(Fault("delete", 0, error=PermissionDenied("not yours")))
    root = world.places.by_name["lake"].url
    world.sweep(world.new_context(wrap=lambda s: FaultyStore(s, denied) if s.url == root else s))
    denied.assert_all_hit()
    assert {world.seen(name).placement.raw.state for name in NAMES} == {RawState.RELEASING}


SCENES: dict[str, tuple[Step, Step]] = {
    "job": (_queued, _migrate),
    "release of sources": (_due, _sweep),
    "undo": (_moved, _undo),
    "a release taken back": (_denied, _undo),
    "release of undone blobs": (_undone, _sweep),
    "eject": (_released, _eject),
    "release of ejected blobs": (_ejected, _sweep),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_crash_after_every_effect_loses_nothing(
    scene: str,
    memory_place: Path,
    catalog: Catalog,
    clock: FakeClock,
    new_places: NewPlaces,
    moments: range,
    request: pytest.FixtureRequest,
) -> None:
    before, act = SCENES[scene]
    crashes = 0
    for n in moments:
        world = _prepare(memory_place / f"world{n}", _fresh(catalog, n, request), clock, new_places)
        before(world)
        effects = Effects(stop_after=n)
        _under(world, effects, act)
        if not effects.dead:
            break
        crashes += 1
        _recover(world, act)
        _check(world)
        world.catalog.close()
        world.places.give_back()
    else:
        pytest.fail("the scene has no end")
    assert crashes * moments.step >= 3, effects.log


def _fresh(catalog: Catalog, n: int, request: pytest.FixtureRequest) -> Catalog:
    """A catalog of its own for each round."""
    make: Callable[[], Catalog] = request.getfixturevalue("new_catalog")
    return catalog if n == 1 else make()


def _under(world: World, effects: Effects, act: Step) -> None:
    """Let `act` run in a process that dies as `effects` say."""
    sound, world.catalog = world.catalog, CrashingCatalog(world.catalog, effects)
    healthy, world.context = world.context, world.new_context(wrap=lambda s: CrashingStore(s, effects))
    try:
        act(world)
    except Crash:
        pass
    finally:
        world.catalog, world.context = sound, healthy
        world.context = world.new_context(actor="another worker")


def _recover(world: World, act: Step) -> None:
    """Another process goes on: the lease of the dead one runs out, work, scan and sweep run as always."""
    world.days(0.01)
    world.scan()
    act(world)
    world.work()
    world.scan()


def _check(world: World, names: Mapping[str, bytes] = NAMES) -> None:
    for name, content in names.items():
        assert world.read(name) == content, name
    assert world.raw("stranger.txt") == b"of nobody's plan"
    assert world.unknown_blobs() == []
    for _ in range(3):
        world.days(8)
        world.sweep()
        world.scan()
    for name, content in names.items():
        assert world.read(name) == content, name
    assert world.raw("stranger.txt") == b"of nobody's plan"
    assert world.unknown_blobs() == []
    assert world.leftovers() == []
    blobs = sum(len(world.stored(t)) for t in ("hot", "warm", "cold"))
    raws = sum(world.raw(n) is not None for n in names)
    assert blobs + raws == len(names), "each object is stored once when all windows are over"
