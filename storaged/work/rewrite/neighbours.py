"""Objects of a batch that one thread reads, and writes, one after the other, so that what they have in common is done
once: the way to their directories, and bringing the new names in these to the medium."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from typing import Final, TypeVar

from storaged.catalog.items import Item, tier_of
from storaged.catalog.queue import ItemOutcome
from storaged.clock import timed
from storaged.errors import StoragedError
from storaged.stores.base import Ended, Store
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.location import current

MOST: Final = 32  # of one thread's, one after the other
LARGEST: Final = 1 << 20  # bytes of content; what is larger is worked on by itself

T = TypeVar("T")
Act = Callable[[Sequence[Item]], list[T | ItemOutcome]]
Met = Callable[[Item, StoragedError], ItemOutcome]
Recording = Callable[[], AbstractContextManager[None]]
Settled = Callable[[T, Mapping[str, Ended]], T]
Again = Callable[[Sequence[Item], list[T | ItemOutcome]], list[T | ItemOutcome]]


def each(
    context: Context,
    threads: Executor,
    items: Sequence[Item],
    act: Act[T],
    *,
    met: Met,
    recording: Recording,
    settled: Settled[T] | None,
    again: Again[T] | None = None,
) -> Iterator[T | ItemOutcome]:
    """What `act` made of each item, in their order; it gets neighbours. `met` says what became of one whose neighbours'
    way led elsewhere, or whose names could not be made durable: nothing counts of what was made of it. `recording`: of
    the time that a thread takes. `settled`: what was made, with what its store told of the keys of all neighbours in
    the end, and raises what it told of that one; None: nothing is written. `again`: a last look at what all was made
    of."""
    most = min(MOST, -(-len(items) // context.settings.workers.threads))
    group = partial(_group, context, act=act, met=met, recording=recording, settled=settled, again=again)
    return chain.from_iterable(threads.map(group, _groups(items, most)))


def _groups(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    """Runs of items, large ones one at a time."""
    run: list[Item] = []
    for item in items:
        alone = item.seen.placement.size > LARGEST
        if run and (alone or len(run) >= most):
            yield run
            run = []
        if alone:
            yield [item]
        else:
            run.append(item)
    if run:
        yield run


def _group(
    context: Context,
    items: Sequence[Item],
    *,
    act: Act[T],
    met: Met,
    recording: Recording,
    settled: Settled[T] | None,
    again: Again[T] | None,
) -> list[T | ItemOutcome]:
    found: list[T | ItemOutcome] = []

    def end(item: Item, made: T | ItemOutcome, there: Mapping[str, Ended]) -> T | ItemOutcome:
        if settled is None or isinstance(made, ItemOutcome):
            return made
        try:
            return settled(made, there)
        except StoragedError as error:
            return met(item, error)

    try:
        with recording(), contextlib.ExitStack() as near:
            written = _written(context, items) if settled and len(items) > 1 else {}
            read = _stores(context, {current(item.seen).place for item in items}) if len(items) > 1 else {}
            for number in read.keys() - written.keys():
                near.enter_context(read[number].near())
            with contextlib.ExitStack() as making:
                told = [making.enter_context(store.near()) for store in written.values()]
                found = act(items)
                with timed("write"):
                    making.close()
            if any(told):
                there = {key: ended for of_one in told for key, ended in of_one.items()}
                found = [end(item, one, there) for item, one in zip(items, found, strict=True)]
            if again:  # all of it is made by now
                found = again(items, found)
            with timed("source"):
                near.close()
    except StoragedError as error:
        outcomes = [one if isinstance(one, ItemOutcome) else None for one in found] or [None] * len(items)
        return [one or met(item, error) for item, one in zip(items, outcomes, strict=True)]
    return found


def _written(context: Context, items: Sequence[Item]) -> Mapping[int, Store]:
    """Where they go."""
    return _stores(context, {Place("tier", tier) for item in items if (tier := tier_of(item.to))})


def _stores(context: Context, places: Collection[Place]) -> Mapping[int, Store]:
    """Each once, by its id."""
    return {id(store): store for store in map(context.store, places)}
