"""Parquet files page by page: the identical file comes back, and what is damaged is refused with a reason."""

from __future__ import annotations

import io
import random
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storaged.codecs.parquet import block, recompress
from storaged.codecs.parquet.regenerate import Regenerated
from storaged.codecs.parquet.thrift import Malformed
from storaged.digest import digest_of
from storaged.testing.contents import ORIGIN, BytesContent, BytesReader


def table(rows: int = 5_000) -> pa.Table:
    """Integers, floats, texts, lists, nulls only; the same every time."""
    chance = random.Random(1)
    return pa.table(
        {
            "id": range(rows),
            "price": [chance.randrange(10**6) / 100 for _ in range(rows)],
            "word": [f"word {chance.randrange(50)}" for _ in range(rows)],
            "text": [f"user {chance.randrange(10**9):x} of {chance.randrange(9)}" for _ in range(rows)],
            "many": [None if n % 7 == 0 else [n, n + 1] for n in range(rows)],
            "none": pa.nulls(rows, pa.int32()),
        }
    )


def written(rows: int = 5_000, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table(rows), file, **{"row_group_size": 2_000, **options})
    return file.getvalue()


def blob_of(content: bytes) -> bytes:
    out = bytearray()
    report = recompress.encode(BytesContent(content), out.extend, level=3, origin=ORIGIN)
    assert (report.size, report.digest) == (len(content), digest_of([content]))
    assert (report.stored_size, report.stored_digest) == (len(out), digest_of([bytes(out)]))
    return bytes(out)


def content_of(blob: bytes) -> Regenerated:
    reader = BytesReader(blob)
    return Regenerated(reader, block.read(reader))


def check(content: bytes) -> bytes:
    """Whole, in ranges, and read by others as the same table."""
    blob = blob_of(content)
    opened = content_of(blob)
    assert opened.read_at(0, opened.size) == content
    chance = random.Random(2)
    for _ in range(20):
        at, length = chance.randrange(len(content)), chance.randrange(50_000)
        assert opened.read_at(at, length) == content[at : at + length]
    assert pq.read_table(io.BytesIO(blob)).equals(pq.read_table(io.BytesIO(content)))
    return blob


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["snappy", "gzip", "lz4", "zstd", "brotli", "none"])
def test_the_identical_file_comes_back(compression: str, version: str) -> None:
    """Of pyarrow's, with page index and bloom filters and without."""
    check(written(compression=compression, data_page_version=version))
    content = written(
        compression=compression, data_page_version=version, write_page_index=True, write_page_checksum=True
    )
    blob = check(content)
    if compression in ("snappy", "lz4", "none"):
        assert len(blob) < len(content)
        metadata = pq.read_metadata(io.BytesIO(blob))
        assert metadata.row_group(0).column(0).compression == "ZSTD"
        assert metadata.schema.equals(pq.read_metadata(io.BytesIO(content)).schema)


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("compression", ["snappy", "lz4_raw", "zstd", "uncompressed"])
def test_duckdbs_files_come_back(compression: str, version: str, tmp_path: Any) -> None:
    """Whose snappy is nobody's: the difference to pyarrow's is kept."""
    path = tmp_path / "a.parquet"
    with duckdb.connect() as db:
        db.register("t", table(20_000))
        db.sql(f"copy t to '{path}' (format parquet, compression {compression}, parquet_version {version})")
        blob = check(path.read_bytes())
        (tmp_path / "b.parquet").write_bytes(blob)
        same = f"(from '{path}' except all from '{tmp_path}/b.parquet')"
        assert db.sql(f"select count(*) from {same}").fetchall() == [(0,)]


def test_empty_files_come_back() -> None:
    """No rows, no columns, a row group without rows."""
    check(written(0))
    for empty in (pa.table({}), table(3).slice(0, 0)):
        file = io.BytesIO()
        with pq.ParquetWriter(file, empty.schema, compression="snappy") as writer:
            writer.write_table(empty)
            writer.write_table(empty)
        check(file.getvalue())


def test_any_changed_bytes_are_refused_or_come_back() -> None:
    """Bytes of a valid file changed at random: the identical file, or a reason."""
    chance = random.Random(3)
    files = [written(300, compression=c, data_page_version=v) for c in ("snappy", "none") for v in ("1.0", "2.0")]
    files.append(written(300, write_page_index=True))
    refused = 0
    for _ in range(600):
        damaged = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 3)):
            where = chance.choice((len(damaged), 2_000))
            damaged[len(damaged) - 1 - chance.randrange(min(where, len(damaged)))] = chance.randrange(256)
        try:
            blob = blob_of(bytes(damaged))
        except Malformed:
            refused += 1
            continue
        assert content_of(blob).read_at(0, len(damaged)) == damaged
    assert refused
