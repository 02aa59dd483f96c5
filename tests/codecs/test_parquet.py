"""Parquet files as zstd Parquet files: what every codec must do, and what only these files have."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.parquet import encoders, known, probes
from storaged.codecs.parquet.codec import NOT_PARQUET, Parquet
from storaged.codecs.parquet.footer import PARTS
from storaged.codecs.parquet.pages import Codec
from storaged.codecs.parquet.thrift import packed
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, BytesContent, BytesReader, content_of, encoded
from tests.codecs.parquet_files import parquet_of, written
from tests.laws import LONG, tries

CODEC = Parquet()
COMPRESSIONS = ("none", "snappy", "gzip", "brotli", "lz4", "zstd")


class TestParquet(CheckedCodecContract):
    codec = Parquet()
    much = (1024 if LONG else 640) * MIB
    sampled = 32 * MIB  # the footer, and some pages
    endless = ("tests.codecs.parquet_files", "Large")
    memory = 400 * MIB  # pages of a chunk wait until it is known whether it becomes smaller

    def taken(self, data: bytes) -> bytes:
        return parquet_of(data)


def table(rows: int = 20_000) -> pa.Table:
    """Columns of many kinds, with nulls, nested and repeated values."""
    chance = random.Random(7)
    words = [f"word {n % 97}" for n in range(500)]
    return pa.table(
        {
            "n": pa.array(range(rows), pa.int64()),
            "small": pa.array([n % 7 if n % 11 else None for n in range(rows)], pa.int32()),
            "f": pa.array([chance.random() for _ in range(rows)], pa.float64()),
            "word": pa.array([chance.choice(words) for _ in range(rows)]),
            "when": pa.array(range(rows), pa.timestamp("us")),
            "list": pa.array([[n, n + 1] if n % 3 else None for n in range(rows)], pa.list_(pa.int64())),
            "nested": pa.array([{"a": n % 5, "b": "x" * (n % 4)} for n in range(rows)]),
        },
        metadata={b"theirs": b"kept"},
    )


def back(content: bytes, **options: Any) -> tuple[bytes, bytes]:
    """The blob of a file, and the file that comes back from it, read in odd ranges."""
    _, blob = encoded(CODEC, content, **options)
    opened = CODEC.open(BytesReader(blob))
    assert opened.size == len(content)
    parts, at = [], 0
    while at < opened.size:
        parts.append(opened.read_at(at, 100_003))
        at += len(parts[-1])
    return blob, b"".join(parts)


def _comes_back(content: bytes, **options: Any) -> bool:
    """Or would not become smaller, which is said."""
    try:
        return back(content, **options)[1] == content
    except NotTaken as error:
        return "would not become smaller" in error.message


def same(one: pa.Table, other: pa.Table) -> bool:
    return bool(one.equals(other, check_metadata=True))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False], ids=["dictionary", "plain"])
def test_any_reader_reads_the_blob_and_the_identical_file_comes_back(
    compression: str, version: str, dictionary: bool
) -> None:
    content = written(
        table(),
        compression=compression,
        data_page_version=version,
        use_dictionary=dictionary,
        data_page_size=8_192,
        row_group_size=6_000,
        write_page_index=True,
        write_page_checksum=True,
    )
    blob, again = back(content)
    assert again == content
    kept = pq.ParquetFile(io.BytesIO(blob), page_checksum_verification=True)
    was = pq.ParquetFile(io.BytesIO(content))
    assert same(kept.read(), was.read())
    assert kept.metadata.metadata == was.metadata.metadata
    assert kept.metadata.created_by == was.metadata.created_by
    assert [kept.metadata.row_group(n).num_rows for n in range(4)] == [6_000, 6_000, 6_000, 2_000]
    for group in range(4):
        for column in range(kept.metadata.num_columns):
            old, new = was.metadata.row_group(group).column(column), kept.metadata.row_group(group).column(column)
            assert (new.statistics, new.encodings, new.num_values) == (old.statistics, old.encodings, old.num_values)
            assert new.total_compressed_size <= old.total_compressed_size
    relation = duckdb.from_arrow(was.read())
    assert duckdb.read_parquet(io.BytesIO(blob)).aggregate("count(*), sum(n), max(f)").fetchall() == (
        relation.aggregate("count(*), sum(n), max(f)").fetchall()
    )


@pytest.mark.parametrize("compression", ["snappy", "gzip", "zstd", "lz4_raw", "uncompressed"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_duckdb_writes_comes_back(tmp_path: Path, compression: str, version: str) -> None:
    file = tmp_path / "a.parquet"
    db = duckdb.connect()
    db.execute(
        "COPY (SELECT range AS n, 'word ' || (range % 97) AS word, range * 1.5 AS f FROM range(50000)) "
        f"TO '{file}' (FORMAT parquet, COMPRESSION {compression}, ROW_GROUP_SIZE 20000, PARQUET_VERSION {version})"
    )
    content = file.read_bytes()
    blob, again = back(content)
    assert again == content
    (tmp_path / "blob.parquet").write_bytes(blob)
    query = "SELECT count(*), sum(n), sum(f), count(DISTINCT word) FROM read_parquet(?)"
    assert db.execute(query, [str(tmp_path / "blob.parquet")]).fetchall() == db.execute(query, [str(file)]).fetchall()


@pytest.mark.parametrize(
    "made",
    [
        lambda: written(pa.table({})),
        lambda: written(pa.table({"a": pa.array([], pa.int64())})),
        lambda: written(pa.table({"a": pa.array([None, None], pa.string())})),
        lambda: written(pa.table({"a": list(range(3_000))}), row_group_size=1),
        lambda: written(pa.table({f"c{n}": [n] for n in range(2_000)})),
    ],
    ids=["no columns", "no rows", "nulls", "3,000 row groups", "2,000 columns"],
)
def test_odd_files_come_back(made: Callable[[], bytes]) -> None:
    content = made()
    assert _comes_back(content)


def test_a_snappy_file_becomes_smaller_and_a_zstd_file_is_left_alone() -> None:
    words = pa.table({"w": [f"{n * 7919 % 10_007} and some more words of it" for n in range(60_000)]})
    content = written(words, compression="snappy", use_dictionary=False)
    found = CODEC.sample(BytesContent(content), level=None)
    report, _ = encoded(CODEC, content)
    assert found.taken
    assert report.stored_size < 0.7 * len(content)
    assert found.ratio == pytest.approx(report.stored_size / len(content), rel=0.1)
    assert not CODEC.sample(BytesContent(written(words, compression="zstd", use_dictionary=False)), level=None).taken


def test_what_is_neither_parquet_nor_a_table_is_zstds() -> None:
    for content in (b"", b"PAR1", b"[1, 2]\n" * 1_000, b"PAR1" + bytes(100)):
        found = CODEC.sample(BytesContent(content), level=9)
        assert found.reason.startswith(f"{NOT_PARQUET}, and no table: ")
        assert found.instead == CodecSpec("zstd", 9)
        with pytest.raises(NotTaken, match="no Parquet file"):
            encoded(CODEC, content)


def test_what_is_called_parquet_keeps_its_name() -> None:
    assert [CODEC.suffix(name) for name in ("a.parquet", "a.PARQ", "a.pq", "a.csv", "a")] == [
        *("", "", ""),
        *(".parquet", ".parquet"),
    ]


def test_encrypted_files_are_refused() -> None:
    content = written(table(100))
    for whole in (b"PARE" + content[4:-4] + b"PARE", content[:-4] + b"PARE"):
        assert CODEC.sample(BytesContent(whole), level=None).taken is False
        with pytest.raises(NotTaken):
            encoded(CODEC, whole)


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**31, 2**32 - 1])
def test_a_footer_that_lies_about_its_length_is_refused(length: int) -> None:
    content = written(table(100))
    lying = content[:-8] + struct.pack("<I", length) + b"PAR1"
    assert not CODEC.sample(BytesContent(lying), level=None).taken
    with pytest.raises(NotTaken):
        encoded(CODEC, lying)


@pytest.mark.parametrize("what", ["row groups", "column chunks"])
def test_more_parts_than_memory_has_room_for_are_refused(what: str) -> None:
    """A footer of row groups without columns, or of one row group with chunks without pages."""
    many = b"\xfc" + packed(PARTS // 2 + 1)  # a list of two structures more
    group, chunk = b"\x19\x0c\x00", b"\x3c\x45\x00\x16\x00\x26\x00\x00\x00"  # with codec, values and size
    groups = many + group * (PARTS + 2) if what == "row groups" else b"\x1c\x19" + many + chunk * (PARTS + 2) + b"\x00"
    footer = b"\x29\x0c\x29" + groups + b"\x00"
    lying = b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"
    assert CODEC.sample(BytesContent(lying), level=None).reason == f"it has more than 250,000 {what}"
    with pytest.raises(NotTaken, match=what):
        encoded(CODEC, lying)


_FILES = [
    written(table(300), compression=c, data_page_version=v, write_page_index=True, data_page_size=512)
    for c in ("snappy", "zstd", "gzip")
    for v in ("1.0", "2.0")
]


@tries(300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_comes_back_as_it_is_or_is_refused(data: st.DataObject) -> None:
    """Whatever its bytes say: never another file, never an error of another kind."""
    content = bytearray(data.draw(st.sampled_from(_FILES), label="file"))
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    where = st.one_of(st.integers(4, len(content) - 9), st.integers(footer, len(content) - 9))
    for _ in range(data.draw(st.integers(1, 3), label="damages")):
        content[data.draw(where, label="where")] = data.draw(st.integers(0, 255), label="byte")
    CODEC.sample(BytesContent(bytes(content)), level=None)
    try:
        _, blob = encoded(CODEC, bytes(content))
    except (NotTaken, VerificationFailed):
        return
    assert CODEC.open(BytesReader(blob)).read_at(0, len(content)) == bytes(content)


@tries(40, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=st.lists(st.one_of(st.none(), st.binary(max_size=50)), max_size=200),
    numbers=st.lists(st.one_of(st.none(), st.floats()), max_size=200),
    compression=st.sampled_from(COMPRESSIONS),
    version=st.sampled_from(["1.0", "2.0"]),
    level=st.sampled_from([None, 1, 9]),
)
def test_any_table_comes_back(
    values: list[bytes | None], numbers: list[float | None], compression: str, version: str, level: int | None
) -> None:
    rows = min(len(values), len(numbers))
    made = pa.table({"b": pa.array(values[:rows], pa.binary()), "f": pa.array(numbers[:rows], pa.float64())})
    content = written(made, compression=compression, data_page_version=version, data_page_size=256)
    assert _comes_back(content, level=level)


@pytest.mark.parametrize(
    ("codec", "recipe"),
    [
        (Codec.SNAPPY, "snappy:arrow"),
        (Codec.SNAPPY, "snappy:rust"),
        (Codec.LZ4_RAW, "lz4:arrow"),
        (Codec.GZIP, "gzip:9:8:1f8b08000000000000ff"),
        (Codec.ZSTD, "zstd:3:1:0"),
    ],
)
def test_who_made_a_page_is_found(codec: Codec, recipe: str) -> None:
    raw = content_of(100_000, seed=5)
    body = encoders.made(recipe, raw)
    found = known.find(codec, raw, body, (), frozenset()).recipe
    assert found is not None
    assert encoders.made(found, raw) == body


def other(recipe: str, raw: bytes) -> bytes:
    """What a later version of snappy might make."""
    return encoders.made(recipe, raw)[:-1] + b"\0" if recipe.startswith("snappy") else encoders.made(recipe, raw)


def test_an_encoder_that_makes_other_bytes_now_is_named() -> None:
    """As after an upgrade of its library: nothing else is given back, and it says which version made it."""
    content = written(table(), compression="snappy")
    _, blob = encoded(CODEC, content)
    then = encoders.versions()["pyarrow"]
    later = Parquet(make=other)
    with pytest.raises(VerificationFailed, match="does not come back") as caught:
        later.open(BytesReader(blob)).read_at(0, len(content))
    assert f"pyarrow {then}" in str(caught.value.hint)
    assert "install that version" in str(caught.value.hint)
    [lacking] = later.lacks(BytesReader(blob))
    assert lacking.startswith(f"pyarrow {then} ")
    assert len(later.unlike()) == 2
    assert CODEC.lacks(BytesReader(blob)) == CODEC.unlike() == ()


def test_a_damaged_blob_is_not_blamed_on_an_encoder() -> None:
    content = written(table(), compression="snappy")
    _, blob = encoded(CODEC, content)
    damaged = blob[:5_000] + bytes(100) + blob[5_100:]
    with pytest.raises(VerificationFailed) as caught:
        CODEC.open(BytesReader(damaged)).read_at(0, len(content))
    assert caught.value.hint == "the blob is damaged"
    for foreign in (b"", content, blob[:-1]):
        with pytest.raises(VerificationFailed):
            CODEC.lacks(BytesReader(foreign))


def test_a_recipe_that_is_not_known_here_is_lacking() -> None:
    """As one of a later version of storaged."""
    told = probes.note(["plain", "snappy:arrow"])
    assert told["probes"] == ["", probes.MADE["snappy:arrow"]]
    later = told | {"recipes": ["plain", "zstd:later"]}
    assert probes.changed(told) == {}
    assert list(probes.changed(later)) == ["zstd:later"]


def test_recipes_make_what_they_made_when_blobs_were_written() -> None:
    """An upgrade of a library that compresses to other bytes is seen here, before blobs that need it are not read."""
    assert {recipe: probes.probe(recipe) for recipe in probes.MADE} == probes.MADE


def test_every_encoder_that_is_tried_is_among_them_but_the_slowest() -> None:
    bodies = {codec: encoders.made(recipe, b"content" * 50) for codec, recipe in MADE_BY.items()}
    tried = {recipe for codec, body in bodies.items() for recipe in encoders.tried(codec, body)}
    known = {recipe + ":1f8b08000000000000ff" * recipe.startswith("gzip") for recipe in probes.MADE}
    assert tried - known == {f"zstd:{level}:1:0" for level in range(13, 23)}


MADE_BY = {
    Codec.SNAPPY: "snappy:arrow",
    Codec.LZ4_RAW: "lz4:arrow",
    Codec.GZIP: "gzip:6:8:1f8b08000000000000ff",
    Codec.ZSTD: "zstd:3:1:0",
    Codec.BROTLI: "brotli:5",
}
