"""A content in stretches: what is behind each other, and put together in one way."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from storaged.codecs.tensor.layout import PLAIN, Kind, Region

LEAST: Final = 512  # bytes of an array: a smaller one stays with what is around it
SMALL: Final = 64 * 1024  # bytes that several arrays of one kind take together


class Stretch(NamedTuple):
    """Whole elements of one kind; none of it for what is PLAIN."""

    start: int
    size: int
    kind: Kind

    @property
    def end(self) -> int:
        return self.start + self.size


def stretches(regions: Iterable[Region], size: int) -> tuple[Stretch, ...]:
    """All of a content of so many bytes. Small arrays of one kind that lie together are one stretch."""
    return tuple(_joined(_all(regions, size)))


def _all(regions: Iterable[Region], size: int) -> Iterator[Stretch]:
    at = 0
    for region in regions:
        whole = region.size - region.size % max(region.kind.width, 1)
        if region.kind == PLAIN or whole < LEAST:
            continue
        if region.start > at:
            yield Stretch(at, region.start - at, PLAIN)
        yield Stretch(region.start, whole, region.kind)
        at = region.start + whole
    if at < size:
        yield Stretch(at, size - at, PLAIN)


def _joined(each: Iterator[Stretch]) -> Iterator[Stretch]:
    last = next(each, None)
    for one in each:
        if last is not None and one.kind == last.kind and last.size + one.size <= SMALL:
            last = last._replace(size=last.size + one.size)
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last


@dataclass(frozen=True, slots=True)
class Window:
    """Some bytes of content that a sample looks at."""

    start: int
    size: int

    def cut(self, whole: tuple[Stretch, ...]) -> Iterator[Stretch]:
        """The parts of stretches that lie in it, of whole elements."""
        first = max(bisect_right(whole, self.start, key=lambda s: s.start) - 1, 0)
        for one in whole[first:]:
            if one.start >= self.start + self.size:
                break
            step = max(one.kind.width, 1)
            begin = one.start + -(-max(self.start - one.start, 0) // step) * step
            length = min(one.end, self.start + self.size) - begin
            if (length := length - length % step) > 0:
                yield Stretch(begin, length, one.kind)
