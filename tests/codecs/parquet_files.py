"""Parquet files to encode: of any data, as pyarrow and DuckDB write them, and too large to hold."""

from __future__ import annotations

import io
import os
import tempfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storaged.testing.contents import MIB

PAGE = 64 * 1024  # bytes
VALUE = 4 * 1024


def parquet_of(data: bytes) -> bytes:
    """A file that holds this data in values of 4 KiB, uncompressed, in pages of 64 KiB."""
    values = [data[at : at + VALUE] for at in range(0, len(data), VALUE)]
    table = pa.table({"part": pa.array(values, pa.binary())})
    return written(table, compression="none", data_page_size=PAGE, use_dictionary=False)


def written(table: pa.Table, **options: Any) -> bytes:
    """As pyarrow writes it."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


class Large:
    """A file of about so many bytes that is on the disk and has no name."""

    def __init__(self, size: int) -> None:
        self._fd = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR)
        schema = pa.schema({"part": pa.binary()})
        with (
            open(os.dup(self._fd), "wb") as file,
            pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer,
        ):
            for group in range(size // (4 * MIB)):
                values = [bytes([group % 251]) * VALUE] * (4 * MIB // VALUE)
                writer.write_batch(pa.record_batch({"part": pa.array(values, pa.binary())}, schema))
        self.size = os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        return os.pread(self._fd, length, offset)
