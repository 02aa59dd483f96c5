"""The text as it was, in ranges, from a blob of row groups."""

from __future__ import annotations

import io
import threading
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from storaged.codecs.parquet import block
from storaged.codecs.parquet.footer import END, MAGIC
from storaged.codecs.parquet.pieces import check_of
from storaged.codecs.text.rowgroup import Lines, lines_of, together
from storaged.codecs.text.survey import Plan
from storaged.errors import VerificationFailed
from storaged.stores.base import Reader

DAMAGED: Final = "the blob is damaged"


class Regenerated:
    """Random access to the text of a blob. Thread-safe: one block is decoded at a time, and the last one is kept.
    Raises VerificationFailed if what tells how it comes back is damaged."""

    def __init__(self, reader: Reader, opened: block.Block) -> None:
        self._reader, self._key = reader, reader.stat.key
        self.size = opened.origin.size
        self._footer_at = opened.footer_at
        columns = opened.columns
        try:
            self._plan = Plan.from_bytes(opened.parts["plan"])
            self._head, self._kept = opened.parts["head"], opened.parts["kept"]
            self._missing = int(opened.told["missing"])
            self._footer_digest = str(opened.told["footer"])
            self._check, self._rows, self._digest = columns["check"], columns["rows"], columns["digest"]
            self._begins = _sums(len(self._head), columns["size"])
            self._at = _sums(len(MAGIC), columns["stored"])
            self._lines = _sums(0, columns["lines"])
            self._line = [columns[f"line_{name}"] for name in ("row", "instead", "size")]
            self._line_at = _sums(0, self._line[2])
        except (LookupError, TypeError, ValueError) as error:
            raise self._damaged("its table of row groups lacks something") from error
        if self._begins[-1] - self._missing != self.size or self._at[-1] != opened.begins:
            raise self._damaged("its table of row groups does not cover the text")
        self._lock = threading.Lock()
        self._metadata: Any = None
        self._number, self._text = -1, b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`. Raises VerificationFailed."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        parts = [self._head[offset:end]] if offset < len(self._head) else []
        offset = max(offset, len(self._head))
        number = int(np.searchsorted(self._begins, offset, side="right")) - 1
        while offset < end:
            begin = int(self._begins[number])
            text = self._block(number)
            parts.append(text[offset - begin : end - begin])
            offset = begin + len(text)
            number += 1
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        with self._lock:
            if self._number != number:
                self._number, self._text = -1, b""
                self._text = self._made(number)
                self._number = number
            return self._text

    def _made(self, number: int) -> bytes:
        at, size = int(self._at[number]), int(self._at[number + 1] - self._at[number])
        stored = self._read(at, size)
        if xxhash.xxh3_64_intdigest(stored) != int(self._digest[number]):
            raise self._damaged(f"the row group at byte {at} is not what was written")
        if self._metadata is None:
            self._metadata = self._footer()
        try:
            file = pq.ParquetFile(
                pa.PythonFile(_Part(stored, at, self._reader.stat.size), "r"), metadata=self._metadata
            )
            text = together(lines_of(file.read_row_group(number, use_threads=False), self._plan), self._of(number))
        except pa.ArrowException as error:
            raise self._damaged(f"the row group at byte {at} does not come back: {error}") from error
        if check_of(text) != int(self._check[number]):
            begin = int(self._begins[number])
            raise VerificationFailed(
                f"{self._key}: the block at byte {begin} of its content does not come back as it was",
                hint="the blob is damaged, or another version of pyarrow writes values otherwise",
            )
        last = number == len(self._check) - 1
        return text[: len(text) - self._missing] if last else text

    def _of(self, number: int) -> Lines:
        """The lines that are kept of a block."""
        first, last = int(self._lines[number]), int(self._lines[number + 1])
        kept = Lines.none()
        for line in range(first, last):
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


def _sums(first: int, column: block.Column) -> block.Column:
    """Where each begins, and where the last one ends."""
    return np.concatenate((np.array([first], np.uint64), first + np.cumsum(column, dtype=np.uint64)))
