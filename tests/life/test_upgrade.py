"""A catalog of schema 0012, where attempts were blobs, whose process died: it is upgraded, and its life goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog, open_catalog, upgrade_catalog
from storaged.catalog.schema_attempts import attempts
from storaged.testing import FakeClock
from tests.catalog.earlier import take_back_to_0012
from tests.life import test_crashes as crashes
from tests.life.crashes import Effects
from tests.life.places import NewPlaces
from tests.life.world import World

BETWEEN = {"sqlite": 5, "postgres": 11}  # effects from one death to the next


def _tried(world: World) -> None:
    """A worker died in mid-job, and the one that took it over dies too."""
    crashes._queued(world)
    crashes._under(world, Effects(stop_after=8), crashes._migrate)
    world.days(0.01)


def _ejecting(world: World) -> None:
    """The same of a return."""
    crashes._released(world)
    crashes._under(world, Effects(stop_after=9), crashes._eject)
    world.days(0.01)
    world.sweep()


SCENES = crashes.SCENES | {"another try": (_tried, crashes._migrate), "another eject": (_ejecting, crashes._eject)}


@pytest.mark.parametrize("scene", SCENES)
def test_what_was_under_way_comes_to_its_end_after_an_upgrade(
    scene: str,
    tmp_path: Path,
    dialect: str,
    clock: FakeClock,
    new_catalog: Callable[[], Catalog],
    new_places: NewPlaces,
) -> None:
    before, act = SCENES[scene]
    lives = 0
    for n in range(2, 300, BETWEEN[dialect]):
        world = crashes._prepare(tmp_path / f"world{n}", new_catalog(), clock, new_places)
        before(world)
        effects = Effects(stop_after=n)
        crashes._under(world, effects, act)
        if not effects.dead:
            break
        lives += 1
        _upgraded(world)
        crashes._recover(world, act)
        crashes._check(world)
        with world.catalog.read() as conn:
            assert conn.execute(sa.select(attempts)).all() == []
        world.catalog.close()
        world.places.give_back()
    assert lives, effects.log


def _upgraded(world: World) -> None:
    url = world.catalog.engine.url.render_as_string(hide_password=False)
    world.catalog.close()
    take_back_to_0012(url)
    assert upgrade_catalog(url)[0] == "0012"
    world.catalog = open_catalog(url)
    world.context = world.new_context(actor="another worker")
