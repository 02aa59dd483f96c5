"""The .npy of numpy: a magic, a version, and a Python dict that tells dtype, order and shape."""

from __future__ import annotations

import re
from typing import Final, Literal

import numpy as np

from storaged.codecs.base import Array, Content
from storaged.codecs.tensor.layout import LIES, PLAIN, TYPES, Kind, Layout, Region, Type, elements, exactly
from storaged.errors import NotTaken

MAGIC: Final = b"\x93NUMPY"
_TOLD: Final = 10_000  # bytes of the dict, as numpy itself takes at most
_DICT: Final = re.compile(  # as every numpy writes it: its keys in this order
    r"\{'descr': '([<>|=][biufcmMSU]\d+(?:\[\w+\])?)', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d+, ?)*\d*)\), ?\}\s*"
)
_LENGTHS: Final = {1: 2, 2: 4, 3: 4}  # bytes in which each version tells how long the dict is


def layout(source: Content) -> Layout:
    """Raises NotTaken."""
    one, region = member(source, "", 0, source.size)
    return Layout.of([one], [region], source.size)


def member(source: Content, name: str, start: int, size: int) -> tuple[Array, Region]:
    """The array of an .npy that lies there in a content. Raises NotTaken."""
    head = exactly(source, start, min(size, 12))
    wide = _LENGTHS.get(head[6] if len(head) > 6 else 0)
    if not head.startswith(MAGIC) or wide is None:
        raise NotTaken("it is no .npy, or one of another version")
    length = int.from_bytes(head[8 : 8 + wide], "little")
    behind = 8 + wide + length
    if length > _TOLD or behind > size:
        raise NotTaken(LIES)
    kind, shape, fortran = _told(exactly(source, start + 8 + wide, length))
    taken = elements(shape) * kind.size
    if behind + taken > size:
        raise NotTaken(LIES)
    order: Literal["C", "F"] = "F" if fortran else "C"
    told = Array(name, kind.name, kind.numpy, shape, start + behind, taken, order)
    return told, Region(start + behind, taken, kind.kind)


def _told(raw: bytes) -> tuple[Type, tuple[int, ...], bool]:
    """Raises NotTaken."""
    found = _DICT.fullmatch(raw.decode("latin-1"))
    if found is None:
        raise NotTaken("its elements are records or Python objects, or its header is of an unknown kind")
    descr, fortran, shape = found.groups()
    try:
        return _type(np.dtype(descr)), tuple(int(n) for n in shape.split(",") if n.strip()), fortran == "True"
    except (ValueError, TypeError) as error:
        raise NotTaken(LIES) from error


def _type(dtype: np.dtype[np.generic]) -> Type:
    known = TYPES.get(dtype.name)
    if known is not None and known.numpy == dtype.str:
        return known
    width = {"c": dtype.itemsize // 2, "U": 4}.get(dtype.kind, dtype.itemsize)
    fits = dtype.kind in "iufcUmM" and width in (2, 4, 8)
    whole = dtype.kind in "mM" and dtype.str.startswith("<")
    return Type(dtype.name, dtype.itemsize, Kind(width, whole) if fits else PLAIN, dtype.str)
