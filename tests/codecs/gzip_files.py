"""Gzip files to encode: of any data, and of any size."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

from storaged.testing.contents import MIB

HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
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
