"""Datasets and tiers: the configuration, the catalog and the roots against one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.schema import blobs, datasets, objects, replicas, scans, tiers
from storaged.catalog.schema_attempts import attempts
from storaged.clock import iso
from storaged.config.schedules import next_fire
from storaged.model import AttemptKind, BlobState, RawState, ReplicaState
from storaged.naming import is_marker
from storaged.stores.base import Stat, Store
from storaged.work.context import Context
from storaged.work.doctor.base import LATE_US, PAGE, Finding, FindingKind, Severity, carefully, our_roots
from storaged.work.doctor.stored import merged
from storaged.work.rewrite.overwritten import kept
from storaged.work.scan.stuck import told
from storaged.work.scan.suspects import no_object

MISSED_US: Final = 7 * LATE_US  # a scan that should have been so long ago

NEVER_SCANNED = FindingKind(
    "never-scanned",
    Severity.WARNING,
    "The catalog knows nothing of a dataset that the configuration names.",
    "`storagectl scan {dataset}`",
)
SCAN_LATE = FindingKind(
    "scan-late",
    Severity.WARNING,
    "A dataset should have been scanned a week ago or more: plans are made from what it was then.",
    "`storagectl scan {dataset}`",
)
SCAN_CUT = FindingKind(
    "scan-cut",
    Severity.INFO,
    "A scan was begun and did not come to its end: the next one goes on from there.",
    "`storagectl scan {dataset}`",
)
NOT_YET_SCANNED = FindingKind(
    "not-yet-scanned",
    Severity.INFO,
    "The root is not as the last scan found it: its users work on it.",
    "`storagectl scan {dataset}`",
)
CLASS_CHANGED = FindingKind(
    "class-changed",
    Severity.INFO,
    "Objects at their original keys are in another storage class than the last scan found: a rule of the bucket, or "
    "its users.",
    "`storagectl scan {dataset}`",
)
ROOT_EMPTY = FindingKind(
    "root-empty",
    Severity.ERROR,
    "A root shows nothing, and should have objects: most likely something else is mounted there.",
    "Mount it. If they were all deleted on purpose: `storagectl scan {dataset} --confirm-empty`",
)
COLLECTIONS = FindingKind(
    "collections",
    Severity.INFO,
    "Some of a dataset's objects are parts of what is one thing to the program that wrote them, such as a table or an "
    "array: only a policy that says `collections: whole` moves all of one at once, and only one that says "
    "`collections: ignore` their parts one by one.",
    "Nothing. `storagectl collections {dataset}` lists them.",
)
DATASET_GONE = FindingKind(
    "dataset-gone",
    Severity.WARNING,
    "The catalog has objects of a dataset that the configuration does not name: they can be read, and nothing of them "
    "is moved or released.",
    "Put it back into storaged.yaml; to get its objects back where they were, `storagectl eject {dataset} --yes` then.",
)
TIER_GONE = FindingKind(
    "tier-gone",
    Severity.ERROR,
    "The catalog has blobs in a tier that the configuration does not name: they cannot be read.",
    "Put the tier back into storaged.yaml, with its old url; `storagectl restage` moves what is in it.",
)
DAMAGED_BLOB = FindingKind(
    "damaged-blob",
    Severity.ERROR,
    "A blob did not read as it was written when it was last verified. Nothing that it replaces is released.",
    "`storagectl undo {object}` while its original is kept; else bring its tier back from a copy of it, then "
    "`storagectl verify {object}`",
)
DAMAGED_ORIGINAL = FindingKind(
    "damaged-original",
    Severity.ERROR,
    "An object at its original key did not read as before when it was last verified, and nobody wrote to it.",
    "Bring it back from a copy, then `storagectl scan {dataset}` and `storagectl verify {object}`",
)
STUCK = FindingKind(
    "cannot-be-released",
    Severity.WARNING,
    "Originals were moved, and their store does not let them be deleted: they take their place twice.",
    "Do what it says, then `storagectl sweep`. Or take the move back: `storagectl undo {object}`, or "
    "`storagectl eject {dataset}` for all of the dataset.",
)
KEPT = FindingKind(
    "cannot-be-deleted",
    Severity.INFO,
    "Originals that could not be deleted, so that moving them would free nothing: every plan holds them back.",
    "Nothing, if they shall stay. Else do what it says, then `storagectl scan {dataset}`.",
)
OVERWRITTEN = FindingKind(
    "overwritten",
    Severity.WARNING,
    "A program wrote to the original key of an object that had been moved, as `>>` does: there was no file, so it made "
    "a new one. What the object held before is kept until somebody confirms, or for `keep_overwritten`.",
    "`storagectl cat {object} --generation {generation}` gives the old content; "
    "`storagectl overwritten {object} --confirm` lets it go",
)


def registered(context: Context) -> Iterator[Finding]:
    """Datasets and tiers that only the configuration or only the catalog has; scans that are late."""
    d = datasets.c
    has_any = sa.exists().where(objects.c.dataset_id == d.id, objects.c.tier_id.is_not(None))
    last = (
        sa.select(sa.func.max(scans.c.started_us))
        .where(scans.c.dataset_id == d.id, scans.c.finished_us.is_(None))
        .scalar_subquery()
    )
    used = sa.exists().where(blobs.c.tier_id == tiers.c.id, blobs.c.state == BlobState.LIVE.value)
    with context.catalog.read() as conn:
        known = {
            row.name: row
            for row in conn.execute(sa.select(d.name, d.scanned_us, has_any.label("any"), last.label("cut")))
        }
        kinds = collections.counts(conn)
        tiers_gone = conn.execute(
            sa.select(tiers.c.name, tiers.c.url).where(used, tiers.c.name.not_in(list(context.tiers)))
        ).all()
    for tier in tiers_gone:
        yield TIER_GONE.found(f"tier:{tier.name}", f"it was at {tier.url}")
    for name in sorted(known.keys() - context.datasets.keys()):
        if known[name].any:
            yield DATASET_GONE.found(f"dataset:{name}", f"last scanned {iso(known[name].scanned_us)}", dataset=name)
    for name in context.datasets:
        yield from _one(context, name, known.get(name), kinds.get(name, {}))


def _one(context: Context, name: str, row: Any | None, kinds: Mapping[str, int]) -> Iterator[Finding]:
    subject, now = f"dataset:{name}", context.now_us()
    if row is None or (row.scanned_us is None and row.cut is None):
        yield NEVER_SCANNED.found(subject, f"root {context.datasets[name].root}", dataset=name)
        return
    if row.cut is not None and row.cut > (row.scanned_us or 0) and row.cut < now - LATE_US:
        yield SCAN_CUT.found(subject, f"begun {iso(row.cut)}", dataset=name)
    schedule = context.settings.datasets[name].scan or context.settings.daemon.scan
    if row.scanned_us is not None and next_fire(schedule, row.scanned_us) < now - MISSED_US:
        yield SCAN_LATE.found(subject, f"last scanned {iso(row.scanned_us)}", dataset=name)
    if kinds:
        told = ", ".join(f"{count:,} of kind {kind}" for kind, count in kinds.items())
        yield COLLECTIONS.found(subject, told, dataset=name)


def roots(context: Context) -> Iterator[Finding]:
    """Every scanned root's listing against the catalog: counts, since what its users do is not to be mended."""
    for name, store in our_roots(context):
        with context.catalog.read() as conn:
            query = sa.select(datasets.c.id, datasets.c.scanned_us).where(datasets.c.name == name)
            row = conn.execute(query).one_or_none()
        if row is not None and row.scanned_us is not None:
            yield from carefully(f"dataset:{name}", _root(context, name, store, row.id, row.scanned_us))


