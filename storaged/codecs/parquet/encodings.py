"""Values of a page in the encodings of Parquet: read where they are plain or of a dictionary, written in all of them.

Values are Arrow's arrays of what is stored, whatever it means: INT32 and FLOAT as uint32, INT64 and DOUBLE as uint64,
so that nothing is compared or converted but bits.

Source: Encodings.md in apache/parquet-format.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storaged.codecs.parquet.thrift import Malformed, packed, unsigned, varint


class Encoding(IntEnum):
    """Encoding of parquet.thrift."""

    PLAIN = 0
    PLAIN_DICTIONARY = 2  # what RLE_DICTIONARY was called
    RLE = 3
    BIT_PACKED = 4
    DELTA_BINARY_PACKED = 5
    DELTA_LENGTH_BYTE_ARRAY = 6
    DELTA_BYTE_ARRAY = 7
    RLE_DICTIONARY = 8
    BYTE_STREAM_SPLIT = 9


class Physical(IntEnum):
    """Type of parquet.thrift."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    INT96 = 3
    FLOAT = 4
    DOUBLE = 5
    BYTE_ARRAY = 6
    FIXED_LEN_BYTE_ARRAY = 7


INT96_BYTES: Final = 12
OF_DICTIONARY: Final = frozenset((Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY))
FITTING: Final = {  # what of the encodings that need nothing beside the page itself is tried, and old readers know
    Physical.INT32: (Encoding.PLAIN, Encoding.DELTA_BINARY_PACKED),
    Physical.INT64: (Encoding.PLAIN, Encoding.DELTA_BINARY_PACKED),
    Physical.INT96: (Encoding.PLAIN,),
    Physical.FLOAT: (Encoding.PLAIN, Encoding.BYTE_STREAM_SPLIT),
    Physical.DOUBLE: (Encoding.PLAIN, Encoding.BYTE_STREAM_SPLIT),
    Physical.BYTE_ARRAY: (Encoding.PLAIN, Encoding.DELTA_LENGTH_BYTE_ARRAY, Encoding.DELTA_BYTE_ARRAY),
    Physical.FIXED_LEN_BYTE_ARRAY: (Encoding.PLAIN,),
}

_BLOCK: Final = 128  # values of a block of DELTA_BINARY_PACKED, in
_MINIBLOCKS: Final = 4
_IN_MINIBLOCK: Final = _BLOCK // _MINIBLOCKS
_RUN: Final = 64  # equal values from which on they are written as a run
_WIDEST: Final = 32  # bits of an index

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.uint32]


def arrow_type(kind: Physical, width: int) -> pa.DataType:
    """In which values of it are held; `width` is that of FIXED_LEN_BYTE_ARRAY."""
    match kind:
        case Physical.INT32 | Physical.FLOAT:
            return pa.uint32()
        case Physical.INT64 | Physical.DOUBLE:
            return pa.uint64()
        case Physical.INT96:
            return pa.binary(INT96_BYTES)
        case Physical.FIXED_LEN_BYTE_ARRAY:
            return pa.binary(width)
        case _:
            return pa.binary()


def plain(data: bytes, count: int, type_: pa.DataType) -> pa.Array:
    """So many PLAIN values, with which `data` begins: some writers fill pages up. Raises Malformed."""
    if type_ != pa.binary():
        if len(data) < count * type_.byte_width:
            raise Malformed("a page ends before its values")
        return pa.Array.from_buffers(type_, count, [None, pa.py_buffer(data)])
    offsets = _lengths_at(data, count)
    end = int(offsets[-1])
    kept = np.ones(end, bool)
    kept[(offsets[:-1, None] + np.arange(4)).ravel()] = False
    offsets -= np.arange(count + 1) * 4
    return _binary(offsets, np.frombuffer(data, np.uint8)[:end][kept])


def _lengths_at(data: bytes, count: int) -> npt.NDArray[np.int64]:
    """Where the lengths of so many texts stand in front of them, and where the last one ends. Raises Malformed."""
    if len(data) < 4 * count:
        raise Malformed("a page ends before its values")
    if count and len(data) % count == 0:  # all of one length, maybe: most keys are
        rows = np.frombuffer(data, np.uint8).reshape(count, -1)
        if (rows[:, :4] == np.frombuffer((rows.shape[1] - 4).to_bytes(4, "little"), np.uint8)).all():
            return np.arange(count + 1) * rows.shape[1]
    offsets, at = np.empty(count + 1, np.int64), 0
    for number in range(count):
        offsets[number] = at
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    offsets[count] = at
    if at > len(data):
        raise Malformed("a page ends before its values")
    return offsets


