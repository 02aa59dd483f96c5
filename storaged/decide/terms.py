"""Parts of a `where:` as SQL, and arithmetic on them that leaves what a double holds on no row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.decide import sql
from storaged.decide.columns import Type

MOST_TAMED: Final = 3  # times that a number is brought back into bounds, within one another
_MOST: Final = 1e302  # what an operation on two tame numbers stays below, and a double holds
_LEAST: Final = 1e-302


@dataclass(frozen=True, slots=True)
class Term:
    """A part of the expression; `literal` where it was written as one.

    No number is farther from 0 than `most`, and none but 0 nearer than `least`: what a row can hold is known, so it is
    known which arithmetic could leave what a double holds. Unless told otherwise these are those of 64-bit integers.
    """

    kind: Type
    sql: ColumnElement[Any]
    literal: str | int | float | None = None
    most: float = 2.0**63
    least: float = 1.0
    tame: int = 0  # how often it was brought back into bounds

    @classmethod
    def number(cls, literal: float) -> Term:
        """A number as it was written; it has no sign."""
        size = literal or 1.0
        return cls(Type.NUMBER, sa.literal(literal, sa.Double()), literal, size, size)

    def real(self) -> Term:
        """The same number in double precision."""
        return replace(self, sql=sql.real(self.sql))

    def tamed(self) -> Term:
        """The same number, in bounds such that any one operation on two of them is safe."""
        if self.most <= sql.LARGEST and self.least >= sql.SMALLEST:
            return self
        if isinstance(self.literal, float):  # never 0: it may be what something is divided by
            return Term.number(min(max(self.literal, sql.SMALLEST), sql.LARGEST))
        return replace(
            self, sql=sql.tame(self.sql), literal=None, most=sql.LARGEST, least=sql.SMALLEST, tame=self.tame + 1
        )


def added(one: Term, other: Term, sign: str) -> Term:
    """With + or - between them."""
    if one.most + other.most > _MOST:
        one, other = one.tamed(), other.tamed()
    least = min(one.least, other.least) * 2.0**-53  # of the difference of two that are nearly equal
    return _number(one, other, sql.chained(one.sql, sign, other.sql), one.most + other.most, least)


def multiplied(one: Term, other: Term) -> Term:
    if one.most * other.most > _MOST or one.least * other.least < _LEAST:
        one, other = one.tamed(), other.tamed()
    product = sql.chained(one.sql, "*", other.sql)
    return _number(one, other, product, one.most * other.most, one.least * other.least)


def divided(one: Term, other: Term) -> Term:
    """One by the other; NULL by 0."""
    if one.most > _MOST * other.least or one.least < _LEAST * other.most:
        one, other = one.tamed(), other.tamed()
    divisor: ColumnElement[float] = sa.func.nullif(other.sql, sa.literal(0.0, sa.Double()), type_=sa.Double())
    quotient = sql.chained(one.sql, "/", divisor)
    return _number(one, other, quotient, one.most / other.least, one.least / other.most)


def _number(one: Term, other: Term, made: ColumnElement[Any], most: float, least: float) -> Term:
    return Term(Type.NUMBER, made, None, most, least, max(one.tame, other.tame))
