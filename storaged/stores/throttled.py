"""A budget of requests and bytes per second, and the store that keeps to it."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from storaged.clock import SECOND, Clock, timed
from storaged.model import Origin
from storaged.stores.archives import Warmed
from storaged.stores.base import Deleted, Had, New, Reader, Skipped, Stat, Store, Upload, Wanted
from storaged.stores.copies import Copy, CopySource
from storaged.stores.listed import Listed
from storaged.stores.notes import LARGEST_NOTE
from storaged.stores.wrappers import ReaderWrapper, StoreWrapper, UploadWrapper

PAGE: Final = 1_000  # entries that a store lists with one request
PART: Final = 8 << 20  # bytes that an upload sends with one request
_ANY: Final = sys.float_info.max  # per second: no limit

T = TypeVar("T")


class Budget:
    """So many requests and bytes per second (None: any number), for all threads together; thread-safe.

    Whatever was not used is good for one second's worth at once, and for no less than one request or byte. More than a
    second's worth is taken piece by piece, and whoever asks meanwhile goes between: first come, first served, and
    nobody waits longer than the rates demand. (A token bucket with reservations. What is reserved and not yet earned
    is counted, not dated, so that neither another share nor a clock that is set makes a debt larger.)

    `share` is the part of the rates that is ours, over 0 and up to 1. It may be set at any time, and counts at once.
    """

    def __init__(
        self, clock: Clock, bytes_per_second: float | None = None, requests_per_second: float | None = None
    ) -> None:
        self._bytes = _Meter(clock, bytes_per_second or _ANY)
        self._requests = _Meter(clock, requests_per_second or _ANY)

    @property
    def share(self) -> float:
        """The part of the rates that is ours."""
        return self._bytes.share

    @share.setter
    def share(self, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"a share is over 0 and up to 1, not {share}")
        self._bytes.set_share(share)
        self._requests.set_share(share)

    def take(self, requests: int = 1, nbytes: int = 0) -> None:
        """Wait until the budget allows so many requests and bytes."""
        with timed("budget"):
            asked = self._requests.reserve(requests)
            left = nbytes
            while left > 0:
                piece = min(left, self._bytes.burst)
                self._bytes.wait(self._bytes.reserve(piece))
                left -= piece
            self._requests.wait(asked)


class _Meter:
    """One of the two rates: what was taken so far, and how much more (below 0: less) is earned than that."""

    def __init__(self, clock: Clock, per_second: float) -> None:
        self.share = 1.0
        self._clock = clock
        self._per_second = per_second
        self._lock = threading.Lock()
        self._taken = 0
        self._credit = float(self.burst)
        self._seen_us = clock.now_us()

    @property
    def burst(self) -> int:
        """What may be taken at once: a second's worth."""
        return max(1, int(self._per_second * self.share))

    def set_share(self, share: float) -> None:
        """From now on; what was earned so far was earned by the old one."""
        with self._lock:
            self._earn()
            self.share = share

    def reserve(self, amount: int) -> int:
        """A ticket for `wait`: all that was taken up to and with this amount."""
        with self._lock:
            self._earn()
            self._taken += amount
            self._credit -= amount
            return self._taken

    def wait(self, ticket: int) -> None:
        """Until all of a ticket is earned, with a look at the share every second."""
        while True:
            with self._lock:
                self._earn()
                short = ticket - self._taken - self._credit
                seconds = short / (self._per_second * self.share)
            if short <= 0:
                return
            self._clock.sleep(min(1.0, math.ceil(seconds * SECOND) / SECOND))

    def _earn(self) -> None:
        now = self._clock.now_us()
        earned = max(0, now - self._seen_us) / SECOND * self._per_second * self.share
        self._credit = min(self._credit + earned, float(self.burst))
        self._seen_us = now


