"""Text as a Parquet file of typed columns, and the identical text from it, whatever tells its records and fields apart.

The whole text is read once to find what its columns are, and once to write them. A block of it becomes a row group;
what the row group's own bytes give when they are decoded again is compared with the text before they are handed on.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from storaged.codecs.base import Content, Encoded, InMemory, Sample, at_most, in_order
from storaged.codecs.parquet import block
from storaged.codecs.parquet.footer import END, LARGEST, MAGIC, Footer, Numbers, Of, OfGroup
from storaged.codecs.parquet.wrapped import Around
from storaged.codecs.text.columns import Type
from storaged.codecs.text.dialect import HEAD
from storaged.codecs.text.rowgroup import PROOF, Encodings, Group, Lines, encodings_of
from storaged.codecs.text.split import MANY, Written, blocks, last_end
from storaged.digest import Digest
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import Origin

if TYPE_CHECKING:
    from storaged.codecs.packed import Column

LEVEL: Final = 3  # where none is asked for: encodings make more of a text smaller than levels do
AT_ONCE: Final = 2  # blocks that are worked on together, unless there are many columns
KEPT: Final = 64 * 1024 * 1024  # bytes of lines that are kept as they are, at most
SHAPES: Final = 64 * 1024 * 1024  # rows of several shapes, at most: a byte is kept for each
WHOLE: Final = 1536 * 1024  # bytes of a text that a sample encodes as it is
SLICE: Final = 256 * 1024  # bytes from the middle and from the end of a longer one
TRIED: Final = 5 * 1024 * 1024  # bytes of text from which encodings are chosen,
TRIED_ROWS: Final = 32_768  # and so many rows of it
BESIDE: Final = 2048  # bytes that a blob of ours holds besides row groups and footer


class Planned(Protocol):
    """How a text becomes a table, and is written again."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def types(self) -> Sequence[Type]:
        """Of the table's columns, those of structs each."""
        ...

    def table(self, text: bytes) -> pa.Table:
        """Of some lines. Raises NotTaken."""
        ...

    def made(self, text: bytes, level: int, encodings: Encodings) -> Group:
        """The row group of a block that ends in a line end. Raises NotTaken, VerificationFailed where it does not come
        back."""
        ...

    def to_bytes(self) -> bytes:
        """As a blob keeps it."""
        ...


class How(Protocol):
    """How a text is read, by what its beginning shows. `head` stands before the first record."""

    @property
    def form(self) -> str: ...

    @property
    def head(self) -> bytes: ...

    @property
    def written(self) -> Written: ...

    def planned(self, texts: Iterable[bytes]) -> Planned:
        """By all blocks of the text, each with a line end at its end. Raises NotTaken."""
        ...

    def rows(self, text: bytes) -> int:
        """How many of these lines are rows."""
        ...


Found = Callable[[bytes, bool], How]  # by the beginning of a text, and whether that is all of it. Raises NotTaken


def encode(
    found: Found,
    source: Content,
    sink: Callable[[bytes], None],
    *,
    level: int | None,
    origin: Origin,
    executor: Executor | None = None,
    around: Around | None = None,
) -> Encoded:
    """Encode a text; `around`: it is what is inside of the object's content. Raises NotTaken, mostly before anything is
    handed to the sink, where it is none or does not become a table; VerificationFailed where something does not come
    back."""
    return _Run(source, sink, LEVEL if level is None else level, executor, around).encode(found, origin)


def _head(source: Content) -> bytes:
    return source.read_at(0, min(source.size, HEAD)) if source.size else b""


