"""After every single effect of a job, a sweep, an undo and an eject the process dies; another one goes on.

Then: every object reads with the right content under its old name, the user's files are untouched, nothing of ours is
unknown to the catalog, and when all windows are over nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.life.deaths import after_each_effect, another_goes_on, filled, nothing_is_lost
from tests.life.scenes import NAMES, SCENES
from tests.life.world import World


@pytest.mark.parametrize("scene", SCENES)
def test_a_crash_after_every_effect_loses_nothing(scene: str, moments: range, new_world: Callable[[], World]) -> None:
    before, act = SCENES[scene]
    crashes = 0
    for world, _ in after_each_effect(moments, lambda: filled(new_world(), NAMES), before, act):
        crashes += 1
        another_goes_on(world, act)
        nothing_is_lost(world, NAMES)
    assert crashes * moments.step + moments.start > 3
