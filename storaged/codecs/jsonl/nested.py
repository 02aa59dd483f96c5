"""Columns of keys as the columns of a table: those of an object within the object are one struct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.jsonl.kinds import Kind
from storaged.codecs.text.dialect import unique


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the table: one column of keys, or a struct of some."""

    name: str
    columns: tuple[int, ...]
    struct: bool = False


def layout(paths: Sequence[tuple[str, ...]], empty: Sequence[bool]) -> tuple[Field, ...]:
    """The table's columns, by the paths of all columns and which of them never have a value. What is an object here and
    null there is a struct alone; what is another thing elsewhere has a column of its own and `a.b` beside it."""
    names = unique([".".join(path).encode() for path in paths])
    inner = {
        number: path[0]
        for number, path in enumerate(paths)
        if len(path) > 1 and all(path) and names[number] == ".".join(path)
    }
    structs = set(inner.values())
    hidden = {number for number, path in enumerate(paths) if empty[number] and len(path) == 1 and path[0] in structs}
    taken = {names[number] for number in range(len(paths)) if number not in inner and number not in hidden}
    structs -= taken
    made: dict[tuple[str, bool], list[int]] = {}
    for number, name in enumerate(names):
        if inner.get(number) in structs:
            made.setdefault((inner[number], True), []).append(number)
        elif number not in hidden:
            made[name, False] = [number]
    return tuple(Field(name, tuple(columns), struct) for (name, struct), columns in made.items())


def field(which: Field, paths: Sequence[tuple[str, ...]], kinds: Sequence[Kind]) -> pa.Field:
    """A column of the table's schema."""
    if not which.struct:
        return pa.field(which.name, kinds[which.columns[0]].type.arrow)
    return pa.field(which.name, pa.struct([(paths[number][1], kinds[number].type.arrow) for number in which.columns]))


def table(layout: Sequence[Field], made: Sequence[pa.Array], schema: pa.Schema) -> pa.Table:
    """The table of all columns. A struct is null where all in it are."""
    columns = []
    for which, named in zip(layout, schema, strict=True):
        parts = [made[number] for number in which.columns]
        if not which.struct:
            columns.append(parts[0])
            continue
        null = parts[0].is_null()
        for part in parts[1:]:
            null = pc.and_(null, part.is_null())
        columns.append(pa.StructArray.from_arrays(parts, fields=list(named.type), mask=null))
    return pa.table(columns, schema=schema)


def columns(layout: Sequence[Field], table: pa.Table, types: Sequence[pa.DataType]) -> list[pa.Array]:
    """All columns of a table again; those that it does not hold are null."""
    found: dict[int, pa.Array] = {}
    for which, chunks in zip(layout, table.columns, strict=True):
        column = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
        parts = column.flatten() if which.struct else [column]
        found |= dict(zip(which.columns, parts, strict=True))
    return [found[number] if number in found else pa.nulls(len(table), kind) for number, kind in enumerate(types)]
