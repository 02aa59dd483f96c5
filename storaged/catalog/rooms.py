"""What tiers store, what jobs are going to bring into them, and what will go of itself. Bytes by tier id.

A promise counts from the transaction that looked whether it fits until its job is over. What the job has written by
then counts twice for that time: a tier may look fuller than it is, and never emptier.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.allocated import MORE
from storaged.catalog.blobs import SHARE
from storaged.catalog.schema import blobs, datasets, job_items, jobs, objects, replicas
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_moves import promises
from storaged.catalog.schema_totals import blob_totals, object_totals
from storaged.model import ItemState, JobState, RawState, ReplicaState

_LOCK_KEY: Final = 0x524F_4F4D_53  # "ROOMS": any constant, for Postgres' advisory lock
_LIVE: Final = (JobState.QUEUED.value, JobState.RUNNING.value)
_IN_GRACE: Final = (RawState.SUPERSEDED.value, RawState.RELEASING.value)


def serialised(conn: sa.Connection) -> None:
    """From here to its end, no other transaction of this catalog promises any room. (SQLite's are alone anyway.)"""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))


def stored(conn: sa.Connection) -> dict[int, int]:
    """What is there: blobs, and original keys in the tiers of their datasets; also what is kept through a grace,
    and what discarded attempts are known to have left."""
    held = object_totals.c
    takes = sa.case((held.raw_state == RawState.CURRENT.value, held.stored_bytes), else_=held.size)
    raw = (
        sa.select(datasets.c.tier_id, sa.func.sum(takes))
        .join(object_totals, object_totals.c.dataset_id == datasets.c.id)
        .where(object_totals.c.raw_state.in_((*_IN_GRACE, RawState.CURRENT.value)))
        .group_by(datasets.c.tier_id)
    )
    ours = sa.select(blob_totals.c.tier_id, sa.func.sum(blob_totals.c.size)).group_by(blob_totals.c.tier_id)
    left = sa.select(attempts.c.tier_id, sa.func.sum(attempts.c.size)).group_by(attempts.c.tier_id)
    return _added(conn, (raw, *_in_grace(), ours, left))


def promised(conn: sa.Connection) -> dict[int, int]:
    """What the jobs that are not over are going to bring."""
    query = sa.select(promises.c.tier_id, sa.func.sum(promises.c.bytes)).join(jobs, jobs.c.id == promises.c.job_id)
    return _added(conn, (query.where(jobs.c.state.in_(_LIVE)).group_by(promises.c.tier_id),))


def leaving(conn: sa.Connection) -> dict[int, int]:
    """What will be gone once graces and jobs are over: superseded places, and what jobs take elsewhere."""
    raw = (
        sa.select(datasets.c.tier_id, sa.func.sum(object_totals.c.size))
        .join(object_totals, object_totals.c.dataset_id == datasets.c.id)
        .where(object_totals.c.raw_state.in_(_IN_GRACE))
        .group_by(datasets.c.tier_id)
    )
    old = (
        sa.select(blobs.c.tier_id, sa.func.sum(SHARE))
        .select_from(replicas)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .where(replicas.c.state != ReplicaState.CURRENT.value, sa.not_(replicas.c.overwritten))
        .group_by(blobs.c.tier_id)
    )
    taken = (
        sa.select(objects.c.tier_id, sa.func.sum(objects.c.stored_bytes))
        .select_from(job_items)
        .join(objects, objects.c.id == job_items.c.object_id)
        .where(job_items.c.state == ItemState.PENDING.value, job_items.c.tier_id != objects.c.tier_id)
        .group_by(objects.c.tier_id)
    )
    return _added(conn, (raw, *_in_grace(), old, taken))


def _in_grace() -> Iterator[sa.Select[Any]]:
    """What superseded originals take more than the totals have of them: those that are another edition than their
    object, and those that take less than their size."""
    for which, bytes_more in MORE:
        more = sa.select(datasets.c.tier_id, sa.func.sum(bytes_more))
        more = more.join(objects, objects.c.dataset_id == datasets.c.id)
        yield more.where(which, objects.c.raw_state.in_(_IN_GRACE)).group_by(datasets.c.tier_id)


def promise(conn: sa.Connection, job_id: int, room: Mapping[int, int]) -> None:
    """A new job takes this much."""
    rows = [{"job_id": job_id, "tier_id": tier_id, "bytes": nbytes} for tier_id, nbytes in sorted(room.items())]
    if rows:
        conn.execute(sa.insert(promises), rows)


def _added(conn: sa.Connection, queries: Iterable[sa.Select[Any]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for query in queries:
        for tier_id, total in conn.execute(query):
            if tier_id is not None:
                found[tier_id] = found.get(tier_id, 0) + int(total or 0)
    return found
