"""After every single effect of what makes, undoes and releases an edition the process dies; another one goes on, every
other time with a catalog that is made anew.

Then: the name reads as the one file or the other, as what was shown before the loss unless a fact was under way, and as
nothing else from then on; the user's other files are untouched, and it is stored once when all windows are over.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storaged.errors import PermissionDenied
from storaged.model import RawState
from storaged.testing import FakeClock, Fault, Faults, FaultyStore
from tests.life.crashes import Effects
from tests.life.deaths import dies, filled, nothing_is_lost
from tests.life.stage import NAME, Stage, a_stage
from tests.life.test_edition_guards import ANOTHER, OLD

Step = Callable[[Stage], object]


def _queued(lake: Stage) -> None:
    lake.enqueue([NAME], "warm", ANOTHER)


def _work(lake: Stage) -> None:
    lake.work()


def _derived(lake: Stage) -> None:
    _queued(lake)
    lake.work()


def _due(lake: Stage) -> None:
    _derived(lake)
    lake.days(8)


def _sweep(lake: Stage) -> None:
    lake.sweep()


def _undo(lake: Stage) -> None:
    lake.undo("lake")


def _undone(lake: Stage) -> None:
    _derived(lake)
    lake.undo("lake")


def _denied(lake: Stage) -> None:
    """The store lets the original not be deleted once the intent to do so is taken."""
    _due(lake)
    denied = Faults(Fault("delete", 0, error=PermissionDenied("not yours")))
    root = lake.places.by_name["lake"].url
    lake.sweep(lake.new_context(wrap=lambda s: FaultyStore(s, denied) if s.url == root else s))
    assert lake.seen(NAME).placement.raw.state is RawState.RELEASING


SCENES: dict[str, tuple[Step, Step, int]] = {  # and how many effects there are at least
    "undo": (_derived, _undo, 2),
    "another file": (_queued, _work, 8),
    "release of the old bytes": (_due, _sweep, 4),
    "a release taken back": (_denied, _undo, 2),
    "release of what was undone": (_undone, _sweep, 4),
}


# MUST 8
@pytest.mark.parametrize("scene", SCENES)
def test_a_crash_after_every_effect_of_an_edition_loses_nothing(
    scene: str, dialect: str, clock: FakeClock, moments: range, request: pytest.FixtureRequest
) -> None:
    before, act, least = SCENES[scene]
    crashes = 0
    for n in moments:
        with a_stage(dialect, clock, request) as lake:
            before(filled(lake, {NAME: OLD}))
            effects = Effects(stop_after=n)
            dies(lake, effects, act)
            if not effects.dead:
                break
            crashes += 1
            seen, shown = lake.seen(NAME), lake.look()
            if n % 2:
                lake.is_rebuilt()
                assert lake.look() == shown or seen.fact_id is not None
            lake.days(0.01)
            lake.rescan()
            act(lake)
            lake.rescan()
            reads = lake.read(NAME)
            assert reads is not None
            assert reads == OLD or lake.seen(NAME).placement.edition
            nothing_is_lost(lake, {NAME: reads})
    else:
        pytest.fail("the scene has no end")
    assert crashes * moments.step + moments.start > least, effects.log
