"""Into the queue: what shall be done becomes jobs of so many objects and bytes at most, and takes its room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from storaged.catalog import control, ledger, queue
from storaged.catalog.queue import NewItem
from storaged.model import JobKind
from storaged.work import room
from storaged.work.context import Context
from storaged.work.money.spending import over_already
from storaged.work.rewrite.jobs import not_due


@dataclass(slots=True)
class Enqueued:
    """The jobs that were made, and what was left out and why."""

    jobs: list[int] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


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
    batch: list[NewItem] = []
    size = 0

    def put() -> None:
        with context.catalog.begin() as conn:
            dataset_id = context.dataset_id(conn, dataset)
            wanted = batch if plan_id is None else _not_yet(conn, plan_id, batch)
            new, over = room.fitting(conn, context, wanted)
            result.left_out += over
            job_id, busy = queue.enqueue(
                conn, kind, dataset_id, new, reason=reason, now_us=context.now_us(), plan_id=plan_id, policy=policy
            )
            others = set(busy.values())
            why = not_due(conn, others, now_us=context.now_us(), lease_us=limits.lease) if others else {}
            again = control.asked_already(conn, kind, new, others - why.keys()) if others and plan_id is None else {}
            if job_id is not None and plan_id is not None:
                ledger.enter(conn, plan_id, job_id, [i.object_id for i in new if i.object_id not in busy])
            if job_id is not None:
                room.take(conn, job_id, [i for i in new if i.object_id not in busy])
        if job_id is not None:
            result.jobs.append(job_id)
        result.jobs += sorted(set(again.values()) - set(result.jobs))
        others_have = [i for i in new if i.object_id in busy and i.object_id not in again]
        result.left_out += [(i.name, _has_it(busy[i.object_id], why.get(busy[i.object_id], ""))) for i in others_have]
        result.objects += len(new) - len(others_have)
        result.bytes += sum(i.size for i in new) - sum(i.size for i in others_have)

    for item in items:
        if batch and (len(batch) >= limits.batch_objects or size + item.size > limits.batch_bytes):
            put()
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        put()


def _has_it(job: int, why: str) -> str:
    """What leads on, for an object that is in a job."""
    waits = f"; {why}" if why else ", which `storagectl work` or the daemon runs"
    return f"job {job} has it{waits}; `storagectl job cancel {job}` takes it out of there"


def _not_yet(conn: sa.Connection, plan_id: int, batch: list[NewItem]) -> list[NewItem]:
    """Those that no job of this plan holds yet: an apply that died is repeated. Raises RefusedByGuard."""
    taken = ledger.taken(conn, plan_id, [i.object_id for i in batch])
    if taken is None:
        raise over_already(plan_id)
    return [i for i in batch if i.object_id not in taken]
