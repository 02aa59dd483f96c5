"""The values of one column chunk's pages, and which encoding is the best one for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from storaged.codecs.parquet import pages
from storaged.codecs.parquet.described import Facts, Leaf, facts
from storaged.codecs.parquet.encoders import zstd
from storaged.codecs.parquet.encodings import (
    FITTING,
    OF_DICTIONARY,
    Encoding,
    arrow_type,
    encoded,
    hybrid,
    indices,
    of_dictionary,
    plain,
)
from storaged.codecs.parquet.pages import Codec, Header, crc_of
from storaged.codecs.parquet.thrift import Malformed

SAMPLED: Final = 4  # pages of a chunk with which encodings are tried,
SAMPLED_BYTES: Final = 4 * 1024 * 1024  # of so many bytes together; one may have more
DICTIONARY_BYTES: Final = 1024 * 1024  # of values, that a dictionary has at most: what writers allow
REPEATED: Final = 2  # times that each value of a dictionary is there, in the mean, at least
EXPANDED: Final = 64 * 1024 * 1024  # bytes of values of one page, and of a chunk that a dictionary is made for
SAVED: Final = 64  # another encoding is taken where it saves one byte of so many
HIGHEST: Final = 9  # level of the trials: what is better there is better at higher ones
_NAMES: Final = {int(encoding): encoding.name for encoding in Encoding}


class Taken(NamedTuple):
    """A page of the source."""

    header: Header
    body: bytes
    facts: Facts

    @property
    def stored(self) -> int:
        return len(self.header.raw) + len(self.body)


def taken(header: Header, body: bytes) -> Taken:
    """With what its header says. Raises Malformed."""
    return Taken(header, body, facts(header.raw))


@dataclass(frozen=True, slots=True)
class Opened:
    """A page's body: its levels, which stay as they are, in front of what is compressed and within, and the values, of
    which there are `count`."""

    apart: bytes
    within: bytes
    values: bytes
    count: int


def opened(page: Taken, codec: Codec, leaf: Leaf) -> Opened:
    """Raises Malformed."""
    header, body, of = page
    if header.crc is not None and crc_of(body) != header.crc:
        raise Malformed("a page has another checksum than its header says")
    stored, size = body[header.levels :], header.size - header.levels
    how = Codec.UNCOMPRESSED if header.flagged is False else codec
    raw = pages.decompressed(how, stored, size) if stored or size else b""
    if of.is_dictionary:
        return Opened(b"", b"", raw, of.values)
    if of.has_levels_apart:
        return Opened(body[: header.levels], b"", raw, of.values - (of.nulls or 0))
    at, count = 0, of.values
    for most, encoding, defines in zip((leaf.repetitions, leaf.definitions), of.levels, (False, True), strict=True):
        if not most:  # some writers call what is not there BIT_PACKED
            continue
        if encoding != Encoding.RLE:
            raise Malformed("its levels are BIT_PACKED")
        length = int.from_bytes(raw[at : at + 4], "little")
        begin, at = at + 4, at + 4 + length
        if at > len(raw):
            raise Malformed("a page is smaller than its levels")
        if defines:
            levels = hybrid(raw[begin:at], most.bit_length(), of.values)
            count = int(np.count_nonzero(levels == most))
    return Opened(b"", raw[:at], raw[at:], count)


def values_of(page: Taken, of: Opened, leaf: Leaf, dictionary: pa.Array | None) -> pa.Array:
    """Raises Malformed, also where they are encoded in a way that is left as it is."""
    type_, encoding = arrow_type(leaf.kind, leaf.width), page.facts.encoding
    if encoding == Encoding.PLAIN:
        return plain(of.values, of.count, type_)
    places = indices(of.values, of.count)
    if dictionary is None or (len(places) and int(places.max()) >= len(dictionary)):
        raise Malformed("a page tells of values that its dictionary has not")
    if type_ == pa.binary() and len(places):
        lengths = np.diff(np.frombuffer(dictionary.buffers()[1], np.int32)[: len(dictionary) + 1])
        if int(lengths[places].sum()) > EXPANDED:
            raise Malformed("its values are too large without their dictionary")
    return dictionary.take(pa.array(places))


def refused(data: Iterable[Taken]) -> str:
    """Why pages keep their encodings, in words about a column; empty: they need not."""
    for page in data:
        if page.facts.encoding not in (Encoding.PLAIN, *OF_DICTIONARY):
            return f"its values are encoded as {_NAMES.get(page.facts.encoding, page.facts.encoding)} already"
    return ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The encoding that pages get; None: the one that they have. `dictionary` are its values where it is of one, and
    `places` where in it those of each page are. Bytes of the pages that were looked at: as zstd `now`, and `then`."""

    encoding: Encoding | None
    now: int
    then: int
    dictionary: pa.Array | None = None
    places: Sequence[np.ndarray[tuple[int], np.dtype[np.uint32]]] = ()


