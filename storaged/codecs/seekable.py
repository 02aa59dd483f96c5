"""The seekable zstd file format, and what storaged adds to it: two frames in which a blob says what it is.

A blob of format version 2 is, in this order:

- zstd frames with 1 MiB of content each (the last may hold less), each with its content size and checksum; of empty
  content one empty frame, so that a blob begins as every zstd file does;
- a skippable frame (0x184D2A55): who wrote it and from what, as ASCII JSON;
- a skippable frame (0x184D2A55): size and digest of the content, as ASCII JSON;
- a skippable frame (0x184D2A5E): the seek table, which is also the codec's index.

In version 1, which is read and no longer written, the first note stood before the frames, and empty content had none.
In every version the frame before the seek table is the note about the content, and it tells the version.

Sources: RFC 8878 section 3.1.2 (skippable frames); contrib/seekable_format/zstd_seekable_compression_format.md 0.1.0 in
facebook/zstd: a frame begins at the sum of the compressed sizes listed before it, so skippable frames are listed too,
with decompressed size 0. Its zstdseek_decompress.c takes the *last* entry at or before an offset, which passes them by.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import struct
import sys
from array import array
from collections.abc import Callable, Mapping
from typing import Any, Final

from storaged.codecs.base import Encoded
from storaged.digest import Digest, digest_of
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import Origin
from storaged.stores.base import Reader

VERSION: Final = 2
VERSIONS: Final = (1, VERSION)  # that are read
FRAME: Final = 1024 * 1024  # bytes of content; every frame but the last holds exactly this
TAIL_BYTES: Final = 64 * 1024  # holds notes and seek table of 7 GiB of content in one read
HEAD_BYTES: Final = 16 * 1024  # holds nearly every first note of version 1 in one read
NOTES_BYTES: Final = 32 * 1024  # holds the notes of any name that a filesystem takes
NOTE_BYTES: Final = 1024 * 1024  # no note is longer: a damaged length must not become a huge read

_NOTE_MAGIC: Final = 0x184D2A55
_TABLE_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")  # of a skippable frame: magic, bytes that follow
_ENTRY: Final = struct.Struct("<II")  # compressed size, decompressed size
_FOOTER: Final = struct.Struct("<IBI")  # number of frames, descriptor (0: no checksums in the table), magic
_NOTE_PREFIX: Final = b'{"storaged":'
_FIELDS: Final = {
    "origin": [f.name for f in dataclasses.fields(Origin) if f.name not in ("size", "digest")],
    "content": ["attempt", "size", "xxh3_128"],
}
_NEEDED: Final = {kind: set(fields) - {"mtime_us"} for kind, fields in _FIELDS.items()}


class Output:
    """A blob on its way to the sink, and the seek table that grows with it. Where it becomes larger than `bound`,
    nothing more of it is sent: raises NotTaken, which says `larger`."""

    def __init__(self, sink: Callable[[bytes], None], *, bound: int | None = None, larger: str = "") -> None:
        self._sink, self._bound, self._larger = sink, bound, larger
        self._entries = bytearray()
        self.digest = Digest()
        self.size = 0
        self.content_size = 0

    def write(self, frame: bytes, content_size: int = 0) -> None:
        self._entries += _ENTRY.pack(len(frame), content_size)
        self.content_size += content_size
        self._send(frame)

    def listing(self) -> str:
        """The digest of what the seek table lists so far."""
        return digest_of([bytes(self._entries)])

    def finish(self) -> bytes:
        """Write the seek table and return it."""
        footer = _FOOTER.pack(len(self._entries) // _ENTRY.size, 0, _SEEKABLE_MAGIC)
        table = _HEADER.pack(_TABLE_MAGIC, len(self._entries) + len(footer)) + bytes(self._entries) + footer
        self._send(table)
        return table

    def encoded(self, origin: Origin, *, index: bytes = b"") -> Encoded:
        """What was written. `origin`: with size and digest of the content."""
        return Encoded(
            size=origin.size,
            digest=origin.digest,
            stored_size=self.size,
            stored_digest=self.digest.hexdigest(),
            index=index,
            origin=origin,
        )

    def _send(self, data: bytes) -> None:
        if self._bound is not None and self.size + len(data) > self._bound:
            raise NotTaken(self._larger)
        self.digest.update(data)
        self.size += len(data)
        self._sink(data)


_encode = json.JSONEncoder(separators=(",", ":")).encode  # made once: dumps makes one each time
_encode_sorted = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def note(kind: str, fields: Mapping[str, object]) -> bytes:
    """A skippable frame of ASCII JSON, with a check of its own: zstd does not look into it and would see no damage."""
    return skippable(_encode({"storaged": VERSION, kind: fields, "check": _check(fields)}).encode())


def _check(fields: object) -> str:
    return digest_of([_encode_sorted(fields).encode()])


def _parse(kind: str, frame: bytes, key: str) -> tuple[int, dict[str, Any]]:
    """Version and fields of a `note`; those that we do not know are left out. Raises VerificationFailed."""
    damaged = VerificationFailed(f"{key}: what it says of its {kind} is damaged")
    try:
        magic, length = _HEADER.unpack_from(frame)
        said = json.loads(frame[_HEADER.size :])
        version = said["storaged"]
        known = type(version) is int and version in VERSIONS
        if known and said["check"] != _check(said[kind]):
            raise damaged
        fields = {name: said[kind][name] for name in _FIELDS[kind] if known and name in said[kind]}
    except (ValueError, TypeError, LookupError, RecursionError, struct.error):
        raise damaged from None
    if (magic, length) != (_NOTE_MAGIC, len(frame) - _HEADER.size):
        raise damaged
    if not known:
        raise VerificationFailed(
            f"{key}: its format version is {version}, not {' or '.join(map(str, VERSIONS))}", hint="upgrade storaged"
        )
    if not _NEEDED[kind] <= fields.keys():
        raise damaged
    return version, fields


def skippable(payload: bytes) -> bytes:
    """A frame that decoders of zstd pass by."""
    return _HEADER.pack(_NOTE_MAGIC, len(payload)) + payload


def _is_note(data: bytes, at: int = 0, prefix: bytes = _NOTE_PREFIX) -> bool:
    """Whether a note that begins so is there, whole or damaged."""
    magic = data[at : at + 4]
    return magic == _NOTE_MAGIC.to_bytes(4, "little") and data.startswith(prefix, at + _HEADER.size)


@dataclasses.dataclass(frozen=True, slots=True)
class SeekTable:
    """Where the frames of content are."""

    version: int
    starts: array[int]  # offset in the blob of each, then the end of the last
    size: int  # of the content

    @classmethod
    def parse(cls, raw: bytes, stored_size: int, key: str) -> SeekTable:
        """Check all that can be checked without reading frames. Raises VerificationFailed."""
        return cls.of(*entries(raw, stored_size, key), key)

    @classmethod
    def of(cls, compressed: array[int], content: array[int], key: str) -> SeekTable:
        """From the sizes of all frames. Raises VerificationFailed."""
        # Version 1 begins with a note, which has no content; only of empty content has version 2 no content there
        # either, and one frame more than version 1 has then.
        version = 1 if content[0] == 0 and (len(content) == 2 or any(content[1:-1])) else 2
        before, behind = (1, 1) if version == 1 else (0, 2)
        sizes = content[before : len(content) - behind]
        # With frames of one size a range's frames follow from its offset, and a damaged size cannot shift the others.
        whole = all(size == FRAME for size in sizes[:-1]) and all(0 < size <= FRAME for size in sizes[-1:])
        empty = version == 2 and list(sizes) == [0]
        missing = version == 2 and not sizes
        if not (whole or empty) or missing or any(content[len(content) - behind :]):
            raise table_damaged(key, "lists frames of impossible sizes")
        ends = itertools.accumulate(compressed[: len(compressed) - behind])
        return cls(version, array("Q", ends if version == 1 else itertools.chain((0,), ends)), sum(sizes))

    def number(self, offset: int) -> int:
        return offset // FRAME

    def begins(self, number: int) -> int:
        """The offset in the content at which a frame begins; behind the last one, its end."""
        return min(number * FRAME, self.size)


def listing(raw: bytes, frames: int) -> str:
    """The digest of what a seek table lists of its first frames."""
    return digest_of([raw[_HEADER.size : _HEADER.size + frames * _ENTRY.size]])


def table_damaged(key: str, what: str) -> VerificationFailed:
    """What its seek table does, in words."""
    return VerificationFailed(f"{key}: its seek table {what}", hint="the blob or its row in the catalog is damaged")


def entries(raw: bytes, stored_size: int, key: str) -> tuple[array[int], array[int]]:
    """Compressed and decompressed sizes of all frames that a seek table lists. Raises VerificationFailed."""
    least = _HEADER.size + 2 * _ENTRY.size + _FOOTER.size
    if len(raw) < least:
        raise table_damaged(key, "is cut short")
    magic, length = _HEADER.unpack_from(raw)
    count, descriptor, seekable = _FOOTER.unpack_from(raw, len(raw) - _FOOTER.size)
    listed = raw[_HEADER.size : -_FOOTER.size]
    if (magic, length, descriptor, seekable) != (_TABLE_MAGIC, len(raw) - _HEADER.size, 0, _SEEKABLE_MAGIC):
        raise table_damaged(key, "has a wrong header or footer")
    if count * _ENTRY.size != len(listed):
        raise table_damaged(key, f"lists {len(listed) // _ENTRY.size} frames and says {count}")
    numbers = array("I", listed)  # a tuple of them would take nine times as much
    if sys.byteorder == "big":
        numbers.byteswap()
    compressed, content = numbers[0::2], numbers[1::2]
    if sum(compressed) + len(raw) != stored_size:
        raise table_damaged(key, f"covers {sum(compressed) + len(raw)} bytes of a blob of {stored_size}")
    return compressed, content


class Ending:
    """The end of a blob whose last note begins with `prefix`, read as far back as is asked for: at first 64 KiB, which
    nearly always hold all of it. A seek table of more than `most` bytes is none."""

    def __init__(self, reader: Reader, prefix: bytes = _NOTE_PREFIX, *, most: int = 1 << 32) -> None:
        self._reader, self._prefix, self._most = reader, prefix, most
        self._size, self._key = reader.stat.size, reader.stat.key
        self._data = b""
        self.last(min(self._size, TAIL_BYTES))

    def last(self, length: int, *, and_before: int = 0) -> bytes:
        """The blob's last bytes; where they must be read, `and_before` more are read in the same request."""
        if (missing := length - len(self._data)) > 0:
            missing = min(missing + and_before, self._size - len(self._data))
            data = self._reader.read_at(self._size - len(self._data) - missing, missing)
            if len(data) != missing:
                raise VerificationFailed(f"{self._key}: it ends before its {self._size} bytes")
            self._data = data + self._data
        return self._data[len(self._data) - length :]

    def ours(self) -> bool:
        """Whether it says at its end that it is a blob of ours, whole or damaged."""
        found = self._data.rfind(self._prefix)
        while found >= 0:
            if _is_note(self._data, found - _HEADER.size, self._prefix):
                return True
            found = self._data.rfind(self._prefix, 0, found)
        length = self._length()
        if length is None or length + _HEADER.size + len(self._prefix) > self._size:
            return False
        try:
            compressed, _ = entries(self.last(length, and_before=NOTES_BYTES), self._size, self._key)
        except VerificationFailed:
            return False
        return compressed[-1] <= NOTE_BYTES and _is_note(self.last(length + compressed[-1]), prefix=self._prefix)

    def _length(self) -> int | None:
        """How long the seek table must be by its footer, None where there is none."""
        if len(self._data) < _FOOTER.size:
            return None
        count, _, seekable = _FOOTER.unpack_from(self._data, len(self._data) - _FOOTER.size)
        length = _HEADER.size + int(count) * _ENTRY.size + _FOOTER.size
        return length if seekable == _SEEKABLE_MAGIC and length <= min(self._size, self._most) else None

    def listed(self) -> tuple[int, array[int], array[int]]:
        """How long the seek table is, and of each frame in it how large it is, compressed and not. Raises
        VerificationFailed."""
        length = self._length()
        if length is None:
            raise VerificationFailed(
                f"{self._key}: it does not end in a seek table",
                hint="it was cut short, is damaged, or is no blob of ours",
            )
        return length, *entries(self.last(length, and_before=NOTES_BYTES), self._size, self._key)

    def behind(self, most: int) -> tuple[SeekTable, bytes, bytes]:
        """The seek table, and what is in the two skippable frames before it, of which the first has at most `most`
        bytes. Raises VerificationFailed."""
        raw, compressed, sizes = self.listed_whole()
        table = SeekTable.of(compressed, sizes, self._key)
        if table.version == 1:
            raise table_damaged(self._key, "lists frames of impossible sizes")
        return table, *self.notes(len(raw), compressed, most)

    def listed_whole(self) -> tuple[bytes, array[int], array[int]]:
        """The seek table as it is, and as `listed` has it. Raises VerificationFailed."""
        length, compressed, sizes = self.listed()
        return self.last(length), compressed, sizes

    def notes(self, length: int, compressed: array[int], most: int) -> tuple[bytes, bytes]:
        """What is in the two skippable frames before a seek table of so many bytes, of which the first has at most
        `most`. Raises VerificationFailed."""
        first, last = compressed[-2:]
        if last > NOTE_BYTES or first > most + _HEADER.size:
            raise table_damaged(self._key, "lists frames of impossible sizes")
        data = self.last(length + last + first)
        return inside(data[:first], self._key), inside(data[first : first + last], self._key)

    def read(self) -> tuple[SeekTable, dict[str, Any] | None, dict[str, Any]]:
        """The seek table, what the blob says of its origin (None in version 1: it stands at the beginning) and of its
        content. They agree. Raises VerificationFailed."""
        key = self._key
        length, compressed, sizes = self.listed()
        first, last = compressed[-2:]
        if last > NOTE_BYTES:
            raise table_damaged(key, "lists frames of impossible sizes")
        version, content = _parse("content", self.last(length + last)[:last], key)
        table = SeekTable.of(compressed, sizes, key)
        if table.version != version:
            raise table_damaged(key, f"is of format version {table.version}, and the blob of {version}")
        if content["size"] != table.size:
            raise VerificationFailed(
                f"{key}: it says that it holds {content['size']} bytes, its seek table {table.size}"
            )
        if version == 1:
            return table, None, content
        if first > NOTE_BYTES:
            raise table_damaged(key, "lists frames of impossible sizes")
        said, origin = _parse("origin", self.last(length + last + first)[:first], key)
        _agree(key, version, content, said, origin)
        return table, origin, content


