"""Keys that do not show what the catalog holds: look at each again, and record what its user did to it.

A listing only names suspects. Each is looked at after its row was read, and what the look meant is applied only to a
row of that version, so a listing that is older than a rewrite, a release or a write-back never undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from storaged.catalog import allocated, changes, facts, placements
from storaged.catalog.allocated import Allocated
from storaged.catalog.engine import LONGEST_NAME, Catalog
from storaged.catalog.placements import Change, Seen
from storaged.decide.kinds import Collection
from storaged.errors import ObjectNotFound, StoreError, StoreUnavailable
from storaged.model import Placement, RawState
from storaged.naming import is_marker
from storaged.placement import adopt, reclass, released_after_all, remove, returned, touched, transition
from storaged.stores.base import Skipped, Stat
from storaged.stores.origins import tells_of
from storaged.work import places
from storaged.work.claims import Place
from storaged.work.content import known_digest, stored_digest
from storaged.work.context import Context
from storaged.work.scan.leftovers import (
    Intent,
    is_leftover,
    is_transition,
    note_shown,
    once_visible,
    returned_by,
    transitions_of,
)

T = TypeVar("T")
R = TypeVar("R")

LARGEST: Final = 2**53  # bytes of an object: 1,000 of them can be added up in 64 bits, and doubles hold each exactly
SHORT: Final = LONGEST_NAME // 4  # characters of a name that is not too long, whatever they are
SAMPLES: Final = 20  # skipped names kept for the report


@dataclass(slots=True)
class Scanned:
    """What a scan saw and recorded."""

    dataset: str
    seen: int = 0
    bytes: int = 0
    added: int = 0
    changed: int = 0
    vanished: int = 0
    reappeared: int = 0
    reclassed: int = 0  # only the storage class is another: by the store's own rules, or by an attempt of ours
    touched: int = 0  # the same content under another identity: its metadata changed, or it was put there again
    unchanged: int = 0
    skipped: int = 0
    skipped_samples: list[Skipped] = field(default_factory=list)
    collections: int = 0  # things of many files that are there
    table_format: str | None = None  # kind of the first of these that is a table
    new_collections: list[Collection] = field(default_factory=list)  # some of those that the scan before did not see
    references: int = 0  # files that hold references into others
    unread_references: int = 0  # of these, what could not be read
    not_looked_into: int = 0  # files that may hold references, which the next scans look into
    resumed_after: str = ""

    def skip(self, entry: Skipped) -> None:
        """Count and sample what cannot be an object, or could not be looked at."""
        self.skipped += 1
        if len(self.skipped_samples) < SAMPLES:
            self.skipped_samples.append(entry)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a look at a key meant. `kind`: the word in journal and audit; `locked_until_us` of what was adopted;
    `allocated`: what is at the key takes so many bytes (None: its size)."""

    seen: Seen
    kind: str
    placement: Placement
    locked_until_us: int | None = None
    allocated: int | None = None


def no_object(stat: Stat, catalog: Catalog) -> Skipped | None:
    """What is said of a file that the catalog cannot hold, for its size or its name; None: it is an object."""
    if stat.size > LARGEST:
        return Skipped(stat.key, "larger than 8 PiB: a sparse file that nobody can have filled")
    if not catalog.takes_name(stat.key):
        return Skipped(
            stat.key, f"its name has more than {catalog.longest_name:,} bytes, the most that Postgres indexes"
        )
    return None


