"""Who deflated a member: zlib at its levels, tried until one makes the very same bytes again.

What is known to be zlib's: Python's gzip, Java's GZIPOutputStream and with it Hadoop and Spark, what links zlib, and
GNU gzip mostly at its highest level. GNU gzip at other levels, DuckDB, Node and cramjam have encoders of their own.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from storaged.codecs.inflated.members import STEP, TRAILER, XFL_AT
from storaged.codecs.parquet import probes
from storaged.codecs.parquet.encoders import ZLIB
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import NotTaken

RECIPES: Final = tuple(f"gzip:{level}:{memory}" for level, memory in ZLIB)
NO_ENCODER: Final = "no encoder that is known here makes its deflate bytes again"
TELLING: Final = 4 * 1024 * 1024  # bytes of content that mostly tell recipes apart: the likeliest go on behind them
LIKELIEST: Final = 3
LAZY: Final = 4  # zlib's levels from which on it compares each match with that of the next byte
WINDOW: Final = 32 * 1024  # bytes of content that deflating looks back
HELD: Final = 1024 * 1024  # bytes of content of a member that are kept, should no likely recipe make them

UNMADE: Final = 2 * 1024 * 1024  # deflate bytes that wait to be made again: more have hardly any content

_XFL: Final = {2: "gzip:9:", 4: "gzip:1:"}  # what zlib notes of its level
_USUAL: Final = "gzip:6:"  # of Java and others, which note nothing


class Deflater(Protocol):
    """As zlib.compressobj."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, mode: int = ..., /) -> bytes: ...

    def copy(self) -> Deflater: ...


Make = Callable[[str], Deflater]


def deflater(recipe: str) -> Deflater:
    """That of a recipe. Raises Malformed where there is none."""
    try:
        name, level, memory = recipe.split(":")
        if name == "gzip":
            return zlib.compressobj(int(level), zlib.DEFLATED, -zlib.MAX_WBITS, int(memory))
    except ValueError:
        pass
    raise Malformed(f"there is no recipe {recipe!r}")


def deflated(by: Deflater, content: bytes, flush: int = zlib.Z_NO_FLUSH) -> bytes:
    """What comes out of a deflater for content that goes in, and a flush behind it."""
    made = by.compress(content) if content else b""
    return made if flush == zlib.Z_NO_FLUSH else made + by.flush(flush)


def continued(recipe: str, history: bytes, make: Make) -> Deflater:
    """A deflater as it is where a writer has flushed behind that history. From level 4 on zlib looks at every byte of
    the window the same way, however it came there; on lower levels it does not look at all of what it found again."""
    by = make(recipe)
    by.compress(history)
    by.flush(zlib.Z_SYNC_FLUSH)
    return by


def continues(recipe: str) -> bool:
    """Whether `continued` makes the same bytes."""
    return int(recipe.split(":")[1]) >= LAZY


@functools.cache  # by it `probes` knows what it has asked already
def probed(make: Make) -> probes.Make:
    """What `probes` asks for, of deflaters."""

    def made(recipe: str, raw: bytes) -> bytes:
        name, level, memory, head = recipe.split(":")
        one = make(":".join((name, level, memory)))
        return bytes.fromhex(head) + one.compress(raw) + one.flush() + TRAILER.pack(zlib.crc32(raw), len(raw))

    return made


def likely(header: bytes) -> tuple[str, ...]:
    """All recipes, those first that its header speaks of."""
    noted = _XFL.get(header[XFL_AT], _USUAL)
    return tuple(sorted(RECIPES, key=lambda recipe: not recipe.startswith(noted)))


class Matching:
    """The recipes that have made all of a member so far; deflate bytes and content come in order."""

    def __init__(self, header: bytes, before: Sequence[str] = (), make: Make = deflater) -> None:
        self._make = make
        self._untried = [recipe for recipe in likely(header) if recipe not in before]
        self._held: list[tuple[bytes, bytes, bool]] = []
        self._size = 0  # of the content that came
        if before:
            self._begin(before)
        else:
            self._begin(self._untried)
            self._untried = []

    def _begin(self, recipes: Iterable[str]) -> None:
        self._alive = [_Again(recipe, self._make(recipe)) for recipe in recipes]
        self._stored, self._from = bytearray(), 0  # deflate bytes that are not yet made again, and where they begin
        self._content = bytearray()

    def feed(self, deflated: bytes, content: bytes, flushed: bool) -> None:
        """More of the member, as `members.inflated` has it. Raises NotTaken where no recipe is left."""
        self._size += len(content)
        if self._untried:
            self._held.append((deflated, content, flushed))
        self._next(deflated, content, flushed)
        if not self._alive:
            self._retry()
        if self._size > HELD:
            self._untried, self._held = [], []
        if self._size > TELLING:
            del self._alive[LIKELIEST:]

    def finish(self) -> tuple[str, ...]:
        """The recipes that made all of it, the likeliest first. Raises NotTaken."""
        self._finish()
        if not self._alive:
            self._retry()
            self._finish()
        if not self._alive:
            raise NotTaken(NO_ENCODER)
        return tuple(each.recipe for each in self._alive)

    def _next(self, deflated: bytes, content: bytes, flushed: bool) -> None:
        self._stored += deflated
        self._content += content
        while len(self._content) >= STEP or (flushed and self._content):
            self._all(bytes(self._content[:STEP]))
            del self._content[:STEP]
        if flushed:
            self._all(b"", zlib.Z_SYNC_FLUSH)
        done = min((each.at for each in self._alive), default=self._from) - self._from
        del self._stored[:done]
        self._from += done
        if len(self._stored) > UNMADE:
            self._alive = []

    def _finish(self) -> None:
        self._all(bytes(self._content), zlib.Z_FINISH)
        end = self._from + len(self._stored)
        self._alive = [each for each in self._alive if each.at == end]

    def _all(self, content: bytes, flush: int = zlib.Z_NO_FLUSH) -> None:
        """Deflate that, and leave those that make the same bytes of it."""
        stored = memoryview(bytes(self._stored))
        alive = []
        for each in self._alive:
            made = deflated(each.deflater, content, flush)
            if stored[each.at - self._from :][: len(made)] == made:
                each.at += len(made)
                alive.append(each)
        self._alive = alive

    def _retry(self) -> None:
        """Begin again with what was not tried. Raises NotTaken where that is nothing, or too much has gone by."""
        if not self._untried:
            raise NotTaken(NO_ENCODER)
        untried, held = self._untried, self._held
        self._untried, self._held = [], []
        self._begin(untried)
        for each in held:
            self._next(*each)
        if not self._alive:
            raise NotTaken(NO_ENCODER)


@dataclass(slots=True)
class _Again:
    """A deflater that has made the first `at` bytes of a member's deflate bytes."""

    recipe: str
    deflater: Deflater
    at: int = 0
