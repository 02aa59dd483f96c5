"""The headers of a member in a tar: POSIX.1-2001 (pax), read by GNU tar, bsdtar and Python's tarfile.

What ustar has room for stands in the ustar header; the rest in pax records before it: the name where it has more than
100 bytes (all of them ASCII; others stand in a header of GNU tar's), the fraction of mtime, numbers too large for their
field, and under names of extended attributes, which GNU tar takes without a warning, what only storaged asks for:

- `user.storaged.digest`: xxh3-128 of the content, where it was known before the header was written;
- `user.storaged.generation`: of the object, a decimal number;
- `user.storaged.metadata`: what the object had beside its bytes and the header does not say, as ASCII JSON.

The object's own attributes `user.*` stand there too, as `tar --xattrs` writes and reads them.

Source: POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange Format".
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from storaged.codecs.pack.member import Member

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)  # of a tar
TORN: Final = b"dropped-out-while-it-was-packed"  # where the link leads that takes the place of what is torn

_ATTRIBUTE: Final = b"SCHILY.xattr."
_OWN: Final = _ATTRIBUTE + b"user.storaged."
_GIVEN: Final = "xattr:user."  # an attribute of the object, in its metadata
_OURS: Final = "xattr:user.storaged."  # what an earlier restore from a pack left: it is not the object's
_NAME: Final = 100  # bytes of the name in a ustar header, and of a link
_CHECKSUM: Final = 148  # where it stands there
_LINK: Final = 157
_DIGITS_7: Final = 0o7777777
_DIGITS_11: Final = 0o77777777777
_OWNER: Final = (1 << 32) - 2  # of users and groups the last number
_MODE: Final = 0o644  # where nobody knows it
_TAIL: Final = bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\0" + bytes(167)  # behind the type


class Beside(NamedTuple):
    """An object's metadata, taken apart. -1: it does not say."""

    mode: int
    uid: int
    gid: int
    ns: int  # of mtime, below the microsecond
    rest: bytes  # what is left of it, as ASCII JSON; b"": nothing
    records: bytes  # the same as pax records


@functools.lru_cache(maxsize=4096)
def _number(text: str | None, base: int) -> int:
    """A number that is written as it is always written; -1 for another text."""
    try:
        number = int(text or "", base)
    except ValueError:
        return -1
    if base == 8:
        return number if f"{number:04o}" == text and 0 <= number <= 0o7777 else -1
    return number if str(number) == text and 0 <= number <= _OWNER else -1


@functools.lru_cache(maxsize=1024)
def _rest(items: tuple[tuple[str, str], ...]) -> tuple[bytes, bytes]:
    if not items:
        return b"", b""
    said = json.dumps(dict(items), separators=(",", ":")).encode()
    records = [_record(_OWN + b"metadata", said)]
    for name, value in items:
        if name.startswith(_GIVEN) and not name.startswith(_OURS):
            try:
                raw = base64.b64decode(value, validate=True)
                records.append(_record(_ATTRIBUTE + name.removeprefix("xattr:").encode(), raw))
            except ValueError:
                continue  # the JSON has it as it is
    return said, b"".join(records)


def beside(member: Member) -> Beside:
    """The metadata of a member, as its headers and the table of contents hold it."""
    rest = dict(member.metadata)
    mode, uid, gid, ns = _number(rest.get("mode"), 8), _number(rest.get("uid"), 10), _number(rest.get("gid"), 10), -1
    if mode >= 0:
        del rest["mode"]
    if uid >= 0:
        del rest["uid"]
    if gid >= 0:
        del rest["gid"]
    if (text := rest.get("mtime_ns")) is not None:
        us = member.mtime_us * 1000
        if text[:-3] == str(member.mtime_us) and text[-3:].isdecimal() and text.isascii() and us >= 0:
            ns = int(text[-3:])
            del rest["mtime_ns"]
    return Beside(mode, uid, gid, ns, *_rest(tuple(rest.items())))


