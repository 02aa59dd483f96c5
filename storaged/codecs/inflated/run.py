"""One reading of a .gz: what is inside, and what it takes to make the .gz again."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np
import xxhash

from storaged.codecs.base import Content, InMemory, in_order
from storaged.codecs.inflated.deflaters import LIKELIEST, Make, Matching, deflater, probed
from storaged.codecs.inflated.members import BEHIND, MAGIC, TRAILER, Bytes, CutShort, behind, header, inflated, trailer
from storaged.codecs.inflated.regenerate import APART, CHECKED, COLUMNS, STARTS
from storaged.codecs.inflated.told import PAYLOAD_BYTES, Told
from storaged.codecs.parquet import probes
from storaged.digest import Digest
from storaged.errors import NotTaken

MEMBERS: Final = 1024 * 1024  # of one object, at most
INSIDE: Final = 1024 * 1024 * 1024 * 1024  # bytes of content, at most: a small file may inflate to anything
HEAD: Final = 512 * 1024  # bytes of the .gz that a sample reads,
LOOKED_AT: Final = 3 * 1024 * 1024  # and bytes of content that come of it
NOT_GZIP: Final = "it is no gzip file"
NOT_SMALLER: Final = "what is inside would not become smaller than it is"


class Run:
    """`content` is to be taken to its end first. `size` and `digest` are of the .gz, `inside` is how many bytes of
    content came."""

    def __init__(self, source: Content, make: Make = deflater) -> None:
        self._source, self._make = source, make
        self.digest, self.size = Digest(), 0
        self.passed = 0  # bytes of the .gz whose content has come
        self._recipes: list[str] = []  # in the order of their numbers
        self._columns = {name: array("Q") for name in COLUMNS}
        self._headers, self._gaps = bytearray(), bytearray()
        self._checks, self._flushes = array("Q"), array("Q")
        self._starts = {name: array("Q") for name in STARTS}
        self.inside = 0

    def told(self) -> Told:
        """How it comes back."""
        named = self._columns | self._starts | {"check": self._checks, "flush": self._flushes}
        return Told(
            self.size,
            probes.note(self._recipes, probed(self._make)),
            {name: np.array(numbers, np.uint64) for name, numbers in named.items()},
            {"headers": bytes(self._headers), "gaps": bytes(self._gaps)},
        )

    def content(self) -> Iterator[bytes]:
        """What is inside. Raises NotTaken where the .gz would not come back."""
        source = Bytes(self._digested())
        if source.peek(len(MAGIC)) != MAGIC:
            raise NotTaken(NOT_GZIP)
        before: tuple[str, ...] = ()
        more = True
        while more:
            head = header(source)
            matching = Matching(head, before, self._make)
            begin, size, stored, crc = self.passed, 0, 0, 0
            flushes = len(self._flushes)
            for deflated, content, flushed in inflated(source):
                matching.feed(deflated, content, flushed)
                size, stored, crc = size + len(content), stored + len(deflated), zlib.crc32(content, crc)
                self.passed, self.inside = self.passed + len(deflated), self.inside + len(content)
                if flushed:
                    self._flushed(begin + len(head) + stored, size, crc, begin)
                if self.inside > INSIDE:
                    raise NotTaken(f"more than {INSIDE:,} bytes are inside")
                yield content
            made_by = matching.finish()
            trailer(source, crc, size)
            gap, more = behind(source, BEHIND - len(self._gaps))
            self.passed += len(head) + TRAILER.size + len(gap)
            stored += len(head) + TRAILER.size
            self._member(head, (size, stored, len(gap), len(self._flushes) - flushes), gap, made_by[0])
            before = made_by[:LIKELIEST]

    def _flushed(self, at: int, size: int, crc: int, begin: int) -> None:
        """Its writer flushed there, behind so much of a member that begins there."""
        self._flushes.append(size)
        if len(self._flushes) > MEMBERS:
            raise NotTaken(f"its writer flushed more than {MEMBERS:,} times")
        before = self._starts["start"]
        if at - max(begin, before[-1] if before else 0) >= APART:
            for column, number in zip(self._starts.values(), (at, len(self._flushes) - 1, crc), strict=True):
                column.append(number)

    def _member(self, head: bytes, numbers: tuple[int, ...], gap: bytes, recipe: str) -> None:
        if recipe not in self._recipes:
            self._recipes.append(recipe)
        told = (len(head), self._recipes.index(recipe), *numbers)
        for column, number in zip(self._columns.values(), told, strict=True):
            column.append(number)
        self._headers += head
        self._gaps += gap
        if len(self._columns["size"]) > MEMBERS:
            raise NotTaken(f"it has more than {MEMBERS:,} members")
        if len(self._headers) > PAYLOAD_BYTES:
            raise NotTaken("the headers of its members have too many bytes")

    def _digested(self) -> Iterator[bytes]:
        """The .gz in pieces, of each 256 KiB of which a check is noted."""
        check, room = xxhash.xxh3_64(), CHECKED
        for piece in in_order(self._source):
            self.digest.update(piece)
            self.size += len(piece)
            at = 0
            while at < len(piece):
                part = memoryview(piece)[at : at + room]
                check.update(part)
                at, room = at + len(part), room - len(part)
                if not room:
                    self._checks.append(check.intdigest())
                    check, room = xxhash.xxh3_64(), CHECKED
            yield piece
        if room < CHECKED:
            self._checks.append(check.intdigest())


class Beginning:
    """What comes of the beginning of an object. `reason`: why that is nothing to go on with, in words; else "".
    `passed`: bytes of the .gz whose content is in `content`; `whole`: that is all of it."""

    def __init__(self, source: Content, make: Make = deflater) -> None:
        head = InMemory(source.read_at(0, min(HEAD, source.size)) if source.size else b"")
        self.reason, self.whole = "", False
        content = bytearray()
        run = Run(head, make)
        try:
            for piece in run.content():
                content += piece
                if len(content) >= LOOKED_AT:
                    break
            else:
                self.whole = head.size == source.size
        except CutShort as error:
            self.reason = error.message if head.size == source.size else ""
        except NotTaken as error:
            self.reason = error.message
        self.content, self.passed = bytes(content), run.passed
