"""After a disaster: a new catalog from the stores alone, or an old copy brought up to the journal.

Order (docs/design.md): replay every journal entry after the catalog's number, each stating the whole placement; list
the tiers, unknown attempts become tombstones and the late window starts anew; only then scan, only then sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.schema import blobs, job_items, jobs, objects, outbox
from storaged.errors import UsageError
from storaged.model import BlobState, ItemState, JobState
from storaged.stores.base import Store
from storaged.work import claims
from storaged.work.context import Context
from storaged.work.strays import bury_strays


@dataclass(slots=True)
class Reconciled:
    """What was replayed and found."""

    entries: int = 0
    strays: int = 0
    number: int = 0


def lost_catalog(hottest: Store) -> facts.Identity:
    """The identity of the catalog whose journal is on this tier, to be taken over with the next epoch.

    Raises UsageError where no storaged ever worked.
    """
    found = claims.holder(hottest)
    if found is None:
        raise UsageError(
            f"{hottest.url} carries no marker of storaged: there is nothing to rebuild from",
            hint="the `tiers` of storaged.yaml must be those that the lost catalog used",
        )
    return facts.Identity(found.catalog, found.epoch + 1)


def reconcile(context: Context, *, progress: Callable[[int], None] = lambda _n: None) -> Reconciled:
    """Bring this catalog (new and empty, or an old copy) up to its journal. May be repeated after a crash.

    Raises ForeignClaim if the places are another catalog's, CatalogError if the journal speaks of a tier or dataset
    that the configuration does not name.
    """
    result = Reconciled()
    _take_over(context)
    with context.catalog.begin() as conn:
        facts.register(conn, context.tiers, context.datasets, now_us=context.now_us())
        _forget_unfinished(conn, context)
    for number, entries in context.journal.entries(_number(context)):
        with context.catalog.begin() as conn:
            facts.advance(conn, number, entries)
        result.entries += len(entries)
        result.number = number + 1
        progress(result.entries)
    with context.catalog.begin() as conn:
        now = context.now_us()
        staged = blobs.c.state == BlobState.STAGED.value
        conn.execute(
            sa.update(blobs)
            .where(staged)
            .values(state=BlobState.TOMBSTONE.value, note="staged when the catalog was lost", sign_us=now)
        )
        facts.put(conn, "relist_until_us", str(now + context.settings.late_put_window))
    context.register(reclaim=True)
    result.strays = bury_strays(context)
    return result


def _take_over(context: Context) -> None:
    """Rise above every epoch that this catalog's places were claimed in. Raises ForeignClaim for another catalog's."""
    mine = context.identity
    highest = mine.epoch
    for name in context.tiers:
        found = claims.holder(context.tier(name))
        if found is not None and found.catalog != mine.catalog:
            claims.check(context.tier(name), mine)
        highest = max(highest, found.epoch + 1 if found is not None and found.epoch > mine.epoch else 0)
    if highest > mine.epoch:
        with context.catalog.begin() as conn:
            facts.put(conn, "epoch", str(highest))
        context.forget_identity()


def _number(context: Context) -> int:
    with context.catalog.read() as conn:
        return facts.journal_number(conn)


def _forget_unfinished(conn: sa.Connection, context: Context) -> None:
    """An old copy's pending facts are told again by the scan; its jobs may have been done since: they end here."""
    conn.execute(sa.delete(outbox).where(outbox.c.fact))
    conn.execute(sa.update(objects).where(objects.c.fact_id.is_not(None)).values(fact_id=None))
    live = jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])
    ids = list(conn.execute(sa.select(jobs.c.id).where(live)).scalars())
    why = "the catalog was reconciled with its journal"
    conn.execute(
        sa.update(job_items)
        .where(job_items.c.job_id.in_(ids), job_items.c.state == ItemState.PENDING.value)
        .values(state=ItemState.FAILED.value, note=why)
    )
    conn.execute(
        sa.update(jobs)
        .where(live)
        .values(
            state=JobState.CANCELLED.value, lease=None, lease_until_us=None, error=why, finished_us=context.now_us()
        )
    )
