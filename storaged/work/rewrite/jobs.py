"""What the catalog says of jobs: as the view `v_jobs` shows them, their objects, and where their time went."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets, job_items, objects
from storaged.catalog.schema import jobs as table
from storaged.catalog.turns import MAX_TRIES, due
from storaged.clock import iso
from storaged.errors import UsageError
from storaged.model import ItemState, JobState


@dataclass(slots=True)
class JobsSummary:
    """What became of the objects of some jobs. Bytes are stored bytes of those that are done."""

    jobs: list[int]
    states: dict[str, int] = field(default_factory=dict)
    before_bytes: int = 0
    after_bytes: int = 0
    notes: list[tuple[str, str, str]] = field(default_factory=list)  # (object, state, why)
    waits: dict[int, str] = field(default_factory=dict)  # why a job may not be taken up now, by its number

    def of(self, state: str) -> int:
        return self.states.get(state, 0)


def list_jobs(catalog: Catalog, states: Sequence[str], *, limit: int) -> list[dict[str, Any]]:
    """Rows of `v_jobs` of jobs in these states, newest first."""
    query = sa.text("SELECT * FROM v_jobs WHERE state IN :states ORDER BY job DESC LIMIT :limit")
    query = query.bindparams(sa.bindparam("states", expanding=True))
    with catalog.read() as conn:
        return [dict(row) for row in conn.execute(query, {"states": states, "limit": limit}).mappings()]


def load_job(catalog: Catalog, number: int) -> dict[str, Any]:
    """A job's row of `v_jobs`. Raises UsageError."""
    with catalog.read() as conn:
        row = conn.execute(sa.text("SELECT * FROM v_jobs WHERE job = :number"), {"number": number}).mappings().first()
    if row is None:
        raise UsageError(f"there is no job {number}", hint="`storagectl jobs` lists them")
    return dict(row)


def items_of(catalog: Catalog, number: int) -> list[dict[str, Any]]:
    """A job's objects by name: `name`, `state`, `before_bytes`, `after_bytes` (stored), `note`."""
    items = job_items.c
    query = (
        sa.select(objects.c.name, items.state, items.before_bytes, items.after_bytes, items.note)
        .join(objects, objects.c.id == items.object_id)
        .where(items.job_id == number)
        .order_by(objects.c.name)
    )
    with catalog.read() as conn:
        return [dict(row) for row in conn.execute(query).mappings()]


def timings_of(catalog: Catalog, number: int) -> dict[str, Any] | None:
    """Where the time of a job's last try went (storaged.clock.Timings), if it came to its end."""
    with catalog.read() as conn:
        text = conn.execute(sa.select(table.c.timings).where(table.c.id == number)).scalar_one()
    return None if text is None else dict(json.loads(text))


def not_due(
    conn: sa.Connection, numbers: Collection[int] | None = None, *, now_us: int, lease_us: int
) -> dict[int, str]:
    """Of these jobs (None: all) those that are not over and that no worker may take up now: why, and until when."""
    query = sa.select(table).where(
        table.c.state.in_((JobState.QUEUED.value, JobState.RUNNING.value)), sa.not_(due(conn, now_us, lease_us))
    )
    if numbers is not None:
        query = query.where(table.c.id.in_(numbers))
    return {row.id: _why_not(row, now_us) for row in conn.execute(query.order_by(table.c.id))}


def _why_not(job: sa.Row[Any], now_us: int) -> str:
    if job.state == JobState.RUNNING.value:
        if job.tries >= MAX_TRIES:
            return f"{job.worker} is at work on it, at the last of {MAX_TRIES} tries"
        return (
            f"{job.worker} is at work on it; should that be dead, another may take it over "
            f"after {iso(job.lease_until_us)}"
        )
    if job.not_before_us > now_us:
        return f"it waits until {iso(job.not_before_us)}" + (f": {job.error}" if job.error else "")
    return "what it touches is suspended: `storagectl suspensions`"


def jobs_of(catalog: Catalog, plan_id: int) -> list[int]:
    """The jobs of a plan, oldest first."""
    with catalog.read() as conn:
        return list(
            conn.execute(sa.select(table.c.id).where(table.c.plan_id == plan_id).order_by(table.c.id)).scalars()
        )


def what_ran(catalog: Catalog, jobs: Iterable[int], *, now_us: int, lease_us: int) -> JobsSummary:
    """What became of these jobs' objects up to now."""
    ran, items = JobsSummary(list(jobs)), job_items.c
    mine = items.job_id.in_(ran.jobs)
    totals = sa.select(
        items.state,
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(items.before_bytes), 0),
        sa.func.coalesce(sa.func.sum(items.after_bytes), 0),
    )
    notes = (
        sa.select(datasets.c.name, objects.c.name.label("object"), items.state, items.note)
        .select_from(job_items)
        .join(objects, objects.c.id == items.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(mine, items.note.is_not(None))
        .order_by(datasets.c.name, objects.c.name)
    )
    with catalog.read() as conn:
        for state, number, before, after in conn.execute(totals.where(mine).group_by(items.state)):
            ran.states[state] = number
            if state == ItemState.DONE.value:
                ran.before_bytes, ran.after_bytes = int(before), int(after)
        ran.notes = [(f"{r.name}/{r.object}", r.state, r.note) for r in conn.execute(notes)]
        if ran.of(ItemState.PENDING.value):
            ran.waits = not_due(conn, ran.jobs, now_us=now_us, lease_us=lease_us)
    return ran