class Chunk:
    """Some pages of a column chunk from its first one on, `whole`: all of them. Raises Malformed where they are none
    that another encoding is made for."""

    def __init__(self, some: Sequence[Taken], codec: Codec, leaf: Leaf, *, whole: bool) -> None:
        self.leaf, self.codec, self.whole = leaf, codec, whole
        self.first = some[0] if some and some[0].facts.is_dictionary else None
        self.data = some[1:] if self.first else some
        if leaf.kind not in FITTING:
            raise Malformed("there is no better encoding of its values")
        if any(page.facts.is_dictionary for page in self.data) or not self.data:
            raise Malformed("its dictionary is not in front")
        if why := refused(self.data):
            raise Malformed(why)
        self.dictionary: pa.Array | None = None
        if self.first is not None:
            if self.first.facts.encoding not in (Encoding.PLAIN, Encoding.PLAIN_DICTIONARY):
                raise Malformed("its dictionary is not plain")
            of = opened(self.first, codec, leaf)
            self.dictionary = plain(of.values, of.count, arrow_type(leaf.kind, leaf.width))

    def values(self, page: Taken) -> tuple[Opened, pa.Array]:
        of = opened(page, self.codec, self.leaf)
        return of, values_of(page, of, self.leaf, self.dictionary)

    def choice(self, level: int, wanted: Callable[[Encoding], bool], *, most: int = SAMPLED) -> Choice:
        """By trying those that are wanted with some pages. Raises Malformed."""
        level = min(level, HIGHEST)
        some = self._some(most)
        tried = [self.values(page) for page in some]
        if not any(len(values) for _, values in tried):
            return Choice(None, 0, 0)
        share = sum(p.header.size for p in some) / max(1, sum(p.header.size for p in self.data))
        now = sum(len(zstd(of.within + of.values, level)) for of, _ in tried)
        if self.first is not None:
            now += int(share * len(zstd(opened(self.first, self.codec, self.leaf).values, level)))
        best = Choice(None, now, now)
        for encoding in (Encoding.PLAIN,) if self.leaf.encoded else FITTING[self.leaf.kind]:
            if wanted(encoding) and any(page.facts.encoding != encoding for page in some):
                then = sum(len(zstd(of.within + encoded(encoding, values), level)) for of, values in tried)
                best = _better(best, Choice(encoding, now, then))
        if wanted(Encoding.RLE_DICTIONARY) and self._may_repeat([values for _, values in tried]):
            best = _better(best, self._of_dictionary(some, tried, now, share, level))
        return best

    def _some(self, most: int) -> Sequence[Taken]:
        spread = [self.data[n] for n in np.unique(np.linspace(0, len(self.data) - 1, most).astype(int)).tolist()]
        kept: list[Taken] = []
        size = 0
        for page in spread:
            size += page.header.size
            if not kept or size <= SAMPLED_BYTES:
                kept.append(page)
        return kept

    def _may_repeat(self, tried: Sequence[pa.Array]) -> bool:
        """Whether a dictionary is worth to be made, which most of the time can be told from some pages."""
        if not self.whole or all(page.facts.encoding in OF_DICTIONARY for page in self.data):
            return False
        together = pa.concat_arrays(tried)
        return len(together.unique()) * REPEATED <= len(together)

    def _of_dictionary(
        self, some: Sequence[Taken], tried: Sequence[tuple[Opened, pa.Array]], now: int, share: float, level: int
    ) -> Choice:
        found: list[pa.Array] = []
        size = 0
        for page in self.data:
            found.append(self.values(page)[1])
            size += found[-1].nbytes
            if size > EXPANDED:
                return Choice(None, now, now)
        together = pa.concat_arrays(found).dictionary_encode()
        values = together.dictionary
        if values.nbytes > DICTIONARY_BYTES or len(values) * REPEATED > len(together):
            return Choice(None, now, now)
        ends = np.cumsum([len(each) for each in found])[:-1]
        places = np.split(np.frombuffer(together.indices.buffers()[1], np.uint32)[: len(together)], ends)
        numbers = {id(page): n for n, page in enumerate(self.data)}
        then = int(share * len(zstd(encoded(Encoding.PLAIN, values), level)))
        for page, (of, _) in zip(some, tried, strict=True):
            then += len(zstd(of.within + of_dictionary(places[numbers[id(page)]], len(values)), level))
        return Choice(Encoding.RLE_DICTIONARY, now, then, values, places)


def _better(best: Choice, other: Choice) -> Choice:
    """The other one where it is smaller by something."""
    return other if other.then < best.then - best.now // SAVED else best


def gained(some: Sequence[Taken], codec: Codec, leaf: Leaf, level: int, *, whole: bool) -> float:
    """What other encodings would leave of pages that are compressed as zstd: a share."""
    try:
        found = Chunk(some, codec, leaf, whole=whole).choice(level, lambda _: True)
    except Malformed:
        return 1.0
    return found.then / found.now if found.now else 1.0