class _Run:
    def __init__(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        level: int,
        executor: Executor | None,
        around: Around | None,
    ) -> None:
        self._source, self._sink, self._level, self._executor, self._around = source, sink, level, executor, around
        self._digest, self._written, self._size, self._read = Digest(), Digest(), 0, 0
        self._bound = at_most(source.size if around is None else around.size)
        self._missing = 0  # bytes of a line end that the text lacks at its end

    def encode(self, found: Found, origin: Origin) -> Encoded:
        head = _head(self._source)
        how = found(head, len(head) == self._source.size)
        written = how.written
        plan = how.planned(_ended(text, written) for text in blocks(self._source, len(how.head), written))
        footers = _Footers(plan.schema)
        table = Table()
        self._digest.update(how.head)
        self._read = len(how.head)
        self._write(MAGIC)
        for group in self._groups(how, plan):
            if group.metadata is not None:
                footers.add(group.metadata, self._size)
            table.add(group)
            self._write(group.stored)
        footer = footers.footer()
        known = dataclasses.replace(origin, size=self._read, digest=self._digest.hexdigest())
        told = table.told() | {"missing": self._missing, "footer": xxhash.xxh3_64_hexdigest(footer)}
        parts = {"plan": plan.to_bytes(), "head": how.head, "kept": bytes(table.kept.text)}
        if table.shapes:
            parts["shapes"] = bytes(table.shapes)
        if self._around is not None:
            known = self._around.known(known)
            self._around.keep(told, parts)
        self._write(block.built(known, how.form, told, table.columns(), parts))
        self._write(footer + len(footer).to_bytes(4, "little") + MAGIC)
        return Encoded(
            size=known.size,
            digest=known.digest,
            stored_size=self._size,
            stored_digest=self._written.hexdigest(),
            index=b"",
            origin=known,
        )

    def _write(self, data: bytes) -> None:
        if self._size + len(data) > self._bound:
            raise NotTaken("it would not become smaller")
        self._written.update(data)
        self._size += len(data)
        self._sink(data)

    def _groups(self, how: How, plan: Planned) -> Iterator[Group]:
        encodings: Encodings | None = None
        waiting: deque[Future[Group]] = deque()
        try:
            for text in blocks(self._source, len(how.head), how.written):
                self._digest.update(text)
                self._read += len(text)
                ended = _ended(text, how.written)
                self._missing = len(ended) - len(text)
                if encodings is None:
                    encodings = _encodings(ended, plan, how.written)
                if self._executor is None:
                    yield plan.made(ended, self._level, encodings)
                    continue
                waiting.append(self._executor.submit(plan.made, ended, self._level, encodings))
                if len(waiting) == (AT_ONCE if len(plan.schema) <= MANY else 1):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _ended(text: bytes, written: Written) -> bytes:
    """A block with a line end at its end; the last one of a text may have none."""
    return text if text.endswith(b"\n") else text + written.ending


def _encodings(text: bytes, plan: Planned, written: Written) -> Encodings:
    """From the first rows of a block."""
    first = text[: last_end(text[:TRIED], written)] or text
    return encodings_of(plan.table(first).slice(0, TRIED_ROWS).flatten(), plan.types)


class Table:
    """What is told of the row groups of a blob, in order."""

    def __init__(self) -> None:
        self._stored, self._digest, self._stretches = array("Q"), array("Q"), array("Q")
        self._rows, self._size, self._check, self._lines = array("Q"), array("Q"), array("Q"), array("Q")
        self.kept = Lines.none()
        self.shapes = bytearray()

    def add(self, group: Group) -> None:
        """One more. Raises NotTaken where too many lines are kept."""
        self._stored.append(len(group.stored))
        self._digest.append(group.digest)
        self._stretches.append(len(group.stretches))
        for stretch in group.stretches:
            self._rows.append(stretch.rows)
            self._size.append(stretch.size)
            self._check.append(stretch.check)
            self._lines.append(len(stretch.kept.row))
            self.kept.extend(stretch.kept)
        self.shapes += group.shapes
        if len(self.shapes) > SHAPES:
            raise NotTaken(f"it has more than {SHAPES} rows of several shapes")
        if len(self.kept.text) > KEPT:
            raise NotTaken("too many of its lines are written otherwise than the others")

    def told(self) -> dict[str, Any]:
        """How many rows there are, and how many lines are kept as they are."""
        return {"rows": sum(self._rows), "kept": len(self.kept.row)}

    def columns(self) -> dict[str, Column]:
        """As `regenerate` takes them."""
        named = {
            "stored": self._stored,
            "digest": self._digest,
            "stretches": self._stretches,
            "rows": self._rows,
            "size": self._size,
            "check": self._check,
            "lines": self._lines,
            "line_row": self.kept.row,
            "line_instead": self.kept.instead,
            "line_size": self.kept.size,
        }
        return {name: np.array(numbers, np.uint64) for name, numbers in named.items()}