def inside(frame: bytes, key: str) -> bytes:
    """What a skippable frame holds. Raises VerificationFailed."""
    if len(frame) < _HEADER.size or _HEADER.unpack_from(frame) != (_NOTE_MAGIC, len(frame) - _HEADER.size):
        raise VerificationFailed(f"{key}: what it says of itself is damaged")
    return frame[_HEADER.size :]


def _agree(key: str, version: int, content: Mapping[str, Any], said: int, origin: Mapping[str, Any]) -> None:
    if said != version or content["attempt"] != origin["attempt"]:
        raise VerificationFailed(f"{key}: its two notes were written by different attempts")


def read_table(reader: Reader) -> SeekTable:
    """The seek table, which agrees with what the blob says. Raises VerificationFailed."""
    return Ending(reader).read()[0]


def read_notes(reader: Reader) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What a blob says of its origin and of its content; None where it says nothing of storaged. One read where it is
    of version 2 and its content below 7 GiB, never more than three; version 1 takes two more at most. Raises
    VerificationFailed."""
    ending = Ending(reader)
    if ending.ours():
        _, origin, content = ending.read()
        if origin is not None:
            return origin, content
        head = _beginning(reader)
    else:
        head = _beginning(reader)
        if head is None:
            return None
        _, _, content = ending.read()
    if head is None:
        raise VerificationFailed(f"{reader.stat.key}: what it says of its origin is damaged")
    said, origin = head
    _agree(reader.stat.key, 1, content, said, origin)
    return origin, content


def _beginning(reader: Reader) -> tuple[int, dict[str, Any]] | None:
    """Version and fields of the note that a blob of version 1 begins with, None where there is none. Raises
    VerificationFailed."""
    head = reader.read_at(0, HEAD_BYTES)
    if not _is_note(head):
        return None
    _, length = _HEADER.unpack_from(head)
    size = _HEADER.size + min(length, NOTE_BYTES)
    return _parse("origin", head[:size] if size <= len(head) else reader.read_at(0, size), reader.stat.key)
