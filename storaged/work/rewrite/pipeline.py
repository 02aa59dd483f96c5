"""The one operation that touches users' bytes: stage, prove, swap. (docs/design.md has the order and its MUSTs.)

`stage` writes one attempt's blob and proves it; `swap` moves the pointers of a whole batch in one transaction. The
intent rows of the batch exist before `stage` is called (storaged.catalog.queue.claim), and nothing is deleted here:
a discarded attempt's row becomes a tombstone and the sweeper looks after its key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa

from storaged.catalog import attempts, changes, ledger, placements, queue
from storaged.catalog.attempts import Proven
from storaged.catalog.items import Item, ToRoot, ToTier, codec_of, tier_of
from storaged.catalog.placements import Change, Held
from storaged.catalog.queue import Claimed, Outcome
from storaged.catalog.schema import objects
from storaged.clock import timed
from storaged.codecs.base import Content, Encoded
from storaged.codecs.registry import codec, compresses
from storaged.decide.sentence import locked_words
from storaged.errors import RefusedByGuard, SourceChanged, StoreError, VerificationFailed
from storaged.model import (
    IDENTITY,
    CodecSpec,
    ItemState,
    JobState,
    Origin,
    RawState,
    Replica,
    ReplicaState,
)
from storaged.placement import Stale, returned, transition
from storaged.placement import swap as swapped
from storaged.stores.base import New, Reader, Stat, Store
from storaged.stores.losses import differences
from storaged.work.content import open_current, stored_digest
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.rewrite.returns import no_return, no_way_in, room_for

MEANWHILE: Final = "changed while it was copied"
PARALLEL_FROM: Final = 4 << 20  # bytes of content; below that one thread encodes the object by itself


@dataclass(frozen=True, slots=True)
class Staged:
    """A proven blob that waits for its swap."""

    item: Item
    stat: Stat
    encoded: Encoded
    metadata: Mapping[str, str]  # of the original
    differs: str = ""  # what the original has otherwise now that it is back, in words


@dataclass(frozen=True, slots=True)
class Transitioned:
    """An original key in another storage class, that waits to be recorded (storaged.work.rewrite.transition)."""

    item: Item
    stat: Stat


def stage(context: Context, item: Item, *, executor: Executor | None = None) -> Staged:
    """Write the attempt's blob from the object's current place and prove it. Changes nothing in the catalog.

    Raises SourceChanged or ObjectNotFound if the source is not the one in the catalog (before or after), and
    VerificationFailed if what was stored is not what was read, RefusedByGuard where it could not be proven or freed.
    """
    held = item.held
    p = held.placement
    tier, spec = tier_of(item.to), codec_of(item.to)
    store = context.tier(tier) if tier else context.root(p.dataset)
    encoder = codec(spec.name)
    _may_be_written(item, store)
    if tier is None:
        room_for(store, p)
    archive = tier is not None and not store.traits.at_once
    if archive and not store.traits.checksums:
        raise RefusedByGuard(
            f"{p.name} stays where it is: what is in an archive class cannot be read back at once, and {store.url} "
            "tells no checksum of what it stored",
            hint="give the tier another storage class, or put it on a store that has checksums",
        )
    given_back = p.metadata if tier is None else None
    origin = Origin(
        context.identity.catalog,
        item.attempt,
        p.dataset,
        p.name,
        p.generation,
        current(held).identity,
        p.size,
        p.mtime_us,
        p.digest,
    )
    with contextlib.ExitStack() as stack:
        with timed("source"):
            _locked(context, item)
            source = stack.enter_context(open_current(context, held))
            metadata = p.metadata if p.current else _of_the_original(context, item, source.reader)
        with timed("write"):
            upload = stack.enter_context(
                store.create(
                    item.key,
                    New(
                        item.attempt,
                        mtime_us=p.mtime_us,
                        size=encoder.at_most(p.size),
                        origin=origin,
                        metadata=given_back,
                    ),
                )
            )
        if source.size != p.size:
            raise SourceChanged(f"{p.name} has {source.size} bytes, the catalog holds {p.size}", key=p.name)

        def write(data: bytes) -> None:
            with timed("write"):
                upload.write(data)

        with timed("compress" if compresses(spec) else "digest"):
            encoded = encoder.encode(
                _Timed(source, source.size),
                write,
                spec=spec,
                origin=origin,
                executor=executor if p.size >= PARALLEL_FROM else None,
            )
        if encoded.size != p.size or (p.digest and encoded.digest != p.digest):
            raise VerificationFailed(f"{p.name}: its content is not what the catalog recorded; nothing was changed")
        _may_be_written(item, store)  # once more: the bucket may keep versions by now, where other rules hold
        with timed("write"):
            stat = upload.commit(encoded.origin, metadata=given_back)
        if tier is None:
            with timed("catalog"), context.catalog.begin() as conn:
                attempts.made_visible(conn, item.attempt, identity=stat.identity, digest=encoded.digest)
        proven = upload.proven
    if archive and not proven:
        raise VerificationFailed(f"{item.key}: {store.url} told no checksum of it; the attempt is discarded")
    if not proven:
        with timed("prove"):
            _read_back(store, item.key, stat, encoded)
    with timed("re-check"):
        _recheck(context, held, source.identity)
        differs = _came_back_with(store, item, stat) if tier is None else ""
    return Staged(item, stat, encoded, metadata, differs)


def _may_be_written(item: Item, store: Store) -> None:
    """Raises RefusedByGuard where a write-back could replace what a user puts there at the same moment. A blob's key is
    its attempt's alone, so that nothing is asked of a tier."""
    if not isinstance(item.to, ToRoot):
        return
    if why := no_return(store, item.held.placement.size) or no_way_in(store, item.key):
        raise RefusedByGuard(why)


