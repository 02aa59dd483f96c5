"""Conditions on decayed rates of reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import sqlalchemy as sa
from pydantic import AfterValidator
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.config.quantities import PERIOD_DAYS, BadValueError, Rate, ShareRate
from storaged.decide import sql
from storaged.decide.atoms import Atom
from storaged.decide.conditions.base import UNCOVERED, Condition, Nearest, Told
from storaged.decide.conditions.time import span_words
from storaged.decide.evidence import Evidence, Window
from storaged.heat import rate, threshold


def _above_zero(value: Rate) -> Rate:
    if value.per_day <= 0:
        raise BadValueError(f"{value} is no limit: no rate is below it", hint="for never read write `idle_for`")
    return value


class _RateCondition(Condition):
    """A decayed rate at the window's end. The window must be at least as long as the rate's own period."""

    score: ClassVar[sa.Column[Any]]
    of_reads = True

    @property
    def _period_us(self) -> int:
        return round(PERIOD_DAYS[str(self.value).rpartition("/")[2]] * DAY)

    def _limit(self, evidence: Evidence) -> ColumnElement[float]:
        """The score at which the rate is the wanted one; NULL without coverage."""

        def limit(window: Window) -> float | None:
            known = window.length_us >= self._period_us
            return threshold(self.value.per_day, window.until_us, evidence.half_life_us) if known else None

        return evidence.at_window(limit, sa.Double())

    def _below(self, evidence: Evidence, limit: ColumnElement[float]) -> ColumnElement[bool]:
        return sa.and_(self._limit(evidence).is_not(None), sa.or_(self.score.is_(None), self.score < limit))

    def _told(self, what: str, now_per_day: float, limit: float, window: Window, evidence: Evidence) -> Told:
        """A rate that only decays halves every half-life: it is below the limit after log2(now/limit) of them."""
        if window.length_us < self._period_us:
            what += f", and its reads are known for {span_words(window.length_us)} only"
        halvings = math.log2(now_per_day / limit) if now_per_day > 0 and limit > 0 else 0.0
        falls_us = window.until_us + math.ceil(max(halvings, 0.0) * evidence.half_life_us)
        return Told(what, max(falls_us, window.from_us + self._period_us))


class ReadsBelow(_RateCondition):
    """Fewer reads than that, as a decayed rate."""

    wants = Annotated[Rate, AfterValidator(_above_zero)]
    score = objects.c.heat_reads
    nearest: ClassVar[Nearest] = "min"

    def __str__(self) -> str:
        return f"read less than {self.value}"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        return self._below(evidence, self._limit(evidence))

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words(f"reads < {self.value}")

    def atoms(self) -> tuple[Atom, ...]:
        return (Atom("reads_per_day", "<", (self.value.per_day,)),)

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (self.score,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        if window is None:
            return Told(UNCOVERED)
        now = rate(facts[0], window.until_us, evidence.half_life_us)
        return self._told(f"{now:.3g} reads/day", now, self.value.per_day, window, evidence)


class ReadsAbove(ReadsBelow):
    """That many reads or more, as a decayed rate."""

    nearest = "max"

    def __str__(self) -> str:
        return f"read {self.value} or more"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        return self.score >= self._limit(evidence)

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words(f"reads ≥ {self.value}")

    def atoms(self) -> tuple[Atom, ...]:
        return (Atom("reads_per_day", ">=", (self.value.per_day,)),)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        return Told(super().tell(facts, window, evidence).what)


class ReadShareBelow(_RateCondition):
    """A smaller part of its bytes read than that, as a decayed rate: bytes read per time over its size."""

    wants = Annotated[ShareRate, AfterValidator(_above_zero)]
    score = objects.c.heat_bytes

    def __str__(self) -> str:
        return f"less than {self.value} of it read"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        # A score is a logarithm: the limit for `share · size` bytes is the limit for `share` plus ln(size).
        size = sa.case((objects.c.size > 0, sa.func.ln(sql.real(objects.c.size))), else_=sa.literal(0.0, sa.Double()))
        return self._below(evidence, self._limit(evidence) + size)

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words(f"share read < {self.value}")

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.size, self.score)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        if window is None:
            return Told(UNCOVERED)
        size, score = facts
        share = rate(score, window.until_us, evidence.half_life_us) / max(size, 1)
        return self._told(f"{share:.3%} of it read a day", share, self.value.per_day, window, evidence)
