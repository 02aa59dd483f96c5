"""sweep: delete what was superseded and whose grace is over."""

from __future__ import annotations

import dataclasses

import typer

from storaged.cli.options import DryRunOption, JsonOption, YesOption, confirm, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, pairs, size
from storaged.cli.table import Table
from storaged.errors import JobsFailed


def sweep(ctx: typer.Context, yes: YesOption = False, dry_run: DryRunOption = False, _json: JsonOption = False) -> None:
    """Delete old places of objects whose grace is over, each after a last look at old and new place.

    Example: storagectl sweep --dry-run
    """
    from storaged.cli.context import opened
    from storaged.work.release.due import due
    from storaged.work.release.sweep import sweep as run_sweep

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        ahead = due(context)
        if dry_run:
            _show_due(out, ahead)
            return
        if ahead["sources"] or ahead["blobs"]:
            confirm(
                f"release {count(ahead['sources'], 'original')} ({size(ahead['source_bytes'])}) and "
                f"{count(ahead['blobs'], 'blob')} ({size(ahead['blob_bytes'])}) whose grace is over?",
                yes=yes,
            )
        with progress(options, "sweep", total=ahead["sources"] + ahead["blobs"] + ahead["tombstones"]) as bar:
            done = 0

            def move(_what: str, number: int) -> None:
                nonlocal done
                done += number
                bar(done)

            swept = run_sweep(context, progress=move)
    for error in swept.errors:
        out.warn(error)
    kept = [(why, number) for why, number in sorted(swept.held_back.items())]
    emptied = f"; {count(swept.folders, 'empty folder')} removed" if swept.folders else ""
    absent = f" ({swept.absent:,} of them were gone already)" if swept.absent else ""
    left = f"; {count(swept.left, 'object')} left packs in which others stay" if swept.left else ""
    words = (
        f"released {count(swept.sources, 'original')} and {count(swept.blobs, 'blob')}{absent}, "
        f"freed {size(swept.freed_bytes)}{emptied}{left}; {count(swept.tombstones, 'discarded attempt')} checked"
    )
    out.show(dataclasses.asdict(swept), words, *([Table(("kept although due", "objects"), kept)] if kept else []))
    if swept.errors:
        hint = "`storagectl doctor` says what helps, and what takes a release back"
        raise JobsFailed(
            f"{count(len(swept.errors), 'key')} could not be released; the next sweep tries again", hint=hint
        )


def _show_due(out: Output, ahead: dict[str, int]) -> None:
    out.show(
        {"dry_run": True, **ahead},
        pairs(
            (
                ("originals whose grace is over", f"{ahead['sources']:,} ({size(ahead['source_bytes'])})"),
                ("blobs whose grace is over", f"{ahead['blobs']:,} ({size(ahead['blob_bytes'])})"),
                ("discarded attempts to check", ahead["tombstones"]),
            )
        ),
        "each is looked at again before it is deleted; what is held, damaged or changed stays",
    )
