"""What is in the tiers against the catalog's rows: a merge of two sorted streams, and a second look at what differs.

Work goes on meanwhile. A blob's row is there before its first byte and after its last, so a key that still has no row
at the second look never had one, and a row that is still live has not been released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.attempts import STAGED, TOMBSTONE, known_ids, known_keys
from storaged.catalog.schema import blobs, datasets, jobs, objects, replicas, tiers
from storaged.catalog.schema_attempts import attempts
from storaged.clock import iso
from storaged.errors import ObjectNotFound, StoragedError, StoreError, VerificationFailed
from storaged.model import BlobState, JobState, ReplicaState
from storaged.stores.base import Stat, Store
from storaged.work.context import Context, local_path
from storaged.work.doctor.base import (
    LATE_US,
    PAGE,
    Finding,
    FindingKind,
    Severity,
    carefully,
    in_pages,
    our_roots,
    our_tiers,
)
from storaged.work.release.strays import describe, is_stray
from storaged.work.release.tombstones import NO_BLOB

SUSPECTS: Final = 500  # that are looked at again together

DARK_BLOB = FindingKind(
    "dark-blob",
    Severity.WARNING,
    "A blob of this catalog that no row speaks of, of an object that is known, or a pack: paid for and never read.",
    "`storagectl doctor --fix` makes a tombstone of it, and `storagectl sweep` clears it away.",
    fixable=True,
)
DARK_COPY = FindingKind(
    "dark-copy",
    Severity.ERROR,
    "A blob of this catalog of which neither the catalog nor a root knows the object, or any that no row speaks of "
    "while the journal has a hole: it may hold an only copy. It is never deleted.",
    "`storagectl catalog reconcile` if the catalog is an old copy; else read it (docs/reading-without-storaged.md), "
    "save it, remove it.",
)
FOREIGN_OBJECT = FindingKind(
    "foreign-object",
    Severity.WARNING,
    "Something in a tier does not say that this catalog wrote it. storaged owns all below a tier's url, and never "
    "touches this.",
    "Find out whose it is, and move it elsewhere.",
)
LOST_BLOB = FindingKind(
    "lost-blob",
    Severity.ERROR,
    "A blob is gone that holds the content of an object, or as a pack of many: it cannot be read.",
    "`storagectl undo {object}` while its original is kept; after that bring the tier back from a copy of it.",
)
CHANGED_BLOB = FindingKind(
    "changed-blob",
    Severity.ERROR,
    "A blob has another identity than was proven: its disk was copied, its mode changed, or somebody wrote to the "
    "tier. Reads of it are refused, and nothing that it replaces is released, unless its bytes prove right.",
    "`storagectl verify {object}` takes it over if its bytes are right. If not: `storagectl undo {object}` while its "
    "original is kept; after that bring the tier back from a copy of it.",
)
CHANGED_PACK = FindingKind(
    "changed-pack",
    Severity.ERROR,
    "A pack has another identity than was proven: its disk was copied, its mode changed, or somebody wrote to the "
    "tier. Reads of its objects are refused, and nothing that it replaces is released, unless its bytes prove right.",
    "`storagectl verify {dataset}` takes it over if its bytes are right; else it says which objects are not. "
    "`storagectl restage {object} --to-root`, a pattern of several, or `storagectl eject {dataset}` brings back those "
    "that are; `storagectl undo {object}` takes it back while its original is kept. After that bring the pack back "
    "from a copy of the tier, and verify again.",
)
OTHER_CLASS = FindingKind(
    "other-class",
    Severity.WARNING,
    "A blob is in another storage class than storaged put it in: a rule of the bucket moved it. Its price and the time "
    "to read it are not those of its tier.",
    "Take the rule off the tier's prefix, then `storagectl restage {object} --tier {tier}`",
)
UNKNOWN_PARTS = FindingKind(
    "unknown-parts",
    Severity.WARNING,
    "Parts of an upload of ours whose attempt the catalog does not know: they are paid for and never completed.",
    "`storagectl doctor --fix` makes a tombstone of it, and `storagectl sweep` clears it away.",
    fixable=True,
)
ABANDONED_ATTEMPT = FindingKind(
    "abandoned-attempt",
    Severity.WARNING,
    "Blobs are being written, says the catalog, by a job that does not run: nobody clears them away.",
    "`storagectl doctor --fix` makes tombstones of them, and `storagectl sweep` clears them away.",
    fixable=True,
)
OLD_TOMBSTONES = FindingKind(
    "old-tombstones",
    Severity.WARNING,
    "What discarded attempts left should have been cleared away by now.",
    "`storagectl sweep --yes` clears them away, or says what refuses.",
)


def in_tiers(context: Context) -> Iterator[Finding]:
    """Every tier's listing against the catalog."""
    for name, store in our_tiers(context):
        yield from carefully(f"tier:{name}", compare(context, name, store))


