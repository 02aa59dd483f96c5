"""Stop a job, or start one again: what people ask of jobs."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog import ledger
from storaged.catalog.queue import bury_attempts
from storaged.catalog.schema import job_items, jobs, objects
from storaged.errors import RefusedByGuard
from storaged.model import ItemState, JobState


def retry(conn: sa.Connection, job_id: int, *, now_us: int) -> int:
    """Put a failed or cancelled job's unfinished items back into the queue, against the objects as they are now.

    Returns how many. Raises RefusedByGuard if the job is not in a state to be retried, or has nothing left to do.
    """
    state = conn.execute(sa.select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
    if state not in (JobState.FAILED.value, JobState.CANCELLED.value):
        raise RefusedByGuard(f"job {job_id} is {state}; only failed and cancelled jobs can be retried")
    busy = sa.select(job_items.c.object_id).where(job_items.c.state == ItemState.PENDING.value)
    now_version = sa.select(objects.c.version).where(objects.c.id == job_items.c.object_id).scalar_subquery()
    count = conn.execute(
        sa.update(job_items)
        .where(
            job_items.c.job_id == job_id,
            job_items.c.state == ItemState.FAILED.value,
            job_items.c.object_id.not_in(busy),
        )
        .values(state=ItemState.PENDING.value, version=now_version, note=None)
    ).rowcount
    if count == 0:
        raise RefusedByGuard(f"job {job_id} has nothing left to retry")
    conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(state=JobState.QUEUED.value, tries=0, not_before_us=now_us, finished_us=None, error=None)
    )
    return count


def cancel(conn: sa.Connection, job_id: int, *, now_us: int, reason: str) -> None:
    """Stop a job: what is swapped stays, what is staged becomes tombstones, its worker finds its lease lost.

    Raises RefusedByGuard if the job is over already.
    """
    done = conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]))
        .values(state=JobState.CANCELLED.value, lease=None, lease_until_us=None, finished_us=now_us, error=reason)
    )
    if done.rowcount == 0:
        raise RefusedByGuard(f"job {job_id} is over already or unknown")
    conn.execute(
        sa.update(job_items)
        .where(job_items.c.job_id == job_id, job_items.c.state == ItemState.PENDING.value)
        .values(state=ItemState.FAILED.value, note=reason)
    )
    bury_attempts(conn, job_id, note=reason, now_us=now_us)
    ledger.pay_back(conn, job_id, now_us=now_us)
