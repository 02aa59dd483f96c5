"""The pointers of a whole batch move to what was staged for it, each object's under its own version."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import sqlalchemy as sa

from storaged.catalog import attempts, blobs, changes, ledger, queue, together
from storaged.catalog.attempts import Proven
from storaged.catalog.entries import Entry
from storaged.catalog.items import Aim, InPlace, Item, ToRoot, ToTier, tier_of
from storaged.catalog.placements import Change, Seen, chunks, paged
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.catalog.schema import objects
from storaged.catalog.together import Swapped
from storaged.clock import timed
from storaged.errors import StoreError
from storaged.model import (
    IDENTITY,
    CodecSpec,
    ItemState,
    JobState,
    Replica,
    ReplicaState,
    share,
)
from storaged.placement import Stale, derive, returned, transition
from storaged.placement import swap as swapped
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.rewrite import folded as folding
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.members import everyone
from storaged.work.rewrite.stage import MEANWHILE, Staged, Transitioned
from storaged.work.rewrite.whole import NotWhole, left_as_it_is, require_moved, require_whole

UNTRIED: Final = (ItemState.SKIPPED, ItemState.PENDING)
PAGE: Final = 2_000  # members of a pack that are swapped in one transaction

Made = Staged | Transitioned | ItemOutcome  # what was made of an item, or what became of it instead


def swap(
    context: Context,
    claimed: ClaimedJob,
    staged: Iterable[Made],
    outcomes: Iterable[ItemOutcome],
) -> tuple[JobState, Iterable[ItemOutcome]]:
    """Pointers move to the proven blobs, attempts that failed become tombstones, the job is over or goes back to the
    queue: in one transaction, or that of a pack, and of what is changed in place, in pages, since it may have a million
    members. Raises LeaseLost (what is not swapped by then stays as it is) if the job is not ours any more. What became
    of all can be gone through more than once.

    Write-backs to original keys are facts, and so are other files of the same table: they wait in the outbox and become
    true when the journal has them.
    """
    now_us = context.now_us()
    if claimed.many is None:
        return _swap_batch(context, claimed, [*outcomes, *staged], now_us)
    if claimed.parts is not None and not isinstance(claimed.parts.to, InPlace):
        try:
            return _swap_whole(context, claimed, staged, outcomes, now_us)
        except NotWhole as why:
            staged, outcomes = (), left_as_it_is(claimed, everyone(context, claimed), why.message)
    return _swap_pages(context, claimed, staged, outcomes, now_us)


def _swap_pages(
    context: Context,
    claimed: ClaimedJob,
    staged: Iterable[Made],
    outcomes: Iterable[ItemOutcome],
    now_us: int,
) -> tuple[JobState, Folded[ItemOutcome]]:
    """What dropped out first, then each page in a transaction of its own."""
    found = folding.outcomes()
    for page in paged(chain(outcomes, staged), PAGE):
        with context.catalog.begin() as conn:
            met, made = _record_page(conn, context, claimed, page, now_us)
        found.extend(met + made)
        _tell_journal(context)
    with context.catalog.begin() as conn:
        return _finish(conn, context, claimed, found, now_us), found


def _swap_whole(
    context: Context,
    claimed: ClaimedJob,
    staged: Iterable[Made],
    outcomes: Iterable[ItemOutcome],
    now_us: int,
) -> tuple[JobState, Folded[ItemOutcome]]:
    """All of what moves whole, page by page in one transaction: between two of them a crash would leave a half. Raises
    NotWhole (nothing is changed) where a part is not as it was planned."""
    found, moved = folding.outcomes(), 0
    with context.catalog.begin() as conn:
        for page in paged(chain(outcomes, staged), PAGE):
            met, swapped_now = _record_page(conn, context, claimed, page, now_us)
            require_moved(swapped_now)
            moved += len(swapped_now)
            found.extend(met + swapped_now)
        if moved:
            require_whole(conn, claimed, moved)
        return _finish(conn, context, claimed, found, now_us), found


def _swap_batch(
    context: Context,
    claimed: ClaimedJob,
    given: list[Made],
    now_us: int,
) -> tuple[JobState, list[ItemOutcome]]:
    """All of a batch in one transaction."""
    with context.catalog.begin() as conn:
        met, made = _record_page(conn, context, claimed, given, now_us)
        done = {o.object_id for o in made if o.state is ItemState.DONE}
        lost = [i.attempt for i in claimed.items if i.seen.id not in done]
        return _finish(conn, context, claimed, met + made, now_us, lost=lost), met + made


def _record_page(
    conn: sa.Connection,
    context: Context,
    claimed: ClaimedJob,
    page: Sequence[Made],
    now_us: int,
) -> tuple[list[ItemOutcome], list[ItemOutcome]]:
    """What was made of these is swapped, and it is recorded what became of the others: of these, and of what was made.
    Raises LeaseLost."""
    met = [one for one in page if isinstance(one, ItemOutcome)]
    made = [one for one in page if not isinstance(one, ItemOutcome)]
    found = _swap_page(conn, context, claimed, made, now_us)
    queue.settle(conn, claimed.id, met, tries=claimed.tries)
    _note_tries(conn, claimed, met, now_us, written=False)
    _note_tries(conn, claimed, found, now_us, written=True)
    return met, found


def _tell_journal(context: Context) -> None:
    """What fills a note of the journal goes there between two pages, as whoever else flushes it would have it: so the
    outbox is no longer than a note and a page. A store that does not answer is left to who flushes the rest."""
    with timed("journal"), contextlib.suppress(StoreError):
        context.journal.flush(full=True)


def _note_tries(
    conn: sa.Connection, claimed: ClaimedJob, outcomes: Sequence[ItemOutcome], now_us: int, *, written: bool
) -> None:
    """What became of the tries that these items were charged for: what was `written` and then not taken was a try."""
    if claimed.plan_id is not None:
        ledger.tried(
            conn,
            claimed.plan_id,
            claimed.id,
            done=[o.object_id for o in outcomes if o.state is ItemState.DONE],
            untried=[] if written else [o.object_id for o in outcomes if o.state in UNTRIED],
            now_us=now_us,
        )


def _finish(
    conn: sa.Connection,
    context: Context,
    claimed: ClaimedJob,
    outcomes: Iterable[ItemOutcome],
    now_us: int,
    *,
    lost: Iterable[str] | None = None,
) -> JobState:
    """The end of a job of whose items it is recorded what became of them. `lost`: attempts that came to nothing; None:
    all that are left. Raises LeaseLost."""
    queue.renew(conn, claimed, now_us=now_us, lease_us=context.settings.workers.lease)
    queue.bury_attempts(conn, claimed.id, note="the attempt was discarded", now_us=now_us, only=lost)
    state = queue.finish(conn, claimed, outcomes, now_us=now_us)
    if claimed.plan_id is not None:
        ledger.pay_back(conn, claimed.id, now_us=now_us)
    return state


def _swap_page(
    conn: sa.Connection,
    context: Context,
    claimed: ClaimedJob,
    staged: Sequence[Staged | Transitioned],
    now_us: int,
) -> list[ItemOutcome]:
    """Move the pointers of these, as far as they are what they were when the job was claimed and their attempt was not
    discarded, or its blob released, meanwhile; that is recorded. Raises LeaseLost."""
    queue.hold(conn, claimed, now_us=now_us, lease_us=context.settings.workers.lease)
    page = changes.Page(conn, [s.aim for s in staged])
    asked = {s.aim.attempt for s in staged}
    waiting = attempts.staged(conn, claimed.id, asked)
    alive = waiting.keys() | blobs.lock(conn, asked - waiting.keys())  # of a pack, from its second page on
    of = {s.aim.id: s for s in staged}
    others = attempts.told(conn, waiting, _proven(s for s in staged if _is_another(s)))

    def moved(now: Seen) -> Change:
        if of[now.id].aim.attempt not in alive:
            raise Stale(MEANWHILE)
        return _change(now, of[now.id], until_us=now_us + of[now.id].aim.to.grace_us, others=others)

    made = page.judge(moved, otherwise=MEANWHILE)
    done = [of[c.seen.id] for c in made]
    known = _proven(s for s in done if not _is_another(s))
    attempts.become_blobs(conn, waiting, [p for p in known if p.attempt in waiting])
    attempts.propose(conn, [c.blob["id"] for c in made if c.blob])
    attempts.commit(conn, [s.aim.attempt for s in done if isinstance(s, Transitioned)])
    if claimed.pack is not None and done:
        blobs.add_live(conn, {done[0].aim.attempt: sum(c.placement.size for c in made)})
    why = context.why(claimed.reason, job_id=claimed.id, plan_id=claimed.plan_id)
    refused = [ItemOutcome(number, page.name(number), ItemState.SKIPPED, note) for number, note in page.refused.items()]
    outcomes = [_outcome(c.seen, of[c.seen.id]) for c in made]
    if claimed.members is None:
        _note_purge(conn, [s.aim for s in done])
        changes.record(conn, made, now_us=now_us, why=why)
        queue.settle(conn, claimed.id, refused + outcomes)
    else:
        packed = [_into_pack(c, of[c.seen.id], now_us) for c in made]
        together.record(conn, packed, blob=claimed.members.attempt, job_id=claimed.id, now_us=now_us, why=why)
        queue.settle(conn, claimed.id, refused)
    return refused + outcomes


def _into_pack(change: Change, s: Staged | Transitioned, now_us: int) -> Swapped:
    to = s.aim.to
    place = (s.offset, s.packed_before) if isinstance(s, Staged) else (0, 0)
    purge = isinstance(to, ToTier) and to.purge
    return Swapped(change, *place, _stored(s, change.placement.size), now_us + to.grace_us, purge)


def lies_so(context: Context, item: Item, spec: CodecSpec) -> bool:
    """Whether it is in the item's tier and in this form already."""
    blob = current(item.seen).blob
    if blob is None:
        return spec == IDENTITY and tier_of(item.to) == context.dataset(item.seen.placement.dataset).tier
    return (blob.tier, blob.codec) == (tier_of(item.to), spec.name)


