"""A catalog of schema 0012, where attempts were blobs, whose process died: it is upgraded, and its life goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import open_catalog, upgrade_catalog
from storaged.catalog.schema_attempts import attempts
from tests.catalog.earlier import take_back_to_0012
from tests.life import scenes
from tests.life.crashes import Effects
from tests.life.deaths import after_each_effect, another_goes_on, dies, filled, nothing_is_lost
from tests.life.world import World

BETWEEN = {"sqlite": 5, "postgres": 11}  # effects from one death to the next


def _tried(world: World) -> None:
    """A worker died in mid-job, and the one that took it over dies too."""
    scenes.queued(world)
    dies(world, Effects(stop_after=8), scenes.migrate)
    world.days(0.01)


def _ejecting(world: World) -> None:
    """The same of a return."""
    scenes.released(world)
    dies(world, Effects(stop_after=9), scenes.eject)
    world.days(0.01)
    world.sweep()


SCENES = scenes.SCENES | {"another try": (_tried, scenes.migrate), "another eject": (_ejecting, scenes.eject)}


@pytest.mark.parametrize("scene", SCENES)
def test_what_was_under_way_comes_to_its_end_after_an_upgrade(
    scene: str, dialect: str, new_world: Callable[[], World]
) -> None:
    before, act = SCENES[scene]
    lives = 0
    moments = range(2, 300, BETWEEN[dialect])
    for world, _ in after_each_effect(moments, lambda: filled(new_world(), scenes.NAMES), before, act):
        lives += 1
        _upgraded(world)
        another_goes_on(world, act)
        nothing_is_lost(world, scenes.NAMES)
        with world.catalog.read() as conn:
            assert conn.execute(sa.select(attempts)).all() == []
    assert lives


def _upgraded(world: World) -> None:
    url = world.catalog.engine.url.render_as_string(hide_password=False)
    world.catalog.close()
    take_back_to_0012(url)
    assert upgrade_catalog(url)[0] == "0012"
    world.catalog = open_catalog(url)
    world.context = world.new_context(actor="another worker")
