"""warm: ask for readable copies of what is in an archive class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.changes import pages_of
from storaged.cli.options import DryRunOption, JsonOption, TargetsArgument, YesOption, confirm, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, at, count, size, when
from storaged.cli.running import SHOWN
from storaged.cli.table import Table
from storaged.errors import JobsFailed, RefusedByGuard, UsageError

if TYPE_CHECKING:
    from storaged.work.rewrite.warm import Copy, Warming

MUCH_OBJECTS: Final = 100  # more than so many, or so many bytes, are asked for after a question only
MUCH_BYTES: Final = 10 << 30


def warm(
    ctx: typer.Context,
    targets: TargetsArgument,
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="How long the copies are kept.")] = 7,
    speed: Annotated[
        str, typer.Option("--speed", metavar="WORD", help="Expedited, Standard or Bulk: faster costs more.")
    ] = "Standard",
    max_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-bytes", metavar="SIZE", help="Ask for nothing if it is more than this.", show_default=False
        ),
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Ask for readable copies of objects that are in an archive class; what reads at once is left alone.

    It does not wait: minutes to days go by until they are there, and `storagectl restores` shows how far they are. For
    what is readable for some days only, it asks for more days.

    Example: storagectl warm 'flights/2019/*' --dry-run

    Example: storagectl warm flights/2019/01.csv --days 3 --speed Bulk
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite import warm as work

    options = of(ctx)
    out = Output(options)
    limit = _size(max_bytes)
    with opened(options) as context:

        def run(*, dry: bool) -> Warming:
            pages = pages_of(context, targets)
            with progress(options, "warm") as bar:
                return work.warm(context, pages, days=days, speed=speed, dry_run=dry, progress=bar)

        if dry_run or limit is not None or not yes:
            ahead = run(dry=True)
            if dry_run:
                _show(out, ahead, dry_run=True)
                return
            number = len(ahead.of(work.State.ASKED))
            if limit is not None and ahead.bytes > limit:
                raise RefusedByGuard(
                    f"{count(number, 'object')} of {size(ahead.bytes)} would be asked for, --max-bytes is {size(limit)}"
                )
            if number > MUCH_OBJECTS or ahead.bytes > MUCH_BYTES:
                confirm(
                    f"ask for {count(number, 'object')} of {size(ahead.bytes)}, at {speed} speed for {days} days?",
                    yes=yes,
                )
        warming = run(dry=False)
    _show(out, warming, dry_run=False)
    left = warming.of(work.State.LEFT)
    if left:
        raise JobsFailed(f"{count(len(left), 'object')} could not be asked for", hint=left[0].why)


def _size(text: str | None) -> int | None:
    from storaged.config.quantities import BadValueError, parse_size

    if text is None:
        return None
    try:
        return parse_size(text)
    except BadValueError as error:
        raise UsageError(f"--max-bytes: {error}", hint="such as 500GiB") from error


def _show(out: Output, warming: Warming, *, dry_run: bool) -> None:
    from storaged.work.rewrite.warm import State

    asked = warming.of(State.ASKED)
    bills = dict(sorted({(copy.storage_class, copy.billed) for copy in asked}))
    facts: dict[str, Any] = {
        "dry_run": dry_run,
        "days": warming.days,
        "speed": warming.speed,
        "requests": warming.requests,
        "bytes": warming.bytes,
        "ready_by": None if warming.ready_us is None else when(warming.ready_us),
        "billed": bills,
        "objects": [_facts(copy) for copy in warming.copies],
    }
    words = f"{'would ask' if dry_run else 'asked'} for {count(len(asked), 'object')}"
    if warming.requests < len(asked):
        words += f" by {count(warming.requests, 'request')}, since a pack is asked for as a whole"
    if asked:
        words += f", {size(warming.bytes)}, at {warming.speed} speed for {warming.days} days"
    words += "".join(
        f"; {len(warming.of(state)):,} {word}"
        for state, word in ((State.UNDER_WAY, "on their way"), (State.READABLE, "readable"), (State.LEFT, "left out"))
        if warming.of(state)
    )
    blocks: list[str | Table] = [words]
    if warming.ready_us is not None:
        blocks.append(f"all of it readable by {facts['ready_by']}, as far as the store's documentation goes")
    blocks += [f"{kind} is billed: {text}" for kind, text in bills.items()]
    rows = [
        (copy.object, copy.state.value, copy.storage_class, size(copy.bytes), _by(copy), _until(copy), copy.why)
        for copy in sorted(warming.copies, key=lambda copy: list(State).index(copy.state))
    ]
    if rows:
        columns = ("object", "state", "class", "stored", "readable by", "until", "why")
        blocks.append(Table(columns, rows[:SHOWN], frozenset({"stored"}), paths=frozenset({"object"}), prose="why"))
    if len(rows) > SHOWN:
        blocks.append(f"and {len(rows) - SHOWN:,} more: --json lists them")
    out.show(facts, *blocks)


def _facts(copy: Copy) -> dict[str, Any]:
    return {
        "object": copy.object,
        "state": copy.state.value,
        "storage_class": copy.storage_class,
        "bytes": copy.bytes,
        "expected_at": None if copy.expected_us is None else when(copy.expected_us),
        "readable_until": None if copy.until_us is None else when(copy.until_us),
        "reason": copy.why or None,
    }


def _by(copy: Copy) -> str | None:
    return None if copy.expected_us is None else at(copy.expected_us)


def _until(copy: Copy) -> str | None:
    return None if copy.until_us is None else at(copy.until_us)
