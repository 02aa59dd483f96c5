"""Superseded originals: deleted at their keys when their grace is over and the current replica is as it was proven."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Seen
from storaged.catalog.schema import objects
from storaged.errors import ObjectNotFound, StoragedError
from storaged.model import RawState, Readers
from storaged.placement import release_source, source_released
from storaged.stores.base import Traits
from storaged.work import places
from storaged.work.claims import Place
from storaged.work.content import is_there
from storaged.work.context import Context
from storaged.work.location import current, original
from storaged.work.places import UNCLAIMED
from storaged.work.release.folders import to_empty
from storaged.work.release.guarded import BATCH, Guarded, holds_of
from storaged.work.release.tombstones import Swept
from storaged.work.scan import stuck


def unconditional(traits: Traits) -> str:
    """Why nothing is released there: its store keeps no condition, or does not let us try whether it does."""
    missing = traits.lacking("delete_condition", "delete_version")
    return f"its store cannot delete exactly what is meant: the source stays ({missing})"


class Sources(Guarded):
    """Releases what lies at original keys."""

    def __init__(
        self, context: Context, swept: Swept, progress: Callable[[str, int], None], pool: ThreadPoolExecutor
    ) -> None:
        super().__init__(context, swept, progress, pool)
        self.emptied: list[int] = []  # folders that went, by released source
        self.stuck: dict[int, str] = {}  # why sources of the present batch could not be deleted; empty: they could

    def release(self) -> None:
        after = 0
        while ids := self._due_objects(after):
            after = ids[-1]
            self._release_sources(ids)

    def _release_sources(self, ids: list[int]) -> None:
        with self.context.catalog.read() as conn:
            seen = placements.load(conn, ids)
            holds, purges = holds_of(conn), _purges(conn, ids)
        self._look_at_places(seen.values())
        taken = [h for h in seen.values() if h.placement.raw.state is RawState.RELEASING]
        due = (h for h in seen.values() if h.placement.raw.state is RawState.SUPERSEDED and not self._kept(h, holds))
        judged = self._near(due, self._source_is_right)
        judged = self._recorded(self._deletable(judged))
        taken += self._take_intent(judged, "release-source", lambda h, now: release_source(h.placement, now_us=now))
        self.context.journal.flush()
        self._look_at_places(taken)
        self.stuck = {h.id: "" for h in taken}
        gone = self._delete_all(taken, lambda h: self._delete_source(h, versions=h.id in purges), self._place)
        stuck.note(self.context, self.stuck)
        self._settle(gone, "source-released", lambda h: source_released(h.placement, identity=h.placement.raw.identity))
        self.swept.sources += len(gone)
        self.swept.folders = sum(self.emptied)
        self.progress("sources", len(gone))

    def _place(self, seen: Seen) -> Place | None:
        """Where a source has neighbours: not where the folder that they are in may go with the last of them."""
        dataset = self.context.settings.datasets.get(seen.placement.dataset)
        return None if dataset is None or dataset.remove_empty_folders else original(seen.placement).place

    def _due_objects(self, after: int) -> list[int]:
        due = sa.or_(
            objects.c.raw_state == RawState.RELEASING.value,
            sa.and_(objects.c.raw_state == RawState.SUPERSEDED.value, objects.c.raw_until_us <= self.context.now_us()),
        )
        query = sa.select(objects.c.id).where(objects.c.id > after, due).order_by(objects.c.id).limit(BATCH)
        with self.context.catalog.read() as conn:
            return list(conn.execute(query).scalars())

    def _source_is_right(self, seen: Seen) -> bool:
        """MUST 7: the current replica is as it was proven and the source as it was recorded, right now.

        A source that is absent before the intent was removed by its user: the scan records that, it is never released.
        """
        p = seen.placement
        source = original(p)
        try:
            if self.context.dataset(p.dataset).readers is Readers.RAW:
                why = "readers: raw"
            elif not (traits := self.context.store(source.place).traits).releases:
                why = unconditional(traits)
            elif source.place in self.looked.unclaimed:
                why = UNCLAIMED
            elif p.current is not None and (told := places.expiry(self.context.store(current(seen).place))):
                why = f"its copy would not stay: {told}"
            elif p.current is None or not self._is_there(current(seen)):
                why = "the current replica is not as it was proven: see `storagectl verify`"
            elif not is_there(self.context, source):
                why = "its user changed the source: the next scan looks at it"
            else:
                return True
        except ObjectNotFound:
            why = "the source or the current replica is absent: scan, then verify"
        except StoragedError as error:
            why = "its store does not answer"
            self.swept.errors.append(f"{seen.path}: {error.message}")
        self.swept.keep(why)
        return False

    def _deletable(self, judged: list[Seen]) -> list[Seen]:
        """Those whose source could be deleted, as far as that can be seen. The others stay superseded: undo is at once,
        and the next sweep looks again."""
        found = stuck.look(self.context, judged)
        for why in found.values():
            self.swept.keep(stuck.CANNOT + why)
        return [h for h in judged if h.id not in found]

    def _delete_source(self, seen: Seen, *, versions: bool) -> int | None:
        """The state is releasing and the intent is in the journal: delete the key if it still has that identity, and
        with `versions` what it held before.

        Returns the bytes that the store got back; None: it did not work, the next sweep goes on.
        """
        p, source = seen.placement, original(seen.placement)
        root = self.context.store(source.place)
        try:
            if source.place in {*self.looked.wrong, *self.looked.unclaimed}:
                return None
            if not root.traits.releases:
                why = unconditional(root.traits)
                self.swept.keep(why)
                self.stuck[seen.id] = why
                return None
            with to_empty(self.context, p) as folders:
                found = root.delete(source.key, identity=source.identity, versions=versions)
                deleted = self._found(found)
                self.emptied.append(folders.remove_empty() if deleted else 0)
        except StoragedError as error:
            if stuck.lasting(error):
                self.stuck[seen.id] = stuck.in_words(error)
            else:
                del self.stuck[seen.id]  # nothing is known
            self.swept.errors.append(f"{seen.path}: {stuck.in_words(error)}")
            return None
        # Absent: ours, from before a crash. Changed: the source is gone all the same, the scan adopts what is there.
        other_names = p.metadata.get("links", "1") != "1"  # then its blocks stay
        return p.at_root_bytes if deleted and not other_names else 0


def _purges(conn: sa.Connection, ids: Iterable[int]) -> set[int]:
    """Objects whose source's older versions go with it, because a policy says so."""
    return set(conn.execute(sa.select(objects.c.id).where(objects.c.id.in_(list(ids)), objects.c.purge)).scalars())