class Throttled(StoreWrapper):
    """Keeps to a budget. Every call that the store must answer is one request, a listing one for each PAGE of entries,
    an upload one for each PART of bytes beside its beginning and its end. Bytes are those of content."""

    def __init__(self, store: Store, budget: Budget) -> None:
        super().__init__(store)
        self._budget = budget

    def head(self, key: str) -> Stat:
        self._budget.take()
        return self._store.head(key)

    def identity(self, key: str) -> str:
        self._budget.take()
        return self._store.identity(key)

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        self._budget.take()
        return self._store.identities(keys)

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        self._budget.take(len(wanted), sum(one.size for one in wanted))
        return self._store.contents(wanted)

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        return self._paged(
            self._store.listed(prefix, after), lambda told: 1 if isinstance(told, Skipped) else len(told)
        )

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        self._budget.take()
        return self._store.folder(prefix, most)

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        self._budget.take()
        return _ThrottledReader(self._store.open(key, identity=identity), self._budget)

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        found = self._store.opened(wanted)
        self._budget.take(len(found))
        return {key: _ThrottledReader(reader, self._budget) for key, reader in found.items()}

    def origin(self, key: str) -> Origin | None:
        self._budget.take()
        return self._store.origin(key)

    def create(self, key: str, new: New) -> Upload:
        self._budget.take()
        upload = super().create(key, new)
        return _ThrottledUpload(upload, self._budget)

    def copy(self, key: str, new: New, source: CopySource) -> Stat | None:
        """Its bytes count as those of an upload do: the server has them to write."""
        self._budget.take(nbytes=source.size)
        return self._store.copy(key, new, source)

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """What was copied counts, and whoever asks next waits for it: a store may copy none."""
        found = self._store.copies(wanted)
        self._budget.take(len(found), sum(one.source.size for one in wanted if one.key in found))
        return found

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        self._budget.take()
        return self._store.delete(key, identity=identity, versions=versions)

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        self._budget.take(max(1, len(keys)) if ask else 1)
        return self._store.undeletable(keys, ask=ask)

    def checksum(self, key: str) -> str:
        self._budget.take()
        return self._store.checksum(key)

    def locked_until(self, key: str) -> int | None:
        self._budget.take()
        return self._store.locked_until(key)

    def expiry(self) -> str:
        self._budget.take()
        return self._store.expiry()

    def warmth(self, key: str) -> Warmed:
        self._budget.take()
        return self._store.warmth(key)

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        self._budget.take()
        return self._store.warm(key, identity=identity, days=days, speed=speed)

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        self._budget.take()
        return self._store.transition(key, identity=identity, storage_class=storage_class)

    def attempts(self) -> Iterator[str]:
        return self._paged(self._store.attempts())

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        self._budget.take()
        return self._store.delete_attempt(key, attempt=attempt)

    def tidy(self) -> int:
        self._budget.take()
        return self._store.tidy()

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        self._budget.take()
        return self._store.read_note(name, limit=limit)

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        self._budget.take()
        self._store.confirm(name, check)

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        self._budget.take()
        self._store.write_note(name, data, create_only=create_only)

    def delete_note(self, name: str) -> None:
        self._budget.take()
        self._store.delete_note(name)

    def list_notes(self, prefix: str) -> Iterator[str]:
        return self._paged(self._store.list_notes(prefix))

    def clock_us(self) -> int | None:
        self._budget.take()
        return self._store.clock_us()

    def _paged(self, told: Iterator[T], entries: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
        self._budget.take()
        number = 0
        for one in told:
            yield one
            pages, number = number // PAGE, number + entries(one)
            if more := number // PAGE - pages:
                self._budget.take(more)


class _ThrottledReader(ReaderWrapper):
    def __init__(self, reader: Reader, budget: Budget) -> None:
        super().__init__(reader)
        self._budget = budget

    def read_at(self, offset: int, length: int) -> bytes:
        self._budget.take(nbytes=max(0, min(length, self.stat.size - offset)))
        return self._reader.read_at(offset, length)

    def metadata(self) -> Mapping[str, str]:
        self._budget.take()
        return self._reader.metadata()


class _ThrottledUpload(UploadWrapper):
    def __init__(self, upload: Upload, budget: Budget) -> None:
        super().__init__(upload)
        self._budget = budget
        self._size = 0

    def write(self, data: bytes) -> None:
        before, self._size = self._size // PART, self._size + len(data)
        self._budget.take(self._size // PART - before, len(data))
        self._upload.write(data)

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        self._budget.take()
        return self._upload.commit(origin, metadata=metadata)
