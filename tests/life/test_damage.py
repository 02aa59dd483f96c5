"""Damage that verify found: of one object in one blob, told to the journal, and looked at until the last moment."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from storaged.catalog import placements
from storaged.catalog.entries import placement, told
from storaged.catalog.placements import Change, Why
from storaged.model import Replica, ReplicaState
from storaged.stores.base import Store
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.doctor.verify import Verified, verify
from storaged.work.release.sweep import sweep
from tests.life.stage import NAME, OLD, Stage
from tests.life.world import PLAIN, text


def rotten(lake: Stage) -> Context:
    """The world as it is read from a cold tier whose bytes rot under an unchanged identity."""
    faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))

    def wrap(store: Store) -> Store:
        return FaultyStore(store, faults) if store.url.endswith("/cold") else store

    return lake.new_context(wrap=wrap)


def verified(context: Context, target: str = f"lake/{NAME}") -> Verified:
    return verify(context, targets.pages(context, target), chance=random.Random(1))


def moved_plainly(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    assert lake.migrate(NAME, codec=PLAIN).done == 1


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_damage_that_is_found_while_a_release_is_judged_stops_it(lake: Stage, nth: int) -> None:
    moved_plainly(lake)
    lake.days(8)
    lake.meets(sweep, "head" if nth < 3 else "begin", lambda: verified(rotten(lake)), nth if nth < 3 else nth - 2)
    assert lake.raw(NAME) == OLD
    assert lake.sweep().held_back == {"damaged: see `storagectl verify`": 1}
    assert verified(lake.context).healed == 1
    assert lake.sweep().sources == 1
    assert lake.look() == OLD


def test_damage_and_its_healing_outlive_the_catalog(lake: Stage) -> None:
    moved_plainly(lake)
    assert len(verified(rotten(lake)).damaged) == 1
    lake.is_rebuilt()
    lake.days(8)
    assert lake.sweep().held_back == {"damaged: see `storagectl verify`": 1}
    assert verified(lake.context).healed == 1
    lake.is_rebuilt()
    lake.days(8)
    assert lake.sweep().sources == 1
    assert lake.look() == OLD


def test_damage_of_an_original_that_was_never_moved_outlives_the_catalog_until_its_user_writes(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    assert verified(lake.context).learnt == 1
    faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))
    assert len(verified(lake.new_context(wrap=lambda store: FaultyStore(store, faults))).damaged) == 1
    lake.is_rebuilt()
    assert lake.seen(NAME).placement.raw.damaged
    lake.write(NAME, text("repaired"))
    lake.rescan()
    assert not lake.seen(NAME).placement.damaged


# MUST 7
def test_what_one_object_of_a_blob_shows_says_nothing_of_the_others(lake: Stage) -> None:
    moved_plainly(lake)
    lake.write("b.csv", OLD)
    lake.scan()
    share(lake, lake.seen(NAME).placement.replicas[0].blob, "b.csv")
    assert [name for name, _ in verified(rotten(lake)).damaged] == [f"lake/{NAME}"]
    assert verified(lake.context, "lake/b.csv").checked == 1  # its own slice reads right
    assert lake.seen(NAME).placement.damaged
    assert not lake.seen("b.csv").placement.damaged


def share(lake: Stage, blob: str, name: str) -> None:
    """Another object whose content is a slice of the same blob, as a pack would have it."""
    seen = lake.seen(name)
    moved = replace(
        seen.placement,
        digest=lake.seen(NAME).placement.digest,
        replicas=(Replica(blob, 0, seen.placement.size, 1, ReplicaState.CURRENT),),
        raw=replace(seen.placement.raw, state=seen.placement.raw.state.RELEASED),
    )
    with lake.catalog.begin() as conn:
        placements.change(conn, [Change(seen, moved, "swap")], now_us=lake.context.now_us(), why=Why("test"))
    lake.context.journal.flush()


def test_an_entry_of_an_older_version_tells_of_no_damage(lake: Stage) -> None:
    moved_plainly(lake)
    p = lake.seen(NAME).placement
    entry = told(p)
    for place in (entry["raw"], *entry["replicas"]):
        del place["damaged"]
    assert placement(entry) == p