def metadata_of(member_mtime_us: int, mode: int, uid: int, gid: int, ns: int, rest: bytes) -> Mapping[str, str]:
    """The metadata that `beside` took apart. Raises ValueError where it is none."""
    metadata: dict[str, str] = {}
    if mode >= 0:
        metadata["mode"] = f"{mode:04o}"
    if uid >= 0:
        metadata["uid"] = str(uid)
    if gid >= 0:
        metadata["gid"] = str(gid)
    if ns >= 0:
        metadata["mtime_ns"] = f"{member_mtime_us}{ns:03d}"
    if rest:
        said = json.loads(rest)
        if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
            raise ValueError("no metadata")
        metadata.update(said)
    return metadata


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record: it begins with its own length, the digits of that included."""
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


_DIGEST_RECORD: Final = _record(_OWN + b"digest", bytes(32)).replace(bytes(32), b"%b")


@functools.lru_cache(maxsize=1024)
def _generation(generation: int) -> bytes:
    return _record(_OWN + b"generation", b"%d" % generation)


def _block(name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, seconds: int) -> bytes:
    """A ustar header."""
    head = name.ljust(_NAME, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, seconds)
    checksum = sum(head) + sum(kind) + _TAIL_SUM
    return b"%b%06o\0 %b%b" % (head, checksum, kind, _TAIL)


def torn(name: bytes, seconds: int) -> bytes:
    """What stands behind a member whose bytes are not its content: a link under its name that leads nowhere. Of two
    entries of one name the later counts, for whoever unpacks or looks one up."""
    before, records, short = _named(name)
    if records:
        before += _extended(len(records)) + records + padding(len(records))
    block = _block(short, b"2", 0o777, 0, 0, 0, min(max(seconds, 0), _DIGITS_11))
    checksum = int(block[_CHECKSUM : _CHECKSUM + 6], 8) + sum(TORN)
    link = TORN.ljust(_NAME, b"\0")
    return b"%b%b%06o\0 2%b%b" % (before, block[:_CHECKSUM], checksum, link, block[_LINK + _NAME :])


def _named(name: bytes) -> tuple[bytes, bytes, bytes]:
    """A header before all others, pax records, and what of a name stands in its ustar header."""
    if len(name) <= _NAME:
        return b"", b"", name
    return (b"", _record(b"path", name), name[:_NAME]) if name.isascii() else (_long_name(name), b"", name[:_NAME])


_TAIL_SUM: Final = sum(_TAIL) + 8 * ord(" ")  # the checksum counts its own field as blanks


@functools.lru_cache(maxsize=1024)
def _extended(size: int) -> bytes:
    """The header of so many bytes of pax records."""
    return _block(b"././@PaxHeader", b"x", _MODE, 0, 0, size, 0)


def _long_name(name: bytes) -> bytes:
    """A header of GNU tar's, whose data is the next member's name and a NUL. A pax record would be text: bsdtar warns
    and ends with an error where a name is no UTF-8, or its own locale has no such characters."""
    data = name + b"\0"
    return _block(b"././@LongLink", b"L", _MODE, 0, 0, len(data), 0) + data + padding(len(data))


def padding(size: int) -> bytes:
    """Zeros up to the next block."""
    return bytes(-size % BLOCK)


def headers(name: bytes, member: Member, told: Beside, digest: str) -> bytes:
    """All that stands before a member's data. digest "": not known yet."""
    mode, uid, gid, ns, _, records = told
    if digest:
        records += _DIGEST_RECORD % digest.encode()
    records += _generation(member.generation)
    seconds, us = divmod(member.mtime_us, 1_000_000)
    fraction = us * 1000 + max(ns, 0)
    if fraction or not 0 <= seconds <= _DIGITS_11:
        records += _record(b"mtime", _decimal(seconds, fraction))
        seconds = min(max(seconds, 0), _DIGITS_11)
    before, path, name = _named(name)
    records += path
    size = member.size
    if size > _DIGITS_11:
        records += _record(b"size", b"%d" % size)
        size = 0
    uid, gid = max(uid, 0), max(gid, 0)
    if uid > _DIGITS_7:
        records += _record(b"uid", b"%d" % uid)
        uid = 0
    if gid > _DIGITS_7:
        records += _record(b"gid", b"%d" % gid)
        gid = 0
    length = len(records)
    return b"".join(
        (
            before,
            _extended(length),
            records,
            bytes(-length % BLOCK),
            _block(name, b"0", _MODE if mode < 0 else mode, uid, gid, size, seconds),
        )
    )


def _decimal(seconds: int, ns: int) -> bytes:
    """Seconds since 1970 with nine digits behind the point. Before 1970 too: -0.5 is half a second before."""
    if seconds < 0 and ns:
        seconds, ns = seconds + 1, 1_000_000_000 - ns
        return b"-%d.%09d" % (-seconds, ns)
    return b"%d.%09d" % (seconds, ns)
