"""After a disaster: a new catalog from the stores alone, or an old copy brought up to the journal.

Order (docs/design.md): replay every journal entry after the catalog's number, each stating the whole placement; list
the tiers, unknown attempts become tombstones and the late window starts anew; only then scan, only then sweep. Where
the journal has a hole, what is known is told anew behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final

import sqlalchemy as sa

from storaged.catalog import attempts, facts, placements
from storaged.catalog.placements import Change
from storaged.catalog.schema import datasets, job_items, jobs, objects, outbox, replicas
from storaged.errors import UsageError
from storaged.model import ItemState, JobState, RawState
from storaged.stores.notes import Notes
from storaged.work import claims
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.recover.undurable import take_back
from storaged.work.release.strays import bury_strays

ANY_EPOCH: Final = 2**62  # no marker is of a newer one
PAGE: Final = 1_000  # objects told anew in one transaction


@dataclass(slots=True)
class Reconciled:
    """What was replayed and found."""

    entries: int = 0
    taken_back: int = 0  # objects with a change that this catalog made and never told
    strays: int = 0  # blobs of no placement: cleared away when no late write can come any more
    kept: list[str] = field(default_factory=list)  # blobs that may hold the only copy of something: left alone
    unreadable: list[str] = field(default_factory=list)  # what is in a tier and cannot be looked at: left alone
    holes: list[tuple[int, int]] = field(default_factory=list)  # missing in the journal, first and last of a run
    unseen: list[tuple[int, int]] = field(default_factory=list)  # those that this catalog had not seen before either
    retold: int = 0  # objects whose placement was told anew for it
    roots_away: dict[str, str] = field(default_factory=dict)  # datasets whose root does not carry our marker, and why


def lost_catalog(tier: Notes) -> facts.Identity:
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


def reconcile(
    context: Context, *, claim: Collection[str] = (), progress: Callable[[int], None] = lambda _n: None
) -> Reconciled:
    """Bring this catalog (new and empty, or an old copy) up to its journal. May be repeated after a crash; until it
    came to its end nothing else is done. Every other copy of the catalog may not act any more. `claim`: tiers that are
    new or were emptied on purpose, so that they need not show a marker.

    Raises MarkerLost where a tier carries no marker, OtherPlace where it carries another's, ForeignClaim if the places
    are another catalog's, UsageError if the journal is on none of the tiers, CatalogError if it is damaged or speaks of
    a tier or dataset that the configuration does not name.
    """
    home = _take_over(context, claim)
    with context.catalog.begin() as conn:
        facts.put(conn, "reconciling", "1")
        facts.put(conn, "journal_tier", home)
        facts.register(conn, context.tiers, context.datasets, now_us=context.now_us())
        _forget_unfinished(conn, context)
    replayed = context.journal.replay(progress)
    result = Reconciled(entries=replayed.entries, holes=replayed.holes, unseen=replayed.unseen)
    result.taken_back = take_back(context)
    with context.catalog.begin() as conn:
        now = context.now_us()
        attempts.bury_unfinished(
            conn, note="unfinished when the catalog was lost", now_us=now, hole=bool(replayed.holes)
        )
        facts.put(conn, "relist_until_us", str(now + context.settings.late_put_window))
    for name in claim:
        context.claim(Place("tier", name))
    with context.catalog.begin() as conn:  # whatever was moved from a root was moved under its claim
        moved = objects.c.raw_state.not_in([RawState.CURRENT.value, RawState.ABSENT.value])
        conn.execute(
            sa.update(datasets)
            .where(datasets.c.id.in_(sa.select(objects.c.dataset_id).where(moved)))
            .values(claimed=True)
        )
    context.register(claim_roots=False)
    result.roots_away = dict(context.roots_away)
    if replayed.holes:
        result.retold = _tell_anew(context)
    found = bury_strays(context)
    result.strays, result.kept, result.unreadable = found.buried, found.kept, found.unreadable
    with context.catalog.begin() as conn:
        facts.drop(conn, "reconciling")
    return result


def _take_over(context: Context, claim: Collection[str]) -> str:
    """Rise above every epoch that this catalog's places were claimed in. Returns the tier that holds the journal."""
    mine = context.identity
    epochs, homes = [0], []
    for name in (n for n in context.tiers if n not in claim):
        store = context.tier(name)
        found = claims.require(store, replace(mine, epoch=ANY_EPOCH), Place("tier", name))
        epochs.append(found.owner.epoch)
        if found.journal:
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


def _tell_anew(context: Context) -> int:
    """Tell the journal of every placement that only it can tell of, so that what is missing in it is missed no more.
    Returns how many."""
    with context.catalog.read() as conn:
        first = facts.journal_number(conn)
    only_here = sa.or_(
        sa.exists().where(replicas.c.object_id == objects.c.id),
        objects.c.raw_state.in_([RawState.SUPERSEDED.value, RawState.RELEASING.value, RawState.RELEASED.value]),
        objects.c.hold.is_not(None),
        objects.c.pin_tier_id.is_not(None),
    )
    query = sa.select(objects.c.id).where(only_here).order_by(objects.c.id).limit(PAGE)
    after, told = 0, 0
    while True:
        with context.catalog.begin() as conn:
            ids = list(conn.execute(query.where(objects.c.id > after)).scalars())
            held = placements.load(conn, ids, lock=True)
            changes = [Change(h, h.placement, "retell") for h in held.values()]
            placements.change(
                conn, changes, now_us=context.now_us(), why=context.why("the journal has a hole before this entry")
            )
        context.journal.flush()
        told += len(changes)
        if len(ids) < PAGE:
            break
        after = ids[-1]
    context.journal.close_gap(first)
    return told


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
