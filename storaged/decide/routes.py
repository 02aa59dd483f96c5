"""Routes that objects may take, as a table of a plan's statements: looked up by where an object is, and how idle."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.decide import sql
from storaged.decide.money import MONTH_US, Route
from storaged.decide.places import PricedPlace
from storaged.prices.book import ClassPrices
from storaged.prices.formulas import inside

_FOREVER: Final = 2**31 - 1  # days
ALWAYS: Final = (0, _FOREVER)
_LOOKED_UP: Final = (
    sa.column("number", sa.Integer()),
    sa.column("tier_id", sa.Integer()),
    sa.column("at_key", sa.Integer()),
    sa.column("storage_class", sa.Text()),
    sa.column("idle_from", sa.Integer()),
    sa.column("idle_until", sa.Integer()),
    sa.column("monitored_from", sa.BigInteger()),
    sa.column("minimum_days", sa.Integer()),
    sa.column("source_minimum", sa.BigInteger()),
    sa.column("source_monitored", sa.BigInteger()),
    sa.column("target_minimum", sa.BigInteger()),
    sa.column("target_monitored", sa.BigInteger()),
)

Figures = Mapping[str, tuple[float, ...]]  # by count, picodollars that one more costs once, saves per month, costs back
_KINDS: Final = ("once", "saved", "back")
OWED: Final = {"owed_bytes": "billable", "owed_objects": "objects"}  # times the days that are left
MONTHLY: Final = ("reads", "read_bytes", "after_read_bytes")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A route, of the objects of one place that have been idle for so many days (from, until)."""

    place: PricedPlace
    idle: tuple[int, int]
    monitored_from: int  # bytes: smaller ones count as never idle
    route: Route


@dataclass(frozen=True, slots=True)
class Routes:
    """Some stretches as a table, and the counts that cost something on some of them: once, each month, and on the way
    back."""

    table: sa.CTE
    stretches: Sequence[Stretch]
    once: Sequence[str]
    saved: Sequence[str]
    back: Sequence[str]

    def summed(self, facts: Mapping[str, ColumnElement[Any]], kind: str, names: Iterable[str]) -> ColumnElement[float]:
        """Picodollars of one kind (`once`, `saved` or `back`) that these counts come to; NULL: no prices are known."""
        whole: ColumnElement[float] = sa.literal(0.0, sa.Double())
        for name in names:
            figure = self.table.c[f"{kind}_{name}"]
            if name in OWED:
                whole = whole + figure * sql.real(facts[OWED[name]]) * sql.real(facts["days_left"])
            elif name in MONTHLY:
                month = sql.real(facts[name]) * MONTH_US / sql.real(facts["covered_us"])
                whole = whole + sa.func.coalesce(figure * month, 0.0)
            else:
                whole = whole + figure * sql.real(facts[name])
        return sa.case((facts["route"].is_(None), sa.null()), else_=whole)


def routes_of(
    stretches: Sequence[Stretch], figures: Sequence[Figures], tiers: Collection[int] | None, name: str
) -> Routes:
    """Routes by place and idleness, with their figures. `tiers`: where objects are; None: anywhere. `name`: of the
    table in a statement."""
    mine = [n for n, stretch in enumerate(stretches) if tiers is None or stretch.place.tier_id in tiers]
    counted = [[count for count in figures[0] if any(figures[n][count][i] for n in mine)] for i in range(len(_KINDS))]
    rows = []
    for number in mine:
        stretch, known = stretches[number], figures[number]
        place, source, target = stretch.place, stretch.route.source, stretch.route.target
        rows.append(
            (
                number,
                place.tier_id,
                int(place.at_key),
                place.storage_class,
                *stretch.idle,
                stretch.monitored_from,
                source.minimum_days,
                source.minimum_bytes,
                source.monitoring_bytes,
                target.minimum_bytes,
                target.monitoring_bytes,
                *(known[count][i] for i, counts in enumerate(counted) for count in counts),
            )
        )
    kinds = (f"{kind}_{count}" for kind, counts in zip(_KINDS, counted, strict=True) for count in counts)
    money: list[sa.ColumnClause[Any]] = [sa.column(kind, sa.Double()) for kind in kinds]
    found = sa.values(*_LOOKED_UP, *money, name=name).data(rows).cte(name)
    return Routes(found, [stretches[n] for n in mine], *counted)


def by_idleness(source: ClassPrices, target: ClassPrices) -> Iterator[tuple[tuple[int, int], ClassPrices, ClassPrices]]:
    """From how many idle days until how many an object is billed like what in a class that moves objects by itself; and
    like what it will be in one: what is idle when it gets there stays so and sinks to the last, in the long run."""
    begins = {0, *(inner.idle_days for inner in source.inner), *(inner.idle_days for inner in target.inner[:1])}
    for begin, end in itertools.pairwise([*sorted(begins), _FOREVER]):
        now = next((inner for inner in reversed(source.inner) if inner.idle_days <= begin), None)
        sinks = bool(target.inner) and target.inner[0].idle_days <= begin
        yield (
            (begin, end),
            inside(source, now) if now else source,
            inside(target, target.inner[-1]) if sinks else target,
        )
