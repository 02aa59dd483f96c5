"""eject: nobody is locked in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from storaged.cli.options import DatasetArgument, DryRunOption, JsonOption, NoWaitOption, YesOption, confirm, of
from storaged.cli.render import Output, count, size
from storaged.cli.running import left_table, run_jobs, show_queued, show_ran

if TYPE_CHECKING:
    from storaged.work.context import Context
    from storaged.work.rewrite.eject import Ejected

_NOTHING: Final = "every object of {} is at its original key already"


def eject(
    ctx: typer.Context,
    dataset: DatasetArgument,
    yes: YesOption = False,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Put every object of a dataset back under its original key, as it was.

    What is still in grace goes back at once, the rest is written back. Policies may move it again: set `readers: raw`
    for the dataset, or change them, before you eject it.

    Example: storagectl eject flights
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite.eject import eject as bring_back

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        name = context.dataset(dataset).name
        if dry_run:
            _show_ahead(out, context, name, bring_back(context, name, dry_run=True))
            return
        if not yes:
            ahead = bring_back(context, name, dry_run=True)
            if ahead.undone.done or ahead.returns.objects:
                confirm(f"eject {name}: {_words(context, name, ahead)}?", yes=yes)
        ejected = bring_back(context, name)
        undone, made = ejected.undone, ejected.returns
        facts = {"dataset": name, "undone": len(undone.done)}
        if no_wait:
            made.left_out = ejected.left_out
            show_queued(out, made, facts)
            return
        ran = run_jobs(context, options, made.jobs, objects=made.objects)
        also = f"{count(len(undone.done), 'object')} went back at once, "
        if not (undone.done or made.jobs or ejected.left_out):
            also = f"{_NOTHING.format(name)}: "
        show_ran(out, ran, facts=facts, left_out=ejected.left_out, also=also)


def _show_ahead(out: Output, context: Context, name: str, ahead: Ejected) -> None:
    undone, made = ahead.undone, ahead.returns
    facts = {
        "dataset": name,
        "dry_run": True,
        "in_grace": {"objects": len(undone.done), "bytes": undone.bytes},
        "to_write": {"objects": made.objects, "bytes": made.bytes},
        "left_out": [{"object": path, "reason": why} for path, why in ahead.left_out],
    }
    words = _words(context, name, ahead) if undone.done or made.objects or ahead.left_out else _NOTHING.format(name)
    out.show(facts, words, *left_table(ahead.left_out))


def _words(context: Context, name: str, ahead: Ejected) -> str:
    undone, made = ahead.undone, ahead.returns
    words = (
        f"{count(len(undone.done), 'object')} ({size(undone.bytes)}) would go back at once, "
        f"{count(made.objects, 'object')} ({size(made.bytes)}) would be written back to {context.dataset(name).root}"
    )
    free = context.root(name).free_bytes() if made.objects else None
    words += "" if free is None else f", where {size(free)} are free"
    return words + (f"; {count(len(ahead.left_out), 'object')} would be left out" if ahead.left_out else "")
