"""The rows of a block of lines: the first of them are taken apart, those like them are found by their patterns, and
what is left is taken apart, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storaged.codecs.jsonl import alike, split
from storaged.codecs.text.split import Mask, Places

LEARNED: Final = 64 * 1024  # bytes of a block that are taken apart, at least
TOGETHER: Final = 2 * 1024 * 1024  # bytes that are looked through at once: what a processor holds near
PATTERNS: Final = 64  # that are looked for, at most
LOOKED_AT: Final = 24  # lines of each shape that tell them

Shapes = npt.NDArray[np.uint8]
Number = Callable[[bytes, int], int | None]  # of a shape with so many values; None where its lines are no rows


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands around the values of a line, one more than there are values, and the columns of those."""

    around: tuple[bytes, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The lines of a block. Those that `fits` says are rows have `shapes`, and a value or null in each of the
    columns."""

    ends: Places
    fits: Mask
    shapes: Shapes
    columns: list[pa.Array]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return sum(part.nbytes for part in (self.ends, self.fits, self.shapes, *self.columns))


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines of one shape, and the values of each of its places."""

    shape: int
    lines: Places
    columns: list[pa.Array]


def rows_of(text: bytes, opened: bool, shapes: Sequence[Shape], number: Number, columns: Callable[[], int]) -> Rows:
    """The rows of a block that ends in a line end. `shapes` may grow by asking for a number, and how many columns there
    are is known behind that. Raises NotTaken."""
    at = text.rfind(b"\n", 0, LEARNED) + 1
    if not at or len(text) < 2 * LEARNED:
        at = len(text)
    ends, parts = _taken_apart(text[:at], opened, shapes, number)
    patterns = _patterns(parts, shapes) if at < len(text) else []
    found = [ends]
    before = len(ends)
    while at < len(text):
        end = text.rfind(b"\n", at, at + TOGETHER) + 1 or text.index(b"\n", at) + 1
        lines = alike.Lines(text[at:end])
        parts += [_Part(some.pattern.shape, some.lines + before, some.columns) for some in lines.of(patterns)]
        others, rest = lines.others()
        if len(others):
            parts += [
                _Part(part.shape, others[part.lines] + before, part.columns)
                for part in _taken_apart(rest, opened, shapes, number)[1]
            ]
        found.append(lines.ends.astype(np.int64) + at)
        before += len(lines.ends)
        at = end
    return _together(np.concatenate(found), parts, shapes, columns())


def _taken_apart(text: bytes, opened: bool, shapes: Sequence[Shape], number: Number) -> tuple[Places, list[_Part]]:
    """Where the lines of a text end, and those of each shape."""
    found = split.split(text, opened=opened)
    of_line, wholes = split.numbered(found.shapes)
    counts, good = found.counts, found.good
    numbers = np.full(len(wholes), -1, np.int32)
    first = np.zeros(len(wholes), np.int64)
    lines = np.flatnonzero(good)[::-1]
    first[of_line[lines]] = lines
    for at in np.unique(of_line[good]).tolist():
        count = int(counts[first[at]])
        which = number(wholes[at], count)
        if which is not None and len(shapes[which].columns) == count:
            numbers[at] = which
    of_row = numbers[of_line]
    of_row[~good] = -1
    parts = []
    for which in np.unique(of_row[of_row >= 0]).tolist():
        having = of_row == which
        values = found.values if having.all() else found.values.filter(pa.array(having))
        columns = split.columns(values, len(shapes[which].columns))
        if columns is not None:
            parts.append(_Part(which, np.flatnonzero(having), columns))
    return found.ends, parts


def _patterns(parts: Sequence[_Part], shapes: Sequence[Shape]) -> list[alike.Pattern]:
    """Those of lines that were taken apart, the most common first."""
    seen: Counter[tuple[int, tuple[tuple[int, int], ...]]] = Counter()
    for part in sorted(parts, key=lambda part: -len(part.lines))[:PATTERNS]:
        some = np.unique(np.linspace(0, len(part.lines) - 1, LOOKED_AT).astype(np.int64))
        values = [column.take(pa.array(some)).to_pylist() for column in part.columns]
        for row in zip(*values, strict=True):
            seen[part.shape, tuple(alike.kind_of(value) for value in row)] += len(part.lines)
    found = [alike.pattern_of(shape, shapes[shape].around, kinds) for (shape, kinds), _ in seen.most_common(PATTERNS)]
    return [pattern for pattern in found if pattern is not None]


def _together(ends: Places, parts: Sequence[_Part], shapes: Sequence[Shape], count: int) -> Rows:
    of_line = np.full(len(ends), -1, np.int32)
    for part in parts:
        of_line[part.lines] = part.shape
    fits: Mask = of_line >= 0
    if not parts:
        return Rows(ends, fits, np.empty(0, np.uint8), [pa.array([], pa.binary())] * count)
    order = np.concatenate([part.lines for part in parts])
    back = None if (np.diff(order) > 0).all() else pa.array(np.argsort(order, kind="stable"))
    columns = []
    having = [dict(zip(shapes[part.shape].columns, part.columns, strict=True)) for part in parts]
    for which in range(count):
        pieces = [
            found.pop(which) if which in found else pa.nulls(len(part.lines), pa.binary())
            for part, found in zip(parts, having, strict=True)
        ]
        column = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
        columns.append(column if back is None else column.take(back))
    return Rows(ends, fits, of_line[fits].astype(np.uint8), columns)
