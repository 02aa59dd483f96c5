"""One block of a text as one row group, proven; and the text from the row group again."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from storaged.codecs.parquet.footer import END, MAGIC, Numbers
from storaged.codecs.parquet.pieces import check_of
from storaged.codecs.text import columns
from storaged.codecs.text.split import MANY, Mask, Parsed, Places, columns_of
from storaged.codecs.text.survey import Plan, special_bytes
from storaged.errors import NotTaken, VerificationFailed

PAGE: Final = 64 * 1024 * 1024  # bytes: one page for a chunk, which compresses best
DICTIONARY: Final = 1024 * 1024  # bytes of a dictionary, above which its writer goes on without
STRETCH: Final = 1024 * 1024  # bytes of text, more or less, that are made again together where few are asked for
ODD: Final = 0.05  # the share of a block's lines that are kept as they are, at most
ODD_LINES: Final = 64  # as many are kept whatever the share,
ODD_BYTES: Final = 4096  # of so many bytes together
TRIED_LEVEL: Final = 3
OFTEN: Final = 8  # times that a text stands in its column, above which a dictionary is best
DICTIONARY_FIRST: Final = "dictionary"
PLAIN: Final = "plain"
PROOF: Final = "test this machine's memory and processor"


_CLOSELY: Final = threading.Lock()  # what is looked at record by record takes several times as much memory


@dataclass(slots=True)
class Lines:
    """Lines of a text that are kept as they are: in front of a row each, or in its place."""

    row: array[int]
    instead: array[int]
    size: array[int]
    text: bytearray

    @classmethod
    def none(cls) -> Lines:
        return cls(array("Q"), array("B"), array("Q"), bytearray())

    def add(self, row: int, text: bytes | memoryview, *, instead: bool) -> None:
        self.row.append(row)
        self.instead.append(instead)
        self.size.append(len(text))
        self.text += text

    def extend(self, other: Lines) -> None:
        """Those of what comes next."""
        self.row.extend(other.row)
        self.instead.extend(other.instead)
        self.size.extend(other.size)
        self.text += other.text


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some rows of a row group, and the lines that are kept of them, with rows counted from the first one. `size` and
    `check` are of their text."""

    rows: int
    size: int
    check: int
    kept: Lines


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: `stored` are the bytes of its column chunks, `metadata` its footer as if it stood alone. Of a block
    without rows there is neither. `shapes` tell the shape of each row, where rows have several."""

    stored: bytes
    digest: int
    metadata: Any
    stretches: Sequence[Stretch]
    shapes: bytes = b""


@dataclass(frozen=True, slots=True)
class Encodings:
    """How the chunks of columns are encoded, by the columns' names; a column in none of them is plain."""

    dictionary: Sequence[str]
    named: dict[str, str]


def schema_of(plan: Plan, names: Sequence[str]) -> pa.Schema:
    """The columns of the table."""
    return pa.schema([pa.field(name, kind.arrow) for name, kind in zip(names, plan.types, strict=True)])


def table_of(parsed: Parsed, plan: Plan, schema: pa.Schema) -> pa.Table:
    """The table of a block, which takes the columns out of it. Raises NotTaken where a value is none of its column's
    type."""
    made = []
    parsed.columns.reverse()
    for kind, field in zip(plan.types, schema, strict=True):
        texts = parsed.columns.pop()  # as many as there are columns take much memory twice
        column = columns.values(kind, texts, check=False)
        if column is None:
            raise NotTaken(f"its records cannot be told apart: column {field.name!r} has other values than before")
        made.append(column if column.type == field.type else column.cast(field.type))
    return pa.table(made, schema=schema)


def parquet_of(table: pa.Table, *, level: int, encodings: Encodings) -> bytes:
    """A Parquet file of one row group. Statistics leave NaN out, and engines that go by them miss its rows; so a column
    that holds one has none."""
    sink = pa.BufferOutputStream()
    flat = table.flatten()
    told = [name for name, column in zip(flat.schema.names, flat.columns, strict=True) if not _has_nan(column)]
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, table.num_rows),
        compression="zstd",
        compression_level=level,
        use_dictionary=list(encodings.dictionary) or False,
        column_encoding=encodings.named or None,
        dictionary_pagesize_limit=DICTIONARY,
        data_page_size=PAGE,
        max_rows_per_page=max(1, table.num_rows),
        write_statistics=len(told) == flat.num_columns or told,
        store_schema=False,
        store_decimal_as_integer=True,
    )
    return bytes(sink.getvalue())


def _has_nan(column: pa.ChunkedArray) -> bool:
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_nan(column)).as_py())


