"""The output port: the same facts as text for people or as one JSON document for programs. Results go to stdout.

Text that users or stores chose never reaches a terminal as control characters. On a terminal nothing is wider than it
(storaged.cli.layout). Without one there is no colour, nothing is left out, and no line is broken.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any

from storaged.cli.options import Options
from storaged.cli.table import Table
from storaged.clock import iso
from storaged.printable import printable as printable


def size(n: int | None) -> str:
    """Bytes for people: 1.5 GiB. None: a dash."""
    import humanize

    return "-" if n is None else humanize.naturalsize(n, binary=True, format="%.1f").replace(" Bytes", " B").replace(
        " Byte", " B"
    )  # fmt: skip


def count(n: int, word: str, plural: str = "") -> str:
    """1 object, 2,000 objects."""
    return f"{n:,} {word if n == 1 else plural or word + 's'}"


def plain(value: Any) -> Any:
    """A row's value as JSON has it: instants as ISO 8601 with a Z, JSON text of the catalog as it is."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return value


class Verbatim(str):
    """Text that stands as it is however narrow the terminal: a file, a difference, a drawing."""


def pairs(facts: Iterable[tuple[str, str | int | None]]) -> Table:
    """Names and values below each other."""
    return Table(("", ""), [(name, value if isinstance(value, str) else _cell(value)) for name, value in facts])


class Output:
    """Where a command shows what it did. One `show` a command: JSON is one document."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def show(self, facts: Mapping[str, Any], *blocks: str | Table) -> None:
        """`facts` as JSON, or the blocks as text: the same facts for people."""
        if self._options.json:
            print_json(facts)
            self._options.answered = True
            return
        for block in blocks:
            if isinstance(block, Table):
                _print_table(block, self._options)
            else:
                print(block if isinstance(block, Verbatim) else _line(block, sys.stdout))

    def note(self, text: str) -> None:
        """Something on the side, for people only: to stderr, and not with --quiet."""
        if not self._options.quiet and not self._options.json:
            print(_line(text, sys.stderr), file=sys.stderr)

    def warn(self, text: str) -> None:
        """Something that is not as it should be: to stderr."""
        print(_line(f"warning: {printable(text)}", sys.stderr), file=sys.stderr)


def print_json(document: Any, out: IO[str] | None = None) -> None:
    """One JSON document, in ASCII: readable in any locale, harmless on any terminal."""
    print(json.dumps(document, indent=2, default=_json), file=out or sys.stdout)


def _json(value: object) -> object:
    if isinstance(value, dt.datetime):
        return plain(value)
    return str(value)


def when(us: int | None) -> str:
    """An instant for people and for JSON: ISO 8601 with a Z; a dash for none."""
    return iso(us) or "-"


def _cell(value: str | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else printable(value)


def moment(iso_text: str | None) -> str:
    """An instant of `when` in a table: to the minute, and read more easily."""
    return "-" if iso_text in (None, "-") else f"{iso_text[:10]} {iso_text[11:16]}Z"


def at(us: int | None) -> str:
    """An instant in a table: 2026-11-24 02:38Z; a dash for none."""
    return moment(iso(us))


def columns() -> int:
    """How wide the terminal is."""
    return shutil.get_terminal_size().columns


def tell(text: str, out: IO[str]) -> None:
    """One line to a stream; on a terminal broken between words."""
    print(_line(text, out), file=out)


def _line(text: str, out: IO[str]) -> str:
    from storaged.cli.layout import wrapped

    return wrapped(text, columns()) if out.isatty() else text


def cells(table: Table) -> tuple[list[list[str]], list[bool]]:
    """A table's rows as texts, and which columns stand at the right."""
    right = [
        title in table.right
        or (bool(table.rows) and all(isinstance(row[n], int) or row[n] is None for row in table.rows))
        for n, title in enumerate(table.columns)
    ]
    return [[_cell(value) for value in row] for row in table.rows], right


def grid(table: Table, width: int | None, *, bold: bool = False) -> list[str]:
    """A table as lines: on a terminal `width` columns wide so that it fits; None: whole, however wide it is."""
    from storaged.cli import layout

    told, number = cells(table)
    titles = table.columns
    if not any(titles):
        return layout.facts(told, width)
    found = layout.fit(table, told, width)
    if not found.beside:
        blocks = (layout.facts(list(zip(titles, row, strict=True)), width) for row in told)
        return [line for n, block in enumerate(blocks) for line in (*(("",) if n else ()), *block)]
    head, body = layout.drawn(titles, told, number, found, width)
    return [*(f"\x1b[1m{line}\x1b[0m" if bold else line for line in head), *body]


def _print_table(table: Table, options: Options) -> None:
    terminal = sys.stdout.isatty()
    if table.title:
        print(f"{table.title}:")
    lines = grid(table, columns() if terminal else None, bold=terminal and options.color)
    print("\n".join(lines))


def json_list(entries: Iterable[Mapping[str, Any]]) -> None:
    """A JSON list, written as the entries come."""
    before = "["
    for entry in entries:
        print(f"{before}\n{json.dumps(entry, default=_json)}", end="")
        before = ","
    print("[]" if before == "[" else "\n]")
