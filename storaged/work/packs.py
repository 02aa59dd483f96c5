"""Packs that are open, for whoever reads many of their members: each is opened once, whoever of them comes first.

What is read is pinned to the identity under which the pack was opened, as with any blob. A pack whose store says that
it is gone, another thing, or in an archive class, is opened anew for whoever comes next.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from storaged.catalog.placements import Seen
from storaged.clock import SECOND
from storaged.codecs.pack import PACK, Frames
from storaged.errors import ObjectCold, ObjectNotFound, SourceChanged, StoragedError
from storaged.model import Blob
from storaged.stores.base import Reader
from storaged.stores.wrappers import ReaderWrapper
from storaged.work.content import Slice, open_blob, open_current, open_unproven
from storaged.work.context import Context

IDLE: Final = 4  # packs of which nothing is open that are kept: some 8 MiB of content each
IDLE_US: Final = 60 * SECOND  # and for how long, looked at whenever one is opened or closed

Span = tuple[int, int]  # where something begins and ends in an object's content


class OpenPacks:
    """The packs of one reader, job or check. Thread-safe; close it when done.

    `once`: of a job or check. One that could not be opened is not tried again, since it has come to an end before
    anything is different. And as it compares each object with its digest, a pack that is not what was proven is read
    all the same, as it lies, for objects that have one: what is damaged in it is not everybody's loss.
    """

    def __init__(self, context: Context, *, once: bool = False) -> None:
        self._context = context
        self.once = once
        self._lock = threading.Lock()
        self._packs: OrderedDict[str, _Pack] = OrderedDict()  # by blob; least recently used first
        self._back: deque[_Pack] = deque()  # given back, and not yet seen to
        self._expected: defaultdict[str, list[Span]] = defaultdict(list)  # by blob, in the packs' contents

    def current(self, seen: Seen) -> Slice:
        """The object's content at its current place. Raises as `open_current` does."""
        replica = seen.placement.current
        blob = seen.blobs[replica.blob] if replica else None
        if replica is None or blob is None or blob.codec != PACK.name:
            return open_current(self._context, seen)
        pack = self._taken(blob)
        try:
            reader, content = pack.opened()
            if pack.unproven is not None and not seen.placement.digest:
                raise pack.unproven.with_traceback(None)
        except BaseException:
            if not self.once:
                self._gone(pack)
            self._given_back(pack)
            raise
        return Slice(_Lent(reader, lambda: self._given_back(pack)), content, replica.offset, replica.length)

    @contextmanager
    def expecting(self, wanted: Iterable[tuple[Seen, Span]]) -> Iterator[None]:
        """These parts of objects will be read within: what lies together in a pack is fetched together."""
        spans: defaultdict[str, list[Span]] = defaultdict(list)
        for seen, (low, high) in wanted:
            at = seen.placement.current
            if at is not None and in_pack(seen):
                spans[at.blob].append((at.offset + low, at.offset + min(high, at.length)))
        with self._lock:
            for blob, more in spans.items():
                self._expected[blob] += more
            opened = [(pack, spans[blob]) for blob, pack in self._packs.items() if blob in spans]
        for pack, more in opened:
            pack.expect(more)
        try:
            yield
        finally:
            with self._lock:
                for blob in spans:
                    self._expected.pop(blob, None)
                there = [pack for blob, pack in self._packs.items() if blob in spans]
            for pack in there:
                pack.expect_nothing()

    def expected(self, blob: str) -> list[Span]:
        """What will be read of a pack, as far as somebody said so."""
        with self._lock:
            return list(self._expected.get(blob, ()))

    def unproven(self, seen: Seen) -> bool:
        """Whether the object's pack, which is open, is read as it lies and is not what was proven."""
        replica = seen.placement.current
        pack = self._packs.get(replica.blob) if replica else None
        return pack is not None and pack.unproven is not None

    def close(self) -> None:
        """Close what nobody uses. What is asked for afterwards is opened again."""
        with self._lock:
            idle = self._over(keep=0)
        _close(idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- lending -----------------------------------------------------------------------------------------------------

    def _taken(self, blob: Blob) -> _Pack:
        """The pack, which its user gives back."""
        proven = self._context.proven.get(blob.id)
        with self._lock:
            pack = self._packs.get(blob.id)
            other = pack if pack is not None and not pack.is_still(blob.identity, proven) else None
            if pack is None or other is not None:
                pack = self._packs[blob.id] = _Pack(self, self._context, blob)
            pack.users += 1
            self._packs.move_to_end(blob.id)
            idle = self._over()
            if other is not None and not other.users:
                idle.append(other)
        _close(idle)
        return pack

    def _given_back(self, pack: _Pack) -> None:
        """Also by the collector of garbage, in a thread that may hold the lock: whoever takes it next sees to it."""
        self._back.append(pack)
        if self._lock.acquire(blocking=False):
            try:
                idle = self._over()
            finally:
                self._lock.release()
            _close(idle)

    def _gone(self, pack: _Pack) -> None:
        """It is opened anew for whoever comes next."""
        with self._lock:
            if self._packs.get(pack.blob.id) is pack:
                del self._packs[pack.blob.id]

    def _over(self, keep: int = IDLE) -> list[_Pack]:
        """Those that are not kept any longer, which are forgotten here. Under the lock."""
        now_us = self._context.now_us()
        over = []
        while self._back:
            pack = self._back.popleft()
            pack.users -= 1
            pack.idle_us = now_us
            if not pack.users and self._packs.get(pack.blob.id) is not pack:
                over.append(pack)
        idle = [pack for pack in self._packs.values() if not pack.users]
        old = [p for n, p in enumerate(idle) if n < len(idle) - keep or not 0 <= now_us - p.idle_us <= IDLE_US]
        for pack in old:
            del self._packs[pack.blob.id]
        return over + old


class _Pack:
    """One that is open, or is being opened."""

    def __init__(self, packs: OpenPacks, context: Context, blob: Blob) -> None:
        self.blob = blob
        self.users = 0
        self.idle_us = 0  # since when, where it has none
        self.unproven: SourceChanged | None = None  # it was opened as it lies, which is not what was proven: how
        self._packs, self._context = packs, context
        self._opening = threading.Lock()
        self._opened: tuple[Reader, Frames] | None = None
        self._failed: StoragedError | None = None

    def is_still(self, identity: str, proven: str | None) -> bool:
        """Whether it was, or is being, opened under one of these."""
        opened = self._opened
        return opened is None or opened[0].stat.identity in (identity, proven)

    def opened(self) -> tuple[Reader, Frames]:
        """Its bytes and the decoded tar. Raises as opening a blob does; whoever comes next tries anew."""
        with self._opening:
            if self._failed is not None:
                raise self._failed.with_traceback(None)
            if self._opened is None:
                try:
                    reader = _Watched(self._found(), lambda: self._packs._gone(self))
                except StoragedError as error:
                    self._failed = error if self._packs.once else None
                    raise
                try:
                    frames = PACK.open(reader, index=self.blob.index)
                except BaseException:
                    reader.close()
                    raise
                frames.expect(self._packs.expected(self.blob.id))
                self._opened = reader, frames
            return self._opened

    def _found(self) -> Reader:
        try:
            return open_blob(self._context, self.blob)
        except SourceChanged as error:
            if not self._packs.once:
                raise
            reader = open_unproven(self._context, self.blob)
            self.unproven = error
            return reader

    def expect(self, spans: list[Span]) -> None:
        if self._opened is not None:
            self._opened[1].expect(spans)

    def expect_nothing(self) -> None:
        if self._opened is not None:
            self._opened[1].expect_nothing()

    def close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()


class _Watched(ReaderWrapper):
    """A pack's bytes. `gone` is called once its store says that they are not there to be read."""

    def __init__(self, reader: Reader, gone: Callable[[], None]) -> None:
        super().__init__(reader)
        self._gone = gone

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            return super().read_at(offset, length)
        except (ObjectNotFound, SourceChanged, ObjectCold):
            self._gone()
            raise


class _Lent(ReaderWrapper):
    """A pack's bytes as one of its users has them, who gives them back."""

    def __init__(self, reader: Reader, back: Callable[[], None]) -> None:
        super().__init__(reader)
        self._back = weakref.finalize(self, back)

    def close(self) -> None:
        """Twice is once."""
        self._back()


def in_pack(seen: Seen) -> bool:
    """Whether the object's current place is a part of a pack."""
    replica = seen.placement.current
    return replica is not None and seen.blobs[replica.blob].codec == PACK.name


def by_place(seen: Seen) -> tuple[str, int]:
    """What orders objects so that those of a pack come one after the other, as they lie there."""
    replica = seen.placement.current
    return (replica.blob, replica.offset) if replica is not None and in_pack(seen) else ("", 0)


def _close(packs: Iterable[_Pack]) -> None:
    for pack in packs:
        pack.close()
