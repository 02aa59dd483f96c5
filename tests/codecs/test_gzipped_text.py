"""Gzip files of tables as Parquet: what every codec must do, and what only these files have."""

from __future__ import annotations

import dataclasses
import gzip
import io
import zlib
from typing import Final

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.inflated import inside
from storaged.codecs.inflated.inside import Inside
from storaged.codecs.parquet import block, wrapped
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.registry import key_of, sampled
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, BytesContent, BytesReader, content_of, encoded
from tests.codecs import gzip_files
from tests.codecs.gzip_files import HEADER, HEADERS, far_apart, gzip_of
from tests.codecs.jsonl_files import lines_of
from tests.codecs.test_inflated import later_deflater
from tests.codecs.text_files import back, text_of
from tests.codecs.text_laws import never_reads_otherwise
from tests.laws import LONG, tries

CODEC: Final = Parquet()
WORDS: Final = [b"alpha", b"beta", b"gamma delta"]
ROWS: Final = b"n,word,price\n" + b"".join(
    b"%d,%s,%d.%02d\n" % (n, WORDS[n * n % 3], n * 7_919 % 1_000, n * 31 % 100) for n in range(40_000)
)


@pytest.mark.every(3)  # the codec of TestText
class TestGzippedText(CheckedCodecContract):
    codec = Parquet()
    sampled = 2 * MIB
    endless = ("tests.codecs.test_gzipped_text", "Large")
    much = (320 if LONG else 160) * MIB
    shared = 3 * MIB  # every read deflates again
    memory = 440 * MIB  # as of a text by itself, and what was inflated last

    def taken(self, data: bytes) -> bytes:
        """Some more of it lies where gzip does not see it again and zstd does, so that there is something to gain."""
        return gzip_of(text_of(data + far_apart(len(data) * 3 // 4)), 1)

    def shrinking(self, size: int) -> bytes:
        rows = (
            b"%d,%d.%02d,%s\n" % (n, n * 7_919 % 9_973, n * 31 % 97, WORDS[n * n % 3]) for n in range(size // 8 + 99)
        )
        return gzip_of(b"n,price,word\n" + b"".join(rows), 1)


class Large(gzip_files.Large):
    """A gzip file of some size, of rows that gzip hardly makes smaller: the same again and again."""

    def __init__(self, size: int) -> None:
        rows = text_of(far_apart(8 * MIB)).partition(b"\n")[2]
        self._member = gzip_of(rows, 1)
        self.size = size // len(self._member) * len(self._member)


@pytest.mark.parametrize("text", [ROWS, b"\xef\xbb\xbf" + ROWS.replace(b",", b";"), lines_of(ROWS), ROWS[:-1]])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_a_gzipped_table_is_a_table_and_the_same_file_again(text: bytes, level: int) -> None:
    """Several members and flushes too, wherever they part the text."""
    alone = back(text)
    assert back(gzip_of(text, level)).equals(alone)
    parts = (gzip_of(text[at : at + 100_007], level, header=HEADERS["name"]) for at in range(0, len(text), 100_007))
    assert back(b"".join(parts) + bytes(100)).equals(alone)
    flushing = zlib.compressobj(level, zlib.DEFLATED, 31)
    some = (flushing.compress(text[at : at + 9_000]) + flushing.flush(zlib.Z_SYNC_FLUSH) for at in (0, 9_000))
    assert back(b"".join([*some, flushing.compress(text[18_000:]) + flushing.flush()])).equals(alone)


def test_it_is_smaller_than_what_is_inside_as_zstd() -> None:
    content = gzip_of(ROWS)
    _, table = encoded(CODEC, content)
    told = sampled(CodecSpec("inflated"), BytesContent(content))
    assert len(table) < 0.9 * told.sample.ratio * len(content)


def test_it_is_described_as_the_object_that_it_comes_from() -> None:
    content = gzip_of(ROWS)
    report, blob = encoded(CODEC, content)
    described = CODEC.describe(BytesReader(blob))
    assert described == report.origin
    assert described.size == len(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip_of(ROWS)[:-9], "its deflate bytes have no end"),
        (gzip_of(ROWS)[:-8] + bytes(8), "a member's checksum is not that of its content"),
        (HEADER + zlib.compressobj(6, zlib.DEFLATED, -12).compress(ROWS), "cut short|no encoder"),
    ],
    ids=["cut", "checksum", "another encoder"],
)
def test_a_gz_that_does_not_come_back_stays_as_it_is(content: bytes, why: str) -> None:
    found = sampled(CodecSpec("parquet"), BytesContent(content))
    assert (found.spec.name, found.sample.taken) == ("parquet", False)
    with pytest.raises(NotTaken, match=why):
        encoded(CODEC, content)


@pytest.mark.parametrize(
    ("inside_", "why"),
    [
        (far_apart(700_000), "it is a gzip file, and what is inside is no table: "),
        (text_of(content_of(2_000_000, compressible=False)), "would not become smaller than it is"),
        (b"", "what is inside is no table: "),
    ],
    ids=["no table", "noise", "nothing"],
)
def test_what_is_no_table_is_asked_of_inflated(inside_: bytes, why: str) -> None:
    told = CODEC.sample(BytesContent(gzip_of(inside_)), level=7)
    assert why in told.reason
    assert told.instead == CodecSpec("inflated", 7)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("dt=1/a.csv.gz", "lake/dt=1/a.0123456789abcdef.csv.parquet"),
        ("a.jsonl.gz", "lake/a.0123456789abcdef.jsonl.parquet"),
        ("a.csv", "lake/a.0123456789abcdef.csv.parquet"),
        ("a.parquet", "lake/a.0123456789abcdef.parquet"),
    ],
)
def test_a_blob_is_called_after_what_is_inside(name: str, key: str) -> None:
    assert key_of(name, "0123456789abcdef" * 2, dataset="lake", codec_name="parquet") == key


