"""Zip archives whose members are stored as they are: the .npz of numpy, and what torch.save writes.

Sources: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from storaged.codecs.base import Array, Content
from storaged.codecs.tensor import npy, pickled
from storaged.codecs.tensor.layout import LIES, MOST, Layout, Region, array, elements, exactly
from storaged.errors import NotTaken

MAGIC: Final = b"PK\x03\x04"
NEAR: Final = 4096  # bytes that are read at least

_LOCAL: Final = struct.Struct("<4s22x2H")  # how long name and extra field are
_ENTRY: Final = struct.Struct("<4s4x2H8x2L3H8xL")
_END: Final = struct.Struct("<4s6xH2LH")
_LOCATOR: Final = struct.Struct("<4s4xQ4x")
_END_64: Final = struct.Struct("<4s28x3Q")
_COMMENT: Final = 0xFFFF  # bytes of a comment at the end, at most
_WIDE: Final = 0xFFFFFFFF  # a number that stands in the extra field
_ENCRYPTED: Final = 1


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    offset: int  # of its local header

    def begins(self, source: Content) -> int:
        """Where its content is. Raises NotTaken."""
        magic, name, extra = _LOCAL.unpack(exactly(source, self.offset, _LOCAL.size))
        begin = self.offset + _LOCAL.size + int(name) + int(extra)
        if magic != MAGIC or begin + self.size > source.size:
            raise NotTaken(LIES)
        return begin


class _Near:
    """A content of which what lies near is read along: the header of a member, and of the array in it."""

    def __init__(self, source: Content) -> None:
        self._source, self.size = source, source.size
        self._data, self._base = b"", 0

    def read_at(self, offset: int, length: int) -> bytes:
        if not self._base <= offset <= offset + length <= self._base + len(self._data):
            self._data = self._source.read_at(offset, min(max(length, NEAR), self.size - offset))
            self._base = offset
        return self._data[offset - self._base : offset - self._base + length]


def layout(whole: Content, most: int) -> Layout:
    """Of its `most` largest members. Raises NotTaken."""
    source = _Near(whole)
    members = _members(source)
    pickles = [each for each in members if each.name.endswith("/data.pkl") and each.name.count("/") == 1]
    if len(pickles) == 1:
        return _torch(source, members, pickles[0], most)
    arrays, regions = [], []
    for each in _largest([m for m in members if m.name.endswith(".npy")], most):
        try:
            told, region = npy.member(source, each.name.removesuffix(".npy"), each.begins(source), each.size)
        except NotTaken:
            continue
        arrays.append(told)
        regions.append(region)
    if not arrays:
        raise NotTaken("it is a zip archive in which no array lies as it is")
    return Layout.of(arrays, regions, source.size)


def _largest(members: list[_Member], most: int) -> list[_Member]:
    """In the order of the archive."""
    if len(members) <= most:
        return members
    least = sorted((m.size for m in members), reverse=True)[most - 1]
    return [m for m in members if m.size >= least][:most]


def _torch(source: Content, members: list[_Member], pickle: _Member, most: int) -> Layout:
    """The storages are records, of which the pickle tells the types and what is a view of which."""
    if pickle.size > pickled.MOST_BYTES:
        raise NotTaken(f"its pickle has more than {pickled.MOST_BYTES:,} bytes")
    told = pickled.told(exactly(source, pickle.begins(source), pickle.size))
    folder = pickle.name.removesuffix("data.pkl") + "data/"
    records = [m for m in members if m.name.startswith(folder) and m.name.removeprefix(folder) in told.types]
    begins = {m.name.removeprefix(folder): (m, m.begins(source)) for m in _largest(records, most)}
    if not begins:
        raise NotTaken("no storage lies in it as it is")
    regions = [Region(at, member.size, told.types[key].kind) for key, (member, at) in begins.items()]
    arrays, seen = [], set()
    for name, view in told.views.items():
        if view.key in begins and (one := _view(name, view, *begins[view.key])) is not None:
            arrays.append(one)
            seen.add(view.key)
    for key, (member, at) in begins.items():
        kind = told.types[key]
        if key not in seen and kind.size and member.size % kind.size == 0:
            arrays.append(array(f"data/{key}", kind, (member.size // kind.size,), at, member.size))
    return Layout.of(arrays, regions, source.size)


def _view(name: str, view: pickled.View, member: _Member, at: int) -> Array | None:
    """A tensor whose elements lie one behind the other in their storage; None of any other."""
    count = elements(view.shape)
    begin, size = view.offset * view.kind.size, count * view.kind.size
    if not view.dense or not view.kind.size or begin + size > member.size:
        return None
    return array(name, view.kind, view.shape, at + begin, size)


def _members(source: Content) -> list[_Member]:
    """Those that are stored as they are, in the order of their offsets. Raises NotTaken."""
    raw, count = _directory(source)
    found: list[_Member] = []
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(raw):
            raise NotTaken(LIES)
        magic, flags, method, stored, size, name, extra, comment, offset = _ENTRY.unpack_from(raw, at)
        if magic != b"PK\x01\x02":
            raise NotTaken(LIES)
        at += _ENTRY.size
        called, more = raw[at : at + name], raw[at + name : at + name + extra]
        at += name + extra + comment
        size, stored, offset = _wide(more, [size, stored, offset])
        if method == 0 and not flags & _ENCRYPTED and size == stored and offset < source.size:
            found.append(_Member(called.decode(errors="replace"), size, offset))
    return sorted(found, key=lambda m: m.offset)


def _wide(extra: bytes, numbers: list[int]) -> list[int]:
    """With those of a zip64's extra field where they do not fit in 32 bits. Raises NotTaken."""
    if _WIDE not in numbers:
        return numbers
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            values = iter(field[n : n + 8] for n in range(0, len(field), 8))
            return [int.from_bytes(next(values, b""), "little") if n == _WIDE else n for n in numbers]
    raise NotTaken(LIES)


def _directory(source: Content) -> tuple[bytes, int]:
    """The central directory, and how many members it says that it lists. Raises NotTaken."""
    length = min(source.size, _COMMENT + _END.size + _LOCATOR.size)
    tail = exactly(source, source.size - length, length)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + _END.size > len(tail):
        raise NotTaken("it is cut short: it does not end as a zip archive")
    _, count, size, offset, _ = _END.unpack_from(tail, end)
    if (count == 0xFFFF or _WIDE in (size, offset)) and end >= _LOCATOR.size:
        magic, where = _LOCATOR.unpack_from(tail, end - _LOCATOR.size)
        if magic == b"PK\x06\x07":
            magic, count, size, offset = _END_64.unpack(exactly(source, where, _END_64.size))
            if magic != b"PK\x06\x06":
                raise NotTaken(LIES)
    if count > MOST:
        raise NotTaken("it has too many members")
    return exactly(source, offset, size), count
