"""Many objects into one blob: read side by side, written one after the other, each member under guards of its own.

A member's source is opened under the catalog's identity when its turn comes, read whole, and looked at again after its
last byte. One that is not what the catalog holds drops out by itself, and so does one that cannot be read: its bytes
are not in the pack, or (of a large one) are there and nobody's. What is true of all is asked once: that the pack can be
written and proven, and that what was stored is what was sent. (docs/design.md has the order and its MUSTs.)
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Protocol, TypeVar

from storaged.catalog.items import Item, codec_of, tier_of
from storaged.catalog.queue import Outcome
from storaged.clock import Timings, timed
from storaged.codecs.base import in_order
from storaged.codecs.pack import HELD, Member, Packed, Packer, why_not
from storaged.decide.packing import LEVEL
from storaged.errors import LeaseLost, RefusedByGuard, SourceChanged, StoragedError, VerificationFailed
from storaged.model import ItemState, Origin
from storaged.stores.base import New
from storaged.work.content import Slice
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.stage import (
    MEANWHILE,
    NOT_RECORDED,
    Staged,
    may_be_proven,
    metadata_of,
    opened,
    read_back,
    recheck,
)
from storaged.work.rewrite.trouble import may_pass, skipped

T = TypeVar("T")

AHEAD: Final = 16 << 20  # bytes of content that are read ahead of what is written
TOGETHER: Final = 32  # objects that one thread reads one after the other
TOGETHER_BYTES: Final = 1 << 20  # of their content, the last one aside
TRIES: Final = 4  # such groups of objects that are read before it is known whether more threads would help
WAITS: Final = 2  # they would, where reading took so many times as long as it computed
HEADERS: Final = 4 << 10  # bytes of headers and padding that a member has at most, its name and metadata aside
ALONE: Final = "nothing is left to pack it with"


class Read(NamedTuple):
    """A member that was read. Of a large one nothing is held: it is read when it is written."""

    item: Item
    metadata: Mapping[str, str]  # of the original
    data: bytes


class Kept(NamedTuple):
    """A member that is in the pack."""

    item: Item
    metadata: Mapping[str, str]  # of the original
    packed: Packed


class Tried(Protocol):
    """What an act made of a member, or what became of the member instead."""

    def __call__(self, item: Item, act: Callable[[], T]) -> T | Outcome: ...


Met = Callable[[Item, StoragedError], Outcome]


@dataclass(frozen=True, slots=True)
class Packing:
    """One attempt at a pack of this `name`. `readers` reads ahead, `frames` compresses. `outcomes`: what became of the
    members that are not in it."""

    context: Context
    packs: OpenPacks  # that its members are in so far
    name: str
    timings: Timings
    readers: Executor
    frames: Executor
    tried: Tried
    met: Met
    alive: Callable[[], bool]
    outcomes: list[Outcome] = field(default_factory=list)

    def stage(self, items: Iterable[Item]) -> list[Staged]:
        """Write the pack from its members' current places and prove it. Changes nothing in the catalog. Returns those
        that are in it. Raises LeaseLost."""
        members = sorted(items, key=lambda i: i.held.placement.name)
        if not members:
            return []
        try:
            with self.timings.recording("compress"):
                return self._write(members)
        except LeaseLost:
            raise
        except StoragedError as error:  # no member of it is to blame
            told = {o.object_id for o in self.outcomes}
            state = ItemState.SKIPPED if isinstance(error, RefusedByGuard) else ItemState.FAILED
            again, kind = may_pass(error), type(error).__name__
            self.outcomes.extend(
                Outcome(i.held.id, state, error.message, again=again, error=kind)
                for i in members
                if i.held.id not in told
            )
            return []

    def _write(self, members: Sequence[Item]) -> list[Staged]:
        first = members[0]
        store = self.context.tier(str(tier_of(first.to)))
        may_be_proven(store, self.name)
        now_us, level = self.context.now_us(), codec_of(first.to).level
        dataset = first.held.placement.dataset
        origin = Origin(self.context.identity.catalog, first.attempt, dataset, self.name, 0, "", mtime_us=now_us)
        kept: list[Kept] = []
        with contextlib.ExitStack() as stack:
            with timed("write"):
                new = New(first.attempt, mtime_us=now_us, size=sum(map(_at_most, members)), origin=origin)
                upload = stack.enter_context(store.create(first.key, new))

            def write(data: bytes) -> None:
                with timed("write"):
                    upload.write(data)

            level = LEVEL if level is None else level
            packer = stack.enter_context(Packer(write, level=level, origin=origin, executor=self.frames))
            for one in self._ahead(self._fit(members)):
                if not self.alive():
                    raise LeaseLost("the lease was lost while a pack was written")
                put = one if isinstance(one, Outcome) else self._put(packer, one)
                if isinstance(put, Outcome):
                    self.outcomes.append(put)
                else:
                    kept.append(put)
            if len(kept) < 2:
                self.outcomes.extend(skipped(k.item, ALONE) for k in kept)
                return []
            encoded = packer.finish()
            with timed("write"):
                stat = upload.commit(encoded.origin)
            proven = upload.proven
        if not proven:
            read_back(store, first.key, stat, encoded)
        total = max(sum(k.packed.length for k in kept), 1)
        return [
            Staged(k.item, stat, encoded, k.metadata, k.packed.digest, offset=k.packed.offset, packed_bytes=total)
            for k in kept
        ]

    def _fit(self, members: Iterable[Item]) -> Iterator[Item]:
        """Those that a tar gives back under their names."""
        for item in members:
            if why := why_not(_member(item, item.held.placement.metadata)):
                self.outcomes.append(skipped(item, f"it {why}: it is not packed"))
            else:
                yield item

    # -- reading -----------------------------------------------------------------------------------------------------

    def _ahead(self, members: Iterable[Item]) -> Iterator[Read | Outcome]:
        """Members in their order. Small ones are read ahead on many threads, where reading is mostly waiting: threads
        that compute hinder each other. A large one is opened when its turn comes."""
        waiting: deque[tuple[Future[list[Read | Outcome]], int]] = deque()
        ahead, tries = 0, _Tries()
        try:
            for group in _groups(members):
                size = sum(i.held.placement.size for i in group)
                if group[0].held.placement.size <= HELD and not tries.waits:
                    with tries:
                        found = self._read_here(group)
                    yield from found
                    continue
                while waiting and ahead + size > AHEAD:  # all of them, before a large one
                    ahead -= waiting[0][1]
                    yield from self._waited(waiting.popleft()[0])
                if group[0].held.placement.size > HELD:
                    yield Read(group[0], group[0].held.placement.metadata, b"")
                else:
                    waiting.append((self.readers.submit(self._read_all, group), size))
                    ahead += size
            while waiting:
                yield from self._waited(waiting.popleft()[0])
        finally:
            for future, _ in waiting:
                future.cancel()

    def _waited(self, future: Future[list[Read | Outcome]]) -> list[Read | Outcome]:
        with timed("read"):
            return future.result()

    def _read_here(self, group: Sequence[Item]) -> list[Read | Outcome]:
        with timed("read"):
            return [self.tried(item, partial(self._read, item)) for item in group]

    def _read_all(self, group: Sequence[Item]) -> list[Read | Outcome]:
        with self.timings.recording("read"):
            return self._read_here(group)

    def _read(self, item: Item) -> Read:
        """Raises SourceChanged, ObjectNotFound, RefusedByGuard, StoreError."""
        held = item.held
        with opened(self.context, item, self.packs) as source:
            metadata = metadata_of(self.context, item, source)
            data = b"".join(in_order(source))
            identity = source.identity
        with timed("re-check"):
            recheck(self.context, held, identity)
        return Read(item, metadata, data)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _put(self, packer: Packer, read: Read) -> Kept | Outcome:
        """Write a member, or say what became of it. Raises what writing raises: that is of the whole pack."""
        item = read.item
        if item.held.placement.size > HELD:
            return self._stream(packer, item)
        return self._kept(read, packer.put(_member(item, read.metadata), read.data))

    def _stream(self, packer: Packer, item: Item) -> Kept | Outcome:
        """A large member, which is written while it is read."""
        source = self.tried(item, partial(opened, self.context, item, self.packs))
        if isinstance(source, Outcome):
            return source
        with source:
            try:
                metadata = metadata_of(self.context, item, source)
            except StoragedError as error:
                return self.met(item, error)
            watched = _Watched(source, lambda: recheck(self.context, item.held, source.identity))
            try:
                packed = packer.add(_member(item, metadata), watched, still=watched.still)
            except StoragedError as error:
                if error is not watched.error:
                    raise
                return self.met(item, error)
        return self._kept(Read(item, metadata, b""), packed)

    def _kept(self, read: Read, packed: Packed) -> Kept | Outcome:
        if packed.kept:
            return Kept(read.item, read.metadata, packed)
        name = read.item.held.placement.name
        if packed.short:
            return self.met(read.item, SourceChanged(f"{name} {MEANWHILE}", key=name))
        return self.met(read.item, VerificationFailed(f"{name}: {NOT_RECORDED}"))


class _Tries:
    """Whether reading is mostly waiting, so that other threads may read meanwhile, by what was read so far."""

    def __init__(self) -> None:
        self._number, self._wall_ns, self._cpu_ns = 0, 0, 0

    @property
    def waits(self) -> bool:
        return self._number >= TRIES and self._wall_ns > WAITS * self._cpu_ns

    def __enter__(self) -> None:
        self._wall_ns -= time.perf_counter_ns()
        self._cpu_ns -= time.thread_time_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wall_ns += time.perf_counter_ns()
        self._cpu_ns += time.thread_time_ns()
        self._number += 1


class _Watched:
    """A source whose own errors are told from those of what is written."""

    def __init__(self, source: Slice, again: Callable[[], None]) -> None:
        self.size = source.size
        self.error: StoragedError | None = None
        self._source, self._again = source, again

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            with timed("read"):
                return self._source.read_at(offset, length)
        except StoragedError as error:
            self.error = error
            raise

    def still(self, _digest: str) -> bool:
        """Whether it is what was opened."""
        try:
            with timed("re-check"):
                self._again()
        except StoragedError as error:
            self.error = error
            raise
        return True


def _member(item: Item, metadata: Mapping[str, str]) -> Member:
    p = item.held.placement
    return Member(p.name, p.size, p.mtime_us, p.generation, p.digest, metadata)


def _at_most(item: Item) -> int:
    """Bytes that a member adds to a pack at most."""
    p = item.held.placement
    beside = sum(len(key) + len(value) for key, value in p.metadata.items())
    return p.size + p.size // 50 + 4 * len(p.name) + 4 * beside + HEADERS


def _groups(members: Iterable[Item]) -> Iterator[list[Item]]:
    """Neighbours that one thread reads; a large one by itself."""
    group: list[Item] = []
    size = 0
    for item in members:
        length = item.held.placement.size
        if group and (len(group) == TOGETHER or size >= TOGETHER_BYTES or length > HELD):
            yield group
            group, size = [], 0
        group.append(item)
        size += length
        if length > HELD:
            yield group
            group, size = [], 0
    if group:
        yield group