def test_a_zlib_that_makes_other_bytes_now_is_named_and_the_table_is_read_all_the_same() -> None:
    _, blob = encoded(CODEC, gzip_of(ROWS))
    later = Parquet(deflate=later_deflater)
    with pytest.raises(VerificationFailed, match="does not come back") as caught:
        later.open(BytesReader(blob)).read_at(0, 100_000)
    assert "install that version" in str(caught.value.hint)
    [lacking] = later.lacks(BytesReader(blob))
    assert lacking.startswith(f"zlib {zlib.ZLIB_RUNTIME_VERSION} ")
    assert CODEC.lacks(BytesReader(blob)) == ()
    assert pq.read_table(io.BytesIO(blob)).num_rows == 40_000


def test_a_source_that_changes_between_two_readings_is_noticed() -> None:
    """What is inside is read to know it, to plan it and to encode it."""
    one, other = (gzip_of(ROWS[:50_000] + last, 1) + bytes(9) for last in (b"1,one,2\n", b"1,two,2\n"))
    assert len(one) == len(other)

    stable = BytesContent(one)
    encoded(CODEC, stable)
    last_reading = len(stable.reads) - 1

    class Changing(BytesContent):
        """As a disk that fails, or a file that is written into."""

        def read_at(self, offset: int, length: int) -> bytes:
            if len(self.reads) == last_reading:
                self.data = other
            return super().read_at(offset, length)

    with pytest.raises(VerificationFailed, match="differed from one reading to the next"):
        encoded(CODEC, Changing(one))


_texts = st.one_of(
    st.builds(lambda size, seed: text_of(content_of(size, seed=seed)), st.integers(0, 60_000), st.integers(0, 9)),
    st.builds(lambda size, seed: lines_of(content_of(size, seed=seed)), st.integers(0, 60_000), st.integers(0, 9)),
    st.lists(st.lists(st.text('ab1.," \n', max_size=5), min_size=2, max_size=2), max_size=30).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode()
    ),
)
_quick = tries(40, suppress_health_check=[HealthCheck.too_slow])


@_quick
@given(text=_texts, level=st.integers(1, 9), cut=st.floats(0, 1), at=st.data())
def test_any_text_comes_back_in_its_gz_or_is_refused(text: bytes, level: int, cut: float, at: st.DataObject) -> None:
    middle = int(cut * len(text))
    content = gzip_of(text[:middle], level) + gzip_of(text[middle:], level)
    try:
        _, blob = encoded(CODEC, content)
    except NotTaken as error:
        assert error.message  # noqa: PT017 (one of two fair outcomes)
        return
    opened = CODEC.open(BytesReader(blob))
    assert opened.read_at(0, len(content)) == content
    begin, size = at.draw(st.integers(0, len(content))), at.draw(st.integers(0, len(content)))
    assert opened.read_at(begin, size) == content[begin : begin + size]


@_quick
@given(at=st.data())
def test_however_a_blob_is_damaged_it_reads_as_it_was_or_not_at_all(at: st.DataObject) -> None:
    never_reads_otherwise(gzip_of(ROWS[:20_000]), at)


def test_what_tells_of_the_gz_is_taken_at_its_word_nowhere() -> None:
    _, blob = encoded(CODEC, gzip_of(ROWS[:20_000]))
    opened = block.read(BytesReader(blob))
    told = opened.told[wrapped.GZIP]
    broken = [
        {wrapped.GZIP: None},
        {wrapped.GZIP: {}},
        {wrapped.GZIP: told | {"layout": [["header", "<u1", 1]]}},
        {wrapped.GZIP: told | {"payload": [0, ""]}},
    ]
    for other in broken:
        with pytest.raises(VerificationFailed, match="what tells of the \\.gz is damaged"):
            wrapped.taken_off(dataclasses.replace(opened, told=other), "blob")


def test_what_is_inside_is_read_again_wherever_a_read_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, a little back, and from before what is kept."""
    monkeypatch.setattr(inside, "KEPT", 300_000)
    content = b"".join(gzip_of(ROWS[at : at + 77], 1) for at in range(0, 77_000, 77)) + gzip_of(ROWS[77_000:])
    read = Inside(BytesContent(content), len(ROWS))
    assert b"".join(read.read_at(at, 10_001) for at in range(0, len(ROWS), 10_001)) == ROWS
    for at in (len(ROWS) - 5, len(ROWS) - 200_000, 0, 700_000, 3, 300_000):
        assert read.read_at(at, 250_000) == ROWS[at : at + 250_000]
    assert gzip.decompress(content) == ROWS
