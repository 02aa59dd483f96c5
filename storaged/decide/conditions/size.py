"""Conditions on size, and how sizes are worded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from humanize import naturalsize
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.config.quantities import Size
from storaged.decide import sql
from storaged.decide.atoms import Atom
from storaged.decide.conditions.base import Condition, Nearest, Told
from storaged.decide.evidence import Evidence, Window

_SIZES: Final = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def limit_words(size: int) -> str:
    """Bytes in the largest unit that leaves a whole number: 1 MiB, 1500 B."""
    unit, name = next(((unit, name) for unit, name in _SIZES if size and size % unit == 0), (1, "B"))
    return f"{size // unit} {name}"


def size_column(size: ColumnElement[int]) -> ColumnElement[str]:
    """A column's bytes in the largest unit that leaves two digits or more, rounded down: 51 KiB, 1024 MiB."""
    parts = [(size >= 10 * unit, sql.words(size // unit, f" {name}")) for unit, name in _SIZES]
    return sa.case(*parts, else_=sql.words(size, " B"))


class SizeOver(Condition):
    """More content than that."""

    wants = Size
    nearest: ClassVar[Nearest] = "max"

    def __str__(self) -> str:
        return f"larger than {limit_words(self.value)}"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        limit: int = self.value
        return objects.c.size > limit

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words("size ", size_column(objects.c.size), f" > {limit_words(self.value)}")

    def atoms(self) -> tuple[Atom, ...]:
        return (Atom("size", ">", (self.value,), whole=True),)

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.size,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        return Told(f"{naturalsize(facts[0], binary=True)} large")


class SizeUnder(SizeOver):
    """Less content than that."""

    nearest = "min"

    def __str__(self) -> str:
        return f"smaller than {limit_words(self.value)}"

    def atoms(self) -> tuple[Atom, ...]:
        return (Atom("size", "<", (self.value,), whole=True),)

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        limit: int = self.value
        return objects.c.size < limit

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words("size ", size_column(objects.c.size), f" < {limit_words(self.value)}")
