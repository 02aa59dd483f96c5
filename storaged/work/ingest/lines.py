"""Log files as blocks of whole lines, and each line's number among the equal lines of its file.

A block is cut at the last line end within so many bytes of text (decompressed, see `text`) from where the one before
ended, so the blocks of a log depend on its content alone: a renamed, compressed or grown copy has the same ones.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from storaged.work.ingest.text import Bytes, Text, WithoutHoles

BLOCK_BYTES: Final = 4 << 20  # of text; the ledger knows a block whole
LONGEST_LINE: Final = 8 << 20  # bytes; a file with a longer one is no log

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")  # a frame; a skippable one (its first byte varies)
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


class UnreadableLogError(Exception):
    """This file cannot be read to its end; the message says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines of a file."""

    data: bytes  # the lines, and maybe a part of the next one
    ends: NDArray[np.int64]  # offset in `data` after each line
    first_line: int  # lines of the file before this block
    digest: str

    @property
    def lines(self) -> int:
        """How many."""
        return len(self.ends)

    @property
    def size(self) -> int:
        """Of all lines, in bytes."""
        return int(self.ends[-1])

    def text(self) -> pa.Array:
        """The lines as an Arrow array over the same memory. Bytes that are no UTF-8 are replaced."""
        lines = _strings(self.data, self.ends)
        try:
            lines.validate(full=True)
        except pa.ArrowInvalid:
            data = self.data[: self.size].decode(errors="replace").encode()  # never takes a newline away
            lines = _strings(data, _line_ends(data))
        return lines

    def hashes(self) -> NDArray[np.uint64]:
        """A hash of each line that depends on nothing but its bytes."""
        return np.fromiter(map(xxhash.xxh3_64_intdigest, self.data.split(b"\n")), np.uint64, self.lines)


def read_blocks(path: str, block_bytes: int = BLOCK_BYTES, *, finished: bool = False) -> Generator[Block, None, bool]:
    """The complete lines of a file, plain, gzip or zstd (told by its first bytes). An unfinished last line is left out,
    unless the file is `finished`: nobody will end it. Returns whether one was.

    Raises UnreadableLogError where the file cannot be read, is cut short in its compression, or has an endless line.
    """
    with _opened(path) as stream:
        rest, first_line, more = b"", 0, True
        while more:
            data, more = _filled(stream, rest, block_bytes)
            if not more and finished and data and not data.endswith(b"\n"):
                data += b"\n"
            ends = _line_ends(data)
            cut = int(ends[-1]) if len(ends) else 0
            if len(data) - cut > LONGEST_LINE:
                raise UnreadableLogError(f"{path}: a line of more than {LONGEST_LINE >> 20} MiB is no log line")
            if cut:
                yield Block(data, ends, first_line, xxhash.xxh3_128_hexdigest(memoryview(data)[:cut]))
                first_line += len(ends)
            rest = data[cut:]
    return bool(rest)


def _filled(stream: Bytes, rest: bytes, block_bytes: int) -> tuple[bytes, bool]:
    """`rest` and what follows it, up to the next multiple of `block_bytes`; and whether there may be more."""
    want = block_bytes - len(rest) % block_bytes
    parts = [rest]
    while want:
        part = stream.read(want)
        if not part:
            return b"".join(parts), False
        parts.append(part)
        want -= len(part)
    return b"".join(parts), True


class Numbering:
    """Tells equal lines of one file apart: the first, the second, the third one, whatever block they are in.

    Only the lines of the block before are remembered. A log is in about the order of its times, so equal lines are near
    each other; those that are farther apart get the same number, and count once.
    """

    def __init__(self) -> None:
        self._lines = np.empty(0, np.uint64)  # of the block before, each once, in order
        self._times = np.empty(0, np.int64)  # how often each was seen so far

    def numbered(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Hashes in which the n-th equal line has another one than the first."""
        ordered = np.sort(hashes)
        before = self._before(ordered)
        if not before.any() and not (ordered[1:] == ordered[:-1]).any():
            self._lines, self._times = ordered, np.ones(len(ordered), np.int64)
            return hashes
        lines, line, times = np.unique(hashes, return_inverse=True, return_counts=True)
        before = self._before(lines)
        order = np.argsort(line, kind="stable")
        numbers = np.empty(len(hashes), np.int64)
        numbers[order] = np.arange(len(hashes)) - np.repeat(np.cumsum(times) - times, times)
        self._lines, self._times = lines, before + times
        return hashes + (numbers + before[line]).astype(np.uint64) * _ODD

    def _before(self, lines: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How often each of these was seen, as far as is remembered."""
        if not len(self._lines):
            return np.zeros(len(lines), np.int64)
        at = np.minimum(np.searchsorted(self._lines, lines), len(self._lines) - 1)
        return np.where(self._lines[at] == lines, self._times[at], 0)


def _line_ends(data: bytes) -> NDArray[np.int64]:
    return np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1


def _strings(data: bytes, ends: NDArray[np.int64]) -> pa.Array:
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


@contextmanager
def _opened(path: str) -> Iterator[Bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            magic = os.pread(file.fileno(), 4, 0)
            if magic.startswith(_GZIP):
                kind = "gzip"
            elif magic == _ZSTD[0] or magic[1:4] == _ZSTD[1]:
                kind = "zstd"
            else:
                yield Text(WithoutHoles(file))
                return
            with pa.input_stream(file, compression=kind) as stream:
                yield Text(stream)
    except OSError as error:  # pyarrow raises it for damaged compression too
        raise UnreadableLogError(f"{path}: {error.strerror or error}") from error
