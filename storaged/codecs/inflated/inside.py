"""What is inside of a .gz: how it is called, and as content to read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

from storaged.codecs.base import Content, in_order
from storaged.codecs.inflated.members import STEP, Bytes, contents

KEPT: Final = 32 * 1024 * 1024  # bytes before what was read last that are kept

_AROUND: Final = {".gz": "", ".gzip": "", ".tgz": ".tar", ".taz": ".tar"}


def inside(name: str) -> str:
    """`a.csv` of `a.csv.gz`; a name that does not end so stays."""
    for ending, instead in _AROUND.items():
        if name.lower().endswith(ending) and name[: -len(ending)].rpartition("/")[2]:
            return name[: -len(ending)] + instead
    return name


class Inside:
    """Content that is inflated as it is read. In order that costs one pass, and so does going back by up to 32 MiB;
    going back further begins anew. Thread-safe. `size` is what a reading of all of it came to."""

    def __init__(self, source: Content, size: int) -> None:
        self._source, self.size = source, size
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._coming = _together(contents(Bytes(in_order(self._source))))
        self._pieces: deque[tuple[int, bytes]] = deque()  # each with where it begins
        self._end = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`. Raises NotTaken where the .gz is damaged."""
        end = min(offset + length, self.size)
        with self._lock:
            if offset < (self._pieces[0][0] if self._pieces else self._end):
                self._begin()
            while self._end < end and (piece := next(self._coming, None)) is not None:
                self._pieces.append((self._end, piece))
                self._end += len(piece)
                while self._pieces[0][0] + len(self._pieces[0][1]) < min(offset, self._end) - KEPT:
                    self._pieces.popleft()
            return b"".join(piece[max(0, offset - at) : max(0, end - at)] for at, piece in self._pieces)


def _together(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """In pieces that are not small, however small members are."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= STEP:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
