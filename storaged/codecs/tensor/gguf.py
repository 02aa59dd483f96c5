"""GGUF of versions 2 and 3: counts, key-values, what is told of each tensor, and the data, aligned."""

from __future__ import annotations

import struct
from typing import Final

from storaged.codecs.base import Content
from storaged.codecs.tensor.layout import HEADER_BYTES, LIES, MOST, TYPES, Layout, Region, array, elements, exactly
from storaged.errors import NotTaken

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_READ: Final = 256 * 1024  # bytes of the header, read at once
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of each type of value
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_ALIGNMENT: Final = b"general.alignment"
_TYPES: Final = {  # those that are not quantised
    0: TYPES["float32"],
    1: TYPES["float16"],
    24: TYPES["int8"],
    25: TYPES["int16"],
    26: TYPES["int32"],
    27: TYPES["int64"],
    28: TYPES["float64"],
    30: TYPES["bfloat16"],
}


class _Header:
    """A header, read in pieces. Raises NotTaken where it goes on for too long."""

    def __init__(self, source: Content) -> None:
        self._source = source
        self._data, self._base = b"", 0
        self.at = 0

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > min(self._source.size, HEADER_BYTES):
            raise NotTaken(LIES if self.at > self._source.size else f"its header has more than {HEADER_BYTES:,} bytes")

    def take(self, count: int) -> bytes:
        begin = self.at
        self.skip(count)
        if not (self._base <= begin and self.at <= self._base + len(self._data)):
            length = min(max(count, _READ), self._source.size - begin)
            self._data, self._base = exactly(self._source, begin, length), begin
        return self._data[begin - self._base : self.at - self._base]

    def number(self, form: str) -> int:
        (found,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(found)

    def string(self) -> bytes:
        return self.take(self.number("<Q"))


def layout(source: Content) -> Layout:
    """Its tensors that are not quantised. Raises NotTaken."""
    header = _Header(source)
    header.skip(len(MAGIC))
    version, tensors, values = header.number("<I"), header.number("<Q"), header.number("<Q")
    if version not in _VERSIONS:
        raise NotTaken("it is a GGUF of another version")
    if tensors > MOST:
        raise NotTaken("it has too many tensors")
    alignment = 32
    for _ in range(values):
        key, kind = header.string(), header.number("<I")
        if key == _ALIGNMENT and kind == _UINT32:
            alignment = header.number("<I")
        else:
            _value(header, kind)
    told = [_tensor(header) for _ in range(tensors)]
    if not 0 < alignment <= HEADER_BYTES:
        raise NotTaken(LIES)
    base = -(-header.at // alignment) * alignment
    arrays, regions = [], []
    for name, shape, number, offset in told:
        if (of := _TYPES.get(number)) is not None:
            size = elements(shape) * of.size
            arrays.append(array(name, of, shape, base + offset, size))
            regions.append(Region(base + offset, size, of.kind))
    return Layout.of(arrays, regions, source.size)


def _value(header: _Header, kind: int) -> None:
    """Pass one by."""
    if kind == _STRING:
        header.skip(header.number("<Q"))
    elif kind == _ARRAY:
        of, count = header.number("<I"), header.number("<Q")
        if of in _SIZES:
            header.skip(count * _SIZES[of])
        elif of == _STRING:
            for _ in range(count):
                header.skip(header.number("<Q"))
        else:
            raise NotTaken(LIES)
    elif kind in _SIZES:
        header.skip(_SIZES[kind])
    else:
        raise NotTaken(LIES)


def _tensor(header: _Header) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape as numpy has it, type and offset. Raises NotTaken."""
    name, dimensions = header.string(), header.number("<I")
    if dimensions > 64:
        raise NotTaken(LIES)
    shape = tuple(header.number("<Q") for _ in range(dimensions))
    return name.decode(errors="replace"), shape[::-1], header.number("<I"), header.number("<Q")
