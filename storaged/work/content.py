"""One way to read an object's content, wherever it is: open the stored thing, decode, slice.

A blob is opened under the identity that was proven when it was written. Where the store tells another one by now (its
disk was copied, its mode changed, a server was restarted), what is there is read once and compared with the digest of
all bytes that were stored: what proves right is the blob, and is read under the identity it has now.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from storaged.catalog.placements import Seen
from storaged.codecs.base import PIECE, Content, in_order
from storaged.codecs.registry import form
from storaged.digest import Digest
from storaged.errors import ObjectNotFound, SourceChanged, VerificationFailed
from storaged.model import IDENTITY, Blob, Raw, Replica
from storaged.placement import fallback
from storaged.stores.base import Reader
from storaged.stores.checksums import algorithm_of, new_sum
from storaged.stores.copies import CopySource
from storaged.work.context import Context
from storaged.work.location import Location, current, of_blob


@dataclass(frozen=True, slots=True)
class Slice:
    """An object's content: a slice of a blob's decoded content. Thread-safe; close it when done."""

    reader: Reader
    content: Content
    offset: int
    size: int
    plain: bool = False  # what is stored is content as it is

    @property
    def identity(self) -> str:
        """What the stored thing was opened under."""
        return self.reader.stat.identity

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of the object's content from `offset`."""
        wanted = max(0, min(length, self.size - offset))
        return self.content.read_at(self.offset + offset, wanted) if wanted else b""

    @property
    def copy_source(self) -> CopySource | None:
        """Of the stored thing, where that is the content and nothing else."""
        whole = self.plain and (self.offset, self.size) == (0, self.reader.stat.size)
        return self.reader.copy_source if whole else None

    def settle(self) -> None:
        """Once all of it was read for what is recorded. Raises VerificationFailed, see `summed`."""
        if isinstance(self.content, Summed):
            self.content.settle()

    def chunks(self) -> Iterator[bytes]:
        """The whole content in order."""
        return in_order(self)

    def close(self) -> None:
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Summed:
    """Content that has no digest, and of which its store told a checksum when it copied it: nobody of ours has read it
    yet. It is summed as it is read in order, again and again or in bits. Thread-safe."""

    def __init__(self, content: Content, told: str, key: str) -> None:
        self.size = content.size
        self._content, self._told, self._key = content, told, key
        self._lock = threading.Lock()
        self._sum, self._at = new_sum(algorithm_of(told)), 0

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises VerificationFailed with its last byte, if all of it was read in order."""
        data = self._content.read_at(offset, length)
        with self._lock:
            if offset <= self._at < offset + len(data):
                self._sum.update(memoryview(data)[self._at - offset :])
                self._at = offset + len(data)
                if self._at == self.size:
                    self._compare()
        return data

    def settle(self) -> None:
        """Read what was not read in order. Raises VerificationFailed where it is not what its store copied."""
        while self._at < self.size and self.read_at(self._at, PIECE):
            pass
        with self._lock:
            self._compare()

    def _compare(self) -> None:
        found = f"{algorithm_of(self._told)}:{self._sum.text()}"
        if found != self._told:
            raise VerificationFailed(f"{self._key}: its bytes have checksum {found} instead of {self._told}")


def summed(seen: Seen, source: Slice) -> Slice:
    """The same, compared with what its store said of it when it copied it, where nobody has read it since. For whoever
    records what it reads."""
    replica = seen.placement.current
    known = seen.blobs[replica.blob] if replica is not None and not seen.placement.digest else None
    if known is None or not algorithm_of(known.digest) or (source.offset, source.size) != (0, known.size):
        return source
    return replace(source, content=Summed(source.content, known.digest, known.key))


def known_digest(seen: Seen, place: Raw | Replica) -> str:
    """Of the content at a place of this generation: its digest, else its store's checksum of a copy that it made of the
    same content. Empty: not known."""
    p = seen.placement
    if found := p.digest_of(place):
        return found
    same = [r for r in p.replicas if (r.generation, r.edition) == (p.generation, place.edition)]
    copies = [seen.blobs[r.blob].digest for r in same if seen.blobs[r.blob].codec == IDENTITY.name]
    return next((digest for digest in copies if algorithm_of(digest)), "")


def open_current(context: Context, seen: Seen) -> Slice:
    """The object's content at its current place, pinned to the identity that the catalog holds for this generation.

    Raises SourceChanged if the stored thing is another one, ObjectNotFound if it is gone, ObjectCold if it must be
    warmed first.
    """
    replica = seen.placement.current
    if replica is not None:
        return open_replica(context, seen, replica)
    here = current(seen)
    try:
        return original(context.store(here.place).open(here.key, identity=here.identity))
    except ObjectNotFound:
        kept = fallback(seen.placement)
        if kept is None or kept.edition != seen.placement.edition:
            raise
        return open_replica(context, seen, kept)


def original(reader: Reader) -> Slice:
    """The content of an original that was opened."""
    return Slice(reader, form(IDENTITY.name).open(reader), 0, reader.stat.size, plain=True)


def open_replica(context: Context, seen: Seen, replica: Replica) -> Slice:
    """What is in one of the object's replicas. Raises as `open_current` does."""
    blob = seen.blobs[replica.blob]
    reader = open_blob(context, blob)
    content, plain = form(blob.codec).open(reader, index=blob.index), blob.codec == IDENTITY.name
    return Slice(reader, content, replica.offset, replica.length, plain)


