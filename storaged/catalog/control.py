"""What people ask of jobs: to stop one, to start one again, and what they asked for already."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import sqlalchemy as sa

from storaged.catalog import ledger
from storaged.catalog.items import NewItem, of_row
from storaged.catalog.queue import bury_attempts
from storaged.catalog.schema import job_items, jobs, objects, tiers
from storaged.errors import RefusedByGuard
from storaged.model import ItemState, JobKind, JobState


def retry(conn: sa.Connection, job_id: int, *, now_us: int) -> int:
    """Put a failed or cancelled job's unfinished items back into the queue, against the objects as they are now.

    Returns how many. Raises RefusedByGuard if the job is not in a state to be retried, or has nothing left to do.
    """
    state = conn.execute(sa.select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
    if state not in (JobState.FAILED.value, JobState.CANCELLED.value):
        raise RefusedByGuard(
            f"job {job_id} is {state}; only failed and cancelled jobs can be retried", hint=_next(conn, job_id)
        )
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
        raise RefusedByGuard(f"job {job_id} has nothing left to retry", hint=_next(conn, job_id))
    conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(state=JobState.QUEUED.value, tries=0, not_before_us=now_us, finished_us=None, error=None)
    )
    return count


def _next(conn: sa.Connection, job_id: int) -> str:
    """Why a retry has nothing to do, and what leads on."""
    mine = sa.select(job_items.c.state, sa.func.count()).where(job_items.c.job_id == job_id)
    states = {state: int(number) for state, number in conn.execute(mine.group_by(job_items.c.state))}
    failed = sa.select(job_items.c.object_id).where(
        job_items.c.job_id == job_id, job_items.c.state == ItemState.FAILED.value
    )
    others = sa.select(job_items.c.job_id).where(
        job_items.c.state == ItemState.PENDING.value, job_items.c.object_id.in_(failed)
    )
    told = []
    if states.get(ItemState.PENDING.value):
        told.append(
            f"{states[ItemState.PENDING.value]:,} of its objects wait: `storagectl work` or the daemon runs them when "
            f"its time has come; `storagectl job cancel {job_id}` and then `storagectl job retry {job_id}` do not wait"
        )
    if held := sorted(set(conn.execute(others).scalars())):
        told.append(f"what failed is in job {held[0]} now: `storagectl job show {held[0]}`")
    if states.get(ItemState.SKIPPED.value):
        told.append(
            f"{states[ItemState.SKIPPED.value]:,} were skipped, as they were not as planned any more: "
            "`storagectl scan`, then `storagectl plan` takes them up as they are now"
        )
    return "; ".join(told) or f"`storagectl job show {job_id}` lists what became of its objects"


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


def asked_already(
    conn: sa.Connection, kind: JobKind, items: Iterable[NewItem], among: Collection[int]
) -> dict[int, int]:
    """Of these items those for which one of these jobs, asked for by a person, is to do the very same: by object id."""
    found = conn.execute(
        sa.select(job_items, tiers.c.name.label("tier"))
        .select_from(job_items)
        .join(jobs, jobs.c.id == job_items.c.job_id)
        .join(tiers, tiers.c.id == job_items.c.tier_id, isouter=True)
        .where(
            jobs.c.id.in_(among),
            jobs.c.kind == kind.value,
            jobs.c.plan_id.is_(None),
            job_items.c.state == ItemState.PENDING.value,
        )
    )
    queued = {row.object_id: row for row in found}
    return {
        item.object_id: row.job_id
        for item in items
        if (row := queued.get(item.object_id)) is not None
        and (row.version, replace(of_row(row), grace_us=item.to.grace_us)) == (item.version, item.to)
    }
