"""Gzip files as what is inside: what every codec must do, and what only these files have."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest

from storaged.codecs.inflated import codec, deflaters, ending, regenerate
from storaged.codecs.inflated.codec import Inflated
from storaged.codecs.registry import codec as codec_named
from storaged.codecs.registry import key_of, sampled
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, BytesContent, BytesReader, content_of, encoded
from tests.codecs.gzip_files import BLOCK, GOOD, HEADER, HEADERS, ROWS, back, far_apart, gzip_of, inside_of, noise

CODEC = Inflated()
FIRST = gzip_of(ROWS[:3_000])
OTHERS = deflaters.NO_ENCODER


class TestInflated(CheckedCodecContract):
    codec = Inflated()
    endless = ("tests.codecs.gzip_files", "Large")
    much = 260 * MIB
    memory = 110 * MIB
    several = 9 * MIB + 5  # of a MiB each

    def taken(self, data: bytes) -> bytes:
        """In one member, and another one that zstd makes smaller, so that there is something to gain of any data. In
        front of them one that tells the level, which is tried first then: noise is the same with all."""
        return FIRST + gzip_of(data) + gzip_of(far_apart(len(data) * 3 // 4))

    def shrinking(self, size: int) -> bytes:
        return gzip_of(far_apart(size + BLOCK))


def by_text(data: bytes, where: Path) -> bytes:
    """Python flushes at the end of a text."""
    with gzip.open(where / "a.gz", "wt", newline="") as file:
        file.write(data.decode())
    return (where / "a.gz").read_bytes()


def by_pandas(data: bytes, where: Path) -> bytes:
    pd.read_csv(io.BytesIO(data), header=None).to_csv(where / "a.csv.gz", index=False, header=False)
    return (where / "a.csv.gz").read_bytes()


def by_pyarrow(data: bytes, _: Path) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "gzip") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def by_lines(data: bytes, _: Path) -> bytes:
    """As a log that is flushed now and then."""
    sink = io.BytesIO()
    with gzip.GzipFile("a.log", "wb", 6, sink) as file:
        for number, line in enumerate(data.splitlines(keepends=True)):
            file.write(line)
            if number % 1_000 == 0:
                file.flush()
    return sink.getvalue()


WRITERS: dict[str, Callable[[bytes, Path], bytes]] = {
    **{f"python {level}": lambda data, _, level=level: gzip.compress(data, level) for level in range(1, 10)},
    "python, text": by_text,
    "python, flushed": by_lines,
    "pandas": by_pandas,
    "pyarrow": by_pyarrow,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_writers_write_comes_back_and_zstd_reads_what_is_inside(writer: str, tmp_path: Path) -> None:
    content = WRITERS[writer](WORDS, tmp_path)
    assert inside_of(back(content)) == gzip.decompress(content)


def test_what_gnu_gzip_writes_is_not_taken_and_why() -> None:
    """Its encoder is another one, as small as the difference may be."""
    command = shutil.which("gzip")
    if command is None or b"Free Software Foundation" not in subprocess.check_output([command, "--version"]):
        pytest.skip("no GNU gzip on this machine")
    made = subprocess.run([command, "-n"], input=ROWS, capture_output=True, check=True).stdout
    assert CODEC.sample(BytesContent(made), level=None).reason == OTHERS


WORDS = b"".join(
    b"%d,%s,%d\n" % (n, random.Random(n).choice((b"alpha", b"beta", b"gamma delta")), n % 60) for n in range(40_000)
)


@pytest.mark.parametrize(("level", "memory"), [(level, memory) for level in range(1, 10) for memory in (8, 9)])
def test_every_recipe_is_told_from_others_or_makes_the_same(level: int, memory: int) -> None:
    content = gzip_of(ROWS, level, memory=memory)
    if f"gzip:{level}:{memory}" in deflaters.RECIPES:
        back(content)
        return
    with pytest.raises(NotTaken, match=OTHERS):
        back(content)


@pytest.mark.parametrize(
    "deflater",
    [
        lambda: zlib.compressobj(6, zlib.DEFLATED, -12, 8),
        lambda: zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY),
        lambda: zlib.compressobj(6, zlib.DEFLATED, -15, 2),
    ],
    ids=["small window", "no matches", "small blocks"],
)
def test_what_no_encoder_makes_again_is_said_by_the_sample_and_by_encoding(deflater: Callable[[], object]) -> None:
    made = deflater()
    deflated = made.compress(ROWS) + made.flush()  # type: ignore[attr-defined]
    content = HEADER + deflated + struct.pack("<II", zlib.crc32(ROWS), len(ROWS))
    assert CODEC.sample(BytesContent(content), level=None).reason == OTHERS
    with pytest.raises(NotTaken, match=OTHERS):
        back(content)


@pytest.mark.parametrize("header", HEADERS)
def test_headers_come_back_whatever_they_say(header: str) -> None:
    back(gzip_of(ROWS, header=HEADERS[header]))


def bgzf(data: bytes) -> bytes:
    """As `bgzip` lays it out: members of at most 64 KiB that tell their sizes, and an empty one at the end."""
    out = b""
    for begin in (*range(0, len(data), 65_280), len(data)):
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
        member = gzip_of(data[begin : begin + 65_280], header=head + b"\0\0")
        out += head + struct.pack("<H", len(member) - 1) + member[18:]
    return out


def test_a_range_of_many_members_costs_those_around_it() -> None:
    """As genomics reads BGZF."""
    data = far_apart(12 * MIB)
    content = bgzf(data)
    blob = back(content)
    reader = BytesReader(blob)
    opened = CODEC.open(reader)
    before = len(reader.reads)
    assert opened.read_at(len(content) // 2, 1_000) == content[len(content) // 2 :][:1_000]
    assert sum(length for _, length in reader.reads[before:]) < 4 * MIB


def test_what_is_behind_members_comes_back() -> None:
    """Zeros of a tape between them and behind, and what is no member."""
    one, other = gzip_of(ROWS), gzip_of(ROWS[:5_000], 9)
    back(one + bytes(512) + other + bytes(70_000) + b"\1and words")
    assert inside_of(back(gzip_of(b"") * 3 + one + gzip_of(b""))) == ROWS


def test_members_of_several_writers_come_back() -> None:
    """Those that end soon, and one whose writer is told only behind what is kept of it."""
    back(gzip_of(ROWS, 1) + gzip_of(ROWS[:9_000], 9) + gzip_of(ROWS, 6) + gzip_of(ROWS, 2))
    late = bytes(2 * deflaters.HELD) + ROWS
    with pytest.raises(NotTaken, match=OTHERS):
        back(gzip_of(ROWS, 1) + gzip_of(late, 9))


def test_a_flush_whose_mark_is_torn_by_reads_is_seen() -> None:
    """Wherever it lies in the 64 KiB that are looked at together."""
    begins = set()
    for size in range(65_500, 65_516):
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15, 8)
        first = noise(size, seed=3)
        deflated = deflater.compress(first) + deflater.flush(zlib.Z_SYNC_FLUSH)
        begins.add(len(deflated) - 4)
        whole = first + WORDS[:70_000]
        deflated += deflater.compress(whole[size:]) + deflater.flush()
        back(HEADER + deflated + struct.pack("<II", zlib.crc32(whole), len(whole)))
    assert begins >= set(range(65_532, 65_537))


class _Counting:
    """A deflater that notes how much it is given."""

    def __init__(self, of: deflaters.Deflater, fed: list[int]) -> None:
        self._of, self._fed = of, fed

    def compress(self, data: bytes, /) -> bytes:
        self._fed.append(len(data))
        return self._of.compress(data)

    def flush(self, mode: int = zlib.Z_FINISH, /) -> bytes:
        return self._of.flush(mode)

    def copy(self) -> deflaters.Deflater:
        return _Counting(self._of.copy(), self._fed)


@pytest.mark.parametrize("around", [0, 1, 5_000, 70_000, 300_000])
def test_bytes_that_only_look_like_a_flush_are_none(around: int) -> None:
    """Deflate bytes may be anything: in blocks that are stored they are what the content is."""
    mark = b"\0\0\xff\xff"
    content = noise(around) + mark + noise(max(around, 1_000), seed=2) + mark
    packed = gzip_of(content)
    assert mark in packed
    back(packed + gzip_of(far_apart(200_000)))


def test_reading_in_order_inflates_nothing_twice_and_going_back_costs_little() -> None:
    """One pass; then from the nearest state that was kept."""
    content = gzip_of(far_apart(24 * MIB), 1)
    _, blob = encoded(CODEC, content)
    fed: list[int] = []
    opened = Inflated(make=lambda recipe: _Counting(deflaters.deflater(recipe), fed)).open(BytesReader(blob))
    for at in range(0, len(content), 100_000):
        assert opened.read_at(at, 100_000) == content[at : at + 100_000]
    assert sum(fed) == 24 * MIB
    fed.clear()
    assert opened.read_at(17 * MIB, 10) == content[17 * MIB : 17 * MIB + 10]
    assert 0 < sum(fed) <= 2 * regenerate.APART


def flushed(data: bytes, level: int, *, every: int) -> bytes:
    """As a log that is flushed now and then."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, 31)
    parts = [
        deflater.compress(data[at : at + every]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        for at in range(0, len(data), every)
    ]
    return b"".join([*parts, deflater.flush()])


@pytest.mark.parametrize(("level", "most"), [(6, 4 * MIB), (1, 12 * MIB)])
def test_a_range_behind_a_flush_costs_what_lies_between(level: int, most: int) -> None:
    """From level 4 on, where zlib goes on as if it had begun there."""
    data = far_apart(12 * MIB)
    content = flushed(data, level, every=700_001)
    _, blob = encoded(CODEC, content)
    fed: list[int] = []
    opened = Inflated(make=lambda recipe: _Counting(deflaters.deflater(recipe), fed)).open(BytesReader(blob))
    assert opened.read_at(len(content) - 1_000, 1_000) == content[-1_000:]
    assert sum(fed) <= most
    assert opened.read_at(len(content) // 2, 3 * MIB) == content[len(content) // 2 :][: 3 * MIB]
    assert opened.read_at(0, len(content)) == content


def test_a_place_to_begin_that_makes_other_bytes_is_not_begun_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should another zlib need more to go on: then from the member's beginning."""
    monkeypatch.setattr(deflaters, "LAZY", 1)
    content = flushed(WORDS * 12, 1, every=100_000)
    _, blob = encoded(CODEC, content)
    _, told = ending.read(BytesReader(blob))
    assert len(told.columns["start"]) > 1
    for at in (len(content) - 10, len(content) // 2):
        assert CODEC.open(BytesReader(blob)).read_at(at, 10) == content[at : at + 10]


class _Other:
    """What a later version of zlib might make."""

    def __init__(self, of: deflaters.Deflater) -> None:
        self._of = of

    def compress(self, data: bytes, /) -> bytes:
        return self._of.compress(data[::-1])

    def flush(self, mode: int = zlib.Z_FINISH, /) -> bytes:
        return self._of.flush(mode)

    def copy(self) -> deflaters.Deflater:
        return _Other(self._of.copy())


def later_deflater(recipe: str) -> deflaters.Deflater:
    return _Other(deflaters.deflater(recipe))


LATER = Inflated(make=later_deflater)


def test_a_zlib_that_makes_other_bytes_now_is_named_and_nothing_else_is_given() -> None:
    _, blob = encoded(CODEC, GOOD)
    with pytest.raises(VerificationFailed, match="does not come back") as caught:
        LATER.open(BytesReader(blob)).read_at(0, len(GOOD))
    assert f"zlib {zlib.ZLIB_RUNTIME_VERSION}" in str(caught.value.hint)
    assert "install that version" in str(caught.value.hint)
    [lacking] = LATER.lacks(BytesReader(blob))
    assert lacking.startswith(f"zlib {zlib.ZLIB_RUNTIME_VERSION} ")
    assert LATER.unlike() == (f"zlib {zlib.ZLIB_RUNTIME_VERSION}",)
    assert CODEC.lacks(BytesReader(blob)) == CODEC.unlike() == ()


def test_every_recipe_has_its_probe() -> None:
    """Or doctor would not be told of it."""
    assert CODEC.unlike() == ()
    assert len(deflaters.RECIPES) == len(set(deflaters.RECIPES))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("dt=1/a.csv.gz", "lake/dt=1/a.0123456789abcdef.csv.zst"),
        ("a.CSV.GZ", "lake/a.0123456789abcdef.CSV.zst"),
        ("a.tgz", "lake/a.0123456789abcdef.tar.zst"),
        ("a.bin", "lake/a.0123456789abcdef.bin.zst"),
        ("dt=1/.gz", "lake/dt=1/.gz.0123456789abcdef.zst"),
        ("a.gz/b", "lake/a.gz/b.0123456789abcdef.zst"),
    ],
)
def test_a_blob_is_called_after_what_is_inside(name: str, key: str) -> None:
    assert key_of(name, "0123456789abcdef" * 2, dataset="lake", codec_name="inflated") == key


@pytest.mark.parametrize("asked", ["zstd", "parquet", "inflated", "zstd:7"])
def test_whoever_asks_for_compression_is_told_what_a_gzip_file_becomes(asked: str) -> None:
    name, _, level = asked.partition(":")
    spec = CodecSpec(name, int(level) if level else None)
    content = gzip_of(far_apart(600_000))
    told = sampled(spec, BytesContent(content))
    assert told.spec.name == "inflated"
    assert told.sample.taken
    assert told.sample.level == (7 if level else codec.LEVEL)
    told = sampled(CodecSpec("inflated"), BytesContent(content_of(50_000)))
    assert told.spec.name == "zstd"
    assert told.sample.taken
    assert told.not_taken == "inflated does not take it: it is no gzip file"
    assert codec_named("zstd").sample(BytesContent(content), level=None).reason == "it is a gzip file"
