"""Gzip files to encode: of any data, and of any size."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Final

import zstandard

from storaged.codecs.inflated.codec import Inflated
from storaged.testing.contents import MIB, BytesReader, encoded

HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
EXTRA: Final = b"\x04\x00AB\x00\x00"
HEADERS: Final = {
    "name": b"\x1f\x8b\x08\x08\x01\x02\x03\x04\x02\x03" + b"a.csv\0",
    "all": b"\x1f\x8b\x08\x1f\x01\x02\x03\x04\x02\x03" + EXTRA + b"a.csv\0what it is\0" + b"\x12\x34",
    "extra": b"\x1f\x8b\x08\x04\x01\x02\x03\x04\x00\xff" + EXTRA,
}
ROWS: Final = b"".join(b"%d,word %d,%x\r\n" % (n, n % 9, n * n * 2_654_435_761 % 2**31) for n in range(30_000))
BLOCK: Final = 40_000  # bytes of noise, which come again where gzip does not see them and zstd does


def gzip_of(data: bytes, level: int = 6, *, header: bytes = HEADER, memory: int = 8) -> bytes:
    """One member."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, memory)
    deflated = deflater.compress(data) + deflater.flush()
    return header + deflated + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def noise(size: int, *, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def far_apart(size: int) -> bytes:
    """Content that stays so large with gzip, and becomes a quarter of it with zstd."""
    again, chance = noise(BLOCK), random.Random(2)
    return b"".join(again + chance.randbytes(BLOCK // 4) for _ in range(size // BLOCK + 1))[:size]


def back(content: bytes, *, level: int | None = None) -> bytes:
    """The blob of a file, which comes back from it in odd ranges."""
    _, blob = encoded(Inflated(), content, level=level)
    opened = Inflated().open(BytesReader(blob))
    assert opened.size == len(content)
    assert b"".join(opened.read_at(at, 100_003) for at in range(0, len(content), 100_003)) == content
    return blob


def inside_of(blob: bytes) -> bytes:
    """What a reader of zstd makes of a blob."""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob), read_across_frames=True) as stream:
        return stream.read()


GOOD: Final = gzip_of(ROWS[:200_000])


class Large:
    """A gzip file of some size: the same member again and again."""

    def __init__(self, size: int) -> None:
        self._member = gzip_of(far_apart(8 * MIB), 1)
        self.size = size // len(self._member) * len(self._member)

    def read_at(self, offset: int, length: int) -> bytes:
        """A new object each time."""
        parts: list[bytes] = []
        length = min(length, self.size - offset)
        while length > 0:
            within = offset % len(self._member)
            parts.append(self._member[within : within + length])
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts)
