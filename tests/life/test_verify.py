"""Verify finds damage and nothing else: what cannot be looked at is skipped with the reason, and marks go with their
cause."""

from __future__ import annotations

import random

import pytest

from storaged.errors import ObjectCold, PermissionDenied, StoreError, StoreUnavailable
from storaged.testing import Fault, Faults, FaultyStore
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.doctor.verify import COLD, DENIED, MOVED, UNANSWERED, Verified, verify
from storaged.work.show.measure import measure
from tests.life.stage import NAME, OLD, Stage
from tests.life.world import World, text


def verified(context: Context, *, sample: float = 1.0) -> Verified:
    return verify(context, targets.pages(context, "lake"), sample=sample, chance=random.Random(1))


def troubled(world: World, faults: Faults, place: str) -> Context:
    return world.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith(f"/{place}") else s)


# MUST 7
@pytest.mark.parametrize("place", ["cold", "lake"])
@pytest.mark.parametrize(
    ("error", "why", "unseen"),
    [
        (ObjectCold("'a' is in GLACIER"), COLD, 0),
        (PermissionDenied("'a': permission denied"), DENIED, 2),
        (StoreUnavailable("'a': timed out"), UNANSWERED, 2),
        (StoreError("'a' is a symbolic link"), UNANSWERED, 2),
    ],
)
def test_what_cannot_be_looked_at_is_skipped_and_not_marked(
    error: StoreError, why: str, unseen: int, place: str, lake: Stage
) -> None:
    lake.write(NAME, OLD)
    lake.write("b.csv", text("b"))
    lake.scan()
    if place == "cold":
        lake.migrate(NAME, "b.csv")
    assert verified(lake.context).damaged == []
    faults = Faults(Fault("open", 0, error=error))
    found = verified(troubled(lake, faults, place))
    faults.assert_all_hit()
    assert (found.damaged, found.checked, found.reasons, found.unseen) == ([], 0, {why: 2}, unseen)
    assert found.examples == {why: error.message}
    assert not lake.seen(NAME).placement.damaged
    assert measure(lake.context).damaged_objects == measure(lake.context).damaged_blobs == 0


# MUST 7
def test_what_moves_while_it_is_read_is_not_damaged(lake: Stage) -> None:
    lake.moved()
    lake.write("b.csv", text("b"))
    lake.scan()
    lake.migrate("b.csv")

    def moves(method: str, _key: str) -> None:
        if method == "open" and lake.seen(NAME).placement.current is not None:
            lake.undo("lake")
            lake.sweep()
            assert lake.stored("cold") == {}

    found = verified(troubled(lake, Faults(before=moves), "cold"))
    assert found.damaged == []
    assert found.reasons == {MOVED: 2}
    assert not lake.seen(NAME).placement.damaged


def test_a_mark_is_looked_at_in_any_sample_and_goes_when_it_reads_right(lake: Stage) -> None:
    lake.moved()
    lake.find_damage("cold")
    assert measure(lake.context).damaged_blobs == 1
    found = verified(lake.context, sample=1e-9)
    assert (found.checked, found.healed, found.damaged) == (1, 1, [])
    assert measure(lake.context).damaged_blobs == 0


# MUST 7
def test_the_mark_of_a_blob_that_was_undone_goes_with_it(lake: Stage) -> None:
    lake.moved()
    lake.find_damage("cold")
    lake.days(8)
    assert lake.sweep().sources == 0  # the original is all that is whole
    lake.undo("lake")
    lake.sweep()
    assert (lake.stored("cold"), lake.read(NAME)) == ({}, OLD)
    assert measure(lake.context).damaged_blobs == 0
