"""The form `text`: delimited text, whose fields become columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from storaged.codecs.parquet.block import Block
from storaged.codecs.text import dialect
from storaged.codecs.text.columns import Type
from storaged.codecs.text.dialect import Dialect
from storaged.codecs.text.rowgroup import Encodings, Group, lines_of, made, schema_of, table_of
from storaged.codecs.text.shelf import Shelf
from storaged.codecs.text.split import Parsed, Records, Written, columns_of
from storaged.codecs.text.survey import Plan, seen

FORM: Final = "text"


@dataclass(frozen=True, slots=True)
class Fields:
    """The plan of a text, with its table's columns."""

    plan: Plan
    schema: pa.Schema
    shelf: Shelf[Parsed]

    @property
    def types(self) -> Sequence[Type]:
        """Of the table's columns."""
        return self.plan.types

    def table(self, text: bytes) -> pa.Table:
        """Of some lines. Raises NotTaken."""
        return table_of(columns_of(text, self.plan.written, self.plan.null), self.plan, self.schema)

    def made(self, text: bytes, level: int, encodings: Encodings) -> Group:
        """As `rowgroup.made`."""
        return made(text, self.shelf.take(text), self.plan, self.schema, level=level, encodings=encodings)

    def to_bytes(self) -> bytes:
        """As a blob keeps it."""
        return self.plan.to_bytes()


@dataclass(frozen=True, slots=True)
class Delimited:
    """A text of this dialect."""

    dialect: Dialect
    form: str = FORM

    @property
    def head(self) -> bytes:
        """What stands before the first record."""
        return self.dialect.head

    @property
    def written(self) -> Written:
        """How its fields are parted."""
        return self.dialect.written

    def planned(self, texts: Iterable[bytes]) -> Fields:
        """By all blocks of the text. Raises NotTaken."""
        plan, shelf = seen(texts, self.written)
        return Fields(plan, schema_of(plan, self.dialect.names), shelf)

    def rows(self, text: bytes) -> int:
        """How many of these lines have as many fields as there are columns."""
        return int(Records(text, self.written).fitting(self.written.fields).sum())


def found(head: bytes, whole: bool) -> Delimited:
    """By the beginning of a text. Raises NotTaken."""
    return Delimited(dialect.found(head, whole=whole))


@dataclass(frozen=True, slots=True)
class Again:
    """Writes the lines of a blob's rows."""

    plan: Plan

    @classmethod
    def of(cls, opened: Block) -> Again:
        """Raises ValueError, TypeError or LookupError where the blob does not tell how."""
        return cls(Plan.from_bytes(opened.parts["plan"]))

    def empty(self) -> pa.Table:
        """The table without rows."""
        return pa.table({str(number): pa.array([], kind.arrow) for number, kind in enumerate(self.plan.types)})

    def lines(self, table: pa.Table, first: int) -> pa.Array:
        """The lines of some rows, the first of which is that row of the table."""
        return lines_of(table, self.plan)