def made(text: bytes, held: Parsed | None, plan: Plan, schema: pa.Schema, *, level: int, encodings: Encodings) -> Group:
    """The row group of a block that ends in a line end, whose columns may be held. Raises
    NotTaken where too many of its lines would be kept as they are, VerificationFailed where it does not come back."""
    parsed = held or columns_of(text, plan.written, plan.null)
    del held
    if parsed.records is None:
        whole = parquet_of(table_of(parsed, plan, schema), level=level, encodings=encodings)
        del parsed
        if plan.written.fields > MANY:
            pa.default_memory_pool().release_unused()
        lines, metadata = _again(whole, plan)
        if columns.data_of(lines).equals(pa.py_buffer(text)):
            return group_of(whole, metadata, list(stretches(text, lines, Lines.none())))
        del whole, lines
    with _CLOSELY:
        pa.default_memory_pool().release_unused()
        return _closely(text, plan, schema, level, encodings)


def _closely(text: bytes, plan: Plan, schema: pa.Schema, level: int, encodings: Encodings) -> Group:
    """The same of a block that is looked at record by record."""
    parsed = columns_of(text, plan.written, plan.null, closely=True)
    whole = parquet_of(table_of(parsed, plan, schema), level=level, encodings=encodings)
    records = parsed.records
    if records is None:
        raise ValueError("it was not looked at record by record")
    ends, fits = records.ends, records.fitting(plan.written.fields)
    del parsed, records  # the columns are in the file
    pa.default_memory_pool().release_unused()
    lines, metadata = _again(whole, plan)
    kept = kept_of(text, ends, fits, lines)
    return group_of(whole, metadata, list(stretches(text, lines, kept)))


def group_of(whole: bytes, metadata: Any, proven: Sequence[Stretch], shapes: bytes = b"") -> Group:
    """The row group of a file of one."""
    if not metadata.num_rows:
        return Group(b"", xxhash.xxh3_64_intdigest(b""), None, proven)
    stored = whole[len(MAGIC) : len(whole) - END - int.from_bytes(whole[-END : -len(MAGIC)], "little")]
    return Group(stored, xxhash.xxh3_64_intdigest(stored), metadata, proven, shapes)


