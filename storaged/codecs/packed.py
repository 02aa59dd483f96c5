"""Numbers by column and bytes by name, packed together into one zstd frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import xxhash
import zstandard

from storaged.errors import VerificationFailed

if TYPE_CHECKING:  # where it is used: it takes 0.05 s to load, and every worker loads this
    import numpy as np
    import numpy.typing as npt

    Column = npt.NDArray[np.uint64]

LARGEST: Final = 256 * 1024 * 1024  # bytes of a payload, decompressed

_LEVEL: Final = 9
_TYPES: Final = ("<u1", "<u2", "<u4", "<u8")

Layout = Sequence[tuple[str, str, int]]  # of each its name, its type ("": bytes), and how many there are


def packed(
    columns: Mapping[str, Sequence[int] | Column], parts: Mapping[str, bytes]
) -> tuple[Layout, tuple[int, str], bytes]:
    """How it is laid out, its size and the digest of its frame, and the frame. Raises VerificationFailed."""
    import numpy as np

    layout: list[tuple[str, str, int]] = []
    data: list[bytes] = []
    for name, numbers in columns.items():
        column = np.asarray(numbers, np.uint64)
        kind = _TYPES[int(np.searchsorted([1 << 8, 1 << 16, 1 << 32], int(column.max(initial=0)), side="right"))]
        layout.append((name, kind, len(column)))
        data.append(column.astype(kind).tobytes())
    for name, part in parts.items():
        layout.append((name, "", len(part)))
        data.append(part)
    whole = b"".join(data)
    payload = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(whole)
    if zstandard.ZstdDecompressor().decompress(payload) != whole:
        raise VerificationFailed(
            "a compressed frame does not decode to what went in; nothing was changed",
            hint="test this machine's memory and processor",
        )
    return layout, (len(whole), xxhash.xxh3_64_hexdigest(payload)), payload


def sums(column: Column, *, first: int = 0) -> Column:
    """Where each of these sizes begins, the first of them there, and where the last one ends."""
    import numpy as np

    return np.concatenate((np.array([first], np.uint64), first + np.cumsum(column, dtype=np.uint64)))


def unpacked(payload: bytes, told: Sequence[object], layout: Layout) -> tuple[dict[str, Column], dict[str, bytes]]:
    """Columns and parts of a frame, of which size and digest are told. Raises ValueError, TypeError, LookupError or
    ZstdError where it is not the frame that was packed."""
    import numpy as np

    size, check = told
    if not isinstance(size, int) or not 0 <= size <= LARGEST or xxhash.xxh3_64_hexdigest(payload) != check:
        raise ValueError("another digest")
    # A frame's own word, or a part that begins before the last one ended, would decide how much memory is taken.
    laid_out = all(type(count) is int and count >= 0 and (not kind or kind in _TYPES) for _, kind, count in layout)
    if zstandard.frame_content_size(payload) != size or not laid_out:
        raise ValueError("another layout")
    whole = zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
    columns: dict[str, Column] = {}
    parts: dict[str, bytes] = {}
    at = 0
    for name, kind, count in layout:
        if kind:
            column = np.frombuffer(whole, np.dtype(kind), count, at)
            columns[name] = column.astype(np.uint64)
            at += column.nbytes
        else:
            parts[name] = whole[at : at + count]
            at += count
    return columns, parts
