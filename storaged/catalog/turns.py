"""Which job goes next: the shortest of those that have waited the same time, and none for ever behind shorter ones.

A job's turn is when it would be over if it ran alone from the moment it was enqueued, at a speed that any machine has.
So small batches pass large ones that came shortly before, and a job that came later by more than the large one takes
goes behind it. (Shortest job first, with the wait bounded by the job's own length, at most LONGEST.)
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import jobs
from storaged.catalog.suspensions import untouched
from storaged.clock import DAY, SECOND
from storaged.model import JobState

SPEED: Final = 50 << 20  # bytes per second; sets how far small jobs may pass large ones, not how fast either runs
EACH: Final = SECOND // 100  # for any object, however small
LONGEST: Final = DAY
MAX_TRIES: Final = 5


def turn(now_us: int, objects: int, nbytes: int) -> int:
    """The turn of a job that is enqueued now: microseconds since 1970."""
    return now_us + min(objects * EACH + nbytes * SECOND // SPEED, LONGEST)


def lapsed(until: sa.ColumnElement[int], now_us: int, lease_us: int) -> sa.ColumnElement[bool]:
    """Whether a lease is over. One that ends later than any could that is taken now was taken before the clock was
    put back, and holds nobody up."""
    return sa.or_(until < now_us, until > now_us + 2 * lease_us)


def due(conn: sa.Connection, now_us: int, lease_us: int) -> sa.ColumnElement[bool]:
    """Of a job: that it may be claimed now."""
    waits = sa.and_(jobs.c.state == JobState.QUEUED.value, jobs.c.not_before_us <= now_us)
    left = sa.and_(
        jobs.c.state == JobState.RUNNING.value,
        lapsed(jobs.c.lease_until_us, now_us, lease_us),
        jobs.c.tries < MAX_TRIES,
    )
    free = untouched(conn)
    either = sa.or_(waits, left)
    return either if free is None else sa.and_(either, free)


def waiting(conn: sa.Connection, now_us: int, lease_us: int) -> bool:
    """Whether any job may be claimed now."""
    return conn.execute(sa.select(jobs.c.id).where(due(conn, now_us, lease_us)).limit(1)).first() is not None


def postpone(conn: sa.Connection, job_id: int, until_us: int, why: str) -> None:
    """A job that waits in the queue is not due before then, and says why."""
    waits = sa.and_(jobs.c.id == job_id, jobs.c.state == JobState.QUEUED.value)
    conn.execute(sa.update(jobs).where(waits).values(not_before_us=until_us, error=why))
