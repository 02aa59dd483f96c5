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
from functools import partial
from typing import Final, TypeVar

from storaged.catalog import attempts, ledger, queue
from storaged.catalog.items import InPlace, Item
from storaged.catalog.members import Members
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.clock import Timings
from storaged.codecs.registry import Sampled
from storaged.errors import LeaseLost, MarkerLost, ObjectCold, StoragedError
from storaged.model import ItemState, JobKind, JobState
from storaged.stores.schemes import CHEAPEST
from storaged.work import places
from storaged.work.context import Context
from storaged.work.money import spending
from storaged.work.packs import OpenPacks, by_place
from storaged.work.rewrite.bring_back import bring_back
from storaged.work.rewrite.choose import choose, sample, samples
from storaged.work.rewrite.collections import all_or_nothing, guarded
from storaged.work.rewrite.derive import derive, derives
from storaged.work.rewrite.earlier import not_yet_back
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.heartbeat import heartbeat
from storaged.work.rewrite.members import COLD, Dropped, Pages, everyone
from storaged.work.rewrite.neighbours import each
from storaged.work.rewrite.pack import Packing
from storaged.work.rewrite.returns import no_return
from storaged.work.rewrite.stage import Staged, Transitioned, rechecked, stage
from storaged.work.rewrite.swap import swap
from storaged.work.rewrite.transition import all_that_differ, change, look
from storaged.work.rewrite.transition import refusal as in_place_refusal
from storaged.work.rewrite.trouble import excused, met, skipped
from storaged.work.rewrite.warm import ask
from storaged.work.room import Left
from storaged.work.scan import stuck

WARM_DAYS: Final = 3  # that a readable copy of a cold source is kept for its job: it may not run at once
NOTES: Final = 10_000
CATALOG: Final = "catalog"  # the stage of its transactions: claim, swap and what is noted between

