"""Objects that one thread works on as neighbours: what holds of one of them holds of each, and where it is not certain
that their names are durable, nothing counts of what was made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from storaged.catalog.schema_attempts import attempts
from storaged.errors import PlaceAway
from storaged.model import ItemState, RawState
from storaged.stores.base import Ended, Store
from storaged.stores.wrappers import StoreWrapper
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.worker import Worker
from tests.life.world import World, text

NAMES = tuple(f"dt={n % 2}/{n:02}.csv" for n in range(40))  # more than eight threads take one by one


class Ends(StoreWrapper):
    """A store in which no neighbours come to their end."""

    ended = 0

    @contextmanager
    def near(self) -> Iterator[Mapping[str, Ended]]:
        with super().near() as told:
            yield told
        self.ended += 1
        raise PlaceAway("the names are not durable", key="")


def ends(place: str) -> tuple[list[Ends], Callable[[Store], Store]]:
    """Those of a place that were opened, and what wraps them."""
    made: list[Ends] = []

    def wrap(store: Store) -> Store:
        if not store.url.endswith(place):
            return store
        made.append(Ends(store))
        return made[-1]

    return made, wrap


@pytest.fixture
def lake(world: World) -> World:
    for name in NAMES:
        world.write(name, text(name, 2_000))
    world.scan()
    return world


# MUST 4
@pytest.mark.parametrize("place", ["cold", "lake"])
def test_nothing_counts_of_neighbours_that_did_not_come_to_their_end(lake: World, place: str) -> None:
    made, wrap = ends(place)
    context = lake.new_context(wrap=wrap)
    lake.enqueue(NAMES, "cold")
    with Worker(context) as worker:
        claimed = worker.claim()
        assert claimed is not None
        _, outcomes = worker.work(claimed)
    assert sum(store.ended for store in made) > 1
    assert {(o.state, o.again, o.note) for o in outcomes} == {(ItemState.FAILED, True, "the names are not durable")}
    assert {lake.seen(n).placement.raw.state for n in NAMES} == {RawState.CURRENT}
    with lake.catalog.read() as conn:
        assert set(conn.execute(sa.select(attempts.c.state)).scalars()) == {"tombstone"}
    lake.clock.advance(3_600)
    assert lake.work().done == len(NAMES)
    assert [lake.read(n) for n in NAMES] == [text(n, 2_000) for n in NAMES]


# MUST 7
def test_what_may_not_be_gone_for_good_is_deleted_by_the_next_sweep(lake: World) -> None:
    lake.migrate(*NAMES)
    lake.days(8)
    made, wrap = ends("lake")
    swept = sweep(lake.new_context(wrap=wrap))
    assert sum(store.ended for store in made) > 1
    assert swept.sources == 0
    assert swept.held_back == {}  # each was looked at by itself where the look at neighbours did not count
    assert any("the names are not durable" in error for error in swept.errors)
    assert {lake.seen(n).placement.raw.state for n in NAMES} == {RawState.RELEASING}
    assert lake.sweep().sources == len(NAMES)
    assert {lake.seen(n).placement.raw.state for n in NAMES} == {RawState.RELEASED}
    assert [lake.read(n) for n in NAMES] == [text(n, 2_000) for n in NAMES]
