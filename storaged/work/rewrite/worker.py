"""A worker: claim a job, run it, swap, and leave the journal up to date. Two transactions a batch, whatever its size,
and one that notes where its time went.

A worker that dies at any point leaves rows and keys that the next claim and the sweeper know how to deal with. One
that outlives its lease finds zero rows at the swap and changes nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from storaged.catalog import ledger, queue
from storaged.catalog.items import InPlace, Item
from storaged.catalog.members import Members, WholeParts
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.clock import Timings
from storaged.errors import LeaseLost, MarkerLost, ObjectCold, StoragedError
from storaged.model import ItemState, JobKind, JobState
from storaged.stores.schemes import CHEAPEST
from storaged.work import places
from storaged.work.context import Context
from storaged.work.money import spending
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.collections import all_or_nothing, guarded, looked_at
from storaged.work.rewrite.earlier import not_yet_back
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.heartbeat import heartbeat
from storaged.work.rewrite.making import CATALOG, Making
from storaged.work.rewrite.members import COLD, Dropped, Pages, everyone
from storaged.work.rewrite.pack import Packing
from storaged.work.rewrite.parts import PartPages
from storaged.work.rewrite.returns import no_return
from storaged.work.rewrite.stage import Staged, Transitioned
from storaged.work.rewrite.swap import Made, swap
from storaged.work.rewrite.transition import refusal as in_place_refusal
from storaged.work.rewrite.trouble import excused, met, skipped
from storaged.work.rewrite.warm import ask
from storaged.work.room import Left
from storaged.work.scan import stuck

WARM_DAYS: Final = 3  # that a readable copy of a cold source is kept for its job: it may not run at once
NOTES: Final = 10_000

OnItem = Callable[[Item, str], None]  # the item, and why it was not done; empty: it was


def never() -> bool:
    """Nothing stops this worker."""
    return False


@dataclass(slots=True)
class Report:
    """What a run of jobs came to. Bytes are stored bytes of the objects that were done."""

    jobs: dict[int, JobState] = field(default_factory=dict)
    done: int = 0
    skipped: int = 0
    failed: int = 0
    waiting: int = 0  # for a readable copy of their source; their job is queued again for when it should be there
    before_bytes: int = 0
    after_bytes: int = 0
    notes: list[tuple[int, str]] = field(default_factory=list)  # (object id, why skipped or failed), the first NOTES

    def add(self, claimed: ClaimedJob, state: JobState, outcomes: Iterable[ItemOutcome]) -> None:
        self.jobs[claimed.id] = state
        self.skipped += claimed.skipped
        for o in outcomes:
            match o.state:
                case ItemState.DONE:
                    self.done += 1
                    self.before_bytes += o.before_bytes
                    self.after_bytes += o.after_bytes
                case ItemState.SKIPPED:
                    self.skipped += 1
                case ItemState.PENDING:
                    self.waiting += o.instead is None  # else the job is queued again for at once, with another codec
                case _:
                    self.failed += 1
            if o.note and len(self.notes) < NOTES:
                self.notes.append((o.object_id, o.note))


class Worker:
    """Runs jobs of one context on a few threads. Use as a context manager."""

    def __init__(self, context: Context, *, name: str | None = None) -> None:
        self.context = context
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._items = ThreadPoolExecutor(context.settings.workers.threads, thread_name_prefix="item")
        self._frames = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="frame")
        self._timings: dict[int, Timings] = {}  # of the jobs in our hands

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its threads, once what they are at is over."""
        self._items.shutdown(cancel_futures=True)
        self._frames.shutdown(cancel_futures=True)

    def run(
        self,
        *,
        only: Iterable[int] | None = None,
        on_item: OnItem = lambda _item, _note: None,
        on_job: Callable[[ClaimedJob, Report], bool] = lambda _job, _report: True,
    ) -> Report:
        """Run jobs until none is due (`only`: of these jobs). `on_item` is told of each object that was dealt with,
        `on_job` of each job; if it answers False no further job is taken. Raises ForeignClaim, CatalogBehind."""
        report = Report()
        wanted = None if only is None else list(only)
        self.context.ready()
        while (claimed := self.claim(only=wanted)) is not None:
            try:
                state, outcomes = self.work(claimed, on_item=on_item)
            except LeaseLost:
                continue
            except (KeyboardInterrupt, SystemExit):
                self.give_back(claimed)
                raise
            report.add(claimed, state, outcomes)
            if not on_job(claimed, report):
                break
        return report

    def claim(self, *, only: Iterable[int] | None = None) -> ClaimedJob | None:
        """The next job, with its intents written, or None."""
        timings = Timings()
        with timings.recording(CATALOG):
            claimed = spending.claim(self.context, self.name, lease_us=self.context.settings.workers.lease, only=only)
        if claimed is not None:
            self._timings[claimed.id] = timings
        return claimed

    def give_back(self, claimed: ClaimedJob, *, begun: bool = True) -> None:
        """Put a job back into the queue; what it staged becomes tombstones. Not `begun`: it has cost nothing."""
        self._timings.pop(claimed.id, None)
        with self.context.catalog.begin() as conn:
            if queue.give_back(conn, claimed, now_us=self.context.now_us()) and not begun:
                ledger.no_try(conn, claimed.id)

    def work(
        self, claimed: ClaimedJob, *, on_item: OnItem = lambda _item, _note: None, stopped: Callable[[], bool] = never
    ) -> tuple[JobState, Iterable[ItemOutcome]]:
        """Stage and prove every item, swap them all, and leave the journal up to date.

        What became of them can be gone through more than once. Raises LeaseLost if the job was taken over meanwhile, or
        `stopped` says so before the swap.
        """
        timings = self._timings.pop(claimed.id, None) or Timings()
        state, outcomes = self._work(claimed, timings, on_item, stopped)
        with timings.recording("journal"):
            self.context.journal.flush()
        with self.context.catalog.begin() as conn:
            queue.note_timings(conn, claimed.id, timings.told())
        return state, outcomes

    def _work(
        self, claimed: ClaimedJob, timings: Timings, on_item: OnItem, stopped: Callable[[], bool]
    ) -> tuple[JobState, Iterable[ItemOutcome]]:
        with heartbeat(self.context, claimed) as leased:
            if away := self._away(claimed):
                return swap(self.context, claimed, (), away(everyone(self.context, claimed)))
            if refused := self._refusal(claimed):
                members = everyone(self.context, claimed)
                skips = (ItemOutcome(number, name, ItemState.SKIPPED, refused) for number, name in members)
                return swap(self.context, claimed, (), skips)

            def alive() -> bool:
                return leased() and not stopped()

            staged: Iterable[Made]
            outcomes: list[ItemOutcome] | Folded[ItemOutcome]
            if claimed.members is not None:
                staged, outcomes = self._pack(claimed, claimed.members, timings, alive, on_item)
            elif claimed.parts is not None:
                staged, outcomes = self._whole(claimed, claimed.parts, timings, alive, on_item)
            else:
                staged, outcomes = self._singly(claimed, timings, alive, on_item)
            if staged and (away := self._away(claimed)):
                told = {o.object_id for o in outcomes}
                members = everyone(self.context, claimed)
                staged = ()
                outcomes.extend(away((number, name) for number, name in members if number not in told))
            final = excused(self.context, claimed.dataset, outcomes)
            with timings.recording(CATALOG):
                return swap(self.context, claimed, staged, final)

    def _singly(
        self, claimed: ClaimedJob, timings: Timings, alive: Callable[[], bool], on_item: OnItem
    ) -> tuple[Sequence[Staged | Transitioned], list[ItemOutcome]]:
        """What was made of items of which each has an attempt of its own, and what became of the others."""
        with self.context.catalog.read() as conn:
            left = Left(conn, self.context, claimed)
        free, outcomes = self._unguarded(claimed, left)
        staged: list[Staged | Transitioned] = []
        for item, result in self._making(timings, alive).made(free, outcomes):
            if isinstance(result, ItemOutcome):
                outcomes.append(result)
            else:
                staged.append(result)
            on_item(item, result.note if isinstance(result, ItemOutcome) else "")
        _must_be_ours(claimed, alive)
        waiting = {o.object_id for o in outcomes if o.error == COLD}
        outcomes = [o for o in outcomes if o.object_id not in waiting]
        outcomes += self._ask([i for i in free.items if i.seen.id in waiting])
        return staged, outcomes

    def _whole(
        self, claimed: ClaimedJob, of: WholeParts, timings: Timings, alive: Callable[[], bool], on_item: OnItem
    ) -> tuple[Iterable[Made], Folded[ItemOutcome]]:
        """What was made of all parts of a collection, or becomes of them as it is gone through; nothing where something
        speaks against one of them, and then what becomes of all."""
        met = Dropped(self._ask, on_item)
        staged: Iterable[Made] = ()
        if stays := looked_at(self.context, claimed, of, self._items.map):
            met(None, stays)
        else:
            with self.context.catalog.read() as conn:
                left = Left(conn, self.context, claimed)
            pages = PartPages(self.context, claimed, of, lambda page: self._unguarded(page, left), met)

            def going() -> bool:
                return alive() and not pages.stopped

            making = self._making(timings, going)
            if isinstance(of.to, InPlace):
                staged = pages.changed(making.looked, self._making(timings, alive).changed)
            else:
                staged = pages.staged(lambda page: making.copied(page.items), on_item)
        _must_be_ours(claimed, alive)
        return all_or_nothing(self.context, claimed, of, staged, met.outcomes)

    def _pack(
        self, claimed: ClaimedJob, of: Members, timings: Timings, alive: Callable[[], bool], on_item: OnItem
    ) -> tuple[Iterable[Staged], Folded[ItemOutcome]]:
        """What is in the pack that was made of a job's members, and what became of those that are not in it."""
        met = Dropped(self._ask, on_item)
        with self.context.catalog.read() as conn:
            left = Left(conn, self.context, claimed)
        with OpenPacks(self.context, once=True) as packs:
            pages = Pages(self.context, claimed, of, lambda page: self._unguarded(page, left), packs, met.outcomes.add)
            packing = Packing(
                self.context,
                claimed,
                packs,
                timings,
                readers=self._items,
                frames=self._frames,
                tried=self._making(timings, alive).tried,
                met=self._met,
                alive=alive,
                done=lambda item: on_item(item, ""),
                dropped=met,
            )
            stored = packing.stage(pages, of)
        _must_be_ours(claimed, alive)
        met.ask()
        return stored or (), met.outcomes

    def _ask(self, cold: Sequence[Item]) -> Iterator[ItemOutcome]:
        return ask(self.context, cold, days=WARM_DAYS, speed=CHEAPEST)

    def _away(self, claimed: ClaimedJob) -> Callable[[Iterable[tuple[int, str]]], Iterator[ItemOutcome]] | None:
        """What becomes of objects (by id and name) of a job a place of which is not what it should be now; None: all
        are."""
        for place, why in places.wrong(self.context, places.touched(claimed)).items():
            note, error = f"{place}: {why}", MarkerLost.__name__
            return lambda objects: (
                ItemOutcome(number, name, ItemState.FAILED, note, again=True, error=error) for number, name in objects
            )
        return None

    def _refusal(self, claimed: ClaimedJob) -> str:
        """What configuration and stores say now against a rewrite that was planned before."""
        if claimed.dataset not in self.context.datasets:
            return "its dataset is not in the configuration"
        if claimed.kind is JobKind.RETURN:
            return places.unwritable(self.context, claimed) or no_return(self.context.root(claimed.dataset))
        if _all_in_place(claimed):
            return in_place_refusal(self.context.root(claimed.dataset))
        return ""

    def _unguarded(self, claimed: ClaimedJob, left: Left) -> tuple[ClaimedJob, list[ItemOutcome]]:
        """The job without the items that a guard holds by now, although their rows are as they were, and what became
        of those. What returns to its root is held by nothing here: nobody is locked in."""
        if claimed.kind is JobKind.RETURN:
            return not_yet_back(self.context, claimed)
        outcomes = guarded(self.context, claimed, self._items.map)
        kept = {o.object_id for o in outcomes}
        free = replace(claimed, items=tuple(i for i in claimed.items if i.seen.id not in kept))
        seen = left.unfit(free.items)
        seen |= stuck.leaving(self.context, [i for i in free.items if i.seen.id not in seen])
        outcomes += [skipped(i, seen[i.seen.id]) for i in free.items if i.seen.id in seen]
        return replace(free, items=tuple(i for i in free.items if i.seen.id not in seen)), outcomes

    def _making(self, timings: Timings, alive: Callable[[], bool]) -> Making:
        return Making(self.context, timings, items=self._items, frames=self._frames, met=self._met, alive=alive)

    def _met(self, item: Item, error: StoragedError) -> ItemOutcome:
        if isinstance(error, ObjectCold):  # asked for with all of the job's that are, see `_work`
            name = item.seen.placement.name
            return ItemOutcome(item.seen.id, name, ItemState.PENDING, "in an archive class", error=COLD)
        return met(self.context, item, error)


def _all_in_place(claimed: ClaimedJob) -> bool:
    if claimed.many is not None:
        return isinstance(claimed.many.to, InPlace)
    return all(isinstance(item.to, InPlace) for item in claimed.items)


def _must_be_ours(claimed: ClaimedJob, alive: Callable[[], bool]) -> None:
    if not alive():
        raise LeaseLost(f"job {claimed.id} was taken over, cancelled or stopped")
