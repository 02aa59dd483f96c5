"""Progress bars: on stderr, and only where a person looks at them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from storaged.cli.options import Options
from storaged.cli.render import size


class Bar(Protocol):
    """What moves a progress bar: how many of how many are done (None: unknown), and how many bytes."""

    def __call__(self, done: int, total: int | None = None, nbytes: int | None = None) -> None: ...


@contextmanager
def progress(options: Options, what: str, *, unit: str = "objects", total: int | None = None) -> Iterator[Bar]:
    """A progress bar while the block runs; nothing at all with --quiet, --json, or if stderr is no terminal."""
    if options.quiet or options.json or not sys.stderr.isatty():
        yield lambda done, total=None, nbytes=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.completed:,.0f}} {unit}"),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[volume]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, color_system="auto" if options.color else None)
    # What goes to stdout meanwhile must stay there: rich would send it to stderr.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as shown:
        task = shown.add_task(what, total=total, speed="", volume="")

        def move(done: int, total: int | None = None, nbytes: int | None = None) -> None:
            speed = shown.tasks[0].speed
            shown.update(
                task,
                completed=done,
                total=max(total, done) if total else shown.tasks[0].total,
                speed=f"{speed:,.0f}/s" if speed else "",
                volume=size(nbytes) if nbytes is not None else "",
            )

        yield move
