"""eject: nobody is locked in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from storaged.cli.changes import pages_of
from storaged.cli.options import DatasetArgument, DryRunOption, JsonOption, NoWaitOption, YesOption, confirm, of
from storaged.cli.render import Output, count, size
from storaged.cli.running import run_jobs, show_queued, show_ran

if TYPE_CHECKING:
    from storaged.catalog.placements import Held
    from storaged.model import Placement
    from storaged.work.context import Context


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
    from storaged.work.rewrite.pointers import undo_objects
    from storaged.work.rewrite.returns import to_root

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        name = context.dataset(dataset).name
        back, back_bytes = _count(context, name, _in_grace)
        moved, moved_bytes = _count(context, name, _released)
        ahead = {
            "dataset": name,
            "dry_run": dry_run,
            "in_grace": {"objects": back, "bytes": back_bytes},
            "to_write": {"objects": moved, "bytes": moved_bytes},
        }
        words = (
            f"{count(back, 'object')} ({size(back_bytes)}) would go back at once, "
            f"{count(moved, 'object')} ({size(moved_bytes)}) would be written back to {context.dataset(name).root}"
        )
        free = context.root(name).free_bytes() if moved else None
        if free is not None:
            words += f", where {size(free)} are free"
        if dry_run or not back + moved:
            out.show(ahead, words if back + moved else f"every object of {name} is at its original key already")
            return
        confirm(f"eject {name}: {words}?", yes=yes)
        undone = undo_objects(context, _only(context, name, _in_grace))
        made = to_root(context, _only(context, name, _released), reason=f"{context.actor}: eject")
        facts = {"dataset": name, "undone": len(undone.done)}
        left = [*undone.refused, *made.left_out]
        if no_wait:
            made.left_out = left
            show_queued(out, made, facts)
            return
        ran = run_jobs(context, options, made.jobs, objects=made.objects)
        show_ran(out, ran, facts=facts, left_out=left, also=f"{count(len(undone.done), 'object')} went back at once, ")


def _in_grace(placement: Placement) -> bool:
    from storaged.model import RawState

    return placement.raw.state in (RawState.SUPERSEDED, RawState.RELEASING)


def _released(placement: Placement) -> bool:
    return placement.current is not None and not _in_grace(placement)


def _only(context: Context, dataset: str, wanted: Callable[[Placement], bool]) -> Iterator[list[Held]]:
    for page in pages_of(context, [dataset]):
        yield [held for held in page if wanted(held.placement)]


def _count(context: Context, dataset: str, wanted: Callable[[Placement], bool]) -> tuple[int, int]:
    sizes = [held.placement.size for page in _only(context, dataset, wanted) for held in page]
    return len(sizes), sum(sizes)
