"""Records and fields of a text: where they end, and which of them are what they should be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from storaged.codecs.base import PIECE, Content
from storaged.errors import NotTaken

BLOCK: Final = 16 * 1024 * 1024  # bytes of text of one row group, more or less
WIDE_BLOCK: Final = 24 * 1024 * 1024  # of many columns: each has a chunk, which takes place whatever it holds
PER_FIELD: Final = 8 * 1024  # bytes of text for each of its columns, up to that
CELLS: Final = 4_000_000  # fields of a block, more or less
MANY: Final = 500  # columns: where there are more, no encodings are tried, and memory is given back in between
NO_QUOTE: Final = 0

_LF, _CR = 10, 13
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Written:
    """How a text is written: bytes that part and quote its fields (`quote` 0: nothing does), the end of its lines, and
    how many fields a record has. `block` is how many bytes of text a row group has."""

    delimiter: int
    quote: int
    ending: bytes
    fields: int
    block: int = BLOCK


def block_of(fields: int, size: float) -> int:
    """Bytes of text of a row group of so many columns, whose fields have so many bytes with what parts them."""
    return max(min(BLOCK, int(CELLS * size)), min(WIDE_BLOCK, fields * PER_FIELD))


class Records:
    """The records of a text that ends where one does. `ends` is behind each one's line end, `counts` how many fields it
    has, `good` whether it is read the same way whatever quotes within a field mean, and no CR stands alone."""

    def __init__(self, text: bytes, written: Written) -> None:
        data = np.frombuffer(text, np.uint8)
        newline, delimiter = data == _LF, data == written.delimiter
        wrong: list[Places] = []
        misplaced: Places = np.empty(0, np.int64)
        outside: Mask | None = None
        if written.quote and written.quote in text:
            quote = data == written.quote
            inside = np.bitwise_xor.accumulate(quote)
            outside = ~inside
            newline &= outside
            delimiter &= outside
            misplaced = _misplaced(data, np.flatnonzero(quote), inside, written)
        self.ends: Places = np.flatnonzero(newline) + 1
        if not len(self.ends) or self.ends[-1] != len(data):
            self.ends = np.append(self.ends, len(data))
            wrong.append(np.array([len(data) - 1]))
        if len(misplaced):
            wrong.append(self._ambiguous(data, misplaced, inside, written))
        if _CR in text:
            alone = data == _CR
            if outside is not None:
                alone &= outside
            at = np.flatnonzero(alone)
            wrong.append(at[data[np.minimum(at + 1, len(data) - 1)] != _LF])
        self.delimiters: Places = np.flatnonzero(delimiter)
        self.counts: Places = np.diff(np.searchsorted(self.delimiters, self.ends), prepend=0) + 1
        self.good: Mask = np.ones(len(self.ends), np.bool_)
        self.good[np.searchsorted(self.ends, np.concatenate([*wrong, np.empty(0, np.int64)]), side="right")] = False

    def _ambiguous(self, data: npt.NDArray[np.uint8], misplaced: Places, inside: Mask, written: Written) -> Places:
        """The ends of records with misplaced quotes in which delimiters or line ends seem to be inside of some."""
        owners = np.unique(np.searchsorted(self.ends, misplaced, side="right"))
        parting = np.flatnonzero(inside & ((data == written.delimiter) | (data == _LF)))
        ambiguous = owners[np.isin(owners, np.searchsorted(self.ends, parting, side="right"))]
        at: Places = self.ends[ambiguous] - 1
        return at

    @property
    def starts(self) -> Places:
        return np.concatenate((np.zeros(1, np.int64), self.ends[:-1]))

    def fitting(self, fields: int) -> Mask:
        """Which records are rows of a table of so many columns."""
        fits: Mask = self.good & (self.counts == fields)
        return fits

    def fields_of(self, text: bytes, number: int, written: Written) -> list[bytes]:
        """The fields of one record, without their quotes."""
        begin, end = int(self.starts[number]), int(self.ends[number])
        first, last = np.searchsorted(self.delimiters, (begin, end)).tolist()
        borders = [begin - 1, *self.delimiters[first:last].tolist(), end - 1]
        fields = [text[a + 1 : b] for a, b in itertools.pairwise(borders)]
        fields[-1] = fields[-1].removesuffix(b"\r")
        quote = bytes([written.quote])
        if written.quote:
            fields = [f[1:-1].replace(quote * 2, quote) if f[:1] == quote and len(f) > 1 else f for f in fields]
        return fields

    def field_starts(self, fields: int) -> Places:
        """Where each field of the records that fit begins: records by fields."""
        fits = self.fitting(fields)
        owner = np.searchsorted(self.ends, self.delimiters, side="right")
        firsts, others = self.starts[fits], self.delimiters[fits[owner]] + 1
        return np.concatenate((firsts[:, None], others.reshape(len(firsts), fields - 1)), axis=1)


def _misplaced(data: npt.NDArray[np.uint8], at: Places, inside: Mask, written: Written) -> Places:
    """Quotes that neither begin nor end a field, nor stand for one by two."""
    opens = inside[at]
    before = np.where(at > 0, data[at - 1], _LF)
    after = np.where(at + 1 < len(data), data[np.minimum(at + 1, len(data) - 1)], _LF)
    fair = np.where(
        opens,
        (before == written.delimiter) | (before == _LF) | (before == written.quote),
        (after == written.delimiter) | (after == _LF) | (after == _CR) | (after == written.quote),
    )
    misplaced: Places = at[~fair]
    return misplaced


def blocks(source: Content, begin: int, written: Written) -> Iterator[bytes]:
    """The text from `begin` on, in pieces that end where a record does; the last one ends where the text does. Raises
    NotTaken where a record is longer than a block."""
    at = begin
    while at < source.size:
        data = _read(source, at, min(written.block, source.size - at))
        if not data:
            return
        last = len(data) < written.block
        end = len(data) if last else last_end(data, written)
        if not end:
            raise NotTaken(f"a record of it is longer than {written.block} bytes, or a quote in it has no end")
        yield data[:end]
        at += end
        if last:
            return


def _read(source: Content, at: int, length: int) -> bytes:
    """Fewer bytes only where the source ends."""
    parts: list[bytes] = []
    end = at + length
    while at < end and (data := source.read_at(at, min(PIECE, end - at))):
        parts.append(data)
        at += len(data)
    return b"".join(parts)


def last_end(text: bytes, written: Written) -> int:
    """Behind the last line end that no quotes are around; 0 where there is none."""
    end = text.rfind(b"\n") + 1
    if not written.quote:
        return end
    quotes = text.count(written.quote, 0, end)
    while end and quotes % 2:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(written.quote, before, end)
        end = before
    return end


def parsed(text: bytes, written: Written, null: bytes) -> list[pa.Array]:
    """The fields of records that fit, column by column, as bytes without quotes; null where nothing but `null` stands.
    Raises ArrowInvalid where they do not."""
    names = [str(number) for number in range(written.fields)]
    quoted = bool(written.quote) and written.quote in text
    table = pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=chr(written.delimiter),
            quote_char=chr(written.quote) if quoted else False,
            double_quote=True,
            escape_char=False,
            newlines_in_values=quoted,
            ignore_empty_lines=False,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(names, pa.binary()),
            null_values=[null.decode()],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return [column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A block in columns. `records` is there where it was looked at record by record; those that are no rows are not in
    the columns."""

    rows: int
    columns: list[pa.Array]
    records: Records | None


