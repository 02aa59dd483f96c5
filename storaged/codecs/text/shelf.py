"""What the first reading of a text took apart, held for the second one as far as there is room."""

from __future__ import annotations

import threading
from typing import Final, Generic, TypeVar

import xxhash

ROOM: Final = 64 * 1024 * 1024  # bytes that are held, at most, unless a form takes more

T = TypeVar("T")


class Shelf(Generic[T]):
    """Blocks of a text that were taken apart, each of which is taken out once. Thread-safe."""

    def __init__(self, room: int = ROOM) -> None:
        self._blocks: dict[int, T] = {}
        self._room = room
        self._lock = threading.Lock()

    def put(self, text: bytes, block: T, size: int) -> None:
        """Hold a block that takes so many bytes, where there is room for it."""
        if size <= self._room:
            self._room -= size
            self._blocks[xxhash.xxh3_64_intdigest(text)] = block

    def take(self, text: bytes) -> T | None:
        """The block of this text; None where it is not held. What is made of it is compared with the text, so that it
        need not be told more surely than by its digest."""
        with self._lock:
            return self._blocks.pop(xxhash.xxh3_64_intdigest(text), None)
