"""apply: exactly what a saved plan lists, at the versions it was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from storaged.cli.options import JsonOption, NoWaitOption, YesOption, confirm, of
from storaged.cli.plan import PlanArgument, sums
from storaged.cli.render import Output, count, size
from storaged.cli.running import run_jobs, show_queued, show_ran
from storaged.errors import RefusedByGuard

if TYPE_CHECKING:
    from storaged.catalog.queue import Claimed
    from storaged.work.context import Context
    from storaged.work.plan import Plan


def apply(
    ctx: typer.Context,
    number: PlanArgument,
    yes: YesOption = False,
    no_wait: NoWaitOption = False,
    _json: JsonOption = False,
) -> None:
    """Do what a saved plan lists. What changed since it was made is skipped, and listed.

    A policy whose share of failures exceeds its `stop_on_error_rate` is stopped; its other jobs are cancelled.

    Example: storagectl apply 7
    """
    from storaged.cli.context import opened
    from storaged.work.apply import apply_plan
    from storaged.work.plan import load_plan

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        plan = load_plan(context.catalog, number)
        if plan.state != "saved":
            raise RefusedByGuard(f"plan {number} is {plan.state}; only a saved plan can be applied")
        now, after = sums(plan)
        what = f"{count(plan.summary.actions, 'object')}, {size(now)} now, {size(after)} after"
        if plan.summary.actions:
            confirm(f"apply plan {number} ({what})?", yes=yes)
        made = apply_plan(context, number)
        facts: dict[str, Any] = {"plan": number}
        if no_wait:
            show_queued(out, made, facts)
            return
        brake = _Brake(context, plan, made.jobs, out)
        ran = run_jobs(context, options, made.jobs, objects=made.objects, on_job=brake.look)
        show_ran(out, ran, facts=facts, left_out=made.left_out)


class _Brake:
    """Cancels the rest of a policy's jobs when more of its objects fail than it allows."""

    def __init__(self, context: Context, plan: Plan, jobs: list[int], out: Output) -> None:
        self._context = context
        self._jobs = jobs
        self._out = out
        self._allowed = {
            f"policy {p.name}": p.stop_on_error_rate * p.actions.objects
            for p in plan.summary.policies
            if p.stop_on_error_rate is not None
        }

    def look(self, claimed: Claimed) -> bool:
        """After each job. The others go on in any case."""
        import sqlalchemy as sa

        from storaged.catalog import queue
        from storaged.catalog.schema import job_items, jobs
        from storaged.model import ItemState, JobState

        allowed = self._allowed.get(claimed.reason)
        if allowed is None:
            return True
        mine = sa.and_(jobs.c.id.in_(self._jobs), jobs.c.reason == claimed.reason)
        failures = (
            sa.select(sa.func.count())
            .select_from(job_items)
            .join(jobs, jobs.c.id == job_items.c.job_id)
            .where(mine, job_items.c.state == ItemState.FAILED.value)
        )
        waiting = sa.select(jobs.c.id).where(mine, jobs.c.state == JobState.QUEUED.value)
        with self._context.catalog.begin() as conn:
            failed = conn.execute(failures).scalar_one()
            if failed <= allowed:
                return True
            rest = list(conn.execute(waiting).scalars())
            for job_id in rest:
                queue.cancel(conn, job_id, now_us=self._context.now_us(), reason="stopped: stop_on_error_rate")
        del self._allowed[claimed.reason]
        self._out.warn(
            f"{claimed.reason}: {count(failed, 'object')} failed, more than its stop_on_error_rate allows; "
            f"{count(len(rest), 'job')} cancelled"
        )
        return True
