"""Whether a file is another file of the same table, found out without whoever wrote it.

Both are walked side by side. Each page must decompress to the same bytes under a header that differs in its size, its
checksum and whether it is compressed; what is no page must be the same bytes; footer and offset indexes must be the
same but for numbers, and each of these numbers must be the right one.

Where values may be encoded otherwise, pages that hold other bytes must be of the same rows all the same, and their
columns hold the same to a reader that is none of ours (`columns`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Final, NoReturn

import numpy as np

from storaged.codecs.base import Content
from storaged.codecs.parquet import pages
from storaged.codecs.parquet.columns import differing
from storaged.codecs.parquet.described import DICTIONARY, Said, facts, header_with, saying
from storaged.codecs.parquet.encodings import Encoding
from storaged.codecs.parquet.footer import END, MAGIC, Numbers, Of, OffsetIndex, OfGroup
from storaged.codecs.parquet.layout import Ahead, Layout, Region
from storaged.codecs.parquet.pages import Codec, Header, Headers, crc_of
from storaged.codecs.parquet.thrift import Malformed
from storaged.digest import Digest
from storaged.errors import VerificationFailed

_PIECE: Final = 1024 * 1024  # bytes of what is not decompressed, compared at once
_TOO_LARGE: Final = "a page that is too large to be looked at differs"
_KEPT: Final = (Of.VALUES, Of.BLOOM_LENGTH, Of.COLUMN_INDEX_LENGTH)  # numbers that stay as they are
_PLACES: Final = (Of.DATA_PAGE, Of.DICTIONARY_PAGE, Of.BLOOM, Of.COLUMN_INDEX, Of.OFFSET_INDEX)  # that readers need
_HINTS: Final = (Of.FILE_OFFSET, Of.INDEX_PAGE)  # places that writers fill as they like


def require_same(source: Content, made: Content, *, encodings: bool = False) -> None:
    """Raises VerificationFailed unless `made` is another file of the table that `source` is. `encodings`: values may
    be encoded otherwise."""
    try:
        pair = _Pair(source, made, encodings=encodings)
        pair.compare()
        for how in differing(source, pair.was, made, pair.now, pair.anew):
            _differs(how)
    except Malformed as error:
        _differs(str(error))


class _Pair:
    def __init__(self, source: Content, made: Content, *, encodings: bool) -> None:
        self._encodings = encodings
        self.anew: dict[int, Said] = {}  # chunks with other pages, and what these are
        self.was, self.now = Layout(source), Layout(made)
        self._source, self._made = source, made
        self._old, self._new = (Ahead(content, lambda _: None) for content in (source, made))
        self._headers = (Headers(), Headers())
        self._from, self._to = array("q"), array("q")  # where something begins, there and here, in order
        self._grown = np.zeros(len(self.was.footer.chunks), np.int64)  # bytes of a chunk's headers

    def compare(self) -> None:
        was, now = self.was, self.now
        if len(was.footer.chunks) != len(now.footer.chunks) or len(was.footer.groups) != len(now.footer.groups):
            _differs("it has other column chunks")
        old, new = list(was.regions()), list(now.regions())
        if [(r.chunk, r.is_index) for r in old] != [(r.chunk, r.is_index) for r in new]:
            _differs("its column chunks or indexes are in another order")
        for before, after in zip(old, new, strict=True):
            self._between(before.begin, after.begin)
            if before.is_index:
                self._index(before, after)
            else:
                (self._any_chunk if self._encodings else self._chunk)(before, after)
        self._between(was.footer_at, now.footer_at)
        self._footer()

    def _between(self, end: int, new_end: int) -> None:
        if end - self._old.at != new_end - self._new.at:
            _differs("what is between its pages has another length")
        self._from.append(self._old.at)
        self._to.append(self._new.at)
        self._copied(end, "what is between its pages differs")

    def _index(self, before: Region, after: Region) -> None:
        old = OffsetIndex(self._old.take(before.end - before.begin))
        new = OffsetIndex(self._new.take(after.end - after.begin))
        if len(old.starts) != len(new.starts) or old.patched(new.starts, new.sizes) != new.data:
            _differs("an offset index differs in more than places and sizes")
        if (self._moved(np.frombuffer(old.starts, np.int64)) != np.frombuffer(new.starts, np.int64)).any():
            _differs("an offset index tells of other places")
        ends = np.frombuffer(new.starts, np.int64) + np.frombuffer(new.sizes, np.int64)
        if (self._ends(np.frombuffer(old.starts, np.int64) + np.frombuffer(old.sizes, np.int64)) != ends).any():
            _differs("an offset index tells of other sizes")

    def _chunk(self, before: Region, after: Region) -> None:
        number = before.chunk
        how, now = (Codec(int(x.footer.chunks[number, Of.CODEC])) for x in (self.was, self.now))
        while self._old.at < before.end and self._new.at < after.end:
            self._from.append(self._old.at)
            self._to.append(self._new.at)
            old = self._old.header(self._headers[0], before.end)
            new = self._new.header(self._headers[1], after.end)
            if max(old.size, old.stored, new.stored) > pages.LARGEST:
                if how is not now or old.raw != new.raw:
                    _differs(_TOO_LARGE)
                self._copied(self._old.at + len(old.raw) + old.stored, _TOO_LARGE)
                continue
            self._old.take(len(old.raw))
            self._new.take(len(new.raw))
            body, new_body = self._old.take(old.stored), self._new.take(new.stored)
            if how is now and old.raw == new.raw and body == new_body:
                continue
            self._grown[number] += len(new.raw) - len(old.raw)
            flagged = new.flagged if old.flagged is not None else None
            if old.patched(stored=new.stored, crc=new.crc, flagged=flagged) != new.raw:
                _differs("a page's header differs in more than its size, checksum and compression")
            if new.crc is not None and crc_of(new_body) != new.crc:
                _differs("a page has another checksum than its header says")
            if _decoded(old, body, how) != _decoded(new, new_body, now):
                _differs("a page holds other bytes")
        if (self._old.at, self._new.at) != (before.end, after.end):
            _differs("a column chunk has another number of pages")
        self._from.append(self._old.at)
        self._to.append(self._new.at)

    def _any_chunk(self, before: Region, after: Region) -> None:
        """A chunk whose values may be encoded otherwise."""
        number = before.chunk
        how, now = (Codec(int(x.footer.chunks[number, Of.CODEC])) for x in (self.was, self.now))
        same, grown, dictionary_at = how is now, 0, None
        counts: Counter[tuple[int, int]] = Counter()
        levels: set[int] = set()
        ahead, behind = self._front(self._old, before, 0), self._front(self._new, after, 1)
        if ahead is not None:
            self._from.append(before.begin)
            self._to.append(after.begin)
            grown -= len(ahead[0].raw) + ahead[0].size
        if behind is not None:
            dictionary_at = after.begin
            grown += len(behind[0].raw) + behind[0].size
            counts[DICTIONARY, facts(behind[0].raw).encoding] += 1
        same = same and ahead == behind
        alike = ahead is None or (behind is not None and _decoded(*ahead, how) == _decoded(*behind, now))
        alike = alike and (ahead is None) == (behind is None)
        while self._old.at < before.end and self._new.at < after.end:
            self._from.append(self._old.at)
            self._to.append(self._new.at)
            old, body = self._page(self._old, before, 0)
            new, new_body = self._page(self._new, after, 1)
            mine = facts(new.raw)
            counts[mine.kind, mine.encoding] += 1
            levels |= {*mine.levels}
            grown += len(new.raw) + new.size - len(old.raw) - old.size
            if old.raw == new.raw and body == new_body and how is now:
                continue
            same = False
            told = header_with(
                old,
                size=new.size,
                stored=new.stored,
                crc=new.crc,
                encoding=mine.encoding,
                flagged=new.flagged if old.flagged is not None else None,
            )
            if told != new.raw:
                _differs("a page's header differs in more than sizes, checksum, compression and encoding")
            if new.crc is not None and crc_of(new_body) != new.crc:
                _differs("a page has another checksum than its header says")
            alike = alike and mine.encoding == facts(old.raw).encoding
            alike = alike and _decoded(old, body, how) == _decoded(new, new_body, now)
        if (self._old.at, self._new.at) != (before.end, after.end):
            _differs("a column chunk has another number of pages")
        self._from.append(self._old.at)
        self._to.append(self._new.at)
        self._grown[number] = grown
        if not same and not alike:
            self.anew[number] = Said(counts, frozenset(levels or {int(Encoding.RLE)}), dictionary_at)

    def _front(self, ahead: Ahead, region: Region, which: int) -> tuple[Header, bytes] | None:
        """The dictionary page in front of a chunk, if there is one."""
        header = ahead.header(self._headers[which], region.end)
        return self._page(ahead, region, which) if header.holds[0] == DICTIONARY else None

    def _page(self, ahead: Ahead, region: Region, which: int) -> tuple[Header, bytes]:
        """A page's header and body; of a body that is too large to be looked at a digest."""
        header = ahead.header(self._headers[which], region.end)
        ahead.take(len(header.raw))
        if max(header.size, header.stored) <= pages.LARGEST:
            return header, ahead.take(header.stored)
        digest, left = Digest(), header.stored
        while left:
            data = ahead.take(min(left, _PIECE))
            digest.update(data)
            left -= len(data)
        return header, digest.hexdigest().encode()

    def _copied(self, end: int, otherwise: str) -> None:
        """The same bytes up to there, or it is said how they differ."""
        while (left := end - self._old.at) > 0:
            length = min(left, _PIECE)
            if self._old.take(length) != self._new.take(length):
                _differs(otherwise)

    def _footer(self) -> None:
        old, new = self.was.footer, self.now.footer
        if saying(old.patched(new.chunks, new.groups), self.anew) != new.data:
            _differs("its footer differs in more than places and sizes")
        ending = self._made.read_at(self._made.size - END, END)
        if ending != len(new.data).to_bytes(4, "little") + MAGIC:
            _differs("it does not end as a Parquet file")
        for kept in _KEPT:
            if (old.chunks[:, kept] != new.chunks[:, kept]).any():
                _differs(f"its footer tells another {kept.name.lower()}")
        filled = old.chunks[:, Of.COMPRESSED] != 0
        for place in _PLACES:
            there = filled & (old.chunks[:, place] > 0) & (place is not Of.OFFSET_INDEX or old.chunks[:, place + 1] > 0)
            if place is Of.DICTIONARY_PAGE:
                there[list(self.anew)] = False  # what is said of it was compared
            if (self._moved(old.chunks[there, place]) != new.chunks[there, place]).any():
                _differs(f"its footer tells another place of {place.name.lower()}")
        for hint in _HINTS:
            self._hinted(old.chunks[:, hint], new.chunks[:, hint])
        self._hinted(old.groups[:, OfGroup.FILE_OFFSET], new.groups[:, OfGroup.FILE_OFFSET])
        more, (of_chunks, told) = new.chunks - old.chunks, old.present()
        if (more[:, Of.UNCOMPRESSED] != self._grown)[filled & of_chunks[:, Of.UNCOMPRESSED]].any():
            _differs("its footer tells another size of a column chunk")
        for which, sums in ((OfGroup.BYTES, self._grown), (OfGroup.COMPRESSED, more[:, Of.COMPRESSED])):
            wanted = old.groups[:, which].copy()
            np.add.at(wanted, old.group, sums)
            if (wanted != new.groups[:, which])[told[:, which]].any():
                _differs("its footer tells another size of a row group")

    def _hinted(self, old: Numbers, new: Numbers) -> None:
        """Places that lead somewhere lead there still; others are as they were."""
        known = np.isin(old, np.frombuffer(self._from, np.int64)) & (old > 0)
        if (old != new)[~known].any() or (self._moved(old[known]) != new[known]).any():
            _differs("its footer tells another place of a column chunk or row group")

    def _ends(self, places: Numbers) -> Numbers:
        """Where what ended there ends here: what begins there too may begin behind a dictionary here."""
        seen, here = np.frombuffer(self._from, np.int64), np.frombuffer(self._to, np.int64)
        at = np.searchsorted(seen, places)
        if (at >= len(seen)).any() or (seen[at] != places).any():
            _differs("an offset index tells of pages that are not there")
        ends: Numbers = here[at]
        return ends

    def _moved(self, places: Numbers) -> Numbers:
        """Where the same is here. What is no beginning of anything lies as far behind the last one."""
        seen, here = np.frombuffer(self._from, np.int64), np.frombuffer(self._to, np.int64)
        at = np.searchsorted(seen, places, side="right") - 1
        if (at < 0).any():
            _differs("its footer tells of a place before its first page")
        moved: Numbers = places - seen[at] + here[at]
        return moved


def _decoded(header: Header, body: bytes, codec: Codec) -> tuple[bytes, bytes]:
    """Levels, and what the rest decompresses to. Raises Malformed."""
    how = Codec.UNCOMPRESSED if header.flagged is False else codec
    stored, size = body[header.levels :], header.size - header.levels
    return body[: header.levels], pages.decompressed(how, stored, size) if stored or size else b""


def _differs(how: str) -> NoReturn:
    raise VerificationFailed(f"what was made of it is not the same table: {how}; nothing was changed")
