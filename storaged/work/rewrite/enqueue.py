"""Into the queue: what shall be done becomes jobs of so many objects and bytes at most, of a pack, or of what moves
whole, and takes its room."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from storaged.catalog import control, ledger, queue
from storaged.catalog.items import NewItem, To, tier_of
from storaged.catalog.placements import paged
from storaged.model import JobKind
from storaged.work import room
from storaged.work.context import Context
from storaged.work.money.spending import over_already
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.jobs import not_due


@dataclass(slots=True)
class Enqueued:
    """The jobs that were made, and what was left out and why; of a dry run, what there would be."""

    jobs: list[int] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)  # of a dry run: which objects would be in jobs


def enqueue_batches(
    context: Context,
    kind: JobKind,
    dataset: str,
    items: Iterable[NewItem],
    *,
    reason: str,
    plan_id: int | None = None,
    policy: str | None = None,
    result: Enqueued,
) -> None:
    """Cut items into jobs of at most so many objects and bytes (`workers` in the configuration). What was asked for
    already by somebody whose command died is taken up: its job becomes one of the result's."""
    limits = context.settings.workers
    asked = _Asked(context, kind, dataset, reason, plan_id, policy)
    batch: list[NewItem] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= limits.batch_objects or size + item.size > limits.batch_bytes):
            asked.put(batch, result)
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        asked.put(batch, result)


def enqueue_pack(
    context: Context,
    dataset: str,
    members: Iterable[NewItem],
    *,
    pack: str,
    reason: str,
    plan_id: int | None = None,
    policy: str | None = None,
    result: Enqueued,
) -> None:
    """One job of all members of a pack, however many they are: they come in the order of their ids, and all go to one
    tier. Where there is no room for all of them, or only one is left, there is none."""
    _Asked(context, JobKind.REWRITE, dataset, reason, plan_id, policy, pack=pack).put(members, result)


def enqueue_whole(
    context: Context,
    dataset: str,
    parts: Iterable[NewItem],
    *,
    whole: str,
    reason: str,
    plan_id: int | None = None,
    policy: str | None = None,
    result: Enqueued,
) -> None:
    """One job of all parts of a collection, which come as those of a pack do. Where there is no room for all of them,
    or another job has one of them, there is none. `whole`: its prefix."""
    _Asked(context, JobKind.REWRITE, dataset, reason, plan_id, policy, whole=whole).put(parts, result)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is the same of all jobs that come of one wish."""

    context: Context
    kind: JobKind
    dataset: str
    reason: str
    plan_id: int | None
    policy: str | None
    pack: str | None = None
    whole: str | None = None

    def put(self, items: Iterable[NewItem], result: Enqueued) -> None:
        """One job of these."""
        context, now_us, wanted = self.context, self.context.now_us(), folded(items)
        with context.catalog.begin() as conn:
            new = wanted if self.plan_id is None else folded(_not_yet(conn, self.plan_id, wanted))
            new = self._with_room(conn, new, result)
            if self.pack is not None and _alone(conn, new, result):
                return
            job_id, busy = queue.enqueue(
                conn,
                self.kind,
                context.dataset_id(conn, self.dataset),
                new,
                reason=self.reason,
                now_us=now_us,
                plan_id=self.plan_id,
                policy=self.policy,
                pack=self.pack,
                whole=self.whole,
            )
            others = set(busy.values())
            lease_us = context.settings.workers.lease
            why = not_due(conn, others, now_us=now_us, lease_us=lease_us) if others else {}
            asked = others and self.plan_id is None
            again = control.asked_already(conn, self.kind, new, others - why.keys()) if asked else {}
            if job_id is not None and self.plan_id is not None:
                made = array("q", (i.object_id for i in new if i.object_id not in busy))
                ledger.enter(conn, self.plan_id, job_id, made)
            if job_id is not None:
                room.take(conn, job_id, (i for i in new if i.object_id not in busy))
        if job_id is not None:
            result.jobs.append(job_id)
        result.jobs += sorted(set(again.values()) - set(result.jobs))
        together = _has_it(next(iter(busy.values())), "") if busy and self.whole is not None else ""
        for i in new:
            job = busy.get(i.object_id)
            if job is not None and i.object_id not in again:
                result.left_out.append((i.name, _has_it(job, why.get(job, ""))))
            elif job is None and together:
                result.left_out.append((i.name, together))
            else:
                result.objects += 1
                result.bytes += i.size

    def _with_room(self, conn: sa.Connection, items: Folded[NewItem], result: Enqueued) -> Folded[NewItem]:
        """Those for which there is room; what becomes one has room as one."""
        tier = next((tier_of(i.to) for i in items), None)
        if self.pack is None and self.whole is None:
            fits, over = room.fitting(conn, self.context, list(items))
            result.left_out += over
            return folded(fits) if over else items
        why = "" if tier is None else room.lacking(conn, self.context, tier, items)
        if not why:
            return items
        result.left_out += [(i.name, why) for i in items]
        return folded(())


def folded(items: Iterable[NewItem]) -> Folded[NewItem]:
    """These, in little memory."""
    to: list[To] = []  # those of a job are mostly alike

    def flat(i: NewItem) -> Sequence[Any]:
        if i.to not in to:
            to.append(i.to)
        return i.object_id, i.version, i.size, to.index(i.to), i.name, i.expected

    def whole(row: Sequence[Any]) -> NewItem:
        number, version, size, goes, *rest = row
        return NewItem(number, version, size, to[goes], *rest)

    kept = Folded[NewItem](flat, whole)
    kept.extend(items)
    return kept


def _alone(conn: sa.Connection, members: Iterable[NewItem], result: Enqueued) -> bool:
    """Whether at most one of these is in no other job: a pack of one is none. Then all are left out."""
    free = 0
    for part in paged(members):
        free += len(part) - len(queue.held_by(conn, [i.object_id for i in part]))
        if free > 1:
            return False
    from storaged.decide.packs import PACKS  # here: whoever runs jobs plans nothing

    for part in paged(members):
        busy = queue.held_by(conn, [i.object_id for i in part])
        for i in part:
            why = _has_it(busy[i.object_id], "") if i.object_id in busy else PACKS["alone"]
            result.left_out.append((i.name, why))
    return True


def _has_it(job: int, why: str) -> str:
    """What leads on, for an object that is in a job."""
    waits = f"; {why}" if why else ", which `storagectl work` or the daemon runs"
    return f"job {job} has it{waits}; `storagectl job cancel {job}` takes it out of there"


def _not_yet(conn: sa.Connection, plan_id: int, items: Iterable[NewItem]) -> Iterator[NewItem]:
    """Those that no job of this plan holds yet: an apply that died is repeated. Raises RefusedByGuard."""
    for part in paged(items):
        taken = ledger.taken(conn, plan_id, [i.object_id for i in part])
        if taken is None:
            raise over_already(plan_id)
        yield from (i for i in part if i.object_id not in taken)
