"""Lines of JSON objects, taken apart: what lies around their values, and the values.

What lies around the values of a line is its shape: keys, their order, separators, the line's end, with a mark in place
of each value. Nothing here decides whether a line is right: whatever is taken for a value, shape and values together
are the line, and the text made of them is compared with the one that was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.text.split import NO_QUOTE, Mask, Places, Written, parsed

MARK: Final = 1  # stands for a value; no valid JSON holds this byte
NULL: Final = b"null"
_QUOTE, _BACKSLASH, _COLON, _COMMA, _LF, _SPACE = b'"\\:,\n '
_PAD: Final = 64  # spaces that are looked through on either side of a value
_TOKENS: Final = np.isin(np.arange(256), np.frombuffer(b'"{}[]:,\n', np.uint8))
_OPEN: Final = np.isin(np.arange(256), np.frombuffer(b"{[", np.uint8))
_CLOSE: Final = np.isin(np.arange(256), np.frombuffer(b"}]", np.uint8))
_STEP: Final = _OPEN.astype(np.int32) - _CLOSE.astype(np.int32)

Data = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Split:
    """The lines of a text. `ends` is behind each one's line end; `shapes` are their shapes, `counts` how many values
    each has, and `values` those of a line together, each with a byte behind it: a mark, or the line end after the last.
    `good` tells which lines are whole objects with values that can be told apart."""

    ends: Places
    shapes: pa.Array
    counts: Places
    values: pa.Array
    good: Mask


def split(text: bytes, *, opened: bool) -> Split:
    """Take apart a text that ends in a line end; `opened`: objects within an object are taken apart, too."""
    data = np.frombuffer(text, np.uint8)
    ends: Places = np.flatnonzero(data == _LF) + 1
    starts, stops, line, good = _values(text, data, ends, opened)
    counts: Places = np.bincount(line, minlength=len(ends))
    good &= (counts > 0) & (data[np.concatenate((np.zeros(1, np.int64), ends[:-1]))] == ord("{"))
    sizes = stops - starts
    within: Places = np.bincount(line, sizes, len(ends)).astype(np.int64)
    borders = np.empty(2 * len(starts) + 2, np.int64)
    borders[0], borders[-1] = 0, len(data)
    borders[1:-1:2], borders[2:-1:2] = starts, stops
    around = np.zeros(len(borders) - 1, np.bool_)
    around[::2] = True
    gap: Mask = np.repeat(around, np.diff(borders))
    changed = data.copy()
    changed[starts] = MARK
    wanted = gap.copy()
    wanted[starts] = True
    shapes = _binary(changed[wanted], np.diff(ends, prepend=0) - within + counts)
    changed[starts] = data[starts]
    changed[stops] = MARK
    last = np.flatnonzero(np.diff(line, append=-1))
    changed[stops[last]] = _LF
    np.logical_not(gap, out=wanted)
    wanted[stops] = True
    values = changed[wanted]
    _without_control(values, sizes, line, good)
    return Split(ends, shapes, counts, _binary(values, within + counts), good)


def _values(text: bytes, data: Data, ends: Places, opened: bool) -> tuple[Places, Places, Places, Mask]:
    """Where the values of all lines begin and end, the line of each, and which lines are whole."""
    mask = _TOKENS[data]
    if b"\\" in text:
        mask[escaped(data)] = False
    at = np.flatnonzero(mask).astype(np.int32)
    del mask
    kind = data[at]
    quotes = np.cumsum(kind == _QUOTE, dtype=np.int32)
    breaks = np.flatnonzero(kind == _LF)
    count = quotes[breaks]
    good: Mask = np.diff(count, prepend=0) % 2 == 0
    if not good.all():  # quotes are counted from the beginning of each line
        quotes -= np.repeat(np.concatenate((np.zeros(1, np.int32), count[:-1])), np.diff(breaks, prepend=-1))
    outside = (kind != _QUOTE) & ((quotes & 1 == 0) | (kind == _LF))
    at, kind = at[outside], kind[outside]
    del quotes, outside
    depth = np.cumsum(_STEP[kind], dtype=np.int32)
    breaks = np.flatnonzero(kind == _LF)
    level = depth[breaks]
    balanced = np.diff(level, prepend=0) == 0
    if level.any():
        depth -= np.repeat(np.concatenate((np.zeros(1, np.int32), level[:-1])), np.diff(breaks, prepend=-1))
    good &= balanced
    begins, stops = _at_depth(kind, depth, 1, opened)
    if opened:
        inner, inner_stops = _at_depth(kind, depth, 2, False)
        begins, stops = np.concatenate((begins, inner)), np.concatenate((stops, inner_stops))
        order = np.argsort(begins, kind="stable")
        begins, stops = begins[order], stops[order]
    line: Places = np.searchsorted(breaks, begins)
    within = stops < breaks[line]
    good[line[~within]] = False
    begins, stops, line = begins[within], stops[within], line[within]
    first, behind = at[begins].astype(np.int64) + 1, at[stops].astype(np.int64)
    for _ in range(_PAD):
        space = data[first] == _SPACE
        if not space.any():
            break
        first += space
    for _ in range(_PAD):
        space = (data[behind - 1] == _SPACE) & (behind > first)
        if not space.any():
            break
        behind -= space
    fair = behind > first
    fair[1:] &= first[1:] > behind[:-1]
    good[line[~fair]] = False
    taken = good[line]
    return first[taken], behind[taken], line[taken], good


def _at_depth(kind: Data, depth: npt.NDArray[np.int32], level: int, opened: bool) -> tuple[Places, Places]:
    """The colons of objects that are so deep, and what ends the value behind each; `opened`: but those of objects that
    have keys."""
    colons = np.flatnonzero((kind == _COLON) & (depth == level))
    if opened:
        after = kind[np.minimum(colons + 2, len(kind) - 1)]
        colons = colons[(kind[colons + 1] != ord("{")) | (after == ord("}"))]
    over = np.flatnonzero(((kind == _COMMA) & (depth == level)) | (_CLOSE[kind] & (depth == level - 1)))
    which = np.searchsorted(over, colons)
    within = which < len(over)
    return colons[within], over[which[within]]


def escaped(data: Data) -> Places:
    """What stands behind an odd number of backslashes."""
    at = np.flatnonzero(data == _BACKSLASH)
    first = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    sizes = np.diff(first, append=len(at))
    odd = sizes % 2 == 1
    behind: Places = at[first[odd]] + sizes[odd]
    behind = behind[behind < len(data)]
    within: Places = behind[data[behind] != _LF]
    return within


def _without_control(values: Data, sizes: Places, line: Places, good: Mask) -> None:
    """Lines with a value that holds a control byte are not good: none may in JSON."""
    control = np.flatnonzero(values < _SPACE)
    if len(control) == len(sizes):
        return
    last = np.cumsum(sizes + 1) - 1
    owner = np.searchsorted(last, control)
    good[line[owner[last[owner] != control]]] = False


def _binary(data: Data, sizes: Places) -> pa.Array:
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def columns(values: pa.Array, count: int) -> list[pa.Array] | None:
    """The values of lines that have so many each, as bytes, `null` as null; None where they cannot be told apart."""
    _, places, data = values.buffers()
    offsets = np.frombuffer(places, np.int32, len(values) + 1, values.offset * 4)
    text = data.slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes()
    try:
        found = parsed(text, Written(MARK, NO_QUOTE, b"\n", count), NULL)
    except pa.ArrowInvalid:
        return None
    return found if len(found[0]) == len(values) else None


def numbered(shapes: pa.Array) -> tuple[npt.NDArray[np.int32], list[bytes]]:
    """The number of each line's shape, and the shapes."""
    told: Any = shapes.dictionary_encode()
    return np.asarray(told.indices), pc.cast(told.dictionary, pa.binary()).to_pylist()
