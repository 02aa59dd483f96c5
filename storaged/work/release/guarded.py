"""What releases of sources and of blobs share: guards that need no store, the intent, and what is recorded then."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, groupby
from typing import Final, TypeVar

import sqlalchemy as sa

from storaged.catalog import changes
from storaged.catalog.placements import Change, Seen
from storaged.catalog.schema import datasets, outbox
from storaged.errors import StoragedError
from storaged.model import Placement, RawState
from storaged.placement import Stale
from storaged.stores.base import Deleted
from storaged.work import places
from storaged.work.claims import Place
from storaged.work.content import is_there
from storaged.work.context import Context
from storaged.work.location import Location, of_blob, original
from storaged.work.places import Looked
from storaged.work.proof import record
from storaged.work.release.tombstones import Swept

BATCH: Final = 1_000  # objects whose release goes through one pair of transactions
NEAR: Final = 32  # of one thread's, one after the other

T = TypeVar("T")


class Guarded:
    """One pass over what is due, page by page. `swept` is what it came to so far."""

    def __init__(
        self, context: Context, swept: Swept, progress: Callable[[str, int], None], pool: ThreadPoolExecutor
    ) -> None:
        self.context = context
        self.pool = pool
        self.progress = progress
        self.swept = swept
        self.looked = Looked()  # at the places that the present batch touches
        self._packs: dict[str, bool] = {}  # whether those that the present batch is in are there
        self._absent: list[None] = []  # one for each key that was gone already

    def _kept(self, seen: Seen, holds: Mapping[str, str | None]) -> bool:
        """Whether a guard that needs no look at the stores keeps what is due."""
        p = seen.placement
        dataset = self.context.datasets.get(p.dataset)
        if dataset is None:
            why = "its dataset is not in the configuration"
        elif p.hold or dataset.hold or holds.get(p.dataset):
            why = "held"
        elif p.damaged:
            why = "damaged: see `storagectl verify`"
        elif seen.fact_id:
            why = "a change by its user is being recorded"
        elif not self._at_hand(seen):
            why = "its tier is away"
        elif (p.raw.state in _AT_ROOT or not p.exists) and original(p).place in self.looked.wrong:
            why = "its root is away"
        else:
            return False
        self.swept.keep(why)
        return True

    def _at_hand(self, seen: Seen) -> bool:
        """Whether every tier that it is in is there: a key of one that is not mounted only looks deleted."""
        return not any(
            blob.tier in self.context.away or of_blob(blob).place in self.looked.wrong for blob in seen.blobs.values()
        )

    def _look_at_places(self, seen: Iterable[Seen]) -> None:
        """Before each batch of effects: are the roots and tiers of these objects what they are called, right now?"""
        self.looked = places.look(self.context, places.holding(seen))
        self._packs = {}

    def _is_there(self, here: Location) -> bool:
        """A pack is looked at once for all its members of a batch. Raises as `is_there` does."""
        blob = here.blob
        if blob is None or not blob.packed_bytes:
            return is_there(self.context, here)
        if blob.id not in self._packs:
            self._packs[blob.id] = is_there(self.context, here)
        return self._packs[blob.id]

    def _recorded(self, judged: list[Seen]) -> list[Seen]:
        """The same objects, after identities under which blobs of theirs proved right anew went into the catalog."""
        again = record(self.context, judged)
        return [again.get(h.id, h) for h in judged]

    def _delete_all(
        self, things: list[T], delete: Callable[[T], int | None], place: Callable[[T], Place | None]
    ) -> list[T]:
        """Delete on many threads, since a store's answer is mostly waiting. Returns those whose key is gone. Neighbours
        in a `place` (None: what lies there is no neighbour of anything) are deleted together; where it cannot be said
        that they are gone for good, the next sweep goes on."""

        def some(those: Sequence[T]) -> list[int | None]:
            here = place(those[0])
            if len(those) == 1 or here is None:
                return [delete(thing) for thing in those]
            try:
                with self.context.store(here).near():
                    return [delete(thing) for thing in those]
            except StoragedError as error:
                self.swept.errors.append(f"{here}: {error.message}")
                return [None for _ in those]

        freed = list(chain.from_iterable(self.pool.map(some, self._neighbours(things, place))))
        self.swept.freed_bytes += sum(n for n in freed if n is not None)
        self.swept.absent += len(self._absent)
        self._absent.clear()
        return [thing for thing, n in zip(things, freed, strict=True) if n is not None]

    def _found(self, found: Deleted) -> bool:
        """Whether a key was deleted now. One that was gone is counted: it is from before a crash, or the catalog is
        one that was rebuilt, and its journal does not tell of it."""
        if found is Deleted.ABSENT:
            self._absent.append(None)
        return found is Deleted.DELETED

    def _neighbours(self, things: Sequence[T], place: Callable[[T], Place | None]) -> Iterator[Sequence[T]]:
        """Runs of things in one place, so many that each thread gets some."""
        most = min(NEAR, -(-len(things) // self.context.settings.workers.threads))
        for here, run in groupby(things, key=place):
            those = list(run)
            size = 1 if here is None else most
            yield from (those[at : at + size] for at in range(0, len(those), size))

    def _near(self, seen: Iterable[Seen], right: Callable[[Seen], bool]) -> list[Seen]:
        """Those that are right by a look at their places, neighbours together. Where what leads to them led elsewhere
        meanwhile, each is looked at by itself."""
        found: list[Seen] = []
        todo = list(seen)
        for those in (todo[at : at + NEAR] for at in range(0, len(todo), NEAR)):
            before = copy.copy(self.swept.held_back)
            try:
                with contextlib.ExitStack() as near:
                    stores = [self.context.store(p) for p in places.holding(those) if p not in self.looked.wrong]
                    for store in {id(store): store for store in stores}.values():
                        near.enter_context(store.near())
                    good = [h for h in those if right(h)]
            except StoragedError:
                self.swept.held_back = before
                good = [h for h in those if right(h)]
            found += good
        return found

    def _take_intent(self, judged: list[Seen], kind: str, change: Callable[[Seen, int], Placement]) -> list[Seen]:
        """The guarded transaction superseded -> releasing, for those that still are what they were judged on and whose
        swap is durable. Returns them as they are now."""
        if not judged:
            return []
        now = self.context.now_us()
        with self.context.catalog.begin() as conn:
            page = changes.Page(conn, judged)
            undurable = sa.select(outbox.c.object_id).where(outbox.c.object_id.in_([h.id for h in judged]))
            waiting, holds = set(conn.execute(undurable).scalars()), holds_of(conn)

            def taken(h: Seen) -> Change:
                if h.id in waiting:
                    raise Stale("its swap is not in the journal yet")
                if h.placement.hold or holds.get(h.placement.dataset) or h.placement.damaged:
                    raise Stale("held or damaged since it was looked at")
                return Change(h, change(h, now), kind)

            made = page.judge(taken)
            changes.record(conn, made, now_us=now, why=self.context.why("grace is over"))
        return [replace(c.seen, placement=c.placement, version=c.seen.version + 1) for c in made]

    def _settle(self, seen: list[Seen], kind: str, change: Callable[[Seen], Placement]) -> None:
        """Record what is gone from the stores. The stores tell it again after a loss: no journal entry."""
        if not seen:
            return
        with self.context.catalog.begin() as conn:  # what another sweeper recorded is refused
            made = changes.Page(conn, seen, any_version=True).judge(lambda h: Change(h, change(h), kind))
            changes.record(conn, made, now_us=self.context.now_us(), why=self.context.why())


_AT_ROOT: Final = (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING)


def holds_of(conn: sa.Connection) -> dict[str, str | None]:
    """Legal holds on whole datasets."""
    return {row.name: row.hold for row in conn.execute(sa.select(datasets.c.name, datasets.c.hold))}
