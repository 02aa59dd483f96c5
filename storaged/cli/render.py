"""The output port: the same facts as text for people or as one JSON document for programs. Results go to stdout.

Text that users or stores chose never reaches a terminal as control characters. Without a terminal there is no colour,
no frame and no line break that the content does not have.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from storaged.cli.options import Options
from storaged.clock import iso

if TYPE_CHECKING:
    from rich.table import Table as Grid

# C0 and C1 controls, line and paragraph separators, bidirectional overrides, lone surrogates: all can forge a line.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WIDE: Final = 1_000_000  # columns: a pipe has no width


def printable(text: str) -> str:
    """The text with everything escaped that could move the cursor, colour the terminal or look like another line."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


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


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by title; rows of text, numbers or None. Numbers stand at the right with thousands separated."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | int | None]]
    right: frozenset[str] = frozenset()  # titles of columns of formatted numbers, such as sizes
    title: str = ""


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
                print(block)  # noqa: T201  this is the output port

    def note(self, text: str) -> None:
        """Something on the side, for people only: to stderr, and not with --quiet."""
        if not self._options.quiet and not self._options.json:
            print(text, file=sys.stderr)  # noqa: T201

    def warn(self, text: str) -> None:
        """Something that is not as it should be: to stderr."""
        print(f"warning: {printable(text)}", file=sys.stderr)  # noqa: T201


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


def grid(table: Table, *, terminal: bool) -> Grid:
    """A table as rich draws it: on a terminal with a line below the titles, and as wide as that allows."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    headed = any(table.columns)
    drawn = Grid(
        box=box.SIMPLE_HEAD if terminal and headed else None,
        show_header=headed,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for n, column in enumerate(table.columns):
        number = column in table.right or (
            bool(table.rows) and all(isinstance(row[n], int) or row[n] is None for row in table.rows)
        )
        drawn.add_column(
            column, justify="right" if number and headed else "left", overflow="fold", no_wrap=not terminal
        )
    for row in table.rows:
        drawn.add_row(*(Text(_cell(value)) for value in row))
    return drawn


def _print_table(table: Table, options: Options) -> None:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    if table.title:
        print(f"{table.title}:")  # noqa: T201
    console = Console(
        file=sys.stdout,
        color_system="auto" if options.color else None,
        width=None if terminal else _WIDE,
        highlight=False,
    )
    with console.capture() as captured:
        console.print(grid(table, terminal=terminal))
    text = captured.get()
    print("\n".join(line.rstrip() for line in text.rstrip("\n").split("\n")))  # noqa: T201


def json_list(entries: Iterable[Mapping[str, Any]]) -> None:
    """A JSON list, written as the entries come."""
    before = "["
    for entry in entries:
        print(f"{before}\n{json.dumps(entry, default=_json)}", end="")  # noqa: T201
        before = ","
    print("[]" if before == "[" else "\n]")  # noqa: T201