@dataclass(frozen=True, slots=True)
class _Timed:
    """Content, the reading of which counts as a stage of its own."""

    content: Content
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        with timed("read"):
            return self.content.read_at(offset, length)


def _locked(context: Context, item: Item) -> None:
    """What is locked at its original key cannot be released, so moving it would free nothing. Raises RefusedByGuard."""
    p = item.held.placement
    if not isinstance(item.to, ToTier) or p.raw.state is not RawState.CURRENT or not item.held.locks:
        return
    until = context.root(p.dataset).locked_until(p.name)
    if until is not None:
        with context.catalog.begin() as conn:
            placements.lock(conn, {item.held.id: until})  # so that no plan picks it before that
        raise RefusedByGuard(f"{p.name} is {locked_words(until)}: nothing would be freed")


def _of_the_original(context: Context, item: Item, source: Reader) -> Mapping[str, str]:
    """The metadata of an object that was opened at its original key. Raises RefusedByGuard if some of it, that no
    policy allows to be lost, could not be given back there."""
    root, name = context.root(item.held.placement.dataset), item.held.placement.name
    metadata = source.metadata()
    allowed = item.to.allow_loss if isinstance(item.to, ToTier) else frozenset()
    lost = {what: words for what, words in root.not_restorable(metadata).items() if what not in allowed}
    if lost:
        raise RefusedByGuard(
            f"{name} would lose {' and '.join(lost.values())}; `allow_loss: [{', '.join(lost)}]` lets it go"
        )
    return metadata


def _read_back(store: Store, key: str, stat: Stat, encoded: Encoded) -> None:
    """What is stored is what was handed over: size and digest of the stored bytes, read again from the store."""
    with store.open(key, identity=stat.identity) as reader:
        if reader.stat.size != encoded.stored_size or stored_digest(reader) != encoded.stored_digest:
            raise VerificationFailed(f"{key}: what {store.url} stored is not what was sent; the attempt is discarded")


def _came_back_with(store: Store, item: Item, stat: Stat) -> str:
    """What is beside the bytes now otherwise than when they left, in words. The bytes are back, whatever it is."""
    before = item.held.placement.metadata
    try:
        with store.open(item.key, identity=stat.identity) as reader:
            found = differences(before, reader.metadata(), store.not_restorable(before))
    except StoreError as error:
        return f"what came back beside the bytes could not be looked at: {error.message}"
    return f"it did not come back as it left: {'; '.join(found)}" if found else ""


def _recheck(context: Context, held: Held, opened: str) -> None:
    """Right before the swap: the source still has the identity that it was opened under."""
    here, name = current(held), held.placement.name
    if context.store(here.place).identity(here.key) != opened:
        raise SourceChanged(f"{name} was changed while it was copied; the attempt is discarded", key=name)


