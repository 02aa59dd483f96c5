"""The parts of a collection that moves whole, page by page: each under guards of its own, its attempt begun right
before it is written. Nothing is begun any more once something speaks against one of them.

What moves to another place is written and proven, and waits for the one swap of all (storaged.work.rewrite.swap). What
gets another storage class in place is looked at first, all of it, and only then changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

from storaged.catalog import attempts, members, queue
from storaged.catalog.items import Aim, InPlace, Item, To
from storaged.catalog.members import CHANGED, WholeParts
from storaged.catalog.placements import load, paged
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.codecs.base import Encoded
from storaged.errors import LeaseLost
from storaged.model import ItemState, Origin
from storaged.stores.base import Stat
from storaged.work.context import Context
from storaged.work.rewrite.folded import Folded, outcomes
from storaged.work.rewrite.members import COLD, PAGE, Dropped, Free
from storaged.work.rewrite.stage import Staged, Transitioned
from storaged.work.rewrite.trouble import skipped

Make = Callable[[ClaimedJob], Iterable[tuple[Item, Staged | ItemOutcome]]]
Looks = Callable[[Sequence[Item]], Iterable[tuple[Item, str | ItemOutcome]]]  # the store's checksum of what is there
Changes = Callable[[Sequence[Item], Mapping[str, str]], Iterable[tuple[Item, Transitioned | ItemOutcome]]]


class ReadyPart(NamedTuple):
    """A part that may get another storage class, as little of it as that needs."""

    id: int
    version: int
    attempt: str
    checksum: str


class PartPages:
    """The parts of a claimed job. `free` says which of a page no guard holds; what becomes of the others, and of those
    that cannot be dealt with, goes into `dropped`."""

    def __init__(self, context: Context, claimed: ClaimedJob, of: WholeParts, free: Free, dropped: Dropped) -> None:
        self._context, self._claimed, self._of = context, claimed, of
        self._free, self._dropped = free, dropped
        self.stopped = False  # something speaks against one of them

    def staged(self, make: Make, done: Callable[[Item, str], None]) -> Folded[Staged]:
        """What `make` made of them; `done` is told of each."""
        made = _kept()
        for page in self._pages():
            for item, result in make(page):
                if isinstance(result, ItemOutcome):
                    self._drop(item, result)
                else:
                    made.add(result)
                    done(item, "")
        self._dropped.ask()
        return made

    def changed(self, look: Looks, change: Changes) -> Iterator[Transitioned | ItemOutcome]:
        """What `change` makes of those that have another class, as it is gone through, and what became of the others.
        Before that `look` has looked at all of them, and nothing speaks against any; what is met after it drops out by
        itself. The checksums are in the intents."""
        ready, there = Folded[ReadyPart](tuple, lambda row: ReadyPart(*row)), outcomes()
        for page in self._pages():
            checksums: dict[str, str] = {}
            for item, found in look(page.items):
                if not isinstance(found, ItemOutcome):
                    checksums[item.attempt] = found
                    ready.add(ReadyPart(item.seen.id, item.seen.version, item.attempt, found))
                elif self._is_there(item):
                    there.add(found)
                else:
                    self._drop(item, found)
            with self._context.catalog.begin() as conn:
                attempts.note_checksums(conn, self._claimed.id, checksums)
        self._dropped.ask()
        if self._dropped.outcomes:
            return iter(())
        changed = (one for part in paged(ready, PAGE) for one in self._change(part, change))
        return chain(there, changed)

    def _is_there(self, item: Item) -> bool:
        return isinstance(item.to, InPlace) and item.seen.placement.raw.storage_class == item.to.storage_class

    def _change(self, ready: Sequence[ReadyPart], change: Changes) -> Iterator[Transitioned | ItemOutcome]:
        with self._context.catalog.read() as conn:
            seen = load(conn, [r.id for r in ready])
        items = [Item(seen[r.id], r.attempt, self._of.to, seen[r.id].placement.name) for r in ready]
        versions = {r.id: r.version for r in ready}
        as_seen = [i for i in items if i.seen.version == versions[i.seen.id]]
        yield from (skipped(i, CHANGED) for i in items if i.seen.version != versions[i.seen.id])
        yield from (result for _, result in change(as_seen, {r.attempt: r.checksum for r in ready}))

    def _pages(self) -> Iterator[ClaimedJob]:
        """What may be dealt with of each page, its attempts begun: until something is met of one of them."""
        with self._context.catalog.read() as conn:
            ids = members.in_order(conn, self._claimed.id)
        for at in range(0, len(ids), PAGE):
            with self._context.catalog.read() as conn:
                items, stale = members.page(conn, self._claimed.id, members.own_attempt, ids[at : at + PAGE])
            for number, (name, why) in stale.items():
                self._dropped(None, ItemOutcome(number, name, ItemState.SKIPPED, why))
            free, held = self._free(replace(self._claimed, items=tuple(items)))
            for outcome in held:
                self._dropped(None, outcome)
            self.stopped = bool(stale or held)
            if self.stopped:
                return
            with self._context.catalog.begin() as conn:
                now_us, lease_us = self._context.now_us(), self._context.settings.workers.lease
                queue.hold(conn, self._claimed, now_us=now_us, lease_us=lease_us)
                attempts.begin(conn, self._claimed.id, free.items, now_us)
            yield free
            if self.stopped:
                return

    def _drop(self, item: Item, outcome: ItemOutcome) -> None:
        if outcome.error == LeaseLost.__name__:  # it was not begun any more, once another one was met
            return
        self.stopped = self.stopped or outcome.error != COLD  # copies are asked for of all that are in archive classes
        self._dropped(item, outcome)


def _kept() -> Folded[Staged]:
    """What waits for its swap, in little memory."""
    to: list[To] = []  # those of a collection are alike

    def flat(s: Staged) -> Sequence[Any]:
        if s.aim.to not in to:
            to.append(s.aim.to)
        e = s.encoded
        encoded = (e.size, e.digest, e.stored_size, e.stored_digest, e.index.hex(), [*e.origin.told().values()], e.note)
        aim = (s.aim.id, s.aim.version, s.aim.attempt, to.index(s.aim.to), s.aim.note)
        return aim, s.form, s.stat, encoded, dict(s.metadata), s.digest, s.note

    def whole(row: Sequence[Any]) -> Staged:
        (number, version, attempt, goes, why), form, stat, (size, digest, stored, proof, index, origin, said), *rest = (
            row
        )
        encoded = Encoded(size, digest, stored, proof, bytes.fromhex(index), Origin(*origin), said)
        return Staged(Aim(number, version, attempt, to[goes], why), form, Stat(*stat), encoded, *rest)

    return Folded(flat, whole)
