"""Other encodings of the same values: what is made, what is left as it is, and that no changed bit goes unseen."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storaged.codecs.parquet import columns, reencode
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.parquet.encodings import Encoding
from storaged.codecs.parquet.pages import Headers
from storaged.codecs.parquet.thrift import packed, places
from storaged.codecs.registry import sampled
from storaged.errors import NotTaken
from storaged.model import CodecSpec, Fidelity
from storaged.testing.contents import ORIGIN, BytesContent
from tests.codecs.parquet_files import written
from tests.codecs.test_parquet import table

CODEC = Parquet()
SPEC = CodecSpec("parquet", 3, Fidelity.TABLE, reencode=True)
PAGES: dict[str, Any] = {"data_page_size": 4_096, "row_group_size": 1_500, "write_batch_size": 100}


def made(data: bytes, **options: Any) -> tuple[bytes, str]:
    """The new file, which is proven to be of the same table, and what was told of it."""
    out = io.BytesIO()
    encoded = CODEC.derive(BytesContent(data), out.write, spec=SPEC, origin=ORIGIN, **options)
    CODEC.require_same(BytesContent(data), BytesContent(out.getvalue()), spec=SPEC)
    assert (encoded.size, encoded.stored_size) == (len(data), len(out.getvalue()))
    return out.getvalue(), encoded.note


def bits(array: pa.Array) -> object:
    """What an array holds, floats by their bits."""
    there = array.is_valid().to_pylist()
    if pa.types.is_list(array.type):
        return there, array.value_lengths().to_pylist(), bits(array.flatten())
    if pa.types.is_struct(array.type):
        return there, [bits(array.field(n)) for n in range(array.type.num_fields)]
    if pa.types.is_floating(array.type) or pa.types.is_temporal(array.type):
        array = array.view(pa.int64() if array.type.bit_width == 64 else pa.int32())
    return there, array.drop_null().to_pylist()


def require_same_rows(data: bytes, new: bytes) -> None:
    """As Arrow reads them, and DuckDB, and all that a footer says but of encodings."""
    was, now = (pq.ParquetFile(io.BytesIO(x), page_checksum_verification=True) for x in (data, new))
    assert now.metadata.schema.equals(was.metadata.schema)
    assert now.metadata.metadata == was.metadata.metadata
    assert now.num_row_groups == was.num_row_groups
    for group in range(was.num_row_groups):
        old, rows = was.read_row_group(group), now.read_row_group(group)
        assert rows.schema.equals(old.schema, check_metadata=True)
        for name in range(old.num_columns):
            assert bits(rows.column(name).combine_chunks()) == bits(old.column(name).combine_chunks())
        for column in range(was.metadata.num_columns):
            before, after = (x.metadata.row_group(group).column(column) for x in (was, now))
            assert (after.num_values, after.physical_type) == (before.num_values, before.physical_type)
            assert after.statistics == before.statistics
            assert after.has_offset_index == before.has_offset_index
        sorted_by = [x.metadata.row_group(group).sorting_columns for x in (was, now)]
        assert sorted_by[0] == sorted_by[1]


def encodings(new: bytes, column: int = 0) -> set[str]:
    return set(pq.ParquetFile(io.BytesIO(new)).metadata.row_group(0).column(column).encodings)


CHANCE = random.Random(3)
FEW = [CHANCE.randrange(2**62) for _ in range(31)]
ROWS = range(5_000)
DELTA = "DELTA_BINARY_PACKED"
BEST: dict[str, tuple[pa.Array, str]] = {
    "counted": (pa.array(ROWS, pa.int64()), DELTA),
    "moments": (pa.array([n * 999_983 % 7_919 + n * 10_000 for n in ROWS], pa.timestamp("us")), DELTA),
    "days": (pa.array([n // 3 for n in ROWS], pa.date32()), DELTA),
    "waves": (pa.array(np.sin(np.arange(5_000) / 500), pa.float64()), "BYTE_STREAM_SPLIT"),
    "narrow waves": (pa.array(np.sin(np.arange(5_000) / 500), pa.float32()), "BYTE_STREAM_SPLIT"),
    "paths": (pa.array([f"https://example.com/{n:07d}/{CHANCE.randrange(99)}" for n in ROWS]), "DELTA_BYTE_ARRAY"),
    "digits": (pa.array([str(CHANCE.randrange(10**9)) for n in ROWS]), "DELTA_LENGTH_BYTE_ARRAY"),
    "few": (pa.array([CHANCE.choice(FEW) for _ in ROWS], pa.int64()), "RLE_DICTIONARY"),
}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("what", BEST)
def test_each_kind_of_values_gets_the_encoding_that_is_best_for_it(what: str, version: str, tmp_path: Path) -> None:
    """And is smaller by it than page by page."""
    column, best = BEST[what]
    data = written(pa.table({"x": column}), use_dictionary=False, data_page_version=version, **PAGES)
    new, note = made(data)
    require_same_rows(data, new)
    assert best in encodings(new)
    assert best in note
    plain = io.BytesIO()
    CODEC.derive(BytesContent(data), plain.write, spec=replace(SPEC, reencode=False), origin=ORIGIN)
    assert len(new) < len(plain.getvalue()) < len(data)
    assert in_duckdb(tmp_path, new) == in_duckdb(tmp_path, data)


def in_duckdb(folder: Path, data: bytes) -> list[Any]:
    (folder / "x.parquet").write_bytes(data)
    with duckdb.connect() as db:
        return db.sql(f"SELECT * FROM read_parquet('{folder}/x.parquet')").fetchall()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data_page_version": "2.0", "compression": "none"},
        {"use_dictionary": False, "write_page_index": True, "write_page_checksum": True},
        {"dictionary_pagesize_limit": 2_000, "compression": "gzip", "write_page_index": True},
        {"bloom_filter_options": {"n": {}, "word": {}}, "sorting_columns": [pq.SortingColumn(0)], "version": "1.0"},
    ],
    ids=["as it is", "version 2", "indexed", "a dictionary that is given up", "bloom filters"],
)
def test_rows_schema_and_all_that_a_footer_tells_are_kept(options: dict[str, Any], tmp_path: Path) -> None:
    rows = table(4_000)
    data = written(rows, **PAGES | options)
    new, note = made(data)
    require_same_rows(data, new)
    assert "column chunks are encoded anew" in note
    assert in_duckdb(tmp_path, new) == in_duckdb(tmp_path, data)


def test_many_threads_make_the_same_file() -> None:
    data = written(table(4_000), **PAGES)
    with ThreadPoolExecutor(3) as executor:
        assert made(data, executor=executor) == made(data)


def test_what_means_more_than_it_is_stored_as_is_kept(tmp_path: Path) -> None:
    """INT96 out of what nanoseconds hold, wide decimals, field ids, names with dots, no names, one name twice."""
    old = [datetime(1600, 1, 1 + n % 28, tzinfo=UTC) if n % 9 else None for n in range(2_000)]
    of_96 = written(
        pa.table({"t": pa.array(old, pa.timestamp("us", "UTC"))}), use_deprecated_int96_timestamps=True, **PAGES
    )
    new, _ = made(of_96)
    assert in_duckdb(tmp_path, new) == in_duckdb(tmp_path, of_96)
    schema = pa.schema(
        [
            pa.field("a.b", pa.decimal256(60, 5), metadata={b"PARQUET:field_id": b"7"}),
            pa.field("", pa.int64(), nullable=False),
            pa.field("x", pa.int64()),
            pa.field("x", pa.list_(pa.struct([("y", pa.list_(pa.int64())), ("z", pa.float64())]))),
            pa.field("m", pa.map_(pa.string(), pa.int32())),
        ]
    )
    lists = [None if n % 5 == 0 else [{"y": [n] * (n % 3), "z": n / 8}] * (n % 4) for n in range(2_000)]
    rows = [
        pa.array([n * 10**20 for n in range(2_000)], pa.decimal256(60, 5)),
        pa.array(range(2_000), pa.int64()),
        pa.array([n // 4 for n in range(2_000)], pa.int64()),
        pa.array(lists, schema.field(3).type),
        pa.array([[(f"k{n}", n)] if n % 3 else None for n in range(2_000)], schema.field(4).type),
    ]
    data = written(pa.Table.from_arrays(rows, schema=schema), **PAGES)
    new, note = made(data)
    assert "encoded anew" in note
    assert "keeps its encoding" not in note
    require_same_rows(data, new)


def test_what_another_program_writes_is_kept(tmp_path: Path) -> None:
    """Of DuckDB: intervals, UUIDs and wide decimals as so many bytes, texts without a dictionary."""
    rows = """SELECT i AS n, to_days(i::INT % 40) + to_hours(i::INT % 30) AS span, uuid() AS id,
        i::DECIMAL(38, 7) AS money, ['odd', 'even'][i % 2 + 1]::ENUM('odd', 'even') AS kind, i::HUGEINT AS huge,
        TIME '01:02:03' AS clock,
        [x FOR x IN range(i % 5)] AS list, {'a': i, 'b': MAP {i::VARCHAR: 'x' || i}} AS nested,
        nullif(i % 7, 3)::FLOAT AS f, repeat(chr(97 + (i * i % 23)::INT), 3) || i AS text FROM range(6000) t(i)"""
    with duckdb.connect() as db:
        for version in ("v1", "v2"):
            how = f"FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 2048, PARQUET_VERSION {version}"
            db.sql(f"COPY ({rows}) TO '{tmp_path}/duck.parquet' ({how})")
            data = (tmp_path / "duck.parquet").read_bytes()
            new, note = made(data)
            assert "encoded anew" in note
            assert in_duckdb(tmp_path, new) == in_duckdb(tmp_path, data)
            assert described(tmp_path, new) == described(tmp_path, data)


def described(folder: Path, data: bytes) -> list[Any]:
    (folder / "x.parquet").write_bytes(data)
    with duckdb.connect() as db:
        return db.sql(f"SELECT * EXCLUDE file_name FROM parquet_schema('{folder}/x.parquet')").fetchall()


def test_levels_that_are_not_there_may_be_called_bit_packed(tmp_path: Path) -> None:
    """As parquet-java did for a decade."""
    rows = pa.table({"n": [None if n % 5 == 0 else n * n for n in range(3_000)]})
    data = written(rows, compression="none", use_dictionary=False)
    header = Headers().read(data, 4)
    [within] = [p for p in places(header.raw, 0)[0] if p.number == 5]
    [repetitions] = [p.at for p in places(header.raw, within.at)[0] if p.number == 4]
    where = 4 + repetitions
    if data[where] != packed(Encoding.RLE)[0]:
        pytest.fail("that is not where it stands")
    data = data[:where] + packed(Encoding.BIT_PACKED) + data[where + 1 :]
    new, note = made(data)
    assert "1 of 1 column chunks are encoded anew" in note
    require_same_rows(data, new)
    assert in_duckdb(tmp_path, new) == in_duckdb(tmp_path, data)


def test_what_arrow_makes_dictionaries_of_is_still_read_by_it() -> None:
    """It does that of no DELTA encoding of texts."""
    words = pa.array([f"https://example.com/{n // 2:07d}" for n in ROWS])
    rows = pa.table({"n": ROWS, "w": words.dictionary_encode(), "l": pa.array([[w] for w in words.to_pylist()])})
    data = written(rows, **PAGES)
    new, _ = made(data)
    assert encodings(new, 2) >= {"DELTA_BYTE_ARRAY"}
    assert encodings(new, 1) <= {"PLAIN", "RLE", "RLE_DICTIONARY"}
    read = pq.read_table(io.BytesIO(new))
    assert pa.types.is_dictionary(read.schema.field("w").type)
    assert read.to_pydict() == rows.to_pydict()


def test_a_chunk_that_is_too_large_to_be_held_is_written_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reencode, "WINDOW", 5_000)
    data = written(table(4_000), **PAGES | {"use_dictionary": ["small"], "row_group_size": 4_000})
    new, note = made(data)
    require_same_rows(data, new)
    assert "DELTA_BINARY_PACKED" in note


def test_what_is_encoded_well_already_is_recompressed_and_it_is_said_why() -> None:
    rows = pa.table(
        {"n": pa.array([n * 7_919 % 10_007 for n in range(5_000)]), "b": [n % 3 == 0 for n in range(5_000)]}
    )
    data = written(rows, use_dictionary=False, column_encoding={"n": "DELTA_BINARY_PACKED"}, compression="none")
    new, note = made(data)
    require_same_rows(data, new)
    assert note == (
        "page by page: no column becomes smaller by another encoding; `n` keeps its encoding: its values are encoded "
        "as DELTA_BINARY_PACKED already; `b` keeps its encoding: there is no better encoding of its values"
    )


def test_a_file_of_more_chunks_than_are_looked_at_is_recompressed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNKS", 5)
    data = written(table(1_000), **PAGES)
    new, note = made(data)
    assert note == "page by page: it has more than 5 column chunks"
    plain = io.BytesIO()
    CODEC.derive(BytesContent(data), plain.write, spec=replace(SPEC, reencode=False), origin=ORIGIN)
    assert new == plain.getvalue()
    assert sampled(SPEC, BytesContent(data)) == replace(
        sampled(replace(SPEC, reencode=False), BytesContent(data)), asked=SPEC, spec=SPEC
    )


def test_a_sample_tells_what_other_encodings_gain() -> None:
    """Page by page this file would not become smaller."""
    data = written(
        pa.table({"n": pa.array([n * 2**33 for n in range(50_000)])}), compression="zstd", use_dictionary=False
    )
    assert sampled(SPEC, BytesContent(data)).sample.taken
    assert not sampled(replace(SPEC, reencode=False), BytesContent(data)).sample.taken
    with pytest.raises(NotTaken, match="would not become smaller"):
        CODEC.derive(BytesContent(data), lambda _: None, spec=replace(SPEC, reencode=False), origin=ORIGIN)
    assert len(made(data)[0]) < len(data) // 4


def test_what_is_no_table_is_stored_byte_by_byte() -> None:
    found = sampled(SPEC, BytesContent(b"a,b\n" + b"1,2\n" * 50_000))
    assert found.sample.taken
    assert found.spec == CodecSpec("parquet", 3)