def merged(
    listing: Iterable[Stat], rows: Iterator[Any], key: Callable[[Any], str]
) -> Iterator[tuple[Stat | None, Any | None]]:
    """Pairs of what two streams in key order say of the same key; None where one of them has nothing."""
    row = next(rows, None)
    for stat in listing:
        while row is not None and key(row) < stat.key:
            yield None, row
            row = next(rows, None)
        if row is not None and key(row) == stat.key:
            yield stat, row
            row = next(rows, None)
        else:
            yield stat, None
    while row is not None:
        yield None, row
        row = next(rows, None)


def compare(context: Context, name: str, store: Store) -> Iterator[Finding]:
    """What a tier's listing and the catalog's rows of it do not agree on."""
    return _Tier(context, name, store).findings()


class _Tier:
    def __init__(self, context: Context, name: str, store: Store) -> None:
        self.context = context
        self.name = name
        self.store = store
        self.classes = local_path(store.url) is None  # in a directory all is of one class
        with context.catalog.read() as conn:
            found = conn.execute(sa.select(tiers.c.id).where(tiers.c.name == name)).scalar()
        self.tier_id = -1 if found is None else int(found)

    @cached_property
    def _hole(self) -> bool:
        """Whether the journal has one, as far as can be seen."""
        try:
            return self.context.journal.has_holes()
        except StoragedError:
            return True

    def findings(self) -> Iterator[Finding]:
        for batch in in_pages(self._differing(), SUSPECTS):
            yield from self._unknown([stat for stat, row in batch if stat is not None and row is None])
            for stat, row in batch:
                if row is not None:
                    yield from self._again(row.id, stat)

    def _differing(self) -> Iterator[tuple[Stat | None, Any | None]]:
        listing = (entry for entry in self.store.list() if isinstance(entry, Stat))
        for stat, row in merged(listing, self._rows(), lambda row: str(row.key)):
            live = row is not None and row.state == BlobState.LIVE.value
            if row is None or (live and (stat is None or self._differs(row, stat))):
                yield stat, row

    def _differs(self, row: Any, stat: Stat) -> bool:
        other = self.classes and row.storage_class and stat.storage_class != row.storage_class
        return bool(row.identity != stat.identity or other)

    def _rows(self) -> Iterator[Any]:
        """The blobs of the tier in key order, in short read transactions."""
        b = blobs.c
        query = sa.select(b.id, b.key, b.state, b.identity, b.storage_class).where(b.tier_id == self.tier_id)
        after = ""
        while True:
            with self.context.catalog.read() as conn:
                rows = conn.execute(query.where(b.key > after).order_by(b.key).limit(PAGE)).all()
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1].key

    def _unknown(self, stats: list[Stat]) -> Iterator[Finding]:
        """Keys that no blob has: does one have them now, or an attempt, and what do they say of themselves?"""
        with self.context.catalog.read() as conn:
            known = known_keys(conn, self.tier_id, [s.key for s in stats])
        for stat in stats:
            if stat.key not in known:
                yield from self._dark(stat)

    def _dark(self, stat: Stat) -> Iterator[Finding]:
        subject, size = f"{self.name}:{stat.key}", f"{stat.size:,} bytes"
        try:
            told = describe(self.store, stat.key)
        except ObjectNotFound:  # it was released meanwhile
            return
        except (StoreError, VerificationFailed) as error:  # in an archive class, not ours to read, or torn
            yield FOREIGN_OBJECT.found(subject, f"{size}; what it says of itself cannot be read: {error.message}")
            return
        if told is None:
            yield FOREIGN_OBJECT.found(subject, f"{size}; it says nothing of storaged")
        elif told.catalog != self.context.identity.catalog:
            yield FOREIGN_OBJECT.found(subject, f"{size}; it is of catalog {told.catalog}")
        elif not _has_row(self.context, told.attempt):  # a tombstone may know its attempt by its parts only
            kind = DARK_BLOB if is_stray(self.context, told, hole=self._hole) else DARK_COPY
            yield kind.found(subject, f"{size} of {told.dataset}/{told.object}, attempt {told.attempt}")

    def _again(self, blob_id: str, listed: Stat | None) -> Iterator[Finding]:
        """A live blob that differed: look at it, and then at its row, once more."""
        try:
            key = self._live(blob_id)
            if key is None:
                return
            found: Stat | None = self.store.head(key.key)
        except ObjectNotFound:
            found = None
        row = self._live(blob_id)
        held = None if row is None else self._object(blob_id)
        if row is None or held is None:  # released meanwhile; or what it held is current elsewhere, and no longer kept
            return
        of, holds, dataset = held
        subject = f"{self.name}:{row.key}"
        if found is None:
            yield LOST_BLOB.found(subject, f"its key is absent; it holds {holds}", object=of)
        elif found.identity != row.identity:
            size = "" if found.size == row.size else f"; it has {found.size:,} bytes instead of {row.size:,}"
            says = f"its identity is {found.identity}, proven was {row.identity}{size}; it holds {holds}"
            kind = CHANGED_PACK if row.packed_bytes else CHANGED_BLOB
            yield kind.found(subject, says, object=of, dataset=dataset)
        elif listed is not None and self._differs(row, listed):
            says = f"it is in {listed.storage_class}, and was made in {row.storage_class}; it holds {holds}"
            yield OTHER_CLASS.found(subject, says, object=of, tier=self.name)

    def _live(self, blob_id: str) -> Any | None:
        b = blobs.c
        query = sa.select(b.key, b.identity, b.size, b.storage_class, b.packed_bytes)
        with self.context.catalog.read() as conn:
            return conn.execute(query.where(b.id == blob_id, b.state == BlobState.LIVE.value)).one_or_none()

    def _object(self, blob_id: str) -> tuple[str, str, str] | None:
        """An object whose content is in the blob now, what the blob holds, in words, and the dataset."""
        here = sa.and_(replicas.c.blob_id == blob_id, replicas.c.state == ReplicaState.CURRENT.value)
        query = (
            sa.select(datasets.c.name.label("dataset"), objects.c.name)
            .select_from(replicas)
            .join(objects, objects.c.id == replicas.c.object_id)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .where(here)
            .order_by(objects.c.name)
            .limit(1)
        )
        with self.context.catalog.read() as conn:
            row = conn.execute(query).one_or_none()
            number = conn.execute(sa.select(sa.func.count()).select_from(replicas).where(here)).scalar_one()
        if row is None:
            return None
        name = f"{row.dataset}/{row.name}"
        return name, name if number == 1 else f"{number:,} objects, such as {name}", row.dataset


