"""What became of the objects of jobs, of one plan or of some that ended. Looks at a bounded number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import job_items, jobs
from storaged.model import ItemState, JobState

LOOKED_AT: Final = 20_000  # objects of jobs for one answer
_ITEMS: Final = sa.select(job_items.c.state, job_items.c.before_bytes, job_items.c.after_bytes)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Objects by what became of them, and stored bytes of those that are done, before and after."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    pending: int = 0
    before: int = 0
    after: int = 0

    @property
    def objects(self) -> int:
        return self.done + self.skipped + self.failed + self.pending


@dataclass(frozen=True, slots=True)
class PlanJobs:
    """The jobs of a plan by state, and what became of their objects; None: they are too many to be counted here."""

    jobs: Mapping[str, int]
    outcomes: Outcomes | None

    @property
    def goes_on(self) -> bool:
        """Whether any of them is still to be done."""
        return any(self.jobs.get(state.value) for state in (JobState.QUEUED, JobState.RUNNING))


def of_plan(conn: sa.Connection, plan_id: int) -> PlanJobs | None:
    """None: it has no jobs, or they were forgotten since."""
    counts = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.plan_id == plan_id).group_by(jobs.c.state)
    states: dict[str, int] = dict(conn.execute(counts).all())
    if not states:
        return None
    found = _outcomes(conn, _ITEMS.join(jobs, jobs.c.id == job_items.c.job_id).where(jobs.c.plan_id == plan_id))
    return PlanJobs({s.value: states[s.value] for s in JobState if s.value in states}, found)


def of_jobs(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Outcomes]:
    """By job, in this order until LOOKED_AT objects were counted; those after that are not in it."""
    found: dict[int, Outcomes] = {}
    left = LOOKED_AT
    for job_id in ids:
        one = _outcomes(conn, _ITEMS.where(job_items.c.job_id == job_id)) if left > 0 else None
        if one is None:
            break
        found[job_id] = one
        left -= one.objects
    return found


def _outcomes(conn: sa.Connection, items: sa.Select[tuple[str, int | None, int | None]]) -> Outcomes | None:
    """None: they are more than LOOKED_AT, which the index alone tells: rows that are not told are not read."""
    beyond = items.with_only_columns(job_items.c.object_id).limit(1).offset(LOOKED_AT)
    if conn.execute(beyond).first() is not None:
        return None
    done = job_items.c.state == ItemState.DONE.value
    sums = [sa.func.sum(sa.case((done, column))) for column in (job_items.c.before_bytes, job_items.c.after_bytes)]
    counts = dict.fromkeys(("done", "skipped", "failed", "pending"), 0)
    before = after = 0
    grouped = items.with_only_columns(job_items.c.state, sa.func.count(), *sums).group_by(job_items.c.state)
    for state, count, held, left in conn.execute(grouped):
        counts[state] = count
        before, after = before + int(held or 0), after + int(left or 0)
    return Outcomes(**counts, before=before, after=after)
