"""Many objects into one blob: read side by side, written one after the other, each member under guards of its own.

A member's source is opened under the catalog's identity when its turn comes, read whole, and looked at again after its
last byte. One that is not what the catalog holds drops out by itself, and so does one that cannot be read: its bytes
are not in the pack, or (of a large one) are there and nobody's. What is true of all is asked once: that the pack can be
written and proven, and that what was stored is what was sent. (docs/design.md has the order and its MUSTs.)
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from storaged.catalog.items import Aim, Item, To
from storaged.catalog.members import Members
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.clock import Timings, timed
from storaged.codecs.base import Encoded, in_order
from storaged.codecs.pack import HELD, Member, Packed, Packer, why_not
from storaged.decide.packing import LEVEL
from storaged.errors import LeaseLost, RefusedByGuard, SourceChanged, StoragedError, VerificationFailed
from storaged.model import PACK, ItemState, Origin
from storaged.stores.base import New, Stat
from storaged.work.content import Slice
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.members import Pages
from storaged.work.rewrite.stage import (
    MEANWHILE,
    NOT_RECORDED,
    Staged,
    Tried,
    may_be_proven,
    metadata_of,
    opened,
    read_back,
    recheck,
)
from storaged.work.rewrite.trouble import may_pass, skipped

AHEAD: Final = 16 << 20  # bytes that are read ahead of what is written, with HEADERS for each member
TOGETHER: Final = 32  # objects that one thread reads one after the other
MANY: Final = 128  # the same, where reading is known to be no waiting
TOGETHER_BYTES: Final = 1 << 20  # of their content, the last one aside
TRIES: Final = 4  # such groups of objects that are read before it is known whether more threads would help
WAITS: Final = 2  # they would, where reading took so many times as long as it computed
HEADERS: Final = 4 << 10  # bytes of headers and padding that a member has at most, its name and metadata aside
ALONE: Final = "nothing is left to pack it with"


class ReadMember(NamedTuple):
    """A member that was read. Of a large one nothing is held: it is read when it is written."""

    item: Item
    metadata: Mapping[str, str]  # of the original
    data: bytes


class KeptMember(NamedTuple):
    """A member that is in the pack, as little of it as its swap needs. `to`: which of those that the pack's members
    have, by number; all numbers and texts, so that it can be folded."""

    id: int
    name: str
    version: int
    to: int
    offset: int
    before: int  # bytes of content of the members before it
    digest: str
    metadata: Mapping[str, str]  # of the original


def _kept() -> Folded[KeptMember]:
    return Folded(tuple, lambda row: KeptMember(*row))


@dataclass(frozen=True, slots=True)
class WrittenPack:
    """A proven pack, and its members: each as what waits for its swap."""

    stat: Stat
    encoded: Encoded
    attempt: str
    to: Sequence[To]
    kept: Folded[KeptMember]
    packed_bytes: int  # of content

    def __iter__(self) -> Iterator[Staged]:
        for k in self.kept:
            aim = Aim(k.id, k.version, self.attempt, self.to[k.to])
            yield Staged(
                aim,
                PACK,
                self.stat,
                self.encoded,
                k.metadata,
                k.digest,
                offset=k.offset,
                packed_before=k.before,
                packed_bytes=max(self.packed_bytes, 1),
            )


Met = Callable[[Item, StoragedError], ItemOutcome]
One = tuple[Item, ReadMember | ItemOutcome]
Put = tuple[Mapping[str, str], Packed]  # the metadata of its original, and where it is


class Packing:
    """One attempt at the pack of a claimed job. `readers` reads ahead, `frames` compresses. `done` is told of each
    member that is in it so far, `dropped` what became of each that is not."""

    def __init__(
        self,
        context: Context,
        claimed: ClaimedJob,
        packs: OpenPacks,
        timings: Timings,
        *,
        readers: Executor,
        frames: Executor,
        tried: Tried,
        met: Met,
        alive: Callable[[], bool],
        done: Callable[[Item], None],
        dropped: Callable[[Item | None, ItemOutcome], None],
    ) -> None:
        """`packs`: that its members are in so far."""
        self.context, self.claimed, self.packs, self.timings = context, claimed, packs, timings
        self.readers, self.frames = readers, frames
        self.tried, self.met, self.alive = tried, met, alive
        self.done, self.dropped = done, dropped
        self._under_way: dict[int, Item] = {}  # neither in it nor dropped yet
        self._kept = _kept()
        self._to: dict[To, int] = {}
        self._bytes = 0  # of content

    def stage(self, pages: Pages, of: Members) -> WrittenPack | None:
        """Write the pack from its members' current places and prove it. Changes nothing in the catalog. None: nothing
        came of it. Raises LeaseLost, and what reading the catalog raises."""
        try:
            with self.timings.recording("compress"):
                return self._write(pages, of)
        except LeaseLost:
            raise
        except StoragedError as error:  # no member of it is to blame
            if error is pages.error:
                raise
            state = ItemState.SKIPPED if isinstance(error, RefusedByGuard) else ItemState.FAILED
            again, kind = may_pass(error), type(error).__name__
            under_way = ((i.seen.id, i.seen.placement.name) for i in self._under_way.values())
            for number, name in chain(((k.id, k.name) for k in self._kept), under_way, pages.rest()):
                self.dropped(None, ItemOutcome(number, name, state, error.message, again=again, error=kind))
            return None

    def _write(self, pages: Pages, of: Members) -> WrittenPack | None:
        store, name = self.context.tier(of.to.tier), str(self.claimed.pack)
        may_be_proven(store, name)
        now_us, level = self.context.now_us(), of.to.codec.level
        identity = self.context.identity.catalog
        origin = Origin(identity, of.attempt, self.claimed.dataset, name, 0, "", mtime_us=now_us)
        with contextlib.ExitStack() as stack:
            with timed("write"):
                new = New(of.attempt, mtime_us=now_us, size=_at_most(of), origin=origin)
                upload = stack.enter_context(store.create(of.key, new))

            def write(data: bytes) -> None:
                with timed("write"):
                    upload.write(data)

            level = LEVEL if level is None else level
            packer = stack.enter_context(Packer(write, level=level, origin=origin, executor=self.frames))
            for item, read in self._ahead(self._fit(pages)):
                if not self.alive():
                    raise LeaseLost("the lease was lost while a pack was written")
                put = read if isinstance(read, ItemOutcome) else self._put(packer, read)
                del self._under_way[item.seen.id]
                if isinstance(put, ItemOutcome):
                    self.dropped(item, put)
                else:
                    self._keep(item, *put)
            if len(self._kept) < 2:
                for k in self._kept:
                    self.dropped(None, ItemOutcome(k.id, k.name, ItemState.SKIPPED, ALONE))
                return None
            encoded = packer.finish()
            with timed("write"):
                stat = upload.commit(encoded.origin)
            proven = upload.proven
        if not proven:
            read_back(store, of.key, stat, encoded)
        return WrittenPack(stat, encoded, of.attempt, list(self._to), self._kept, self._bytes)

    def _keep(self, item: Item, metadata: Mapping[str, str], packed: Packed) -> None:
        seen, to = item.seen, self._to.setdefault(item.to, len(self._to))
        place = (packed.offset, self._bytes, packed.digest)
        self._kept.add(KeptMember(seen.id, seen.placement.name, seen.version, to, *place, dict(metadata)))
        self._bytes += packed.length
        self.done(item)

    def _fit(self, members: Iterable[Item]) -> Iterator[Item]:
        """Those that a tar gives back under their names."""
        for item in members:
            if why := why_not(_member(item, item.seen.placement.metadata)):
                self.dropped(item, skipped(item, f"it {why}: it is not packed"))
            else:
                self._under_way[item.seen.id] = item
                yield item

    # -- reading -----------------------------------------------------------------------------------------------------

    def _ahead(self, members: Iterable[Item]) -> Iterator[One]:
        """Members in their order. Small ones are read ahead on many threads, where reading is mostly waiting: threads
        that compute hinder each other. A large one is opened when its turn comes."""
        waiting: deque[tuple[Future[list[One]], int]] = deque()
        ahead, tries = 0, _Tries()
        try:
            for group in _groups(members, lambda: tries.together):
                size = sum(i.seen.placement.size + HEADERS for i in group)
                if group[0].seen.placement.size <= HELD and not tries.waits:
                    with tries.reading(len(group)):
                        found = self._read_here(group)
                    yield from found
                    continue
                while waiting and ahead + size > AHEAD:  # all of them, before a large one
                    ahead -= waiting[0][1]
                    yield from self._waited(waiting.popleft()[0])
                if group[0].seen.placement.size > HELD:
                    yield group[0], ReadMember(group[0], group[0].seen.placement.metadata, b"")
                else:
                    waiting.append((self.readers.submit(self._read_all, group), size))
                    ahead += size
            while waiting:
                yield from self._waited(waiting.popleft()[0])
        finally:
            for future, _ in waiting:
                future.cancel()

    def _waited(self, future: Future[list[One]]) -> list[One]:
        with timed("read"):
            return future.result()

    def _read_here(self, group: Sequence[Item]) -> list[One]:
        try:
            with timed("read"), self.context.root(self.claimed.dataset).near():
                return [(item, self.tried(item, partial(self._read, item))) for item in group]
        except StoragedError as error:  # of what leads to them: nothing of it counts
            return [(item, self.met(item, error)) for item in group]

    def _read_all(self, group: Sequence[Item]) -> list[One]:
        with self.timings.recording("read"):
            return self._read_here(group)

    def _read(self, item: Item) -> ReadMember:
        """Raises SourceChanged, ObjectNotFound, RefusedByGuard, StoreError."""
        seen = item.seen
        with opened(self.context, item, self.packs) as source:
            metadata = metadata_of(self.context, item, source)
            data = b"".join(in_order(source))
            identity = source.identity
        with timed("re-check"):
            recheck(self.context, seen, identity)
        return ReadMember(item, metadata, data)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _put(self, packer: Packer, read: ReadMember) -> Put | ItemOutcome:
        """Write a member, or say what became of it. Raises what writing raises: that is of the whole pack."""
        item = read.item
        if item.seen.placement.size > HELD:
            return self._stream(packer, item)
        return self._judged(read, packer.put(_member(item, read.metadata), read.data))

    def _stream(self, packer: Packer, item: Item) -> Put | ItemOutcome:
        """A large member, which is written while it is read."""
        source = self.tried(item, partial(opened, self.context, item, self.packs))
        if isinstance(source, ItemOutcome):
            return source
        with source:
            try:
                metadata = metadata_of(self.context, item, source)
            except StoragedError as error:
                return self.met(item, error)
            watched = _Watched(source, lambda: recheck(self.context, item.seen, source.identity))
            try:
                packed = packer.add(_member(item, metadata), watched, still=watched.still)
            except StoragedError as error:
                if error is not watched.error:
                    raise
                return self.met(item, error)
        return self._judged(ReadMember(item, metadata, b""), packed)

    def _judged(self, read: ReadMember, packed: Packed) -> Put | ItemOutcome:
        if packed.kept:
            return read.metadata, packed
        name = read.item.seen.placement.name
        if packed.short:
            return self.met(read.item, SourceChanged(f"{name} {MEANWHILE}", key=name))
        return self.met(read.item, VerificationFailed(f"{name}: {NOT_RECORDED}"))


class _Tries:
    """Whether reading is mostly waiting, so that other threads may read meanwhile, by what was read so far. A thread
    that is kept from computing by others does not wait: it gives nothing up by itself."""

    def __init__(self) -> None:
        self._number, self._objects, self._gave_up, self._wall_ns, self._cpu_ns = 0, 0, 0, 0, 0

    @property
    def waits(self) -> bool:
        if self._number < TRIES:
            return False
        return self._wall_ns > WAITS * self._cpu_ns and WAITS * self._gave_up > self._objects

    @property
    def together(self) -> int:
        """How many objects are read one after the other next: the more, the less often is the way to them walked."""
        return TOGETHER if self._number < TRIES or self.waits else MANY

    @contextlib.contextmanager
    def reading(self, objects: int) -> Iterator[None]:
        """So many objects are read within, one after the other."""
        wall_ns, cpu_ns, gave_up = time.perf_counter_ns(), time.thread_time_ns(), _gave_up()
        yield
        self._wall_ns += time.perf_counter_ns() - wall_ns
        self._cpu_ns += time.thread_time_ns() - cpu_ns
        self._gave_up += _gave_up() - gave_up
        self._number += 1
        self._objects += objects


def _gave_up() -> int:
    """How often this thread gave its processor up by itself."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


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
    p = item.seen.placement
    return Member(p.name, p.size, p.mtime_us, p.generation, p.digest, metadata)


def _at_most(of: Members) -> int:
    """Bytes that a pack of these has at most."""
    return of.bytes + of.bytes // 50 + 4 * of.text + of.objects * HEADERS


def _groups(members: Iterable[Item], most: Callable[[], int]) -> Iterator[list[Item]]:
    """Neighbours that one thread reads, so many at most; a large one by itself."""
    group: list[Item] = []
    size = 0
    for item in members:
        length = item.seen.placement.size
        if group and (len(group) >= most() or size >= TOGETHER_BYTES or length > HELD):
            yield group
            group, size = [], 0
        group.append(item)
        size += length
        if length > HELD:
            yield group
            group, size = [], 0
    if group:
        yield group
