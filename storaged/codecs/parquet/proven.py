"""One page: what it becomes, proven, and what makes it again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from storaged.codecs.parquet import encoders, pages
from storaged.codecs.parquet.known import ALL_BUT, find
from storaged.codecs.parquet.pages import Codec, Header, Headers, crc_of
from storaged.codecs.parquet.pieces import LITERAL_HEADER, NOT_FLAGGED, NOTHING, PLAIN_HEADER
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import VerificationFailed

PROOF: Final = "test this machine's memory and processor"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the file, and what it becomes: `kept` is what makes it again together with its recipe."""

    header: Header
    body: bytes
    new_header: bytes
    new_body: bytes
    recipe: str
    kept: bytes
    flags: int
    level: int  # of those that were tried the one that it has
    known: str | None  # the recipe, where an encoder makes the very same bytes
    missed: Sequence[str]

    @property
    def cost(self) -> int:
        return len(self.new_header) + len(self.new_body) + len(self.kept)

    @property
    def was(self) -> int:
        return len(self.header.raw) + len(self.body)


def recompressed(
    header: Header,
    body: bytes,
    codec: Codec,
    tried: Sequence[int],
    likely: Sequence[str],
    hopeless: frozenset[str],
) -> Page:
    """One page, proven, by the first of these levels that makes it about as small as the last. A module function, so
    that any executor can carry it. Raises Malformed where it is damaged, VerificationFailed where it does not come
    back."""
    how, stored, raw, level, new = _as_zstd(header, body, codec, tried)
    known: str | None = None
    missed: Sequence[str] = ()
    recipe, kept = NOTHING, stored
    if not stored:
        known = recipe = encoders.PLAIN
        kept = b""
    elif how not in _COSTLY or len(new) < len(stored):
        found = find(how, raw, stored, likely, hopeless)
        known, missed = found.recipe, found.missed
        if known is not None:
            recipe, kept = known, b""
        elif found.like is not None:
            recipe, kept = encoders.ALIKE[how], encoders.compared(found.like, stored)
            if encoders.mended(found.like, kept, len(stored)) != stored:
                raise VerificationFailed("a difference does not give what it was made of", hint=PROOF)
    new_header, new_body = _with_body(header, body[: header.levels] + new)
    flags = NOT_FLAGGED if header.flagged is False else PLAIN_HEADER
    if before(_per_thread.headers.read(new_header), body, flags) != header.raw:
        flags |= LITERAL_HEADER
    return Page(header, body, new_header, new_body, recipe, kept, flags, level, known, missed)


def smallest(raw: bytes, levels: Sequence[int]) -> tuple[int, bytes]:
    """By the first of these levels that makes it about as small as the last, and which that is."""
    *lower, asked = levels
    new = encoders.zstd(raw, asked)
    for level in lower:
        other = encoders.zstd(raw, level)
        if len(other) <= len(new) + len(new) // ALL_BUT:
            return level, other
    return asked, new


def as_zstd(header: Header, body: bytes, codec: Codec, tried: Sequence[int]) -> Page:
    """One page, proven, with nothing that makes it again as it was. Otherwise as `recompressed`."""
    _, _, _, level, new = _as_zstd(header, body, codec, tried)
    new_header, new_body = _with_body(header, body[: header.levels] + new)
    return Page(header, body, new_header, new_body, NOTHING, b"", PLAIN_HEADER, level, None, ())


def _as_zstd(header: Header, body: bytes, codec: Codec, tried: Sequence[int]) -> tuple[Codec, bytes, bytes, int, bytes]:
    """How a page is compressed, what of its body is, what that decompresses to, and that as zstd, at which level."""
    if header.crc is not None and crc_of(body) != header.crc:
        raise Malformed("a page has another checksum than its header says")
    stored = body[header.levels :]
    how = Codec.UNCOMPRESSED if header.flagged is False else codec
    size = header.size - header.levels
    raw = pages.decompressed(how, stored, size) if stored or size else b""
    level, new = smallest(raw, tried) if stored else (tried[-1], b"")
    if stored and pages.unzstd(new, size) != raw:
        raise VerificationFailed("a page does not decompress to what went in; nothing was changed", hint=PROOF)
    return how, stored, raw, level, new


def _with_body(header: Header, new_body: bytes) -> tuple[bytes, bytes]:
    crc = None if header.crc is None else crc_of(new_body)
    return header.patched(stored=len(new_body), crc=crc, flagged=True), new_body


def before(header: Header, body: bytes, flags: int) -> bytes:
    """The header of a page as it was, from the one that it has now and the body that it had."""
    crc = None if header.crc is None else crc_of(body)
    return header.patched(stored=len(body), crc=crc, flagged=not flags & NOT_FLAGGED)


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.headers = Headers()  # not thread-safe, and costly to make


_per_thread = _PerThread()


_COSTLY: Final = frozenset((Codec.GZIP, Codec.ZSTD, Codec.BROTLI))  # whose encoders are not tried where zstd grows
