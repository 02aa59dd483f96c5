"""One way to read an object's content, wherever it is: open the stored thing, decode, slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from storaged.catalog.placements import Held
from storaged.codecs.base import Content
from storaged.codecs.registry import codec
from storaged.model import IDENTITY, RawState, Replica
from storaged.stores.base import Reader
from storaged.work.context import Context

PIECE: Final = 4 << 20  # bytes read at once when streaming


@dataclass(frozen=True, slots=True)
class Slice:
    """An object's content: a slice of a blob's decoded content. Thread-safe; close it when done."""

    reader: Reader
    content: Content
    offset: int
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of the object's content from `offset`."""
        wanted = max(0, min(length, self.size - offset))
        return self.content.read_at(self.offset + offset, wanted) if wanted else b""

    def chunks(self, piece: int = PIECE) -> Iterator[bytes]:
        """The whole content in order."""
        at = 0
        while data := self.read_at(at, piece):
            yield data
            at += len(data)

    def close(self) -> None:
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_current(context: Context, held: Held) -> Slice:
    """The object's content at its current place, pinned to the identity that the catalog holds for this generation.

    Raises SourceChanged if the stored thing is another one, ObjectNotFound if it is gone, ObjectCold if it must be
    warmed first.
    """
    p = held.placement
    current = p.current
    if current is None:
        reader = context.root(p.dataset).open(p.name, identity=p.raw.identity)
        return Slice(reader, codec(IDENTITY.name).open(reader), 0, reader.stat.size)
    return open_replica(context, held, current)


def open_replica(context: Context, held: Held, replica: Replica) -> Slice:
    """What is in one of the object's replicas. Raises as `open_current` does."""
    blob = held.blobs[replica.blob]
    reader = context.tier(str(blob.tier)).open(blob.key, identity=blob.identity)
    return Slice(reader, codec(blob.codec).open(reader, index=blob.index), replica.offset, replica.length)


def source_identity(held: Held) -> str:
    """The identity that the catalog holds for the object's current place."""
    p = held.placement
    return (
        p.raw.identity if p.raw.state is RawState.CURRENT else held.blobs[p.current.blob].identity if p.current else ""
    )
