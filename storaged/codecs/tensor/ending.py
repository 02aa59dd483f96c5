"""The end of a blob of planes: how they come together, what the blob says of itself, and where its frames are.

A blob is, in this order:

- zstd frames, each with its content size and checksum. The content is cut into stretches, a stretch into blocks of
  1 MiB, the last of which may be shorter, and a block into as many planes as its stretch's elements have bytes: one
  frame each, that of their first bytes first;
- a skippable frame (0x184D2A55) with a zstd frame of three columns of numbers, as `packed` has it: of each stretch
  its bytes, the bytes of an element, and whether numbers are told as differences;
- a skippable frame (0x184D2A55): whose the blob is, size and digest of the content, the columns' layout, and a check of
  where the frames are, as ASCII JSON;
- a skippable frame (0x184D2A5E): the seek table of zstd's seekable format.
"""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import zstandard

from storaged.codecs.checked import CheckedLine
from storaged.codecs.packed import packed, unpacked
from storaged.codecs.seekable import FRAME, Ending, listing, skippable, table_damaged
from storaged.codecs.tensor.planes import WIDTHS
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import Origin
from storaged.stores.base import Reader

PAYLOAD_BYTES: Final = 16 * 1024 * 1024  # of the columns

_LINE: Final = CheckedLine("storaged-tensor", 1)

Told = Sequence[tuple[int, int, bool]]  # of each stretch its bytes, the bytes of an element, and whether differences


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Where the blocks are, and of which frames."""

    starts: array[int]  # offset in the blob of each block, then the end of the last
    contents: array[int]  # offset in the content at which each begins, then its end
    widths: bytes  # planes of each
    differences: bytes  # whether it is told so, of each
    frames: array[int]  # stored bytes of each frame
    first: array[int]  # number of the first frame of each block

    @property
    def size(self) -> int:
        return self.contents[-1]

    def number(self, offset: int) -> int:
        return bisect_right(self.contents, offset) - 1

    def begins(self, number: int) -> int:
        return self.contents[number]

    def planes(self, number: int, stored: bytes) -> list[bytes]:
        """The frames of a block."""
        first = self.first[number]
        ends = list(itertools.accumulate(self.frames[first : first + self.widths[number]]))
        return [stored[begin:end] for begin, end in itertools.pairwise([0, *ends])]

    @classmethod
    def of(cls, frames: array[int], contents: array[int], columns: Sequence[npt.NDArray[np.uint64]], key: str) -> Table:
        """From the sizes of all frames and what is told of stretches. Raises VerificationFailed."""
        sizes, widths, differences = columns
        if not (len(sizes) == len(widths) == len(differences)) or not np.isin(widths, WIDTHS).all():
            raise _LINE.damaged(key)
        if not sizes.all() or (sizes >> np.uint64(62)).any() or (sizes % widths).any() or (differences > 1).any():
            raise _LINE.damaged(key)
        blocks = -(-sizes.astype(np.int64) // FRAME)
        # What is counted takes memory: as many frames as there are bound it.
        if float(np.dot(blocks.astype(np.float64), widths.astype(np.float64))) != len(contents):
            raise table_damaged(key, "lists other frames than its stretches have")
        of_block = np.repeat(np.arange(len(sizes)), blocks)
        block_sizes = np.full(len(of_block), FRAME, np.int64)
        block_sizes[np.cumsum(blocks) - 1] = sizes.astype(np.int64) - (blocks - 1) * FRAME
        block_widths = widths.astype(np.int64)[of_block]
        expected = np.repeat(block_sizes // block_widths, block_widths)
        stored = np.asarray(frames, np.int64)
        # What one frame may take is bounded by its content: else a damaged size becomes a huge read.
        if (expected != np.asarray(contents, np.int64)).any() or (stored > expected + expected // 64 + 1024).any():
            raise table_damaged(key, "lists frames of impossible sizes")
        first = np.concatenate(([0], np.cumsum(block_widths)))
        ends = np.concatenate(([0], np.cumsum(stored)))
        return cls(
            array("Q", ends[first].astype(np.uint64).tobytes()),
            array("Q", np.concatenate(([0], np.cumsum(block_sizes))).astype(np.uint64).tobytes()),
            block_widths.astype(np.uint8).tobytes(),
            differences.astype(np.uint8)[of_block].tobytes(),
            frames,
            array("Q", first.astype(np.uint64).tobytes()),
        )


def written(origin: Origin, told: Told, frames: str) -> tuple[bytes, bytes]:
    """The two skippable frames. `frames`: the digest of what the seek table lists so far. Raises NotTaken where they
    would be too long."""
    sizes, widths, differences = zip(*told, strict=True)
    columns = {"bytes": sizes, "width": widths, "differences": [int(each) for each in differences]}
    layout, payload, raw = packed(columns, {})
    if len(raw) > PAYLOAD_BYTES:
        raise NotTaken("it has too many arrays")
    said = {"layout": layout, "payload": payload, "frames": frames}
    return skippable(raw), skippable(_LINE.written(origin, said))


def described(reader: Reader) -> Origin | None:
    """Of the content; None where it says nothing of this codec. Raises VerificationFailed."""
    ending = Ending(reader, _LINE.prefix)
    if not ending.ours():
        return None
    raw, compressed, _ = ending.listed_whole()
    return _LINE.read(reader.stat.key, ending.notes(len(raw), compressed, PAYLOAD_BYTES)[1])[0]


def read(reader: Reader) -> Table:
    """Where its blocks are. Raises VerificationFailed."""
    key, ending = reader.stat.key, Ending(reader, _LINE.prefix)
    raw, compressed, sizes = ending.listed_whole()
    payload, line = ending.notes(len(raw), compressed, PAYLOAD_BYTES)
    origin, said = _LINE.read(key, line)
    if said.get("frames") != listing(raw, len(sizes) - 2) or any(sizes[-2:]):
        raise table_damaged(key, "lists other frames than were written")
    try:
        columns, _ = unpacked(payload, said["payload"], said["layout"])
        told = [columns[name] for name in ("bytes", "width", "differences")]
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise _LINE.damaged(key) from error
    table = Table.of(compressed[:-2], sizes[:-2], told, key)
    if table.size != origin.size:
        raise VerificationFailed(f"{key}: it says that it holds {origin.size} bytes, its seek table {table.size}")
    return table