def swap(
    context: Context, claimed: Claimed, staged: Sequence[Staged | Transitioned], outcomes: Sequence[Outcome]
) -> tuple[JobState, list[Outcome]]:
    """One transaction for the whole batch: pointers move to the proven blobs, attempts that failed become tombstones,
    the job is over or goes back to the queue. Raises LeaseLost (nothing done) if the job is not ours any more.

    Write-backs to original keys are facts: they wait in the outbox and become true when the journal has them.
    """
    now_us = context.now_us()
    why = context.why(claimed.reason, job_id=claimed.id, plan_id=claimed.plan_id)
    with context.catalog.begin() as conn:
        queue.renew(conn, claimed, now_us=now_us, lease_us=context.settings.workers.lease)
        page = changes.Page(conn, [s.item.held for s in staged])
        alive = attempts.staged(conn, claimed.id)
        of = {s.item.held.id: s for s in staged}

        def moved(now: Held) -> Change:
            if of[now.id].item.attempt not in alive:
                raise Stale(MEANWHILE)
            return _change(now, of[now.id], until_us=now_us + of[now.id].item.to.grace_us)

        made = page.judge(moved, otherwise=MEANWHILE)
        done = [of[c.held.id] for c in made]
        results = [
            *outcomes,
            *(Outcome(number, ItemState.SKIPPED, note) for number, note in page.refused.items()),
            *(_outcome(c.held, of[c.held.id]) for c in made),
        ]
        attempts.become_blobs(conn, alive, _proven(done))
        attempts.commit(conn, [s.item.attempt for s in done if isinstance(s, Transitioned)])
        _note_purge(conn, [s.item for s in done])
        changes.record(conn, made, now_us=now_us, why=why)
        committed = {s.item.attempt for s in done}
        lost = [i.attempt for i in claimed.items if i.attempt not in committed]
        queue.bury_attempts(conn, claimed.id, note="the attempt was discarded", now_us=now_us, only=lost)
        state = queue.finish(conn, claimed, results, now_us=now_us)
        if claimed.plan_id is not None:
            ledger.tried(
                conn,
                claimed.id,
                done=[o.object_id for o in results if o.state is ItemState.DONE],
                untried=[o.object_id for o in outcomes if o.state in (ItemState.SKIPPED, ItemState.PENDING)],
                now_us=now_us,
            )
    return state, results


def lies_so(context: Context, item: Item, spec: CodecSpec) -> bool:
    """Whether it is in the item's tier and in this form already."""
    blob = current(item.held).blob
    if blob is None:
        return spec == IDENTITY and tier_of(item.to) == context.dataset(item.held.placement.dataset).tier
    return (blob.tier, blob.codec) == (tier_of(item.to), spec.name)


def _change(found: Held, s: Staged | Transitioned, *, until_us: int) -> Change:
    p, it = found.placement, s.item
    if isinstance(s, Transitioned):
        was = it.held.placement.raw.identity
        new = transition(p, was=was, identity=s.stat.identity, storage_class=s.stat.storage_class)
        return Change(found, new, "transition")
    if isinstance(it.to, ToRoot):
        placement = returned(
            replace(p, digest=s.encoded.digest),
            identity=s.stat.identity,
            attempt=it.attempt,
            storage_class=s.stat.storage_class,
            until_us=until_us,
        )
        return Change(found, placement, "eject", s.differs)
    made = Replica(it.attempt, 0, p.size, p.generation, ReplicaState.CURRENT)
    return Change(found, swapped(p, made, digest=s.encoded.digest, metadata=s.metadata, until_us=until_us), "swap")


def _outcome(was: Held, s: Staged | Transitioned) -> Outcome:
    after = s.encoded.stored_size if isinstance(s, Staged) else s.stat.size
    note = (s.differs or s.item.note) if isinstance(s, Staged) else ""
    return Outcome(
        was.id,
        ItemState.DONE,
        note,
        before_bytes=current(was).bytes,
        after_bytes=after,
        codec=codec_of(s.item.to).name,
    )


def _proven(staged: Sequence[Staged | Transitioned]) -> list[Proven]:
    """What was stored in tiers."""
    return [
        Proven(
            s.item.attempt,
            codec_of(s.item.to).name,
            s.encoded.stored_size,
            s.stat.identity,
            s.encoded.stored_digest,
            s.encoded.index,
        )
        for s in staged
        if isinstance(s, Staged) and isinstance(s.item.to, ToTier)
    ]


def _note_purge(conn: sa.Connection, items: Sequence[Item]) -> None:
    """Whether the older versions of a source go with its release, as the policy that moved it says."""
    if items:
        conn.execute(
            sa.update(objects).where(objects.c.id == sa.bindparam("b_id")).values(purge=sa.bindparam("b_purge")),
            [{"b_id": i.held.id, "b_purge": isinstance(i.to, ToTier) and i.to.purge} for i in items],
        )


def mark_no_gain(conn: sa.Connection, why: Sequence[tuple[Item, str]]) -> None:
    """Remember that these generations do not shrink or are not taken, so that no plan picks them again for it, and why,
    in words that name the codec: of each codec that was asked about this generation."""
    o = objects.c
    words: sa.BindParameter[str] = sa.bindparam("b_why", type_=sa.Text())
    told = sa.and_(o.no_gain == o.generation, o.not_taken.is_not(None))
    both = sa.case((o.not_taken.contains(words), o.not_taken), else_=o.not_taken + "; " + words)
    conn.execute(
        sa.update(objects)
        .where(o.id == sa.bindparam("b_id"), o.generation == sa.bindparam("b_generation"))
        .values(no_gain=sa.bindparam("b_generation"), not_taken=sa.case((told, both), else_=words)),
        [{"b_id": i.held.id, "b_generation": i.held.placement.generation, "b_why": said} for i, said in why],
    )
