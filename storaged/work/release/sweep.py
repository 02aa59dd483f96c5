"""The sweeper: releases what was superseded when its grace is over, and clears away what attempts left behind.

Deleting is the last step of a long proof: the grace is over, nobody holds the object, the swap is durable in the
journal, the current replica is there with its proven identity and the source with its recorded one; then the intent
is taken under guard and made durable; only then the key is deleted, if it still has that identity.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from storaged.catalog import changes, placements, queue, totals
from storaged.catalog.placements import Change, Held
from storaged.catalog.schema import blobs, datasets, objects, outbox, replicas
from storaged.errors import ObjectNotFound, SourceChanged, StoragedError
from storaged.model import Blob, BlobState, Placement, RawState, Readers, ReplicaState
from storaged.placement import Stale, release_replica, release_source, replica_released, source_released
from storaged.stores.base import Deleted, lacking
from storaged.work import places
from storaged.work.content import is_there, prove
from storaged.work.context import Context
from storaged.work.location import current, of_blob, original
from storaged.work.places import UNCLAIMED, Looked
from storaged.work.proof import record
from storaged.work.release.folders import to_empty
from storaged.work.release.tombstones import Swept, clear_tombstones
from storaged.work.scan import stuck

BATCH: Final = 1_000  # objects whose release goes through one pair of transactions
UNCONDITIONAL: Final = (
    f"its store cannot delete exactly what is meant: the source stays ({lacking('delete_condition', 'delete_version')})"
)


def sweep(context: Context, *, progress: Callable[[str, int], None] = lambda _what, _n: None) -> Swept:
    """One pass over everything that is due. Safe at any moment, beside any number of workers and other sweepers.

    Raises ForeignClaim, and CatalogBehind also where the journal has a hole; what a single key's store refuses is
    reported, not raised.
    """
    context.ready()
    context.journal.flush()
    context.journal.check_whole()
    with ThreadPoolExecutor(context.settings.workers.threads, thread_name_prefix="sweep") as pool:
        one = _Pass(context, progress, pool)
        one.give_up_leases()
        one.sources()
        one.blobs()
        clear_tombstones(context, one.swept, progress)
    return one.swept


class _Pass:
    def __init__(self, context: Context, progress: Callable[[str, int], None], pool: ThreadPoolExecutor) -> None:
        self.context = context
        self.pool = pool
        self.progress = progress
        self.swept = Swept()
        self.emptied: list[int] = []  # folders that went, by released source
        self.looked = Looked()  # at the places that the present batch touches
        self.stuck: dict[int, str] = {}  # why sources of the present batch could not be deleted; empty: they could

    def give_up_leases(self) -> None:
        """Jobs whose worker died."""
        with self.context.catalog.begin() as conn:
            lease_us = self.context.settings.workers.lease
            queue.give_up_leases(conn, now_us=self.context.now_us(), lease_us=lease_us)
            totals.fold(conn)

    # -- superseded original keys ------------------------------------------------------------------------------

    def sources(self) -> None:
        after = 0
        while ids := self._due_objects(after):
            after = ids[-1]
            self._release_sources(ids)

    def _release_sources(self, ids: list[int]) -> None:
        with self.context.catalog.read() as conn:
            held = placements.load(conn, ids)
            holds, purges = _holds(conn), _purges(conn, ids)
        self._look_at_places(held.values())
        taken = [h for h in held.values() if h.placement.raw.state is RawState.RELEASING]
        judged = [
            h
            for h in held.values()
            if h.placement.raw.state is RawState.SUPERSEDED and not self._kept(h, holds) and self._source_is_right(h)
        ]
        judged = self._recorded(self._deletable(judged))
        taken += self._take_intent(judged, "release-source", lambda h, now: release_source(h.placement, now_us=now))
        self.context.journal.flush()
        self._look_at_places(taken)
        self.stuck = {h.id: "" for h in taken}
        gone = self._delete_all(taken, lambda h: self._delete_source(h, versions=h.id in purges))
        stuck.note(self.context, self.stuck)
        self._settle(gone, "source-released", lambda h: source_released(h.placement, identity=h.placement.raw.identity))
        self.swept.sources += len(gone)
        self.swept.folders = sum(self.emptied)
        self.progress("sources", len(gone))

    def _due_objects(self, after: int) -> list[int]:
        due = sa.or_(
            objects.c.raw_state == RawState.RELEASING.value,
            sa.and_(objects.c.raw_state == RawState.SUPERSEDED.value, objects.c.raw_until_us <= self.context.now_us()),
        )
        query = sa.select(objects.c.id).where(objects.c.id > after, due).order_by(objects.c.id).limit(BATCH)
        with self.context.catalog.read() as conn:
            return list(conn.execute(query).scalars())

    def _kept(self, held: Held, holds: Mapping[str, str | None]) -> bool:
        """Whether a guard that needs no look at the stores keeps what is due."""
        p = held.placement
        dataset = self.context.datasets.get(p.dataset)
        if dataset is None:
            why = "its dataset is not in the configuration"
        elif p.hold or dataset.hold or holds.get(p.dataset):
            why = "held"
        elif p.damaged:
            why = "damaged: see `storagectl verify`"
        elif held.fact_id:
            why = "a change by its user is being recorded"
        elif not self._at_hand(held):
            why = "its tier is away"
        elif (p.raw.state in _AT_ROOT or not p.exists) and original(p).place in self.looked.wrong:
            why = "its root is away"
        else:
            return False
        self.swept.keep(why)
        return True

    def _source_is_right(self, held: Held) -> bool:
        """MUST 7: the current replica is as it was proven and the source as it was recorded, right now.

        A source that is absent before the intent was removed by its user: the scan records that, it is never released.
        """
        p = held.placement
        source = original(p)
        try:
            if self.context.dataset(p.dataset).readers is Readers.RAW:
                why = "readers: raw"
            elif not self.context.store(source.place).traits.releases:
                why = UNCONDITIONAL
            elif source.place in self.looked.unclaimed:
                why = UNCLAIMED
            elif p.current is None or not is_there(self.context, current(held)):
                why = "the current replica is not as it was proven: see `storagectl verify`"
            elif not is_there(self.context, source):
                why = "its user changed the source: the next scan looks at it"
            else:
                return True
        except ObjectNotFound:
            why = "the source or the current replica is absent: scan, then verify"
        except StoragedError as error:
            why = "its store does not answer"
            self.swept.errors.append(f"{held.path}: {error.message}")
        self.swept.keep(why)
        return False

    def _deletable(self, judged: list[Held]) -> list[Held]:
        """Those whose source could be deleted, as far as that can be seen. The others stay superseded: undo is at once,
        and the next sweep looks again."""
        found = stuck.look(self.context, judged)
        for why in found.values():
            self.swept.keep(stuck.CANNOT + why)
        return [h for h in judged if h.id not in found]

    def _delete_all(self, held: list[Held], delete: Callable[[Held], int | None]) -> list[Held]:
        """Delete on many threads, since a store's answer is mostly waiting. Returns those whose key is gone."""
        freed = list(self.pool.map(delete, held))
        self.swept.freed_bytes += sum(n for n in freed if n is not None)
        return [h for h, n in zip(held, freed, strict=True) if n is not None]

    def _delete_source(self, held: Held, *, versions: bool) -> int | None:
        """The state is releasing and the intent is in the journal: delete the key if it still has that identity, and
        with `versions` what it held before.

        Returns the bytes that the store got back; None: it did not work, the next sweep goes on.
        """
        p, source = held.placement, original(held.placement)
        root = self.context.store(source.place)
        try:
            if source.place in {*self.looked.wrong, *self.looked.unclaimed}:
                return None
            if not root.traits.releases:
                self.swept.keep(UNCONDITIONAL)
                self.stuck[held.id] = UNCONDITIONAL
                return None
            with to_empty(self.context, p) as folders:
                found = root.delete(source.key, identity=source.identity, versions=versions)
                self.emptied.append(folders.remove_empty() if found is Deleted.DELETED else 0)
        except StoragedError as error:
            if stuck.lasting(error):
                self.stuck[held.id] = stuck.in_words(error)
            else:
                del self.stuck[held.id]  # nothing is known
            self.swept.errors.append(f"{held.path}: {stuck.in_words(error)}")
            return None
        # Absent: ours, from before a crash. Changed: the source is gone all the same, the scan adopts what is there.
        other_names = p.metadata.get("links", "1") != "1"  # then its blocks stay
        return p.at_root_bytes if found is Deleted.DELETED and not other_names else 0

    # -- superseded replicas -----------------------------------------------------------------------------------

    def blobs(self) -> None:
        after = ""
        while rows := self._due_blobs(after):
            after = rows[-1][1]
            self._release_blobs(dict(rows))

    def _due_blobs(self, after: str) -> list[tuple[int, str]]:
        """(object id, blob id) of at most one due replica per object."""
        due = sa.or_(
            replicas.c.state == ReplicaState.RELEASING.value,
            sa.and_(replicas.c.state == ReplicaState.SUPERSEDED.value, replicas.c.until_us <= self.context.now_us()),
        )
        query = (
            sa.select(replicas.c.object_id, replicas.c.blob_id)
            .where(due, replicas.c.blob_id > after)
            .order_by(replicas.c.blob_id)
            .limit(BATCH)
        )
        found: dict[int, str] = {}
        with self.context.catalog.read() as conn:
            for object_id, blob_id in conn.execute(query):
                if object_id in found:  # its other replica waits for the next batch
                    break
                found[object_id] = blob_id
        return list(found.items())

    def _release_blobs(self, blob_of: dict[int, str]) -> None:
        def state(h: Held) -> ReplicaState:
            return next(r.state for r in h.placement.replicas if r.blob == blob_of[h.id])

        with self.context.catalog.read() as conn:
            held = placements.load(conn, blob_of)
            holds = _holds(conn)
        self._look_at_places(held.values())
        taken = [h for h in held.values() if state(h) is ReplicaState.RELEASING and self._at_hand(h)]
        judged = [
            h
            for h in held.values()
            if state(h) is ReplicaState.SUPERSEDED and not self._kept(h, holds) and self._current_is_right(h)
        ]
        judged = self._recorded(judged)
        taken += self._take_intent(
            judged, "release-blob", lambda h, now: release_replica(h.placement, blob_of[h.id], now_us=now)
        )
        ids = [blob_of[h.id] for h in taken]
        with self.context.catalog.begin() as conn:
            conn.execute(sa.update(blobs).where(blobs.c.id.in_(ids)).values(state=BlobState.RELEASING.value))
        self.context.journal.flush()
        self._look_at_places(taken)
        gone = self._delete_all(taken, lambda h: self._delete_blob(h, blob_of[h.id]))
        self._settle(gone, "blob-released", lambda h: replica_released(h.placement, blob_of[h.id]))
        with self.context.catalog.begin() as conn:
            unused = ~sa.exists().where(replicas.c.blob_id == blobs.c.id)
            conn.execute(sa.delete(blobs).where(blobs.c.id.in_([blob_of[h.id] for h in gone]), unused))
        self.swept.blobs += len(gone)
        self.progress("blobs", len(gone))

    def _at_hand(self, held: Held) -> bool:
        """Whether every tier that it is in is there: a key of one that is not mounted only looks deleted."""
        return not any(
            blob.tier in self.context.away or of_blob(blob).place in self.looked.wrong for blob in held.blobs.values()
        )

    def _look_at_places(self, held: Iterable[Held]) -> None:
        """Before each batch of effects: are the roots and tiers of these objects what they are called, right now?"""
        self.looked = places.look(self.context, places.holding(held))

    def _recorded(self, judged: list[Held]) -> list[Held]:
        """The same objects, after identities under which blobs of theirs proved right anew went into the catalog."""
        again = record(self.context, judged)
        return [again.get(h.id, h) for h in judged]

    def _current_is_right(self, held: Held) -> bool:
        """The object is gone for good, or its current place shows the identity that the catalog holds."""
        p = held.placement
        if not p.exists:
            return True
        try:
            right = is_there(self.context, current(held))
        except ObjectNotFound:
            right = False
        except StoragedError as error:
            self.swept.errors.append(f"{held.path}: {error.message}")
            return False
        if not right:
            self.swept.keep("its current place is not as the catalog holds it: scan, then verify")
        return right

    def _delete_blob(self, held: Held, blob_id: str) -> int | None:
        blob = held.blobs[blob_id]
        try:
            if of_blob(blob).place in self.looked.wrong:
                return None
            found = self._delete_as_it_is(blob)
        except StoragedError as error:
            self.swept.errors.append(f"{blob.tier}:{blob.key}: {error.message}")
            return None
        if found is Deleted.CHANGED:
            self.swept.errors.append(f"{blob.tier}:{blob.key}: not the blob that we wrote there; left alone")
            return None
        return blob.size if found is Deleted.DELETED else 0

    def _delete_as_it_is(self, blob: Blob) -> Deleted:
        """Delete a blob under the identity that was proven, or under another that proves right now."""
        store = self.context.store(of_blob(blob).place)
        found = store.delete(blob.key, identity=blob.identity)
        if found is Deleted.CHANGED:
            with contextlib.suppress(SourceChanged, ObjectNotFound):
                return store.delete(blob.key, identity=prove(self.context, blob))
        return found

    # -- both --------------------------------------------------------------------------------------------------

    def _take_intent(self, judged: list[Held], kind: str, change: Callable[[Held, int], Placement]) -> list[Held]:
        """The guarded transaction superseded -> releasing, for those that still are what they were judged on and whose
        swap is durable. Returns them as they are now."""
        if not judged:
            return []
        now = self.context.now_us()
        with self.context.catalog.begin() as conn:
            page = changes.Page(conn, judged)
            undurable = sa.select(outbox.c.object_id).where(outbox.c.object_id.in_([h.id for h in judged]))
            waiting, holds = set(conn.execute(undurable).scalars()), _holds(conn)

            def taken(h: Held) -> Change:
                if h.id in waiting:
                    raise Stale("its swap is not in the journal yet")
                if h.placement.hold or holds.get(h.placement.dataset) or h.placement.damaged:
                    raise Stale("held or damaged since it was looked at")
                return Change(h, change(h, now), kind)

            made = page.judge(taken)
            changes.record(conn, made, now_us=now, why=self.context.why("grace is over"))
        return [replace(c.held, placement=c.placement, version=c.held.version + 1) for c in made]

    def _settle(self, held: list[Held], kind: str, change: Callable[[Held], Placement]) -> None:
        """Record what is gone from the stores. The stores tell it again after a loss: no journal entry."""
        if not held:
            return
        with self.context.catalog.begin() as conn:  # what another sweeper recorded is refused
            made = changes.Page(conn, held, any_version=True).judge(lambda h: Change(h, change(h), kind))
            changes.record(conn, made, now_us=self.context.now_us(), why=self.context.why())


_AT_ROOT: Final = (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING)


def _holds(conn: sa.Connection) -> dict[str, str | None]:
    """Legal holds on whole datasets."""
    return {row.name: row.hold for row in conn.execute(sa.select(datasets.c.name, datasets.c.hold))}


def _purges(conn: sa.Connection, ids: Iterable[int]) -> set[int]:
    """Objects whose source's older versions go with it, because a policy says so."""
    return set(conn.execute(sa.select(objects.c.id).where(objects.c.id.in_(list(ids)), objects.c.purge)).scalars())
