"""What a listing tells, column by column: of most objects nobody wants to know more than that they are as they were."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from operator import attrgetter
from typing import Final, NamedTuple

from storaged.model import DEFAULT_CLASS

BETWEEN: Final = "\n"  # between values that are joined to a text; where one of them has it, they are more by that text
TOGETHER: Final = 1_000  # objects

_key, _size, _identity, _mtime_us = (attrgetter(name) for name in ("key", "size", "identity", "mtime_us"))
_class, _allocated = (attrgetter(name) for name in ("storage_class", "allocated"))


class Stat(NamedTuple):  # not a dataclass: a listing makes one per object, and a frozen one takes 2.5 times as long
    """What a store says about one key. size in bytes, mtime_us in microseconds since 1970."""

    key: str
    size: int
    identity: str
    mtime_us: int
    storage_class: str = DEFAULT_CLASS
    allocated: int | None = None  # bytes that it takes, where the place bills by these and they are less than its size


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something under the store's URL that cannot be an object, and why (reported, never followed, never fatal)."""

    key: str  # printable: undecodable bytes are backslash-escaped
    reason: str


@dataclass
class Listed:
    """Some objects of a listing, one or more, that come one after the other; what each is called is told by `Stat`.
    `identities` are joined. `mtimes_us` are worked out when they are asked for."""

    keys: Sequence[str]
    sizes: Sequence[int]
    identities: str
    mtimes_us: Callable[[], Iterable[int]]
    classes: Iterable[str]
    allocated: Sequence[int | None] | None = None  # None: of each its size
    apart: Sequence[str] | None = None  # the identities, where they are known one by one

    @classmethod
    def of(cls, stats: Sequence[Stat]) -> Listed:
        """Of what is known one by one."""
        apart, allocated = [*map(_identity, stats)], [*map(_allocated, stats)]
        return cls(
            [*map(_key, stats)],
            [*map(_size, stats)],
            BETWEEN.join(apart),
            lambda: map(_mtime_us, stats),
            [*map(_class, stats)],
            None if all(one is None for one in allocated) else allocated,
            apart,
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Stat]:
        apart = self.identities.split(BETWEEN) if self.apart is None else self.apart
        taken = repeat(None) if self.allocated is None else self.allocated
        columns = zip(self.keys, self.sizes, apart, self.mtimes_us(), self.classes, taken, strict=False)
        return (tuple.__new__(Stat, values) for values in columns)  # half the time of calling it

    @cached_property
    def names(self) -> str:
        """The keys, joined."""
        return BETWEEN.join(self.keys)


class Lists(ABC):
    """`list` of a store that has things `listed`."""

    @abstractmethod
    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        """See Store."""

    def list(self, prefix: str = "", after: str = "") -> Iterator[Stat | Skipped]:
        """What is `listed`, one by one."""
        for told in self.listed(prefix, after):
            if isinstance(told, Skipped):
                yield told
            else:
                yield from told


def together(entries: Iterable[Stat | Skipped]) -> Iterator[Listed | Skipped]:
    """What is told one by one, some together."""
    entries = iter(entries)
    while some := [*islice(entries, TOGETHER)]:
        stats: list[Stat] = []
        for entry in some:
            if isinstance(entry, Stat):
                stats.append(entry)
                continue
            if stats:
                yield Listed.of(stats)
                stats = []
            yield entry
        if stats:
            yield Listed.of(stats)
