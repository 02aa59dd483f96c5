"""Superseded replicas: each object leaves its blob by itself, and a blob's key is deleted when nothing in it is needed.

A blob may hold slices of many objects. What is deleted is its key, once, when every replica in it is releasing and the
intent of each of them is in the journal. An object that leaves a blob which others still use takes its own intent, has
it made durable, and only then its row is dropped, under a lock of the blob's row: so that of two sweepers at least one
sees that nobody is left.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from storaged.catalog import changes, placements
from storaged.catalog.blobs import UNUSED, add_live, lock, releasing
from storaged.catalog.placements import Change, Seen
from storaged.catalog.schema import blobs, outbox, replicas
from storaged.errors import ObjectNotFound, SourceChanged, StoragedError
from storaged.model import Blob, BlobState, ReplicaState
from storaged.placement import Stale, release_replica, replica_released
from storaged.stores.base import Deleted
from storaged.work import places
from storaged.work.content import prove
from storaged.work.location import current, of_blob
from storaged.work.release.guarded import BATCH, Guarded, holds_of

_MAY_BE_EMPTY: Final = (  # each as an index has it
    sa.and_(blobs.c.state != BlobState.LIVE.value, blobs.c.state == BlobState.RELEASING.value),
    sa.and_(blobs.c.packed_bytes > 0, blobs.c.state == BlobState.LIVE.value),
)


class Blobs(Guarded):
    """Releases what lies in tiers."""

    def release(self) -> None:
        """All that is due, and blobs that nobody is left in."""
        after = ("", 0)
        while rows := self._page(self._due(), after):
            after = rows[-1]
            self._release({object_id: blob_id for blob_id, object_id in rows})
        seen = ""
        while found := self._unused(seen):
            seen = found[-1].id
            self.looked = places.look(self.context, {of_blob(b).place for b in found})
            self._delete_keys(found)

    def _due(self) -> sa.ColumnElement[bool]:
        over = sa.and_(replicas.c.state == ReplicaState.SUPERSEDED.value, replicas.c.until_us <= self.context.now_us())
        return sa.or_(replicas.c.state == ReplicaState.RELEASING.value, over)

    def _page(self, which: sa.ColumnElement[bool], after: tuple[str, int]) -> list[tuple[str, int]]:
        """(blob id, object id) of such replicas behind `after`, at most one per object."""
        place = (replicas.c.blob_id, replicas.c.object_id)
        query = sa.select(*place).where(which, sa.tuple_(*place) > after).order_by(*place).limit(BATCH)
        found: dict[int, str] = {}
        with self.context.catalog.read() as conn:
            for blob_id, object_id in conn.execute(query):
                if object_id in found:  # its other replica waits for the next page
                    break
                found[object_id] = blob_id
        return [(blob_id, object_id) for object_id, blob_id in found.items()]

    def _release(self, blob_of: Mapping[int, str]) -> None:
        def state(h: Seen) -> ReplicaState | None:
            mine = h.placement.replica_in(blob_of[h.id])
            return mine.state if mine else None

        with self.context.catalog.read() as conn:
            seen = placements.load(conn, blob_of)
            holds = holds_of(conn)
        self._look_at_places(seen.values())
        taken = [h for h in seen.values() if state(h) is ReplicaState.RELEASING and self._at_hand(h)]
        due = (h for h in seen.values() if state(h) is ReplicaState.SUPERSEDED and not self._kept(h, holds))
        judged = self._near(due, self._current_is_right)
        judged = self._recorded(judged)
        taken += self._take_intent(
            judged, "release-blob", lambda h, now: release_replica(h.placement, blob_of[h.id], now_us=now)
        )
        self.context.journal.flush()
        self._look_at_places(taken)
        theirs = {blob_of[h.id]: h.blobs[blob_of[h.id]] for h in taken}
        over = self._leave(taken, blob_of)
        self._delete_keys([theirs[blob_id] for blob_id in over])

    def _leave(self, taken: list[Seen], blob_of: Mapping[int, str]) -> list[str]:
        """Drop the rows of those that leave a blob in which others stay. Returns the blobs that nobody needs any more:
        every replica in them is releasing, and nothing of any of these objects waits for the journal."""
        ids = sorted({blob_of[h.id] for h in taken})
        if not ids:
            return []
        in_them = replicas.c.blob_id.in_(ids)
        needed = sa.select(replicas.c.blob_id).where(in_them, replicas.c.state != ReplicaState.RELEASING.value)
        waiting = sa.select(replicas.c.blob_id, outbox.c.object_id)
        waiting = waiting.join(outbox, outbox.c.object_id == replicas.c.object_id).where(in_them)
        with self.context.catalog.begin() as conn:
            page = changes.Page(conn, taken, any_version=True)
            lock(conn, ids)
            shared = set(conn.execute(needed.distinct()).scalars())
            rows = conn.execute(waiting.distinct()).all()
            waits, undurable = {row.blob_id for row in rows}, {row.object_id for row in rows}

            def left(h: Seen) -> Change:
                if blob_of[h.id] not in shared or h.id in undurable:
                    raise Stale("it goes with its blob, or its intent is not in the journal yet")
                return Change(h, replica_released(h.placement, blob_of[h.id]), "replica-released")

            gone = page.judge(left)
            lengths: Counter[str] = Counter()
            for c in gone:
                if mine := c.seen.placement.replica_in(blob_of[c.seen.id]):
                    lengths[mine.blob] -= mine.length
            self.swept.left += len(gone)
            add_live(conn, lengths)
            changes.record(conn, gone, now_us=self.context.now_us(), why=self.context.why())
            over = [i for i in ids if i not in shared | waits]
            releasing(conn, over)
        return over

    def _unused(self, after: str) -> list[Blob]:
        """Blobs behind `after` in which nobody has anything any more: the last ones left them one by one."""
        behind = [sa.select(blobs.c.id).where(one, UNUSED, blobs.c.id > after) for one in _MAY_BE_EMPTY]
        with self.context.catalog.read() as conn:
            ids = list(conn.execute(sa.union_all(*behind).order_by("id").limit(BATCH)).scalars())
        if not ids:
            return []
        with self.context.catalog.begin() as conn:
            lock(conn, ids)
            mine = (blobs.c.id.in_(ids), sa.or_(*_MAY_BE_EMPTY), UNUSED)
            still = list(conn.execute(sa.select(blobs.c.id).where(*mine)).scalars())
            releasing(conn, still)
            return sorted(placements.load_blobs(conn, still).values(), key=lambda b: b.id)

    def _delete_keys(self, over: list[Blob]) -> None:
        """Delete the keys of blobs that nobody needs, and then their rows, with those of everybody in them. Who cannot
        be told so now keeps both, and the next sweep goes on."""
        gone = [b.id for b in self._delete_all(over, self._delete_blob, lambda b: of_blob(b).place)]
        after = ("", 0)
        while gone and (rows := self._page(replicas.c.blob_id.in_(gone), after)):
            after = rows[-1]
            self._forget({object_id: blob_id for blob_id, object_id in rows})
        with self.context.catalog.begin() as conn:
            conn.execute(sa.delete(blobs).where(blobs.c.id.in_(gone), UNUSED))
        self.swept.blobs += len(gone)
        self.progress("blobs", len(gone))

    def _forget(self, blob_of: Mapping[int, str]) -> None:
        """Drop the rows of these in blobs that are deleted."""
        with self.context.catalog.read() as conn:
            seen = list(placements.load(conn, blob_of).values())
        self._settle(seen, "blob-released", lambda h: replica_released(h.placement, blob_of[h.id]))

    def _current_is_right(self, seen: Seen) -> bool:
        """The object is gone for good, or its current place shows the identity that the catalog holds."""
        p = seen.placement
        if not p.exists:
            return True
        try:
            right = self._is_there(current(seen))
        except ObjectNotFound:
            right = False
        except StoragedError as error:
            self.swept.errors.append(f"{seen.path}: {error.message}")
            return False
        if not right:
            self.swept.keep("its current place is not as the catalog holds it: scan, then verify")
        return right

    def _delete_blob(self, blob: Blob) -> int | None:
        """Every replica in it is releasing and that is in the journal: delete the key if it still is that blob.

        Returns the bytes that the store got back; None: it did not work, the next sweep goes on.
        """
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
        return blob.size if self._found(found) else 0

    def _delete_as_it_is(self, blob: Blob) -> Deleted:
        """Delete a blob under the identity that was proven, or under another that proves right now."""
        store = self.context.store(of_blob(blob).place)
        found = store.delete(blob.key, identity=blob.identity)
        if found is Deleted.CHANGED:
            with contextlib.suppress(SourceChanged, ObjectNotFound):
                return store.delete(blob.key, identity=prove(self.context, blob))
        return found
