"""Recurring work in the catalog: what is due, who is at it, who leads, which daemons there are.

A run is taken by one guarded transaction that writes its next due time and its lease before anything is done. So a
daemon that dies in mid-run is followed by another try when its lease lapses, at most TRIES times for one due time; and
however many due times were missed, they make one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from storaged.catalog.inserts import into
from storaged.catalog.schema_daemon import daemons, leases, runs, tasks
from storaged.catalog.turns import lapsed
from storaged.clock import SECOND, new_id

TRIES: Final = 3
RETRY_US: Final = 60 * SECOND  # after a failure; doubled at every further one, until the next due time
LEADER: Final = "leader"
FIRST_AT_ONCE: Final = ("scan:", "ingest:")  # work that others wait for: done as soon as it is known of

NextFire = Callable[[str, int], int]  # of a schedule, after an instant
Ended = Literal["done", "failed", "abandoned"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task in our hands, until its lease lapses."""

    id: int
    task: str
    due_us: int
    lease: str
    tries: int


def sign_of_life(conn: sa.Connection, name: str, now_us: int, values: Mapping[str, object]) -> None:
    """Say that a daemon runs. `values`: the other columns."""
    mine = daemons.c.name == name
    if not conn.execute(sa.update(daemons).where(mine).values(seen_us=now_us, **values)).rowcount:
        conn.execute(sa.insert(daemons).values(name=name, started_us=now_us, seen_us=now_us, **values))


def alive(conn: sa.Connection, now_us: int, lease_us: int) -> int:
    """How many daemons showed a sign of life lately; at least one, which asks."""
    lately = daemons.c.seen_us.between(now_us - 2 * lease_us, now_us + 2 * lease_us)
    return max(1, conn.execute(sa.select(sa.func.count()).where(lately)).scalar_one())


def depart(conn: sa.Connection, name: str) -> None:
    """A daemon ends in good order: nobody waits for it."""
    step_down(conn, name)
    conn.execute(sa.delete(daemons).where(daemons.c.name == name))


def step_down(conn: sa.Connection, name: str) -> None:
    """Give up the lead, if this daemon has it."""
    conn.execute(sa.delete(leases).where(leases.c.holder == name))