def _root(context: Context, name: str, store: Store, dataset_id: int, scanned_us: int) -> Iterator[Finding]:
    seen, counts, first = 0, Counter[str](), dict[str, str]()
    ours = _attempted(context, dataset_id)
    for stat, row in merged(_listed(context, store), _rows(context, dataset_id), lambda row: str(row.name)):
        seen += stat is not None
        what = _difference(stat, row, ours)
        if what:
            counts[what] += 1
            first.setdefault(what, stat.key if stat is not None else row.name)  # type: ignore[union-attr]  # one is there
    subject, classes = f"dataset:{name}", counts.pop("class", 0)
    if counts["gone"] and not seen:
        yield ROOT_EMPTY.found(subject, f"{counts['gone']:,} objects should be at {store.url}", dataset=name)
        return
    if any(counts.values()):
        told = ", ".join(f"{n:,} {what} ({first[what]})" for what, n in sorted(counts.items()) if n)
        yield NOT_YET_SCANNED.found(subject, f"since {iso(scanned_us)}: {told}", dataset=name)
    if classes:
        yield CLASS_CHANGED.found(subject, f"objects: {classes:,}, such as {first['class']}", dataset=name)


def _listed(context: Context, store: Store) -> Iterator[Stat]:
    """What a scan takes for an object."""
    stats = (entry for entry in store.list() if isinstance(entry, Stat) and not is_marker(entry.key))
    return (entry for entry in stats if no_object(entry, context.catalog) is None)


