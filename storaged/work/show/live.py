"""What is going on right now: daemons, recurring tasks, the queue, suspensions and the newest failures.

It reads small tables and the live part of large ones, so that it may be asked again every second. What needs a look
at every object is in storaged.work.show.measure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import facts, suspensions
from storaged.catalog.schema import datasets, job_items, jobs
from storaged.catalog.schema_daemon import daemons, leases, runs, tasks
from storaged.catalog.suspensions import Suspension
from storaged.catalog.tasks import LEADER
from storaged.catalog.turns import due, lapsed
from storaged.clock import DAY
from storaged.model import ItemState, JobState
from storaged.work.context import Context

SHOWN: Final = 100  # daemons and running jobs at most
NEWEST: Final = 10  # failures at most
LIVE_STATES: Final = (JobState.QUEUED.value, JobState.RUNNING.value)


@dataclass(frozen=True, slots=True)
class DaemonSeen:
    """A daemon's row. `alive`: its last sign of life is no older than `daemon.lease`."""

    name: str
    host: str
    pid: int
    version: str
    started_us: int
    seen_us: int
    state: str
    problem: str | None
    alive: bool
    leads: bool


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """Recurring work and its last run that ended. `failures`: in a row. `overdue_us`: how long ago it was due and was
    not taken up; a task that takes longer than its schedule allows is overdue too."""

    name: str
    schedule: str
    due_us: int
    overdue_us: int
    running: bool
    failures: int
    ended: str | None  # done, failed or abandoned
    message: str
    started_us: int | None
    finished_us: int | None
    done_us: int | None  # end of the last run that did not fail


@dataclass(frozen=True, slots=True)
class Running:
    """A running job. `done` and `done_bytes` (content): what its daemon said last, or what is settled."""

    job: int
    kind: str
    dataset: str
    policy: str | None
    worker: str
    tries: int
    started_us: int
    lapsed: bool  # its lease is over: another worker may take it
    objects: int
    done: int
    bytes: int
    done_bytes: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A job or a task's run that failed."""

    what: str
    at_us: int
    error: str


@dataclass(frozen=True, slots=True)
class Live:
    """All of it, at one instant."""

    at_us: int
    leader: str | None  # a daemon's name; None: nobody holds the lead
    daemons: tuple[DaemonSeen, ...]
    tasks: tuple[TaskSeen, ...]
    jobs: dict[str, dict[str, int]]  # queued and running ones, by state and kind
    due_since_us: int | None  # since when the job that waits longest could have run; None: none is due
    suspended_jobs: int  # that a suspension keeps in the queue
    running: tuple[Running, ...]
    suspensions: tuple[Suspension, ...]
    failures: tuple[Failure, ...]  # of the last day, newest first
    journal_waiting: int  # entries in the outbox

    def count(self, state: JobState) -> int:
        return sum(self.jobs.get(state.value, {}).values())


def live(context: Context) -> Live:
    """What the catalog says now. Reads only."""
    now = context.now_us()
    lease_us = context.settings.workers.lease
    with context.catalog.read() as conn:
        leader = _leader(conn, now, context.settings.daemon.lease)
        rows = _daemons(conn)
        alive = {row.name for row in rows if row.seen_us >= now - context.settings.daemon.lease}
        return Live(
            at_us=now,
            leader=leader,
            daemons=tuple(_daemon(row, row.name in alive, row.name == leader) for row in rows),
            tasks=_tasks(conn, now, context.settings.daemon.lease),
            jobs=_jobs(conn),
            due_since_us=_due_since(conn, now, lease_us),
            suspended_jobs=_suspended(conn),
            running=_running(conn, now, lease_us, _progress(row.detail for row in rows if row.name in alive)),
            suspensions=tuple(suspensions.suspended(conn)),
            failures=_failures(conn, now),
            journal_waiting=facts.journal_waiting(conn),
        )


def _leader(conn: sa.Connection, now: int, lease_us: int) -> str | None:
    held = sa.select(leases.c.holder).where(leases.c.name == LEADER, ~lapsed(leases.c.until_us, now, lease_us))
    return conn.execute(held).scalar()


def _daemons(conn: sa.Connection) -> list[sa.Row[Any]]:
    return list(conn.execute(sa.select(daemons).order_by(daemons.c.seen_us.desc(), daemons.c.name).limit(SHOWN)))


def _daemon(row: sa.Row[Any], alive: bool, leads: bool) -> DaemonSeen:
    return DaemonSeen(
        row.name, row.host, row.pid, row.version, row.started_us, row.seen_us, row.state, row.problem, alive, leads
    )