T = TypeVar("T")
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

            staged: Iterable[Staged | Transitioned]
            outcomes: list[ItemOutcome] | Folded[ItemOutcome]
            if claimed.members is None:
                staged, outcomes = self._singly(claimed, timings, alive, on_item)
            else:
                staged, outcomes = self._pack(claimed, claimed.members, timings, alive, on_item)
            if staged and (away := self._away(claimed)):
                told = {o.object_id for o in outcomes}
                members = everyone(self.context, claimed)
                staged = ()
                outcomes.extend(away((number, name) for number, name in members if number not in told))
            final = excused(self.context, claimed.dataset, outcomes)
            if claimed.whole is not None:
                staged, final = all_or_nothing(self.context, claimed, tuple(staged), final)
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
        if claimed.whole is not None and outcomes:
            return staged, outcomes

        def going() -> bool:  # of what moves whole nothing is begun any more once something speaks against it
            return alive() and not (claimed.whole is not None and outcomes)

        for item, result in self._made(free, timings, going, outcomes):
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
                tried=lambda item, act: self._tried(item, alive, act),
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
        if claimed.members is None and all(isinstance(item.to, InPlace) for item in claimed.items):
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

    def _made(
        self, claimed: ClaimedJob, timings: Timings, alive: Callable[[], bool], outcomes: list[ItemOutcome]
    ) -> Iterator[tuple[Item, Staged | Transitioned | ItemOutcome]]:
        """What was made of each item, or what became of it instead. Those in packs are read as they lie there."""
        claimed = replace(claimed, items=tuple(sorted(claimed.items, key=lambda i: by_place(i.seen))))
        whole = ((i.seen, (0, i.seen.placement.size)) for i in claimed.items)
        with OpenPacks(self.context, once=True) as packs, packs.expecting(whole):
            yield from self._stage(claimed.kind, self._chosen(claimed, packs, timings, outcomes), packs, timings, alive)
        in_place = [(i, i.to) for i in claimed.items if isinstance(i.to, InPlace)]
        yield from self._transitions(claimed, in_place, timings, alive)

    def _chosen(
        self, claimed: ClaimedJob, packs: OpenPacks, timings: Timings, outcomes: list[ItemOutcome]
    ) -> list[Item]:
        """What is to be written, in the codecs that take it."""

        def tried(item: Item) -> Sampled | ItemOutcome:
            return self._tried(item, lambda: True, lambda: sample(item, packs))

        def each_of(those: Sequence[Item]) -> Iterator[Sampled | ItemOutcome]:
            sampling = partial(timings.recording, "sample")

            def act(neighbours: Sequence[Item]) -> list[Sampled | ItemOutcome]:
                return [tried(item) for item in neighbours]

            return each(self.context, self._items, those, act, met=self._met, recording=sampling, writing=False)

        moved = [i for i in claimed.items if not isinstance(i.to, InPlace)]
        found = zip(moved, samples(moved, each_of), strict=True)
        return choose(self.context, claimed.id, found, outcomes, timings.recording(CATALOG))

    def _stage(
        self, kind: JobKind, items: Sequence[Item], packs: OpenPacks, timings: Timings, alive: Callable[[], bool]
    ) -> Iterator[tuple[Item, Staged | ItemOutcome]]:
        def one(item: Item) -> Staged | ItemOutcome:
            make = derive if derives(item) else stage
            return self._tried(item, alive, partial(make, self.context, item, executor=self._frames, packs=packs))

        def tried(item: Item, act: Callable[[], T]) -> T | ItemOutcome:
            return self._tried(item, alive, act)

        def act(neighbours: Sequence[Item]) -> list[Staged | ItemOutcome]:
            if kind is JobKind.RETURN:
                found = bring_back(self.context, neighbours, tried, executor=self._frames, packs=packs)
            else:
                found = [one(item) for item in neighbours]
            return rechecked(self.context, neighbours, found, tried)

        made = each(self.context, self._items, items, act, met=self._met, recording=timings.recording, writing=True)
        yield from zip(items, made, strict=True)

    def _transitions(
        self, claimed: ClaimedJob, items: Sequence[tuple[Item, InPlace]], timings: Timings, alive: Callable[[], bool]
    ) -> Iterator[tuple[Item, Transitioned | ItemOutcome]]:
        """Look at every key, note in the intents what the stores say of them, and only then change anything."""
        checksums: dict[str, str] = {}
        ready: list[tuple[Item, InPlace]] = []

        def looked(of: tuple[Item, InPlace]) -> str | ItemOutcome:
            with timings.recording("source"):
                return self._tried(of[0], alive, lambda: look(self.context, *of))

        for (item, to), found in zip(items, self._items.map(looked, items), strict=True):
            if isinstance(found, ItemOutcome):
                yield item, found
            else:
                checksums[item.attempt] = found
                ready.append((item, to))
        if not ready or (claimed.whole is not None and not all_that_differ(items, ready)):
            return
        with timings.recording(CATALOG), self.context.catalog.begin() as conn:
            attempts.note_checksums(conn, claimed.id, checksums)

        def one(of: tuple[Item, InPlace]) -> Transitioned | ItemOutcome:
            with timings.recording("transition"):
                return self._tried(of[0], alive, lambda: change(self.context, *of, checksums[of[0].attempt]))

        yield from zip((item for item, _ in ready), self._items.map(one, ready), strict=True)

    def _tried(self, item: Item, alive: Callable[[], bool], act: Callable[[], T]) -> T | ItemOutcome:
        """What `act` made of an item, or what became of the item instead."""
        if not alive():
            name, why = item.seen.placement.name, "the lease was lost"
            return ItemOutcome(item.seen.id, name, ItemState.FAILED, why, again=True, error=LeaseLost.__name__)
        try:
            return act()
        except StoragedError as error:
            return self._met(item, error)

    def _met(self, item: Item, error: StoragedError) -> ItemOutcome:
        if isinstance(error, ObjectCold):  # asked for with all of the job's that are, see `_work`
            name = item.seen.placement.name
            return ItemOutcome(item.seen.id, name, ItemState.PENDING, "in an archive class", error=COLD)
        return met(self.context, item, error)


def _must_be_ours(claimed: ClaimedJob, alive: Callable[[], bool]) -> None:
    if not alive():
        raise LeaseLost(f"job {claimed.id} was taken over, cancelled or stopped")
