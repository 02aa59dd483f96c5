"""The members of a pack, read ahead of what is written: small ones together, as their store gives many for less."""

from __future__ import annotations

import contextlib
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Final, NamedTuple

from storaged.catalog.items import Item
from storaged.catalog.queue import ItemOutcome
from storaged.clock import Timings, timed
from storaged.codecs.base import in_order
from storaged.codecs.pack import HELD
from storaged.errors import StoragedError
from storaged.model import RawState
from storaged.stores.base import Had, Store, Wanted
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.stage import Tried, metadata_of, opened, recheck, restorable

AHEAD: Final = 16 << 20  # bytes that are read ahead of what is written, with HEADERS for each member
TOGETHER: Final = 32  # objects that one thread reads one after the other
MANY: Final = 128  # the same, where reading is known to be no waiting
TOGETHER_BYTES: Final = 1 << 20  # of their content, the last one aside
TRIES: Final = 4  # such groups of objects that are read before it is known whether more threads would help
WAITS: Final = 2  # they would, where reading took so many times as long as it computed
HEADERS: Final = 4 << 10  # bytes of headers and padding that a member has at most, its name and metadata aside

Met = Callable[[Item, StoragedError], ItemOutcome]


class ReadMember(NamedTuple):
    """A member that was read. Of a large one nothing is held: it is read when it is written."""

    item: Item
    metadata: Mapping[str, str]  # of the original
    data: bytes


One = tuple[Item, ReadMember | ItemOutcome]


class ReadAhead:
    """Reads for one attempt at a pack. `threads` read side by side where that helps."""

    def __init__(
        self,
        context: Context,
        dataset: str,
        packs: OpenPacks,
        timings: Timings,
        *,
        threads: Executor,
        tried: Tried,
        met: Met,
        alive: Callable[[], bool],
    ) -> None:
        """`packs`: that its members are in so far."""
        self._context, self._dataset, self._packs, self._timings = context, dataset, packs, timings
        self._readers, self._tried, self._met, self._alive = threads, tried, met, alive

    def read(self, members: Iterable[Item]) -> Iterator[One]:
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
                    waiting.append((self._readers.submit(self._read_all, group), size))
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
            with timed("read"), self._context.root(self._dataset).near():
                return self._read_together(group)
        except StoragedError as error:  # of what leads to them: nothing of it counts
            return [(item, self._met(item, error)) for item in group]

    def _read_all(self, group: Sequence[Item]) -> list[One]:
        with self._timings.recording("read"):
            return self._read_here(group)

    def _read_together(self, group: Sequence[Item]) -> list[One]:
        """Originals that are had together, and each of the others by itself."""
        root = self._context.root(self._dataset)
        wanted = [
            Wanted(p.name, p.raw.identity, p.size)
            for i in group
            if (p := i.seen.placement).raw.state is RawState.CURRENT and not i.seen.locks
        ]
        had = root.contents(wanted) if len(wanted) > 1 and self._alive() else {}
        with timed("re-check"):
            now = root.identities(list(had)) if had else {}
        found: list[One] = []
        for item in group:
            name = item.seen.placement.name
            if (one := had.get(name)) is not None:
                try:
                    found.append((item, self._had(root, item, one, now.get(name, ""))))
                except StoragedError as error:
                    found.append((item, self._met(item, error)))
            else:
                found.append((item, self._tried(item, partial(self._read, item))))
        return found

    def _had(self, root: Store, item: Item, had: Had, now: str) -> ReadMember:
        """`now`: the identity that it has after its last byte was read, where that is known. Raises SourceChanged,
        ObjectNotFound, RefusedByGuard, StoreError."""
        seen = item.seen
        metadata = restorable(root, item, had.metadata)
        recheck(self._context, seen, seen.placement.raw.identity, now)
        return ReadMember(item, metadata, had.data)

    def _read(self, item: Item) -> ReadMember:
        """Raises SourceChanged, ObjectNotFound, RefusedByGuard, StoreError."""
        seen = item.seen
        with opened(self._context, item, self._packs) as source:
            metadata = metadata_of(self._context, item, source)
            data = b"".join(in_order(source))
            identity = source.identity
        with timed("re-check"):
            recheck(self._context, seen, identity)
        return ReadMember(item, metadata, data)


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


def _groups(members: Iterable[Item], most: Callable[[], int]) -> Iterator[list[Item]]:
    """Neighbours that one thread reads, so many at most; a large one by itself."""
    group: list[Item] = []
    begun, before = (0, 0), 0
    for number, item in enumerate(members):
        length = item.seen.placement.size
        here = number // most(), before // TOGETHER_BYTES  # plans count by the same: storaged.decide.packreads
        if group and (here != begun or length > HELD):
            yield group
            group = []
        group.append(item)
        begun = here
        before += length
    if group:
        yield group
