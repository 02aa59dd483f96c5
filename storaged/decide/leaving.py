"""What goes of the packs that objects are taken out of, in money.

A store bills a pack once and whole as long as anybody is in it. So nothing of it is saved while somebody stays, and all
of it once a plan takes out all that is left: then what it stores, its least size and overhead, and what is owed for its
early deletion are shared out among its members by their content. Opening it costs the same either way. Each row of a
plan says out of which pack it comes (`leaves`) and what it has of that in its own money (`left_spend`, `left_saving`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import blobs, objects, plan_items, replicas
from storaged.clock import DAY
from storaged.codecs.registry import COMPRESSING
from storaged.decide import sql
from storaged.decide.evidence import Evidence
from storaged.decide.guards import CURRENT, TABLES
from storaged.decide.money import MONTH_US, PIECE, Counts, MoveTerms, Route, route_of
from storaged.decide.packcosts import in_picodollars
from storaged.decide.places import Prices
from storaged.decide.routes import Routes, Stretch, by_idleness, routes_of
from storaged.model import ReplicaState

FROM_PACK: Final[ColumnElement[str]] = sa.case((blobs.c.packed_bytes > 0, blobs.c.id))  # over the tables of guards.py
_UNITS: Final[Mapping[str, Counts]] = {
    "opened": Counts(opened=1),
    "gets": Counts(gets=1),
    "stored": Counts(stored=1),
    "sampled": Counts(sampled=1),
    "gone": Counts(objects=1, packs=1),
    "billable": Counts(billable=1),
    "monitored": Counts(monitored=1),
    "owed_bytes": Counts(owed_bytes=1),
    "owed_objects": Counts(owed_objects=1),
}
_OPENED: Final = ("opened", "gets", "stored", "sampled")  # the others cost and save something only if it goes
_KEPT: Final = 2 * PIECE  # bytes of content that an open pack keeps, about: what is sampled of more is read once more
_SAMPLED: Final = sorted(COMPRESSING)
_MEMBER: Final = (
    plan_items.c.object_id,
    plan_items.c.leaves,
    plan_items.c.size,
    plan_items.c.grace_us,
    sa.case((plan_items.c.codec.in_(_SAMPLED), plan_items.c.size), else_=0).label("sampled"),
)
_ZERO: Final[ColumnElement[int]] = sa.literal(0, sa.BigInteger())
_ONE: Final[ColumnElement[int]] = sa.literal(1, sa.BigInteger())


@dataclass(frozen=True, slots=True)
class LeftPart:
    """What one policy has of a pack that its objects come out of, of those that the same holds back (None: nothing).
    `stays`: somebody else stays in the pack."""

    held: str | None
    route: Route
    way: int
    tier_id: int
    counts: Counts
    stays: bool


class Leaving:
    """Packs that objects come out of, in whatever tiers with prices they are."""

    def __init__(self, prices: Prices, evidence: Evidence) -> None:
        self._prices = prices
        self._evidence = evidence

    @cached_property
    def _stretches(self) -> list[Stretch]:
        def made() -> Iterator[Stretch]:
            for place, prices in self._prices.places():
                for idle, now, _ in by_idleness(prices, prices) if not place.at_key else ():
                    route = route_of(now, now, self._prices.book, in_place=False, at_key=False, reads_back=False)
                    yield Stretch(place, idle, prices.monitoring_bytes, route)

        return list(made())

    @cached_property
    def _routes(self) -> Routes:
        volumes = self._prices.volumes()
        figures = []
        for stretch in self._stretches:
            units = {
                name: in_picodollars(stretch.route, counts, MoveTerms(), volumes.copy())
                for name, counts in _UNITS.items()
            }
            if not stretch.route.source.archived:  # else all of it is restored, whatever is read of it
                units["stored"] = (0.0, 0.0)
            else:
                units["sampled"] = (0.0, 0.0)  # the copy is read for nothing
            figures.append({name: (*unit, 0.0) for name, unit in units.items()})
        return routes_of(self._stretches, figures, None, "left_packs")

    def counted(self, plan_id: int) -> Iterator[sa.Update]:
        """Give every action of a plan its part of the pack that it comes out of, by who acts now: instead of what it
        was given before."""
        if not self._stretches:  # no price of what is in a tier is known
            return
        acting = (plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None), plan_items.c.leaves.is_not(None))
        members = sa.select(*_MEMBER).where(*acting).cte("members").prefix_with("MATERIALIZED")
        packs = self._packs(members)
        known = dict(packs.c.items())
        routes = self._routes
        opened = routes.summed(known, "once", [name for name in routes.once if name in _OPENED])
        owed = routes.summed(known, "once", [name for name in routes.once if name not in _OPENED])
        saved = routes.summed(known, "saved", routes.saved)
        grace = saved * (sql.real(packs.c.grace_us) / MONTH_US)
        once = sa.case((packs.c.stays == 0, opened + owed + grace), else_=opened)
        priced = (
            sa.select(packs.c.leaves, packs.c.stays, once.label("once"), saved.label("saved"))
            .select_from(packs.join(routes.table, routes.table.c.number == packs.c.route))
            .cte("left_priced")
            .prefix_with("MATERIALIZED")
        )
        weight = sql.larger(members.c.size, _ONE)
        until = sql.real(sa.func.sum(weight).over(partition_by=members.c.leaves, order_by=members.c.object_id))
        weights = sql.real(sa.func.sum(weight).over(partition_by=members.c.leaves))
        weighed = sa.select(
            members.c.object_id,
            members.c.leaves,
            (until / weights).label("until"),
            ((until - sql.real(weight)) / weights).label("before"),
        ).cte("weighed")

        def share(amount: ColumnElement[float]) -> ColumnElement[int]:
            return sql.whole(amount * weighed.c.until) - sql.whole(amount * weighed.c.before)

        shares = (
            sa.select(
                weighed.c.object_id,
                share(priced.c.once).label("spend"),
                sa.case((priced.c.stays == 0, share(priced.c.saved))).label("saving"),
            )
            .select_from(weighed.join(priced, priced.c.leaves == weighed.c.leaves))
            .cte("left_shares")
            .prefix_with("MATERIALIZED")
        )
        item = plan_items.c
        values = {
            item.spend: item.spend - sa.func.coalesce(item.left_spend, 0) + shares.c.spend,
            item.saving: item.saving - sa.func.coalesce(item.left_saving, 0) + sa.func.coalesce(shares.c.saving, 0),
            item.left_spend: shares.c.spend,
            item.left_saving: shares.c.saving,
        }
        yield sa.update(plan_items).where(item.plan_id == plan_id, item.object_id == shares.c.object_id).values(values)

    def parts(self, conn: sa.Connection, plan_id: int, policy: str) -> Iterator[LeftPart]:
        """The same in counts, of the rows of one policy: they add up to what its rows were given."""
        if not self._stretches:
            return
        given = (plan_items.c.plan_id == plan_id, plan_items.c.left_spend.is_not(None))
        mine = sa.select(plan_items.c.leaves).where(*given, plan_items.c.policy == policy)
        theirs = (*given, plan_items.c.leaves.in_(mine))
        packs = self._packs(sa.select(*_MEMBER).where(*theirs).cte("members").prefix_with("MATERIALIZED"))
        keys = (plan_items.c.leaves, plan_items.c.policy, plan_items.c.held)
        weight = sql.big(sa.func.sum(sql.larger(plan_items.c.size, _ONE)))
        stays = sa.func.max(sa.case((plan_items.c.left_saving.is_(None), 1), else_=0))
        query = sa.select(*keys, weight.label("weight"), stays.label("stays")).where(*theirs).group_by(*keys)
        rows: dict[str, list[Any]] = {}
        for row in conn.execute(query).all():
            rows.setdefault(row.leaves, []).append(row)
        for pack in conn.execute(sa.select(packs)).mappings():
            ordered = sorted(rows[pack["leaves"]], key=lambda row: (row.held is not None, row.policy, row.held or ""))
            acting = sum(row.weight for row in ordered if row.held is None)
            everybody = sum(row.weight for row in ordered)
            before = 0
            for row in ordered:
                whole = acting if row.held is None else everybody
                part = self._part(pack, row.held, before, row.weight, whole, stays=bool(row.stays))
                before += row.weight
                if row.policy == policy and part is not None:
                    yield part

    def of_some(
        self, conn: sa.Connection, which: ColumnElement[bool], along: ColumnElement[bool], terms: MoveTerms
    ) -> Iterator[LeftPart]:
        """What some objects have of the packs that they are in, if those that are `along` (over TABLES) leave these
        with them, on the same terms."""
        weight = sql.big(sa.func.sum(sql.larger(objects.c.size, _ONE)))
        theirs = sa.and_(blobs.c.packed_bytes > 0, which)
        asked = sa.select(blobs.c.id, weight.label("weight")).select_from(TABLES).where(theirs).group_by(blobs.c.id)
        found = {row.id: row.weight for row in conn.execute(asked)}
        if not found or not self._stretches:
            return
        columns = (
            objects.c.id.label("object_id"),
            CURRENT.c.blob_id.label("leaves"),
            objects.c.size,
            sa.literal(terms.grace_us, sa.BigInteger()).label("grace_us"),
            (objects.c.size if terms.samples else _ZERO).label("sampled"),
        )
        going = sa.and_(CURRENT.c.blob_id.in_(sorted(found)), sa.or_(which, along))
        members = sa.select(*columns).select_from(TABLES).where(going)
        packs = self._packs(members.cte("members").prefix_with("MATERIALIZED"))
        for pack in conn.execute(sa.select(packs)).mappings():
            part = self._part(pack, "", 0, found[pack["leaves"]], int(pack["weight"]), stays=pack["stays"] > 0)
            if part is not None:
                yield part

    def _part(
        self, pack: sa.RowMapping, held: str | None, before: int, weight: int, whole: int, *, stays: bool
    ) -> LeftPart | None:
        if pack["route"] is None:
            return None
        stretch = self._routes.stretches[pack["route"]]
        part = Decimal(weight) / whole

        def share(number: int) -> int:
            return (before + weight) * number // whole - before * number // whole

        counts = Counts(
            opened=part,
            gets=part * int(pack["gets"]),
            stored=share(int(pack["stored"])) if stretch.route.source.archived else 0,
            sampled=share(int(pack["sampled"])),
        )
        if not stays:
            billable, days = share(int(pack["billable"])), int(pack["days_left"])
            counts += Counts(
                objects=part,
                packs=part,
                billable=billable,
                monitored=part * int(pack["monitored"]),
                owed_bytes=billable * days,
                owed_objects=part * days,
            )
        return LeftPart(held, stretch.route, int(pack["route"]), stretch.place.tier_id, counts, stays)

    def _packs(self, members: sa.CTE) -> sa.CTE:
        """The packs that these members come out of, each with what is counted of it. `stays`: how many that are in it
        are none of these. `route`: NULL where no prices are known."""
        routes = self._routes.table.c
        e = self._evidence
        until = sa.func.max(e.at_window(lambda window: window.until_us, sa.BigInteger()))
        begin = sa.func.max(e.at_window(lambda window: window.from_us, sa.BigInteger()))
        each = (
            sa.select(
                members.c.leaves,
                sa.func.count().label("number"),
                sql.big(sa.func.sum(sql.larger(members.c.size, _ONE))).label("weight"),
                sql.big(sa.func.sum(objects.c.stored_bytes)).label("own"),
                sql.big(sa.func.sum(members.c.sampled)).label("sampled"),
                sql.big(sa.func.sum(sa.case((members.c.sampled > 0, objects.c.stored_bytes), else_=0))).label("twice"),
                sa.func.max(members.c.grace_us).label("grace_us"),
                sa.func.max(sa.func.coalesce(objects.c.last_read_us, 0)).label("read_us"),
                until.label("until_us"),
                begin.label("begin_us"),
            )
            .select_from(members.join(objects, objects.c.id == members.c.object_id))
            .group_by(members.c.leaves)
            .cte("left_each")
            .prefix_with("MATERIALIZED")
        )
        inside = (
            sa.select(sa.func.count())
            .where(replicas.c.blob_id == each.c.leaves, replicas.c.state == ReplicaState.CURRENT.value)
            .scalar_subquery()
        )
        touched = sql.largest(sql.largest(blobs.c.created_us, each.c.read_us), each.c.begin_us)
        since = sa.func.coalesce((each.c.until_us - touched) // DAY, _ZERO)  # without a window all of it is NULL
        idle = sa.case((blobs.c.size < routes.monitored_from, 0), (since < 0, 0), else_=since)
        on_route = sa.and_(
            routes.tier_id == blobs.c.tier_id,
            routes.storage_class == blobs.c.storage_class,
            routes.at_key == 0,
            routes.idle_from <= idle,
            routes.idle_until > idle,
        )
        stayed = (e.now_us + each.c.grace_us - blobs.c.created_us) // DAY  # when it is deleted
        days = sa.case(
            (routes.minimum_days <= 0, 0),
            (stayed >= routes.minimum_days, 0),
            (stayed > 0, routes.minimum_days - stayed),
            else_=routes.minimum_days,
        )
        gets = sql.parts(each.c.weight, PIECE)  # what lies together is read together
        gets += sa.case((each.c.sampled > _KEPT, sql.parts(each.c.sampled, PIECE)), else_=_ZERO)
        return (
            sa.select(
                each.c.leaves,
                each.c.weight,
                each.c.grace_us,
                (inside - each.c.number).label("stays"),
                routes.number.label("route"),
                sa.literal(1, sa.Integer()).label("opened"),
                gets.label("gets"),
                sa.case((each.c.sampled > _KEPT, each.c.twice), else_=_ZERO).label("sampled"),
                sql.larger(blobs.c.size - each.c.own, _ZERO).label("stored"),
                sa.literal(1, sa.Integer()).label("gone"),
                sa.literal(1, sa.Integer()).label("objects"),
                sql.larger(blobs.c.size, routes.source_minimum).label("billable"),
                sa.case((blobs.c.size >= routes.source_monitored, 1), else_=0).label("monitored"),
                days.label("days_left"),
            )
            .select_from(each.join(blobs, blobs.c.id == each.c.leaves).outerjoin(self._routes.table, on_route))
            .cte("left_of")
            .prefix_with("MATERIALIZED")
        )
