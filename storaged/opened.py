"""What a reader holds in its hands: an object as it is shown, and its content, open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from storaged.errors import ObjectCold, ObjectNotFound, SourceChanged
from storaged.work.content import Slice


class Shown(NamedTuple):
    """One object as its readers see it. Sizes in bytes."""

    dataset: str
    name: str
    size: int  # of the content
    mtime_us: int
    created_us: int  # when this generation was first known to exist
    generation: int
    digest: str  # of the content; empty until something read it
    tier: str  # of the current place, as are codec and stored_bytes
    codec: str
    stored_bytes: int

    @property
    def path(self) -> str:
        return f"{self.dataset}/{self.name}"

    @property
    def marks_folder(self) -> bool:
        """Whether it does nothing else, as consoles and Hadoop make them."""
        return self.size == 0 and self.name.endswith("/")


class OpenObject:
    """An object's content, pinned to one generation: still readable when it is moved and its old place released.

    Safe for threads while it is open. Closing it counts one read of `delivered` bytes.
    """

    def __init__(
        self,
        shown: Shown,
        content: Slice,
        *,
        again: Callable[[Shown], Slice],
        closed: Callable[[Shown, int], object],
        afresh: Callable[[Shown], Slice] | None = None,
    ) -> None:
        """`again` opens it at another place than that of `content`; `closed` is told how many bytes were delivered.
        `afresh` opens it in a forked child, for which threads of the parent may hold what decodes `content`; without
        it the child reads that."""
        self.shown = shown
        self.delivered = 0  # bytes that reached whoever reads; kept by the user of this object
        self._again, self._counts = again, closed
        self._places = [content]  # the last one is in use; others may be in use by other threads still
        self._lock = threading.Lock()
        self._closed = False
        self._pid, self._afresh = os.getpid(), afresh
        self._of_parent: list[Slice] = []  # kept: what is closed there is closed by the parent

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`. Raises SourceChanged if its user wrote it meanwhile,
        VerificationFailed if its blob is damaged, and StoreError."""
        if self._pid != os.getpid():
            self._begin_here()
        place = self._places[-1]
        try:
            return place.read_at(offset, length)
        except (ObjectNotFound, SourceChanged, ObjectCold):
            return self._elsewhere(place).read_at(offset, length)

    def read_ranges(self, spans: Sequence[tuple[int, int]], gap: int) -> list[bytes]:
        """The content from `low` to `high` of each span; those that are at most `gap` bytes apart are read as one."""
        out = [b""] * len(spans)
        for group in _near(spans, gap):
            low, high = spans[group[0]][0], max(spans[n][1] for n in group)
            data = self.read_at(low, high - low)
            for n in group:
                out[n] = data[spans[n][0] - low : spans[n][1] - low]
        return out

    def _begin_here(self) -> None:
        """In a forked child."""
        self._lock = threading.Lock()
        if self._afresh is not None:
            places = [self._afresh(self.shown)]
            self._of_parent += self._places
            self._places = places
        self._pid = os.getpid()

    def _elsewhere(self, lost: Slice) -> Slice:
        with self._lock:
            if self._places[-1] is lost:  # else another thread was faster
                self._places.append(self._again(self.shown))
            return self._places[-1]

    def close(self) -> None:
        """Twice is once."""
        if not self._closed:
            self._closed = True
            for place in self._places:
                place.close()
            self._counts(self.shown, self.delivered)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _near(spans: Sequence[tuple[int, int]], gap: int) -> Iterator[list[int]]:
    """The numbers of the spans, those together that are at most `gap` bytes apart, in order of their beginnings."""
    group: list[int] = []
    reach = 0
    for n in sorted((n for n, (low, high) in enumerate(spans) if low < high), key=lambda n: spans[n]):
        if group and spans[n][0] > reach + gap:
            yield group
            group = []
        reach = max(reach, spans[n][1]) if group else spans[n][1]
        group.append(n)
    if group:
        yield group
