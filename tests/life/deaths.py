"""A process that dies after an effect, another one that goes on, and what must hold then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import pytest

from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.world import World

STRANGER = {"stranger.txt": b"of nobody's plan"}  # beside the objects of a test; no plan takes it
Act = Callable[[World], object]
W = TypeVar("W", bound=World)


def filled(world: W, contents: Mapping[str, bytes]) -> W:
    """A world whose user wrote these objects, and a stranger; they are known."""
    for name, content in {**contents, **STRANGER}.items():
        world.write(name, content)
    world.scan()
    return world


def after_each_effect(
    moments: Iterable[int], new_world: Callable[[], World], before: Act, act: Act
) -> Iterator[tuple[World, Effects]]:
    """Worlds, each prepared anew by `before`, whose process died in `act`: after the first of these moments, after the
    next, and so on to the end of `act`. Fails where that has none."""
    for n in moments:
        world = new_world()
        before(world)
        effects = Effects(stop_after=n)
        dies(world, effects, act)
        if not effects.dead:
            return
        yield world, effects
        world.catalog.close()
        world.places.give_back()
    pytest.fail("the scene has no end")


def dies(world: World, effects: Effects, act: Act) -> None:
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


def another_goes_on(world: World, act: Act) -> None:
    """The lease of the dead process runs out; work, scan and sweep run as always."""
    world.days(0.01)
    world.scan()
    act(world)
    world.work()
    world.scan()


def nothing_is_lost(world: World, names: Mapping[str, bytes]) -> None:
    """All reads right, now and when all windows are over; then each object is stored once, and nothing else is."""
    _all_is_there(world, names)
    for _ in range(2):
        world.days(8)
        world.sweep()
        world.scan()
    _all_is_there(world, names)
    assert world.leftovers() == []
    blobs = sum(len(world.stored(t)) for t in ("hot", "warm", "cold"))
    raws = sum(world.raw(n) is not None for n in names)
    assert blobs + raws == len(names), "each object is stored once when all windows are over"


def _all_is_there(world: World, names: Mapping[str, bytes]) -> None:
    for name, content in names.items():
        assert world.read(name) == content, name
    for name, content in STRANGER.items():
        assert world.raw(name) == content, name
    assert world.unknown_blobs() == []
