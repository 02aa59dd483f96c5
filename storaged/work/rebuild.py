"""After a disaster: a new catalog from the stores alone, or an old copy brought up to the journal.

Order (docs/design.md): replay every journal entry after the catalog's number, each stating the whole placement; list
the tiers, unknown attempts become tombstones and the late window starts anew; only then scan, only then sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.schema import blobs, job_items, jobs, objects, outbox
from storaged.errors import UsageError
from storaged.model import BlobState, ItemState, JobState
from storaged.stores.base import Store
from storaged.work import claims
from storaged.work.context import Context
from storaged.work.strays import bury_strays
from storaged.work.undurable import take_back


@dataclass(slots=True)
class Reconciled:
    """What was replayed and found."""

    entries: int = 0
    taken_back: int = 0  # objects with a change that this catalog made and never told
    strays: int = 0  # blobs of no placement: cleared away when no late write can come any more
    kept: list[str] = field(default_factory=list)  # blobs that may hold the only copy of something: left alone


def lost_catalog(tier: Store) -> facts.Identity:
    """The identity of the catalog whose journal is on this tier, to be taken over with the next epoch.

    Raises UsageError where no storaged ever kept a journal.
    """
    found = claims.holder(tier)
    if found is None or not claims.keeps_journal(tier):
        raise UsageError(
            f"{tier.url} carries no journal of storaged: there is nothing to rebuild from",
            hint="the `tiers` of storaged.yaml must be those that the lost catalog used",
        )
    return facts.Identity(found.catalog, found.epoch + 1)


def reconcile(context: Context, *, progress: Callable[[int], None] = lambda _n: None) -> Reconciled:
    """Bring this catalog (new and empty, or an old copy) up to its journal. May be repeated after a crash; until it
    came to its end nothing else is done. Every other copy of the catalog may not act any more.

    Raises ForeignClaim if the places are another catalog's, UsageError if the journal is on none of the tiers,
    CatalogError if it is damaged or speaks of a tier or dataset that the configuration does not name.
    """
    home = _take_over(context)
    with context.catalog.begin() as conn:
        facts.put(conn, "reconciling", "1")
        facts.put(conn, "journal_tier", home)
        facts.register(conn, context.tiers, context.datasets, now_us=context.now_us())
        _forget_unfinished(conn, context)
    result = Reconciled(entries=context.journal.replay(progress))
    result.taken_back = take_back(context)
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
    result.strays, result.kept = bury_strays(context)
    with context.catalog.begin() as conn:
        facts.drop(conn, "reconciling")
    return result


def _take_over(context: Context) -> str:
    """Rise above every epoch that this catalog's places were claimed in. Returns the tier that holds the journal."""
    mine = context.identity
    epochs, homes = [0], []
    for name in context.tiers:
        store = context.tier(name)
        found = claims.holder(store)
        if found is None:
            continue
        if found.catalog != mine.catalog:
            claims.check(store, mine)
        epochs.append(found.epoch)
        if claims.keeps_journal(store):
            homes.append(name)
    if len(homes) != 1:
        raise UsageError(
            f"the journal of this catalog is on {'none' if not homes else 'more than one'} of the tiers",
            hint="the `tiers` of storaged.yaml must be those that the catalog used",
        )
    if mine.epoch <= max(epochs):
        with context.catalog.begin() as conn:
            facts.put(conn, "epoch", str(max(epochs) + 1))
        context.forget_identity()
    return homes[0]


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