def columns_of(text: bytes, written: Written, null: bytes, *, closely: bool = False) -> Parsed:
    """The columns of a block that ends in a line end; `closely`: record by record in any case. Raises NotTaken where
    its fields cannot be told apart."""
    if not closely:
        try:
            columns = parsed(text, written, null)
        except pa.ArrowInvalid:
            pass
        else:
            return Parsed(len(columns[0]), columns, None)
    records = Records(text, written)
    fits = records.fitting(written.fields)
    rows = int(fits.sum())
    if not rows:
        return Parsed(0, [pa.array([], pa.binary())] * written.fields, records)
    try:
        columns = parsed(rows_of(text, records, fits), written, null)
    except pa.ArrowInvalid as error:
        raise NotTaken(f"its fields cannot be told apart: {error}") from error
    if len(columns[0]) != rows:
        raise NotTaken("its records cannot be told apart")
    return Parsed(rows, columns, records)


def rows_of(text: bytes, records: Records, fits: Mask) -> bytes:
    """The text of the records that fit."""
    if fits.all():
        return text
    change = np.flatnonzero(np.diff(np.concatenate(([False], fits, [False])).view(np.int8)))
    borders = np.concatenate((np.zeros(1, np.int64), records.ends))[change].tolist()
    return b"".join(text[a:b] for a, b in zip(borders[::2], borders[1::2], strict=True))
