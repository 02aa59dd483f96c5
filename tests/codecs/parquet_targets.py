"""What is done with damaged Parquet, and what must come of it: a right answer or a reason. For the campaign of changed
bytes, and for the fuzzer (`parquet_fuzz`)."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np
import pyarrow as pa

from storaged.codecs.packed import Layout, packed
from storaged.codecs.parquet import block, thrift
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.parquet.footer import Footer, OffsetIndex
from storaged.codecs.parquet.layout import is_parquet
from storaged.codecs.parquet.pages import Headers
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec
from storaged.testing.contents import ORIGIN, BytesContent, BytesReader, encoded
from tests.codecs.parquet_files import written

if TYPE_CHECKING:
    from storaged.codecs.packed import Column

CODEC: Final = Parquet()
FEW: Final = 300  # rows: a fuzzer is quick with small inputs


def table(rows: int) -> pa.Table:
    return pa.table(
        {"n": range(rows), "word": [None if n % 7 == 3 else f"word {n * 7_919 % 101}" for n in range(rows)]}
    )


def footer_of(file: bytes) -> bytes:
    length = int.from_bytes(file[-8:-4], "little")
    return file[-8 - length : -8]


FILE: Final = written(
    table(400), compression="snappy", row_group_size=150, write_page_index=True, write_page_checksum=True
)
SECOND: Final = written(table(400), compression="snappy", data_page_version="2.0", data_page_size=512)
SMALL: Final = [
    written(table(40), compression=compression, data_page_version=version)
    for compression, version in (("gzip", "1.0"), ("zstd", "2.0"), ("lz4", "1.0"), ("brotli", "1.0"), ("none", "2.0"))
]


def _index() -> bytes:
    """The offset index of the first column: the first one that stands behind the pages."""
    layout = Footer(footer_of(FILE))
    at, length = layout.chunks[0, 10].item(), layout.chunks[0, 11].item()
    return FILE[at : at + length]


WALKED: Final[dict[str, tuple[bytes, Callable[[bytes], object]]]] = {
    "footer": (footer_of(FILE), Footer),
    "offset index": (_index(), OffsetIndex),
    "header": (FILE[4:200], lambda data: Headers().read(data)),
    "header of version 2": (SECOND[4:200], lambda data: Headers().read(data)),
    "anything": (footer_of(FILE), lambda data: thrift.structure(data, 0, {})),
}


def walk(what: str, data: bytes) -> None:
    """Of a footer that is taken, what is replaced is what the new one says. Raises Malformed, AssertionError."""
    found = WALKED[what][1](data)
    if isinstance(found, Footer):
        other = found.chunks + 1
        again = Footer(found.patched(other, found.groups))
        there, _ = found.present()
        assert (again.chunks[there] == other[there]).all()
        assert again.group.tolist() == found.group.tolist()


@functools.cache
def blobs(rows: int) -> list[tuple[bytes, bytes]]:
    """Files of so many rows, and blobs of them: by recipes, and by differences."""
    with tempfile.TemporaryDirectory() as place, duckdb.connect() as db:
        path = Path(place) / "a.parquet"
        db.register("made", table(rows))
        db.sql(f"COPY made TO '{path}' (FORMAT parquet, COMPRESSION snappy)")
        duck = path.read_bytes()
    files = [
        written(table(rows), compression="snappy", row_group_size=rows // 3, write_page_index=True),
        written(table(rows), compression="none", data_page_version="2.0", data_page_size=4_096),
        duck,
    ]
    return [(file, encoded(CODEC, file)[1]) for file in files]


# -- for the fuzzer ----------------------------------------------------------------------------------------------------


def any_walk(data: bytes) -> None:
    """The first byte chooses what the rest is. Raises AssertionError."""
    names = list(WALKED)
    with contextlib.suppress(Malformed):
        walk(names[data[0] % len(names)] if data else names[0], data[1:])


def any_file(data: bytes) -> None:
    """A Parquet file: it comes back from its blob, or is not taken. Raises AssertionError."""
    source, blob = BytesContent(data), bytearray()
    if not is_parquet(source):
        return
    CODEC.sample(source, level=1)
    try:
        CODEC.encode(source, blob.extend, spec=CodecSpec("parquet", 1), origin=ORIGIN)
    except NotTaken:
        return
    assert CODEC.open(BytesReader(bytes(blob))).read_at(0, len(data)) == data


def any_blob(data: bytes) -> None:
    """What a blob's checksums guard: a byte that chooses the blob, its recipes as a line, what it stores, and the
    numbers that say how that comes back. They are told with checksums that fit, so that a reader believes them: it has
    a reason, or content of the size that is told, the same whole and in parts. Raises AssertionError."""
    line, _, rest = data[1:].partition(b"\n")
    opened, footer, layout = _opened()[data[0] % len(_opened()) if data else 0]
    sizes = [count * (np.dtype(kind).itemsize if kind else 1) for _, kind, count in layout]
    begins = max(len(rest) - sum(sizes), 0)
    columns: dict[str, Column] = {}
    parts: dict[str, bytes] = {}
    at = begins
    for (name, kind, _), size in zip(layout, sizes, strict=True):
        piece = rest[at : at + size]
        at += size
        if kind:
            whole = piece[: len(piece) - len(piece) % np.dtype(kind).itemsize]
            columns[name] = np.frombuffer(whole, np.dtype(kind)).astype(np.uint64)
        else:
            parts[name] = piece
    told = {**opened.told, "recipes": line.decode("latin-1").split(" ")}
    blob = rest[:begins] + block.built(opened.origin, opened.form, told, columns, parts) + footer
    try:
        content = CODEC.open(BytesReader(blob))
        whole = content.read_at(0, content.size)
        middle = content.read_at(content.size // 3, content.size // 3)
    except VerificationFailed:
        return
    assert len(whole) == content.size == opened.origin.size
    assert middle == whole[content.size // 3 :][: content.size // 3]


@functools.cache
def _opened() -> list[tuple[block.Block, bytes, Layout]]:
    """Of each of `blobs` its block, what follows that, and how the block's numbers are laid out."""
    found = []
    for _, blob in blobs(FEW):
        opened = block.read(BytesReader(blob))
        layout, _, _ = packed(opened.columns, opened.parts)
        found.append((opened, blob[opened.footer_at :], layout))
    return found


def _of_blobs() -> list[bytes]:
    """What `any_blob` makes them of."""
    found = []
    for number, (_, blob) in enumerate(blobs(FEW)):
        opened, _, layout = _opened()[number]
        given = [opened.columns[n].astype(kind).tobytes() if kind else opened.parts[n] for n, kind, _ in layout]
        line = " ".join(opened.told["recipes"]).encode()
        found.append(bytes([number]) + line + b"\n" + blob[: opened.begins] + b"".join(given))
    return found


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {  # each with what to begin with
    "walk": (any_walk, lambda: [bytes([number]) + data for number, (data, _) in enumerate(WALKED.values())]),
    "file": (any_file, lambda: [FILE, SECOND, *SMALL]),
    "blob": (any_blob, _of_blobs),
}
