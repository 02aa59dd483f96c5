"""A pack on its way into a blob: members one after the other, in bounded memory however many there are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Final, NamedTuple, Self

import xxhash

from storaged.codecs.base import PIECE, Content, Encoded
from storaged.codecs.pack import ending
from storaged.codecs.pack.contents import Contents, row
from storaged.codecs.pack.header import END, beside, headers, padding, torn
from storaged.codecs.pack.member import Member, NotPackable, name_bytes, why_not
from storaged.codecs.seekable import Output, skippable
from storaged.codecs.zstd import InOrder, Zstd, regroup
from storaged.digest import Digest
from storaged.errors import UsageError
from storaged.model import Origin

FRAME: Final = 128 * 1024  # bytes of tar in a frame: see docs/adr/0039-packs.md for what others cost
HELD: Final = 4 * 1024 * 1024  # bytes: a member up to this size is held until it is known whether it stays
LEVEL: Final = 3  # of zstd, where nobody says another
SIZE: Final = 100 << 30  # bytes of tar: what is larger could have more frames than a reader takes

Still = Callable[[str], bool]


class Packed(NamedTuple):
    """What became of a member. One that was not `kept` is not in the table of contents: its source ended `short`, its
    digest contradicts the one that was told, or its source was not the same any more. offset and length of its data
    within the decoded tar; of one that was not kept and left no byte there, 0 and 0."""

    offset: int
    length: int
    digest: str  # of what was read: xxh3-128 hex
    short: bool = False
    kept: bool = True


class Packer:
    """Writes a pack to a sink, which sees no frame that was not decoded and compared with what went in.

    Where source or `still` raises, that member is left out and the next one may come; where the sink raises or a frame
    is not proven (VerificationFailed), nothing more can be written. Not thread-safe, and not to be used in a task of
    `executor`, on which it waits. `origin` is the pack's own. Raises UsageError for a level that zstd does not have.
    """

    def __init__(
        self, sink: Callable[[bytes], None], *, level: int, origin: Origin, executor: Executor | None = None
    ) -> None:
        if level not in Zstd.levels:
            raise UsageError(f"pack has no level {level}", hint=f"levels are {Zstd.levels[0]} to {Zstd.levels[-1]}")
        self._origin = origin
        self._output = Output(sink)
        self._line = InOrder(level, executor)
        self._contents = Contents()
        self._digest = Digest()  # of the tar
        self._size = 0  # of the tar, what waits included
        self._parts: list[bytes] = []  # members that wait until they fill a frame
        self._waiting = 0  # bytes of them
        self.members = 0  # that are listed; right once it is finished

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Frames that wait for a thread are given up, where it was not finished."""
        self._line.cancel()

    @property
    def size(self) -> int:
        """Bytes of tar so far."""
        return self._size

    @property
    def stored(self) -> int:
        """Bytes that were handed to the sink."""
        return self._output.size

    def add(self, member: Member, source: Content, *, still: Still | None = None) -> Packed:
        """Read exactly the member's size from the source and put it into the pack.

        `still` is asked once its last byte was read, with the digest of what was read: whether the source is the same
        as before. A member of at most 4 MiB is held until then: one that is not kept leaves no byte. A larger one is
        written as it is read. Where it ends short or is not kept its bytes stay, filled up with zeros; it is not
        listed, and a link under its name that leads nowhere stands behind it. Raises NotPackable, UsageError for what
        would make the pack too large, and what source and `still` raise.
        """
        if member.size > HELD:
            return self._stream(member, source, still)
        parts: list[bytes] = []
        at = 0
        while at < member.size and (piece := source.read_at(at, min(PIECE, member.size - at))):
            parts.append(piece)
            at += len(piece)
        return self.put(member, b"".join(parts), still=still)

    def put(self, member: Member, data: bytes, *, still: Still | None = None) -> Packed:
        """Put a member into the pack whose content was read already; one that is not kept leaves no byte, whatever its
        size. As `add`, and ValueError for more content than the member has."""
        size = len(data)
        if size > member.size:
            raise ValueError(f"{size} bytes of a member of {member.size}")
        name = self._checked(member)
        digest = xxhash.xxh3_128_hexdigest(data)
        if size < member.size:
            return Packed(0, 0, digest, short=True, kept=False)
        if (member.digest and digest != member.digest) or (still is not None and not still(digest)):
            return Packed(0, 0, digest, kept=False)
        told = beside(member)
        before = headers(name, member, told, digest)
        after = padding(size)
        length = len(before) + size + len(after)
        offset = self._size + len(before)
        if length > FRAME:
            self._cut((before, data, after))
        else:
            self._wait((before, data, after))
        self._contents.add(row(name, member, told, offset, digest))
        return Packed(offset, size, digest)

    def _stream(self, member: Member, source: Content, still: Still | None) -> Packed:
        """A member that is written while it is read."""
        name = self._checked(member)
        told = beside(member)
        before = headers(name, member, told, member.digest)
        offset = self._size + len(before)
        reading = _Reading(source, member.size)
        self._cut(itertools.chain((before,), reading.pieces(), (padding(member.size),)))
        kept = False
        try:
            if reading.error is not None:
                raise reading.error
            digest = reading.digest.hexdigest()
            kept = not reading.missing and member.digest in ("", digest) and (still is None or still(digest))
        finally:
            if not kept:
                self._wait((torn(name, member.mtime_us // 1_000_000),))
        if kept:
            self._contents.add(row(name, member, told, offset, digest))
        return Packed(offset, member.size, digest, short=bool(reading.missing), kept=kept)

    def _checked(self, member: Member) -> bytes:
        """The bytes of its name. Raises NotPackable for what a tar would not give back under it, UsageError for too
        much."""
        if why := why_not(member):
            raise NotPackable(member, why)
        if self._size + member.size > SIZE:
            raise UsageError(
                f"{member.name!r} would make the pack larger than {SIZE >> 30} GiB", hint="begin another one"
            )
        return name_bytes(member.name)

    def _cut(self, parts: Iterable[bytes]) -> None:
        """A member in frames of its own."""
        self._flush()
        for frame in regroup(parts, FRAME):
            self._size += len(frame)
            self._write(frame)

    def _wait(self, parts: Sequence[bytes]) -> None:
        """What lies in one frame waits until that is full."""
        length = sum(map(len, parts))
        if self._waiting + length > FRAME:
            self._flush()
        self._parts += parts
        self._waiting += length
        self._size += length

    def _flush(self) -> None:
        """What waits becomes a frame."""
        if self._parts:
            frame = b"".join(self._parts)
            self._parts, self._waiting = [], 0
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        self._digest.update(frame)
        for size, compressed in self._line.put(frame):
            self._output.write(compressed, size)

    def finish(self) -> Encoded:
        """Write the end of the tar, the table of contents and the seek table. Size and digest are those of the decoded
        tar. Raises VerificationFailed, and what the sink raises."""
        self._flush()
        self._size += len(END)
        self._write(END)
        for size, compressed in self._line.rest():
            self._output.write(compressed, size)
        self.members, chunks = self._contents.finish()
        for chunk in chunks:
            self._output.write(skippable(chunk))
        known = dataclasses.replace(self._origin, size=self._size, digest=self._digest.hexdigest())
        self._output.write(ending.written(known, self.members, len(chunks), self._output.listing()))
        table = self._output.finish()
        return Encoded(
            size=known.size,
            digest=known.digest,
            stored_size=self._output.size,
            stored_digest=self._output.digest.hexdigest(),
            index=ending.index_of(table),
            origin=known,
        )


class _Reading:
    """A source that is read in order, and filled up with zeros where it ends short or fails: the tar was told how much
    there is."""

    def __init__(self, source: Content, size: int) -> None:
        self._source, self._size = source, size
        self.digest = Digest()
        self.missing = size
        self.error: Exception | None = None

    def pieces(self) -> Iterator[bytes]:
        while self.missing and (piece := self._next()):
            self.digest.update(piece)
            self.missing -= len(piece)
            yield piece
        left = self.missing
        while left:
            zeros = bytes(min(left, FRAME))
            left -= len(zeros)
            yield zeros

    def _next(self) -> bytes:
        try:
            return self._source.read_at(self._size - self.missing, min(PIECE, self.missing))
        except Exception as error:  # noqa: BLE001 (kept, and raised once the tar is whole again)
            self.error = error
            return b""
