"""The zstd codec: stock `zstd -d` reads its blobs, and a range costs only the frames that cover it."""

from __future__ import annotations

import dataclasses
import os
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol

import zstandard

from storaged.codecs import sample, seekable
from storaged.codecs.base import Content, Encoded, Sample, check_level, in_order
from storaged.codecs.line import Line
from storaged.codecs.sample import GZIP
from storaged.codecs.seekable import FRAME, NOTES_BYTES, Output, SeekTable, note
from storaged.digest import Digest
from storaged.errors import VerificationFailed
from storaged.model import IDENTITY, CodecSpec, Origin
from storaged.stores.base import Reader

GAP: Final = 64 << 10  # stored bytes that nobody expects, which are fetched along rather than asked around
KEPT: Final = 8  # decoded frames that an open blob keeps, and that one read of the store fetches at most


class Zstd:
    """Seekable zstd (format: `seekable`), levels 1 to 19. Level None: chosen by a sample of the content."""

    name = "zstd"
    levels = range(1, 20)
    after = IDENTITY
    table = ""
    block = FRAME

    def suffix(self, name: str) -> str:
        return ".zst"

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """From 1 MiB at most, in up to eight slices. What is inside a gzip file is `inflated`'s."""
        found = sample.gain(source, level=level)
        if found.recognised != GZIP:
            return found
        return dataclasses.replace(found, reason="it is a gzip file", instead=CodecSpec("inflated", level))

    def at_most(self, size: int) -> int:
        """Incompressible frames grow by less than one percent, their entries in the seek table included; two more
        frames say what the blob is."""
        return size + size // 100 + NOTES_BYTES

    def encode(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Compress in order, the frames in parallel on `executor` (at most 16 at a time, about 3 MiB each), and hand
        them to the sink in order. The sink sees no frame that was not decoded and compared with what went in.

        Not to be called from a task of the same executor, since it waits for tasks of its own. Raises
        VerificationFailed if a frame does not decode to what went in, UsageError if the spec's level is none of ours.
        """
        check_level(self, spec.level)
        level = sample.choose_level(source) if spec.level is None else spec.level

        content = Digest()

        def digested() -> Iterator[bytes]:
            for piece in in_order(source):
                content.update(piece)
                yield piece

        output = Output(sink)
        for size, compressed in frames(digested(), level, executor):
            output.write(compressed, size)
        known = dataclasses.replace(origin, size=output.content_size, digest=content.hexdigest())
        written = {k: v for k, v in origin.told().items() if k not in ("size", "digest")}
        output.write(note("origin", written))
        output.write(note("content", {"attempt": known.attempt, "size": known.size, "xxh3_128": known.digest}))
        return output.encoded(known, index=output.finish())

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """A view that decodes only the frames that a range needs. Without an index, the blob's end is read first.

        Raises VerificationFailed if the seek table is damaged or is not this blob's.
        """
        if index:
            return Frames(reader, SeekTable.parse(index, reader.stat.size, reader.stat.key))
        return Frames(reader, seekable.read_table(reader))

    def describe(self, reader: Reader) -> Origin | None:
        """The origin as encoded, with size and digest; None for a blob that is not ours.

        Raises VerificationFailed for one that is ours and damaged.
        """
        notes = seekable.read_notes(reader)
        if notes is None:
            return None
        origin, content = notes
        return Origin(**origin, size=content["size"], digest=content["xxh3_128"])


class _PerThread(threading.local):
    """zstd contexts; they are not thread-safe and costly to make."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self.compressors:
            self.compressors[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
        return self.compressors[level]


_per_thread = _PerThread()


def _compress(frame: bytes, level: int) -> bytes:
    """One proven frame. A module function, so that any executor can carry it."""
    compressed = _per_thread.compressor(level).compress(frame)
    decoder = _per_thread.decompressor.decompressobj()  # two thirds of the time that decompressing at once takes
    try:
        proven = decoder.decompress(compressed) == frame and decoder.eof and not decoder.unused_data
    except zstandard.ZstdError:
        proven = False
    if not proven:
        raise VerificationFailed(
            "a compressed frame does not decode to what went in; nothing was changed",
            hint="test this machine's memory and processor",
        )
    return compressed


def decompress(compressed: bytes, size: int) -> bytes:
    """One frame of exactly `size` bytes of content. Raises ZstdError."""
    stated = zstandard.frame_content_size(compressed)  # looked at first: it decides how much memory is taken
    if stated != size:
        raise zstandard.ZstdError(f"it states {stated} bytes of content, the seek table {size}")
    return _per_thread.decompressor.decompress(compressed, allow_extra_data=False)


def regroup(chunks: Iterable[bytes], size: int = FRAME) -> Iterator[bytes]:
    """The stream in pieces of so many bytes, the last one shorter; one empty piece of an empty stream. Chunks of that
    size are passed on uncopied."""
    empty = True
    parts: list[bytes] = []
    room = size
    for chunk in chunks:
        start = 0
        while len(chunk) - start >= room:
            parts.append(chunk[start : start + room])
            yield b"".join(parts)
            empty = False
            start += room
            parts, room = [], size
        if start < len(chunk):
            parts.append(chunk[start:])
            room -= len(chunk) - start
    if parts or empty:
        yield b"".join(parts)


def frames(content: Iterable[bytes], level: int, executor: Executor | None) -> Iterator[tuple[int, bytes]]:
    """Content size and compressed bytes of each frame of some content, proven. Raises VerificationFailed."""
    return _in_order(regroup(content), level, executor)


def _in_order(frames: Iterable[bytes], level: int, executor: Executor | None) -> Iterator[tuple[int, bytes]]:
    """Content size and compressed bytes of each frame."""
    if executor is None:
        yield from (_sized(frame, level) for frame in frames)
        return
    line = InOrder(level, executor)
    try:
        for frame in frames:
            yield from line.put(frame)
        yield from line.rest()
    finally:
        line.cancel()


class InOrder:
    """Frames that are compressed and proven, on an executor if there is one, and come out as they went in: content size
    and compressed bytes of each."""

    def __init__(self, level: int, executor: Executor | None) -> None:
        self._level = level
        self._line = Line[tuple[int, bytes]](executor)

    def put(self, frame: bytes) -> Iterator[tuple[int, bytes]]:
        """One more; what is done by then. Raises VerificationFailed."""
        return self._line.put(partial(_sized, frame, self._level))

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """Those that are left. Raises VerificationFailed."""
        return self._line.rest()

    def cancel(self) -> None:
        """Nobody waits for what has not begun."""
        self._line.cancel()


def _sized(frame: bytes, level: int) -> tuple[int, bytes]:
    return len(frame), _compress(frame, level)


class Where(Protocol):
    """Where the frames of content are."""

    @property
    def starts(self) -> array[int]:
        """Offset in the blob of each, then the end of the last."""
        ...

    @property
    def size(self) -> int:
        """Of the content."""
        ...

    def number(self, offset: int) -> int:
        """Which frame holds the content at an offset."""
        ...

    def begins(self, number: int) -> int:
        """The offset in the content at which a frame begins; behind the last one, its end."""
        ...


class Frames:
    """Random access to the content of a blob. Of its frames `kept` are held once they are decoded. One read of the
    store fetches as many at most; of frames that are fetched because they are expected, half as many.

    With `runs` what is read in order is read ahead: as many frames as lie right in front of the one that is needed and
    are held, a quarter of `kept` at most. So less is fetched in vain than was read.

    A frame that a thread is fetching is waited for by others, and not fetched twice.
    """

    def __init__(self, reader: Reader, table: Where, *, kept: int = KEPT, runs: bool = False) -> None:
        self._reader = reader
        self._table = table
        self._kept = kept
        self._ahead = kept // 4 if runs else 0
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()  # least recently used first
        self._held = 0  # bytes in it
        self._coming: dict[int, _Fetch] = {}
        self._expected: set[int] = set()

    @property
    def size(self) -> int:
        return self._table.size

    def expect(self, spans: Iterable[tuple[int, int]]) -> None:
        """The content from `low` to `high` of each span will be read soon: what lies behind a frame that must be
        fetched, at most 64 KiB apart, is fetched along."""
        table = self._table
        numbers = {n for low, high in spans if low < high for n in range(table.number(low), table.number(high - 1) + 1)}
        with self._lock:
            self._expected |= numbers

    def expect_nothing(self) -> None:
        """What was expected will not be read."""
        with self._lock:
            self._expected.clear()

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = self._table.number(offset), self._table.number(end - 1)
        pieces = [memoryview(frame) for frame in self._frames(first, last)]  # slices of them copy nothing
        pieces[-1] = pieces[-1][: end - self._table.begins(last)]
        pieces[0] = pieces[0][offset - self._table.begins(first) :]
        return b"".join(pieces)

    def _frames(self, first: int, last: int) -> list[bytes]:
        """The content of frames `first` to `last`."""
        frames: list[bytes] = []
        while (number := first + len(frames)) <= last:
            frames += self._some(number, last)
        return frames

    def _some(self, number: int, last: int) -> list[bytes]:
        """The content of some frames from `number` on, none behind `last`; none at all where another thread's fetch of
        them came to nothing."""
        with self._lock:
            held = self._cache.get(number)
            if held is not None:
                self._cache.move_to_end(number)
                return [held]
            fetch = self._coming.get(number)
            others = fetch is not None and fetch.pid == os.getpid()  # a parent's threads are not in its child
            if fetch is None or not others:
                needed, stop = self._reach(number, last)
                fetch = _Fetch(os.getpid())
                self._coming.update(dict.fromkeys(range(number, stop), fetch))
                self._expected.difference_update(range(number, stop))
        if others:
            fetch.over.wait()
            return [fetch.frames[number]] if number in fetch.frames else []
        try:
            found = self._fetch(number, needed, stop)
            fetch.frames.update(enumerate(found, number))
        finally:
            with self._lock:
                self._cache.update(fetch.frames)
                self._held += sum(map(len, fetch.frames.values()))
                while self._is_full():
                    self._held -= len(self._cache.popitem(last=False)[1])
                for n in range(number, stop):
                    del self._coming[n]
            fetch.over.set()
        return found[: needed - number]

    def _reach(self, number: int, last: int) -> tuple[int, int]:
        """Where the frames end that are needed, and where those end that are fetched with them."""

        def free(n: int) -> bool:
            return n not in self._cache and n not in self._coming

        bound = min(last + 1, self._at_once(number))
        needed = next((n for n in range(number + 1, bound) if not free(n)), bound)
        before = next((k for k in range(self._ahead) if number == k or free(number - 1 - k)), self._ahead)
        stop, starts = needed, self._table.starts
        for n in range(needed, min(number + self._kept // 2, len(starts) - 1)):
            if not free(n) or starts[n] - starts[stop] > GAP:
                break
            if n in self._expected or n < needed + before:
                stop = n + 1
        return needed, stop

    def _at_once(self, number: int) -> int:
        """Where those frames end that one read of the store fetches at most, of which this is the first."""
        return number + self._kept

    def _is_full(self) -> bool:
        """Whether too much is held."""
        return len(self._cache) > self._kept

    def _fetch(self, first: int, needed: int, stop: int) -> list[bytes]:
        """Read and decode frames `first` to `stop` - 1: of those from `needed` on as many as come, since damage of them
        is none of who reads."""
        starts = self._table.starts
        base, length = starts[first], starts[stop] - starts[first]
        stored = self._reader.read_at(base, length)
        frames: list[bytes] = []
        for number in range(first, stop):
            try:
                frames.append(self._whole(number, stored[starts[number] - base : starts[number + 1] - base]))
            except VerificationFailed:
                if number < needed:
                    raise
                break
        return frames

    def _whole(self, number: int, compressed: bytes) -> bytes:
        """Raises VerificationFailed."""
        starts, key = self._table.starts, self._reader.stat.key
        if len(compressed) != starts[number + 1] - starts[number]:
            at = starts[number] + len(compressed)
            raise VerificationFailed(f"{key}: it ends at byte {at}, before its seek table")
        try:
            return self._decoded(number, compressed)
        except zstandard.ZstdError as error:
            where = f"frame {number + 1} of {len(starts) - 1}, at byte {starts[number]},"
            raise VerificationFailed(f"{key}: {where} does not decode: {error}") from error

    def _decoded(self, number: int, compressed: bytes) -> bytes:
        """The content of a frame. Raises ZstdError."""
        return decompress(compressed, self._table.begins(number + 1) - self._table.begins(number))


class _Fetch:
    """Frames on their way, and those that came."""

    def __init__(self, pid: int) -> None:
        self.pid = pid  # of the process that fetches them
        self.over = threading.Event()
        self.frames: dict[int, bytes] = {}
