"""top: what goes on right now, again and again."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli import live as shown
from storaged.cli.options import JsonOption, Options, of
from storaged.cli.render import Output
from storaged.cli.table import Table
from storaged.clock import SECOND, iso, to_datetime
from storaged.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Group

    from storaged.work.context import Context
    from storaged.work.show.live import Live

TASKS: Final = 12  # shown at most


def top(
    ctx: typer.Context,
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="How long between looks, such as 2s or 500ms.")
    ] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    _json: JsonOption = False,
) -> None:
    """Watch daemons, running jobs, the queue, recurring tasks, suspensions and failures, until Ctrl-C.

    Where the output is no terminal it looks once.

    Example: storagectl top --interval 5s
    """
    from storaged.cli.context import opened
    from storaged.work.show.live import live

    options = of(ctx)
    pause = _seconds(interval)
    with opened(options) as context:
        if not (once or options.json) and sys.stdout.isatty():
            _watch(context, options, pause)
            return
        now = live(context)
    Output(options).show(_facts(now), *_blocks(now, None))


def _seconds(interval: str) -> float:
    from storaged.config.quantities import BadValueError, parse_duration

    try:
        found = parse_duration(interval)
    except BadValueError as error:
        raise UsageError(f"--interval: {error}", hint=error.hint) from error
    if found < SECOND // 10:
        raise UsageError(f"--interval {interval} is too short", hint="at least 100ms")
    return found / SECOND


def _watch(context: Context, options: Options, pause: float) -> None:
    """Show it anew until the user has seen enough."""
    from rich.console import Console
    from rich.live import Live as Screen

    from storaged.work.show.live import live

    console = Console(color_system="auto" if options.color else None, highlight=False)
    before: Live | None = None
    with _until_ctrl_c() as enough, Screen(console=console, screen=True, auto_refresh=False) as screen:
        while not enough.is_set():
            now = live(context)
            screen.update(_drawn(now, before, console.width), refresh=True)
            before = now
            enough.wait(pause)


@contextmanager
def _until_ctrl_c() -> Iterator[threading.Event]:
    """Set by Ctrl-C: a KeyboardInterrupt that is raised in a callback of C code would be printed and lost.

    A second Ctrl-C interrupts whatever runs, such as a database that does not answer.
    """
    enough = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def heard(_number: int, _frame: object) -> None:
        enough.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, heard)
    try:
        yield enough
    finally:
        signal.signal(signal.SIGINT, before)


def _drawn(now: Live, before: Live | None, width: int) -> Group:
    from rich.console import Group
    from rich.text import Text

    from storaged.cli.render import grid, printable

    return Group(
        *(Text("\n".join(grid(b, width)) if isinstance(b, Table) else printable(b)) for b in _blocks(now, before))
    )


def _facts(now: Live) -> dict[str, Any]:
    rates = shown.rates(now, None)
    facts = {"at": iso(now.at_us), "jobs": now.jobs, "journal_waiting": now.journal_waiting, **shown.facts(now)}
    for job in facts["running"]:
        job["objects_per_second"], job["bytes_per_second"] = rates[job["job"]]
    return facts


def _blocks(now: Live, before: Live | None) -> list[str | Table]:
    """Lines, and those tables that have something to say."""
    from humanize import naturaltime

    def at(us: int | None) -> str:
        return "-" if us is None else naturaltime(to_datetime(now.at_us) - to_datetime(us))

    tables = (
        shown.running_table(now, shown.rates(now, before), at),
        shown.daemon_table(now, at),
        shown.task_table(now, at, limit=TASKS),
        shown.suspension_table(now, at),
        shown.failure_table(now, at),
    )
    return [
        f"storaged at {iso(now.at_us)}: {shown.daemon_words(now)}",
        f"jobs: {shown.queue_words(now, {}, at)}",
        f"journal: {now.journal_waiting:,} entries wait" if now.journal_waiting else "journal: up to date",
        *(block for table in tables if table.rows for block in ("", table)),
    ]
