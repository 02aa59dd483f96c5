"""The members of a pack that a job makes, page by page, as far as nothing speaks against them when their turn comes."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from storaged.catalog import members
from storaged.catalog.items import Item
from storaged.catalog.members import Members
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.clock import timed
from storaged.errors import ObjectCold, StoragedError
from storaged.model import ItemState
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.folded import outcomes as folded_outcomes

PAGE: Final = 2_000  # members that are read from the catalog, and asked guards for, together

ASKED: Final = 1_000  # for which copies are asked for together
COLD: Final = ObjectCold.__name__  # the kind of error

Free = Callable[[ClaimedJob], tuple[ClaimedJob, list[ItemOutcome]]]


def everyone(context: Context, claimed: ClaimedJob) -> Iterator[tuple[int, str]]:
    """The objects of a job by id and name, however many they are."""
    if claimed.many is None:
        yield from ((i.seen.id, i.seen.placement.name) for i in claimed.items)
        return
    with context.catalog.read() as conn:
        ids = members.in_order(conn, claimed.id)
    yield from _named(context, ids)


def _named(context: Context, ids: array[int]) -> Iterator[tuple[int, str]]:
    for at in range(0, len(ids), PAGE):
        with context.catalog.read() as conn:
            names = members.names(conn, ids[at : at + PAGE])
        yield from names.items()


class Dropped:
    """What became of members that are not in the pack. Of those that are in an archive class `ask` asks for copies, and
    tells what becomes of them. `on_item` is told of each member that was looked at."""

    def __init__(
        self, ask: Callable[[Sequence[Item]], Iterable[ItemOutcome]], on_item: Callable[[Item, str], None]
    ) -> None:
        self.outcomes = folded_outcomes()
        self._ask, self._on_item = ask, on_item
        self._cold: list[Item] = []

    def __call__(self, item: Item | None, outcome: ItemOutcome) -> None:
        """One more; None: it was not looked at, or was in the pack before nothing came of that."""
        if item is None:
            self.outcomes.add(outcome)
            return
        if outcome.error == COLD:
            self._cold.append(item)
            if len(self._cold) == ASKED:
                self.ask()
        else:
            self.outcomes.add(outcome)
        self._on_item(item, outcome.note)

    def ask(self) -> None:
        """For those that wait to be asked for."""
        self.outcomes.extend(self._ask(self._cold))
        self._cold = []


class Pages:
    """The members of a pack that may be packed, in the order of their names; of the others `dropped` is told. `free`
    says which of a page no guard holds. `error`: what went wrong with the catalog or a guard, and not with the pack."""

    def __init__(
        self,
        context: Context,
        claimed: ClaimedJob,
        of: Members,
        free: Free,
        packs: OpenPacks,
        dropped: Callable[[ItemOutcome], None],
    ) -> None:
        """`packs`: that they are in now. Raises CatalogError."""
        self.error: StoragedError | None = None
        self._context, self._claimed, self._of, self._packs = context, claimed, of, packs
        self._free, self._dropped = free, dropped
        with context.catalog.read() as conn:
            self._ids = members.in_order(conn, claimed.id)
        self._at = 0
        self._expecting = contextlib.ExitStack()  # kept behind the last page: its last neighbours are read then

    def __iter__(self) -> Iterator[Item]:
        while self._at < len(self._ids):
            try:
                with timed("catalog"):
                    page = self._page()
            except StoragedError as error:
                self.error = error
                raise
            self._expecting.close()
            self._expecting.enter_context(self._packs.expecting((i.seen, (0, i.seen.placement.size)) for i in page))
            yield from page

    def _page(self) -> tuple[Item, ...]:
        with self._context.catalog.read() as conn:
            items, stale = members.page(
                conn, self._claimed.id, self._of.attempt_at, self._ids[self._at : self._at + PAGE]
            )
        self._at += PAGE
        for number, (name, why) in stale.items():
            self._dropped(ItemOutcome(number, name, ItemState.SKIPPED, why))
        free, outcomes = self._free(replace(self._claimed, items=tuple(items)))
        for outcome in outcomes:
            self._dropped(outcome)
        return free.items

    def rest(self) -> Iterator[tuple[int, str]]:
        """Those whose turn has not come, by id and name."""
        return _named(self._context, self._ids[self._at :])