def _change(found: Seen, s: Staged | Transitioned, *, until_us: int, others: Mapping[str, Entry]) -> Change:
    p, it = found.placement, s.aim
    if isinstance(s, Transitioned):
        new = transition(p, was=s.was, identity=s.stat.identity, storage_class=s.stat.storage_class)
        return Change(found, new, "transition")
    if isinstance(it.to, ToRoot):
        placement = returned(
            replace(p, digest=s.digest),
            identity=s.stat.identity,
            attempt=it.attempt,
            storage_class=s.stat.storage_class,
            until_us=until_us,
        )
        return Change(found, placement, "eject", s.note)
    if s.another:
        made = Replica(it.attempt, 0, s.encoded.stored_size, p.generation, ReplicaState.CURRENT, edition=it.attempt)
        new = derive(p, made, of=s.digest, digest=s.encoded.stored_digest, metadata=s.metadata, until_us=until_us)
        return Change(found, new, "derive", blob=others[it.attempt])
    place = (it.attempt, s.offset, p.size, p.generation, ReplicaState.CURRENT)
    made = Replica(*place, edition=p.edition, packed_before=s.packed_before)
    return Change(found, swapped(p, made, digest=s.digest, metadata=s.metadata, until_us=until_us), "swap")


def _stored(s: Staged | Transitioned, size: int) -> int:
    """What counts as stored of an object of this size."""
    if isinstance(s, Transitioned):
        return s.stat.size
    return share(s.encoded.stored_size, s.packed_bytes, size, s.packed_before)


