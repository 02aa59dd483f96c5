"""A Parquet file's pages compressed as zstd, in other encodings where these make them smaller.

Pages stay what they are, with the same rows and the same levels: only their values are written otherwise. So
statistics, indexes and bloom filters are true of the new file as they were of the old one, and the footer stays, but
for places, sizes, and what it says of encodings. A chunk that nothing is gained for is recompressed page by page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Final

from storaged.codecs.base import Content, Encoded
from storaged.codecs.parquet import pages
from storaged.codecs.parquet.columns import readable
from storaged.codecs.parquet.described import DICTIONARY, Leaf, Said, header_of_dictionary, header_with, saying
from storaged.codecs.parquet.encodings import Encoding, encoded, of_dictionary
from storaged.codecs.parquet.footer import Of
from storaged.codecs.parquet.layout import Region
from storaged.codecs.parquet.pages import Codec, Header, crc_of
from storaged.codecs.parquet.pieces import NOTHING, PLAIN_HEADER
from storaged.codecs.parquet.proven import PROOF, Page, smallest
from storaged.codecs.parquet.recompress import Run, worthwhile
from storaged.codecs.parquet.thrift import Malformed
from storaged.codecs.parquet.values import Choice, Chunk, Taken, opened, taken
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import Origin

WINDOW: Final = 32 * 1024 * 1024  # bytes of a chunk, compressed or not, by which its encoding is chosen; all if it fits
SURE: Final = 2  # chunks of a column that got the same encoding, after which no other one is tried,
AGAIN: Final = 8  # but for every one of so many
_TASKS: Final = 8  # for threads, of the pages of a chunk
TOLD: Final = 3  # columns of which it is told why they keep their encodings


@dataclass(slots=True)
class _Column:
    """What was chosen for the last chunks of a column, how many times in a row, and chunks since all was tried."""

    last: Encoding | None = None
    times: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True)
class _New:
    """A page as it is now."""

    header: bytes
    body: bytes
    size: int  # of the body without compression
    level: int
    encoding: int


def encode(
    source: Content, sink: Callable[[bytes], None], *, level: int, origin: Origin, executor: Executor | None = None
) -> Encoded:
    """Make another file of the same table. Raises as `recompress.encode` does."""
    run = _Run(source, sink, level, executor, comes_back=False)
    return replace(run.encode(origin), note=run.note())


@dataclass(slots=True)
class _Told:
    chunks: int = 0
    anew: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)  # by column
    otherwise: str = ""  # of the whole file


class _Run(Run):
    _leaves: Sequence[Leaf] = ()
    _told: _Told

    def encode(self, origin: Origin) -> Encoded:
        self._said: dict[int, Said] = {}
        self._columns: dict[int, _Column] = {}
        self._told = _Told()
        try:
            self._leaves = readable(self._source, self._layout)
        except Malformed as error:
            self._told.otherwise = str(error)
        return super().encode(origin)

    def note(self) -> str:
        """What became of it, in words."""
        told, made = self._told, sum(self._told.anew.values())
        if told.otherwise:
            return f"page by page: {told.otherwise}"
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(told.anew.items()))
        words = (
            f"{made} of {told.chunks} column chunks are encoded anew: {kinds}"
            if made
            else "page by page: no column becomes smaller by another encoding"
        )
        for path, why in list(told.why.items())[:TOLD]:
            words += f"; `{path}` keeps its encoding: {why}"
        return words

    def _recompressed(self, region: Region, codec: Codec, column: int, worked: Sequence[Page] = ()) -> bool:
        self._told.chunks += 1
        leaf = self._leaves[column] if self._leaves else None
        if leaf is None:
            return super()._recompressed(region, codec, column)
        some, whole = self._window(region.end)
        try:
            chunk = Chunk([taken(*page) for page in some], codec, leaf, whole=whole)
            choice = self._choice(chunk, column)
            if choice.encoding is not None and self._anew(region, chunk, choice, column):
                self._told.anew[choice.encoding.name] += 1
                return True
        except Malformed as error:
            self._told.why.setdefault(leaf.path, str(error))
        worked = [page for batch in (some[:1], some[1:]) for page in self._worked(batch, codec, column)]
        return super()._recompressed(region, codec, column, worked)

    def _window(self, end: int) -> tuple[list[tuple[Header, bytes]], bool]:
        """The first pages of a chunk, and whether these are all."""
        some: list[tuple[Header, bytes]] = []
        size = 0
        while self._ahead.at < end:
            header = self._ahead.header(self._headers, end)
            size += max(header.size, header.stored)
            if (size > WINDOW and len(some) > 1) or max(header.size, header.stored) > pages.LARGEST:
                return some, False
            self._ahead.take(len(header.raw))
            some.append((header, self._ahead.take(header.stored)))
        return some, True

    def _choice(self, chunk: Chunk, column: int) -> Choice:
        known = self._columns.setdefault(column, _Column())
        known.passed = (known.passed + 1) % AGAIN
        if known.times < SURE or known.passed == 0:
            found = chunk.choice(self._level, lambda _: True)
        elif known.last is None:
            return Choice(None, 0, 0)
        else:
            last = known.last
            found = chunk.choice(self._level, lambda encoding: encoding is last, most=1)
        known.times = known.times + 1 if found.encoding is known.last else 1
        known.last = found.encoding
        return found

    def _anew(self, region: Region, chunk: Chunk, choice: Choice, column: int) -> bool:
        """Write a chunk in another encoding, unless it would not become smaller. Raises Malformed before anything is
        written, VerificationFailed after that."""
        some: Sequence[Taken] = chunk.data
        made = self._made(chunk, some, choice, column)
        front = self._dictionary(chunk, choice)
        was = sum(page.stored for page in some) + (chunk.first.stored if chunk.first else 0)
        if not worthwhile(was, sum(len(new.header) + len(new.body) for new in (*made, *front))):
            return False
        begin, number = self._size, region.chunk
        grown = 0
        counts: Counter[tuple[int, int]] = Counter()
        levels: set[int] = set()
        for new in front:
            self._write(new.header + new.body)
            grown += len(new.header) + new.size
            counts[DICTIONARY, new.encoding] += 1
        if chunk.first is not None:
            grown -= self._left(chunk.first, begin, self._size - begin)
        while True:
            for page, new in zip(some, made, strict=True):
                at = self._size
                self._write(new.header + new.body)
                grown += len(new.header) + new.size - self._left(page, at, self._size - at)
                counts[page.facts.kind, new.encoding] += 1
                levels |= {*page.facts.levels}
            if self._ahead.at == region.end:
                break
            some = self._next(region.end)
            try:
                made = self._made(chunk, some, choice, column)
            except Malformed as error:  # its chunk was begun, and is not taken back
                raise NotTaken(f"a page of `{chunk.leaf.path}` is not like those before: {error}") from error
        self._chunks[number, Of.CODEC] = Codec.ZSTD
        self._grown[number] = grown
        self._pages_end = self._size
        self._said[number] = Said(counts, frozenset(levels or {int(Encoding.RLE)}), begin if front else None)
        return True

    def _left(self, page: Taken, at: int, stored: int) -> int:
        """A page of the source is here now. Bytes that it had, without compression."""
        self._seen(self._pieces.content, at, stored)
        self._pieces.page(page.header.raw, page.body, stored, NOTHING, PLAIN_HEADER)
        return len(page.header.raw) + page.header.size

    def _next(self, end: int) -> Sequence[Taken]:
        some: list[Taken] = []
        size = 0
        while self._ahead.at < end and size < WINDOW:
            header = self._ahead.header(self._headers, end)
            if max(header.size, header.stored) > pages.LARGEST:
                raise NotTaken(f"the page at byte {self._ahead.at} is larger than {pages.LARGEST} bytes")
            size += max(header.size, header.stored)
            self._ahead.take(len(header.raw))
            some.append(taken(header, self._ahead.take(header.stored)))
        return some

    def _dictionary(self, chunk: Chunk, choice: Choice) -> Sequence[_New]:
        """The page in front, where there is one."""
        if choice.dictionary is None:
            return ()
        raw = encoded(Encoding.PLAIN, choice.dictionary)
        level, body = self._compressed(raw, (self._level,))
        crc = None if chunk.data[0].header.crc is None else crc_of(body)
        header = header_of_dictionary(len(choice.dictionary), size=len(raw), stored=len(body), crc=crc)
        return (_New(header, body, len(raw), level, Encoding.PLAIN),)

    def _made(self, chunk: Chunk, some: Sequence[Taken], choice: Choice, column: int) -> Sequence[_New]:
        """The pages as they become. Raises Malformed."""
        encoding = choice.encoding or Encoding.PLAIN

        def work(first: int, until: int, levels: Sequence[int]) -> list[_New]:
            return [self._page(chunk, some[n], choice, n, levels) for n in range(first, until)]

        holds = some[0].facts.kind, int(encoding)
        made = work(0, 1, self._known.levels(column, holds, self._level))
        self._known.enough(column, holds, made[0].level)
        levels = self._known.levels(column, holds, self._level)
        if self._executor is None:
            return made + work(1, len(some), levels)
        step = max(1, -(-len(some) // _TASKS))
        futures = [self._executor.submit(work, n, min(n + step, len(some)), levels) for n in range(1, len(some), step)]
        try:
            return made + [new for future in futures for new in future.result()]
        finally:
            for future in futures:
                future.cancel()

    def _page(self, chunk: Chunk, page: Taken, choice: Choice, number: int, levels: Sequence[int]) -> _New:
        if choice.dictionary is not None:
            encoding, of = Encoding.RLE_DICTIONARY, opened(page, chunk.codec, chunk.leaf)
            values = of_dictionary(choice.places[number], len(choice.dictionary))
        else:
            of, those = chunk.values(page)
            encoding = (choice.encoding or Encoding.PLAIN) if len(those) else Encoding.PLAIN
            values = encoded(encoding, those)
        level, body = self._compressed(of.within + values, levels)
        size, body = len(of.apart) + len(of.within) + len(values), of.apart + body
        crc = None if page.header.crc is None else crc_of(body)
        header = header_with(page.header, size=size, stored=len(body), crc=crc, encoding=encoding)
        return _New(header, body, size, level, encoding)

    @staticmethod
    def _compressed(raw: bytes, levels: Sequence[int]) -> tuple[int, bytes]:
        if not raw:
            return levels[-1], b""
        level, body = smallest(raw, levels)
        if pages.unzstd(body, len(raw)) != raw:
            raise VerificationFailed("a page does not decompress to what went in; nothing was changed", hint=PROOF)
        return level, body

    def _footer(self) -> bytes:
        return saying(super()._footer(), self._said)
