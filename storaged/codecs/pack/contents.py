"""The table of contents of a pack: which members are in it and where, in chunks of which each is one skippable frame.

A chunk is checked and read by itself: eight bytes of the xxh3-64 of all that follows; one line of ASCII JSON, which
tells how numbers and names are laid out; and these, as one zstd frame. What it says helps people and tools to find
bytes. It gives nobody a place: where objects are, the catalog and the journal say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import xxhash
import zstandard

from storaged.codecs import packed
from storaged.codecs.pack.header import Beside, metadata_of
from storaged.codecs.pack.member import Listed, Member
from storaged.errors import VerificationFailed

ROWS: Final = 8192  # members that a chunk lists at most
TEXT: Final = 1024 * 1024  # bytes of names and metadata: no member is added to a chunk that has more
TEXT_MOST: Final = 3 * TEXT  # with the last one
CHUNK_BYTES: Final = 8 * 1024 * 1024  # no chunk is larger, compressed or not

_VERSION: Final = 1
_INSTANT: Final = 1 << 62  # microseconds: no instant is so far away
_WHAT: Final = "storaged-pack-contents"
_CHECK: Final = 8
_DIGEST: Final = 16


class Row(NamedTuple):
    """A member as a chunk holds it."""

    name: bytes
    offset: int
    size: int
    mtime_us: int
    generation: int
    digest: bytes
    mode: int
    uid: int
    gid: int
    ns: int
    rest: bytes


def row(name: bytes, member: Member, told: Beside, offset: int, digest: str) -> Row:
    """What is kept of a member."""
    mode, uid, gid, ns, rest, _ = told
    return Row(
        name,
        offset,
        member.size,
        member.mtime_us,
        member.generation,
        bytes.fromhex(digest),
        mode,
        uid,
        gid,
        ns,
        rest,
    )


class Contents:
    """The table of contents of a pack that is being written: what is full is compressed, so that a million members take
    some 30 MiB. Members come in the order of their offsets."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._text = 0
        self._members = 0  # of the chunks
        self._chunks: list[bytes] = []

    def add(self, one: Row) -> None:
        """Raises VerificationFailed."""
        self._rows.append(one)
        self._text += len(one.name) + len(one.rest)
        if len(self._rows) == ROWS or self._text > TEXT:
            self._seal()

    def finish(self) -> tuple[int, list[bytes]]:
        """How many members are listed, and the chunks. Raises VerificationFailed."""
        if self._rows:
            self._seal()
        return self._members, self._chunks

    def _seal(self) -> None:
        self._members += len(self._rows)
        self._chunks.append(_packed(self._rows))
        self._rows, self._text = [], 0


def _packed(rows: list[Row]) -> bytes:
    """A chunk of so many members. Raises VerificationFailed."""
    names, offsets, sizes, mtimes, generations, digests, modes, uids, gids, ns, rests = zip(*rows, strict=True)
    earliest = min(mtimes)
    kinds = {rest: number for number, rest in enumerate(dict.fromkeys(rests))}
    ends = [0, *map(sum, zip(offsets, sizes, strict=True))]
    columns = {
        "gap": [offset - end for offset, end in zip(offsets[1:], ends[1:], strict=False)],
        "size": sizes,
        "mtime": [mtime - earliest for mtime in mtimes],
        "generation": generations,
        "mode": [number + 1 for number in modes],
        "uid": [number + 1 for number in uids],
        "gid": [number + 1 for number in gids],
        "ns": [number + 1 for number in ns],
        "rest": [kinds[rest] for rest in rests],
    }
    parts = {"name": b"\0".join(names), "digest": b"".join(digests), "rests": b"\0".join(kinds)}
    layout, told, payload = packed.packed(columns, parts)
    said = {_WHAT: _VERSION, "first": offsets[0], "earliest": earliest, "told": told, "layout": layout}
    line = json.dumps(said, separators=(",", ":")).encode() + b"\n"
    return xxhash.xxh3_64_digest(line + payload) + line + payload


def _rows(chunk: bytes) -> list[Row]:
    """The members of a chunk. Raises ValueError, TypeError, LookupError or ZstdError where it is damaged."""
    if len(chunk) > CHUNK_BYTES or xxhash.xxh3_64_digest(chunk[_CHECK:]) != chunk[:_CHECK]:
        raise ValueError("another digest")
    end = chunk.index(b"\n", _CHECK)
    said: dict[str, Any] = json.loads(chunk[_CHECK:end])
    if said[_WHAT] != _VERSION or said["told"][0] > CHUNK_BYTES:
        raise ValueError("another version")
    columns, parts = packed.unpacked(chunk[end + 1 :], said["told"], said["layout"])
    offset, earliest, count = said["first"], said["earliest"], len(columns["size"])
    if not (type(offset) is type(earliest) is int and offset >= 0 and abs(earliest) < _INSTANT and 0 < count <= ROWS):
        raise ValueError("another first member")
    if max(parts["name"].count(b"\0"), parts["rests"].count(b"\0")) >= count:
        raise ValueError("another number of members")
    told = {name: column.tolist() for name, column in columns.items()}
    rests, names, digests = parts["rests"].split(b"\0"), parts["name"].split(b"\0"), parts["digest"]
    if len(parts["name"]) + sum(len(rests[number]) for number in told["rest"]) > TEXT_MOST:
        raise ValueError("too much of it")
    sizes, offsets = told["size"], [offset]
    for gap, size in zip(told["gap"], sizes[:-1], strict=True):
        offsets.append(offsets[-1] + size + gap)
    return [
        Row(name, offset, size, earliest + mtime, generation, digest, mode - 1, uid - 1, gid - 1, ns - 1, rests[rest])
        for name, offset, size, mtime, generation, digest, mode, uid, gid, ns, rest in zip(
            names,
            offsets,
            sizes,
            told["mtime"],
            told["generation"],
            [digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST)],
            told["mode"],
            told["uid"],
            told["gid"],
            told["ns"],
            told["rest"],
            strict=True,
        )
    ]


def listed(chunk: bytes, size: int, key: str) -> Iterator[Listed]:
    """The members of a chunk of a pack whose tar has so many bytes. Raises VerificationFailed."""
    try:
        found = [
            Listed(
                Member(
                    one.name.decode("utf-8", "surrogateescape"),
                    one.size,
                    one.mtime_us,
                    one.generation,
                    one.digest.hex(),
                    metadata_of(one.mtime_us, one.mode, one.uid, one.gid, one.ns, one.rest),
                ),
                one.offset,
            )
            for one in _rows(chunk)
        ]
    except (ValueError, TypeError, LookupError, RecursionError, zstandard.ZstdError) as error:
        raise damaged(key) from error
    if any(one.offset + one.member.size > size for one in found):
        raise damaged(key)
    yield from found


def damaged(key: str) -> VerificationFailed:
    """The table of contents of a pack is."""
    return VerificationFailed(
        f"{key}: its table of contents is damaged", hint="its members are read as before: the catalog has their places"
    )
