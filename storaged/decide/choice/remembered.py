"""`memory`, a way to decide, in SQL: what `storaged.decide.forecast.memory` remembers of reads and wants by it.

Its columns are by the number of a candidate, n. Of what a day there saves less what its reads cost more, `year_n` is by
the rates of a year, `days_n` by those of the last days, and `lasting_n` by what of these did not come on one day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.decide import sql
from storaged.decide.evidence import Evidence
from storaged.decide.money import TWICE
from storaged.heat import DAYS, REMEMBERED, YEAR, decay_rate
from storaged.prices.book import DAYS_PER_MONTH, ClassPrices
from storaged.prices.formulas import Traffic, read

TRUST: Final = 0.4
NEW_DAYS: Final = 3
WAVE: Final = 0.4
DOUBT_DAYS: Final = 120  # without reads, as of which a year's rate was seen before anything was
SPAN_DAYS: Final = 1 / (1 - 2 ** (-1 / 2))  # that the last days' memory has, all in all
_LONG: Final = 40 * DAY  # after which nothing of the last days is left

Columns = Mapping[str, ColumnElement[Any]]


def seen(evidence: Evidence, waves: frozenset[int], known_days: ColumnElement[int]) -> dict[str, ColumnElement[Any]]:
    """What is remembered of an object at the end of its window. `waves`: datasets over which a wave of reads goes;
    `known_days`: for which its reads are known."""
    half_lives = (YEAR, YEAR, DAYS, DAYS, DAYS, DAYS)
    found: dict[str, ColumnElement[Any]] = {
        name: sql.tame(evidence.rate(objects.c[name], half_life_us))
        for name, half_life_us in zip(REMEMBERED, half_lives, strict=True)
    }
    decay = decay_rate(YEAR)
    unseen = sa.func.exp(sql.real(known_days) * -decay)
    for name in REMEMBERED[:2]:
        found[name] = found[name] / (1.0 + decay * DOUBT_DAYS - unseen)
    until = evidence.at_window(lambda window: window.until_us, sa.BigInteger())
    found["young"] = sa.case((until - objects.c.created_us < NEW_DAYS * DAY, 1), else_=0)
    read_lately = sa.func.coalesce(objects.c.last_read_us, 0) >= until - DAY
    found["waved"] = (
        sa.case((sa.and_(sql.in_ids(objects.c.dataset_id, waves), read_lately), 1), else_=0)
        if waves
        else sa.literal(0, sa.Integer())
    )
    return found


def saved(known: Columns, n: int) -> dict[str, ColumnElement[float]]:
    """`year_n`, `days_n` and `lasting_n`, from `keep_n` (saved a month without reads), `by_read_n` and `by_byte_n`
    (what a read, and a byte of it, costs more there)."""

    def at(reads: ColumnElement[float], nbytes: ColumnElement[float]) -> ColumnElement[float]:
        dearer = reads * known[f"by_read_{n}"] + nbytes * known[f"by_byte_{n}"]
        return sql.tame(known[f"keep_{n}"] * (1 / float(DAYS_PER_MONTH)) - dearer)

    days, day = (tuple(known[f"{name}_{what}"] for what in ("reads", "bytes")) for name in ("days", "day"))
    return {
        f"year_{n}": at(known["year_reads"], known["year_bytes"]),
        f"days_{n}": at(*days),
        f"lasting_{n}": at(days[0] - day[0], days[1] - day[1]),
    }


def wants(known: Columns, n: int, horizon_days: float) -> dict[str, ColumnElement[Any]]:
    """`down_n`: what a candidate is worth that is cheaper to keep (NULL: it is none); `sinks_n`: 1 where all that is
    remembered lets the object go; `up_n`: the regret of not being where it is dearer to keep (NULL: too little)."""
    keep, once = known[f"keep_{n}"], known[f"once_{n}"]
    year, days = known[f"year_{n}"] * horizon_days, known[f"days_{n}"]
    there = once.is_not(None)
    pays = sa.and_(year > once, year >= TWICE * once, days > 0, days * horizon_days >= TWICE * once)
    enough = sa.or_(
        known[f"lasting_{n}"] * SPAN_DAYS > TRUST * once,
        days * SPAN_DAYS > once * (1 / TRUST),
        sa.and_(known["waved"] == 1, days * SPAN_DAYS > TRUST * once),
    )
    return {
        f"down_{n}": sa.case((sa.and_(there, keep > 0), year - once)),
        f"sinks_{n}": sa.case((sa.and_(pays, known["young"] == 0), 1), else_=0),
        f"up_{n}": sa.case((sa.and_(there, keep <= 0, enough), days)),
    }


def picks(known: Columns, positions: Sequence[int]) -> Iterator[ColumnElement[int]]:
    """The position of the candidate that is wanted, the first of these that is not NULL: of those that guards, rest and
    `require` let pass, else of all, to be held back with its figures."""
    for free in (True, False):
        for name, gate in (("up", None), ("down", "sinks")):
            values = [known[f"{name}_{n}"] for n in range(len(positions))]
            if free:
                values = [sa.case((known[f"free_{n}"] == 1, value)) for n, value in enumerate(values)]
            ways: list[tuple[ColumnElement[bool], ColumnElement[int]]] = []
            for n, value in enumerate(values):
                beats = [sa.or_(other.is_(None), value >= other) for other in values[n + 1 :]]
                there = sa.literal(positions[n], sa.Integer())
                passes = there if gate is None else sa.case((known[f"{gate}_{n}"] == 1, there))
                ways.append((sa.and_(value.is_not(None), *beats), passes))
            yield sa.case(*ways)


def waves(
    conn: sa.Connection, evidence: Evidence, prices: Mapping[int, ClassPrices], dataset_ids: Sequence[int]
) -> frozenset[int]:
    """Of these datasets those over which a wave of reads goes. `prices`: by tier id."""
    by_byte = [tier_id for tier_id, own in prices.items() if read(own, Traffic(0, own.gb)).total > 0]
    covered = [number for number in dataset_ids if number in evidence.windows]
    if not by_byte or not covered:
        return frozenset()
    dataset, size = objects.c.dataset_id, objects.c.size
    here = (
        objects.c.removed_us.is_(None),
        sql.in_ids(dataset, covered),
        sql.in_ids(objects.c.tier_id, by_byte),
    )
    until = evidence.at_window(lambda window: window.until_us, sa.BigInteger())
    recent = evidence.rate(objects.c.days_bytes, DAYS) * SPAN_DAYS
    read_of = -sql.largest(-recent, -sql.real(size))
    lately = objects.c.last_read_us > until - _LONG
    total = sa.select(dataset, sa.func.sum(sql.real(size))).where(*here).group_by(dataset)
    some = sa.select(dataset, sa.func.sum(read_of)).where(*here, lately).group_by(dataset)
    whole = {int(number): float(nbytes) for number, nbytes in conn.execute(total)}
    came = {int(number): float(nbytes) for number, nbytes in conn.execute(some)}
    return frozenset(number for number, nbytes in came.items() if nbytes > WAVE * whole[number])
