"""Safetensors: eight bytes of length, so much JSON that tells dtype, shape and offsets by name, and then the data."""

from __future__ import annotations

import json
from typing import Any, Final

from storaged.codecs.base import Content
from storaged.codecs.tensor import layout as of
from storaged.codecs.tensor.layout import LIES, MOST, PLAIN, Layout, Region, Type, array, exactly
from storaged.errors import NotTaken

_LENGTH: Final = 8
TYPES: Final = {
    "BOOL": of.TYPES["bool"],
    "BF16": of.TYPES["bfloat16"],
    "C64": of.TYPES["complex64"],
    "F8_E4M3": of.TYPES["float8_e4m3fn"],
    "F8_E5M2": of.TYPES["float8_e5m2"],
    "F8_E8M0": of.TYPES["float8_e8m0fnu"],
    "F8_E4M3FNUZ": of.TYPES["float8_e4m3fnuz"],
    "F8_E5M2FNUZ": of.TYPES["float8_e5m2fnuz"],
    **{f"F{bits}": of.TYPES[f"float{bits}"] for bits in (16, 32, 64)},
    **{f"I{bits}": of.TYPES[f"int{bits}"] for bits in (8, 16, 32, 64)},
    **{f"U{bits}": of.TYPES[f"uint{bits}"] for bits in (8, 16, 32, 64)},
}


def begins(head: bytes, size: int) -> bool:
    """Whether a content of so many bytes may be one. It has no magic of its own."""
    length = int.from_bytes(head[:_LENGTH], "little")
    return head[_LENGTH : _LENGTH + 1] == b"{" and 1 < length <= size - _LENGTH


def layout(source: Content) -> Layout:
    """Raises NotTaken."""
    length = int.from_bytes(exactly(source, 0, _LENGTH), "little")
    try:
        told = json.loads(exactly(source, _LENGTH, length))
    except (ValueError, RecursionError) as error:
        raise NotTaken("its header is no JSON") from error
    if not isinstance(told, dict) or len(told) > MOST:
        raise NotTaken("its header tells of no tensors, or of too many")
    arrays, regions = [], []
    for name, each in told.items():
        if name == "__metadata__":
            continue
        kind, shape, begin, end = _one(each)
        arrays.append(array(name, kind, shape, _LENGTH + length + begin, end - begin))
        regions.append(Region(_LENGTH + length + begin, end - begin, kind.kind))
    return Layout.of(arrays, regions, source.size)


def _one(said: Any) -> tuple[Type, tuple[int, ...], int, int]:
    """Type, shape, begin and end of one tensor. Raises NotTaken."""
    try:
        dtype, shape, (begin, end) = said["dtype"], said["shape"], said["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise NotTaken(LIES) from error
    numbers = shape if isinstance(shape, list) else [None]
    if not isinstance(dtype, str) or any(type(n) is not int for n in (*numbers, begin, end)) or not 0 <= begin <= end:
        raise NotTaken(LIES)
    return TYPES.get(dtype) or Type(dtype, 0, PLAIN), tuple(numbers), begin, end