def _difference(stat: Stat | None, row: Any | None, ours: frozenset[str]) -> str:
    """In a word; empty: none."""
    there = row is not None and row.raw_state in _AT_ROOT
    if stat is None:
        return "gone" if there else ""
    if row is None or not there:
        return "" if stat.key in ours or (row is not None and row.raw_state == RawState.RELEASING.value) else "new"
    if row.raw_identity != stat.identity:
        return "changed"
    return "class" if row.raw_class != stat.storage_class else ""


def _attempted(context: Context, dataset_id: int) -> frozenset[str]:
    """Original keys that an attempt of ours is writing, or wrote: such an object is the scan's to judge."""
    mine = sa.and_(attempts.c.dataset_id == dataset_id, attempts.c.kind != AttemptKind.BLOB.value)
    with context.catalog.read() as conn:
        return frozenset(conn.execute(sa.select(attempts.c.key).where(mine)).scalars())


def _rows(context: Context, dataset_id: int) -> Iterator[Any]:
    """A dataset's rows in key order, in short read transactions."""
    o = objects.c
    query = sa.select(o.name, o.raw_state, o.raw_identity, o.raw_class).where(o.dataset_id == dataset_id)
    after = ""
    while True:
        with context.catalog.read() as conn:
            rows = conn.execute(query.where(o.name > after).order_by(o.name).limit(PAGE)).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].name


def damaged(context: Context) -> Iterator[Finding]:
    """What verify found, but for packs (storaged.work.doctor.packs)."""
    o = objects.c
    own = sa.select(o.id, datasets.c.name.label("dataset"), o.name, o.damaged).join(datasets)
    of_blobs = (
        sa.select(o.id, datasets.c.name.label("dataset"), o.name, replicas.c.damaged)
        .select_from(replicas)
        .join(objects, o.id == replicas.c.object_id)
        .join(datasets, datasets.c.id == o.dataset_id)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .where(blobs.c.packed_bytes == 0)
    )
    current = sa.and_(o.damaged.is_not(None), o.raw_state == RawState.CURRENT.value)
    moved = sa.and_(replicas.c.damaged.is_not(None), replicas.c.state == ReplicaState.CURRENT.value)
    for query, wrong, kind in (
        (own, current, DAMAGED_ORIGINAL),
        (of_blobs, moved, DAMAGED_BLOB),
    ):
        after = 0
        while True:
            with context.catalog.read() as conn:
                rows = conn.execute(query.where(wrong, o.id > after).order_by(o.id).limit(PAGE)).all()
            for row in rows:
                name = f"{row.dataset}/{row.name}"
                yield kind.found(name, row.damaged, object=name, dataset=row.dataset)
            if len(rows) < PAGE:
                break
            after = rows[-1].id


def overwritten(context: Context) -> Iterator[Finding]:
    """What was written over at a released key, and not yet confirmed."""
    soon = context.now_us() + context.settings.grace
    for one in kept(context):
        if one.until_us <= soon:  # it was let go
            continue
        name, now = f"{one.dataset}/{one.name}", "is gone" if one.now_bytes is None else f"has {one.now_bytes:,} bytes"
        says = f"generation {one.generation} had {one.bytes:,} bytes, generation {one.now} {now}"
        yield OVERWRITTEN.found(
            name, f"{says}; kept until {iso(one.until_us)}", object=name, generation=str(one.generation)
        )


def stuck(context: Context) -> Iterator[Finding]:
    """Originals that could not be deleted."""
    for one in told(context):
        name = f"{one.dataset}/{one.example}"
        kind = STUCK if one.waiting else KEPT
        says = f"{one.objects:,} objects, {one.bytes:,} bytes, such as {name}: {one.why}"
        yield kind.found(f"dataset:{one.dataset}", says, object=name, dataset=one.dataset)


_AT_ROOT: Final = (RawState.CURRENT.value, RawState.SUPERSEDED.value)
KINDS: Final = (
    NEVER_SCANNED,
    SCAN_LATE,
    SCAN_CUT,
    NOT_YET_SCANNED,
    CLASS_CHANGED,
    ROOT_EMPTY,
    COLLECTIONS,
    DATASET_GONE,
    TIER_GONE,
    DAMAGED_BLOB,
    DAMAGED_ORIGINAL,
    OVERWRITTEN,
    STUCK,
    KEPT,
)