def indices(data: bytes, count: int) -> Indices:
    """So many places in a dictionary. Raises Malformed."""
    if not data:
        if count:
            raise Malformed("a page ends before its values")
        return np.zeros(0, np.uint32)
    return hybrid(data[1:], data[0], count)


def hybrid(data: bytes, width: int, count: int) -> Indices:
    """The first so many numbers of runs and of groups of eight. Raises Malformed."""
    if width > _WIDEST:
        raise Malformed("a page has indices of more than 32 bits")
    out = np.zeros(count, np.uint32)
    if width == 0:
        return out
    at, done, value_bytes = 0, 0, (width + 7) // 8
    grouped: list[bytes] = []
    places: list[tuple[int, int, int]] = []  # where numbers of groups go, how many, and whereof they are the first
    passed = 0
    try:
        while done < count:
            head, at = unsigned(data, at)
            many = head >> 1
            if not many:
                raise Malformed("a page has a run of nothing")
            if head & 1:
                some = min(many * 8, count - done)
                needed = many * width
                if at + needed > len(data):
                    raise Malformed("a page ends before its values")
                grouped.append(data[at : at + needed])
                places.append((done, some, passed))
                at, passed = at + needed, passed + many * 8
            else:
                some = min(many, count - done)
                if at + value_bytes > len(data):
                    raise Malformed("a page ends before its values")
                out[done : done + some] = int.from_bytes(data[at : at + value_bytes], "little")
                at += value_bytes
            done += some
    except IndexError:
        raise Malformed("a page ends before its values") from None
    if grouped:
        numbers = _unpacked(b"".join(grouped), width)
        for begin, some, first in places:
            out[begin : begin + some] = numbers[first : first + some]
    return out


def encoded(encoding: Encoding, values: pa.Array) -> bytes:
    """The values in an encoding that is `FITTING`."""
    match encoding:
        case Encoding.PLAIN:
            return _plain(values)
        case Encoding.DELTA_BINARY_PACKED:
            return delta(_numbers(values))
        case Encoding.BYTE_STREAM_SPLIT:
            return _fixed(values).T.tobytes()
        case Encoding.DELTA_LENGTH_BYTE_ARRAY:
            offsets, data = _texts(values)
            return _with_lengths(np.diff(offsets), data)
        case Encoding.DELTA_BYTE_ARRAY:
            return _with_prefixes(values)
        case _:
            raise ValueError(f"{encoding.name} needs more than the page")


def of_dictionary(places: Indices, count: int) -> bytes:
    """Places in a dictionary of so many values, with their width in front."""
    width = max(1, (count - 1).bit_length())
    out = bytearray((width,))
    changes = np.flatnonzero(places[1:] != places[:-1]) + 1
    edges = np.concatenate(([0], changes, [len(places)])) if len(places) else np.zeros(1, np.int64)
    lengths = np.diff(edges)
    begin, value_bytes = 0, (width + 7) // 8
    for number in np.flatnonzero(lengths >= _RUN).tolist():
        first, end = int(edges[number]), int(edges[number + 1])
        first += -(first - begin) % 8  # groups are of eight
        _grouped(out, places[begin:first], width)
        out += varint((end - first) << 1)
        out += int(places[first]).to_bytes(value_bytes, "little")
        begin = end
    _grouped(out, places[begin:], width)
    return bytes(out)