class _Footers:
    """The footers of row groups that were files of their own, as that of one file."""

    def __init__(self, schema: pa.Schema) -> None:
        sink = pa.BufferOutputStream()
        pq.ParquetWriter(sink, schema, store_schema=False, store_decimal_as_integer=True).close()
        self._all: Any = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata
        self._at = array("q")

    def add(self, metadata: Any, at: int) -> None:
        """A row group whose bytes begin there; in its own file they stood behind the magic."""
        self._all.append_row_groups(metadata)
        self._at.append(at)

    def footer(self) -> bytes:
        """Raises NotTaken where it is too large, VerificationFailed where it does not say what it should."""
        sink = pa.BufferOutputStream()
        self._all.write_metadata_file(sink)
        found = Footer(sink.getvalue().to_pybytes()[len(MAGIC) : -END])
        if len(found.data) > LARGEST:
            raise NotTaken(f"its footer would have {len(found.data)} bytes, and {LARGEST} are the most")
        shift = np.frombuffer(self._at, np.int64) - len(MAGIC)
        chunks, groups = found.chunks.copy(), found.groups.copy()
        for which in (Of.FILE_OFFSET, Of.DATA_PAGE, Of.INDEX_PAGE, Of.DICTIONARY_PAGE):
            chunks[:, which] = _moved(chunks[:, which], shift[found.group])
        groups[:, OfGroup.FILE_OFFSET] = _moved(groups[:, OfGroup.FILE_OFFSET], shift)
        footer = found.patched(chunks, groups)
        again = Footer(footer)
        if (again.chunks != chunks).any() or (again.groups != groups).any():
            raise VerificationFailed("the new footer does not say what it should; nothing was changed", hint=PROOF)
        return footer


def _moved(places: Numbers, shift: Numbers) -> Numbers:
    moved: Numbers = np.where(places > 0, places + shift, places)
    return moved


def sample(found: Found, source: Content, *, level: int | None) -> Sample:
    """What `encode` would make of a text, from its beginning and two slices. Raises NotTaken."""
    chosen = LEVEL if level is None else level
    if source.size <= WHOLE:
        stored = 0

        def count(data: bytes) -> None:
            nonlocal stored
            stored += len(data)

        encode(found, InMemory(b"".join(in_order(source))), count, level=chosen, origin=_NOBODY)
        return Sample(stored / source.size, chosen)
    head = _head(source)
    how = found(head, False)
    texts = [text for text in _slices(source, head[len(how.head) :], how) if text]
    if not texts:
        raise NotTaken("where it was looked at, no whole line is behind its beginning")
    plan = how.planned(texts)
    text = b"".join(texts)
    group = plan.made(text, chosen, _encodings(text, plan, how.written))
    groups = -(-source.size // how.written.block)
    footer = 0 if group.metadata is None else group.metadata.serialized_size
    beside = BESIDE + len(plan.to_bytes()) + footer * groups
    return Sample((len(group.stored) * source.size / len(text) + beside) / source.size, chosen)


_NOBODY: Final = Origin("", "", "", "", 0, "")


def _slices(source: Content, first: bytes, how: How) -> Iterator[bytes]:
    """Whole lines from the beginning, the middle and the end of a text."""
    yield first[: last_end(first, how.written) or first.rfind(b"\n") + 1]
    for at in (max((source.size - SLICE) // 2, HEAD), source.size - SLICE):
        tried = _lines_in(source.read_at(at, SLICE), how.written)
        rows, text = max(((how.rows(text), text) for text in tried if text), default=(0, b""), key=itemgetter(0))
        if rows:
            yield text


def _lines_in(data: bytes, written: Written) -> Iterator[bytes]:
    """The whole lines in a piece of a text: if it begins outside of quotes, and if inside of some. Neither shows."""
    quote = written.quote if written.quote and written.quote in data else None
    for inside in (0, 1) if quote else (0,):
        quotes, at = inside, -1
        while (end := data.find(b"\n", at + 1)) >= 0:
            quotes += data.count(quote, at + 1, end) if quote else 0
            at = end
            if quotes % 2 == 0:
                text = data[end + 1 :]
                yield text[: last_end(text, written)]
                break
