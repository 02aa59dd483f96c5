"""What a blob says that its readers need not know: whose it is, and how the content comes back.

It lies between what the file was made of and its footer, found from the end:

- a zstd skippable frame with one line of ASCII JSON: origin, content, form, and what lies where in the payload;
- the payload: a zstd frame of numbers, column by column, and of bytes;
- a tail of 32 bytes: magic, version, length of the frame with the line, length of the payload, and a checksum of the
  line and of the tail before it;
- the footer, its length, and the magic, as in every Parquet file.

Nothing points there, and every reader passes it by.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import xxhash
import zstandard

from storaged.codecs.packed import packed, unpacked
from storaged.codecs.parquet.footer import END, LARGEST, MAGIC
from storaged.errors import VerificationFailed
from storaged.model import Origin
from storaged.stores.base import Reader

if TYPE_CHECKING:
    from storaged.codecs.packed import Column

VERSION: Final = 1
NOTE_BYTES: Final = 1024 * 1024  # no note is longer: a damaged length must not become a huge read
ENDING_BYTES: Final = 64 * 1024  # holds footer, tail, note and payload of most blobs in one read

_TAIL: Final = struct.Struct("<8sIIQQ")  # magic, version, bytes of the note, bytes of the payload, checksum
_TAIL_MAGIC: Final = b"storaged"
_SKIPPABLE: Final = struct.Struct("<II")
_SKIPPABLE_MAGIC: Final = 0x184D2A55
_ORIGIN: Final = {f.name: f.type for f in dataclasses.fields(Origin) if f.name not in ("size", "digest")}


@dataclass(frozen=True, slots=True)
class Block:
    """`told` is what a form says of itself; `columns` and `parts` are its numbers and bytes by name."""

    origin: Origin
    form: str
    told: Mapping[str, Any]
    columns: Mapping[str, Column]
    parts: Mapping[str, bytes]
    begins: int = 0  # where the block begins in the blob
    footer_at: int = 0  # where the blob's footer begins


def built(
    origin: Origin,
    form: str,
    told: Mapping[str, Any],
    columns: Mapping[str, Sequence[int] | Column],
    parts: Mapping[str, bytes],
) -> bytes:
    """The bytes of a block, tail included."""
    layout, told_of_payload, payload = packed(columns, parts)
    said = {
        "storaged": VERSION,
        "origin": {name: getattr(origin, name) for name in _ORIGIN},
        "content": {"attempt": origin.attempt, "size": origin.size, "xxh3_128": origin.digest},
        "form": form,
        "told": told,
        "layout": layout,
        "payload": told_of_payload,
    }
    line = json.dumps(said, separators=(",", ":")).encode()
    note = _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(line)) + line
    tail = _TAIL.pack(_TAIL_MAGIC, VERSION, len(note), len(payload), 0)[:-8]
    return note + payload + tail + struct.pack("<Q", xxhash.xxh3_64_intdigest(note + tail))


class Ending:
    """The end of a blob, read as far back as is asked for."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.size, self.key = reader.stat.size, reader.stat.key
        self._data = b""
        self.last(min(self.size, ENDING_BYTES))

    def last(self, length: int) -> bytes:
        """The blob's last bytes. Raises VerificationFailed."""
        if length > self.size:
            raise self.damaged("its end says that it is longer than it is")
        if (missing := length - len(self._data)) > 0:
            data = self._reader.read_at(self.size - length, missing)
            if len(data) != missing:
                raise self.damaged(f"it ends before its {self.size} bytes")
            self._data = data + self._data
        return self._data[len(self._data) - length :]

    def damaged(self, what: str) -> VerificationFailed:
        return VerificationFailed(f"{self.key}: {what}", hint="it was cut short, is damaged, or is no blob of ours")

    def footer_length(self) -> int | None:
        """How long the footer is; None where it is no Parquet file."""
        if self.size < len(MAGIC) + END or self.last(END)[-len(MAGIC) :] != MAGIC:
            return None
        length = int.from_bytes(self.last(END)[: -len(MAGIC)], "little")
        return length if length + len(MAGIC) + END <= self.size else None

    def tail(self) -> tuple[int, int, int, bytes] | None:
        """Bytes of footer, note and payload, and the tail; None where there is none of ours."""
        footer = self.footer_length()
        if footer is None or footer + END + _TAIL.size > self.size:
            return None
        if footer <= LARGEST:
            raw = self.last(footer + END + _TAIL.size)[: _TAIL.size]
        else:
            return None
        magic, _, note, payload, _ = _TAIL.unpack(raw)
        return (footer, note, payload, raw) if magic == _TAIL_MAGIC else None


def read_note(ending: Ending) -> tuple[Origin, dict[str, Any]] | None:
    """What a blob says; None where it says nothing of storaged. Raises VerificationFailed."""
    found = ending.tail()
    if found is None:
        return None
    footer, note_bytes, payload_bytes, tail = found
    _, version, _, _, check = _TAIL.unpack(tail)
    if not _SKIPPABLE.size < note_bytes <= NOTE_BYTES or payload_bytes > ending.size:
        raise ending.damaged("what it says of itself is damaged")
    note = ending.last(footer + END + _TAIL.size + payload_bytes + note_bytes)[:note_bytes]
    if xxhash.xxh3_64_intdigest(note + tail[:-8]) != check:
        raise ending.damaged("what it says of itself is damaged")
    if version != VERSION:
        raise VerificationFailed(
            f"{ending.key}: its format version is {version}, not {VERSION}", hint="upgrade storaged"
        )
    try:
        said = json.loads(note[_SKIPPABLE.size :])
        content = said["content"]
        origin = Origin(**said["origin"], size=content["size"], digest=content["xxh3_128"])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ending.damaged("what it says of itself is damaged") from error
    return origin, said


def read(reader: Reader) -> Block:
    """The block of a blob. Raises VerificationFailed."""
    ending = Ending(reader)
    found, said = ending.tail(), read_note(ending)
    if found is None or said is None:
        raise ending.damaged("it does not end as a Parquet file of ours")
    footer, note_bytes, payload_bytes, _ = found
    origin, told = said
    footer_at = ending.size - END - footer
    begins = footer_at - _TAIL.size - payload_bytes - note_bytes
    payload = ending.last(ending.size - begins - note_bytes)[:payload_bytes]
    try:
        columns, parts = unpacked(payload, told["payload"], told["layout"])
        return Block(origin, told["form"], told["told"], columns, parts, begins, footer_at)
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise ending.damaged("how its content comes back is damaged") from error
