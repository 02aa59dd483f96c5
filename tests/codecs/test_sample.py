"""What a sample tells before anything is written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
import pytest
import zstandard

from storaged.codecs import sample
from storaged.codecs.base import Sample, worth_it
from storaged.codecs.sample import gain
from storaged.codecs.zstd import Zstd
from storaged.testing.contents import MIB, BytesContent, content_of, encoded

TEXT = content_of(50_000)


def of(content: bytes, *, level: int | None = None) -> Sample:
    return gain(BytesContent(content), level=level)


def zipped(content: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("member", content)
        return file.getvalue()


def table(write: Callable[[pa.Table, io.BytesIO], None]) -> bytes:
    with io.BytesIO() as file:
        write(pa.table({"line": TEXT.split(b"\n")}), file)
        return file.getvalue()


def avro(codec: bytes) -> bytes:
    """The beginning of an Avro file: magic, a map of two entries (lengths are zigzag varints), and rows."""
    schema = b'"string"'
    header = b"Obj\x01\x04\x16avro.schema" + bytes([2 * len(schema)]) + schema
    return header + b"\x14avro.codec" + bytes([2 * len(codec)]) + codec + b"\0" + bytes(16) + TEXT


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("bzip2", bz2.compress(TEXT)),
        ("xz", lzma.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("zstd", encoded(Zstd(), TEXT)[1]),
        ("zip", zipped(TEXT)),
        ("parquet", table(pyarrow.parquet.write_table)),
        ("orc", table(pyarrow.orc.write_table)),
        ("avro", avro(b"deflate")),
        ("lz4", b"\x04\x22\x4d\x18" + TEXT),
        ("snappy", b"\xff\x06\x00\x00sNaPpY" + TEXT),
        ("7z", b"7z\xbc\xaf\x27\x1c" + TEXT),
        ("rar", b"Rar!\x1a\x07\x01\x00" + TEXT),
        ("png", b"\x89PNG\r\n\x1a\n" + TEXT),
        ("jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + TEXT),
        ("webp", b"RIFF\x00\x01\x02\x03WEBPVP8 " + TEXT),
        ("mp4", b"\x00\x00\x00\x20ftypisom" + TEXT),
    ],
)
def test_compressed_formats_are_recognised(name: str, content: bytes) -> None:
    """By their first bytes, even where something in them would still shrink."""
    assert of(content) == Sample(1.0, 3, name)
    assert not worth_it(of(content).ratio)


ENCRYPTED = {  # how files begin that age 1.1, openssl 3.0 and gpg 2.2 wrote: for a key, for a password, for both
    "age": b"age-encryption.org/v1\n-> X25519 ".hex(),
    "openssl enc": "53616c7465645f5fa139ce8dc7dac57a45137315224ddc96c3fcd587068d318c2524a1d57cd8b223",
    "OpenPGP": "85018c0343d063ef7ffa7ca1010bfd170db7ef8bcba8e60eb1e185676765c3d186e5f736cdfde934",
    "OpenPGP, by password": "8c0d040903028702e53cb8dee26fffd2ed011a98e431a0ffdb7dfdd0cc1289b403f53e1fcb9c30d1",
    "OpenPGP, of five bytes of length": "c3ff0000000d04090302872ae53cb8dee26ffffff200000000000000000000000000",
    "rclone crypt": b"RCLONE\0\0".hex(),
    "git-crypt": b"\0GITCRYPT\0".hex(),
}


@pytest.mark.parametrize("program", ENCRYPTED)
def test_what_is_encrypted_is_not_taken_whatever_follows(program: str) -> None:
    found = of(bytes.fromhex(ENCRYPTED[program]) + TEXT)
    assert found == Sample(1.0, 3, reason=f"it is encrypted, by {program.partition(',')[0]}")
    assert not found.taken


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"PAR1 is how this text begins\n" + TEXT,
        b"ORCHIDS\n" + TEXT,
        avro(b"null"),
        b"Obj\x01" + TEXT,
        b"RIFF" + TEXT,
        "Ãtre".encode() + TEXT,  # a tag of OpenPGP, and no version
        b"\x85\x01\x0c\x03" + bytes(8) + b"\x40" + TEXT,  # a version, and no algorithm
        b"-----BEGIN PGP MESSAGE-----\n" + TEXT,
    ],
)
def test_plain_content_is_measured(content: bytes) -> None:
    """Text that begins like a format, and formats that do not compress, are not mistaken."""
    found = of(content)
    assert found.recognised == ""
    assert worth_it(found.ratio)


@pytest.mark.parametrize("size", [5_000, MIB, 5 * MIB])
@pytest.mark.parametrize("level", [1, 3, 9, None])
def test_the_ratio_is_near_what_encoding_gives(size: int, level: int | None) -> None:
    """Within a fifth, overhead of the blob included."""
    content = content_of(size)
    found = of(content, level=level)
    report, _ = encoded(Zstd(), content, level=found.level)
    assert found.ratio == pytest.approx(report.stored_size / report.size, rel=0.2)


def test_noise_is_not_worth_it() -> None:
    """What does not shrink stays as it is."""
    assert not worth_it(of(content_of(2 * MIB, compressible=False)).ratio)


def test_tiny_content_is_not_worth_it() -> None:
    """A blob says more about itself than a few bytes could save."""
    assert not worth_it(of(b"a" * 300).ratio)
    assert not worth_it(of(b"").ratio)


def test_noise_after_a_plain_beginning_is_seen() -> None:
    """What follows is sampled too."""
    plain = content_of(MIB)
    assert of(plain + content_of(20 * MIB, compressible=False)).ratio > 3 * of(plain).ratio


@pytest.mark.parametrize(("size", "count"), [(MIB, 1), (MIB + 1, 4), (16 * MIB, 4), (16 * MIB + 1, 8), (10**12, 8)])
def test_a_sample_is_small(size: int, count: int) -> None:
    """A mebibyte in a few slices of one size, which follow one another over all of the content."""

    class Endless(BytesContent):
        def read_at(self, offset: int, length: int) -> bytes:
            self.reads.append((offset, length))
            return bytes(length)

    source = Endless(b"", size=size)
    gain(source)
    assert (len(source.reads), sum(length for _, length in source.reads)) == (count, MIB)
    assert (count, MIB) == (sample.gets(size), count * sample.slice_of(size))
    ends = [at + length for at, length in source.reads]
    assert source.reads[0][0] == 0
    assert all(end <= at for end, (at, _) in zip(ends, source.reads[1:], strict=False))
    assert ends[-1] <= size
    gaps = [at - end for end, (at, _) in zip(ends[1:], source.reads[2:], strict=False)]
    assert len(set(gaps)) <= 1


@pytest.mark.parametrize("size", [3 * MIB, 20 * MIB])
def test_a_beginning_and_an_end_that_are_unlike_the_rest_weigh_little(size: int) -> None:
    """As in weights: a header and a vocabulary before tensors, and tensors of zeros behind them."""
    length = 128 * 1024
    content = bytes(length) + content_of(size - 2 * length, compressible=False) + bytes(length)
    report, _ = encoded(Zstd(), content, level=3)
    assert of(content).ratio == pytest.approx(report.stored_size / report.size, rel=0.05)
    assert not of(content).taken


def test_what_is_compressed_already_is_looked_at_once() -> None:
    """Its beginning tells; of what a text may begin with, too, four bytes of the end."""
    pictures, tables = (
        BytesContent(b"\xff\xd8\xff" + bytes(20 * MIB)),
        BytesContent(b"PAR1" + bytes(20 * MIB) + b"PAR1"),
    )
    assert (gain(pictures).recognised, gain(tables).recognised) == ("jpeg", "parquet")
    assert pictures.reads == [(0, 128 * 1024)]
    assert tables.reads == [(0, 128 * 1024), (tables.size - 4, 4)]


def records(count: int) -> bytes:
    """Lines that higher levels compress notably better."""
    chance = random.Random(1)
    return b"".join(
        b'{"user": %d, "event": "%s", "path": "/p/%d", "agent": "Mozilla/5.0"}\n'
        % (chance.randrange(10**6), chance.choice([b"click", b"view", b"buy"]), chance.randrange(500))
        for _ in range(count)
    )


def test_the_slow_level_is_for_small_content_only() -> None:
    """Level None climbs where it pays; beyond 1 MiB of content not to 19."""
    content = records(30_000)
    small = content[: sample.SLOW_AT_MOST]
    assert len(content) > sample.SLOW_AT_MOST
    assert (of(small).level, of(content).level) == (19, 9)


def test_levels_that_gain_nothing_are_not_taken() -> None:
    """Noise stays at the cheapest level."""
    assert of(content_of(MIB, compressible=False)).level == 3


def test_encoding_without_a_level_chooses_the_same_way() -> None:
    """By the same sample."""
    content = records(30_000)
    for whole in (content[: sample.SLOW_AT_MOST], content):
        chosen = encoded(Zstd(), whole)
        assert chosen == encoded(Zstd(), whole, level=of(whole).level)


def test_a_given_level_is_kept() -> None:
    """The policy's word stands."""
    assert of(records(1_000), level=5).level == 5


def test_a_reason_of_the_codec_stands_before_the_ratio() -> None:
    """However small it would become."""
    assert Sample(0.2, 3).taken
    assert not Sample(0.95, 3).taken
    assert Sample(0.95, 3).why_not == "it shrinks too little"
    assert Sample(0.995, 3).why_not == "it does not shrink"
    refused = Sample(0.2, 3, reason="it is encrypted")
    assert not refused.taken
    assert refused.why_not == "it is encrypted"
