"""The end of a pack: its table of contents, what it says of itself, and where its frames are.

A pack is, in this order:

- zstd frames of a tar, each with its content size and checksum. A frame holds whole members with their headers and
  padding, up to 128 KiB of them; a member that is larger has frames of its own, of 128 KiB each but the last; the last
  frame of all is the end of the tar;
- skippable frames (0x184D2A55): the table of contents, as `contents` has it;
- a skippable frame (0x184D2A55): whose the pack is, size and digest of the tar, how many members are listed, and a
  check of where the frames are, as ASCII JSON;
- a skippable frame (0x184D2A5E): the seek table of zstd's seekable format.

The index that a catalog keeps is the seek table and eight bytes of its xxh3-64: frames are of any size here, and a
damaged one would shift all that come after it.
"""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import xxhash

from storaged.codecs.checked import CheckedLine
from storaged.codecs.pack.contents import CHUNK_BYTES, damaged
from storaged.codecs.seekable import NOTE_BYTES, Ending, entries, inside, listing, skippable, table_damaged
from storaged.errors import VerificationFailed
from storaged.model import Origin
from storaged.stores.base import Reader

TABLE_BYTES: Final = 16 * 1024 * 1024  # no seek table is larger: two million frames
FRAME_BYTES: Final = 1024 * 1024  # of content: no frame is larger

_CHECK: Final = 8
_HEADER: Final = 8  # of a skippable frame
_LINE: Final = CheckedLine("storaged-pack", 1, "itself")


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Where the frames of a tar are, and the skippable frames behind them."""

    starts: array[int]  # offset in the blob of each frame of the tar, then the end of the last
    contents: array[int]  # offset in the tar at which each begins, then its end
    behind: array[int]  # bytes of each skippable frame before the seek table

    @property
    def size(self) -> int:
        """Of the tar."""
        return self.contents[-1]

    def number(self, offset: int) -> int:
        """Which frame holds what is at an offset of the tar."""
        return bisect_right(self.contents, offset) - 1

    def begins(self, number: int) -> int:
        """The offset in the tar at which a frame begins; behind the last one, its end."""
        return self.contents[number]

    @classmethod
    def of(cls, compressed: array[int], content: array[int], key: str) -> Table:
        """From the sizes of all frames. Raises VerificationFailed."""
        frames = len(content)
        while frames and not content[frames - 1]:
            frames -= 1
        stored, sizes, behind = compressed[:frames], content[:frames], compressed[frames:]
        # What one frame may take is bounded by its content: else a damaged size becomes a huge read.
        right = all(
            0 < size <= FRAME_BYTES and kept <= size + size // 64 + 1024
            for size, kept in zip(sizes, stored, strict=True)
        )
        if not (frames and right and behind and behind[-1] <= NOTE_BYTES and max(behind) <= CHUNK_BYTES + _HEADER):
            raise table_damaged(key, "lists frames of impossible sizes")
        starts, contents = array("Q", [0]), array("Q", [0])
        starts.extend(itertools.accumulate(stored))
        contents.extend(itertools.accumulate(sizes))
        return cls(starts, contents, behind)


def index_of(table: bytes) -> bytes:
    """What a catalog keeps of a seek table."""
    return table + xxhash.xxh3_64_digest(table)


def of_index(index: bytes, stored_size: int, key: str) -> Table:
    """Raises VerificationFailed."""
    raw = index[:-_CHECK]
    if len(raw) > TABLE_BYTES or index_of(raw) != index:
        raise table_damaged(key, "has another digest")
    return Table.of(*entries(raw, stored_size, key), key)


def written(origin: Origin, members: int, chunks: int, frames: str) -> bytes:
    """What a pack says of itself. `frames`: the digest of what its seek table lists so far."""
    said = {"members": members, "chunks": chunks, "frames": frames}
    return skippable(_LINE.written(origin, said))


def described(reader: Reader) -> Origin | None:
    """Of the tar; None where it says nothing of a pack. Raises VerificationFailed."""
    ending = Ending(reader, _LINE.prefix, most=TABLE_BYTES)
    return _said(reader.stat.key, ending)[1] if ending.ours() else None


def read(reader: Reader) -> Table:
    """Where its frames are. Raises VerificationFailed."""
    return _said(reader.stat.key, Ending(reader, _LINE.prefix, most=TABLE_BYTES))[0]


def _said(key: str, ending: Ending) -> tuple[Table, Origin]:
    """Raises VerificationFailed."""
    length, compressed, sizes = ending.listed()
    table = Table.of(compressed, sizes, key)
    note = table.behind[-1]
    line = inside(ending.last(length + note)[:note], key)
    raw = ending.last(length)
    origin, said = _LINE.read(key, line)
    if said.get("chunks") != len(table.behind) - 1 or said.get("frames") != listing(raw, len(sizes) - 1):
        raise table_damaged(key, "lists other frames than were written")
    if origin.size != table.size:
        raise VerificationFailed(f"{key}: it says that it holds {origin.size} bytes, its seek table {table.size}")
    return table, origin


def chunks(reader: Reader, table: Table) -> Iterator[bytes]:
    """The table of contents. One read for each chunk. Raises VerificationFailed."""
    at, key = table.starts[-1], reader.stat.key
    for length in table.behind[:-1]:
        frame = reader.read_at(at, length)
        if len(frame) != length:
            raise damaged(key)
        yield inside(frame, key)
        at += length
