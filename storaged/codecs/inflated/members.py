"""A gzip file as it goes by: headers, deflate bytes with what they hold, trailers, and what lies behind members.

RFC 1952. A file is one member or more. What is behind the last one, mostly zeros of tapes and blocks, every reader of
gzip passes by.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from storaged.errors import NotTaken

MAGIC: Final = b"\x1f\x8b\x08"
HEADER_BYTES: Final = 64 * 1024  # of a name or a comment in a header, at most; the extra field has no more
FLAGS_AT: Final = 3
XFL_AT: Final = 8
BEHIND: Final = 1024 * 1024  # bytes behind members, of all of them together
STEP: Final = 256 * 1024  # bytes of content that come, and are deflated again, at a time
TRAILER: Final = struct.Struct("<II")  # CRC-32 and size of the content, modulo 2**32

_FIXED: Final = 10  # bytes of every header
_READ: Final = 64 * 1024
_FLUSHED: Final = b"\0\0\xff\xff"  # an empty block that is stored, as a flush leaves it; and anything by chance
_LAST: Final = b"\1" + _FLUSHED  # the same, as the last block
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 2, 4, 8, 16, 0xE0


class CutShort(NotTaken):
    """It ends before its end."""


class Bytes:
    """Bytes that come in pieces, and are taken in others."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data, self._at = b"", 0

    def peek(self, most: int) -> bytes:
        """The next bytes, which stay; fewer than `most` only at the end."""
        while len(self._data) - self._at < most and (piece := next(self._pieces, b"")):
            self._data, self._at = self._data[self._at :] + piece, 0
        return self._data[self._at : self._at + most]

    def take(self, most: int) -> bytes:
        """The next bytes; fewer than `most` only at the end."""
        data = self.peek(most)
        self._at += len(data)
        return data

    def skip(self, count: int) -> None:
        """Leave out what was looked at."""
        self._at += count


def header(source: Bytes) -> bytes:
    """The header of the member that begins there, as it is. Raises NotTaken."""
    fixed = _whole(source, _FIXED)
    flags = fixed[FLAGS_AT]
    if not fixed.startswith(MAGIC) or flags & _RESERVED:
        raise NotTaken("a member of it has a header of an unknown kind")
    raw = bytearray(fixed)
    if flags & _FEXTRA:
        raw += (length := _whole(source, 2))
        raw += _whole(source, int.from_bytes(length, "little"))
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            raw += _whole(source, source.peek(HEADER_BYTES).find(b"\0") + 1 or HEADER_BYTES)
            if raw[-1]:
                raise NotTaken(f"a name in a header of it has more than {HEADER_BYTES:,} bytes")
    if flags & _FHCRC:
        raw += _whole(source, 2)
    return bytes(raw)


def _whole(source: Bytes, size: int) -> bytes:
    data = source.take(size)
    if len(data) != size:
        raise CutShort("it is cut short, or damaged: a header in it has no end")
    return data


def trailer(source: Bytes, crc: int, size: int) -> None:
    """Pass by that of a member with such content. Raises NotTaken where it is that of another one."""
    told = source.take(TRAILER.size)
    if len(told) != TRAILER.size:
        raise CutShort("it is cut short: a member has no checksum")
    if told != TRAILER.pack(crc, size & 0xFFFFFFFF):
        raise NotTaken("it is damaged: a member's checksum is not that of its content")


def inflated(source: Bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Of one member each stretch of deflate bytes, the content that came of it, at most 256 KiB, and whether its writer
    flushed there; of bytes and content there may be none. Raises NotTaken."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        rest = source.peek(_READ)
        if not rest:
            raise CutShort("it is cut short: its deflate bytes have no end")
        flush = rest.find(_FLUSHED)
        if flush >= 0:
            rest = rest[: flush + len(_FLUSHED)]
        elif len(rest) == _READ:
            rest = rest[: 1 - len(_FLUSHED)]  # the last ones may be how it begins
        done = False
        while not done:
            try:
                content = inflater.decompress(rest, STEP)
            except zlib.error as error:
                raise NotTaken(f"it is damaged: its deflate bytes do not inflate ({error})") from error
            after = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            used = rest[: len(rest) - len(after)]
            source.skip(len(used))
            rest = after
            done = inflater.eof or (not rest and len(content) < STEP)
            yield used, content, done and flush >= 0 and _between_blocks(inflater)


def _between_blocks(inflater: zlib._Decompress) -> bool:
    """Whether the next byte begins a block, as it does behind a flush."""
    if inflater.eof:
        return False
    ahead = inflater.copy()
    try:
        return not ahead.decompress(_LAST) and ahead.eof
    except zlib.error:
        return False


def contents(source: Bytes) -> Iterator[bytes]:
    """What is inside of all members, in order. Raises NotTaken."""
    more = True
    while more:
        header(source)
        size = crc = 0
        for _, content, _ in inflated(source):
            size, crc = size + len(content), zlib.crc32(content, crc)
            yield content
        trailer(source, crc, size)
        _, more = behind(source, BEHIND)


def behind(source: Bytes, most: int) -> tuple[bytes, bool]:
    """What is between a member and the next one, and whether there is a next one. Raises NotTaken where it is more
    than `most`."""
    gap = bytearray()
    while data := source.peek(_READ):
        zeros = len(data) - len(data.lstrip(b"\0"))
        source.skip(zeros)
        gap += data[:zeros]
        if zeros < len(data):
            if source.peek(len(MAGIC)) == MAGIC:
                return bytes(gap), True
            gap += source.take(most + 1)
        if len(gap) > most:
            raise NotTaken(f"more than {most:,} bytes lie behind its members")
    return bytes(gap), False
