"""What the three objects of a test go through, again and again: the scenes of its crashes, upgrades and bad answers."""

from __future__ import annotations

from collections.abc import Callable

from storaged.errors import PermissionDenied
from storaged.model import RawState
from storaged.testing import Fault, Faults, FaultyStore
from tests.life.world import World, noise, text

NAMES = {"a.csv": text("a"), "d/b.csv": text("b", 70_000), "c.bin": noise("c")}
Step = Callable[[World], object]


def moved(world: World) -> None:
    world.migrate(*NAMES)


def released(world: World) -> None:
    moved(world)
    world.days(8)
    world.sweep()


def migrate(world: World) -> None:
    world.work()


def sweep(world: World) -> None:
    world.sweep()


def undo(world: World) -> None:
    world.undo("lake")


def eject(world: World) -> None:
    world.eject()


def due(world: World) -> None:
    moved(world)
    world.days(8)


def undone(world: World) -> None:
    moved(world)
    world.undo("lake")


def ejected(world: World) -> None:
    released(world)
    world.eject()
    world.days(8)


def queued(world: World) -> None:
    world.enqueue(NAMES, "cold")


def denied_a_delete(world: World) -> None:
    """The store lets no original be deleted once the intent to do so is taken."""
    due(world)
    denied = Faults(Fault("delete", 0, error=PermissionDenied("not yours")))
    root = world.places.by_name["lake"].url
    world.sweep(world.new_context(wrap=lambda s: FaultyStore(s, denied) if s.url == root else s))
    denied.assert_all_hit()
    assert {world.seen(name).placement.raw.state for name in NAMES} == {RawState.RELEASING}


SCENES: dict[str, tuple[Step, Step]] = {
    "job": (queued, migrate),
    "release of sources": (due, sweep),
    "undo": (moved, undo),
    "a release taken back": (denied_a_delete, undo),
    "release of undone blobs": (undone, sweep),
    "eject": (released, eject),
    "release of ejected blobs": (ejected, sweep),
}
