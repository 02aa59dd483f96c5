"""The .gz as it was, in ranges, from a blob of what is inside.

Deflate bytes come in order from the beginning of their member. So a range costs what lies between it and the nearest
place before it from which they can be made: a member's beginning, a place at which its writer flushed, where the last
read ended, or one of the places whose state was kept while reads went by.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from storaged.codecs.base import Content
from storaged.codecs.inflated.deflaters import WINDOW, Deflater, Make, continued, continues, deflated, deflater, probed
from storaged.codecs.inflated.members import STEP, TRAILER
from storaged.codecs.inflated.told import Told
from storaged.codecs.packed import sums
from storaged.codecs.parquet import probes
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import VerificationFailed

CHECKED: Final = 256 * 1024  # bytes of the .gz that are made and compared together
CACHED: Final = 8  # such stretches that an open blob keeps
COLUMNS: Final = ("header", "recipe", "size", "stored", "gap", "flushes")  # of each member
STARTS: Final = ("start", "start_flush", "start_crc")  # of flushes: where in the .gz, the how manieth, CRC-32 before it
KEPT: Final = 32  # states of deflaters that it keeps, of some 300 KiB each,
APART: Final = 1024 * 1024  # so many bytes of the .gz apart at least

_NONE: Final = np.empty(0, np.uint64)


@dataclass(slots=True)
class _Place:
    """From where the next bytes are made: `taken` bytes of content of a member are."""

    member: int
    at: int  # in the .gz
    taken: int = 0
    flushed: int = 0  # how often its writer flushed before that
    crc: int = 0
    deflater: Deflater | None = None  # of a member that has begun

    def copy(self) -> _Place:
        state = None if self.deflater is None else self.deflater.copy()
        return _Place(self.member, self.at, self.taken, self.flushed, self.crc, state)


class Regenerated:
    """Random access to the .gz of a blob. Thread-safe: one stretch is made at a time. Raises VerificationFailed if what
    tells how it comes back is damaged."""

    def __init__(self, inside: Content, told: Told, key: str, make: Make = deflater) -> None:
        self._inside, self._key, self._make = inside, key, make
        self.size = told.size
        self._told = told.recipes
        try:
            columns = told.columns
            self._headers, self._gaps, self._checks = told.parts["headers"], told.parts["gaps"], columns["check"]
            self._recipe, self._flush = columns["recipe"], columns["flush"]
            self._starts = [columns.get(name, _NONE) for name in STARTS]  # blobs that were written before tell of none
            self._flush_at = sums(columns["flushes"])
            self._recipes = [str(recipe) for recipe in told.recipes["recipes"]]
            self._header_at, self._gap_at = sums(columns["header"]), sums(columns["gap"])
            self._content_at, self._begins = sums(columns["size"]), sums(columns["stored"] + columns["gap"])
        except (LookupError, TypeError, ValueError) as error:
            raise self._damaged("its table of members lacks something") from error
        ends = (
            self._header_at[-1],
            self._gap_at[-1],
            self._flush_at[-1],
            self._content_at[-1],
            self._begins[-1],
            len(self._checks),
        )
        whole = (
            len(self._headers),
            len(self._gaps),
            len(self._flush),
            inside.size,
            self.size,
            -(-self.size // CHECKED),
        )
        members, starts = {len(columns[name]) for name in COLUMNS}, {len(column) for column in self._starts}
        if ends != whole or len(members) != 1 or len(starts) != 1:
            raise self._damaged("its table of members does not cover it")
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()  # least recently used first
        self._apart = max(APART, self.size // KEPT)
        self._kept: dict[int, _Place] = {}  # by how often they would lie that far apart before it
        self._next = _Place(0, 0)  # where the last read ended,
        self._made = b""  # and what was made before it and not yet asked for

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`. Raises VerificationFailed."""
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number = offset // CHECKED
            with self._lock:
                data = self._stretch(number)
            begin = offset - number * CHECKED
            parts.append(data[begin : end - number * CHECKED])
            offset += len(parts[-1])
        return b"".join(parts)

    def _stretch(self, number: int) -> bytes:
        """One that is compared with its check."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        try:
            data = self._compared(number)
        except VerificationFailed:
            if not len(self._starts[0]):
                raise
            # Should a place where its writer flushed be to blame: from the members' beginnings.
            self._starts, self._kept = [_NONE] * len(STARTS), {}
            data = self._compared(number)
        self._cache[number] = data
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return data

    def _compared(self, number: int) -> bytes:
        begin = number * CHECKED
        data = self._run(begin, min(begin + CHECKED, self.size))
        if xxhash.xxh3_64_intdigest(data) != int(self._checks[number]):
            raise self._other(begin)
        return data

    def _run(self, begin: int, end: int) -> bytes:
        """Bytes of the .gz, made anew."""
        place, made = self._nearest(begin)
        self._next, self._made = _Place(0, 0), b""  # should it fail, nothing is gone on with that is half done
        at = place.at - len(made)
        while place.at < end:
            made += self._step(place)
            if skipped := min(max(0, begin - at), len(made)):
                del made[:skipped]
                at += skipped
            self._keep(place)
        self._next, self._made = place, bytes(made[end - at :])
        return bytes(made[begin - at : end - at])

    def _nearest(self, begin: int) -> tuple[_Place, bytearray]:
        """The nearest place before that, and what is made already before that place."""
        member = int(np.searchsorted(self._begins, begin, side="right")) - 1
        first = _Place(member, int(self._begins[member]))
        best = max((first, *(p for p in self._kept.values() if p.at <= begin)), key=lambda place: place.at)
        start = int(np.searchsorted(self._starts[0], begin, side="right")) - 1
        start_at = int(self._starts[0][start]) if start >= 0 else 0
        if self._next.at - len(self._made) <= begin and max(best.at, start_at) <= self._next.at:
            return self._next, bytearray(self._made)
        if start_at > best.at and (found := self._started(start, member)) is not None:
            return found, bytearray()
        return best.copy(), bytearray()

    def _started(self, start: int, member: int) -> _Place | None:
        """The place behind a flush of a member; None where its recipe cannot be gone on with from there."""
        at, flush, crc = (int(column[start]) for column in self._starts)
        flushed = flush + 1 - int(self._flush_at[member])
        recipe = self._recipe_of(member)
        if flushed < 1 or flush >= int(self._flush_at[member + 1]) or not continues(recipe):
            return None
        begin, taken = int(self._content_at[member]), int(self._flush[flush])
        history = self._inside.read_at(begin + max(0, taken - WINDOW), min(taken, WINDOW))
        return _Place(member, at, taken, flushed, crc, continued(recipe, history, self._make))

    def _keep(self, place: _Place) -> None:
        """Its state, where none is kept so far in and its member began long before."""
        nth = place.at // self._apart
        if (
            place.deflater is not None
            and nth not in self._kept
            and int(self._begins[place.member]) // self._apart < nth
        ):
            self._kept[nth] = place.copy()

    def _step(self, place: _Place) -> bytes:
        """The next bytes from there, and on to where they end."""
        member = place.member
        made = bytearray()
        if place.deflater is None:
            made += self._headers[int(self._header_at[member]) : int(self._header_at[member + 1])]
            place.deflater = self._begun(member)
        begin, size = int(self._content_at[member]), int(self._content_at[member + 1] - self._content_at[member])
        flush = int(self._flush_at[member]) + place.flushed
        flushes = flush < int(self._flush_at[member + 1])
        until = int(self._flush[flush]) if flushes else size
        if not place.taken <= until <= size:
            raise self._damaged("its table of flushes is none")
        step = self._inside.read_at(begin + place.taken, min(STEP, until - place.taken)) if place.taken < until else b""
        place.taken += len(step)
        place.crc = zlib.crc32(step, place.crc)
        flushes = flushes and place.taken == until
        made += deflated(place.deflater, step, zlib.Z_SYNC_FLUSH if flushes else zlib.Z_NO_FLUSH)
        place.flushed += flushes
        place.at += len(made)
        if place.taken == size and flush + flushes == int(self._flush_at[member + 1]):
            last = place.deflater.flush() + TRAILER.pack(place.crc, size & 0xFFFFFFFF)
            last += self._gaps[int(self._gap_at[member]) : int(self._gap_at[member + 1])]
            place.at += len(last)
            made += last
            if place.at != int(self._begins[member + 1]):
                raise self._other(int(self._begins[member]))
            place.member, place.taken, place.flushed, place.crc, place.deflater = member + 1, 0, 0, 0, None
        elif place.at > int(self._begins[member + 1]):
            raise self._other(int(self._begins[member]))
        return bytes(made)

    def _recipe_of(self, member: int) -> str:
        try:
            return self._recipes[int(self._recipe[member])]
        except LookupError as error:
            raise self._other(int(self._begins[member])) from error

    def _begun(self, member: int) -> Deflater:
        try:
            return self._make(self._recipe_of(member))
        except Malformed as error:
            raise self._other(int(self._begins[member])) from error

    def _other(self, at: int) -> VerificationFailed:
        """Other bytes came than those that were there."""
        try:
            lacking = probes.lacking(self._told, probed(self._make))
        except (LookupError, TypeError, ValueError):
            lacking = ()
        hint = f"it was made by {', '.join(lacking)}: install that version" if lacking else "the blob is damaged"
        return VerificationFailed(f"{self._key}: the .gz from byte {at} on does not come back as it was", hint=hint)

    def _damaged(self, what: str) -> VerificationFailed:
        return VerificationFailed(f"{self._key}: {what}", hint="the blob is damaged")
