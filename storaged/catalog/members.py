"""The objects of a job that are one to it, the members of a pack that it makes or the parts of what it moves whole:
claimed all at once in a few statements, and read page by page, since there may be a million of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import attempts
from storaged.catalog.among import among
from storaged.catalog.items import ROWS, TOLD, Item, To, ToTier, key_at, of_columns, of_row
from storaged.catalog.placements import Seen, chunks, load
from storaged.catalog.schema import blobs, job_items, objects, replicas, tiers
from storaged.clock import new_id
from storaged.errors import CatalogError
from storaged.model import ItemState, RawState, ReplicaState

GONE = "the catalog has no such object any more"
RECORDING = "a change by its user is being recorded"
CHANGED = "changed since it was planned"

_PLANNED: Final = ROWS.with_only_columns(job_items.c.object_id, job_items.c.version, *TOLD)


@dataclass(frozen=True, slots=True)
class Members:
    """What a job's pack is made of, as it was claimed: so many objects and bytes of content, with `text` characters of
    names and metadata. `tiers`, `at_root`: where they are. All of them go where `to` says, into one blob."""

    attempt: str
    key: str
    to: ToTier
    objects: int
    bytes: int
    text: int
    tiers: tuple[str, ...]
    at_root: bool

    def attempt_at(self, _it: Seen, _to: To) -> tuple[str, str]:
        """The one attempt at all of them, and its key."""
        return self.attempt, self.key


AttemptAt = Callable[[Seen, To], tuple[str, str]]  # the attempt at an object, and its key


@dataclass(frozen=True, slots=True)
class WholeParts:
    """What a job moves whole, as it was claimed: so many objects, which all go where `to` says, each by an attempt of
    its own that is begun with its page. `tiers`, `at_root`: where they are."""

    to: To
    objects: int
    tiers: tuple[str, ...]
    at_root: bool


def own_attempt(it: Seen, to: To) -> tuple[str, str]:
    """A new attempt at this object alone."""
    attempt = new_id()
    return attempt, key_at(to, it.placement.name, attempt, it.placement.dataset)


def not_as_planned(it: Seen | None, version: int) -> str:
    """Why an object that a job was made for at a version is left out of it; empty: it is as it was."""
    if it is None:
        return GONE
    if it.fact_id is not None:
        return RECORDING
    if it.version != version:
        return CHANGED
    return ""


def claim(conn: sa.Connection, job: Any, dataset: str, *, now_us: int) -> tuple[Members | None, int]:
    """The members of a job's pack, with the intent of the one attempt at all of them; None: none is left. And how many
    were not as planned any more: these are skipped."""
    pending = _pending(job.id)
    skipped = _skip_stale(conn, pending)
    to = _first(conn, pending)
    if to is None:
        return None, skipped
    if not isinstance(to, ToTier):
        raise CatalogError(f"job {job.id} makes a pack of what goes to no tier")
    attempt = new_id()
    key = key_at(to, "", attempt, dataset, job.pack)
    attempts.begin_together(
        conn, job.id, pending, dataset_id=job.dataset_id, attempt=attempt, to=to, key=key, now_us=now_us
    )
    here = _here(pending)
    text = sa.func.length(objects.c.name) + sa.func.length(objects.c.metadata)
    sums = (sa.func.count(), sa.func.sum(objects.c.size), sa.func.sum(text))
    count, size, characters = conn.execute(here.with_only_columns(*sums)).one()
    return Members(attempt, key, to, int(count), int(size), int(characters), *_where(conn, pending)), skipped


def claim_parts(conn: sa.Connection, job: Any) -> tuple[WholeParts | None, int]:
    """The parts of what a job moves whole; None: none is left. Where one is not as planned any more all are skipped,
    and so many are told."""
    pending = _pending(job.id)
    to = _first(conn, pending)
    if to is None:
        return None, 0
    if skipped := _skip_stale(conn, pending):
        stale = sa.select(job_items.c.note, objects.c.name).outerjoin(objects, objects.c.id == job_items.c.object_id)
        skip = sa.and_(job_items.c.job_id == job.id, job_items.c.note.in_([GONE, RECORDING, CHANGED]))
        why, name = conn.execute(stale.where(skip).order_by(job_items.c.object_id).limit(1)).one()
        note = f"it moves whole or not at all: {name or 'a part of it'}: {why}"
        left = sa.update(job_items).where(pending).values(state=ItemState.SKIPPED.value, note=note)
        return None, skipped + conn.execute(left).rowcount
    count = conn.execute(_here(pending).with_only_columns(sa.func.count())).scalar_one()
    return WholeParts(to, int(count), *_where(conn, pending)), 0


def _pending(job_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(job_items.c.job_id == job_id, job_items.c.state == ItemState.PENDING.value)


def _first(conn: sa.Connection, pending: sa.ColumnElement[bool]) -> To | None:
    """What is to become of one of these items, and so of all."""
    row = conn.execute(ROWS.where(pending).order_by(job_items.c.object_id).limit(1)).one_or_none()
    return None if row is None else of_row(row)


def _here(pending: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(job_items).join(objects, objects.c.id == job_items.c.object_id).where(pending)


def _where(conn: sa.Connection, pending: sa.ColumnElement[bool]) -> tuple[tuple[str, ...], bool]:
    """The tiers that these items are in, and whether any is at its root."""
    inside = (
        sa.select(tiers.c.name)
        .select_from(job_items)
        .join(replicas, replicas.c.object_id == job_items.c.object_id)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .where(pending, replicas.c.state == ReplicaState.CURRENT.value)
    )
    at_root = _here(pending).where(objects.c.raw_state == RawState.CURRENT.value)
    return (
        tuple(conn.execute(inside.distinct().order_by(tiers.c.name)).scalars()),
        conn.execute(at_root.with_only_columns(sa.literal(1)).limit(1)).scalar() is not None,
    )


def _skip_stale(conn: sa.Connection, pending: sa.ColumnElement[bool]) -> int:
    """Those of these items that are not as planned any more are skipped, each with its reason (`not_as_planned`)."""
    mine = objects.c.id == job_items.c.object_id
    fresh = sa.and_(mine, objects.c.fact_id.is_(None), objects.c.version == job_items.c.version)
    told = sa.case((objects.c.fact_id.is_not(None), RECORDING), else_=CHANGED)
    why = sa.func.coalesce(sa.select(told).where(mine).scalar_subquery(), GONE)
    values = {"state": ItemState.SKIPPED.value, "note": why, "before_bytes": 0, "after_bytes": 0}
    stale = sa.and_(pending, ~sa.exists().where(fresh))
    return conn.execute(sa.update(job_items).where(stale).values(values)).rowcount


def in_order(conn: sa.Connection, job_id: int) -> array[int]:
    """The objects of a job that are still to be dealt with, by id, in the order of their names."""
    query = (
        sa.select(job_items.c.object_id)
        .join(objects, objects.c.id == job_items.c.object_id)
        .where(job_items.c.job_id == job_id, job_items.c.state == ItemState.PENDING.value)
        .order_by(objects.c.name)
    )
    found = array("q")
    for part in conn.execute(query).scalars().partitions(10_000):
        found.extend(part)
    return found


def page(
    conn: sa.Connection, job_id: int, attempt_at: AttemptAt, ids: Sequence[int]
) -> tuple[list[Item], dict[int, tuple[str, str]]]:
    """These objects of a job in this order, each with what is to become of it; and of those that are not as planned any
    more by id their names and why."""
    seen = load(conn, ids)
    rows: dict[int, tuple[int, To]] = {}
    for part in chunks(ids):
        mine = sa.and_(job_items.c.job_id == job_id, among(job_items.c.object_id, part))
        for number, version, *told in conn.execute(_PLANNED.where(mine)):
            rows[number] = version, of_columns(*told)
    items, stale = [], {}
    for number in ids:
        it, (version, to) = seen.get(number), rows[number]
        why = not_as_planned(it, version)
        if it is None or why:
            stale[number] = (it.placement.name if it else "", why)
        else:
            attempt, key = attempt_at(it, to)
            items.append(Item(it, attempt, to, key))
    return items, stale


def names(conn: sa.Connection, ids: Sequence[int]) -> dict[int, str]:
    """What these objects are called."""
    found: dict[int, str] = {}
    for part in chunks(ids):
        query = sa.select(objects.c.id, objects.c.name).where(among(objects.c.id, part))
        found |= {row.id: row.name for row in conn.execute(query)}
    return found
