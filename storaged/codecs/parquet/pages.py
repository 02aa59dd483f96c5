"""Pages of a column chunk: their headers, and their bodies with another compression and nothing else changed."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import cramjam
import pyarrow as pa
import zstandard

from storaged.codecs.parquet import thrift
from storaged.codecs.parquet.footer import replaced
from storaged.codecs.parquet.thrift import FALSE, I32, STRUCT, TRUE, Malformed, Taker, signed, unsigned

LARGEST: Final = 64 * 1024 * 1024  # bytes of a page's body, compressed or not; some five of them are held at once
LARGEST_HEADER: Final = 8 * 1024 * 1024

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3


class Codec(IntEnum):
    """CompressionCodec of parquet.thrift."""

    UNCOMPRESSED = 0
    SNAPPY = 1
    GZIP = 2
    LZO = 3
    BROTLI = 4
    LZ4 = 5  # of several framings, told apart by nothing
    ZSTD = 6
    LZ4_RAW = 7


_REFUSED: Final = (pa.ArrowException, cramjam.DecompressionError, zlib.error, zstandard.ZstdError)
DECODED: Final = frozenset(Codec) - {Codec.LZO, Codec.LZ4}


@dataclass(frozen=True, slots=True)
class Header:
    """A page's header: `raw` are its bytes. Sizes in bytes; `levels` of them, which v2 has in front, are never
    compressed. `holds` tells pages of values, of dictionaries and of each encoding apart. `flagged` is v2's
    is_compressed where it is there."""

    raw: bytes
    holds: tuple[int, int]
    size: int  # of the body without compression
    stored: int  # of the body
    crc: int | None
    levels: int
    flagged: bool | None
    _stored_at: int
    _crc_at: int
    _flag_at: int

    def patched(self, *, stored: int, crc: int | None, flagged: bool | None) -> bytes:
        """The same header with these; what it has not, it does not get."""
        raw = self.raw
        if flagged is not None and self.flagged not in (None, flagged):
            kind = raw[self._flag_at] & 0xF0 | (TRUE if flagged else FALSE)
            raw = raw[: self._flag_at] + bytes((kind,)) + raw[self._flag_at + 1 :]
        edits = [(self._stored_at, stored)]
        if self.crc is not None and crc is not None:
            edits.append((self._crc_at, crc))
        edits.sort()
        return replaced(raw, *zip(*edits, strict=True))


class Headers:
    """Reads headers. Not for two threads at once."""

    def __init__(self) -> None:
        self._data = b""
        self._numbers: dict[str, tuple[int, int]] = {}
        self._flag: tuple[bool, int] | None = None
        self._takers: dict[int, Taker] = {
            1: self._number("type"),
            2: self._number("size"),
            3: self._number("stored"),
            4: self._number("crc"),
            5: self._v1,
            7: self._v1,
            8: self._v2,
        }
        self._in_v1: dict[int, Taker] = {2: self._number("encoding")}
        self._in_v2: dict[int, Taker] = {
            4: self._number("encoding"),
            5: self._number("definition"),
            6: self._number("repetition"),
            7: self._take_flag,
        }
        self._has_v2 = False

    def read(self, data: bytes, at: int = 0) -> Header:
        """The header that begins there. Raises Malformed; thrift.Cut where the bytes end before it does."""
        self._data = data
        self._numbers.clear()
        self._flag, self._has_v2 = None, False
        end = thrift.structure(data, at, self._takers)
        found = self._numbers
        if not {"type", "size", "stored"} <= found.keys():
            raise Malformed("a page header lacks its type or sizes")
        kind, size, stored = (found[name][0] for name in ("type", "size", "stored"))
        if kind not in (_DATA, _DICTIONARY, _DATA_V2):
            raise Malformed(f"a page of unknown type {kind}")
        if (kind == _DATA_V2) != self._has_v2:
            raise Malformed("a page header does not fit its type")
        levels = 0
        if self._has_v2:
            lengths = [found[name][0] for name in ("definition", "repetition") if name in found]
            levels = sum(lengths)
            if len(lengths) != 2 or min(lengths) < 0:
                raise Malformed("a page header lacks the sizes of its levels")
        if min(size, stored) < levels:
            raise Malformed("a page is smaller than its levels")
        crc, crc_at = found.get("crc", (None, 0))
        flagged, flag_at = self._flag or (None, 0)
        return Header(
            raw=data[at:end],
            holds=(kind, found.get("encoding", (0, 0))[0]),
            size=size,
            stored=stored,
            crc=crc,
            levels=levels,
            flagged=flagged,
            _stored_at=found["stored"][1] - at,
            _crc_at=crc_at - at,
            _flag_at=flag_at - at,
        )

    def _number(self, name: str) -> Taker:
        def take(kind: int, at: int) -> int:
            if kind != I32:
                raise Malformed("a number of a page header is of another kind")
            number, end = signed(self._data, at)
            self._numbers[name] = (number, at)
            return end

        return take

    def _v1(self, kind: int, at: int) -> int:
        if kind != STRUCT:
            raise Malformed("a page header does not fit its type")
        return thrift.structure(self._data, at, self._in_v1, 1)

    def _v2(self, kind: int, at: int) -> int:
        if kind != STRUCT:
            raise Malformed("a page header does not fit its type")
        self._has_v2 = True
        return thrift.structure(self._data, at, self._in_v2, 1)

    def _take_flag(self, kind: int, at: int) -> int:
        if kind not in (TRUE, FALSE) or self._data[at - 1] & 0x0F != kind:
            raise Malformed("is_compressed is no truth value")
        # The value is in the byte of the field's header; where the field's number stands in bytes of its own, it is not
        # the one before.
        if self._data[at - 1] <= 0x0F:
            raise Malformed("is_compressed stands where it is not expected")
        self._flag = (kind == TRUE, at - 1)
        return at


def crc_of(body: bytes) -> int:
    """As page headers have it: CRC-32 as a signed number."""
    crc = zlib.crc32(body)
    return crc - (1 << 32) if crc >> 31 else crc


def decompressed(codec: Codec, data: bytes, size: int) -> bytes:
    """What `size` bytes became. No more than that is ever made. Raises Malformed."""
    try:
        raw = _decompressed(codec, data, size)
    except (*_REFUSED, OSError, IndexError) as error:
        raise Malformed(f"a page does not decompress as {codec.name}: {error}") from error
    if len(raw) != size:
        raise Malformed(f"a page does not decompress to the {size} bytes that its header says")
    return raw


def _decompressed(codec: Codec, data: bytes, size: int) -> bytes:
    match codec:
        case Codec.UNCOMPRESSED:
            return data
        case Codec.SNAPPY:
            stated, _ = unsigned(data, 0)
            if stated != size:
                raise Malformed(f"a page states {stated} bytes and its header {size}")
            return bytes(cramjam.snappy.decompress_raw(data))  # of those at hand the one that takes least
        case Codec.GZIP:
            return _gunzipped(data, size)
        case Codec.ZSTD:
            return unzstd(data, size)
        case _:
            name = "brotli" if codec is Codec.BROTLI else "lz4_raw"
            return bytes(pa.decompress(data, size, codec=name, asbytes=True))


def _gunzipped(data: bytes, size: int) -> bytes:
    """All members of a gzip stream, which may be several."""
    out = bytearray()
    while True:
        member = zlib.decompressobj(wbits=31)
        out += member.decompress(data, size - len(out) + 1)
        if not member.eof or len(out) > size:
            raise Malformed("a page does not decompress to the size that its header says")
        data = member.unused_data
        if not data:
            return bytes(out)


def unzstd(data: bytes, size: int) -> bytes:
    """One zstd frame of `size` bytes of content. Raises ZstdError."""
    stated = zstandard.frame_content_size(data)  # looked at first: it decides how much memory is taken
    if stated not in (-1, size):
        raise zstandard.ZstdError(f"it states {stated} bytes of content instead of {size}")
    return _per_thread.decompressor.decompress(data, max_output_size=max(size, 1), allow_extra_data=False)


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()  # not thread-safe, and costly to make


_per_thread = _PerThread()
