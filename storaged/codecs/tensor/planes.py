"""Elements as planes: the first byte of each, then the second of each, and so on, each plane compressed by itself.

Of whole numbers that grow, differences have fewer bytes that say something: each but the first is told as what it is
more than the one before, modulo the width, with the sign as the lowest bit (zigzag, as in Protocol Buffers).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from storaged.codecs.seekable import FRAME
from storaged.codecs.tensor.layout import PLAIN, Kind
from storaged.codecs.zstd import decompress
from storaged.errors import VerificationFailed

TRIED: Final = 256 * 1024  # bytes of a stretch that each way is tried on
KNOWN: Final = 8 * 1024 * 1024  # bytes of one kind for which the way of a stretch is kept
WIDTHS: Final = (1, 2, 4, 8)

_Numbers = npt.NDArray[Any]


class Way(NamedTuple):
    """How the blocks of a stretch are made. `few`: with a small table, which finds hardly any match, so that bytes that
    differ in how often they come take less, and half the time. It does not show in what is made."""

    width: int
    differences: bool = False
    few: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """The frames of a block, proven, and the bytes of content in each of them."""

    frames: tuple[bytes, ...]
    size: int

    @property
    def stored(self) -> int:
        return sum(map(len, self.frames))


def _params(level: int, few: bool) -> zstandard.ZstdCompressionParameters:
    """As for content of any size: for planes below 256 KiB zstd would take matches of six bytes, which in weights come
    by chance and cost more than they save."""
    if few:
        return zstandard.ZstdCompressionParameters(
            window_log=19,
            chain_log=13,
            hash_log=8,
            search_log=1,
            min_match=7,
            target_length=0,
            strategy=zstandard.STRATEGY_FAST,
            write_checksum=True,
        )
    return zstandard.ZstdCompressionParameters.from_level(level, write_checksum=True)


class _PerThread(threading.local):
    """zstd contexts; they are not thread-safe and costly to make."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, bool], zstandard.ZstdCompressor] = {}

    def compressor(self, level: int, few: bool) -> zstandard.ZstdCompressor:
        key = level, few
        if key not in self.made:
            self.made[key] = zstandard.ZstdCompressor(compression_params=_params(level, few))
        return self.made[key]


_per_thread = _PerThread()


def split(data: bytes, width: int, differences: bool) -> list[_Numbers]:
    """The planes of whole elements."""
    if width == 1:
        return [np.frombuffer(data, np.uint8)]
    numbers: _Numbers = np.frombuffer(data, f"<u{width}")
    if differences:
        bits = numbers.dtype.type(8 * width - 1)
        more = numbers.copy()
        more[1:] -= numbers[:-1]
        numbers = (more << numbers.dtype.type(1)) ^ -(more >> bits)
    return [(numbers >> numbers.dtype.type(8 * n)).astype(np.uint8) for n in range(width)]


def joined(planes: Sequence[bytes], differences: bool) -> bytes:
    """The elements whose planes these are."""
    width = len(planes)
    if width == 1:
        return planes[0]
    kind = np.dtype(f"<u{width}")
    numbers: _Numbers = np.frombuffer(planes[0], np.uint8).astype(kind)
    for n, plane in enumerate(planes[1:], 1):
        more = np.frombuffer(plane, np.uint8).astype(kind)
        more <<= kind.type(8 * n)
        numbers |= more
    if differences:
        one = kind.type(1)
        numbers = np.cumsum((numbers >> one) ^ -(numbers & one), dtype=kind)
    return numbers.tobytes()


def decoded(frames: Sequence[bytes], size: int, differences: bool) -> bytes:
    """The `size` bytes of content of a block. Raises ZstdError."""
    each = size // len(frames)
    return joined([decompress(frame, each) for frame in frames], differences)


def _compressed(data: bytes, way: Way, level: int) -> tuple[bytes, ...]:
    compress = _per_thread.compressor(level, way.few).compress
    return tuple(compress(plane.data) for plane in split(data, way.width, way.differences))


def block(data: bytes, way: Way, level: int) -> Made:
    """At most 1 MiB of whole elements. A module function, so that any executor can carry it. Raises VerificationFailed
    where the frames do not decode to it."""
    frames = _compressed(data, way, level)
    try:
        proven = decoded(frames, len(data), way.differences) == data
    except zstandard.ZstdError:
        proven = False
    if not proven:
        raise VerificationFailed(
            "a block of planes does not decode to what went in; nothing was changed",
            hint="test this machine's memory and processor",
        )
    return Made(frames, len(data) // way.width)


class Ways:
    """How the blocks of each stretch are made, in order: what makes its beginning smallest, or that of an earlier one
    of its kind where little went by since."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._known: dict[Kind, Way] = {}
        self._left: dict[Kind, int] = {}

    def best(self, data: bytes, kind: Kind, size: int) -> Way:
        """Of a stretch of so many bytes that begins so."""
        if kind == PLAIN:
            return Way(1)
        self._left[kind] = self._left.get(kind, 0) - size
        if self._left[kind] <= 0 or kind.whole:
            self._known[kind] = min(_ways(kind), key=lambda way: self._stored(data, way))
            self._left[kind] = KNOWN
        return self._known[kind]

    def _stored(self, data: bytes, way: Way) -> int:
        return sum(map(len, _compressed(data[:TRIED], way, self._level)))


def _ways(kind: Kind) -> tuple[Way, ...]:
    """Elements that come again as a whole are smaller in one piece."""
    split = Way(kind.width)
    return (split._replace(differences=True) if kind.whole else split._replace(few=True), split, Way(1))


def blocks(size: int) -> range:
    """Where the blocks of a stretch begin in it."""
    return range(0, size, FRAME)
