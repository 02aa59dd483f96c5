"""Another file of the same table: what is made, and that whoever compares it notices whatever is not the same."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storaged.codecs.parquet import recompress
from storaged.codecs.parquet.codec import Parquet
from storaged.errors import NotTaken, StoragedError, VerificationFailed
from storaged.model import CodecSpec, Fidelity
from storaged.testing.contents import ORIGIN, BytesContent
from tests.codecs.parquet_files import written
from tests.codecs.test_parquet import table

CODEC = Parquet()
SPEC = CodecSpec("parquet", 3, Fidelity.TABLE)
TABLE = table(3_000)
INDEXED: dict[str, Any] = {
    "write_page_index": True,
    "write_page_checksum": True,
    "row_group_size": 1_000,
    "data_page_size": 4_096,
}
SNAPPY = written(TABLE, compression="snappy", **INDEXED)


def made(data: bytes) -> bytes:
    out = io.BytesIO()
    encoded = CODEC.derive(BytesContent(data), out.write, spec=SPEC, origin=ORIGIN)
    assert (encoded.size, encoded.stored_size) == (len(data), len(out.getvalue()))
    return out.getvalue()


def rows_of(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data), page_checksum_verification=True)


MADE = made(SNAPPY)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_rows_are_the_same_and_so_is_all_that_the_footer_tells_of_them(compression: str, version: str) -> None:
    data = written(TABLE, compression=compression, data_page_version=version, **INDEXED)
    new = made(data)
    CODEC.require_same(BytesContent(data), BytesContent(new), spec=SPEC)
    assert len(new) < len(data)
    assert b"xxh3_128" not in new[len(new) // 2 :], "nothing brings the old bytes back"
    assert rows_of(new).equals(rows_of(data), check_metadata=True)
    was, now = (pq.ParquetFile(io.BytesIO(x)).metadata for x in (data, new))
    assert now.schema.equals(was.schema)
    assert now.metadata == was.metadata
    for group in range(was.num_row_groups):
        for column in range(was.num_columns):
            old, new_column = was.row_group(group).column(column), now.row_group(group).column(column)
            assert new_column.statistics == old.statistics
            assert (new_column.encodings, new_column.num_values) == (old.encodings, old.num_values)
            assert new_column.has_offset_index
            assert new_column.has_column_index


def test_many_threads_make_the_same_file() -> None:
    out = io.BytesIO()
    with ThreadPoolExecutor(3) as executor:
        CODEC.derive(BytesContent(SNAPPY), out.write, spec=SPEC, origin=ORIGIN, executor=executor)
    assert out.getvalue() == MADE


def test_what_would_not_become_smaller_is_left() -> None:
    with pytest.raises(NotTaken, match="would not become smaller"):
        made(written(pa.table({"n": [random.Random(n).random() for n in range(3_000)]}), compression="zstd"))


def test_only_parquet_files_are_tables() -> None:
    assert CODEC.derives(BytesContent(SNAPPY))
    assert not CODEC.derives(BytesContent(b"a,b\n1,2\n" * 1_000))


# MUST 4
def test_no_changed_byte_makes_it_another_table_unseen() -> None:
    """A byte that is compressed may stand for the same as before: then the rows are the same, and the test goes on."""
    chance, seen = random.Random(5), 0
    for _ in range(300):
        at = chance.randrange(len(MADE))
        damaged = MADE[:at] + bytes([MADE[at] ^ (1 << chance.randrange(8))]) + MADE[at + 1 :]
        try:
            CODEC.require_same(BytesContent(SNAPPY), BytesContent(damaged), spec=SPEC)
        except StoragedError:
            seen += 1
        else:
            assert rows_of(damaged).equals(rows_of(SNAPPY)), at
    assert seen > 290


def others() -> dict[str, bytes]:
    rows = TABLE.to_pylist()
    rows[1_500]["n"] += 1
    changed = pa.Table.from_pylist(rows, schema=TABLE.schema)
    names = [f"{name}_" if name == "f" else name for name in TABLE.column_names]
    return {
        "a row": written(changed, compression="snappy", **INDEXED),
        "its order": written(TABLE.take(list(reversed(range(len(TABLE))))), compression="snappy", **INDEXED),
        "a name": written(TABLE.rename_columns(names), compression="snappy", **INDEXED),
        "key and value": written(TABLE.replace_schema_metadata({b"theirs": b"lost"}), compression="snappy", **INDEXED),
        "rows of a group": written(TABLE, compression="snappy", **INDEXED | {"row_group_size": 1_500}),
        "pages": written(TABLE, compression="snappy", **INDEXED | {"data_page_size": 2_048}),
        "statistics": written(TABLE, compression="snappy", write_statistics=False, **INDEXED),
        "no index": written(TABLE, compression="snappy", **INDEXED | {"write_page_index": False}),
    }


@pytest.mark.parametrize("what", others())
def test_a_sound_file_of_something_else_is_noticed(what: str) -> None:
    with pytest.raises(VerificationFailed, match="not the same table"):
        CODEC.require_same(BytesContent(SNAPPY), BytesContent(made(others()[what])), spec=SPEC)


# MUST 4
def test_whoever_compares_does_not_trust_whoever_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer mixes up the places of two pages in the footer."""
    honest = recompress.Run._moved

    def moved(places: Any, was: Any, now: Any, wrong: str) -> Any:
        found = honest(places, was, now, wrong)
        found[[0, 1]] = found[[1, 0]]
        return found

    monkeypatch.setattr(recompress.Run, "_moved", staticmethod(moved))
    with pytest.raises(VerificationFailed, match="not the same table"):
        CODEC.require_same(BytesContent(SNAPPY), BytesContent(made(SNAPPY)), spec=SPEC)
