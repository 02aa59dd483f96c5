"""Where everything of a Parquet file is, checked before anything is done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from storaged.codecs.base import Content
from storaged.codecs.parquet.footer import ENCRYPTED_MAGIC, END, LARGEST, MAGIC, Footer, Numbers, Of, gradually
from storaged.codecs.parquet.pages import LARGEST_HEADER, Codec, Header, Headers
from storaged.codecs.parquet.thrift import Cut, Malformed

_HEADER_GUESS: Final = 1024  # bytes that hold most headers


class Region(NamedTuple):
    """Bytes of the file between two offsets: the pages of a chunk, or its offset index."""

    begin: int
    end: int
    chunk: int
    is_index: bool


def is_parquet(source: Content) -> bool:
    """Whether it begins and ends as a Parquet file does, one of those that are encrypted included."""
    if source.size < len(MAGIC) + END:
        return False
    head, tail = source.read_at(0, len(MAGIC)), source.read_at(source.size - len(MAGIC), len(MAGIC))
    return head == tail and head in (MAGIC, ENCRYPTED_MAGIC)


class Layout:
    """The footer of a file, and what is in front of it. Raises Malformed where it cannot be so."""

    def __init__(self, source: Content) -> None:
        size = source.size
        ending = source.read_at(size - END, END)
        if ending[-len(MAGIC) :] == ENCRYPTED_MAGIC:
            raise Malformed("it is encrypted, in whole or in part")
        length = int.from_bytes(ending[: -len(MAGIC)], "little")
        self.footer_at = size - END - length
        if self.footer_at < len(MAGIC):
            raise Malformed("its footer is longer than the file")
        if length > LARGEST:
            raise Malformed(f"its footer has {length} bytes, and {LARGEST} are taken at most")
        self.footer = Footer(source.read_at(self.footer_at, length))
        chunks = self.footer.chunks
        self._known_codecs(chunks[:, Of.CODEC])
        sizes = chunks[:, Of.COMPRESSED]
        self.starts = _starts(chunks)
        self.ends = self.starts + sizes
        filled = np.flatnonzero(sizes != 0)
        if (sizes < 0).any() or (chunks[:, Of.VALUES] < 0).any() or (chunks[:, Of.VALUES][sizes == 0] != 0).any():
            raise Malformed("a column chunk has an impossible size")
        indexed = filled[(chunks[filled, Of.OFFSET_INDEX] > 0) & (chunks[filled, Of.OFFSET_INDEX_LENGTH] > 0)]
        index_at, index_bytes = chunks[indexed, Of.OFFSET_INDEX], chunks[indexed, Of.OFFSET_INDEX_LENGTH]
        begins = np.concatenate((self.starts[filled], index_at))
        ends = np.concatenate((self.ends[filled], index_at + index_bytes))
        self._owners = np.concatenate((filled, indexed))
        self._is_index = np.repeat([False, True], [len(filled), len(indexed)])
        order = np.argsort(begins, kind="stable")
        self._begins, self._ends = begins[order], ends[order]
        self._owners, self._is_index = self._owners[order], self._is_index[order]
        if (
            len(order)
            and (
                self._begins[0] < len(MAGIC)
                or self._ends.max() > self.footer_at
                or (self._ends < self._begins).any()  # past what 64 bits hold
                or (self._begins[1:] < self._ends[:-1]).any()
            )
        ):
            raise Malformed("its column chunks or indexes overlap, or lie outside of the file")

    def regions(self) -> Iterator[Region]:
        """In the order of the file."""
        columns = (self._begins, self._ends, self._owners)
        for (begin, end, owner), is_index in zip(
            zip(*map(gradually, columns), strict=True), self._is_index, strict=True
        ):
            yield Region(begin, end, owner, bool(is_index))

    @staticmethod
    def _known_codecs(codecs: Numbers) -> None:
        for number in np.unique(codecs).tolist():
            if number not in iter(Codec):
                raise Malformed(f"it is compressed by a codec that is not known, number {number}")


def _starts(chunks: Numbers) -> Numbers:
    """Where the first page of each chunk is: a dictionary page may stand in front, and 0 says that there is none."""
    data, dictionary = chunks[:, Of.DATA_PAGE], chunks[:, Of.DICTIONARY_PAGE]
    starts: Numbers = np.where((dictionary > 0) & ((dictionary < data) | (data == 0)), dictionary, data)
    return starts


class Ahead:
    """Reads onwards from `at`, `piece` bytes at once where less is asked for. `taken` sees each byte once, in order."""

    def __init__(
        self, source: Content, taken: Callable[[bytes], None], *, at: int = 0, piece: int = 4 * 1024 * 1024
    ) -> None:
        self._source, self._taken, self._piece = source, taken, piece
        self._buffer, self._begin = b"", at
        self.at = at

    def peek(self, length: int) -> bytes:
        """Up to `length` of the bytes that come next."""
        skipped = self.at - self._begin
        if len(self._buffer) - skipped < length:
            self._buffer = self._buffer[skipped:]
            begin = self.at + len(self._buffer)
            wanted = min(max(length, self._piece) - len(self._buffer), self._source.size - begin)
            self._buffer += self._source.read_at(begin, wanted) if wanted > 0 else b""
            self._begin, skipped = self.at, 0
        return self._buffer[skipped : skipped + length]

    def take(self, length: int) -> bytes:
        """The next bytes. Raises Malformed where there are not so many."""
        data = self.peek(length)
        if len(data) != length:
            raise Malformed("it ends before its size")
        self.at += length
        self._taken(data)
        return data

    def header(self, headers: Headers, end: int) -> Header:
        """The page header that comes next, of a chunk that ends at `end`; it is not taken. Raises Malformed."""
        guess = _HEADER_GUESS
        while True:
            room = end - self.at
            data = self.peek(min(guess, room))
            try:
                header = headers.read(data)
            except Cut:
                if guess >= min(room, LARGEST_HEADER):
                    raise
                guess *= 16
                continue
            if header.size < 0 or not 0 <= header.stored <= room - len(header.raw):
                raise Malformed(f"the page at byte {self.at} runs out of its column chunk")
            return header
