"""Who compressed a page: the known encoders, tried until one makes the very same bytes again.

A *recipe* is a text that says how to make a page's stored bytes from its decompressed ones. Which encoders are known
was found by trying the writers: pyarrow has a snappy and an LZ4 of its own, polars and fastparquet use a snappy written
in Rust, and everybody's gzip and zstd that can be made again are zlib's and libzstd's.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import cramjam
import pyarrow as pa
import zstandard

from storaged.codecs.parquet.pages import Codec
from storaged.codecs.parquet.thrift import Malformed

PLAIN: Final = "plain"

_STEP: Final = 128 * 1024  # bytes that are compressed before what came out is compared: zstd's block
_TELLING: Final = 3  # such steps that agree, and the whole page is worth a try
_GZIP_HEADER: Final = 10
_GZIP_MAGIC: Final = b"\x1f\x8b\x08"
_FLAGS_AT: Final = 3
ZLIB: Final = ((9, 8), (6, 8), (1, 8), (6, 9), (9, 9), *((level, 8) for level in (5, 4, 3, 2, 7, 8)))
_ZSTD: Final = (1, 3, 2, *range(4, 23))
ALIKE: Final = {Codec.SNAPPY: "snappy:arrow", Codec.LZ4_RAW: "lz4:arrow"}  # bytes, not bits: small differences
_LEVEL: Final = 3  # of differences: a higher one finds some percent more, in twice to ten times the time
_WINDOW: Final = 27  # of them, as a power of two: twice a page
_BROTLI: Final = (8, 1, 5, 6, 4)  # 11 takes minutes, and zstd is never smaller


def tried(codec: Codec, body: bytes) -> Iterator[str]:
    """The recipes that may have made these bytes, the likelier ones first."""
    match codec:
        case Codec.UNCOMPRESSED:
            yield PLAIN
        case Codec.SNAPPY:
            yield from ("snappy:arrow", "snappy:rust")
        case Codec.LZ4_RAW:
            yield from ("lz4:arrow", "lz4:rust")
        case Codec.GZIP:
            if len(body) > _GZIP_HEADER and body.startswith(_GZIP_MAGIC) and body[_FLAGS_AT] == 0:
                header = body[:_GZIP_HEADER].hex()
                yield from (f"gzip:{level}:{memory}:{header}" for level, memory in ZLIB)
        case Codec.ZSTD:
            try:
                frame = zstandard.get_frame_parameters(body)
            except zstandard.ZstdError:
                return
            sized = int(frame.content_size not in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR))
            yield from (f"zstd:{level}:{sized}:{int(frame.has_checksum)}" for level in _ZSTD)
        case Codec.BROTLI:
            yield from (f"brotli:{level}" for level in _BROTLI)
        case _:
            return


def made(recipe: str, raw: bytes) -> bytes:
    """What this recipe makes of a page. Raises Malformed where there is no such recipe."""
    name, *given = recipe.split(":")
    try:
        return _MAKERS[name](raw, *given)
    except (LookupError, TypeError, ValueError, OverflowError, zlib.error, zstandard.ZstdError) as error:
        raise Malformed(f"there is no recipe {recipe!r}") from error


def makes(recipe: str, raw: bytes, body: bytes) -> bool:
    """Whether this recipe makes `body` of `raw`. Slow encoders stop where they begin to differ."""
    name, *given = recipe.split(":")
    if name == "gzip":
        return _same(body, _gzip_parts(raw, *given))
    if name == "zstd" and len(raw) > _STEP:
        begins = _zstd_parts(raw, *given)
        if not _same(body, itertools.islice(begins, _TELLING), whole=False):
            return False
    return made(recipe, raw) == body


def _same(body: bytes, parts: Iterable[bytes], *, whole: bool = True) -> bool:
    """Whether these parts are how `body` begins, or all of it."""
    at = 0
    for part in parts:
        if not body.startswith(part, at):
            return False
        at += len(part)
    return at == len(body) or not whole


def _snappy(raw: bytes, whose: str) -> bytes:
    if whose == "arrow":
        return bytes(pa.compress(raw, codec="snappy", asbytes=True))
    return bytes(cramjam.snappy.compress_raw(raw))


def _lz4(raw: bytes, whose: str) -> bytes:
    if whose == "arrow":
        return bytes(pa.compress(raw, codec="lz4_raw", asbytes=True))
    return bytes(cramjam.lz4.compress_block(raw, store_size=False))


def _gzip_parts(raw: bytes, level: str, memory: str, header: str) -> Iterator[bytes]:
    deflater = zlib.compressobj(int(level), zlib.DEFLATED, -zlib.MAX_WBITS, int(memory))
    yield bytes.fromhex(header)
    for begin in range(0, len(raw), _STEP):
        yield deflater.compress(raw[begin : begin + _STEP])
    yield deflater.flush() + struct.pack("<II", zlib.crc32(raw), len(raw) & 0xFFFFFFFF)


def _gzip(raw: bytes, level: str, memory: str, header: str) -> bytes:
    return b"".join(_gzip_parts(raw, level, memory, header))


def _zstd_parts(raw: bytes, level: str, sized: str, checked: str) -> Iterator[bytes]:
    compressor = _compressor(int(level), sized == "1", checked == "1").compressobj(size=len(raw))
    for begin in range(0, len(raw), _STEP):
        yield compressor.compress(raw[begin : begin + _STEP])


def _zstd(raw: bytes, level: str, sized: str, checked: str) -> bytes:
    return _compressor(int(level), sized == "1", checked == "1").compress(raw)


def _brotli(raw: bytes, level: str) -> bytes:
    return bytes(pa.Codec("brotli", compression_level=int(level)).compress(raw, asbytes=True))


_MAKERS: Final[dict[str, Callable[..., bytes]]] = {
    PLAIN: lambda raw: raw,
    "snappy": _snappy,
    "lz4": _lz4,
    "gzip": _gzip,
    "zstd": _zstd,
    "brotli": _brotli,
}


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[tuple[int, bool, bool], zstandard.ZstdCompressor] = {}


_per_thread = _PerThread()


def _compressor(level: int, sized: bool, checked: bool) -> zstandard.ZstdCompressor:
    """Costly to make and not thread-safe. Raises ValueError for a level that no recipe has: they would pile up."""
    if level not in _ZSTD:
        raise ValueError(f"zstd has no level {level}")
    kind = (level, sized, checked)
    if kind not in _per_thread.compressors:
        _per_thread.compressors[kind] = zstandard.ZstdCompressor(
            level=level, write_content_size=sized, write_checksum=checked
        )
    return _per_thread.compressors[kind]


def zstd(raw: bytes, level: int) -> bytes:
    """A page as we store it."""
    return _compressor(level, True, False).compress(raw)


@functools.cache
def versions() -> dict[str, str]:
    """The libraries whose bytes recipes name."""
    found = {name: importlib.metadata.version(name) for name in ("pyarrow", "cramjam", "zstandard")}
    return found | {"zlib": zlib.ZLIB_RUNTIME_VERSION}


def library(recipe: str) -> str:
    """Which of `versions` a recipe hangs on."""
    name, _, rest = recipe.partition(":")
    return {"gzip": "zlib", "zstd": "zstandard"}.get(name, "cramjam" if rest == "rust" else "pyarrow")


def mended(base: bytes, patch: bytes, size: int) -> bytes:
    """What `difference` was taken of, `size` bytes. Raises Malformed."""
    try:
        stated = zstandard.frame_content_size(patch)
        if stated != size:
            raise Malformed(f"a difference states {stated} bytes instead of {size}")
        words = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        return zstandard.ZstdDecompressor(dict_data=words, max_window_size=1 << _WINDOW).decompress(patch)
    except zstandard.ZstdError as error:
        raise Malformed(f"a difference does not decompress: {error}") from error


def compared(base: bytes, data: bytes) -> bytes:
    """`data` by its difference to `base`, as `mended` takes it."""
    words = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    given = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=len(data), dict_size=len(base), window_log=_WINDOW if len(base) > 1 << 20 else 0
    )
    return zstandard.ZstdCompressor(dict_data=words, compression_params=given).compress(data)
