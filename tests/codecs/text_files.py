"""Texts to encode: tables of any data, and too large to hold."""

from __future__ import annotations

import io
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from storaged.codecs.parquet.codec import Parquet
from storaged.testing.contents import MIB, BytesReader, encoded

VALUE = 240  # bytes of one field


def text_of(data: bytes) -> bytes:
    """A table that holds this data in quoted fields of 240 bytes, with whatever is in it."""
    values = (data[at : at + VALUE].replace(b'"', b'""') for at in range(0, len(data), VALUE))
    return b"n,data\n" + b"".join(b'%d,"%s"\n' % (number, value) for number, value in enumerate(values))


class Lines:
    """A text of any size that takes no memory: the same 4 MiB of lines again and again."""

    def __init__(self, size: int) -> None:
        lines = []
        length = number = 0
        while length < 4 * MIB:
            lines.append(
                b"%d,2026-11-%02d,%d.%02d,word %d\n" % (number, number % 28 + 1, number, number % 100, number % 7)
            )
            length += len(lines[-1])
            number = number * 31 % 999_983 + 1
        self._unit = b"".join(lines)
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """A new object each time: memory that is really taken."""
        parts: list[bytes] = []
        end = min(offset + length, self.size)
        while offset < end:
            within = offset % len(self._unit)
            parts.append(self._unit[within : within + end - offset])
            offset += len(parts[-1])
        return b"".join(parts)


def back(content: bytes, **options: Any) -> pa.Table:
    """The table of a text, which comes back from it in odd ranges."""
    _, blob = encoded(Parquet(), content, **options)
    opened = Parquet().open(BytesReader(blob))
    assert opened.size == len(content)
    parts, at = [], 0
    while at < opened.size:
        parts.append(opened.read_at(at, 100_003))
        at += len(parts[-1])
    assert b"".join(parts) == content
    found = pq.read_table(io.BytesIO(blob))
    assert duckdb.read_parquet(io.BytesIO(blob)).aggregate("count(*)").fetchall() == [(found.num_rows,)]
    return found
