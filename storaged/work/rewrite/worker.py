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
from storaged.catalog.items import InPlace, Item, ToTier, codec_of, key_at
from storaged.catalog.placements import load
from storaged.catalog.queue import Claimed, Outcome
from storaged.clock import Timings
from storaged.codecs.registry import Sampled, compresses, sampled
from storaged.errors import LeaseLost, MarkerLost, ObjectCold, StoragedError
from storaged.model import IDENTITY, CodecSpec, ItemState, JobKind, JobState, RawState
from storaged.stores.schemes import CHEAPEST
from storaged.work import places
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.money import spending
from storaged.work.packs import OpenPacks, by_place
from storaged.work.rewrite.collections import guarded
from storaged.work.rewrite.derive import derive, derives
from storaged.work.rewrite.heartbeat import heartbeat
from storaged.work.rewrite.pack import Packing
from storaged.work.rewrite.returns import no_return
from storaged.work.rewrite.stage import Staged, Transitioned, stage
from storaged.work.rewrite.swap import lies_so, mark_no_gain, swap
from storaged.work.rewrite.transition import change, look
from storaged.work.rewrite.transition import refusal as in_place_refusal
from storaged.work.rewrite.trouble import excused, met, skipped
from storaged.work.rewrite.warm import ask
from storaged.work.room import unfit
from storaged.work.scan import stuck
from storaged.work.scan.leftovers import tried_before
from storaged.work.scan.suspects import Scanned, Suspects

