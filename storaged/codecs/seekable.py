"""The seekable zstd file format, and what storaged adds to it: two frames in which a blob says what it is.

A blob of format version 1 is, in this order:

- a skippable frame (0x184D2A55): who wrote it and from what, as ASCII JSON;
- zstd frames with 1 MiB of content each (the last may hold less), each with its content size and checksum;
- a skippable frame (0x184D2A55): size and digest of the content, as ASCII JSON;
- a skippable frame (0x184D2A5E): the seek table, which is also the codec's index.

Sources: RFC 8878 section 3.1.2 (skippable frames); contrib/seekable_format/zstd_seekable_compression_format.md 0.1.0 in
facebook/zstd: a frame begins at the sum of the compressed sizes listed before it, so skippable frames are listed too,
with decompressed size 0. Its zstdseek_decompress.c takes the *last* entry at or before an offset, which passes them by.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import struct
from array import array
from collections.abc import Callable, Mapping
from typing import Any, Final

from storaged.digest import Digest, digest_of
from storaged.errors import VerificationFailed
from storaged.stores.base import Reader

VERSION: Final = 1
FRAME: Final = 1024 * 1024  # bytes of content; every frame of version 1 but the last holds exactly this
HEAD_BYTES: Final = 16 * 1024  # holds nearly every origin in one read
TAIL_BYTES: Final = 64 * 1024  # holds the seek table of 8 GiB of content in one read

_NOTE_MAGIC: Final = 0x184D2A55
_TABLE_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")  # of a skippable frame: magic, bytes that follow
_ENTRY: Final = struct.Struct("<II")  # compressed size, decompressed size
_FOOTER: Final = struct.Struct("<IBI")  # number of frames, descriptor (0: no checksums in the table), magic
_NOTE_PREFIX: Final = b'{"storaged":'


class Output:
    """A blob on its way to the sink, and the seek table that grows with it."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._entries = bytearray()
        self.digest = Digest()
        self.size = 0
        self.content_size = 0

    def write(self, frame: bytes, content_size: int = 0) -> None:
        self._entries += _ENTRY.pack(len(frame), content_size)
        self.content_size += content_size
        self._send(frame)

    def finish(self) -> bytes:
        """Write the seek table and return it."""
        footer = _FOOTER.pack(len(self._entries) // _ENTRY.size, 0, _SEEKABLE_MAGIC)
        table = _HEADER.pack(_TABLE_MAGIC, len(self._entries) + len(footer)) + bytes(self._entries) + footer
        self._send(table)
        return table

    def _send(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)
        self._sink(data)


def note(kind: str, fields: Mapping[str, object]) -> bytes:
    """A skippable frame of ASCII JSON, with a check of its own: zstd does not look into it and would see no damage."""
    payload = json.dumps({"storaged": VERSION, kind: fields, "check": _check(fields)}, separators=(",", ":")).encode()
    return _HEADER.pack(_NOTE_MAGIC, len(payload)) + payload


def _check(fields: object) -> str:
    return digest_of([json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()])


def _parse(kind: str, frame: bytes, key: str) -> dict[str, Any]:
    """The fields of a `note`. Raises VerificationFailed."""
    damaged = VerificationFailed(f"{key}: what it says of its {kind} is damaged")
    try:
        magic, length = _HEADER.unpack_from(frame)
        said = json.loads(frame[_HEADER.size :])
        version = said["storaged"]
        if version == VERSION and said["check"] != _check(said[kind]):
            raise damaged
    except (ValueError, TypeError, LookupError, struct.error):
        raise damaged from None
    if (magic, length) != (_NOTE_MAGIC, len(frame) - _HEADER.size):
        raise damaged
    if version != VERSION:
        raise VerificationFailed(f"{key}: its format version is {version}, not {VERSION}", hint="upgrade storaged")
    return dict(said[kind])


@dataclasses.dataclass(frozen=True, slots=True)
class SeekTable:
    """Where the frames of content are."""

    starts: array[int]  # offset in the blob of each, then the end of the last
    size: int  # of the content

    @classmethod
    def parse(cls, raw: bytes, stored_size: int, key: str) -> SeekTable:
        """Check all that can be checked without reading frames. Raises VerificationFailed."""

        def damaged(what: str) -> VerificationFailed:
            return VerificationFailed(
                f"{key}: its seek table {what}", hint="the blob or its row in the catalog is damaged"
            )

        least = _HEADER.size + 2 * _ENTRY.size + _FOOTER.size
        if len(raw) < least:
            raise damaged("is cut short")
        magic, length = _HEADER.unpack_from(raw)
        count, descriptor, seekable = _FOOTER.unpack_from(raw, len(raw) - _FOOTER.size)
        entries = raw[_HEADER.size : -_FOOTER.size]
        if (magic, length, descriptor, seekable) != (_TABLE_MAGIC, len(raw) - _HEADER.size, 0, _SEEKABLE_MAGIC):
            raise damaged("has a wrong header or footer")
        if count * _ENTRY.size != len(entries):
            raise damaged(f"lists {len(entries) // _ENTRY.size} frames and says {count}")
        numbers = struct.unpack(f"<{2 * count}I", entries)
        compressed, content = numbers[0::2], numbers[1::2]
        if sum(compressed) + len(raw) != stored_size:
            raise damaged(f"covers {sum(compressed) + len(raw)} bytes of a blob of {stored_size}")
        # With frames of one size a range's frames follow from its offset, and a damaged size cannot shift the others.
        sizes = content[1:-1]
        whole = all(size == FRAME for size in sizes[:-1]) and all(0 < size <= FRAME for size in sizes[-1:])
        if not whole or content[0] or content[-1]:
            raise damaged("lists frames of impossible sizes")
        return cls(array("Q", itertools.accumulate(compressed[:-1])), sum(sizes))


def read_beginning(reader: Reader) -> dict[str, Any] | None:
    """The fields of the first note, or None where the blob does not begin with one. Raises VerificationFailed."""
    head = reader.read_at(0, HEAD_BYTES)
    if len(head) < _HEADER.size or not head.startswith(_NOTE_PREFIX, _HEADER.size):
        return None
    magic, length = _HEADER.unpack_from(head)
    if magic != _NOTE_MAGIC:
        return None
    size = _HEADER.size + min(length, FRAME)  # a damaged length must not become a huge read
    return _parse("origin", head[:size] if size <= len(head) else reader.read_at(0, size), reader.stat.key)


def read_end(reader: Reader) -> tuple[SeekTable, dict[str, Any]]:
    """The seek table and the content's note, which agree. Raises VerificationFailed."""
    stored_size, key = reader.stat.size, reader.stat.key
    tail = reader.read_at(max(0, stored_size - TAIL_BYTES), TAIL_BYTES)
    if len(tail) < _FOOTER.size:
        raise VerificationFailed(f"{key}: it is too short for a seek table")
    count, _, seekable = _FOOTER.unpack_from(tail, len(tail) - _FOOTER.size)
    length = _HEADER.size + count * _ENTRY.size + _FOOTER.size
    if seekable != _SEEKABLE_MAGIC or length > stored_size:
        raise VerificationFailed(f"{key}: it does not end in a seek table")
    raw = tail[-length:] if length <= len(tail) else reader.read_at(stored_size - length, length)
    table = SeekTable.parse(raw, stored_size, key)
    start = table.starts[-1]
    size = stored_size - length - start
    behind = stored_size - start  # from the note's first byte to the end of the blob
    said = tail[-behind:][:size] if behind <= len(tail) else reader.read_at(start, size)
    content = _parse("content", said, key)
    if content["size"] != table.size:
        raise VerificationFailed(f"{key}: it says that it holds {content['size']} bytes, its seek table {table.size}")
    return table, content