def delta(numbers: npt.NDArray[Any]) -> bytes:
    """DELTA_BINARY_PACKED, of int32 or int64."""
    count = len(numbers)
    head = varint(_BLOCK) + varint(_MINIBLOCKS) + varint(count)
    if not count:
        return head + packed(0)
    head += packed(int(numbers[0]))
    if count == 1:
        return head
    bits = numbers.dtype.itemsize * 8
    whole = np.dtype(f"u{bits // 8}")
    steps = np.diff(numbers.view(whole)).view(numbers.dtype)  # modulo its width
    blocks = -(-len(steps) // _BLOCK)
    padded = np.full(blocks * _BLOCK, steps[-1], numbers.dtype)
    padded[: len(steps)] = steps
    least = padded.reshape(blocks, _BLOCK).min(axis=1)
    above = (padded.reshape(blocks, _BLOCK).view(whole) - least.view(whole)[:, None]).reshape(-1, _IN_MINIBLOCK)
    above.reshape(-1)[len(steps) :] = 0
    largest = np.bitwise_or.reduce(above, axis=1)
    widths = np.zeros(len(above), np.int64)
    for bit in range(bits):
        widths[largest >> whole.type(bit) != 0] = bit + 1
    heads = [
        packed(of) + bytes(told)
        for of, told in zip(least.tolist(), widths.reshape(blocks, _MINIBLOCKS).tolist(), strict=True)
    ]
    sizes = np.zeros((blocks, _MINIBLOCKS + 1), np.int64)
    sizes[:, 0] = [len(h) for h in heads]
    sizes[:, 1:] = widths.reshape(blocks, _MINIBLOCKS) * (_IN_MINIBLOCK // 8)
    ends = np.cumsum(sizes.ravel())
    starts = (ends - sizes.ravel()).reshape(blocks, _MINIBLOCKS + 1)
    out = np.zeros(int(ends[-1]), np.uint8)
    for begin, told in zip(starts[:, 0].tolist(), heads, strict=True):
        out[begin : begin + len(told)] = np.frombuffer(told, np.uint8)
    of_minis = starts[:, 1:].ravel()
    for width in np.unique(widths[widths > 0]).tolist():
        which = np.flatnonzero(widths == width)
        data = _packed(above[which].reshape(-1), width).reshape(len(which), -1)
        out[of_minis[which][:, None] + np.arange(data.shape[1])] = data
    return head + out.tobytes()


def _plain(values: pa.Array) -> bytes:
    if values.type != pa.binary():
        return _fixed(values).tobytes()
    offsets, data = _texts(values)
    count = len(values)
    out = np.empty(len(data) + 4 * count, np.uint8)
    at = (offsets[:-1] + 4 * np.arange(count))[:, None] + np.arange(4)
    kept = np.ones(len(out), bool)
    kept[at.ravel()] = False
    out[kept] = data
    out[at] = np.diff(offsets).astype("<u4").view(np.uint8).reshape(count, 4)
    return out.tobytes()


def _fixed(values: pa.Array) -> Bytes:
    """A row of bytes for each value."""
    width = values.type.byte_width
    data = np.frombuffer(values.buffers()[1] or b"", np.uint8)
    return data[values.offset * width : (values.offset + len(values)) * width].reshape(len(values), width)


def _numbers(values: pa.Array) -> npt.NDArray[Any]:
    return np.frombuffer(_fixed(values), np.dtype(f"<i{values.type.byte_width}"))


def _texts(values: pa.Array) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Where each text begins in the bytes of all of them, and where the last one ends; and these bytes."""
    _, offsets, data = values.buffers()
    if not len(values):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    places = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    all_bytes = np.frombuffer(data or b"", np.uint8)[places[0] : places[-1]]
    return places - places[0], all_bytes


def _with_lengths(lengths: npt.NDArray[np.int64], data: Bytes) -> bytes:
    return delta(lengths.astype(np.int32)) + data.tobytes()


def _with_prefixes(values: pa.Array) -> bytes:
    """What each text has in common with the one before, and the rest of each."""
    offsets, data = _texts(values)
    begins, lengths = offsets[:-1], np.diff(offsets)
    common = np.zeros(len(values), np.int64)
    shorter = np.minimum(lengths[1:], lengths[:-1])
    alike = np.flatnonzero(shorter > 0)
    step = 0
    while len(alike):  # those that are equal so far
        alike = alike[data[begins[alike] + step] == data[begins[alike + 1] + step]]
        step += 1
        common[alike + 1] = step
        alike = alike[shorter[alike] > step]
    some = common > 0
    marks = np.zeros(len(data) + 1, np.int64)  # +1 where what is in common begins, -1 where it ends
    marks[begins[some]] += 1
    marks[(begins + common)[some]] -= 1
    left = np.cumsum(marks[:-1]) == 0
    return delta(common.astype(np.int32)) + _with_lengths(lengths - common, data[left])


def _binary(offsets: npt.NDArray[np.int64], data: Bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _grouped(out: bytearray, places: Indices, width: int) -> None:
    """Groups of eight; the last one is filled up."""
    if not len(places):
        return
    groups = -(-len(places) // 8)
    filled = np.zeros(groups * 8, np.uint32)
    filled[: len(places)] = places
    out += varint(groups << 1 | 1)
    out += _packed(filled, width).tobytes()


def _packed(numbers: npt.NDArray[Any], width: int) -> Bytes:
    """The lowest `width` bits of each, one after the other, the lowest first."""
    size = numbers.dtype.itemsize
    little = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    bits = np.unpackbits(little.view(np.uint8).reshape(-1, size), axis=1, bitorder="little")
    return np.packbits(bits[:, :width].ravel(), bitorder="little")


def _unpacked(data: bytes, width: int) -> Indices:
    flat = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    bits = flat[: len(flat) // width * width].reshape(-1, width)
    wide = np.zeros((len(bits), _WIDEST), np.uint8)
    wide[:, :width] = bits
    return np.packbits(wide, axis=1, bitorder="little").view("<u4").ravel()
