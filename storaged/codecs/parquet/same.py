"""Whether a file is another file of the same table, found out without whoever wrote it.

Both are walked side by side. Each page must decompress to the same bytes under a header that differs in its size, its
checksum and whether it is compressed; what is no page must be the same bytes; footer and offset indexes must be the
same but for numbers, and each of these numbers must be the right one.
"""

from __future__ import annotations

from array import array
from typing import Final, NoReturn

import numpy as np

from storaged.codecs.base import Content
from storaged.codecs.parquet import pages
from storaged.codecs.parquet.footer import END, MAGIC, Numbers, Of, OffsetIndex, OfGroup
from storaged.codecs.parquet.layout import Ahead, Layout, Region
from storaged.codecs.parquet.pages import Codec, Header, Headers, crc_of
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import VerificationFailed

_PIECE: Final = 1024 * 1024  # bytes of what is not decompressed, compared at once
_TOO_LARGE: Final = "a page that is too large to be looked at differs"
_KEPT: Final = (Of.VALUES, Of.BLOOM_LENGTH, Of.COLUMN_INDEX_LENGTH)  # numbers that stay as they are
_PLACES: Final = (Of.DATA_PAGE, Of.DICTIONARY_PAGE, Of.BLOOM, Of.COLUMN_INDEX, Of.OFFSET_INDEX)  # that readers need
_HINTS: Final = (Of.FILE_OFFSET, Of.INDEX_PAGE)  # places that writers fill as they like


def require_same(source: Content, made: Content) -> None:
    """Raises VerificationFailed unless `made` is another file of the table that `source` is."""
    try:
        _Pair(source, made).compare()
    except Malformed as error:
        _differs(str(error))


class _Pair:
    def __init__(self, source: Content, made: Content) -> None:
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
            (self._index if before.is_index else self._chunk)(before, after)
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
        if (self._moved(np.frombuffer(old.starts, np.int64) + np.frombuffer(old.sizes, np.int64)) != ends).any():
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

    def _copied(self, end: int, otherwise: str) -> None:
        """The same bytes up to there, or it is said how they differ."""
        while (left := end - self._old.at) > 0:
            length = min(left, _PIECE)
            if self._old.take(length) != self._new.take(length):
                _differs(otherwise)

    def _footer(self) -> None:
        old, new = self.was.footer, self.now.footer
        if old.patched(new.chunks, new.groups) != new.data:
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