def _progress(details: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Objects and bytes of content that living daemons say are done of their jobs, by job."""
    at = [job for detail in details for job in json.loads(detail).get("jobs", ())]
    return {job["job"]: (job["done"], job.get("bytes", 0)) for job in at}


def _tasks(conn: sa.Connection, now: int, lease_us: int) -> tuple[TaskSeen, ...]:
    def newest(*states: str) -> sa.ScalarSelect[int]:
        ended = sa.select(runs.c.id).where(runs.c.task == tasks.c.name, runs.c.state.in_(states))
        return ended.order_by(runs.c.started_us.desc(), runs.c.id.desc()).limit(1).correlate(tasks).scalar_subquery()

    last, good = runs.alias("last"), runs.alias("good")
    query = (
        sa.select(
            tasks,
            last.c.state.label("ended"),
            last.c.message,
            last.c.started_us,
            last.c.finished_us,
            good.c.finished_us.label("done_us"),
        )
        .select_from(tasks)
        .outerjoin(last, last.c.id == newest("done", "failed", "abandoned"))
        .outerjoin(good, good.c.id == newest("done"))
        .order_by(tasks.c.name)
    )
    return tuple(
        TaskSeen(
            name=row.name,
            schedule=row.schedule,
            due_us=row.due_us,
            overdue_us=max(0, now - row.due_us),
            running=row.lease is not None and now <= row.lease_until_us <= now + 2 * lease_us,
            failures=row.failures,
            ended=row.ended,
            message=row.message or "",
            started_us=row.started_us,
            finished_us=row.finished_us,
            done_us=row.done_us,
        )
        for row in conn.execute(query)
    )


def _jobs(conn: sa.Connection) -> dict[str, dict[str, int]]:
    query = (
        sa.select(jobs.c.state, jobs.c.kind, sa.func.count())
        .where(jobs.c.state.in_(LIVE_STATES))
        .group_by(jobs.c.state, jobs.c.kind)
    )
    found: dict[str, dict[str, int]] = {}
    for state, kind, number in conn.execute(query):
        found.setdefault(state, {})[kind] = number
    return found


def _due_since(conn: sa.Connection, now: int, lease_us: int) -> int | None:
    """A job that waited for a retry or for a warm source is due since then."""
    since = sa.case((jobs.c.not_before_us > jobs.c.created_us, jobs.c.not_before_us), else_=jobs.c.created_us)
    query = sa.select(sa.func.min(since)).where(jobs.c.state == JobState.QUEUED.value, due(conn, now, lease_us))
    return conn.execute(query).scalar()


def _suspended(conn: sa.Connection) -> int:
    free = suspensions.untouched(conn)
    if free is None:
        return 0
    query = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.state == JobState.QUEUED.value, ~free)
    return int(conn.execute(query).scalar_one())


def _running(conn: sa.Connection, now: int, lease_us: int, progress: dict[int, tuple[int, int]]) -> tuple[Running, ...]:
    settled = job_items.c.state != ItemState.PENDING.value
    items = (
        sa.select(
            job_items.c.job_id,
            sa.func.count().label("objects"),
            sa.func.count().filter(settled).label("done"),
            sa.func.sum(job_items.c.size).label("bytes"),
            sa.func.coalesce(sa.func.sum(job_items.c.size).filter(settled), 0).label("done_bytes"),
        )
        .where(job_items.c.job_id.in_(sa.select(jobs.c.id).where(jobs.c.state == JobState.RUNNING.value)))
        .group_by(job_items.c.job_id)
        .subquery()
    )
    query = (
        sa.select(
            jobs,
            datasets.c.name.label("dataset"),
            lapsed(jobs.c.lease_until_us, now, lease_us).label("lapsed"),
            items.c.objects,
            items.c.done,
            items.c.bytes,
            items.c.done_bytes,
        )
        .select_from(jobs)
        .join(datasets, datasets.c.id == jobs.c.dataset_id)
        .join(items, items.c.job_id == jobs.c.id)
        .where(jobs.c.state == JobState.RUNNING.value)
        .order_by(jobs.c.started_us, jobs.c.id)
        .limit(SHOWN)
    )
    found = []
    for row in conn.execute(query):
        done, nbytes = progress.get(row.id, (0, 0))
        found.append(
            Running(
                job=row.id,
                kind=row.kind,
                dataset=row.dataset,
                policy=row.policy,
                worker=row.worker,
                tries=row.tries,
                started_us=row.started_us,
                lapsed=row.lapsed,
                objects=row.objects,
                done=row.done + done,
                bytes=int(row.bytes),
                done_bytes=int(row.done_bytes) + nbytes,
            )
        )
    return tuple(found)


def _failures(conn: sa.Connection, now: int) -> tuple[Failure, ...]:
    failed_jobs = (
        sa.select(jobs.c.id, jobs.c.finished_us, jobs.c.error)
        .where(jobs.c.state == JobState.FAILED.value, jobs.c.finished_us > now - DAY)
        .order_by(jobs.c.finished_us.desc())
        .limit(NEWEST)
    )
    failed_runs = (
        sa.select(runs.c.task, runs.c.started_us, runs.c.finished_us, runs.c.state, runs.c.message)
        .where(runs.c.state.in_(("failed", "abandoned")), runs.c.started_us > now - DAY)
        .order_by(runs.c.started_us.desc())
        .limit(NEWEST)
    )
    found = [Failure(f"job {row.id}", row.finished_us, row.error or "failed") for row in conn.execute(failed_jobs)]
    found += [
        Failure(row.task, row.finished_us or row.started_us, row.message or row.state)
        for row in conn.execute(failed_runs)
    ]
    return tuple(sorted(found, key=lambda f: -f.at_us)[:NEWEST])
