"""The error budget: a policy of whose planned objects too many fail is suspended, until a person has looked at it."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog.queue import ClaimedJob
from storaged.catalog.schema import job_items, jobs
from storaged.catalog.suspensions import Suspension
from storaged.model import ItemState
from storaged.work import suspension
from storaged.work.context import Context
from storaged.work.plan.make import load_plan


def overdrawn(context: Context, claimed: ClaimedJob) -> Suspension | None:
    """After each job: suspend its policy where more of its plan's objects failed, since it was last resumed, than its
    `stop_on_error_rate` allows. Its jobs wait in the queue; other policies' jobs go on. None: all is well."""
    if claimed.policy is None or claimed.plan_id is None:
        return None
    since = suspension.resumed_us(context, "policy", claimed.policy)
    counted = (
        sa.select(sa.func.count())
        .select_from(job_items)
        .join(jobs, jobs.c.id == job_items.c.job_id)
        .where(
            jobs.c.plan_id == claimed.plan_id,
            jobs.c.policy == claimed.policy,
            sa.or_(jobs.c.finished_us.is_(None), jobs.c.finished_us > since),
            job_items.c.state == ItemState.FAILED.value,
        )
    )
    with context.catalog.read() as conn:
        failed = conn.execute(counted).scalar_one()
    if not failed:
        return None
    plan = load_plan(context.catalog, claimed.plan_id)
    mine = next((p for p in plan.summary.policies if p.name == claimed.policy), None)
    if mine is None or mine.stop_on_error_rate is None or failed <= mine.stop_on_error_rate * mine.actions.objects:
        return None
    reason = (
        f"{failed:,} of the {mine.actions.objects:,} objects of plan {plan.id} failed, more than its "
        f"stop_on_error_rate of {mine.stop_on_error_rate * 100:g}% allows"
    )
    return suspension.suspend(context, "policy", claimed.policy, reason)