def open_blob(context: Context, blob: Blob) -> Reader:
    """The stored bytes of a blob. Raises SourceChanged where what is at its key is another thing, ObjectNotFound,
    ObjectCold."""
    store = context.store(of_blob(blob).place)
    try:
        return store.open(blob.key, identity=context.proven.get(blob.id, blob.identity))
    except SourceChanged:
        return store.open(blob.key, identity=prove(context, blob))


def open_unproven(context: Context, blob: Blob) -> Reader:
    """What is at a blob's key now, for whoever compares each object in it with a digest of its own. Raises
    SourceChanged where it has another size, ObjectNotFound, ObjectCold."""
    reader = context.store(of_blob(blob).place).open(blob.key)
    if reader.stat.size != blob.size:
        reader.close()
        raise SourceChanged(f"{blob.key}: it has {reader.stat.size} bytes instead of {blob.size}", key=blob.key)
    return reader


def prove(context: Context, blob: Blob) -> str:
    """The identity that a blob has now. Reads all of it, unless it was proven under that identity before.

    Raises SourceChanged where what is at its key is not the blob: another size, another digest, or what it says of
    itself is of another attempt. ObjectNotFound, ObjectCold as `open` does.
    """
    store = context.store(of_blob(blob).place)
    with store.open(blob.key) as reader:
        now = reader.stat.identity
        if now in (blob.identity, context.proven.get(blob.id)):
            return now
        if reader.stat.size != blob.size:
            raise SourceChanged(f"{blob.key}: it has {reader.stat.size} bytes instead of {blob.size}", key=blob.key)
        try:
            told = store.origin(blob.key) or form(blob.codec).describe(reader)
        except VerificationFailed as error:
            raise SourceChanged(f"{blob.key}: {error.message}", key=blob.key) from error
        if told is not None and told.attempt != blob.id:
            raise SourceChanged(f"{blob.key}: it says that attempt {told.attempt} wrote it", key=blob.key)
        found = stored_digest(reader, like=blob.digest)
        if not blob.digest or found != blob.digest:
            raise SourceChanged(f"{blob.key}: its bytes have digest {found} instead of {blob.digest}", key=blob.key)
    context.proven[blob.id] = now
    return now


def identity_now(context: Context, location: Location) -> str:
    """The identity that a store tells of what is at a location; of a blob, if that is one under which it was proven,
    else what `prove` says. Raises as `prove` does."""
    now = context.store(location.place).identity(location.key)
    blob = location.blob
    if blob is None or now in (location.identity, context.proven.get(blob.id)):
        return now
    return prove(context, blob)


def is_there(context: Context, location: Location) -> bool:
    """Whether what is at a location right now is what the catalog holds: the original with its recorded identity, or
    the blob, proven anew if need be. Raises ObjectNotFound, StoreError."""
    try:
        now = identity_now(context, location)
    except SourceChanged:
        return False
    return location.blob is not None or now == location.identity


def stored_digest(reader: Reader, *, like: str = "") -> str:
    """The digest of a stored thing's bytes, or a checksum of them where `like` is a store's."""
    algorithm, at, size = algorithm_of(like), 0, reader.stat.size
    digest = new_sum(algorithm) if algorithm else Digest()
    while at < size and (data := reader.read_at(at, min(PIECE, size - at))):
        digest.update(data)
        at += len(data)
    return digest.hexdigest() if isinstance(digest, Digest) else f"{algorithm}:{digest.text()}"
