"""Jobs that a person asks for: restage to another tier, back to the original key, eject a whole dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from storaged.catalog import ledger, queue
from storaged.catalog.placements import Held
from storaged.catalog.queue import NewItem
from storaged.errors import RefusedByGuard
from storaged.model import IDENTITY, JobKind, RawState, Readers
from storaged.placement import settled
from storaged.stores.base import Store
from storaged.work.context import Context
from storaged.work.spending import over_already


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
    """Cut items into jobs of at most so many objects and bytes (`workers` in the configuration)."""
    limits = context.settings.workers
    batch: list[NewItem] = []
    size = 0

    def put() -> None:
        with context.catalog.begin() as conn:
            dataset_id = context.dataset_id(conn, dataset)
            new = batch if plan_id is None else _not_yet(conn, plan_id, batch)
            job_id, busy = queue.enqueue(
                conn, kind, dataset_id, new, reason=reason, now_us=context.now_us(), plan_id=plan_id, policy=policy
            )
            if job_id is not None and plan_id is not None:
                ledger.enter(conn, plan_id, job_id, [i.object_id for i in new if i.object_id not in busy])
        if job_id is not None:
            result.jobs.append(job_id)
        result.left_out += [(i.name, "another job is at work on it") for i in new if i.object_id in busy]
        result.objects += len(new) - len(busy)
        result.bytes += sum(i.size for i in new if i.object_id not in busy)

    for item in items:
        if batch and (len(batch) >= limits.batch_objects or size + item.size > limits.batch_bytes):
            put()
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        put()


def _not_yet(conn: sa.Connection, plan_id: int, batch: list[NewItem]) -> list[NewItem]:
    """Those that no job of this plan holds yet: an apply that died is repeated. Raises RefusedByGuard."""
    taken = ledger.taken(conn, plan_id, [i.object_id for i in batch])
    if taken is None:
        raise over_already(plan_id)
    return [i for i in batch if i.object_id not in taken]


def restage(context: Context, pages: Iterable[list[Held]], tier: str, *, reason: str) -> Enqueued:
    """Jobs that bring objects to a tier as plain bytes. Raises UsageError for no such tier."""
    context.tier(tier)
    return _ask(context, pages, JobKind.REWRITE, tier, reason)


def to_root(context: Context, pages: Iterable[list[Held]], *, reason: str) -> Enqueued:
    """Jobs that put objects back under their original keys."""
    return _ask(context, pages, JobKind.RETURN, None, reason)


def refusal(context: Context, held: Held, tier: str | None) -> str:
    """Why an object cannot be brought to a tier (None: its original key) now; empty if it can."""
    p = held.placement
    dataset = context.dataset(p.dataset)
    if not p.exists:
        return "it was removed"
    if tier is None:
        match p.raw.state:
            case RawState.CURRENT:
                return "it is at its original key already"
            case RawState.SUPERSEDED:
                return "its source is still there: `storagectl undo` brings it back at once"
            case RawState.RELEASING:
                return "its source is being released: run `storagectl sweep`, then try again"
        return no_return(context.root(p.dataset))
    if dataset.readers is Readers.RAW:
        return "readers: raw (others read its paths, so it stays where it is)"
    if not settled(p):
        return "its last change is still in grace: undo that, or wait"
    hold = p.hold or dataset.hold
    return f"held: {hold}" if hold else ""


def no_return(root: Store) -> str:
    """Why nothing of ours may be written to a root; empty: it may."""
    return "" if root.traits.conditional else f"{root.url} cannot create on condition, so nothing is written there"


def _ask(
    context: Context,
    pages: Iterable[list[Held]],
    kind: JobKind,
    tier: str | None,
    reason: str,
) -> Enqueued:
    context.ready()
    context.journal.flush()
    result = Enqueued()
    for page in pages:
        fit = []
        for h in page:
            why = refusal(context, h, tier)
            if why:
                result.left_out.append((f"{h.placement.dataset}/{h.placement.name}", why))
            else:
                fit.append(h)
        if not fit:
            continue
        dataset = fit[0].placement.dataset
        if kind is JobKind.RETURN and not context.owns_root(dataset):
            raise RefusedByGuard(
                f"the root of dataset {dataset!r} does not carry our claim, so nothing is written there"
            )
        items = [
            NewItem(
                h.id,
                h.version,
                h.placement.size,
                tier,
                IDENTITY,
                context.settings.grace,
                name=f"{dataset}/{h.placement.name}",
            )
            for h in fit
        ]
        enqueue_batches(context, kind, dataset, items, reason=reason, result=result)
    return result
