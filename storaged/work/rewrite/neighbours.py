"""Objects of a batch that one thread reads, and writes, one after the other, so that what they have in common is done
once: the way to their directories, and bringing the new names in these to the medium."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from typing import Final, TypeVar

from storaged.catalog.items import Item, ToRoot, tier_of
from storaged.catalog.queue import ItemOutcome
from storaged.clock import timed
from storaged.errors import StoragedError
from storaged.stores.base import Store
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.location import current

MOST: Final = 32  # of one thread's, one after the other
LARGEST: Final = 1 << 20  # bytes of content; what is larger is worked on by itself

T = TypeVar("T")
Act = Callable[[Item], T | ItemOutcome]
Met = Callable[[Item, StoragedError], ItemOutcome]
Recording = Callable[[], AbstractContextManager[None]]
Then = Callable[[Sequence[Item], list[T | ItemOutcome]], list[T | ItemOutcome]]


def each(
    context: Context,
    threads: Executor,
    items: Sequence[Item],
    act: Act[T],
    *,
    met: Met,
    recording: Recording,
    then: Then[T] | None = None,
) -> Iterator[T | ItemOutcome]:
    """What `act` made of each item, in their order. `then`: what is left to do with what was made of neighbours, where
    they are written and not only read. `met` says what became of one whose neighbours' way led elsewhere,
    or whose names could not be made durable: nothing counts of what was made of it. `recording`: of the time that
    a thread takes."""
    most = min(MOST, -(-len(items) // context.settings.workers.threads))
    group = partial(_group, context, act=act, met=met, recording=recording, then=then)
    return chain.from_iterable(threads.map(group, _groups(items, most)))


def _groups(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    """Runs of items, those that go by themselves one at a time. What returns to its root is made visible to its users,
    each by itself and durable at once."""
    run: list[Item] = []
    for item in items:
        alone = item.seen.placement.size > LARGEST or isinstance(item.to, ToRoot)
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
    then: Then[T] | None,
) -> list[T | ItemOutcome]:
    found: list[T | ItemOutcome] = []
    try:
        with recording(), contextlib.ExitStack() as near:
            for store in _stores(context, items, writing=then is not None) if len(items) > 1 else ():
                near.enter_context(store.near())
            found = [act(item) for item in items]
            found = then(items, found) if then else found
            with timed("write" if then else "source"):
                near.close()
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