def _has_row(context: Context, attempt: str) -> bool:
    with context.catalog.read() as conn:
        return bool(known_ids(conn, [attempt]))


def parts(context: Context) -> Iterator[Finding]:
    """Uploads under way in tiers and roots whose attempts have no row."""
    places = [(f"tier:{n}", s) for n, s in our_tiers(context)] + [(f"dataset:{n}", s) for n, s in our_roots(context)]
    for subject, store in places:
        yield from carefully(subject, _parts(context, subject, store))


def _parts(context: Context, subject: str, store: Store) -> Iterator[Finding]:
    for under_way in in_pages(store.attempts(), SUSPECTS):
        with context.catalog.read() as conn:
            known = known_ids(conn, under_way)
        for attempt in under_way:
            if attempt not in known:
                yield UNKNOWN_PARTS.found(subject, f"attempt {attempt}")


def unworked() -> sa.ColumnElement[bool]:
    """Of a staged attempt: no job runs that works on it. A swap needs the lease of a running job and a staged attempt,
    so it can never be swapped in."""
    at_it = sa.exists().where(jobs.c.id == attempts.c.job_id, jobs.c.state == JobState.RUNNING.value)
    return ~at_it.correlate(attempts)


def abandoned(context: Context) -> Iterator[Finding]:
    """Staged attempts that nobody works on, and tombstones that no sweep clears."""
    number = sa.func.count()
    staged = (
        sa.select(attempts.c.job_id, jobs.c.state, number)
        .select_from(attempts)
        .outerjoin(jobs, jobs.c.id == attempts.c.job_id)
        .where(STAGED, unworked())
        .group_by(attempts.c.job_id, jobs.c.state)
        .order_by(attempts.c.job_id)
    )
    committed = sa.exists().where(objects.c.raw_attempt == attempts.c.id)
    over = context.now_us() - context.settings.late_put_window - LATE_US
    dead = (
        sa.select(number, sa.func.min(attempts.c.sign_us))
        .select_from(attempts)
        .where(TOMBSTONE, attempts.c.sign_us < over, ~committed, NO_BLOB)
    )
    with context.catalog.read() as conn:
        idle = conn.execute(staged).all()
        old, oldest = conn.execute(dead).one()
    for job_id, state, count in idle:
        which = "no job" if job_id is None else f"job:{job_id}"
        yield ABANDONED_ATTEMPT.found(which, f"{count:,} staged, and the job is {state or 'unknown'}")
    if old:
        yield OLD_TOMBSTONES.found("catalog", f"{old:,} whose time is over, the oldest from {iso(oldest)}")


KINDS: Final = (
    DARK_BLOB,
    DARK_COPY,
    FOREIGN_OBJECT,
    LOST_BLOB,
    CHANGED_BLOB,
    CHANGED_PACK,
    OTHER_CLASS,
    UNKNOWN_PARTS,
    ABANDONED_ATTEMPT,
    OLD_TOMBSTONES,
)