def _outcome(was: Seen, s: Staged | Transitioned) -> ItemOutcome:
    p = was.placement
    note = (s.note or s.aim.note) if isinstance(s, Staged) else ""
    return ItemOutcome(
        was.id,
        p.name,
        ItemState.DONE,
        note,
        before_bytes=current(was).bytes if p.current else p.size_of(p.raw),
        after_bytes=_stored(s, p.size),
        codec=s.form if isinstance(s, Staged) else IDENTITY.name,
    )


def _is_another(s: Staged | Transitioned) -> bool:
    return isinstance(s, Staged) and s.another


def _proven(staged: Iterable[Staged | Transitioned]) -> list[Proven]:
    """What was stored in tiers, each blob once."""
    made = {s.aim.attempt: s for s in staged if isinstance(s, Staged) and tier_of(s.aim.to)}
    return [
        Proven(
            attempt,
            s.form,
            s.encoded.stored_size,
            s.stat.identity,
            s.encoded.stored_digest,
            s.encoded.index,
            s.packed_bytes,
        )
        for attempt, s in made.items()
    ]


def _note_purge(conn: sa.Connection, aims: Sequence[Aim]) -> None:
    """Whether the older versions of a source go with its release, as the policy that moved it says."""
    purges = {a.id: isinstance(a.to, ToTier) and a.to.purge for a in aims}
    for purge in (True, False):
        for part in chunks([number for number, said in purges.items() if said is purge]):
            other = sa.and_(objects.c.id.in_(part), objects.c.purge.is_not(purge))
            conn.execute(sa.update(objects).where(other).values(purge=purge))