class Suspects:
    """Looks at suspects of one dataset and records what differs, into the catalog and into `result`."""

    def __init__(self, context: Context, dataset: str, result: Scanned) -> None:
        self.context = context
        self.dataset = dataset
        self.store = context.root(dataset)
        self.result = result
        self._once_visible: frozenset[int] = frozenset()

    def look_again(self, ids: Sequence[int]) -> None:
        """Remember the rows, then look at their keys, then record what differs in rows still as remembered."""
        if not ids:
            return
        note_shown(self.context, self.dataset)
        with self.context.catalog.read() as conn:
            seen = [h for h in placements.load(conn, ids).values() if h.fact_id is None]
            intents = transitions_of(conn, seen)
            lease_us = self.context.settings.workers.lease
            visible = once_visible(conn, seen, now_us=self.context.now_us(), lease_us=lease_us)
        if visible and not self._is_there():  # then all of it looks deleted
            visible = set()
        self._once_visible = frozenset(visible)
        found = self._each(lambda h: self._judge(h, intents.get(h.id, ())), seen)
        for one in found:
            if isinstance(one, Skipped):
                self.result.skip(one)
        self._record([one for one in found if isinstance(one, _Judged)])

    def _is_there(self) -> bool:
        here = Place("dataset", self.dataset)
        looked = places.look(self.context, [here])
        return here not in looked.wrong and here not in looked.unclaimed

    def is_leftover(self, stat: Stat) -> bool:
        """Whether an uncommitted attempt of ours left it there."""
        return is_leftover(self.context, self.dataset, stat.key, stat)

    def locks(self, keys: Sequence[str]) -> list[int | None]:
        """Until when the root refuses to delete each of these keys (microseconds), where it can lock them at all."""
        return self._each(self._locked_until, keys) if self._can_lock else [None] * len(keys)

    @cached_property
    def _rebuilt(self) -> bool:
        """Whether the catalog was rebuilt or reconciled less than `late_put_window` ago."""
        with self.context.catalog.read() as conn:
            return facts.get(conn, "relist_until_us") is not None

    @cached_property
    def _elsewhere(self) -> Callable[[str], bool]:
        return self.context.elsewhere(self.dataset)

    @cached_property
    def _can_lock(self) -> bool:
        return self.store.protection.locks

    def _locked_until(self, key: str) -> int | None:
        try:
            return self.store.locked_until(key) if self._can_lock else None
        except ObjectNotFound:  # gone since it was listed: the next scan tells
            return None

    def _each(self, look: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """A store's answer is mostly waiting: look at many at once."""
        if len(items) < 2:
            return [look(item) for item in items]
        with ThreadPoolExecutor(self.context.settings.workers.threads, thread_name_prefix="look") as pool:
            return list(pool.map(look, items))

    def _record(self, judged: Sequence[_Judged]) -> None:
        """Apply what a look at the keys meant to rows that are still as they were remembered before the look."""
        if not judged:
            return
        now = self.context.now_us()
        with self.context.catalog.begin() as conn:
            of = {j.seen.id: j for j in judged}
            page = changes.Page(conn, [j.seen for j in judged])
            made = page.judge(lambda h: Change(h, of[h.id].placement, of[h.id].kind))
            changes.record(conn, made, now_us=now, why=self.context.why("scan"))
            adopted = [c.seen.id for c in made if c.kind == "adopt"]
            placements.lock(conn, {number: of[number].locked_until_us for number in adopted})
            less = [j for c in made if (j := of[c.seen.id]).allocated is not None]
            allocated.note(conn, {j.seen.id: Allocated(j.placement.raw.identity, j.allocated) for j in less})
        for c in made:
            self._count(c.kind, c.seen)
        self.context.journal.flush()

    def _judge(self, seen: Seen, intents: Sequence[Intent]) -> _Judged | Skipped | None:
        """The protocol's table: what a look at the key means for the object."""
        p = seen.placement
        now = self.context.now_us()
        until = now + self.context.settings.grace
        try:
            nobodys = is_marker(p.name) or self._elsewhere(p.name)  # taken for this dataset's before that was known
            stat: Stat | None = None if nobodys else self.store.head(p.name)
        except ObjectNotFound:
            stat = None
        except StoreError as error:  # behind a directory that cannot be entered, or no file any more: unknown, not gone
            return Skipped(p.name, error.message)
        if stat is not None and (passed := no_object(stat, self.context.catalog)):
            return passed
        if stat is not None and p.raw.state in _SHOWN and stat.identity == p.raw.identity:
            if stat.storage_class == p.raw.storage_class:
                return None
            return _Judged(seen, "reclass", reclass(p, storage_class=stat.storage_class))
        if stat is not None and is_transition(self.store, p, stat, intents):
            new = transition(p, was=p.raw.identity, identity=stat.identity, storage_class=stat.storage_class)
            return _Judged(seen, "transition", new)
        attempt = returned_by(self.context, seen, stat) if stat is not None else None
        if stat is not None and attempt is not None:
            new = returned(p, identity=stat.identity, attempt=attempt, storage_class=stat.storage_class, until_us=until)
            return _Judged(seen, "eject", new, allocated=stat.allocated)
        if stat is not None and not self.is_leftover(stat):
            try:
                same = self._touched(seen, stat)
            except StoreUnavailable as error:
                return Skipped(p.name, error.message)
            if same is not None:
                return _Judged(seen, "touch", same, allocated=stat.allocated)
            told = self.store.origin(p.name)
            attempt = told.attempt if told and tells_of(told, p.dataset, p.name) else ""
            new = adopt(
                p,
                identity=stat.identity,
                attempt=attempt,
                storage_class=stat.storage_class,
                size=stat.size,
                mtime_us=stat.mtime_us,
                until_us=until,
                overwritten_until_us=now + self.context.settings.keep_overwritten,
            )
            return _Judged(seen, "adopt", new, self._locked_until(p.name), stat.allocated)
        deleted = stat is None and seen.id in self._once_visible
        if p.in_doubt:
            return _Judged(seen, "released-after-all", released_after_all(p))
        if deleted or p.raw.state in (RawState.CURRENT, RawState.SUPERSEDED):
            # The last entry of the journal may be lost with the catalog, and have been the intent to release this very
            # source: then its absence is our doing. Nobody can tell, so a person may, for long.
            doubtful = p.raw.state is RawState.SUPERSEDED and self._rebuilt
            kept = now + self.context.settings.keep_overwritten if doubtful else 0
            return _Judged(seen, "remove", remove(p, now_us=now, until_us=until, doubtful_until_us=kept))
        return None

    def _touched(self, seen: Seen, stat: Stat) -> Placement | None:
        """What is at the key is the same content under another identity, if so. Of what is current it is enough that
        nothing says it was written to, and then its digest is no longer known: nothing of ours hangs on it. Else it is
        read and compared.

        Raises StoreUnavailable. What cannot be read counts as another content.
        """
        p = seen.placement
        if p.raw.state not in (RawState.CURRENT, RawState.SUPERSEDED) or stat.size != p.size_of(p.raw):
            return None
        was = known_digest(seen, p.raw)
        if p.raw.state is RawState.CURRENT and self.store.alike(p.raw.identity, stat.identity):
            digest, metadata = "", p.metadata
        elif was:
            try:
                with self.store.open(p.name, identity=stat.identity) as reader:
                    if stored_digest(reader, like=was) != was:
                        return None
                    digest = p.digest_of(p.raw)
                    metadata = reader.metadata() if p.raw.state is RawState.SUPERSEDED else p.metadata
            except StoreUnavailable:
                raise
            except StoreError:
                return None
        else:
            return None
        return touched(
            p,
            identity=stat.identity,
            mtime_us=stat.mtime_us,
            metadata=metadata,
            digest=digest,
            storage_class=stat.storage_class,
        )

    def _count(self, kind: str, seen: Seen) -> None:
        if kind == "remove":
            self.result.vanished += 1
        elif kind == "touch":
            self.result.touched += 1
        elif kind in ("reclass", "transition"):
            self.result.reclassed += 1
        elif seen.placement.removed_us is not None:
            self.result.reappeared += 1
        else:
            self.result.changed += 1


_SHOWN: Final = (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING)


def rescan_key(context: Context, dataset: str, name: str) -> None:
    """Look at one key and record what its user did to it. For whoever found it not to be what the catalog holds."""
    with context.catalog.read() as conn:
        seen = placements.find(conn, dataset, name)
    if seen is not None:
        Suspects(context, dataset, Scanned(dataset)).look_again([seen.id])
