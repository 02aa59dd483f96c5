"""A Parquet file's pages compressed as zstd, one by one, and everything else left as it is.

No value is decoded. A chunk has one codec, so that it is recompressed as a whole or copied as a whole, whichever is
smaller: what is kept to make its pages again (`encoders`) counts. Every page that is handed on was decompressed and
compared, and made again as it was and compared; whatever else comes back from the blob is kept, byte for byte.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np

from storaged.codecs.base import Content, Encoded, at_most
from storaged.codecs.parquet import block, encoders, pages, probes
from storaged.codecs.parquet.footer import MAGIC, Footer, Numbers, Of, OffsetIndex, OfGroup
from storaged.codecs.parquet.known import Known
from storaged.codecs.parquet.layout import Ahead, Layout, Region
from storaged.codecs.parquet.pages import Codec, Header, Headers
from storaged.codecs.parquet.pieces import COPIED, Pieces
from storaged.codecs.parquet.proven import PROOF, Page, as_zstd, recompressed
from storaged.codecs.parquet.thrift import Malformed
from storaged.digest import Digest
from storaged.errors import VerificationFailed
from storaged.model import Origin

FORM: Final = "pages"
AT_ONCE: Final = 64  # pages that are worked on together,
AT_ONCE_BYTES: Final = 16 * 1024 * 1024  # of so many stored bytes,
AT_ONCE_RAW: Final = 64 * 1024 * 1024  # and so many decompressed ones; one page may have as many by itself
HELD: Final = 64 * 1024 * 1024  # bytes of a chunk that wait until it is known whether it becomes smaller
CLEAR: Final = 1024 * 1024  # bytes of a chunk after which it is, where it became a quarter smaller so far
KEPT: Final = 32 * 1024 * 1024  # bytes beside one chunk that make its pages again, at most
TOLD: Final = 256 * 1024  # bytes of a chunk after which it is given up where it does not become smaller
SAVED: Final = 32  # a chunk is recompressed where that saves one byte of so many: readers pay for zstd, too
_TASK: Final = 256 * 1024  # bytes for one thread at least

Todo = tuple[Header, bytes, Sequence[int]]  # a page, and the levels to try


def worthwhile(was: int, cost: int) -> bool:
    """Whether pages of `was` bytes that would take `cost` ones are recompressed."""
    return cost < was - was // SAVED


def encode(
    source: Content,
    sink: Callable[[bytes], None],
    *,
    level: int,
    origin: Origin,
    executor: Executor | None = None,
    comes_back: bool = True,
) -> Encoded:
    """Encode a Parquet file; if it need not come back make another file of the same table, without what brings the
    identical one back. Raises Malformed, before anything is handed to the sink where that can be known, if it is
    damaged or something of it cannot be kept, and if that other file would not be smaller; VerificationFailed where
    something does not come back."""
    return Run(source, sink, level, executor, comes_back=comes_back).encode(origin)


class Run:
    """One file, from its beginning to its end."""

    def __init__(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        level: int,
        executor: Executor | None,
        *,
        comes_back: bool,
    ) -> None:
        self._comes_back = comes_back
        self._layout = Layout(source)
        self._sink, self._level, self._executor = sink, level, executor
        self._digest, self._written, self._size = Digest(), Digest(), 0
        self._bound = at_most(source.size)
        self._source = source
        self._ahead = Ahead(source, self._digest.update)
        self._headers, self._known, self._pieces = Headers(), Known(), Pieces()
        self._chunks = self._layout.footer.chunks.copy()
        self._grown = np.zeros(len(self._chunks), np.int64)  # of what a chunk's pages are uncompressed, with headers
        # Where things were, in order, and where they are now: pages, ends of chunks, beginnings of what is between.
        self._was, self._now, self._bytes = array("q"), array("q"), array("q")
        self._end_was, self._end_now = array("q"), array("q")
        self._gap_was, self._gap_now, self._gap_end = array("q"), array("q"), array("q")

    def encode(self, origin: Origin) -> Encoded:
        for region in self._layout.regions():
            self._between(region.begin)
            if region.is_index:
                self._index(region)
            else:
                self._chunk(region)
        self._between(self._layout.footer_at)
        footer = self._footer()
        ending = self._ahead.take(self._source.size - self._ahead.at)
        self._pieces.footer(ending)
        known = dataclasses.replace(origin, size=self._source.size, digest=self._digest.hexdigest())
        if self._comes_back:
            self._block(known, footer, ending)
        self._write(footer + len(footer).to_bytes(4, "little") + MAGIC)
        if self._size >= known.size and not self._comes_back:
            raise Malformed("it would not become smaller")
        return Encoded(
            size=known.size,
            digest=known.digest,
            stored_size=self._size,
            stored_digest=self._written.hexdigest(),
            index=b"",
            origin=known,
        )

    def _block(self, known: Origin, footer: bytes, ending: bytes) -> None:
        """What brings the identical file back, of which this footer was the ending."""
        if self._pieces.content != known.size:
            raise VerificationFailed("its pieces do not cover the file; nothing was changed", hint=PROOF)
        kept = encoders.compared(footer, ending)
        if encoders.mended(footer, kept, len(ending)) != ending:
            raise VerificationFailed("a difference does not give what it was made of", hint=PROOF)
        told, parts = probes.note(self._pieces.recipes), {**self._pieces.parts(), "footer": kept}
        self._write(block.built(known, FORM, told, self._pieces.columns(), parts))

    def _write(self, data: bytes) -> None:
        if self._size + len(data) > self._bound:
            raise Malformed("it would not become smaller")
        self._written.update(data)
        self._size += len(data)
        self._sink(data)

    def _between(self, end: int) -> None:
        """What is neither page nor offset index: copied."""
        if self._ahead.at == end:
            return
        self._gap_was.append(self._ahead.at)
        self._gap_now.append(self._size)
        self._gap_end.append(end)
        while self._ahead.at < end:
            data = self._ahead.take(min(COPIED, end - self._ahead.at))
            self._pieces.copy(data)
            self._write(data)

    def _index(self, region: Region) -> None:
        """An offset index, with the new places of its pages."""
        index = OffsetIndex(self._ahead.take(region.end - region.begin))
        chunk = region.chunk
        begin, end = int(self._layout.starts[chunk]), int(self._layout.ends[chunk])
        seen = np.frombuffer(self._was, np.int64)
        first, last = np.searchsorted(seen, (begin, end)).tolist()
        was = seen[first:last]
        starts, told = np.frombuffer(index.starts, np.int64), np.frombuffer(index.sizes, np.int64)
        found = np.searchsorted(was, starts)
        if (found >= len(was)).any() or (was[found] != starts).any():
            raise Malformed("an offset index tells of pages that are not there, or stands in front of them")
        if (np.append(was[1:], end)[found] - starts != told).any():
            raise Malformed("an offset index tells other sizes than pages have")
        now, size = (np.frombuffer(a, np.int64)[first:last] for a in (self._now, self._bytes))
        new = index.patched(now[found].tolist(), size[found].tolist())
        self._pieces.literal(index.data, len(new))
        self._chunks[chunk, Of.OFFSET_INDEX] = self._size
        self._chunks[chunk, Of.OFFSET_INDEX_LENGTH] = len(new)
        self._write(new)

    def _chunk(self, region: Region) -> None:
        """The pages of a chunk: recompressed where that makes it smaller, else copied."""
        number = region.chunk
        codec = Codec(int(self._chunks[number, Of.CODEC]))
        begin = self._size
        column, size = int(self._layout.footer.column[number]), region.end - region.begin
        if codec in pages.DECODED and self._known.worth(codec, column, size):
            self._known.chunk(codec, column, size, smaller=self._recompressed(region, codec, column))
        else:
            self._copied(region.end, ())
        self._end_was.append(region.end)
        self._end_now.append(self._pages_end)
        self._chunks[number, Of.COMPRESSED] = self._pages_end - begin

    def _recompressed(self, region: Region, codec: Codec, column: int, worked: Sequence[Page] = ()) -> bool:
        """Write a chunk, the first pages of which are worked on already; whether it became smaller."""
        waiting = list(worked)
        kept: list[tuple[int, bytes]] = []  # pieces, and what makes them again
        was, cost = sum(page.was for page in waiting), sum(page.cost for page in waiting)
        decided = False
        grown = beside = 0
        for batch in self._batches(region.end, codec, column):
            fits = batch is not None
            for page in self._worked(batch or (), codec, column):
                waiting.append(page)
                was, cost = was + page.was, cost + page.cost
            over = not worthwhile(was, cost) and (was >= TOLD or self._ahead.at == region.end)
            if not decided and (not fits or over):
                self._copied(region.end, waiting)
                return False
            if not fits:
                raise Malformed(f"the page at byte {self._ahead.at} is larger than {pages.LARGEST} bytes")
            decided = decided or was >= HELD or (was >= CLEAR and 4 * cost <= 3 * was)
            if decided or self._ahead.at == region.end:
                for page in waiting:
                    beside += len(page.kept)
                    if beside > KEPT:
                        raise Malformed("too many of its pages were compressed by an encoder that is not known")
                    grown += self._replaced(page, kept)
                waiting = []
        self._chunks[region.chunk, Of.CODEC] = Codec.ZSTD
        self._grown[region.chunk] = grown
        self._pages_end = self._size
        for piece, data in kept:
            self._pieces.kept(piece, self._size, len(data))
            self._write(data)
        if kept:
            self._pieces.skip(self._size - self._pages_end)
        return True

    def _replaced(self, page: Page, kept: list[tuple[int, bytes]]) -> int:
        """Write a page; how many bytes its header has more than it had."""
        stored = len(page.new_header) + len(page.new_body)
        self._seen(self._pieces.content, self._size, stored)
        if page.kept:
            kept.append((len(self._pieces), page.kept))
        self._pieces.page(page.header.raw, page.body, stored, page.recipe, page.flags)
        self._write(page.new_header + page.new_body)
        return len(page.new_header) - len(page.header.raw)

    def _seen(self, was: int, now: int, stored: int) -> None:
        self._was.append(was)
        self._now.append(now)
        self._bytes.append(stored)

    def _copied(self, end: int, waiting: Sequence[Page]) -> None:
        """Write a chunk as it is: pages that were taken already, and the others up to its end."""
        held = bytearray()
        at = self._pieces.content

        def write(data: bytes) -> None:
            held.extend(data)
            while len(held) >= COPIED:
                flush(COPIED)

        def flush(length: int) -> None:
            data = bytes(held[:length])
            del held[:length]
            self._pieces.copy(data)
            self._write(data)

        shift = self._size - at
        for page in waiting:
            self._seen(at, at + shift, page.was)
            at += page.was
            write(page.header.raw)
            write(page.body)
        while (begin := self._ahead.at) < end:
            header = self._ahead.header(self._headers, end)
            left = len(header.raw) + header.stored
            self._seen(begin, begin + shift, left)
            while left:
                data = self._ahead.take(min(left, COPIED))
                left -= len(data)
                write(data)
        if held:
            flush(len(held))
        self._pages_end = self._size

    def _batches(self, end: int, codec: Codec, column: int) -> Iterator[list[tuple[Header, bytes]] | None]:
        """The pages of a chunk, some at a time; None in front of one that is too large. One of which nothing is known,
        of what made it or of what level is enough for it, goes alone, so that those behind it learn from it."""
        batch: list[tuple[Header, bytes]] = []
        stored = raw = 0
        alone = not self._known.likely(codec, column)
        while self._ahead.at < end:
            header = self._ahead.header(self._headers, end)
            if max(header.size, header.stored) > pages.LARGEST:
                if batch:
                    yield batch
                yield None
                return
            if batch and (
                alone
                or not self._known.told(column, header.holds, self._level)
                or len(batch) == AT_ONCE
                or stored + header.stored > AT_ONCE_BYTES
                or raw + header.size > AT_ONCE_RAW
            ):
                yield batch
                batch, stored, raw, alone = [], 0, 0, False
            alone = alone or not self._known.told(column, header.holds, self._level)
            self._ahead.take(len(header.raw))
            batch.append((header, self._ahead.take(header.stored)))
            stored, raw = stored + header.stored, raw + header.size
        yield batch

    def _worked(self, batch: Sequence[tuple[Header, bytes]], codec: Codec, column: int) -> Iterator[Page]:
        likely, hopeless = self._known.likely(codec, column), self._known.hopeless(codec, column)

        todo = [(header, body, self._known.levels(column, header.holds, self._level)) for header, body in batch]

        def work(some: Sequence[Todo]) -> list[Page]:
            if not self._comes_back:
                return [as_zstd(header, body, codec, levels) for header, body, levels in some]
            return [recompressed(header, body, codec, levels, likely, hopeless) for header, body, levels in some]

        if self._executor is None or len(batch) == 1:
            done = work(todo)
        else:
            futures = [self._executor.submit(work, some) for some in _tasks(todo)]
            try:
                done = [page for future in futures for page in future.result()]
            finally:
                for future in futures:
                    future.cancel()
        for page in done:
            self._known.learn(codec, column, page.known, page.missed)
            self._known.enough(column, page.header.holds, page.level)
        return iter(done)

    def _footer(self) -> bytes:
        """The footer with everything where it is now. Raises Malformed where something points to nowhere."""
        chunks, groups = self._chunks, self._layout.footer.groups.copy()
        old = self._layout.footer
        filled = old.chunks[:, Of.COMPRESSED] != 0
        was, now = np.frombuffer(self._was, np.int64), np.frombuffer(self._now, np.int64)
        for which in (Of.DATA_PAGE, Of.DICTIONARY_PAGE):
            there = filled & (old.chunks[:, which] > 0)
            places = old.chunks[there, which]
            if ((places < self._layout.starts[there]) | (places >= self._layout.ends[there])).any():
                raise Malformed("a column chunk tells of a page that is not in it")
            chunks[there, which] = self._moved(places, was, now, "a column chunk tells of a page that is not there")
        for which, what in ((Of.BLOOM, "a bloom filter"), (Of.COLUMN_INDEX, "a column index")):
            there = old.chunks[:, which] > 0
            chunks[there, which] = self._moved_between(old.chunks[there, which], what)
        for which in (Of.FILE_OFFSET, Of.INDEX_PAGE):
            chunks[:, which] = self._moved_if_known(old.chunks[:, which])
        chunks[filled, Of.UNCOMPRESSED] += self._grown[filled]
        groups[:, OfGroup.FILE_OFFSET] = self._moved_if_known(groups[:, OfGroup.FILE_OFFSET])
        np.add.at(groups[:, OfGroup.BYTES], old.group, self._grown)
        np.add.at(groups[:, OfGroup.COMPRESSED], old.group, chunks[:, Of.COMPRESSED] - old.chunks[:, Of.COMPRESSED])
        new = old.patched(chunks, groups)
        if not Footer(new).says(chunks, groups, old):
            raise VerificationFailed("the new footer does not say what it should; nothing was changed", hint=PROOF)
        return new

    @staticmethod
    def _moved(places: Numbers, was: Numbers, now: Numbers, wrong: str) -> Numbers:
        found = np.searchsorted(was, places)
        if (found >= len(was)).any() or (was[found] != places).any():
            raise Malformed(wrong)
        moved: Numbers = now[found]
        return moved

    def _moved_between(self, places: Numbers, what: str) -> Numbers:
        was, now, end = (np.frombuffer(a, np.int64) for a in (self._gap_was, self._gap_now, self._gap_end))
        found = np.searchsorted(was, places, side="right") - 1
        if (found < 0).any() or (places >= end[found]).any():
            raise Malformed(f"{what} lies where pages or indexes are, or outside of the file")
        moved: Numbers = places - was[found] + now[found]
        return moved

    def _moved_if_known(self, places: Numbers) -> Numbers:
        """Places that no reader needs, and that writers fill as they like: the same place where it is one."""
        gaps = [np.frombuffer(a, np.int64) for a in (self._gap_was, self._gap_now)]
        was = np.concatenate([np.frombuffer(a, np.int64) for a in (self._was, self._end_was)] + gaps[:1])
        now = np.concatenate([np.frombuffer(a, np.int64) for a in (self._now, self._end_now)] + gaps[1:])
        was, first = np.unique(was, return_index=True)  # a page comes before an end, an end before what is between
        found = np.minimum(np.searchsorted(was, places), len(was) - 1)
        moved: Numbers = np.where((places > 0) & (was[found] == places), now[first][found], places)
        return moved


def _tasks(todo: Sequence[Todo]) -> Iterator[Sequence[Todo]]:
    """Enough pages for a thread each."""
    some: list[Todo] = []
    size = 0
    for page in todo:
        some.append(page)
        size += page[0].size
        if size >= _TASK:
            yield some
            some, size = [], 0
    if some:
        yield some
