"""Lines that are alike: of one shape, with as many quotes in each of their values.

Where one such line was taken apart, others are by their quotes alone: their number, and how far apart those are that
stand around keys. What is found so is compared, byte by byte, with the shape; other lines are left to `split`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.jsonl.split import NULL, escaped
from storaged.codecs.text.columns import data_of
from storaged.codecs.text.split import Mask, Places

SCALAR: Final = 0
_QUOTE, _SPACE, _LF, _CR = b'" \n\r'
_ESCAPED_OR_QUOTE: Final = re.compile(rb'\\.|"', re.DOTALL)
_PARTS: Final = b"{}[]:, "  # what no scalar holds
_SCALAR: Final = re.compile(rb'[^"{}\[\]:, ]+')

Offsets = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value of a line is: behind the quote of this number, so many bytes from it; before the one of that
    number, so many bytes from it, or from the line's end. `opening` is the byte that it begins with, or SCALAR for a
    number, a truth value or null."""

    quote: int
    begins: int
    next_quote: int
    ends: int
    opening: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """Lines of this shape, with so many quotes."""

    shape: int
    quotes: int
    around: tuple[bytes, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Alike:
    """Lines of one pattern: which they are, and the values of each of their places, `null` as null."""

    pattern: Pattern
    lines: Places
    columns: list[pa.Array]


def kind_of(value: bytes | None) -> tuple[int, int]:
    """What a value begins with, and how many quotes it has."""
    text = NULL if value is None else value
    if text[0] == _QUOTE:
        return _QUOTE, 2
    return (SCALAR, 0) if _SCALAR.fullmatch(text) else (text[0], len(_quotes(text)))


def pattern_of(shape: int, around: tuple[bytes, ...], kinds: Sequence[tuple[int, int]]) -> Pattern | None:
    """The pattern of lines with values of these kinds; None where quotes do not tell where its values are."""
    places = [_quotes(piece) for piece in around]
    if not all(places[:-1]) or places[-1]:
        return None
    if any(inside and opening != _QUOTE for opening, inside in kinds):
        return None  # quotes do not tell where an array of strings ends
    at = 0
    found = []
    for number, (opening, inside) in enumerate(kinds):
        at += len(places[number])
        last = number + 1 == len(kinds)
        found.append(
            Value(
                quote=at - 1,
                begins=len(around[number]) - places[number][-1],
                next_quote=at + inside,
                ends=len(around[-1]) if last else places[number + 1][0],
                opening=opening,
            )
        )
        at += inside
    return Pattern(shape, at, around, tuple(found))


def _quotes(piece: bytes) -> list[int]:
    return [match.start() for match in _ESCAPED_OR_QUOTE.finditer(piece) if match[0] == b'"']


class Lines:
    """The lines of a text that ends in a line end. `ends` is behind each; `left` tells which are of no pattern that was
    looked for."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        data = self._data = np.frombuffer(text, np.uint8)
        control = np.flatnonzero(data < _SPACE)
        kinds = data[control]
        breaks = kinds == _LF
        self.ends: Offsets = control[breaks].astype(np.int32) + 1
        self.left: Mask = np.ones(len(self.ends), np.bool_)
        if not breaks.all():
            others = control[~breaks]
            wrong = others[(data[others] != _CR) | (data[others + 1] != _LF)]
            self.left[np.searchsorted(self.ends, wrong, side="right")] = False
        self._odd: Mask = ~self.left
        quotes = data == _QUOTE
        if b"\\" in text:
            quotes[escaped(data)] = False
        self._at: Offsets = np.flatnonzero(quotes).astype(np.int32)
        behind = np.searchsorted(self._at, self.ends).astype(np.int32)
        self._counts: Offsets = np.diff(behind, prepend=np.int32(0))
        self._first: Offsets = behind - self._counts
        self._begins: Offsets = np.concatenate((np.zeros(1, np.int32), self.ends[:-1]))

    def of(self, patterns: Sequence[Pattern]) -> Iterator[Alike]:
        """The lines of these patterns, of the first one that fits each."""
        for pattern in patterns:
            lines = np.flatnonzero(self.left & (self._counts == pattern.quotes))
            if len(lines):
                found = self._alike(pattern, lines)
                if len(found.lines):
                    self.left[found.lines] = False
                    yield found

    def others(self) -> tuple[Places, bytes]:
        """The lines that are of no pattern, and their text."""
        other = self.left | self._odd
        change = np.flatnonzero(np.diff(other, prepend=False, append=False))
        begins, ends = self._begins[change[::2]].tolist(), self.ends[change[1::2] - 1].tolist()
        return np.flatnonzero(other), b"".join(self._text[a:b] for a, b in zip(begins, ends, strict=True))

    def _alike(self, pattern: Pattern, lines: Places) -> Alike:
        borders, fits = self._borders(pattern, lines)
        for told in (self._begun, self._shaped):
            if not fits.all():
                lines, borders = lines[fits], borders[fits]
            fits = told(pattern, borders)
        columns = self._values(pattern, borders)
        for column, value in zip(columns, pattern.values, strict=True):
            if value.opening == SCALAR:
                fits &= _scalars(column)
        if fits.all():
            return Alike(pattern, lines, columns)
        some = pa.array(fits)
        return Alike(pattern, lines[fits], [column.filter(some) for column in columns])

    def _values(self, pattern: Pattern, borders: Offsets) -> list[pa.Array]:
        whole, width = self._pieces(borders), borders.shape[1]
        first = np.arange(0, borders.size, width, dtype=np.int32)
        sizes = borders[:, 2::2] - borders[:, 1:-1:2]
        maybe = (sizes == len(NULL)).any(axis=0).tolist()
        columns = []
        for number, value in enumerate(pattern.values):
            null = None
            if value.opening == SCALAR and maybe[number]:
                null = self._null(borders[:, 2 * number + 1], sizes[:, number])
            columns.append(whole.take(pa.array(first + np.int32(2 * number + 1), mask=null)))
        return columns

    def _borders(self, pattern: Pattern, lines: Places) -> tuple[Offsets, Mask]:
        """Of each line where it begins, where each of its values begins and ends, and where it ends; and whether
        these places are as far apart as in the pattern."""
        first, begins, ends = self._first[lines], self._begins[lines], self.ends[lines]
        if int(first[-1] - first[0]) == (len(lines) - 1) * pattern.quotes:
            quotes = self._at[first[0] : first[-1] + pattern.quotes].reshape(len(lines), pattern.quotes)
        else:
            quotes = self._at[first[:, None] + np.arange(pattern.quotes, dtype=np.int32)]
        values = pattern.values
        borders = np.empty((len(lines), 2 * len(values) + 2), np.int32)
        borders[:, 0], borders[:, -1] = begins, ends
        begin, end = borders[:, 1:-1:2], borders[:, 2::2]
        begin[:] = quotes[:, [value.quote for value in values]]
        begin += np.array([value.begins for value in values], np.int32)
        end[:, :-1] = quotes[:, [value.next_quote for value in values[:-1]]]
        end[:, -1] = ends
        end -= np.array([value.ends for value in values], np.int32)
        sizes = np.array([len(piece) for piece in pattern.around[:-1]], np.int32)
        fits: Mask = (begin - borders[:, :-2:2] == sizes).all(axis=1) & (end > begin).all(axis=1)
        strings = [number for number, value in enumerate(values) if value.opening == _QUOTE]
        if strings:
            fits &= (quotes[:, [values[number].quote + 1 for number in strings]] == begin[:, strings]).all(axis=1)
            behind = quotes[:, [values[number].next_quote - 1 for number in strings]]
            fits &= (behind == end[:, strings] - 1).all(axis=1)
        return borders, fits

    def _begun(self, pattern: Pattern, borders: Offsets) -> Mask:
        """Which lines have values that begin and end as in the pattern."""
        fits = np.ones(len(borders), np.bool_)
        for number, value in enumerate(pattern.values):
            if value.opening not in (_QUOTE, SCALAR):
                fits &= self._data[borders[:, 2 * number + 1]] == value.opening
                fits &= self._data[borders[:, 2 * number + 2] - 1] > _SPACE
        return fits

    def _shaped(self, pattern: Pattern, borders: Offsets) -> Mask:
        """Which lines have what the pattern has around values."""
        width = borders.shape[1]
        first = np.arange(len(borders), dtype=np.int32)[:, None] * np.int32(width)
        gaps = self._pieces(borders).take(pa.array((first + np.arange(0, width, 2, dtype=np.int32)).ravel()))
        shape = b"".join(pattern.around)
        found = np.frombuffer(data_of(gaps), np.uint8).reshape(len(borders), len(shape))
        fits: Mask = (found == np.frombuffer(shape, np.uint8)).all(axis=1)
        return fits

    def _pieces(self, borders: Offsets) -> pa.Array:
        """What lies between borders, of all lines together."""
        if not borders.size:
            return pa.array([], pa.binary())
        buffers = [None, pa.py_buffer(np.ascontiguousarray(borders)), pa.py_buffer(self._text)]
        return pa.Array.from_buffers(pa.binary(), borders.size - 1, buffers)

    def _null(self, begins: Offsets, sizes: Offsets) -> Mask | None:
        """Which values are `null`; None where none is."""
        maybe = np.flatnonzero(sizes == len(NULL))
        maybe = maybe[self._data[begins[maybe]] == NULL[0]]
        words = self._data[begins[maybe, None] + np.arange(len(NULL), dtype=np.int32)]
        maybe = maybe[(words == np.frombuffer(NULL, np.uint8)).all(axis=1)]
        if not len(maybe):
            return None
        null = np.zeros(len(begins), np.bool_)
        null[maybe] = True
        return null


def _scalars(column: pa.Array) -> Mask:
    """Which values hold nothing that parts others."""
    data = data_of(column).to_pybytes()
    if len(data.translate(None, _PARTS)) == len(data):
        return np.ones(len(column), np.bool_)
    wrong = pc.match_substring_regex(column, "[" + "".join(f"\\x{byte:02x}" for byte in _PARTS) + "]")
    fair: Mask = ~wrong.fill_null(False).to_numpy(zero_copy_only=False)
    return fair
