"""hold: nothing of an object is rewritten or deleted until the hold is taken away."""

from __future__ import annotations

from typing import Annotated

import typer

from storaged.cli.changes import pages_of, show_changed
from storaged.cli.options import JsonOption, TargetsArgument, of
from storaged.cli.render import Output
from storaged.errors import UsageError


def hold(
    ctx: typer.Context,
    targets: TargetsArgument,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; shown wherever it matters.", show_default=False)
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Take the hold away.")] = False,
    _json: JsonOption = False,
) -> None:
    """Put objects on a legal hold: storaged deletes and rewrites nothing of them.

    A hold on a whole dataset, new objects included, stands in storaged.yaml.

    Example: storagectl hold 'flights/2019/*' --reason "case 2026-17"

    Example: storagectl hold 'flights/2019/*' --off
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite.pointers import hold_objects

    if off == bool(reason):
        raise UsageError("a hold needs --reason, or --off to take it away: one of the two")
    with opened(of(ctx)) as context:
        changed = hold_objects(context, pages_of(context, targets), reason)
    show_changed(Output(of(ctx)), changed, "released from hold" if off else "held")
