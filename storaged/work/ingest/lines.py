"""Log files as blocks of whole lines, each line with a hash that depends on nothing but its bytes.

A line whose hash is divisible by 64 is a *boundary*; a *segment* is a run of lines up to and including one. So segments
depend on content alone: a copy of a log that begins or ends elsewhere, or is compressed, has the same ones inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

BLOCK_BYTES: Final = 64 << 20  # of text per read; what an ingest holds in memory is a few times this
LONGEST_LINE: Final = 8 << 20  # bytes; a file with a longer one is no log
LONGEST_SEGMENT: Final = 16 << 20  # bytes; a log that repeats few lines may have no boundary by itself
BOUNDARY: Final = 64

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")  # a frame; a skippable one (its first byte varies)


class UnreadableLogError(Exception):
    """This file cannot be read to its end; the message says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole segments of one file. The last of a file may end in a piece without its boundary.

    `bounds` are line numbers, from 0 to the number of lines: where each segment ends and the next begins.
    """

    path: str
    first_line: int  # lines of the file before this block
    data: bytes
    ends: NDArray[np.int64]  # offset in `data` after each line
    hashes: NDArray[np.uint64]
    bounds: NDArray[np.int64]
    before: int | None  # hash of the line before the block, signed; None: the file began here
    closed: bool  # the last segment ends in a boundary

    def text(self) -> pa.Array:
        """The lines as an Arrow array over the same memory. Bytes that are no UTF-8 are replaced."""
        lines = _strings(self.data, self.ends)
        try:
            lines.validate(full=True)
        except pa.ArrowInvalid:
            data = self.data.decode(errors="replace").encode()  # never takes a newline away
            lines = _strings(data, _line_ends(data))
        return lines


def read_blocks(path: str, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The complete lines of a file, plain, gzip or zstd (told by its first bytes). An unfinished last line is left out.

    Raises UnreadableLogError where the file cannot be read, is cut short in its compression, or has an endless line.
    """
    with _opened(path) as stream:
        rest, first_line, before = b"", 0, None
        while True:
            piece = stream.read(block_bytes)
            data = rest + piece
            cut = data.rfind(b"\n") + 1
            if len(data) - cut > LONGEST_LINE:
                raise UnreadableLogError(f"{path}: a line of more than {LONGEST_LINE >> 20} MiB is no log line")
            block = _block(path, first_line, data[:cut], before, last=not piece)
            if block is not None:
                yield block
                first_line += len(block.ends)
                before = int(block.hashes.view(np.int64)[-1])
            if not piece:
                return
            rest = data[len(block.data) :] if block is not None else data


def _block(path: str, first_line: int, data: bytes, before: int | None, *, last: bool) -> Block | None:
    """The segments at the beginning of `data`; of the last data of a file, also the piece after them."""
    if not data:
        return None
    ends = _line_ends(data)
    hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, data.split(b"\n")), np.uint64, len(ends))
    cuts = _cuts(ends, hashes)
    closed = bool(len(cuts)) and int(cuts[-1]) == len(ends)
    if last and not closed:
        cuts = np.append(cuts, len(ends))
    if not len(cuts):
        return None
    lines = int(cuts[-1])
    return Block(
        path=path,
        first_line=first_line,
        data=data[: int(ends[lines - 1])],
        ends=ends[:lines],
        hashes=hashes[:lines],
        bounds=np.concatenate(([0], cuts)),
        before=before,
        closed=closed or not last,
    )


def _cuts(ends: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of lines up to the end of each closed segment."""
    natural = np.flatnonzero(hashes % BOUNDARY == 0) + 1
    starts = np.concatenate(([0], ends[natural - 1]))
    stops = np.concatenate((starts[1:], ends[-1:]))
    forced: list[int] = []
    for long in np.flatnonzero(stops - starts > LONGEST_SEGMENT):
        start, stop = starts[long], stops[long]
        while stop - start > LONGEST_SEGMENT:
            line = int(np.searchsorted(ends, start + LONGEST_SEGMENT))
            forced.append(line + 1)
            start = ends[line]
    return np.union1d(natural, forced).astype(np.int64) if forced else natural


def _line_ends(data: bytes) -> NDArray[np.int64]:
    return np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1


def _strings(data: bytes, ends: NDArray[np.int64]) -> pa.Array:
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        with open(path, "rb") as file:
            magic = file.peek(4)[:4]
            if magic.startswith(_GZIP):
                kind = "gzip"
            elif magic == _ZSTD[0] or magic[1:4] == _ZSTD[1]:
                kind = "zstd"
            else:
                yield file
                return
            with pa.input_stream(file, compression=kind) as stream:
                yield stream
    except OSError as error:  # pyarrow raises it for damaged compression too
        raise UnreadableLogError(f"{path}: {error.strerror or error}") from error
