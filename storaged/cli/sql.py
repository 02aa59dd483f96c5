"""sql: one question to the catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, plain, printable
from storaged.cli.table import Table
from storaged.errors import StoragedError, UsageError
from storaged.private import opener

if TYPE_CHECKING:
    from storaged.catalog.sql import QueryResult

_FORMATS: Final = ("table", "csv", "json", "jsonl", "parquet")


def sql(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT, in the catalog's own SQL.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="table (the default), csv, json, jsonl or parquet.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this file instead of stdout.", show_default=False
        ),
    ] = None,
    spreadsheet: Annotated[
        bool,
        typer.Option(
            "--spreadsheet", help="In csv: an apostrophe before text that a spreadsheet would take for a formula."
        ),
    ] = False,
    _json: JsonOption = False,
) -> None:
    """Ask the catalog a question in SQL. It is opened for reading only.

    The views v_datasets, v_objects, v_jobs, v_plans, v_restores and v_audit stay as they are from version to version.

    Example: storagectl sql "SELECT tier, count(*), sum(stored_bytes) FROM v_objects GROUP BY tier"

    Example: storagectl sql "SELECT * FROM v_objects" --format parquet -o objects.parquet
    """
    from storaged.catalog.sql import run_sql
    from storaged.cli.context import load, place

    options = of(ctx)
    chosen = form or ("json" if options.json else "csv" if output else "table")
    if chosen not in _FORMATS:
        raise UsageError(f"there is no format {chosen!r}", hint=f"one of: {', '.join(_FORMATS)}")
    if options.json and chosen != "json":
        raise UsageError(f"--json and --format {chosen} exclude each other")
    if spreadsheet and chosen != "csv":
        raise UsageError(f"--spreadsheet is for csv, not for {chosen}", hint="--format csv")
    if chosen == "table" and output:
        raise UsageError("a table goes to stdout", hint="--format csv, json, jsonl or parquet")
    if chosen == "parquet" and not output and sys.stdout.isatty():
        raise UsageError("Parquet is nothing for a terminal", hint="-o FILE")
    with run_sql(place(load(options)), query) as answer:
        if answer.files is not None:
            Output(options).warn(
                f"{answer.files} may get at files of the catalog's server, and so may a question that is made for it: "
                "give the catalog a role of its own that is no superuser"
            )
        if chosen == "table":
            rows = list(answer.rows)
            numbers = {
                c for n, c in enumerate(answer.columns) if all(isinstance(r[n], int | float | None) for r in rows)
            }
            Output(options).show({}, Table(answer.columns, [[_shown(v) for v in r] for r in rows], frozenset(numbers)))
            return
        if output is None:
            options.answered = True  # from here on stdout is the answer's
            _write(answer, chosen, sys.stdout.buffer, spreadsheet)
            sys.stdout.buffer.flush()
            return
        try:
            with open(output, "wb", opener=opener) as stream:
                number = _write(answer, chosen, stream, spreadsheet)
        except OSError as error:
            raise StoragedError(f"{output} cannot be written: {error.strerror}") from error
    Output(options).note(f"wrote {count(number, 'row')} to {output}")


def _write(answer: QueryResult, form: str, stream: BinaryIO, spreadsheet: bool) -> int:
    from storaged.catalog.sql import write_rows

    escape = printable if stream.isatty() else None
    return write_rows(answer.columns, answer.rows, form, stream, printable=escape, spreadsheet=spreadsheet)


def _shown(value: Any) -> str | None:
    """A value for people. Numbers as they are: they may be ids."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return str(plain(value))
