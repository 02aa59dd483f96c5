"""Objects of a batch that one thread reads, and writes, one after the other, so that what they have in common is done
once: the way to their directories, and bringing the new names in these to the medium."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from typing import Final, TypeVar

from storaged.catalog.items import Item, tier_of
from storaged.catalog.queue import ItemOutcome
from storaged.clock import timed
from storaged.errors import StoragedError
from storaged.stores.base import Stat, Store
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.location import current

MOST: Final = 32  # of one thread's, one after the other
LARGEST: Final = 1 << 20  # bytes of content; what is larger is worked on by itself

T = TypeVar("T")
Act = Callable[[Sequence[Item]], list[T | ItemOutcome]]
Met = Callable[[Item, StoragedError], ItemOutcome]
Recording = Callable[[], AbstractContextManager[None]]
Settled = Callable[[T, Mapping[str, Stat]], T]


def each(
    context: Context,
    threads: Executor,
    items: Sequence[Item],
    act: Act[T],
    *,
    met: Met,
    recording: Recording,
    settled: Settled[T] | None,
) -> Iterator[T | ItemOutcome]:
    """What `act` made of each item, in their order; it gets neighbours. `met` says what became of one whose neighbours'
    way led elsewhere, or whose names could not be made durable: nothing counts of what was made of it. `recording`: of
    the time that a thread takes. `settled`: what was made, with what its store told of the keys of all neighbours in
    the end; None: nothing is written."""
    most = min(MOST, -(-len(items) // context.settings.workers.threads))
    group = partial(_group, context, act=act, met=met, recording=recording, settled=settled)
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
) -> list[T | ItemOutcome]:
    found: list[T | ItemOutcome] = []
    try:
        with recording(), contextlib.ExitStack() as near:
            stores = _stores(context, items, writing=settled is not None) if len(items) > 1 else ()
            told = [near.enter_context(store.near()) for store in stores]
            found = act(items)
            with timed("write" if settled else "source"):
                near.close()
            if settled and any(told):
                there = {key: stat for of_one in told for key, stat in of_one.items()}
                found = [one if isinstance(one, ItemOutcome) else settled(one, there) for one in found]
    except StoragedError as error:
        outcomes = [one if isinstance(one, ItemOutcome) else None for one in found] or [None] * len(items)
        return [one or met(item, error) for item, one in zip(items, outcomes, strict=True)]
    return found


def _stores(context: Context, items: Sequence[Item], *, writing: bool) -> Iterator[Store]:
    """Where they are, and where they go; each once."""
    places = {current(item.seen).place for item in items}
    if writing:
        places |= {Place("tier", tier) for item in items if (tier := tier_of(item.to))}
    found = [context.store(place) for place in places]
    yield from {id(store): store for store in found}.values()
