"""Whose file is it? What an attempt of ours that was never committed left at an original key is no object, and what it
gave another storage class there is no new generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.attempts import STAGED, TOMBSTONE, Visible, made_visible
from storaged.catalog.placements import Seen, chunks
from storaged.catalog.queue import ClaimedJob
from storaged.catalog.schema import datasets, job_items, jobs, objects
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.turns import lapsed
from storaged.errors import ObjectNotFound, SourceChanged, StoreError
from storaged.model import AttemptKind, JobState, Origin, Placement, RawState
from storaged.stores.base import Stat, Store
from storaged.stores.origins import left_by, tells_of
from storaged.work.content import known_digest, stored_digest
from storaged.work.context import Context


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the catalog has of an attempt at an original key that was never recorded.

    `identity`, `digest`: what it made visible there, once it has; empty before. `alive`: its worker still has the job.
    """

    id: str
    identity: str
    digest: str
    alive: bool


def is_leftover(context: Context, dataset: str, key: str, found: Stat) -> bool:
    """Whether the key holds what an uncommitted attempt wrote there, untouched since.

    A user's copy or rename of what we once wrote back, and what a user touched in any way, is the user's: the whole
    identity decides where the attempt lived to note it, else the content's digest (docs/adr/0004, 0023).
    """
    told = _told(context, dataset, key, found)
    attempt = _attempt(context, dataset, key, told)
    if told is None or attempt is None:
        return False
    if attempt.identity and not attempt.alive:
        return found.identity == attempt.identity
    digest = attempt.digest or told.digest
    return attempt.alive or not digest or _digest(context.root(dataset), found) == digest


def returned_by(context: Context, seen: Seen, found: Stat) -> str | None:
    """The attempt that put the object's content of this very generation back to its original key, and died before that
    was recorded; None: none did. Content decides: what its user did to the file's mode since stays done."""
    p = seen.placement
    if p.current is None or p.raw.state not in (RawState.RELEASED, RawState.ABSENT):
        return None
    told = _told(context, p.dataset, p.name, found)
    attempt = _attempt(context, p.dataset, p.name, told)
    if told is None or attempt is None or attempt.alive:
        return None
    known = known_digest(seen, p.current)
    if (told.generation, found.size) != (p.generation, p.size) or not known:
        return None
    return attempt.id if _digest(context.root(p.dataset), found, like=known) == known else None


def note_shown(context: Context, dataset: str) -> None:
    """Have the catalog know of what attempts made visible at a root and died before they could note it, where the root
    can tell (Store.shown). One that is away tells nothing."""
    root = context.root(dataset)
    try:
        shown = root.shown()
    except StoreError:
        return
    if not shown:
        return
    alive = _alive(context.now_us(), context.settings.workers.lease)
    # the version that it was claimed at is the one whose content it put back
    digest = (
        sa.select(objects.c.digest)
        .join(job_items, job_items.c.object_id == objects.c.id)
        .where(objects.c.dataset_id == attempts.c.dataset_id, objects.c.name == attempts.c.key)
        .where(job_items.c.job_id == attempts.c.job_id, job_items.c.version == objects.c.version)
        .scalar_subquery()
    )
    dead: list[tuple[str, str, str]] = []
    with context.catalog.read() as conn:  # most are of workers that live, and nothing is to be written
        for part in chunks(list(shown)):
            rows = conn.execute(
                sa.select(attempts.c.id, attempts.c.visible_identity, sa.func.coalesce(digest, "").label("digest"))
                .outerjoin(jobs, jobs.c.id == attempts.c.job_id)
                .where(attempts.c.id.in_(part), sa.not_(alive))
            )
            dead += [(row.id, row.visible_identity, row.digest) for row in rows]
    unnoted = [(attempt, of) for attempt, identity, of in dead if not identity]
    if unnoted:
        with context.catalog.begin() as conn:
            made_visible(conn, [Visible(attempt, shown[attempt], of) for attempt, of in unnoted])
    for attempt, _, _ in dead:
        root.forget_shown(attempt)


def once_visible(conn: sa.Connection, seen: Iterable[Seen], *, now_us: int, lease_us: int) -> set[int]:
    """Of these objects those whose content was back at its original key, by an attempt of a worker that is gone, and of
    which nothing was recorded since: where the key shows nothing now, its user deleted it."""
    found: set[int] = set()
    of = {h.id: h for h in seen if h.placement.raw.state is RawState.RELEASED and h.placement.current}
    for part in chunks(list(of)):
        for row in conn.execute(_visible(now_us, lease_us).where(objects.c.id.in_(part))):
            h = of[row.id]
            if row.version == h.version and row.digest == h.placement.digest:
                found.add(row.id)
    return found


def left_visible(conn: sa.Connection, dataset_id: int, *, now_us: int, lease_us: int) -> list[int]:
    """The objects of a dataset whose content was put back by an attempt that was never recorded."""
    query = _visible(now_us, lease_us).where(objects.c.dataset_id == dataset_id)
    return sorted({row.id for row in conn.execute(query)})


