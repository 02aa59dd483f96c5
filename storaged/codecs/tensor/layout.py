"""Where the arrays of a file are: what is told of each, and which bytes are elements of which width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from storaged.codecs.base import Array, Content
from storaged.errors import NotTaken

HEADER_BYTES: Final = 16 * 1024 * 1024  # of what a file says of its arrays, at most
MOST: Final = 1 << 17  # arrays of one file
LIES: Final = "what it says of its arrays does not fit what it holds"


class Kind(NamedTuple):
    """How bytes are put together: as elements of so many bytes, which may be whole numbers."""

    width: int
    whole: bool = False


PLAIN: Final = Kind(0)  # as they come


@dataclass(frozen=True, slots=True)
class Type:
    """A type of elements: its name, the bytes of one (0: fewer than one, or unknown), how they are split, and numpy's
    word for it, "" where it has none."""

    name: str
    size: int
    kind: Kind
    numpy: str = ""


def _types() -> Iterator[Type]:
    for size in (1, 2, 4, 8):
        kind = Kind(size, True) if size > 1 else PLAIN
        yield Type(f"int{8 * size}", size, kind, f"<i{size}" if size > 1 else "|i1")
        yield Type(f"uint{8 * size}", size, kind, f"<u{size}" if size > 1 else "|u1")
    yield Type("bool", 1, PLAIN, "|b1")
    for size in (2, 4, 8):
        yield Type(f"float{8 * size}", size, Kind(size), f"<f{size}")
    yield Type("complex64", 8, Kind(4), "<c8")
    yield Type("complex128", 16, Kind(8), "<c16")
    yield Type("bfloat16", 2, Kind(2))
    for name in ("e4m3fn", "e5m2", "e8m0fnu", "e4m3fnuz", "e5m2fnuz"):
        yield Type(f"float8_{name}", 1, Kind(1))


TYPES: Final[Mapping[str, Type]] = {each.name: each for each in _types()}


class Region(NamedTuple):
    """Bytes of content that are put together in one way."""

    start: int
    size: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of a file, which may share bytes, and its regions, which do not, in order."""

    arrays: tuple[Array, ...]
    regions: tuple[Region, ...]

    @classmethod
    def of(cls, arrays: Iterable[Array], regions: Iterable[Region], size: int) -> Layout:
        """Raises NotTaken where they do not lie in a content of so many bytes, one behind the other."""
        ordered = tuple(sorted(r for r in regions if r.size))
        at = 0
        for region in ordered:
            if region.start < at:
                raise NotTaken(LIES)
            at = region.start + region.size
        if at > size:
            raise NotTaken(LIES)
        return cls(tuple(arrays), ordered)


def array(name: str, kind: Type, shape: tuple[int, ...], start: int, size: int) -> Array:
    """Raises NotTaken where elements of that type and shape take another size."""
    count = elements(shape)
    if start < 0 or size < 0 or (kind.size and count * kind.size != size):
        raise NotTaken(LIES)
    return Array(name, kind.name, kind.numpy, shape, start, size)


def elements(shape: tuple[int, ...]) -> int:
    """How many elements a shape has. Raises NotTaken for one that no library takes."""
    if len(shape) > 64 or any(not 0 <= n < 1 << 63 for n in shape):
        raise NotTaken(LIES)
    return math.prod(shape)


def exactly(source: Content, at: int, length: int) -> bytes:
    """So many bytes of content. Raises NotTaken where it has fewer, or they are more than a header has."""
    if not 0 <= at <= at + length <= source.size:
        raise NotTaken(LIES)
    if length > HEADER_BYTES:
        raise NotTaken(f"what it says of its arrays takes more than {HEADER_BYTES:,} bytes")
    parts: list[bytes] = []
    while length:
        if not (data := source.read_at(at, length)):
            raise NotTaken(LIES)
        parts.append(data)
        at, length = at + len(data), length - len(data)
    return b"".join(parts)