def server_us(conn: sa.Connection) -> int | None:
    """What time it is by the catalog's server; None: it has no clock of its own."""
    if conn.dialect.name != "postgresql":
        return None
    return int(conn.execute(sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")).scalar_one())


def lead(conn: sa.Connection, name: str, now_us: int, lease_us: int) -> bool:
    """Take the lead, or keep it. False: another daemon has it."""
    free = sa.or_(leases.c.holder == name, lapsed(leases.c.until_us, now_us, lease_us))
    values = {"holder": name, "until_us": now_us + lease_us}
    if conn.execute(sa.update(leases).where(leases.c.name == LEADER, free).values(values)).rowcount:
        return True
    if conn.execute(sa.select(leases.c.name).where(leases.c.name == LEADER)).first() is not None:
        return False
    row = into(leases, conn.dialect.name).values(name=LEADER, **values)
    made = row.on_conflict_do_nothing().returning(leases.c.name)
    return conn.execute(made).first() is not None


def arrange(conn: sa.Connection, wanted: Mapping[str, str], now_us: int, next_fire: NextFire) -> None:
    """Make the tasks those that the configuration wants: `wanted` has their schedules. A run under way goes on."""
    known = {row.name: row for row in conn.execute(sa.select(tasks))}
    for name, schedule in wanted.items():
        due = now_us if name.startswith(FIRST_AT_ONCE) else next_fire(schedule, now_us)
        if name not in known:
            row = into(tasks, conn.dialect.name).values(name=name, schedule=schedule, due_us=due)
            conn.execute(row.on_conflict_do_nothing())
        elif known[name].schedule != schedule:
            again = max(min(known[name].due_us, now_us), next_fire(schedule, now_us))
            conn.execute(sa.update(tasks).where(tasks.c.name == name).values(schedule=schedule, due_us=again))
    gone = [name for name in known if name not in wanted]
    if gone:
        under_way = [known[name].run_id for name in gone if known[name].lease is not None]
        over = {"state": "abandoned", "finished_us": now_us, "message": "it is not configured any more"}
        conn.execute(sa.update(runs).where(runs.c.id.in_(under_way)).values(over))  # if it ends, it says so itself
        conn.execute(sa.delete(tasks).where(tasks.c.name.in_(gone)))


def take(
    conn: sa.Connection, daemon: str, now_us: int, lease_us: int, next_fire: NextFire, *, at: Iterable[str] = ()
) -> Run | None:
    """The task that has been due for longest, its next due time and our lease on it written. None: nothing is due.
    `at`: tasks that this daemon is at, whatever their leases say: its machine may have slept."""
    others = sa.select(tasks).where(tasks.c.name.not_in(list(at)))
    for row in conn.execute(others.order_by(tasks.c.due_us, tasks.c.name)).all():
        held = row.lease is not None
        if held and now_us <= row.lease_until_us <= now_us + 2 * lease_us:
            continue
        latest = next_fire(row.schedule, now_us)
        due = min(row.due_us, latest)  # the clock was put back: a due time beyond the next one would be skipped work
        if not held and due > now_us:
            if due != row.due_us:
                conn.execute(sa.update(tasks).where(_as_read(row)).values(due_us=due))
            continue
        found = _again(conn, row, now_us) if held else None
        if held and found is None:
            continue
        lease = new_id()
        values = {"lease": lease, "lease_until_us": now_us + lease_us, "due_us": latest, "tries": (found or 0) + 1}
        if not conn.execute(sa.update(tasks).where(_as_read(row)).values(values)).rowcount:
            continue  # another daemon was faster
        if found is None:
            new = {"task": row.name, "due_us": due, "started_us": now_us, "daemon": daemon, "state": "running"}
            run_id = conn.execute(sa.insert(runs).values(new).returning(runs.c.id)).scalar_one()
            conn.execute(sa.update(tasks).where(tasks.c.name == row.name).values(run_id=run_id))
        else:
            run_id = row.run_id
            tried = {"tries": runs.c.tries + 1, "daemon": daemon}
            due = conn.execute(
                sa.update(runs).where(runs.c.id == run_id).values(tried).returning(runs.c.due_us)
            ).scalar()
        return Run(run_id, row.name, int(due), lease, (found or 0) + 1)
    return None


def _as_read(row: sa.Row[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(
        tasks.c.name == row.name, tasks.c.due_us == row.due_us, tasks.c.lease.is_not_distinct_from(row.lease)
    )


def _again(conn: sa.Connection, row: sa.Row[Any], now_us: int) -> int | None:
    """A run whose daemon died: how often it was tried. None: too often, so it waits for its next due time."""
    if row.tries < TRIES:
        return int(row.tries)
    values = {"lease": None, "lease_until_us": None, "tries": 0, "failures": row.failures + 1}
    if conn.execute(sa.update(tasks).where(_as_read(row)).values(values)).rowcount:
        why = f"its daemon died {row.tries} times"
        given_up = {"state": "abandoned", "finished_us": now_us, "message": why}
        conn.execute(sa.update(runs).where(runs.c.id == row.run_id).values(given_up))
    return None


def last_done(conn: sa.Connection, task: str) -> int | None:
    """When the last run of a task began that was done; None: none is known."""
    query = sa.select(sa.func.max(runs.c.started_us)).where(runs.c.task == task, runs.c.state == "done")
    return conn.execute(query).scalar()


def keep(conn: sa.Connection, held: Mapping[str, Run], now_us: int, lease_us: int) -> list[str]:
    """A sign of life of runs, by task. Returns the tasks that are not ours any more."""
    lost = []
    for run in held.values():
        mine = sa.and_(tasks.c.name == run.task, tasks.c.lease == run.lease)
        if not conn.execute(sa.update(tasks).where(mine).values(lease_until_us=now_us + lease_us)).rowcount:
            lost.append(run.task)
    return lost


def end(conn: sa.Connection, run: Run, state: Ended, message: str, now_us: int) -> bool:
    """A run is over. One that failed is tried again before its next due time, later each time. False: it was taken
    over by another daemon, and is its to end."""
    mine = sa.and_(tasks.c.name == run.task, tasks.c.lease == run.lease)
    row = conn.execute(sa.select(tasks).where(mine).with_for_update()).one_or_none()
    if row is None:
        gone = conn.execute(sa.select(tasks.c.name).where(tasks.c.name == run.task)).first() is None
        if gone:  # the configuration does not name it any more
            _close(conn, run, state, message, now_us)
        return gone
    failures = 0 if state == "done" else row.failures + 1
    again = now_us + RETRY_US * 2 ** min(failures - 1, 20) if state == "failed" else row.due_us
    if state == "abandoned":  # its daemon was stopped: the next one does it at once
        again, failures = now_us, row.failures
    values = {"lease": None, "lease_until_us": None, "tries": 0, "failures": failures}
    conn.execute(sa.update(tasks).where(mine).values(due_us=min(row.due_us, again), **values))
    _close(conn, run, state, message, now_us)
    return True


def _close(conn: sa.Connection, run: Run, state: Ended, message: str, now_us: int) -> None:
    values = {"state": state, "finished_us": now_us, "message": message}
    conn.execute(sa.update(runs).where(runs.c.id == run.id).values(values))
