"""What became of the members of a pack, kept in compressed pages: a million of them take some tens of MiB."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import zstandard

from storaged.catalog.queue import ItemOutcome
from storaged.model import CodecSpec, Fidelity, ItemState

T = TypeVar("T")

PAGE: Final = 2_000  # values that are compressed together
LEVEL: Final = 1


class Folded(Generic[T]):
    """Values in the order in which they came, to be gone through as often as is wanted. `flat` tells one as what JSON
    can hold, `whole` makes it of that again."""

    def __init__(self, flat: Callable[[T], Any], whole: Callable[[Any], T]) -> None:
        self._flat, self._whole = flat, whole
        self._pages: list[bytes] = []
        self._open: list[T] = []
        self._count = 0

    def add(self, one: T) -> None:
        """One more."""
        self._open.append(one)
        self._count += 1
        if len(self._open) == PAGE:
            text = json.dumps([self._flat(each) for each in self._open], separators=(",", ":"))
            page = zstandard.ZstdCompressor(level=LEVEL).compress(text.encode())
            self._pages.append(bytes(memoryview(page)))  # a copy: the other keeps the memory of what went in
            self._open = []

    def extend(self, more: Iterable[T]) -> None:
        """All of these."""
        for one in more:
            self.add(one)

    def __iter__(self) -> Iterator[T]:
        for page in self._pages:
            yield from map(self._whole, json.loads(zstandard.ZstdDecompressor().decompress(page)))
        yield from self._open

    def __len__(self) -> int:
        return self._count


def outcomes() -> Folded[ItemOutcome]:
    """What became of each member."""
    return Folded(_flat, _whole)


def _flat(o: ItemOutcome) -> Sequence[Any]:
    to = o.instead
    spec = None if to is None else (to.name, to.level, to.fidelity.value, to.reencode)
    numbers = (o.before_bytes, o.after_bytes, o.not_before_us)
    return (o.object_id, o.name, o.state.value, o.note, o.again, *numbers, o.error, o.codec, spec)


def _whole(row: Sequence[Any]) -> ItemOutcome:
    number, name, state, *rest, told = row
    spec = None if told is None else CodecSpec(told[0], told[1], Fidelity(told[2]), told[3])
    return ItemOutcome(*(number, name, ItemState(state), *rest, spec))
