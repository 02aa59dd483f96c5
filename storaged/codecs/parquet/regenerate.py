"""The file as it was, in ranges, from a blob whose pages are compressed otherwise."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import zstandard

from storaged.codecs.parquet import block, encoders, pages, probes
from storaged.codecs.parquet.footer import END
from storaged.codecs.parquet.pages import Header, Headers
from storaged.codecs.parquet.pieces import COPY, FOOTER, LITERAL, LITERAL_HEADER, NOTHING, PAGES, Index, Piece, check_of
from storaged.codecs.parquet.proven import before
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import VerificationFailed
from storaged.stores.base import Reader

CACHED: Final = 16 * 1024 * 1024  # bytes of pieces that an open blob keeps, and one piece whatever its size
READ_TOGETHER: Final = 4 * 1024 * 1024  # bytes that one read of the store fetches, for more than one piece


class Regenerated:
    """Random access to the content of a blob, whose pages `make` makes again. Thread-safe. Raises VerificationFailed if
    its block is damaged."""

    def __init__(self, reader: Reader, opened: block.Block, make: probes.Make = encoders.made) -> None:
        self._reader, self._key, self._make = reader, reader.stat.key, make
        self._footer_at = opened.footer_at
        self.size = opened.origin.size
        try:
            self._index = Index(opened, content=self.size)
        except Malformed as error:
            raise VerificationFailed(f"{self._key}: {error}", hint="the blob is damaged") from error
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()  # least recently used first
        self._cached = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`. Raises VerificationFailed."""
        end = min(offset + length, self.size)
        parts: list[bytes | memoryview] = []
        number = self._index.at(offset) if offset < end else 0
        ahead, ahead_at = b"", 0
        while offset < end:
            piece = self._index.piece(number)
            if piece.begin + piece.size > offset:
                data = self._held(number)
                if data is None:
                    if not ahead_at <= piece.at <= piece.at + piece.stored <= ahead_at + len(ahead):
                        ahead_at, ahead = piece.at, self._fetched(piece, number, end)
                    begin = piece.at - ahead_at
                    data = self._made(piece, ahead[begin : begin + piece.stored])
                    self._hold(number, data)
                skipped = offset - piece.begin
                part = memoryview(data)[skipped : skipped + end - offset]
                parts.append(part)
                offset += len(part)
            number += 1
        return parts[0].tobytes() if len(parts) == 1 and isinstance(parts[0], memoryview) else b"".join(parts)

    def _fetched(self, piece: Piece, number: int, end: int) -> bytes:
        """The stored bytes of a piece, and of those after it that are wanted, up to a bound."""
        stop = piece.at + piece.stored
        after = piece
        while after.begin + after.size < end and stop - piece.at < READ_TOGETHER:
            number += 1
            after = self._index.piece(number)
            if after.what == FOOTER or after.at + after.stored - piece.at > READ_TOGETHER:
                break
            stop = after.at + after.stored
        return self._read(piece.at, stop - piece.at)

    def _read(self, at: int, length: int) -> bytes:
        data = self._reader.read_at(at, length) if length else b""
        if len(data) != length:
            raise VerificationFailed(f"{self._key}: it ends at byte {at + len(data)}, before its footer")
        return data

    def _held(self, number: int) -> bytes | None:
        with self._lock:
            data = self._cache.get(number)
            if data is not None:
                self._cache.move_to_end(number)
            return data

    def _hold(self, number: int, data: bytes) -> None:
        with self._lock:
            if number not in self._cache:
                self._cache[number] = data
                self._cached += len(data)
            while self._cached > CACHED and len(self._cache) > 1:
                _, old = self._cache.popitem(last=False)
                self._cached -= len(old)

    def _made(self, piece: Piece, stored: bytes) -> bytes:
        """A piece of the content, compared with what was kept of it."""
        recipe = self._index.recipes[piece.what - PAGES] if piece.what >= PAGES else ""
        try:
            data = self._page(piece, recipe, stored) if recipe else self._kept(piece, stored)
        except (Malformed, zstandard.ZstdError) as error:
            raise self._damaged(piece, recipe, f"does not come back: {error}") from error
        if len(data) != piece.size or check_of(data) != piece.check:
            raise self._damaged(piece, recipe, "does not come back as it was")
        return data

    def _kept(self, piece: Piece, stored: bytes) -> bytes:
        if piece.what == COPY:
            return stored
        if piece.what == LITERAL:
            return self._index.literals[piece.literal_at : piece.literal_at + piece.size]
        footer = self._read(self._footer_at, self._reader.stat.size - self._footer_at)[:-END]
        return encoders.mended(footer, self._index.footer, piece.size)

    def _page(self, piece: Piece, recipe: str, stored: bytes) -> bytes:
        header = Headers().read(stored)
        size = header.size - header.levels
        if not 0 <= size <= pages.LARGEST or header.stored != len(stored) - len(header.raw):
            raise Malformed("its page has another size")
        levels, new = stored[len(header.raw) :][: header.levels], stored[len(header.raw) + header.levels :]
        body = levels + self._body(piece, recipe, pages.unzstd(new, size) if new else b"", header)
        if piece.flags & LITERAL_HEADER:
            return self._index.literals[piece.literal_at : piece.literal_at + piece.header] + body
        return before(header, body, piece.flags) + body

    def _body(self, piece: Piece, recipe: str, raw: bytes, header: Header) -> bytes:
        if piece.kept is None:
            return self._make(recipe, raw)
        at, length = piece.kept
        if length > piece.size + (1 << 20) or at + length > self._footer_at:
            raise Malformed("what is kept beside it has an impossible size")
        kept = self._read(at, length)
        if recipe == NOTHING:
            return kept
        return encoders.mended(self._make(recipe, raw), kept, piece.size - piece.header - header.levels)

    def _damaged(self, piece: Piece, recipe: str, what: str) -> VerificationFailed:
        try:
            changed = probes.changed(self._index.told, self._make).get(recipe)
        except (LookupError, TypeError, ValueError):
            changed = None
        why = "the blob is damaged" if changed is None else f"it was made by {changed}: install that version"
        return VerificationFailed(f"{self._key}: the piece at byte {piece.begin} of its content {what}", hint=why)
