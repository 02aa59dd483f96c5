"""restage: bring objects to another tier, or back to their original keys."""

from __future__ import annotations

from typing import Annotated

import typer

from storaged.cli.changes import pages_of, show_changed
from storaged.cli.options import DryRunOption, JsonOption, NoWaitOption, TargetsArgument, of
from storaged.cli.render import Output
from storaged.cli.running import run_jobs, show_queued, show_ran
from storaged.errors import RefusedByGuard, UsageError


def restage(
    ctx: typer.Context,
    targets: TargetsArgument,
    tier: Annotated[
        str | None,
        typer.Option("--tier", metavar="TIER", help="Copy them to this tier, as plain bytes.", show_default=False),
    ] = None,
    to_root: Annotated[bool, typer.Option("--to-root", help="Write them back to their original keys.")] = False,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Bring objects to a tier, or back to where their users had them.

    Example: storagectl restage 'flights/2026/*' --tier hot

    Example: storagectl restage flights/2026/01.csv --to-root
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite import returns
    from storaged.work.rewrite.pointers import Changed

    if to_root == (tier is not None):
        raise UsageError("say where to: --tier, or --to-root: one of the two")
    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        if tier is not None:
            context.tier(tier)
        pages, reason = pages_of(context, targets), f"{context.actor}: restage"
        if tier is None:
            made = returns.to_root(context, pages, reason=reason, dry_run=dry_run)
        else:
            made = returns.restage(context, pages, tier, reason=reason, dry_run=dry_run)
        if dry_run:
            show_changed(out, Changed(done=made.ahead, refused=made.left_out), "restaged", dry_run=True)
            return
        if not made.jobs and made.left_out:
            raise RefusedByGuard(f"nothing to restage: {made.left_out[0][0]}: {made.left_out[0][1]}")
        if no_wait:
            show_queued(out, made)
            return
        ran = run_jobs(context, options, made.jobs, objects=made.objects)
        show_ran(out, ran, left_out=made.left_out)
