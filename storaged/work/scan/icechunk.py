"""Virtual chunks of an Icechunk repository: which files its manifests say that chunks are in.

A manifest is written once and never changed, and stays as long as any snapshot, branch or tag may need it. It is read
by Icechunk's specification, versions 1 and 2: a head of 39 bytes, then a FlatBuffers table, compressed with zstd.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

import zstandard

from storaged.codecs.base import Content
from storaged.work.scan.kerchunk import NoReferences, Unfollowed

MANIFEST: Final = "icechunk"
LARGEST: Final = 512 << 20  # bytes of one manifest, not compressed
MOST: Final = 20_000_000  # chunks of one
LONGEST: Final = 64 << 10  # bytes of a location

_NAME: Final = re.compile(r"(?:.*/)?manifests/[0-9A-HJKMNP-TV-Z]{20}")
_MAGIC: Final = "ICE\N{ICE CUBE}CHUNK".encode()
_HEAD: Final = struct.Struct("12s24sBBB")  # magic bytes, who wrote it, version, kind of file, compression
_MANIFEST, REPOSITORY = 2, 6  # kinds of files
_VERSIONS: Final = (1, 2)

# Places of fields in their tables, as manifest.fbs of the specification numbers them.
_ARRAYS, _DICTIONARY = 1, 2  # of a manifest
_REFS: Final = 1  # of an array
_LOCATION, _COMPRESSED = 5, 8  # of a chunk
CONTAINER: Final = "vcc://"  # beginning of what is relative to a container that the repository's configuration names


def is_manifest(key: str) -> bool:
    """Whether a file of this name may be a manifest."""
    return "manifests/" in key and _NAME.fullmatch(key) is not None


def seems_one(content: Content) -> bool:
    """Whether it begins as a manifest. Raises StoreError."""
    return content.read_at(0, len(_MAGIC)) == _MAGIC


def named(content: Content) -> Iterator[str]:
    """The locations that a manifest names, more than once perhaps, those by a container as they are. Raises Unfollowed,
    NoReferences, and what `content` raises."""
    body = bodied(content, _MANIFEST)
    try:
        yield from _locations(body)
    except (zstandard.ZstdError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unfollowed(f"it is damaged: {error}") from error


def bodied(content: Content, kind: int) -> bytes:
    """What is behind the head of a file of this kind, decompressed. Raises as `named` does."""
    head = content.read_at(0, _HEAD.size)
    if len(head) < _HEAD.size:
        raise Unfollowed("it is damaged: it ends in its head")
    magic, _, version, found, compression = _HEAD.unpack(head)
    if magic != _MAGIC or found != kind:
        raise NoReferences("it is another kind of file")
    if version not in _VERSIONS or compression > 1:
        raise Unfollowed(f"it has version {version} of Icechunk's format, which is not known")
    body = content.read_at(_HEAD.size, content.size - _HEAD.size)
    try:
        return _decompressed(body) if compression else body
    except zstandard.ZstdError as error:
        raise Unfollowed(f"it is damaged: {error}") from error


def _decompressed(body: bytes) -> bytes:
    found = zstandard.ZstdDecompressor().stream_reader(body).read(LARGEST + 1)
    if len(found) > LARGEST:
        raise Unfollowed(f"it has more than {LARGEST >> 20} MiB")
    return found


def _locations(data: bytes) -> Iterator[str]:
    buffer = Buffer(data)
    manifest = buffer.pointed(0)
    words = buffer.bytes_at(manifest, _DICTIONARY)
    known = zstandard.ZstdCompressionDict(words) if words else None
    unpacker = zstandard.ZstdDecompressor(dict_data=known) if known else zstandard.ZstdDecompressor()
    chunks = (chunk for array in buffer.tables(manifest, _ARRAYS) for chunk in buffer.tables(array, _REFS))
    for number, chunk in enumerate(chunks):
        if number == MOST:
            raise Unfollowed(f"it has more than {MOST:,} chunks")
        packed = buffer.bytes_at(chunk, _COMPRESSED)
        found = unpacker.decompress(packed, LONGEST) if packed else buffer.bytes_at(chunk, _LOCATION)
        if found:
            yield found.decode()


class Buffer:
    """Tables of FlatBuffers: a table begins with the way back to its list of fields, which has for each field how far
    behind the table's beginning it is. Raises struct.error for what leads out of the buffer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def pointed(self, at: int) -> int:
        """Where what is pointed to at a place is."""
        return at + self._number("<I", at)

    def bytes_at(self, table: int, field: int) -> bytes:
        """A vector of bytes, or a text; empty: the table has none."""
        if not (at := self._field(table, field)):
            return b""
        start = self.pointed(at)
        return self._data[start + 4 : start + 4 + self._number("<I", start)]

    def tables(self, table: int, field: int) -> Iterator[int]:
        """Where the tables of a vector are."""
        if at := self._field(table, field):
            start = self.pointed(at)
            for each in range(self._number("<I", start)):
                yield self.pointed(start + 4 + 4 * each)

    def _field(self, table: int, field: int) -> int:
        fields = table - self._number("<i", table)
        there = 4 + 2 * field
        if there >= self._number("<H", fields):
            return 0
        behind = self._number("<H", fields + there)
        return table + behind if behind else 0

    def _number(self, form: str, at: int) -> int:
        if at < 0:
            raise struct.error("it points before its beginning")
        return int(struct.unpack_from(form, self._data, at)[0])
