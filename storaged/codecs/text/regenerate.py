"""The text as it was, in ranges, from a blob of row groups."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from storaged.codecs.packed import sums
from storaged.codecs.parquet import block
from storaged.codecs.parquet.footer import END, MAGIC
from storaged.codecs.parquet.pieces import check_of
from storaged.codecs.text.rowgroup import Lines, together
from storaged.errors import VerificationFailed
from storaged.stores.base import Reader

DAMAGED: Final = "the blob is damaged"


class Again(Protocol):
    """Writes the lines of a blob's rows."""

    def empty(self) -> pa.Table:
        """The table without rows."""
        ...

    def lines(self, table: pa.Table, first: int) -> pa.Array:
        """The lines of some rows, the first of which is that row of the table."""
        ...


class Regenerated:
    """Random access to the text of a blob. Thread-safe: one block is decoded at a time, and the last one is kept.
    Raises VerificationFailed if what tells how it comes back is damaged."""

    def __init__(self, reader: Reader, opened: block.Block, again: Callable[[block.Block], Again]) -> None:
        self._reader, self._key = reader, reader.stat.key
        self.size = opened.origin.size
        self._footer_at = opened.footer_at
        columns = opened.columns
        try:
            self._again = again(opened)
            self._head, self._kept = opened.parts["head"], opened.parts["kept"]
            self._missing = int(opened.told["missing"])
            self._footer_digest = str(opened.told["footer"])
            self._check, self._digest = columns["check"], columns["digest"]
            self._begins = sums(columns["size"], first=len(self._head))
            self._first = sums(columns["stretches"])
            self._row = sums(columns["rows"])
            self._at = sums(columns["stored"], first=len(MAGIC))
            self._lines = sums(columns["lines"])
            self._line = [columns[f"line_{name}"] for name in ("row", "instead", "size")]
            self._line_at = sums(self._line[2])
        except (LookupError, TypeError, ValueError) as error:
            raise self._damaged("its table of row groups lacks something") from error
        if self._begins[-1] - self._missing != self.size or self._at[-1] != opened.begins:
            raise self._damaged("its table of row groups does not cover the text")
        self._lock = threading.Lock()
        self._metadata: Any = None
        self._group, self._table = -1, pa.table({})  # the row group that was decoded last
        self._begin, self._text = 0, b""  # the text that was made last

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`. Raises VerificationFailed."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        parts = [self._head[offset:end]] if offset < len(self._head) else []
        offset = max(offset, len(self._head))
        while offset < end:
            with self._lock:
                if not self._begin <= offset < self._begin + len(self._text):
                    self._make(offset, end)
                parts.append(self._text[offset - self._begin : end - self._begin])
            offset += len(parts[-1])
        return b"".join(parts)

    def _make(self, offset: int, end: int) -> None:
        """Make the text of the stretches of one row group that are asked for."""
        first = int(np.searchsorted(self._begins, offset, side="right")) - 1
        group = int(np.searchsorted(self._first, first, side="right")) - 1
        last = min(int(np.searchsorted(self._begins, end, side="left")), int(self._first[group + 1]))
        if group != self._group:
            self._group, self._table = -1, pa.table({})
            self._table = self._decoded(group)
            self._group = group
        self._text = b""
        begin = int(self._row[first] - self._row[int(self._first[group])])
        rows = int(self._row[last] - self._row[first])
        try:
            lines = self._again.lines(self._table.slice(begin, rows), int(self._row[first]))
            made = b"".join(self._stretch(number, first, lines) for number in range(first, last))
        except pa.ArrowException as error:
            raise self._damaged(f"its row group {group} does not come back: {error}") from error
        whole = last == len(self._check)
        self._begin, self._text = int(self._begins[first]), made[: len(made) - self._missing] if whole else made

    def _stretch(self, number: int, first: int, lines: pa.Array) -> bytes | memoryview:
        """One of the stretches of which these are the lines, from the first one on."""
        begin = int(self._row[number] - self._row[first])
        text = together(lines.slice(begin, int(self._row[number + 1] - self._row[number])), self._kept_of(number))
        if check_of(text) != int(self._check[number]):
            raise VerificationFailed(
                f"{self._key}: the text at byte {int(self._begins[number])} does not come back as it was",
                hint="the blob is damaged, or another version of pyarrow writes values otherwise",
            )
        return text

    def _decoded(self, group: int) -> Any:
        """The table of a row group, whose bytes are those that were written."""
        at, size = int(self._at[group]), int(self._at[group + 1] - self._at[group])
        if not size:
            return self._again.empty()
        stored = self._read(at, size)
        if xxhash.xxh3_64_intdigest(stored) != int(self._digest[group]):
            raise self._damaged(f"the row group at byte {at} is not what was written")
        if self._metadata is None:
            self._metadata = self._footer()
        part = pa.PythonFile(_Part(stored, at, self._reader.stat.size), "r")
        try:
            file = pq.ParquetFile(part, metadata=self._metadata)
            return file.read_row_group(int(np.count_nonzero(np.diff(self._at[: group + 1]))), use_threads=False)
        except (pa.ArrowException, OSError) as error:  # Arrow's own, of what is in memory
            raise self._damaged(f"the row group at byte {at} does not come back: {error}") from error

    def _kept_of(self, number: int) -> Lines:
        """The lines that are kept of a stretch."""
        kept = Lines.none()
        for line in range(int(self._lines[number]), int(self._lines[number + 1])):
            row, instead, _ = (int(column[line]) for column in self._line)
            kept.add(row, self._kept[int(self._line_at[line]) : int(self._line_at[line + 1])], instead=bool(instead))
        return kept

    def _footer(self) -> Any:
        footer = self._read(self._footer_at, self._reader.stat.size - self._footer_at)
        if xxhash.xxh3_64_hexdigest(footer[:-END]) != self._footer_digest:
            raise self._damaged("its footer is not what was written")
        return pq.read_metadata(pa.BufferReader(MAGIC + footer))

    def _read(self, at: int, length: int) -> bytes:
        data = self._reader.read_at(at, length) if length else b""
        if len(data) != length:
            raise self._damaged(f"it ends at byte {at + len(data)}, before its footer")
        return data

    def _damaged(self, what: str) -> VerificationFailed:
        return VerificationFailed(f"{self._key}: {what}", hint=DAMAGED)


class _Part(io.RawIOBase):
    """A file of which one part is there."""

    def __init__(self, data: bytes, at: int, size: int) -> None:
        self._data, self._begin, self._size, self._at = data, at, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        skipped = self._at - self._begin
        data = self._data[skipped : skipped + size] if skipped >= 0 <= size else b""
        self._at += len(data)
        return data
