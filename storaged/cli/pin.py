"""pin and unpin: a person fixes the tier of objects."""

from __future__ import annotations

from typing import Annotated

import typer

from storaged.cli.changes import pages_of, show_changed
from storaged.cli.options import JsonOption, TargetsArgument, of
from storaged.cli.render import Output


def pin(
    ctx: typer.Context,
    targets: TargetsArgument,
    tier: Annotated[str, typer.Option("--tier", metavar="TIER", help="The tier that they stay in or go to.")],
    _json: JsonOption = False,
) -> None:
    """Fix the tier of objects: no policy moves them to another one. Moves nothing by itself.

    Example: storagectl pin flights/2026/01.csv --tier hot
    """
    _pin(ctx, targets, tier)


def unpin(ctx: typer.Context, targets: TargetsArgument, _json: JsonOption = False) -> None:
    """Let policies decide again about the tier of objects.

    Example: storagectl unpin flights/2026/01.csv
    """
    _pin(ctx, targets, None)


def _pin(ctx: typer.Context, targets: list[str], tier: str | None) -> None:
    from storaged.cli.context import opened
    from storaged.work.rewrite.pointers import pin_objects

    with opened(of(ctx)) as context:
        changed = pin_objects(context, pages_of(context, targets), tier)
    show_changed(Output(of(ctx)), changed, "unpinned" if tier is None else "pinned")
