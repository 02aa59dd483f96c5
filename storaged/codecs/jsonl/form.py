"""The form `jsonl`: lines of JSON objects, whose values become columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storaged.codecs.jsonl.plan import FEW, Plan, Survey, Typed
from storaged.codecs.jsonl.rows import Shapes
from storaged.codecs.jsonl.split import Split, numbered, split
from storaged.codecs.parquet.block import Block
from storaged.codecs.text.columns import Type
from storaged.codecs.text.rowgroup import Encodings, Group, group_of, kept_of, parquet_of, stretches
from storaged.codecs.text.shelf import Shelf
from storaged.codecs.text.split import MANY, NO_QUOTE, Written
from storaged.errors import NotTaken

FORM: Final = "jsonl"
BLOCK: Final = 8 * 1024 * 1024  # bytes of text of one row group, more or less: half of them are keys
HELD: Final = 128 * 1024 * 1024  # bytes of values that are held for the second reading, at most
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Values:
    """The plan of a text, as a table is made by it."""

    plan: Plan
    shelf: Shelf[Typed]

    @property
    def schema(self) -> pa.Schema:
        """The table's columns."""
        return self.plan.schema

    @property
    def types(self) -> tuple[Type, ...]:
        """Of the table's columns, those of structs each."""
        return self.plan.types

    def table(self, text: bytes) -> pa.Table:
        """Of some lines. Raises NotTaken."""
        return self.plan.table(self.plan.typed(text, None))

    def made(self, text: bytes, level: int, encodings: Encodings) -> Group:
        """The row group of a block that ends in a line end. Raises NotTaken where too many of its lines would be kept
        as they are, VerificationFailed where it does not come back."""
        typed = self.plan.typed(text, self.shelf.take(text))
        ends, fits, shapes = typed.ends, typed.fits, typed.shapes
        whole = parquet_of(self.plan.table(typed), level=level, encodings=encodings)
        del typed  # the columns are in the file
        _given_back(len(self.plan.kinds))
        file = pq.ParquetFile(pa.BufferReader(whole))
        lines = self.plan.lines(file.read_row_group(0, use_threads=False), shapes)
        kept = kept_of(text, ends, fits, lines)
        told = shapes.tobytes() if len(self.plan.shapes) > 1 else b""
        return group_of(whole, file.metadata, list(stretches(text, lines, kept)), told)

    def to_bytes(self) -> bytes:
        """As a blob keeps it."""
        return self.plan.to_bytes()


@dataclass(frozen=True, slots=True)
class Objects:
    """A text of one object a line. `opened`: objects within an object are taken apart, too."""

    head: bytes
    written: Written
    opened: bool
    form: str = FORM

    def planned(self, texts: Iterable[bytes]) -> Values:
        """By all blocks of the text. Raises NotTaken."""
        survey, shelf = Survey(self.opened), Shelf[Typed](HELD)
        for text in texts:
            typed = survey.see(text)
            shelf.put(text, typed, typed.nbytes)
            keys = len(typed.columns)
            del typed
            _given_back(keys)
        return Values(survey.plan(), shelf)

    def rows(self, text: bytes) -> int:
        """How many of these lines are objects."""
        return int(split(text, opened=self.opened).good.sum())


def _given_back(keys: int) -> None:
    """What is not used now goes back to the system where there are many keys, though it is asked for again soon."""
    if keys > MANY:
        pa.default_memory_pool().release_unused()


def begins(head: bytes) -> bool:
    """Whether a text that begins so may be lines of JSON objects."""
    return head.removeprefix(_BOM).lstrip(b" \t\r\n")[:1] == b"{"


def found(head: bytes, whole: bool) -> Objects:
    """By the beginning of a text. Raises NotTaken."""
    bom = _BOM if head.startswith(_BOM) else b""
    text = head[len(bom) : head.rfind(b"\n") + 1]
    if not text and whole:
        text = head[len(bom) :] + b"\n"
    if not text:
        raise NotTaken(f"its first {len(head)} bytes hold no end of a line")
    ending = b"\r\n" if 2 * text.count(b"\r\n") > text.count(b"\n") else b"\n"
    taken = split(text, opened=True)
    if not taken.good.any():
        raise NotTaken("its lines are no JSON objects, one each")
    shapes = _shapes(taken)
    opened = shapes <= FEW or shapes <= _shapes(split(text, opened=False))
    return Objects(bom, Written(0, NO_QUOTE, ending, 0, BLOCK), opened)


def _shapes(taken: Split) -> int:
    return len(numbered(taken.shapes)[1])


@dataclass(frozen=True, slots=True)
class Again:
    """Writes the lines of a blob's rows."""

    plan: Plan
    shapes: Shapes

    @classmethod
    def of(cls, opened: Block) -> Again:
        """Raises ValueError, TypeError or LookupError where the blob does not tell how."""
        plan = Plan.from_bytes(opened.parts["plan"])
        rows = int(opened.told["rows"])
        if len(plan.shapes) == 1:
            return cls(plan, np.broadcast_to(np.zeros(1, np.uint8), rows))
        shapes = np.frombuffer(opened.parts["shapes"], np.uint8)
        if len(shapes) != rows or shapes.max(initial=0) >= len(plan.shapes):
            raise ValueError("a row has no shape")
        return cls(plan, shapes)

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self.plan.schema.empty_table()

    def lines(self, table: pa.Table, first: int) -> pa.Array:
        """The lines of some rows, the first of which is that row of the table."""
        return self.plan.lines(table, self.shapes[first : first + len(table)])
