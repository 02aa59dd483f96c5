"""Conditions on time that has passed, and how spans of time are worded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY, SECOND, iso
from storaged.config.quantities import Duration, format_duration
from storaged.decide import sql
from storaged.decide.conditions.base import UNCOVERED, Condition, Told
from storaged.decide.evidence import Evidence, Window


class IdleFor(Condition):
    """Not read, and not written anew, for so long at the end of what the logs tell. Never read: since its creation or
    the window's begin, whichever is later. No window over all of that time: not selected."""

    wants = Duration
    nearest = "min"
    of_reads = True

    def __str__(self) -> str:
        return f"idle for {format_duration(self.value)}"

    def _latest(self, evidence: Evidence) -> ColumnElement[int]:
        """The last instant at which the object may have been touched to count as idle; NULL without coverage."""

        def latest(window: Window) -> int | None:
            return window.until_us - self.value if window.length_us >= self.value else None

        return evidence.at_window(latest, sa.BigInteger())

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        latest = self._latest(evidence)
        unread = sa.or_(objects.c.last_read_us.is_(None), objects.c.last_read_us <= latest)
        return sa.and_(objects.c.created_us <= latest, unread)

    def facts(self) -> tuple[ColumnElement[int]]:
        read, created = objects.c.last_read_us, objects.c.created_us
        return (sa.case((read > created, read), else_=created),)

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        length, unit = named_span(self.value)
        begin = evidence.at_window(lambda window: window.from_us, sa.BigInteger())
        end = evidence.at_window(lambda window: window.until_us, sa.BigInteger())
        (touched,) = self.facts()
        since = sa.case((touched > begin, touched), else_=begin)
        return sql.words("idle ", (end - since) // length, f" {unit} ≥ {self.value // length} {unit}")

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        if window is None:
            return Told(UNCOVERED)
        since = max(facts[0], window.from_us)
        idle = window.until_us - since
        what = (
            f"idle {span_words(idle)}" if idle > 0 else f"touched when its logs ended ({iso(window.until_us)}) or later"
        )
        if window.length_us < self.value:
            what += f", and its reads are known for {span_words(window.length_us)} only"
        return Told(what, since + self.value)


class AgeOver(Condition):
    """So long since this content was first known to exist."""

    wants = Duration
    nearest = "min"

    def __str__(self) -> str:
        return f"{format_duration(self.value)} old or older"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        latest: int = evidence.now_us - self.value
        return objects.c.created_us <= latest

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        length, unit = named_span(self.value)
        age = sql.since(objects.c.created_us, evidence.now_us) // length
        return sql.words("age ", age, f" {unit} ≥ {self.value // length} {unit}")

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.created_us,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        return Told(f"{span_words(max(evidence.now_us - facts[0], 0))} old", facts[0] + self.value)


def named_span(us: int) -> tuple[int, str]:
    """The largest unit of time that divides `us`, so that a threshold is a whole number of it."""
    for length, name in ((DAY, "d"), (3600 * SECOND, "h"), (60 * SECOND, "min"), (SECOND, "s")):
        if us and us % length == 0:
            return length, name
    return SECOND // 1000, "ms"


def span_words(us: int) -> str:
    """A span of time in one or two units, rounded down: 41d, 5h30m."""
    for least, unit in ((2 * DAY, DAY), (2 * 3600 * SECOND, 60 * SECOND), (0, SECOND)):
        if us >= least:
            return format_duration(us // unit * unit)
    return format_duration(us)
