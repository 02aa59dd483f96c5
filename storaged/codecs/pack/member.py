"""What a pack is told of each object in it, and which of them a tar would not give back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from storaged.errors import UsageError

NAME_BYTES: Final = 4095  # of a path: what is longer no call of Linux takes
PART_BYTES: Final = 255  # of one segment: ext4, xfs, btrfs
METADATA: Final = 128 * 1024  # characters that an object may have beside its bytes; names and values together

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Member(NamedTuple):  # not a dataclass: a pack makes up to a million, and a frozen one takes 2.5 times as long
    """One object of a pack. size in bytes, mtime_us in microseconds since 1970, digest xxh3-128 hex ("": not known)."""

    name: str
    size: int
    mtime_us: int = 0
    generation: int = 1
    digest: str = ""
    metadata: Mapping[str, str] = _NOTHING  # beside its bytes: see Placement.metadata


class NotPackable(UsageError):
    """A tar would not give this member back under its name: nothing of it was written, and the next may come."""

    def __init__(self, member: Member, why: str) -> None:
        super().__init__(f"{member.name!r} {why}", hint="leave it out of packs")
        self.why = why


class Listed(NamedTuple):
    """A member as a table of contents has it. `offset` of its first byte of data within the decoded tar."""

    member: Member
    offset: int


def name_bytes(name: str) -> bytes:
    """As filesystems have it. Raises UnicodeEncodeError for a str that is no name of a file."""
    return name.encode("utf-8", "surrogateescape")


def why_not(member: Member) -> str:
    """Why a tar would not give it back under its name, in words that go behind the name; "": it would.

    One member alone is looked at. Two of which one's name is a folder of the other's are not given back both.
    """
    name = member.name
    try:
        raw = name_bytes(name)
    except UnicodeEncodeError:
        return "has a name that no file can have"
    framed = b"/%b/" % raw  # each part is between two of these; a list of them takes twice as long to look through
    if b"//" in framed:
        return "has a name with an empty part, which tar leaves out"
    if b"/./" in framed or b"/../" in framed:
        return "has a name with `.` or `..` in it, which tar changes or refuses"
    if b"\0" in raw:
        return "has a name with a NUL in it, which ends a name in tar"
    if len(raw) > NAME_BYTES:
        return f"has a name of {len(raw)} bytes, and no path on a filesystem has more than {NAME_BYTES}"
    if len(raw) > PART_BYTES and (longest := max(map(len, raw.split(b"/")))) > PART_BYTES:
        return f"has a name with a part of {longest} bytes, and no file's name has more than {PART_BYTES}"
    if sum(map(len, member.metadata)) + sum(map(len, member.metadata.values())) > METADATA:
        return f"has more than {METADATA >> 10} KiB beside its bytes"
    return ""
