"""rm: delete objects that are no longer at their original keys."""

from __future__ import annotations

import typer

from storaged.cli.changes import pages_of, show_changed
from storaged.cli.options import DryRunOption, JsonOption, TargetsArgument, YesOption, confirm, of
from storaged.cli.render import Output, count


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
    from storaged.work.rewrite.pointers import remove_objects

    with opened(of(ctx)) as context:
        if not dry_run and not yes:
            ahead = remove_objects(context, pages_of(context, targets), dry_run=True).done
            if ahead:
                confirm(f"delete {count(len(ahead), 'object')}?", yes=yes)
        changed = remove_objects(context, pages_of(context, targets), dry_run=dry_run)
    show_changed(Output(of(ctx)), changed, "removed", dry_run=dry_run)