WARM_DAYS: Final = 3  # that a readable copy of a cold source is kept for its job: it may not run at once
COLD: Final = ObjectCold.__name__  # the kind of error
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
    notes: list[tuple[int, str]] = field(default_factory=list)  # (object id, why skipped or failed)

    def add(self, claimed: Claimed, state: JobState, outcomes: Iterable[Outcome]) -> None:
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
                case ItemState.PENDING if o.instead is not None:
                    pass  # the job is queued again for at once, with another codec for it
                case ItemState.PENDING:
                    self.waiting += 1
                case _:
                    self.failed += 1
            if o.note:
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
        on_job: Callable[[Claimed, Report], bool] = lambda _job, _report: True,
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

    def claim(self, *, only: Iterable[int] | None = None) -> Claimed | None:
        """The next job, with its intents written, or None."""
        timings = Timings()
        with timings.recording(CATALOG):
            claimed = spending.claim(self.context, self.name, lease_us=self.context.settings.workers.lease, only=only)
        if claimed is not None:
            self._timings[claimed.id] = timings
        return claimed

    def give_back(self, claimed: Claimed, *, begun: bool = True) -> None:
        """Put a job back into the queue; what it staged becomes tombstones. Not `begun`: it has cost nothing."""
        self._timings.pop(claimed.id, None)
        with self.context.catalog.begin() as conn:
            if queue.give_back(conn, claimed, now_us=self.context.now_us()) and not begun:
                ledger.no_try(conn, claimed.id)

    def work(
        self, claimed: Claimed, *, on_item: OnItem = lambda _item, _note: None, stopped: Callable[[], bool] = never
    ) -> tuple[JobState, list[Outcome]]:
        """Stage and prove every item, swap them all, and leave the journal up to date.

        Raises LeaseLost if the job was taken over meanwhile, or `stopped` says so before the swap.
        """
        timings = self._timings.pop(claimed.id, None) or Timings()
        state, outcomes = self._work(claimed, timings, on_item, stopped)
        with timings.recording("journal"):
            self.context.journal.flush()
        with self.context.catalog.begin() as conn:
            queue.note_timings(conn, claimed.id, timings.told())
        return state, outcomes

    def _work(
        self, claimed: Claimed, timings: Timings, on_item: OnItem, stopped: Callable[[], bool]
    ) -> tuple[JobState, list[Outcome]]:
        with heartbeat(self.context, claimed) as held:
            away = self._away(claimed, claimed.items)
            if away:
                return swap(self.context, claimed, [], away)
            refused = self._refusal(claimed)
            if refused:
                return swap(self.context, claimed, [], [skipped(i, refused) for i in claimed.items])

            def alive() -> bool:
                return held() and not stopped()

            free, outcomes = self._unguarded(claimed)
            staged: list[Staged | Transitioned] = []
            for item, result in self._made(free, timings, alive, outcomes):
                if isinstance(result, Outcome):
                    outcomes.append(result)
                else:
                    staged.append(result)
                on_item(item, result.note if isinstance(result, Outcome) else "")
            if not alive():
                raise LeaseLost(f"job {claimed.id} was taken over, cancelled or stopped")
            waiting = {o.object_id for o in outcomes if o.error == COLD}
            outcomes = [o for o in outcomes if o.object_id not in waiting]
            cold = [i for i in free.items if i.held.id in waiting]
            outcomes += ask(self.context, cold, days=WARM_DAYS, speed=CHEAPEST)
            if staged and (away := self._away(claimed, [s.item for s in staged])):
                staged, outcomes = [], [*outcomes, *away]
            with timings.recording(CATALOG):
                return swap(self.context, claimed, staged, excused(self.context, claimed.dataset, outcomes))

    def _away(self, claimed: Claimed, items: Iterable[Item]) -> list[Outcome]:
        """What becomes of these items if a place of their job is not what it should be now; none: all are."""
        for place, why in places.wrong(self.context, places.touched(claimed)).items():
            note, error = f"{place}: {why}", MarkerLost.__name__
            return [Outcome(i.held.id, ItemState.FAILED, note, again=True, error=error) for i in items]
        return []

    def _refusal(self, claimed: Claimed) -> str:
        """What configuration and stores say now against a rewrite that was planned before."""
        if claimed.dataset not in self.context.datasets:
            return "its dataset is not in the configuration"
        if claimed.kind is JobKind.RETURN:
            return places.unwritable(self.context, claimed) or no_return(self.context.root(claimed.dataset))
        if all(isinstance(item.to, InPlace) for item in claimed.items):
            return in_place_refusal(self.context.root(claimed.dataset))
        return ""

    def _unguarded(self, claimed: Claimed) -> tuple[Claimed, list[Outcome]]:
        """The job without the items that a guard holds by now, although their rows are as they were, and what became
        of those. What returns to its root is held by nothing here: nobody is locked in."""
        if claimed.kind is JobKind.RETURN:
            return self._not_yet_back(claimed)
        outcomes = guarded(self.context, claimed, self._items.map)
        kept = {o.object_id for o in outcomes}
        free = replace(claimed, items=tuple(i for i in claimed.items if i.held.id not in kept))
        with self.context.catalog.read() as conn:
            held = unfit(conn, self.context, free)
        held |= stuck.leaving(self.context, [i for i in free.items if i.held.id not in held])
        outcomes += [skipped(i, held[i.held.id]) for i in free.items if i.held.id in held]
        return replace(free, items=tuple(i for i in free.items if i.held.id not in held)), outcomes

    def _not_yet_back(self, claimed: Claimed) -> tuple[Claimed, list[Outcome]]:
        """The job without the items that an earlier try put back before it died: that is recorded now. And without
        those that their users have deleted since: that counts, nothing is written again."""
        with self.context.catalog.read() as conn:
            tried = tried_before(conn, claimed)
        if not tried:
            return claimed, []
        Suspects(self.context, claimed.dataset, Scanned(claimed.dataset)).look_again(sorted(tried))
        with self.context.catalog.read() as conn:
            now = load(conn, tried)
        outcomes = []
        for item in claimed.items:
            it = now.get(item.held.id)
            if it is None or it.version == item.held.version:
                continue
            if it.placement.raw.state is RawState.CURRENT and it.placement.generation == item.held.placement.generation:
                before, after = current(item.held).bytes, it.placement.size
                found = codec_of(item.to).name
                outcomes.append(
                    Outcome(item.held.id, ItemState.DONE, before_bytes=before, after_bytes=after, codec=found)
                )
            else:
                outcomes.append(skipped(item, "its user changed or deleted what an earlier try had put back"))
        met = {o.object_id for o in outcomes}
        return replace(claimed, items=tuple(i for i in claimed.items if i.held.id not in met)), outcomes

    def _made(
        self, claimed: Claimed, timings: Timings, alive: Callable[[], bool], outcomes: list[Outcome]
    ) -> Iterator[tuple[Item, Staged | Transitioned | Outcome]]:
        """What was made of each item, or what became of it instead. Those in packs are read as they lie there."""
        claimed = replace(claimed, items=tuple(sorted(claimed.items, key=lambda i: by_place(i.held))))
        whole = ((i.held, (0, i.held.placement.size)) for i in claimed.items)
        with OpenPacks(self.context, once=True) as packs, packs.expecting(whole):
            if claimed.pack is not None:
                yield from self._pack(claimed.pack, claimed.items, packs, timings, alive)
                return
            yield from self._stage(self._choose_codecs(claimed, packs, timings, outcomes), packs, timings, alive)
        in_place = [(i, i.to) for i in claimed.items if isinstance(i.to, InPlace)]
        yield from self._transitions(claimed, in_place, timings, alive)

    def _pack(
        self, name: str, items: Sequence[Item], packs: OpenPacks, timings: Timings, alive: Callable[[], bool]
    ) -> Iterator[tuple[Item, Staged | Outcome]]:
        def tried(item: Item, act: Callable[[], T]) -> T | Outcome:
            return self._tried(item, alive, act)

        of = {i.held.id: i for i in items}
        packing = Packing(self.context, packs, name, timings, self._items, self._frames, tried, self._met, alive)
        for staged in packing.stage(items):
            yield staged.item, staged
        for outcome in packing.outcomes:
            yield of[outcome.object_id], outcome

    def _stage(
        self, items: Sequence[Item], packs: OpenPacks, timings: Timings, alive: Callable[[], bool]
    ) -> Iterator[tuple[Item, Staged | Outcome]]:
        def one(item: Item) -> Staged | Outcome:
            with timings.recording():
                make = derive if derives(item) else stage
                return self._tried(item, alive, partial(make, self.context, item, executor=self._frames, packs=packs))

        yield from zip(items, self._items.map(one, items), strict=True)

    def _transitions(
        self, claimed: Claimed, items: Sequence[tuple[Item, InPlace]], timings: Timings, alive: Callable[[], bool]
    ) -> Iterator[tuple[Item, Transitioned | Outcome]]:
        """Look at every key, note in the intents what the stores say of them, and only then change anything."""
        checksums: dict[str, str] = {}
        ready: list[tuple[Item, InPlace]] = []

        def looked(of: tuple[Item, InPlace]) -> str | Outcome:
            with timings.recording("source"):
                return self._tried(of[0], alive, lambda: look(self.context, *of))

        for (item, to), found in zip(items, self._items.map(looked, items), strict=True):
            if isinstance(found, Outcome):
                yield item, found
            else:
                checksums[item.attempt] = found
                ready.append((item, to))
        if not ready:
            return
        with timings.recording(CATALOG), self.context.catalog.begin() as conn:
            attempts.note_checksums(conn, claimed.id, checksums)

        def one(of: tuple[Item, InPlace]) -> Transitioned | Outcome:
            with timings.recording("transition"):
                return self._tried(of[0], alive, lambda: change(self.context, *of, checksums[of[0].attempt]))

        yield from zip((item for item, _ in ready), self._items.map(one, ready), strict=True)

    def _tried(self, item: Item, alive: Callable[[], bool], act: Callable[[], T]) -> T | Outcome:
        """What `act` made of an item, or what became of the item instead."""
        if not alive():
            return Outcome(item.held.id, ItemState.FAILED, "the lease was lost", again=True, error=LeaseLost.__name__)
        try:
            return act()
        except StoragedError as error:
            return self._met(item, error)

    def _met(self, item: Item, error: StoragedError) -> Outcome:
        if isinstance(error, ObjectCold):  # asked for with all of the job's that are, see `_work`
            return Outcome(item.held.id, ItemState.PENDING, "in an archive class", error=COLD)
        return met(self.context, item, error)

    def _choose_codecs(
        self, claimed: Claimed, packs: OpenPacks, timings: Timings, outcomes: list[Outcome]
    ) -> list[Item]:
        """Sample what shall be compressed: what its codec does not take stays as it is (or moves as it is)."""
        chosen: list[Item] = []
        other: list[tuple[str, str, str]] = []
        idle: list[tuple[Item, CodecSpec, str]] = []  # or each plan would pick it again for its codec
        moved = [i for i in claimed.items if not isinstance(i.to, InPlace)]
        for item, found in zip(moved, self._sampled(moved, packs, timings), strict=True):
            if found is None or not isinstance(item.to, ToTier):
                chosen.append(item)
            elif isinstance(found, Outcome):
                outcomes.append(found)
            elif found.sample.taken and found.spec.name == item.to.codec.name:
                spec = replace(found.spec, level=found.sample.level)
                chosen.append(replace(item, to=replace(item.to, codec=spec)))
            else:
                if found.sample.taken:
                    spec = CodecSpec(found.spec.name, found.sample.level)
                    already = f"{found.not_taken}; it is stored with {spec.name} already"
                    instead = f"stored with {spec.name}: {found.not_taken}"
                else:
                    spec, already, instead = IDENTITY, f"{found.why}: left alone", f"stored as it is: {found.why}"
                idle.append((item, found.asked, found.not_taken))
                if lies_so(self.context, item, spec):
                    outcomes.append(skipped(item, already))
                else:
                    chosen.append(_stored_as(item, item.to, spec, instead))
                    other.append((item.attempt, chosen[-1].key, spec.name))
        if other or idle:
            with timings.recording(CATALOG), self.context.catalog.begin() as conn:
                if other:
                    attempts.rekey(conn, claimed.id, other)
                mark_no_gain(conn, idle)
        return chosen

    def _sampled(self, items: Sequence[Item], packs: OpenPacks, timings: Timings) -> Iterator[Sampled | Outcome | None]:
        """For each item what its codec, or the one in its place, says of its content; None for a codec that does not
        compress: those are not looked at, nor handed to a thread."""

        def sample(item: Item) -> Sampled:
            with packs.current(item.held) as source:
                return sampled(codec_of(item.to), source)

        def tried(item: Item) -> Sampled | Outcome:
            with timings.recording("sample"):
                return self._tried(item, lambda: True, lambda: sample(item))

        found = self._items.map(tried, [i for i in items if compresses(codec_of(i.to))])
        return (next(found) if compresses(codec_of(i.to)) else None for i in items)


def _stored_as(item: Item, to: ToTier, spec: CodecSpec, note: str) -> Item:
    """The same attempt with another codec, and why."""
    to = replace(to, codec=spec)
    p = item.held.placement
    return replace(item, to=to, key=key_at(to, p.name, item.attempt, p.dataset), note=note)