def stretches(text: bytes, lines: pa.Array, kept: Lines) -> Iterator[Stretch]:
    """Cut a block where some MiB of its text are over. Raises VerificationFailed where they are not its text."""
    data, rows = pa.py_buffer(text), len(lines)
    step = max(1, rows * STRETCH // max(1, len(text)))
    at = line = line_at = 0
    for begin in range(0, max(1, rows), step):
        count = min(step, rows - begin)
        some = Lines.none()
        while line < len(kept.row) and (kept.row[line] < begin + count or begin + count == rows):
            end = line_at + kept.size[line]
            some.add(kept.row[line] - begin, bytes(kept.text[line_at:end]), instead=bool(kept.instead[line]))
            line, line_at = line + 1, end
        again = together(lines.slice(begin, count), some)
        if at + len(again) > len(text):
            break
        if not data.slice(at, len(again)).equals(pa.py_buffer(again)):
            raise VerificationFailed("a row group does not give the text that it was made of", hint=PROOF)
        yield Stretch(count, len(again), check_of(again), some)
        at += len(again)
    if at != len(text):
        raise VerificationFailed("a row group does not give the text that it was made of", hint=PROOF)


def _again(whole: bytes, plan: Plan) -> tuple[pa.Array, Any]:
    """The lines that a file's rows make, and its footer."""
    file = pq.ParquetFile(pa.BufferReader(whole))
    return _joined(_some_at_once(file), plan), file.metadata


def _some_at_once(file: Any) -> Iterator[pa.ChunkedArray]:
    """The columns of a file's row group, of which not all are in memory where there are many."""
    for begin in range(0, file.metadata.num_columns, MANY):
        which = range(begin, min(begin + MANY, file.metadata.num_columns))
        yield from file.reader.read_row_group(0, column_indices=list(which), use_threads=False).columns


def kept_of(text: bytes, ends: Places, fits: Mask, lines: pa.Array) -> Lines:
    """The lines of a block that its rows do not make; `ends` is behind each line, and `fits` tells which are rows.
    Raises NotTaken where they are too many."""
    if fits.all() and columns.data_of(lines).equals(pa.py_buffer(text)):
        return Lines.none()
    offsets = np.concatenate((np.zeros(1, np.int32), ends.astype(np.int32)))
    whole = pa.Array.from_buffers(pa.binary(), len(fits), [None, pa.py_buffer(offsets), pa.py_buffer(text)])
    differs = ~fits
    differs[np.flatnonzero(fits)] = pc.not_equal(whole.filter(pa.array(fits)), lines).to_numpy(zero_copy_only=False)
    found = np.flatnonzero(differs)
    if len(found) > ODD_LINES and len(found) > ODD * len(fits):
        raise NotTaken(f"{len(found)} of {len(fits)} lines in one place are written otherwise than the others")
    rows: Numbers = np.cumsum(fits) - fits
    kept = Lines.none()
    for number, row in zip(found.tolist(), rows[found].tolist(), strict=True):
        kept.add(row, text[offsets[number] : offsets[number + 1]], instead=bool(fits[number]))
    size = len(kept.text)
    if size > max(ODD_BYTES, ODD * len(text)):
        raise NotTaken(f"{size} of {len(text)} bytes in one place are no rows of a table")
    return kept


def together(lines: pa.Array, kept: Lines) -> bytes | memoryview:
    """The text of the lines that rows make, and of those that were kept."""
    buffer = columns.data_of(lines)
    data = memoryview(buffer).cast("B") if buffer.size else memoryview(b"")
    if not kept.row:
        return data
    offsets = np.frombuffer(lines.buffers()[1], np.int32, len(lines) + 1, lines.offset * 4)
    parts: list[bytes | memoryview] = []
    at = text_at = 0
    for row, instead, size in zip(kept.row, kept.instead, kept.size, strict=True):
        begin = int(offsets[row] - offsets[0])
        parts += (data[at:begin], memoryview(kept.text)[text_at : text_at + size])
        at = int(offsets[row + 1] - offsets[0]) if instead else begin
        text_at += size
    parts.append(data[at:])
    return b"".join(parts)


def lines_of(table: pa.Table, plan: Plan) -> pa.Array:
    """The lines of a table's rows, with their ends."""
    return _joined(table.columns, plan)


def _joined(table: Iterable[pa.ChunkedArray], plan: Plan) -> pa.Array:
    delimiter, quote = bytes([plan.written.delimiter]), bytes([plan.written.quote])
    parts: list[Any] = []
    before = b""
    for kind, quoted, chunks in zip(plan.types, plan.quoted, table, strict=True):
        column = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
        texts = columns.written(kind, column)
        if quoted and not texts.null_count:
            texts = _doubled(texts, quote)
            parts += (pa.scalar(before + quote), texts)
            before = quote + delimiter
            continue
        if quoted:
            texts = _in_quotes(texts, quote)
        elif kind.name in ("text", "bytes"):
            texts = _as_needed(texts, plan)
        parts += (pa.scalar(before), texts) if before else (texts,)
        before = delimiter
    ending = pa.scalar(before.removesuffix(delimiter) + plan.written.ending)
    return pc.binary_join_element_wise(
        *parts, ending, pa.scalar(b""), null_handling="replace", null_replacement=plan.null.decode()
    )


def _doubled(texts: pa.Array, quote: bytes) -> pa.Array:
    data = columns.data_of(texts)
    return pc.replace_substring(texts, quote, quote * 2) if quote in memoryview(data).tobytes() else texts


def _in_quotes(texts: pa.Array, quote: bytes) -> pa.Array:
    mark = pa.scalar(quote)
    return pc.binary_join_element_wise(mark, _doubled(texts, quote), mark, pa.scalar(b""))


def _as_needed(texts: pa.Array, plan: Plan) -> pa.Array:
    """In quotes where they hold what parts fields or lines, or where nothing would stand for null."""
    special = special_bytes(plan.written)
    if not special:
        return texts
    data = columns.data_of(texts).to_pybytes()
    needed = None
    if any(byte in data for byte in special):
        needed = pc.match_substring_regex(texts, "[" + "".join(f"\\x{byte:02x}" for byte in special) + "]")
    if not plan.null and pc.min(pc.binary_length(texts)).as_py() == 0:
        empty = pc.equal(pc.binary_length(texts), 0)
        needed = empty if needed is None else pc.or_(needed, empty)
    return texts if needed is None else pc.if_else(needed, _in_quotes(texts, bytes([plan.written.quote])), texts)


def encodings_of(table: pa.Table, kinds: Sequence[columns.Type]) -> Encodings:
    """The encodings that make the chunks of a table smallest, each column tried by itself; dictionaries for all where
    there are many columns."""
    if table.num_columns > MANY:
        return Encodings(table.schema.names, {})
    dictionary: list[str] = []
    named: dict[str, str] = {}
    for kind, name in zip(kinds, table.schema.names, strict=True):
        column = table.select([name])
        if kind in (columns.TEXT, columns.BYTES) and pc.count_distinct(column[0]).as_py() * OFTEN <= len(table):
            dictionary.append(name)
            continue
        tried = {which: _size(column, Encodings(*each)) for which, each in _choices(kind, name).items()}
        best = min(tried, key=lambda which: tried[which])
        if best == DICTIONARY_FIRST:
            dictionary.append(name)
        elif best != PLAIN:
            named[name] = best
    return Encodings(dictionary, named)


def _choices(kind: columns.Type, name: str) -> dict[str, tuple[Sequence[str], dict[str, str]]]:
    """What to try for a column, the simplest first."""
    others = {
        "text": ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"),
        "bytes": ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"),
        "double": ("BYTE_STREAM_SPLIT",),
        "repr": ("BYTE_STREAM_SPLIT",),
        "bool": (),
    }.get(kind.name, ("DELTA_BINARY_PACKED",))
    fixed: dict[str, tuple[Sequence[str], dict[str, str]]] = {DICTIONARY_FIRST: ([name], {}), PLAIN: ((), {})}
    return fixed | {other: ((), {name: other}) for other in others}


def _size(column: pa.Table, encodings: Encodings) -> int:
    whole = parquet_of(column, level=TRIED_LEVEL, encodings=encodings)
    return len(whole)
