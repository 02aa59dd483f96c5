"""How lines of JSON objects become a table and are written again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.jsonl import kinds, nested, split
from storaged.codecs.jsonl.kinds import RAW, Kind
from storaged.codecs.jsonl.nested import Field
from storaged.codecs.jsonl.rows import Rows, Shape, Shapes, rows_of
from storaged.codecs.text.columns import Type
from storaged.codecs.text.split import Mask, Places
from storaged.errors import NotTaken

SHAPES: Final = 255  # of a text: a byte tells which a row has
FEW: Final = 64  # shapes of the beginning; above, objects in objects are taken apart only if that makes no more of them
KEYS: Final = 1_000  # of all shapes together
ODD: Final = 0.02  # the share of lines that are no rows, at most
ODD_LINES: Final = 16  # as many are none whatever the share

Key = tuple[tuple[str, ...], int]  # where a value stands, and how many of the same name stand before it
_MARK: Final = bytes([split.MARK])


@dataclass(frozen=True, slots=True)
class Typed:
    """The lines of a block as `Rows` has them, with values of `kinds` instead of texts; of a column without a kind
    there are none but nulls."""

    ends: Places
    fits: Mask
    shapes: Shapes
    kinds: Sequence[Kind | None]
    columns: Sequence[pa.Array]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return sum(part.nbytes for part in (self.ends, self.fits, self.shapes, *self.columns))

    def are(self, kinds_: Sequence[Kind]) -> bool:
        """Whether the values are of these kinds, too."""
        told = zip(self.kinds, self.columns, kinds_, strict=False)
        return all(kind is None or kinds.holds(kind, column, other) for kind, column, other in told)


@dataclass(frozen=True, slots=True)
class Plan:
    """`opened`: objects within an object are taken apart, too. `paths` and `kinds` are of all columns, `layout` tells
    which of them stand in the table, and in which order."""

    opened: bool
    paths: tuple[tuple[str, ...], ...]
    kinds: tuple[Kind, ...]
    shapes: tuple[Shape, ...]
    layout: tuple[Field, ...]

    @property
    def types(self) -> tuple[Type, ...]:
        """Of the table's columns, those of structs each."""
        return tuple(self.kinds[number].type for which in self.layout for number in which.columns)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the table."""
        return pa.schema([nested.field(which, self.paths, self.kinds) for which in self.layout])

    def rows(self, text: bytes) -> Rows:
        """The rows of a block that ends in a line end."""
        known = {_joined(shape.around): number for number, shape in enumerate(self.shapes)}
        return rows_of(text, self.opened, self.shapes, lambda whole, count: known.get(whole), lambda: len(self.kinds))

    def typed(self, text: bytes, seen: Typed | None) -> Typed:
        """The values of a block that ends in a line end; `seen` are those that its survey read, where they are at hand.
        Raises NotTaken where a value is none of its column's kind."""
        if seen is not None and seen.are(self.kinds):
            return seen
        rows = self.rows(text)
        made = []
        rows.columns.reverse()
        for number, kind in enumerate(self.kinds):
            texts = rows.columns.pop() if rows.columns else pa.nulls(len(rows.shapes), pa.binary())
            column = kinds.values(kind, texts, check=False)
            if column is None:
                raise NotTaken(f"its key {'.'.join(self.paths[number])!r} has other values than before")
            made.append(column)
        return Typed(rows.ends, rows.fits, rows.shapes, self.kinds, made)

    def table(self, typed: Typed) -> pa.Table:
        """The table of a block."""
        made = []
        later = [pa.nulls(len(typed.shapes))] * (len(self.kinds) - len(typed.columns))
        for kind, column in zip(self.kinds, [*typed.columns, *later], strict=True):
            made.append(column if column.type == kind.type.arrow else column.cast(kind.type.arrow))
        return nested.table(self.layout, made, self.schema)

    def lines(self, table: pa.Table, shapes: Shapes) -> pa.Array:
        """The lines of a table's rows, with their ends."""
        columns = nested.columns(self.layout, table, [kind.type.arrow for kind in self.kinds])
        texts = [kinds.written(kind, column) for kind, column in zip(self.kinds, columns, strict=True)]
        order, present = _grouped(shapes)
        if len(present) == 1:
            return _joined_lines(self.shapes[present[0][0]], texts, None)
        parts = [_joined_lines(self.shapes[number], texts, pa.array(order[a:b])) for number, a, b in present]
        return pa.concat_arrays(parts).take(pa.array(_inverse(order))) if parts else pa.array([], pa.binary())

    def to_bytes(self) -> bytes:
        """As a blob keeps it: ASCII JSON."""
        said = {
            "opened": int(self.opened),
            "paths": self.paths,
            "kinds": [kinds.as_told(kind) for kind in self.kinds],
            "shapes": [[[a.decode("latin-1") for a in s.around], s.columns] for s in self.shapes],
            "layout": [[which.name, which.columns, int(which.struct)] for which in self.layout],
        }
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Raises ValueError, TypeError or LookupError where it is none."""
        said = json.loads(data)
        shapes = [Shape(tuple(a.encode("latin-1") for a in around), tuple(which)) for around, which in said["shapes"]]
        told = tuple(kinds.from_told(kind) for kind in said["kinds"])
        layout = tuple(Field(name, tuple(which), bool(struct)) for name, which, struct in said["layout"])
        return cls(bool(said["opened"]), tuple(map(tuple, said["paths"])), told, tuple(shapes), layout)


@dataclass(slots=True)
class Survey:
    """Sees all blocks of a text, in order. Each is given with a line end at its end."""

    opened: bool
    rows: int = 0
    lines: int = 0
    _known: dict[bytes, int] = field(default_factory=dict)
    _shapes: list[Shape] = field(default_factory=list)
    _keys: dict[Key, int] = field(default_factory=dict)
    _kinds: list[Kind | None] = field(default_factory=list)

    def see(self, text: bytes) -> Typed:
        """One more block, whose values are returned. Raises NotTaken where too many lines are no rows."""
        found = rows_of(text, self.opened, self._shapes, self._number, lambda: len(self._keys))
        self._kinds += [None] * (len(self._keys) - len(self._kinds))
        self.rows += len(found.shapes)
        self.lines += len(found.ends)
        self._check()
        made = []
        found.columns.reverse()
        for number in range(len(found.columns)):
            kind, column = kinds.seen(self._kinds[number], found.columns.pop())
            self._kinds[number] = kind
            narrow = kind is not None and kind.type.name == "int"
            made.append(column.cast(kind.type.arrow) if kind is not None and narrow else column)
        return Typed(found.ends, found.fits, found.shapes, tuple(self._kinds), made)

    def plan(self) -> Plan:
        """What was seen."""
        paths = tuple(path for path, _ in self._keys)
        empty = [kind is None for kind in self._kinds]
        told = tuple(kind or RAW for kind in self._kinds)
        return Plan(self.opened, paths, told, tuple(self._shapes), nested.layout(paths, empty))

    def _check(self) -> None:
        odd = self.lines - self.rows
        if (odd > ODD_LINES and odd > ODD * self.lines) or not self.rows:
            raise NotTaken(
                f"{odd} of its {self.lines} lines are no JSON objects, or have none of the {len(self._shapes)} most "
                f"common shapes"
            )

    def _number(self, whole: bytes, count: int) -> int | None:
        """The number of a shape; None where it is none, or there are too many."""
        if whole not in self._known:
            number = self._new(whole, count)
            if number is None:
                return None
            self._known[whole] = number
        return self._known[whole]

    def _new(self, whole: bytes, count: int) -> int | None:
        """The number of a shape that was not seen before."""
        paths = _paths(whole) if len(self._shapes) < SHAPES else None
        if paths is None or not len(paths) == count == whole.count(_MARK):
            return None
        keys: dict[Key, None] = {}
        for path in paths:
            before = sum(1 for other, _ in keys if other == path)
            keys[path, before] = None
        if len(self._keys.keys() | keys.keys()) > KEYS:
            raise NotTaken(f"its objects have more than {KEYS} keys")
        which = tuple(self._keys.setdefault(key, len(self._keys)) for key in keys)
        self._shapes.append(Shape(tuple(whole.split(_MARK)), which))
        return len(self._shapes) - 1


def _paths(whole: bytes) -> list[tuple[str, ...]] | None:
    """Where the values of a shape stand; None where it is no JSON."""
    if not whole.endswith(b"\n") or whole[:1] != b"{":
        return None
    try:
        found = json.loads(whole.replace(_MARK, b"0").decode(), object_pairs_hook=list)
        paths: list[tuple[str, ...]] = []
        for name, value in found:
            paths += [(name, inner) for inner, _ in value] if isinstance(value, list) else [(name,)]
        return None if any(not _fair(name) for path in paths for name in path) else paths
    except (ValueError, TypeError, RecursionError):
        return None


def _fair(name: str) -> bool:
    return not any(ord(char) < ord(" ") for char in name) and name == name.encode(errors="replace").decode()


def _joined(around: Sequence[bytes]) -> bytes:
    return _MARK.join(around)


def _grouped(shapes: Shapes) -> tuple[Places, list[tuple[int, int, int]]]:
    """Rows in the order of their shapes, and each shape with where its rows begin and end there."""
    counts = np.bincount(shapes, minlength=1)
    present = np.flatnonzero(counts)
    ends = np.cumsum(counts[present])
    groups = list(zip(present.tolist(), (ends - counts[present]).tolist(), ends.tolist(), strict=True))
    order: Places = np.argsort(shapes, kind="stable") if len(present) > 1 else np.arange(len(shapes))
    return order, groups


def _inverse(order: Places) -> Places:
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return back


def _joined_lines(shape: Shape, texts: Sequence[tuple[bytes, pa.Array, bytes]], rows: pa.Array | None) -> pa.Array:
    parts: list[Any] = []
    before = b""
    for around, which in zip(shape.around, shape.columns, strict=False):
        left, column, right = texts[which]
        parts += (pa.scalar(before + around + left), column if rows is None else column.take(rows))
        before = right
    return pc.binary_join_element_wise(
        *parts,
        pa.scalar(before + shape.around[-1]),
        pa.scalar(b""),
        null_handling="replace",
        null_replacement=split.NULL.decode(),
    )
