"""overwritten: what a program wrote over at the key of an object that had been moved, and what becomes of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from storaged.cli.changes import pages_of, show_changed
from storaged.cli.options import DryRunOption, JsonOption, of
from storaged.cli.render import Output, count, size, when
from storaged.cli.running import SHOWN
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.work.context import Context
    from storaged.work.rewrite.overwritten import KeptGeneration

MOST = 10_000  # that are listed


def overwritten(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET", help="DATASET, DATASET/NAME, or a glob over names in quotes.", show_default=False
        ),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="The old content may go; it does when the grace is over.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it on for `keep_overwritten`, although it was confirmed.")
    ] = False,
    generation: Annotated[
        int | None,
        typer.Option("--generation", metavar="N", help="Only this generation of it.", show_default=False),
    ] = None,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Show objects that were written anew at their original key after they had been moved, as `>>` does, and whose
    content before that is kept. It goes when somebody confirms, or after `keep_overwritten`.

    `storagectl cat DATASET/NAME --generation N` gives the old content.

    Example: storagectl overwritten

    Example: storagectl overwritten 'flights/2026/*' --confirm
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite import overwritten as work

    if confirm and keep:
        raise UsageError("--confirm lets it go and --keep keeps it: one of the two")
    if (confirm or keep) and not targets:
        raise UsageError("name the objects", hint="storagectl overwritten 'DATASET/*' --confirm")
    out = Output(of(ctx))
    with opened(of(ctx)) as context:
        if not confirm and not keep:
            _list(out, context, targets or [], generation)
            return
        pages = pages_of(context, targets or [])
        changed = (work.let_go if confirm else work.keep)(context, pages, generation, dry_run=dry_run)
    show_changed(out, changed, "let go" if confirm else "kept on", dry_run=dry_run)


def _list(out: Output, context: Context, targets: list[str], generation: int | None) -> None:
    from storaged.work import targets as names
    from storaged.work.rewrite.overwritten import kept

    wanted: set[int] | None = None
    if targets:
        wanted = {held.id for page in pages_of(context, targets) for held in page}
    datasets = sorted({names.split(context, target)[0] for target in targets})
    found = [
        one
        for one in kept(context, datasets)
        if (wanted is None or one.object_id in wanted) and generation in (None, one.generation)
    ]
    facts = {"overwritten": [_facts(one) for one in found[:MOST]], "more": max(0, len(found) - MOST)}
    if not found:
        out.show(facts, "nothing that was overwritten is kept")
        return
    rows = [
        (
            f"{one.dataset}/{one.name}",
            one.generation,
            size(one.bytes),
            one.now,
            "gone" if one.now_bytes is None else size(one.now_bytes),
            one.tier,
            when(one.until_us),
        )
        for one in islice(found, SHOWN)
    ]
    columns = ("object", "generation", "size", "now", "size now", "tier", "kept until")
    out.show(
        facts,
        f"{count(len(found), 'older generation')} kept",
        Table(columns, rows, frozenset({"size", "size now"}), paths=frozenset({"object"})),
        "`storagectl cat OBJECT --generation N` gives the old content; `storagectl overwritten OBJECT --confirm` lets "
        "it go",
    )


def _facts(one: KeptGeneration) -> dict[str, object]:
    return {
        "dataset": one.dataset,
        "object": one.name,
        "generation": one.generation,
        "bytes": one.bytes,
        "now": {"generation": one.now, "bytes": one.now_bytes},
        "tier": one.tier,
        "until": when(one.until_us),
    }
