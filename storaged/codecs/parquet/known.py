"""What is learnt of a file while its pages go by: which encoder made them, which columns are not worth a try, and where
a low level does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from storaged.codecs.parquet.encoders import ALIKE, made, makes, tried
from storaged.codecs.parquet.pages import Codec

SAME: Final = 4  # pages that an encoder may miss before it is not tried again in this file, unless it has hit one
IN_VAIN: Final = 2  # chunks of a column in a row that did not become smaller, before others are only copied,
AGAIN: Final = 8  # but for every one of so many,
LARGER: Final = 4  # and those that are so many times as large
LOWEST: Final = 1  # the level that pages are tried with besides the one that is asked for:
ONCE_IN: Final = 32  # the first page of a column and encoding, and one of so many,
ALL_BUT: Final = 512  # which then get it where it makes them larger by one byte of so many at most


@dataclass(frozen=True, slots=True)
class Found:
    """Which recipe makes a page, and which do not. `like` is what the one of `ALIKE` made instead."""

    recipe: str | None
    missed: tuple[str, ...] = ()
    like: bytes | None = None


def find(codec: Codec, raw: bytes, body: bytes, likely: Iterable[str], hopeless: frozenset[str]) -> Found:
    """Who made `body` of `raw`: those that are likely first, and none that is hopeless, unless what it makes is needed
    in any case."""
    missed: list[str] = []
    alike, like = ALIKE.get(codec), None
    for recipe in dict.fromkeys((*likely, *tried(codec, body))):
        if recipe == alike:
            like = made(recipe, raw)
            hit = like == body
        elif recipe in hopeless:
            continue
        else:
            hit = makes(recipe, raw, body)
        if hit:
            return Found(recipe, tuple(missed))
        missed.append(recipe)
    return Found(None, tuple(missed), like)


@dataclass(slots=True)
class _Column:
    """Of the pages of one codec in it."""

    last: str | None = None  # what made the last one that something made
    missed: int = 0  # pages since then that nothing made
    in_vain: int = 0  # chunks in a row that did not become smaller,
    largest: int = 0  # bytes of the largest of them,
    passed: int = 0  # and chunks since then that were not tried


@dataclass(slots=True)
class _Enough:
    """Of the pages of one encoding in a column."""

    level: int | None = None
    pages: int = 0


@dataclass(slots=True)
class Known:
    """What was learnt, in order."""

    _hits: dict[str, int] = field(default_factory=dict)
    _misses: dict[str, int] = field(default_factory=dict)
    _columns: dict[tuple[int, Codec], _Column] = field(default_factory=dict)
    _latest: dict[Codec, str] = field(default_factory=dict)
    _enough: dict[tuple[int, tuple[int, int]], _Enough] = field(default_factory=dict)

    def likely(self, codec: Codec, column: int) -> tuple[str, ...]:
        """What made the page before: of this column, of any."""
        last, latest = self._column(codec, column).last, self._latest.get(codec)
        return tuple(dict.fromkeys(recipe for recipe in (last, latest) if recipe is not None))

    def hopeless(self, codec: Codec, column: int) -> frozenset[str]:
        """What was tried often enough: it has never made a page of the file, or lately none of this column."""
        missed = (r for r, count in self._misses.items() if count >= SAME)
        if self._column(codec, column).missed >= SAME:
            return frozenset(missed)
        return frozenset(r for r in missed if r not in self._hits)

    def learn(self, codec: Codec, column: int, recipe: str | None, missed: Iterable[str]) -> None:
        """A page was made by this recipe, or by none, and not by those that were tried before it."""
        of = self._column(codec, column)
        for each in missed:
            self._misses[each] = self._misses.get(each, 0) + 1
        if recipe is None:
            of.missed += 1
        else:
            self._hits[recipe] = self._hits.get(recipe, 0) + 1
            of.last, of.missed = recipe, 0
            self._latest[codec] = recipe

    def levels(self, column: int, holds: tuple[int, int], asked: int) -> tuple[int, ...]:
        """The levels with which the next page of a column is to be tried."""
        if asked <= LOWEST:
            return (asked,)
        enough = self._enough.setdefault((column, holds), _Enough())
        enough.pages += 1
        if enough.level is None or enough.pages % ONCE_IN == 0:
            return (LOWEST, asked)
        return (enough.level,)

    def told(self, column: int, holds: tuple[int, int], asked: int) -> bool:
        """Whether one level is known to be enough for such pages."""
        of = self._enough.get((column, holds))
        return asked <= LOWEST or (of is not None and of.level is not None)

    def enough(self, column: int, holds: tuple[int, int], level: int) -> None:
        """A page was made as small by this level as by those that were tried with it."""
        self._enough.setdefault((column, holds), _Enough()).level = level

    def worth(self, codec: Codec, column: int, size: int) -> bool:
        """Whether the next chunk of a column, of so many bytes, is tried."""
        of = self._column(codec, column)
        if of.in_vain < IN_VAIN or size > LARGER * of.largest:
            return True
        of.passed = (of.passed + 1) % AGAIN
        return of.passed == 0

    def chunk(self, codec: Codec, column: int, size: int, *, smaller: bool) -> None:
        """A chunk was tried."""
        of = self._column(codec, column)
        of.in_vain, of.largest = (0, 0) if smaller else (of.in_vain + 1, max(of.largest, size))

    def _column(self, codec: Codec, column: int) -> _Column:
        return self._columns.setdefault((column, codec), _Column())
