"""Thrift's compact protocol, walked without a schema: what is not asked for is passed over, whatever it is.

Nothing is built from the bytes but the integers that somebody asked for, and where they stand, so that they can be
replaced and every other byte stays. Depth is bounded, and no count or length is believed that the bytes at hand cannot
hold.

Source: doc/specs/thrift-compact-protocol.md in apache/thrift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

TRUE: Final = 1
FALSE: Final = 2
BYTE: Final = 3
I16: Final = 4
I32: Final = 5
I64: Final = 6
DOUBLE: Final = 7
BINARY: Final = 8
LIST: Final = 9
SET: Final = 10
MAP: Final = 11
STRUCT: Final = 12
UUID: Final = 13

INTEGERS: Final = frozenset((I16, I32, I64))
DEEPEST: Final = 32  # structures within structures; Parquet's own have 7
_VARINT_BYTES: Final = 10
_SHORT: Final = INTEGERS | {BINARY}  # kinds whose first byte tells the length of a short value
_FIXED: Final = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8, UUID: 16}

Taker = Callable[[int, int], int]  # of a field's kind and the place of its value; returns where the value ends


class Malformed(ValueError):
    """Bytes that are not what they should be; the text says what is wrong with them."""


class Cut(Malformed):
    """They end too early: more of them might be right."""


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends. Raises Malformed, IndexError past the end."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift, start = byte & 0x7F, 7, at
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Malformed("a number has more than 64 bits")
            return value, at + 1
        shift += 7
        if at - start >= _VARINT_BYTES - 1:
            raise Malformed("a number has more than ten bytes")


def signed(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint and where it ends. Raises as `unsigned` does."""
    value = data[at]
    if value < 0x80:
        return (value >> 1) ^ -(value & 1), at + 1
    value, at = unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at


def packed(value: int) -> bytes:
    """A zigzag varint."""
    return varint((value << 1) ^ (value >> 63))


def structure(data: bytes, at: int, takers: Mapping[int, Taker], depth: int = 0) -> int:
    """Walk the structure at `at`: fields that have a taker are its, others are passed over. Returns where it ends.

    Raises Malformed; Cut where the bytes end before the structure does.
    """
    try:
        end = _structure(data, at, takers, depth)
    except IndexError:
        raise Cut("it ends in the middle of a structure") from None
    if end > len(data):
        raise Cut("it ends in the middle of a structure")
    return end


def _structure(data: bytes, at: int, takers: Mapping[int, Taker], depth: int) -> int:
    if depth > DEEPEST:
        raise Malformed("its structures are too deep")
    field = 0
    seen: set[int] = set()
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return at
        if head > 0x0F:
            field += head >> 4
        else:
            field, at = signed(data, at)
        kind = head & 0x0F
        taker = takers.get(field)
        if taker is None:
            at = _passed(data, at, kind, depth)
            continue
        if field in seen:
            raise Malformed(f"field {field} stands twice in a structure")
        seen.add(field)
        at = taker(kind, at)


def _skipped(data: bytes, at: int, depth: int) -> int:
    """Where a structure ends of which nothing is asked: most of a page's header. Short values, which most are, are
    passed over right here."""
    if depth > DEEPEST:
        raise Malformed("its structures are too deep")
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return at
        if head <= 0x0F:
            _, at = signed(data, at)
        kind = head & 0x0F
        if kind not in _SHORT or data[at] > 0x7F:
            at = _passed(data, at, kind, depth)
        elif kind == BINARY:
            at += 1 + data[at]
        else:
            at += 1


def elements(data: bytes, at: int, kind: int, taker: Callable[[int], int], *, name: str) -> int:
    """Hand the place of every structure of a list to `taker`, which returns where it ends. Returns where the list ends.
    Raises Malformed, IndexError past the end."""
    if kind != LIST:
        raise Malformed(f"{name} is no list")
    count, element, at = _list(data, at)
    if element != STRUCT and count:
        raise Malformed(f"{name} is no list of structures")
    for _ in range(count):
        at = taker(at)
    return at


def _list(data: bytes, at: int) -> tuple[int, int, int]:
    """Count and kind of elements, and where the first one stands."""
    head = data[at]
    count, at = head >> 4, at + 1
    if count == 15:
        count, at = unsigned(data, at)
    if count > len(data) - at:  # every element takes a byte at least
        raise Cut("a list has more elements than there are bytes")
    return count, head & 0x0F, at


def _passed(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value ends."""
    if kind in INTEGERS:
        start = at
        while data[at] > 0x7F:
            at += 1
        if at - start >= _VARINT_BYTES:
            raise Malformed("a number has more than ten bytes")
        return at + 1
    if kind == BINARY:
        length, at = unsigned(data, at)
        if length > len(data) - at:
            raise Cut("a text is longer than there are bytes")
        return at + length
    if kind == STRUCT:
        return _skipped(data, at, depth + 1)
    if kind in (LIST, SET):
        count, element, at = _list(data, at)
        return _all_passed(data, at, (element,), count, depth)
    if kind == MAP:
        count, at = unsigned(data, at)
        if count == 0:
            return at
        if count > len(data) - at:
            raise Cut("a map has more entries than there are bytes")
        kinds = data[at]
        return _all_passed(data, at + 1, (kinds >> 4, kinds & 0x0F), count, depth)
    if kind in _FIXED:
        return at + _FIXED[kind]
    raise Malformed(f"a field of unknown kind {kind}")


def _all_passed(data: bytes, at: int, kinds: tuple[int, ...], count: int, depth: int) -> int:
    if depth >= DEEPEST:
        raise Malformed("its structures are too deep")
    for _ in range(count):
        for kind in kinds:
            # In a collection a truth value has a byte of its own.
            at = at + 1 if kind in (TRUE, FALSE) else _passed(data, at, kind, depth + 1)
        if at > len(data):
            raise Cut("it ends in the middle of a list")
    return at


class Field(NamedTuple):
    """One of a structure's: its number, its kind, and the bytes of its value."""

    number: int
    kind: int
    value: bytes


class Place(NamedTuple):
    """Where the value of a field stands."""

    number: int
    kind: int
    at: int
    end: int


def places(data: bytes, at: int) -> tuple[list[Place], int]:
    """Of all fields of the structure at `at`, and where it ends. Raises Malformed, IndexError past the end."""
    found: list[Place] = []
    number = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return found, at
        if head > 0x0F:
            number += head >> 4
        else:
            number, at = signed(data, at)
        kind = head & 0x0F
        end = _passed(data, at, kind, 0)
        found.append(Place(number, kind, at, end))
        at = end


def of_list(data: bytes, at: int) -> Iterator[tuple[list[Place], int, int]]:
    """The structures of the list at `at`: the fields of each, and where it begins and ends. Raises as `places`."""
    count, element, at = _list(data, at)
    if element != STRUCT and count:
        raise Malformed("a list is none of structures")
    for _ in range(count):
        found, end = places(data, at)
        yield found, at, end
        at = end


def of_fields(found: Iterable[Field]) -> bytes:
    """The structure of these fields, which ascend by number."""
    out, before = bytearray(), 0
    for number, kind, value in found:
        if 0 < number - before <= 15:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            out += packed(number)
        out += value
        before = number
    out.append(0)
    return bytes(out)


def a_list(kind: int, elements: Sequence[bytes]) -> bytes:
    """The value of a list of these."""
    head = bytes((len(elements) << 4 | kind,)) if len(elements) < 15 else bytes((0xF0 | kind,)) + varint(len(elements))
    return head + b"".join(elements)


def varint(value: int) -> bytes:
    """One without a sign."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
