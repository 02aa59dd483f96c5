"""The zstd codec: stock `zstd -d` reads its blobs, and a range costs only the frames that cover it."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Final

import zstandard

from storaged.codecs import sample, seekable
from storaged.codecs.base import Content, Encoded, Sample, check_level, in_order
from storaged.codecs.sample import GZIP
from storaged.codecs.seekable import FRAME, NOTES_BYTES, Output, SeekTable, note
from storaged.digest import Digest
from storaged.errors import VerificationFailed
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Reader

IN_FLIGHT: Final = 16  # frames that wait for a thread or for their turn to be written
CACHED: Final = 8  # decoded frames that an open blob keeps
READ_TOGETHER: Final = 8  # frames that one read of the store fetches at most


class Zstd:
    """Seekable zstd (format: `seekable`), levels 1 to 19. Level None: chosen by a sample of the content."""

    name = "zstd"
    levels = range(1, 20)
    compresses = True
    table = ""
    block = FRAME

    def suffix(self, name: str) -> str:
        """Whatever the name."""
        return ".zst"

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """From at most three slices of 256 KiB. What is inside a gzip file is `inflated`'s."""
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
        written = {k: v for k, v in dataclasses.asdict(origin).items() if k not in ("size", "digest")}
        output.write(note("origin", written))
        output.write(note("content", {"attempt": known.attempt, "size": known.size, "xxh3_128": known.digest}))
        index = output.finish()
        return Encoded(
            size=known.size,
            digest=known.digest,
            stored_size=output.size,
            stored_digest=output.digest.hexdigest(),
            index=index,
            origin=known,
        )

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
    try:
        proven = _decompress(compressed, len(frame)) == frame
    except zstandard.ZstdError:
        proven = False
    if not proven:
        raise VerificationFailed(
            "a compressed frame does not decode to what went in; nothing was changed",
            hint="test this machine's memory and processor",
        )
    return compressed


def _decompress(compressed: bytes, size: int) -> bytes:
    """One frame of exactly `size` bytes of content. Raises ZstdError."""
    stated = zstandard.frame_content_size(compressed)  # looked at first: it decides how much memory is taken
    if stated != size:
        raise zstandard.ZstdError(f"it states {stated} bytes of content, the seek table {size}")
    return _per_thread.decompressor.decompress(compressed, allow_extra_data=False)


def _regroup(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The stream in pieces of FRAME bytes, the last one shorter; one empty piece of an empty stream. Chunks of a
    frame's size are passed on uncopied."""
    empty = True
    parts: list[bytes] = []
    room = FRAME
    for chunk in chunks:
        start = 0
        while len(chunk) - start >= room:
            parts.append(chunk[start : start + room])
            yield b"".join(parts)
            empty = False
            start += room
            parts, room = [], FRAME
        if start < len(chunk):
            parts.append(chunk[start:])
            room -= len(chunk) - start
    if parts or empty:
        yield b"".join(parts)


def frames(content: Iterable[bytes], level: int, executor: Executor | None) -> Iterator[tuple[int, bytes]]:
    """Content size and compressed bytes of each frame of some content, proven. Raises VerificationFailed."""
    return _in_order(_regroup(content), level, executor)


def _in_order(frames: Iterable[bytes], level: int, executor: Executor | None) -> Iterator[tuple[int, bytes]]:
    """Content size and compressed bytes of each frame."""
    if executor is None:
        for frame in frames:
            yield len(frame), _compress(frame, level)
        return
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    try:
        for frame in frames:
            waiting.append((len(frame), executor.submit(_compress, frame, level)))
            if len(waiting) == IN_FLIGHT:
                size, future = waiting.popleft()
                yield size, future.result()
        while waiting:
            size, future = waiting.popleft()
            yield size, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


class Frames:
    """Random access to the content of a blob."""

    def __init__(self, reader: Reader, table: SeekTable) -> None:
        self._reader = reader
        self._table = table
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()  # least recently used first

    @property
    def size(self) -> int:
        return self._table.size

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = offset // FRAME, (end - 1) // FRAME
        pieces = [memoryview(frame) for frame in self._frames(first, last)]  # slices of them copy nothing
        pieces[-1] = pieces[-1][: end - last * FRAME]
        pieces[0] = pieces[0][offset - first * FRAME :]
        return b"".join(pieces)

    def _frames(self, first: int, last: int) -> list[bytes]:
        """The content of frames `first` to `last`."""
        frames: list[bytes] = []
        while (number := first + len(frames)) <= last:
            with self._lock:
                held = self._cache.get(number)
                if held is None:
                    bound = min(last + 1, number + READ_TOGETHER)
                    stop = next((n for n in range(number + 1, bound) if n in self._cache), bound)
                else:
                    self._cache.move_to_end(number)
            if held is not None:
                frames.append(held)
                continue
            fetched = self._fetch(number, stop)
            frames += fetched
            with self._lock:
                self._cache.update(zip(range(number, stop), fetched, strict=True))
                while len(self._cache) > CACHED:
                    self._cache.popitem(last=False)
        return frames

    def _fetch(self, first: int, stop: int) -> list[bytes]:
        """Read and decode frames `first` to `stop` - 1."""
        starts, key = self._table.starts, self._reader.stat.key
        base, length = starts[first], starts[stop] - starts[first]
        stored = self._reader.read_at(base, length)
        if len(stored) != length:
            raise VerificationFailed(f"{key}: it ends at byte {base + len(stored)}, before its seek table")
        frames = []
        for number in range(first, stop):
            compressed = stored[starts[number] - base : starts[number + 1] - base]
            try:
                frames.append(_decompress(compressed, min(FRAME, self.size - number * FRAME)))
            except zstandard.ZstdError as error:
                where = f"frame {number + 1} of {len(starts) - 1}, at byte {starts[number]},"
                raise VerificationFailed(f"{key}: {where} does not decode: {error}") from error
        return frames
