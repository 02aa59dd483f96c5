"""apply: exactly what a saved plan lists, at the versions it was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from storaged.cli.options import JsonOption, NoWaitOption, YesOption, confirm, of
from storaged.cli.plan import PlanArgument, sums
from storaged.cli.policy import load_and_warn
from storaged.cli.render import Output, count, size
from storaged.cli.running import run_jobs, show_queued, show_ran
from storaged.errors import RefusedByGuard

if TYPE_CHECKING:
    from storaged.catalog.queue import ClaimedJob


def apply(
    ctx: typer.Context,
    number: PlanArgument,
    yes: YesOption = False,
    no_wait: NoWaitOption = False,
    _json: JsonOption = False,
) -> None:
    """Do what a saved plan lists. What changed since it was made is skipped, and listed.

    A policy whose share of failures exceeds its `stop_on_error_rate` is suspended: its other jobs wait in the queue.

    Example: storagectl apply 7
    """
    from storaged.cli.context import opened
    from storaged.decide.summary import money_words
    from storaged.work.plan.configured import take_in
    from storaged.work.plan.make import is_as_made, load_plan
    from storaged.work.plan.policies import record
    from storaged.work.rewrite.apply import apply_plan, unclaimed
    from storaged.work.rewrite.error_budget import overdrawn

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        plan = load_plan(context.catalog, number)
        if plan.state != "saved":
            raise RefusedByGuard(f"plan {number} is {plan.state}; only a saved plan can be applied")
        now, after = sums(plan)
        what = f"{count(plan.summary.actions, 'object')}, {size(now)} now, {size(after)} after"
        if plan.summary.money is not None:
            what += f"; {money_words(plan.summary.money)}"
        what += "".join(f"; {p.name}: {p.tables}" for p in plan.summary.policies if p.tables)
        policies = load_and_warn(out, context.settings)
        if not is_as_made(context.catalog, context.settings, policies, plan):
            out.warn(
                f"plan {number} is not what its policies, the tiers and its rows are now: it does what it lists; "
                "`storagectl plan` makes another"
            )
        if plan.summary.actions:
            for name in unclaimed(context, [p for p in policies if p.name in plan.policies]):
                hint = f"`storagectl catalog claim dataset:{name}`"
                out.warn(f"the root of {name} carries no claim, so its originals stay where they are: {hint}")
            confirm(f"apply plan {number} ({what})?", yes=yes)
        take_in(context)
        record(context, policies)
        made = apply_plan(context, number, policies)
        facts: dict[str, Any] = {"plan": number}
        if no_wait:
            show_queued(out, made, facts)
            return

        def after_job(claimed: ClaimedJob) -> bool:
            if stopped := overdrawn(context, claimed):
                out.warn(f"policy {stopped.name} is suspended: {stopped.reason}")
            return True

        ran = run_jobs(context, options, made.jobs, objects=made.objects, on_job=after_job)
        show_ran(out, ran, facts=facts, left_out=made.left_out)
