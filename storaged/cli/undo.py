"""undo: the pointer goes back to what is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from storaged.cli.changes import pages_of, show_changed
from storaged.cli.options import DryRunOption, JsonOption, YesOption, confirm, of
from storaged.cli.render import Output, count
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.work.context import Context


def undo(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET", help="DATASET, DATASET/NAME, or a glob over names in quotes.", show_default=False
        ),
    ] = None,
    job: Annotated[
        list[int] | None,
        typer.Option("--job", metavar="JOB", help="All that this job did; may be repeated.", show_default=False),
    ] = None,
    plan: Annotated[
        int | None, typer.Option("--plan", metavar="PLAN", help="All that this plan did.", show_default=False)
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Take back the last change of objects, as long as its grace lasts. Nothing was deleted until then.

    Afterwards `storagectl restage --to-root` writes objects back to where they were. A storage class that was changed
    in place is given back by a job, which the store bills; `storagectl work` runs it.

    Example: storagectl undo flights/2026/01.csv

    Example: storagectl undo --plan 7
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite.pointers import undo_job, undo_objects

    if sum(map(bool, (targets, job, plan))) != 1:
        raise UsageError("name objects, or --job, or --plan: one of the three", hint="storagectl undo DATASET/OBJECT")
    with opened(of(ctx)) as context:
        for target in targets or ():
            if target.isascii() and target.isdecimal() and target not in context.datasets:
                hint = f"what job {target} did: `storagectl undo --job {target}`; what plan {target} did: --plan"
                raise UsageError(f"{target!r} names no object", hint=hint)
        jobs = job or (_jobs_of(context, plan) if plan else [])
        if targets:
            changed = undo_objects(context, pages_of(context, targets), dry_run=dry_run)
        else:
            if not dry_run and not yes and (ahead := len(undo_job(context, jobs, dry_run=True).done)):
                what = f"plan {plan}" if plan else f"job{'s' if len(jobs) > 1 else ''} {', '.join(map(str, jobs))}"
                confirm(f"take back what {what} did ({count(ahead, 'object')})?", yes=yes)
            changed = undo_job(context, jobs, dry_run=dry_run)
    show_changed(Output(of(ctx)), changed, "undone", dry_run=dry_run)


def _jobs_of(context: Context, plan: int) -> list[int]:
    from storaged.work.plan.make import load_plan
    from storaged.work.rewrite.jobs import jobs_of

    load_plan(context.catalog, plan)  # says so if there is none
    return jobs_of(context.catalog, plan)
