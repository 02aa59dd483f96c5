"""work: run what is queued, here and now."""

from __future__ import annotations

from typing import Annotated

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output
from storaged.cli.running import run_jobs, show_ran


def work(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Run one job only.")] = False,
    _json: JsonOption = False,
) -> None:
    """Run queued jobs until none is due.

    Example: storagectl work
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite.jobs import not_due

    options = of(ctx)
    with opened(options) as context:
        ran = run_jobs(context, options, None, on_job=lambda _claimed: not once)
        with context.catalog.read() as conn:
            left = not_due(conn, now_us=context.now_us(), lease_us=context.settings.workers.lease)
    show_ran(Output(options), ran, not_due=left)