def tried_before(conn: sa.Connection, claimed: ClaimedJob) -> set[int]:
    """The objects of a job that an earlier attempt may have put back to their original keys."""
    of = {(i.seen.dataset_id, i.key): i.seen.id for i in claimed.items}
    found: set[int] = set()
    for part in chunks([i.key for i in claimed.items]):
        query = sa.select(attempts.c.dataset_id, attempts.c.key).where(_RETURN, attempts.c.key.in_(part))
        for row in conn.execute(query.where(TOMBSTONE)):
            found |= {of[row.dataset_id, row.key]} if (row.dataset_id, row.key) in of else set()
    return found


def _visible(now_us: int, lease_us: int) -> sa.Select[Any]:
    """Objects beside the attempts that made them visible, at a job's claim of the version that they still have."""
    return (
        sa.select(objects.c.id, objects.c.version, attempts.c.visible_digest.label("digest"))
        .select_from(attempts)
        .join(objects, sa.and_(objects.c.dataset_id == attempts.c.dataset_id, objects.c.name == attempts.c.key))
        .join(job_items, sa.and_(job_items.c.job_id == attempts.c.job_id, job_items.c.object_id == objects.c.id))
        .outerjoin(jobs, jobs.c.id == attempts.c.job_id)
        .where(_RETURN, attempts.c.visible_identity != "", job_items.c.version == objects.c.version)
        .where(sa.not_(_alive(now_us, lease_us)))
    )


def _told(context: Context, dataset: str, key: str, found: Stat) -> Origin | None:
    """What the file says of who wrote it, if that is us, for this object, with this size and time."""
    try:
        told = context.root(dataset).origin(key)
    except ObjectNotFound:
        return None
    if told is None or not tells_of(told, dataset, key):
        return None
    return told if told.size == found.size and left_by(told.attempt, told, found) else None


def _attempt(context: Context, dataset: str, key: str, told: Origin | None) -> Attempt | None:
    if told is None:
        return None
    alive = _alive(context.now_us(), context.settings.workers.lease)
    query = (
        sa.select(attempts.c.id, attempts.c.visible_identity, attempts.c.visible_digest, alive.label("alive"))
        .outerjoin(jobs, jobs.c.id == attempts.c.job_id)
        .join(datasets, datasets.c.id == attempts.c.dataset_id)
        .where(attempts.c.id == told.attempt, _RETURN, datasets.c.name == dataset, attempts.c.key == key)
    )
    with context.catalog.read() as conn:
        row = conn.execute(query).one_or_none()
    return None if row is None else Attempt(row.id, row.visible_identity, row.visible_digest, bool(row.alive))


def _alive(now_us: int, lease_us: int) -> sa.ColumnElement[bool]:
    """Of an attempt beside its job: its worker has the job, and will record it or give it up."""
    running = sa.and_(jobs.c.state == JobState.RUNNING.value, sa.not_(lapsed(jobs.c.lease_until_us, now_us, lease_us)))
    return sa.func.coalesce(sa.and_(STAGED, running), sa.false())


def _digest(store: Store, found: Stat, *, like: str = "") -> str | None:
    """Of what is stored, if it is still that; None: somebody is at it."""
    try:
        with store.open(found.key, identity=found.identity) as reader:
            return stored_digest(reader, like=like)
    except (SourceChanged, ObjectNotFound):
        return None


@dataclass(frozen=True, slots=True)
class Intent:
    """What an attempt that was never recorded meant to do in place: give what has this identity, and this checksum of
    the store's, another storage class."""

    identity: str
    checksum: str
    storage_class: str


def transitions_of(conn: sa.Connection, seen: Iterable[Seen]) -> dict[int, list[Intent]]:
    """The transitions that were begun and never recorded, by object id."""
    found: dict[int, list[Intent]] = {}
    for part in chunks([h.id for h in seen if h.placement.raw.state is RawState.CURRENT]):
        query = (
            sa.select(objects.c.id, attempts.c.source_identity, attempts.c.source_checksum, attempts.c.storage_class)
            .join(objects, sa.and_(objects.c.dataset_id == attempts.c.dataset_id, objects.c.name == attempts.c.key))
            .where(objects.c.id.in_(part), attempts.c.kind == AttemptKind.TRANSITION.value)
        )
        for row in conn.execute(query):
            found.setdefault(row.id, []).append(Intent(row.source_identity, row.source_checksum, row.storage_class))
    return found


def is_transition(store: Store, p: Placement, found: Stat, intents: Sequence[Intent]) -> bool:
    """Whether what stands at the original key now is what stood there before, in another storage class, by our doing.

    Without a checksum of all its bytes by the store itself nobody can tell: then it counts as its user's.
    """
    meant = [
        i for i in intents if i.identity == p.raw.identity and i.checksum and i.storage_class == found.storage_class
    ]
    if not meant or found.size != p.size:
        return False
    return store.checksum(p.name) in {i.checksum for i in meant}


_RETURN: Final = attempts.c.kind == AttemptKind.RETURN.value
