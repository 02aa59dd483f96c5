"""Whether columns hold the same, found out by a reader that is none of ours: Arrow's.

It is shown a file with another footer (`described.physical`), which tells what is stored and nothing of what that
means. So it converts nothing: a NaN keeps its bits, −0.0 its sign, INT96 its twelve bytes. Of each column digests are
taken in the order of rows: what is there at each level of it, how long its lists and texts are, and the bytes of its
values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storaged.codecs.base import Content, ContentFile
from storaged.codecs.parquet.described import Leaf, leaves, physical
from storaged.codecs.parquet.footer import END, MAGIC, Of
from storaged.codecs.parquet.layout import Layout
from storaged.codecs.parquet.thrift import Malformed
from storaged.digest import Digest

AT_ONCE: Final = 64 * 1024 * 1024  # bytes of columns that are read together, without compression; one by itself has any
ROWS: Final = 16 * 1024  # that are looked at at once
BUFFER: Final = 1024 * 1024  # bytes read at once, of each column

CHUNKS: Final = 20_000  # of a file whose columns are looked at: each is a walk through its part of the footer

_DEEPER: Final = 100_000_000  # of a footer's texts and lists, which were walked already


def readable(source: Content, layout: Layout) -> list[Leaf]:
    """The columns of a file that Arrow reads. Raises Malformed where it does not, or they are too many to be looked at
    one by one."""
    if len(layout.footer.chunks) > CHUNKS:
        raise Malformed(f"it has more than {CHUNKS:,} column chunks")
    found = leaves(layout.footer.data)
    if int(layout.footer.column.max(initial=-1)) >= len(found):
        raise Malformed("it has more columns than its schema")
    _opened(source, layout)
    encoded = _dictionaries(source)
    return [replace(leaf, encoded=leaf.top in encoded) for leaf in found]


def _dictionaries(source: Content) -> frozenset[int]:
    """Which fields of the schema Arrow makes dictionaries of, since that is what was written."""
    try:
        schema = pq.read_schema(pa.PythonFile(ContentFile(source), mode="r"))
    except (pa.ArrowException, OSError):
        return frozenset()  # nobody reads it with Arrow
    return frozenset(n for n, of in enumerate(schema) if _has_dictionary(of.type))


def _has_dictionary(of: pa.DataType) -> bool:
    below = [of.field(n).type for n in range(of.num_fields)]
    return pa.types.is_dictionary(of) or any(map(_has_dictionary, below))


def differing(source: Content, was: Layout, made: Content, now: Layout, chunks: Collection[int]) -> Iterator[str]:
    """In words, which of these column chunks do not hold the same in both files. Raises Malformed where one of them
    cannot be read."""
    if not chunks:
        return
    found = leaves(was.footer.data)
    old, new = _opened(source, was), _opened(made, now)
    for group, some in _together(chunks, was):
        columns = [found[int(was.footer.column[chunk])] for chunk in some]
        before, after = (_digests(file, group, columns) for file in (old, new))
        for leaf in columns:
            if before[leaf.place] != after[leaf.place]:
                yield f"column `{leaf.path}` holds other values in row group {group}"


def _together(chunks: Iterable[int], layout: Layout) -> Iterator[tuple[int, list[int]]]:
    """By row group, as many as are read together."""
    some: list[int] = []
    size, group = 0, -1
    for chunk in sorted(chunks):
        mine, more = int(layout.footer.group[chunk]), int(layout.footer.chunks[chunk, Of.UNCOMPRESSED])
        if some and (mine != group or size + more > AT_ONCE):
            yield group, some
            some, size = [], 0
        group = mine
        some.append(chunk)
        size += more
    if some:
        yield group, some


def _opened(content: Content, layout: Layout) -> pq.ParquetFile:
    footer = physical(layout.footer.data)
    ending = footer + len(footer).to_bytes(END - len(MAGIC), "little") + MAGIC
    seen = pa.PythonFile(ContentFile(_Shown(content, layout.footer_at, ending)), mode="r")
    try:
        return pq.ParquetFile(
            seen,
            buffer_size=BUFFER,
            pre_buffer=False,
            thrift_string_size_limit=_DEEPER,
            thrift_container_size_limit=_DEEPER,
        )
    except (pa.ArrowException, OSError) as error:
        raise Malformed(f"Arrow does not read it: {error}") from error


class _Shown:
    """The content up to its footer, and another one behind it."""

    def __init__(self, content: Content, until: int, ending: bytes) -> None:
        self.size = until + len(ending)
        self._content, self._until, self._ending = content, until, ending

    def read_at(self, offset: int, length: int) -> bytes:
        end, until = min(offset + length, self.size), self._until
        before = self._content.read_at(offset, min(end, until) - offset) if offset < until else b""
        return before + self._ending[max(offset - until, 0) : max(end - until, 0)]


def _digests(file: pq.ParquetFile, group: int, columns: Sequence[Leaf]) -> Mapping[str, Sequence[str]]:
    """Of each column, by its place."""
    digests: dict[str, dict[str, Digest]] = {leaf.place: {} for leaf in columns}
    try:
        for batch in file.iter_batches(
            ROWS, row_groups=[group], columns=[leaf.place for leaf in columns], use_threads=False
        ):
            tops = {name: batch.column(n) for n, name in enumerate(batch.schema.names)}
            for leaf in columns:
                top, *below = leaf.place.split(".")
                _into(digests[leaf.place], "", tops[top], below)
    except (pa.ArrowException, OSError) as error:
        raise Malformed(f"Arrow does not read it: {error}") from error
    return {place: [d.hexdigest() for _, d in sorted(of.items())] for place, of in digests.items()}


def _into(digests: dict[str, Digest], depth: str, array: pa.Array, below: Sequence[str]) -> None:
    """Add an array, and of what is below in it what leads to the column."""

    def add(what: str, data: bytes | memoryview) -> None:
        digests.setdefault(depth + what, Digest()).update(data)

    add("there", array.is_valid().to_numpy(zero_copy_only=False).view(np.uint8).data)
    if pa.types.is_list(array.type):
        add("long", array.value_lengths().fill_null(0).to_numpy().data)
        _into(digests, depth + "[]", array.flatten(), below)
    elif pa.types.is_struct(array.type):
        name, *rest = below
        _into(digests, f"{depth}.{name}", array.field(array.type.get_field_index(name)), rest)
    else:
        values = array.drop_null()
        if pa.types.is_binary(values.type):
            lengths = pa.compute.binary_length(values).to_numpy()
            add("long", lengths.data)
            _, offsets, data = values.buffers()
            begin = int(np.frombuffer(offsets, np.int32)[values.offset]) if len(values) else 0
            add("values", memoryview(data or b"")[begin : begin + int(lengths.sum())])
        elif pa.types.is_boolean(values.type):
            add("values", values.to_numpy(zero_copy_only=False).view(np.uint8).data)
        else:
            width = values.type.byte_width
            data = memoryview(values.buffers()[1] or b"")
            add("values", data[values.offset * width : (values.offset + len(values)) * width])
