"""What packs cost as such, beside their members: each is written, looked at and billed as one object."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from storaged.catalog.schema import objects, plan_items
from storaged.decide import sql
from storaged.decide.money import PACKED, PART, PIECE, Counts, MoveTerms, Route, Volumes, reckon, route_of
from storaged.decide.places import Prices

T = TypeVar("T")

_NAMES: Final = (*PACKED, "after_billable")
_PICO: Final = Decimal(10**12)


class PackCosts:
    """Of one policy's packs, in whatever tiers with prices they become."""

    def __init__(self, prices: Prices, terms: MoveTerms) -> None:
        self._prices = prices
        self._terms = terms

    @cached_property
    def routes(self) -> dict[int, Route]:
        """By tier id, what is written there. Where it came from makes no difference to a pack."""
        return {
            tier_id: route_of(
                own, own, self._prices.book, in_place=False, at_key=True, reads_back=tier_id in self._prices.reads_back
            )
            for tier_id, own in self._prices.tiers.items()
        }

    @cached_property
    def _figures(self) -> dict[str, dict[int, tuple[float, float]]]:
        """By count and tier: picodollars that one more costs once, and saves per month (below 0)."""
        return {name: {tier_id: self._unit(route, name) for tier_id, route in self.routes.items()} for name in _NAMES}

    def _unit(self, route: Route, name: str) -> tuple[float, float]:
        return in_picodollars(route, Counts(**{name: 1}), self._terms, self._prices.volumes())

    def of(
        self, tier_id: ColumnElement[int], stored: ColumnElement[int]
    ) -> tuple[ColumnElement[float], ColumnElement[float]]:
        """What a pack that stores so much costs once, and saves a month: picodollars. NULL: no prices are known."""
        counts = self._counts(tier_id, stored)
        return self._sum(tier_id, counts, 0), self._sum(tier_id, counts, 1)

    def _sum(
        self, tier_id: ColumnElement[int], counts: dict[str, ColumnElement[int]], which: int
    ) -> ColumnElement[float]:
        nothing: ColumnElement[float] = sa.literal(0.0, sa.Double())
        known: ColumnElement[float] = sa.case((sql.in_ids(tier_id, list(self.routes)), nothing))
        for name, figures in self._figures.items():
            used = {number: each[which] for number, each in figures.items() if each[which]}
            if used:
                known = known + _by_tier(tier_id, used, sa.Double()) * sql.real(counts[name])
        return known

    def _counts(self, tier_id: ColumnElement[int], stored: ColumnElement[int]) -> dict[str, ColumnElement[Any]]:
        """Counts of one pack: of what is billed, what is missing to the least that is."""
        minimum = self._of_tier(tier_id, "minimum_bytes")
        whole = stored <= PART
        return {
            "after_objects": sa.literal(1, sa.Integer()),
            "singles": sa.case((whole, 1), else_=0),
            "multiparts": sa.case((whole, 0), else_=1),
            "parts": sa.case((whole, 0), else_=requests(stored, PART)),
            "after_gets": requests(stored, PIECE),
            "after_monitored": sa.case((stored >= self._of_tier(tier_id, "monitoring_bytes"), 1), else_=0),
            "after_billable": sa.case((stored < minimum, minimum - stored), else_=0),
        }

    def _of_tier(self, tier_id: ColumnElement[int], name: str) -> ColumnElement[int]:
        return _by_tier(tier_id, {i: getattr(route.target, name) for i, route in self.routes.items()}, sa.BigInteger())

    def sums(self, plan_id: int, policy: str) -> sa.Select[Any]:
        """Of a plan's packs by `held` and `tier_id`: how many `packs`, and the sums of their counts."""
        place = (plan_items.c.held, plan_items.c.tier_id)
        mine = (plan_items.c.plan_id == plan_id, plan_items.c.policy == policy, plan_items.c.pack.is_not(None))
        whole = (
            sa.select(*place, sql.big(sa.func.sum(plan_items.c.after_bytes)).label("stored"))
            .select_from(sa.join(plan_items, objects, objects.c.id == plan_items.c.object_id))
            .where(*mine)
            .group_by(*place, objects.c.dataset_id, plan_items.c.pack)
            .subquery()
        )
        counts = self._counts(whole.c.tier_id, whole.c.stored)
        sums = (sql.big(sa.func.sum(count)).label(name) for name, count in counts.items())
        return sa.select(whole.c.held, whole.c.tier_id, *sums).group_by(whole.c.held, whole.c.tier_id)

    def counts(self, row: sa.RowMapping) -> tuple[Route, Counts] | None:
        """A route and its counts, from a row of `sums`; None: its tier has no prices."""
        route = self.routes.get(row["tier_id"])
        return None if route is None else (route, Counts(**{name: int(row[name]) for name in _NAMES}))


def in_picodollars(route: Route, counts: Counts, terms: MoveTerms, volumes: Volumes) -> tuple[float, float]:
    """What these cost once, and save per month (below 0: that they cost more)."""
    once, before, after = reckon([(route, counts)], terms, volumes)
    return float(once.total * _PICO), float((before.total - after.total) * _PICO)


def requests(nbytes: ColumnElement[int], each: Any) -> ColumnElement[int]:
    """Requests of at most so many bytes each: none for nothing."""
    return sa.case((nbytes > 0, (nbytes - 1) // each + 1), else_=sa.literal(0, sa.BigInteger()))


def _by_tier(tier_id: ColumnElement[int], values: Mapping[int, T], kind: TypeEngine[T]) -> ColumnElement[T]:
    """The value of a tier; 0 where it has none."""
    return sa.case(*((tier_id == number, sa.literal(value, kind)) for number, value in values.items()), else_=0)
