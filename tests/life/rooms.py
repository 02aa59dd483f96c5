"""Tiers of a world that hold so much and no more."""

from __future__ import annotations

from storaged.config.sections import Capacity
from tests.life.world import World


def bounded(world: World, **sizes: int) -> None:
    """Give tiers a capacity of so many KiB, high 85%, low 70%."""
    given = {name: Capacity(size=f"{size}KiB", high="85%", low="70%") for name, size in sizes.items()}
    found = {n: t.model_copy(update={"capacity": given.get(n, t.capacity)}) for n, t in world.settings.tiers.items()}
    world.settings = world.settings.model_copy(update={"tiers": found})
    world.context = world.new_context()
