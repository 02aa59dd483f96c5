"""What is asked less for originals of a bucket that go into packs: small neighbours are read together.

One GET tells of each what a HEAD would, so that it is opened by that; and where there are many, a page of a listing
looks at them behind their last byte instead of a HEAD each. Which are neighbours follows from the order of a pack's
members and from their sizes, here as in storaged.work.rewrite.read_ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import datasets, objects, plan_items
from storaged.decide import sql
from storaged.decide.guards import AT_ITS_KEY
from storaged.decide.money import (
    NEIGHBOUR,
    NEIGHBOURS,
    NEIGHBOURS_BYTES,
    WORTH_LISTING,
    Counts,
    MoveTerms,
    Route,
    route_of,
)
from storaged.decide.packcosts import in_picodollars
from storaged.decide.places import PricedPlace, Prices

_NAMES: Final = ("had", "listed", "listings")
_BY_LISTING: Final = 2  # how a member is looked at behind its last byte; 1: by a HEAD, 0: it is read by itself


class PackReads:
    """Of packs whose originals are in tiers with prices. Empty (false) where no root is in a bucket: then nothing is
    asked of the plan."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._places: dict[PricedPlace, int] = {}
        self.routes: list[Route] = []
        for place, own in prices.places() if prices.by_one_get else ():
            if place.at_key:
                self._places[place] = len(self.routes)
                route = route_of(own, own, prices.book, in_place=False, at_key=True, reads_back=False)
                self.routes.append(route)

    def __bool__(self) -> bool:
        return bool(self.routes)

    def amounts(self, plan_id: int, policy: str, if_so: ColumnElement[bool]) -> sa.CTE:
        """By `object_id` of all that have a pack, the picodollars (`once`, mostly below 0) that their moves cost more
        than if each was read by itself: of the same packs the same, whatever holds their members back."""
        each = self._each(plan_id, policy, if_so)
        units = [
            {
                name: in_picodollars(route, Counts(**{name: 1}), MoveTerms(), self._prices.volumes())[0]
                for name in _NAMES
            }
            for route in self.routes
        ]
        sums = [
            sql.real(each.c[name]) * self._of_place(each, {n: unit[name] for n, unit in enumerate(units)})
            for name in _NAMES
        ]
        once = sql.whole(sums[0] + sums[1] + sums[2]).label("once")
        return sa.select(each.c.object_id, once).where(each.c.had > 0).cte("read_together").prefix_with("MATERIALIZED")

    def sums(self, plan_id: int, policy: str) -> sa.Select[Any]:
        """The same in counts, by `held` and `place`: the number of one of `routes`."""
        each = self._each(plan_id, policy, sa.true())
        sums = (sql.big(sa.func.sum(each.c[name])).label(name) for name in _NAMES)
        return sa.select(each.c.held, each.c.place, *sums).where(each.c.had > 0).group_by(each.c.held, each.c.place)

    def counts(self, row: sa.RowMapping) -> tuple[Route, Counts]:
        """A route and its counts, from a row of `sums`."""
        return self.routes[row["place"]], Counts(**{name: int(row[name]) for name in _NAMES})

    def _of_place(self, each: sa.CTE, values: Mapping[int, float]) -> ColumnElement[float]:
        cases: list[tuple[ColumnElement[bool], ColumnElement[float]]] = [
            (each.c.place == number, sa.literal(value, sa.Double())) for number, value in values.items()
        ]
        return sa.case(*cases, else_=sa.literal(0.0, sa.Double()))

    def _each(self, plan_id: int, policy: str, if_so: ColumnElement[bool]) -> sa.CTE:
        """The members of packs, each with its counts. Each window takes few columns along: there are many rows."""
        item = plan_items.alias("reads")
        pack = (objects.c.dataset_id, item.c.tier_id, item.c.pack)
        until = sql.big(sa.func.sum(item.c.size).over(partition_by=pack, order_by=objects.c.name, rows=(None, 0)))
        number = sa.func.row_number().over(partition_by=pack, order_by=objects.c.name) - 1
        first = sa.func.first_value(item.c.object_id).over(partition_by=pack, order_by=objects.c.name, rows=(None, 0))
        place = self._place()
        members = (
            sa.select(
                item.c.object_id,
                item.c.held,
                place.label("place"),
                sa.case((place.is_(None), 0), (objects.c.raw_identity.like(self._in_versions()), 1), else_=2).label(
                    "by"
                ),
                first.label("first"),
                (number // NEIGHBOURS).label("row"),
                ((until - item.c.size) // NEIGHBOURS_BYTES).label("part"),
            )
            .select_from(
                item.join(objects, objects.c.id == item.c.object_id).join(
                    datasets, datasets.c.id == objects.c.dataset_id
                )
            )
            .where(item.c.plan_id == plan_id, item.c.policy == policy, item.c.pack.is_not(None), if_so)
            .cte("packed_members")
        )
        m = members.c
        group = (m.first, m.row, m.part)
        listed = sa.case((m.by == _BY_LISTING, m.object_id))
        grouped = sa.select(
            m.object_id,
            m.held,
            m.place,
            m.by,
            sa.func.count(m.place).over(partition_by=group).label("many"),
            sa.func.max(listed).over(partition_by=group).label("last"),
        ).cte("packed_neighbours")
        g = grouped.c
        page = sa.and_(g.by == _BY_LISTING, g.many >= WORTH_LISTING)
        counts = {
            "had": sa.case((sa.and_(g.by > 0, g.many > 1), 1), else_=0),
            "listed": sa.case((page, 1), else_=0),
            "listings": sa.case((sa.and_(page, g.last == g.object_id), 1), else_=0),
        }
        columns = (column.label(name) for name, column in counts.items())
        return sa.select(g.object_id, g.held, g.place, *columns).cte("packed_reads").prefix_with("MATERIALIZED")

    def _place(self) -> ColumnElement[int]:
        """The number of an original's place; NULL: it is not read together with others."""
        where = sql.in_ids(objects.c.dataset_id, list(self._prices.by_one_get))
        small = sa.and_(AT_ITS_KEY, where, objects.c.size <= NEIGHBOUR, sa.not_(datasets.c.locks))
        return sa.case(
            *(
                (
                    sa.and_(small, objects.c.tier_id == place.tier_id, objects.c.raw_class == place.storage_class),
                    sa.literal(number, sa.Integer()),
                )
                for place, number in self._places.items()
            )
        )

    def _in_versions(self) -> ColumnElement[str]:
        patterns = self._prices.by_one_get
        return sa.case(
            *((objects.c.dataset_id == number, sa.literal(told, sa.Text())) for number, told in patterns.items())
        )
