"""rm: delete objects that are no longer at their original keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from storaged.cli.changes import look_ahead, pages_of, show_changed
from storaged.cli.options import DryRunOption, JsonOption, TargetsArgument, YesOption, confirm, of
from storaged.cli.render import Output, count

if TYPE_CHECKING:
    from storaged.catalog.placements import Held


def rm(
    ctx: typer.Context,
    targets: TargetsArgument,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Delete objects whose original keys storaged has released. `undo` brings them back while the grace lasts.

    What is still at its original key is deleted there, by its user; the next scan records that.

    Example: storagectl rm 'flights/2019/*'
    """
    from storaged.cli.context import opened
    from storaged.placement import Stale, drop
    from storaged.work.rewrite.pointers import remove_objects

    with opened(of(ctx)) as context:
        now, grace = context.now_us(), context.settings.grace

        def would(held: Held) -> None:
            if held.placement.hold:
                raise Stale("held")
            drop(held.placement, now_us=now, until_us=now + grace)

        ahead = look_ahead(pages_of(context, targets), would)
        if dry_run:
            show_changed(Output(of(ctx)), ahead, "removed", dry_run=True)
            return
        if ahead.done:
            confirm(f"delete {count(len(ahead.done), 'object')}?", yes=yes)
        changed = remove_objects(context, pages_of(context, targets))
    show_changed(Output(of(ctx)), changed, "removed")
