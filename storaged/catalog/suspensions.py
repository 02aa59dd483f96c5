"""What nothing is done for: a policy that fails too often, a tier that is full, a place that is away or forbidden.

A suspension stops the jobs that would touch it, and nothing else: they wait in the queue. One with a time for a retry
is lifted by whoever finds the place well again, a daemon or a command; any can be resumed by a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from storaged.catalog.inserts import into
from storaged.catalog.schema import blobs, datasets, job_items, jobs, replicas, tiers
from storaged.catalog.schema_daemon import suspensions
from storaged.model import ItemState, ReplicaState

Kind = Literal["policy", "tier", "dataset"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why and since when nothing is done for a policy, tier or dataset. `retry_us` None: until a person resumes it.
    `writes`: of a tier, only writes are stopped."""

    kind: Kind
    name: str
    reason: str
    since_us: int
    actor: str
    retry_us: int | None = None
    writes: bool = False
    tries: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def suspend(conn: sa.Connection, what: Suspension) -> bool:
    """Write a suspension down, or its new reason and retry where there is one. Whether it is new."""
    mine = sa.and_(suspensions.c.kind == what.kind, suspensions.c.name == what.name)
    row = into(suspensions, conn.dialect.name).values({n: getattr(what, n) for n in Suspension.__slots__})
    if conn.execute(row.on_conflict_do_nothing().returning(suspensions.c.name)).first() is not None:
        return True
    old = conn.execute(sa.select(suspensions).where(mine).with_for_update()).one_or_none()
    if old is None:  # lifted at this very moment: as if that had been a moment later
        return False
    if old.retry_us is not None:  # what a person must resume stays so, with its first reason
        conn.execute(
            sa.update(suspensions)
            .where(mine)
            .values(reason=what.reason, retry_us=what.retry_us, writes=what.writes, tries=old.tries + 1)
        )
    return False


def resume(conn: sa.Connection, kind: str, name: str, *, tried: bool = False) -> bool:
    """Lift a suspension. Whether there was one. `tried`: not one that waits for a person."""
    mine = sa.and_(suspensions.c.kind == kind, suspensions.c.name == name)
    if tried:
        mine = sa.and_(mine, suspensions.c.retry_us.is_not(None))
    return conn.execute(sa.delete(suspensions).where(mine)).rowcount > 0


def suspended(conn: sa.Connection) -> list[Suspension]:
    """All that is suspended, by kind and name."""
    query = sa.select(suspensions).order_by(suspensions.c.kind, suspensions.c.name)
    return [Suspension(**{n: getattr(row, n) for n in Suspension.__slots__}) for row in conn.execute(query)]


def untouched(conn: sa.Connection) -> sa.ColumnElement[bool] | None:
    """Of a job: that nothing it touches is suspended. None: nothing is suspended at all."""
    found = suspended(conn)
    if not found:
        return None
    names = {kind: [s.name for s in found if s.kind == kind] for kind in ("policy", "dataset")}
    away = [s.name for s in found if s.kind == "tier" and not s.writes]
    full = [s.name for s in found if s.kind == "tier"]
    pending = sa.and_(job_items.c.job_id == jobs.c.id, job_items.c.state == ItemState.PENDING.value)
    into = sa.exists().where(pending, job_items.c.tier_id == tiers.c.id, tiers.c.name.in_(full))
    out_of = sa.exists().where(
        pending,
        replicas.c.object_id == job_items.c.object_id,
        replicas.c.state == ReplicaState.CURRENT.value,
        blobs.c.id == replicas.c.blob_id,
        tiers.c.id == blobs.c.tier_id,
        tiers.c.name.in_(away),
    )
    root = sa.exists().where(datasets.c.id == jobs.c.dataset_id, datasets.c.name.in_(names["dataset"]))
    return sa.and_(sa.or_(jobs.c.policy.is_(None), jobs.c.policy.not_in(names["policy"])), ~root, ~into, ~out_of)
