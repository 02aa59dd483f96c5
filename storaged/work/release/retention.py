"""Forgetting what is over: ended jobs, old plans, runs, scans, audit. The journal is never cut.

In short transactions, beside whatever else is done. The newest row of each table stays, whatever its age: SQLite gives
the number of the last row again once that is gone, and older rows elsewhere would speak of another job or plan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.attempts import STAGED
from storaged.catalog.ledger import month_of
from storaged.catalog.schema import audit, job_items, jobs, plan_items, plans, scans
from storaged.catalog.schema_approvals import approvals
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_daemon import daemons, runs
from storaged.catalog.schema_money import charges, ledger, ledger_items
from storaged.catalog.schema_restores import restores
from storaged.catalog.schema_surveys import notices
from storaged.clock import DAY
from storaged.model import ItemState
from storaged.work.context import Context
from storaged.work.money.savings import close

ROWS: Final = 5_000  # deleted in one transaction
JOBS: Final = 10  # the same, each with its items
DEAD: Final = DAY  # microseconds; a daemon without a sign of life for so long is not waited for


@dataclass(slots=True)
class Forgotten:
    """How many rows were deleted."""

    jobs: int = 0
    plans: int = 0
    runs: int = 0
    scans: int = 0
    audit: int = 0
    restores: int = 0
    daemons: int = 0
    ledger_items: int = 0
    charges: int = 0
    notices: int = 0
    approvals: int = 0

    def __str__(self) -> str:
        found = [f"{name} {number:,}" for name, number in dataclasses.asdict(self).items() if number]
        return f"forgotten: {', '.join(found)}" if found else "nothing is old enough to be forgotten"


def forget(context: Context, *, dry_run: bool = False) -> Forgotten:
    """Delete what is older than `daemon.retention` says. `dry_run`: only count it.

    Kept at any age: a job that lives, whose blobs are still being made, or that `undo` can take back within the grace
    of its objects; a plan that a job came from; the newest run of each task and the newest finished scan of each
    dataset; what is unfinished. Of the ledger's parts the sums are kept for ever.
    """
    result = Forgotten()
    if dry_run:
        with context.catalog.read() as conn:
            for table, _key, over in _over(context, jobs_are_there=True):
                counted = sa.select(sa.func.count()).select_from(table).where(over)
                setattr(result, table.name, conn.execute(counted).scalar_one())
        return result
    _close_parts(context)
    for table, key, over in _over(context):
        if table is plans:
            _empty_plans(context, over)
        some = sa.select(key).where(over).order_by(key).limit(JOBS if table is jobs else ROWS)
        # said twice: Postgres looks again at `over` alone where a row was changed meanwhile
        going = sa.delete(table).where(key.in_(some), over)
        deleted = -1
        while deleted:
            with context.catalog.begin() as conn:
                deleted = conn.execute(going).rowcount
            setattr(result, table.name, getattr(result, table.name) + deleted)
    return result


def _over(
    context: Context, *, jobs_are_there: bool = False
) -> Iterator[tuple[sa.Table, sa.ColumnElement[Any], sa.ColumnElement[bool]]]:
    """Of each table its key, and what of it is over. Plans come after the jobs that they are kept for; they are over
    with them if those `jobs_are_there` still, and objects in the ledger then with parts that are not closed yet."""
    keep, now = context.settings.daemon.retention, context.now_us()

    def old(table: sa.Table, when: sa.ColumnElement[Any], age: int) -> sa.ColumnElement[bool]:
        newest = sa.select(sa.func.max(table.alias().c.id)).scalar_subquery()
        return sa.and_(when < now - age, table.c.id < newest)

    in_the_making = sa.exists().where(attempts.c.job_id == jobs.c.id, STAGED)
    done = sa.and_(job_items.c.job_id == jobs.c.id, job_items.c.state == ItemState.DONE.value)
    in_grace = sa.exists().where(done, jobs.c.finished_us + job_items.c.grace_us > now)
    ended = jobs.c.state.in_(("done", "failed", "cancelled"))
    over = sa.and_(old(jobs, jobs.c.finished_us, keep.jobs), ended, ~in_the_making, ~in_grace)
    yield jobs, jobs.c.id, over
    has_jobs = sa.exists().where(jobs.c.plan_id == plans.c.id, ~over if jobs_are_there else sa.true())
    yield plans, plans.c.id, sa.and_(old(plans, plans.c.made_us, keep.jobs), plans.c.state != "draft", ~has_jobs)
    other = runs.alias()
    newest_run = sa.select(sa.func.max(other.c.id)).group_by(other.c.task)
    finished = sa.and_(runs.c.state != "running", runs.c.id.not_in(newest_run))
    yield runs, runs.c.id, sa.and_(old(runs, runs.c.finished_us, keep.runs), finished)
    other = scans.alias()
    newest_scan = (
        sa.select(sa.func.max(other.c.id)).where(other.c.finished_us.is_not(None)).group_by(other.c.dataset_id)
    )
    yield scans, scans.c.id, sa.and_(old(scans, scans.c.finished_us, keep.runs), scans.c.id.not_in(newest_scan))
    yield audit, audit.c.id, old(audit, audit.c.at_us, keep.audit)
    looked = sa.func.coalesce(restores.c.looked_us, restores.c.asked_us)
    over = restores.c.state.in_(("expired", "failed"))
    yield restores, restores.c.id, sa.and_(old(restores, looked, keep.jobs), over)
    yield daemons, daemons.c.name, daemons.c.seen_us < now - DEAD
    yield notices, notices.c.id, old(notices, notices.c.over_us, keep.runs)
    gone = ~sa.exists().where(plans.c.id == approvals.c.plan_id)
    yield approvals, approvals.c.plan_id, sa.and_(approvals.c.ended_us < now - keep.jobs, gone)
    for table in (ledger_items, charges):
        of_part = sa.and_(ledger.c.plan_id == table.c.plan_id, ledger.c.policy == table.c.policy)
        key = ledger_items.c.object_id if table is ledger_items else charges.c.id
        closed = _old_part(context) if jobs_are_there else ledger.c.closed_us.is_not(None)
        over = sa.exists().where(of_part, closed)
        if table is ledger_items:  # what others took out of the same pack has its part beside these
            other = ledger_items.alias()
            of_other = sa.and_(ledger.c.plan_id == other.c.plan_id, ledger.c.policy == other.c.policy)
            same_pack = other.c.source_blob == ledger_items.c.source_blob
            over = sa.and_(over, ~sa.exists().where(same_pack, of_other, ~closed))
        yield table, key, over


def _old_part(context: Context) -> sa.ColumnElement[bool]:
    """Of a part in the ledger: nothing of it is unfinished, and nobody asks for its single objects any more."""
    may_go_on = sa.exists().where(  # what failed can be tried again, and costs then
        job_items.c.job_id == jobs.c.id,
        jobs.c.plan_id == ledger.c.plan_id,
        jobs.c.policy == ledger.c.policy,
        job_items.c.state.in_((ItemState.PENDING.value, ItemState.FAILED.value)),
    )
    of_part = sa.and_(charges.c.plan_id == ledger.c.plan_id, charges.c.policy == ledger.c.policy)
    of_this_month = sa.exists().where(of_part, charges.c.month >= month_of(context.now_us()))  # limits count it
    old = ledger.c.applied_us < context.now_us() - context.settings.daemon.retention.ledger
    return sa.and_(old, ledger.c.settled_us.is_not(None), ~may_go_on, ~of_this_month)


def _close_parts(context: Context) -> None:
    """Keep what came true of parts whose objects are about to be forgotten."""
    with context.catalog.read() as conn:
        old = conn.execute(sa.select(ledger).where(ledger.c.closed_us.is_(None), _old_part(context))).all()
    for part in old:
        close(context, part)


def _empty_plans(context: Context, over: sa.ColumnElement[bool]) -> None:
    """Take the rows out of plans that go, which may be millions. From the first on none of them can be applied."""
    with context.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(over, plans.c.state == "saved").values(state="discarded"))
        going = list(conn.execute(sa.select(plans.c.id).where(over)).scalars())
    for plan in going:
        mine = plan_items.c.plan_id == plan
        some = sa.select(plan_items.c.object_id).where(mine).order_by(plan_items.c.object_id).limit(ROWS)
        deleted = -1
        while deleted:
            with context.catalog.begin() as conn:
                deleted = conn.execute(sa.delete(plan_items).where(mine, plan_items.c.object_id.in_(some))).rowcount
