"""How a table fits a terminal: never wider than it, and no cell that runs on into the next line.

What is too wide gives way in this order: columns in which nothing stands; the column of sentences, which goes below its
row; paths, which lose their middle; details, which are named as left out. What still does not fit becomes a block of
lines for each row, as `\\x auto` of psql does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from storaged.cli.table import Table

GAP: Final = 2  # columns of the terminal between two of a table
PATH: Final = 24  # columns that a path keeps at least
_NOTHING: Final = frozenset(("", "-", "0", "0 B"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table stand beside each other, and how wide. None beside: each row is a block of lines."""

    beside: tuple[int, ...]
    widths: tuple[int, ...] = ()
    below: int | None = None  # the column whose text stands below its row
    left_out: tuple[int, ...] = ()  # details for which there is no room


def fit(table: Table, cells: Sequence[Sequence[str]], width: int | None) -> Layout:
    """The layout of a table in a terminal `width` columns wide; None: nothing gives way."""
    columns = range(len(table.columns))
    if width is None:
        whole = (max(map(_cells, (table.columns[n], *(row[n] for row in cells)))) for n in columns)
        return Layout(tuple(columns), tuple(whole))
    wide = [max(map(_cells, (*table.columns[n].split(), *(row[n] for row in cells))), default=1) for n in columns]
    least = [min(wide[n], PATH) if table.columns[n] in table.paths else wide[n] for n in columns]
    beside = list(columns)
    below: int | None = None
    left_out: list[int] = []

    def fits(widths: Sequence[int]) -> bool:
        return sum(widths[n] for n in beside) + GAP * (len(beside) - 1) <= width

    for n in reversed(columns[1:]):
        if not fits(wide) and all(row[n] in _NOTHING for row in cells):
            beside.remove(n)
    if not fits(wide) and table.prose in table.columns:
        below = table.columns.index(table.prose)
        if below in beside:
            beside.remove(below)
        else:
            below = None
    for n in reversed(columns):
        if not fits(least) and n in beside and table.columns[n] in table.details:
            beside.remove(n)
            left_out.append(n)
    if not fits(least):
        return Layout(())
    widths = wide.copy()
    while not fits(widths):
        longest = max((n for n in beside if widths[n] > least[n]), key=lambda n: widths[n])
        widths[longest] -= 1
    spare = width - sum(widths[n] for n in beside) - GAP * (len(beside) - 1)
    for n in beside:  # what room is left saves titles from being broken
        more = min(max(_cells(table.columns[n]) - widths[n], 0), spare)
        widths[n], spare = widths[n] + more, spare - more
    return Layout(tuple(beside), tuple(widths[n] for n in beside), below, tuple(reversed(left_out)))


def shortened(text: str, width: int) -> str:
    """The text without its middle where it is wider than that: a path keeps its name and where it begins."""
    if _cells(text) <= width:
        return text
    head, tail = (width - 1) // 3, width - 1 - (width - 1) // 3
    while _cells(text[:head]) > (width - 1) // 3:
        head -= 1
    while _cells(text[-tail:]) > width - 1 - (width - 1) // 3:
        tail -= 1
    return f"{text[:head]}…{text[-tail:]}"


def wrapped(text: str, width: int) -> str:
    """A line as several that are not wider, broken between words; those after the first stand further in.

    What is longer without a space, such as a path, stays whole: it can be copied from the terminal.
    """
    if _cells(text) <= width:
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    lines, line = [], indent
    for word in text.split():
        longer = f"{line}{'' if line.isspace() or not line else ' '}{word}"
        if _cells(longer) > width and line.strip():
            lines.append(line)
            longer = f"{indent}  {word}"
        line = longer
    return "\n".join([*lines, line])


def drawn(
    titles: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], layout: Layout, width: int | None
) -> tuple[list[str], list[str]]:
    """The lines of the titles and those of the rows. `right`: which columns stand at the right."""

    def line(texts: Sequence[str]) -> str:
        padded = (_pad(text, wide, right[n]) for n, text, wide in zip(layout.beside, texts, layout.widths, strict=True))
        return (" " * GAP).join(padded).rstrip()

    folded = [_folded(titles[n], wide) for n, wide in zip(layout.beside, layout.widths, strict=True)]
    height = max(map(len, folded))
    head = [line(texts) for texts in zip(*([""] * (height - len(f)) + f for f in folded), strict=True)]
    body: list[str] = []
    for row in cells:
        body.append(line([shortened(row[n], wide) for n, wide in zip(layout.beside, layout.widths, strict=True)]))
        if layout.below is not None and width is not None and row[layout.below] not in _NOTHING:
            body += wrapped(f"    {row[layout.below]}", width).split("\n")
    if layout.left_out and width is not None:
        names = ", ".join(titles[n] for n in layout.left_out)
        body += wrapped(f"(no room for: {names}; a wider terminal shows more, --json all)", width).split("\n")
    return head, body


def facts(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Names and values below each other; on a terminal a long value goes on below itself."""
    wide = max((_cells(row[0]) for row in rows), default=0)
    lines: list[str] = []
    for name, value in rows:
        room = None if width is None else max(width - wide - GAP, PATH)
        begin, *rest = _folded(value, room) if room is not None and _cells(value) > room else [value]
        lines.append(f"{_pad(name, wide, False)}{' ' * GAP}{begin}".rstrip())
        lines += [f"{' ' * (wide + GAP)}{part}" for part in rest]
    return lines


def _folded(text: str, width: int) -> list[str]:
    """The text as lines of that width, broken between words, and within those that are longer."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and _cells(f"{lines[-1]} {word}") > width:
            lines.append("")
        line = f"{lines[-1]} {word}" if lines[-1] else word
        while _cells(line) > width:
            cut = width
            while _cells(line[:cut]) > width:
                cut -= 1
            lines[-1:], line = [line[:cut], ""], line[cut:]
        lines[-1] = line
    return lines


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _cells(text))
    return f"{space}{text}" if right else f"{text}{space}"


def _cells(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
