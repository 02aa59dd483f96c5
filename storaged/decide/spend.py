"""The money of every single object, as SQL: what its move costs once and what it saves a month, in whole picodollars.

Sums of integers are what amounts are made of (storaged.decide.money); here they are columns of one object, and each
has a coefficient per route. Doubles, rounded at the end: the same on every database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import CLASS_CHANGES, access, audit, blobs, datasets, objects
from storaged.clock import DAY
from storaged.decide import sql
from storaged.decide.copied import copied
from storaged.decide.guards import CURRENT
from storaged.decide.money import (
    MONTH_US,
    PART,
    PARTS,
    PIECE,
    SAMPLE_GETS,
    SAMPLE_GETS_LARGE,
    SAMPLED,
    SAMPLED_LARGE,
    Counts,
    MoveTerms,
    Route,
    Volumes,
    route_of,
)
from storaged.decide.packcosts import PackCosts, in_picodollars, requests
from storaged.decide.packing import shrinks
from storaged.decide.packreads import PackReads
from storaged.decide.places import Prices
from storaged.decide.returns import RETURNED, counts_back, terms_back, way_back
from storaged.decide.routes import ALWAYS, MONTHLY, OWED, Routes, Stretch, by_idleness, routes_of
from storaged.decide.selection import AT_ITS_KEY, Selection
from storaged.prices.book import ClassPrices

_LARGE: Final = PART * PARTS * 99 // 100  # bytes: what may need larger parts than the least
_SAME_FOR_ALL: Final = (sa.BindParameter, sa.True_, sa.False_)  # what no row changes
_ZERO: Final[ColumnElement[int]] = sa.literal(0, sa.BigInteger())

# Counts that are sums of integers over objects.
SUMMED: Final = (
    "objects",
    "size",
    "stored",
    "billable",
    "monitored",
    "gets",
    "sampled",
    "copied",
    "after",
    "after_billable",
    "after_monitored",
    "after_gets",
    "multiparts",
    "parts",
)
MOVED: Final = "moved"  # objects that are moved: one each, where what is in a pack is no stored object of its own


Columns = Mapping[str, ColumnElement[Any]]


class Costs:
    """What one policy's moves cost, as expressions over the tables of `Selection` and `self.routes`. `tag`: what the
    names of its common tables end in, where one statement has those of several. `returns`: with what the ways back
    cost."""

    def __init__(self, selection: Selection, prices: Prices, tag: str = "", *, returns: bool = False) -> None:
        self._selection = selection
        self._prices = prices
        self._tag = tag
        self._returns = returns
        self._routes: dict[frozenset[int] | None, Routes] = {}
        policy, inputs = selection.policy, selection.inputs
        codec = policy.to.codec
        grace = policy.keep_source if policy.keep_source is not None else inputs.grace_us
        self.terms = MoveTerms(
            grace_us=0 if policy.to.in_place else grace,
            cpu_hour=prices.cpu_hour,
            compresses=codec is not None and shrinks(codec),
            samples=codec is not None and shrinks(codec) and policy.to.packing is None,
        )
        self.stretches: tuple[Stretch, ...] = tuple(self._stretches())
        self.packs = None if policy.to.packing is None else PackCosts(prices, self.terms)
        self.reads = None if policy.to.packing is None else PackReads(prices)

    def _stretches(self) -> Iterator[Stretch]:
        in_place = self._selection.policy.to.in_place
        for place, prices in self._prices.places():
            name = self._selection.policy.to.tier
            target_id = place.tier_id if name is None else self._selection.inputs.evidence.tiers[name]
            target = self._target(prices, target_id)
            if target is None or (in_place and not place.at_key):
                continue
            back = target_id in self._prices.reads_back
            monitored = max(prices.monitoring_bytes, target.monitoring_bytes)
            for idle, now, then in by_idleness(prices, target):
                route = route_of(now, then, self._prices.book, in_place=in_place, at_key=place.at_key, reads_back=back)
                yield Stretch(place, idle, monitored, route)

    def _target(self, source: ClassPrices, tier_id: int) -> ClassPrices | None:
        if not self._selection.policy.to.in_place:
            return self._prices.tiers.get(tier_id)
        return self._prices.book.of(source, self._prices.classes[tier_id])  # it stays in its bucket, so in its region

    # -- the table of routes ------------------------------------------------------------------------------------

    @cached_property
    def figures(self) -> list[dict[str, tuple[float, ...]]]:
        """By stretch and count: picodollars that one more costs once, saves per month, and costs on the way back."""
        volumes = self._prices.volumes()
        names = (*SUMMED, MOVED, *OWED, *MONTHLY)
        return [{name: self._unit(stretch, name, volumes) for name in names} for stretch in self.stretches]

    def way_back(self, stretch: Stretch) -> Route:
        """The way back to where a route came from."""
        here = stretch.place.tier_id
        return way_back(stretch.route, self._prices.book, reads_back=here in self._prices.reads_back)

    def _unit(self, stretch: Stretch, name: str, volumes: Volumes) -> tuple[float, ...]:
        if name == MOVED:  # it is one object there, and put with one request, unless it needs parts
            counts = Counts() if self.packs is not None else Counts(after_objects=1, singles=1)
        elif name == "multiparts":
            counts = Counts(multiparts=1, singles=-1)
        else:
            counts = Counts(**{name: 1})
        there = in_picodollars(stretch.route, counts, self.terms, volumes.copy())
        if not self._returns or name not in RETURNED:
            return (*there, 0.0)
        back = counts_back(counts, stretch.route.target.minimum_days)
        return (*there, in_picodollars(self.way_back(stretch), back, terms_back(self.terms), volumes.copy())[0])

    def routes(self, tiers: Collection[int] | None = None) -> Routes:
        """What is looked up per object. `tiers`: where objects are; None: anywhere."""
        key = None if tiers is None else frozenset(tiers)
        if key not in self._routes:  # one table, wherever a statement asks for it
            self._routes[key] = routes_of(self.stretches, self.figures, key, f"routes{self._tag}")
        return self._routes[key]

    # -- of one object ------------------------------------------------------------------------------------------

    def _looked_at(
        self,
        routes: Routes,
        tables: sa.FromClause,
        others: Mapping[str, ColumnElement[Any]],
        where: Iterable[ColumnElement[bool]],
    ) -> sa.CTE:
        """What is to be known of each object, and `others`. Worked out once each: without the offset databases would
        copy expressions and their subqueries to wherever they are used. Rows go on one by one, nothing holds them."""
        columns = {**self.seen(routes.stretches), **others}
        found = sa.select(*(column.label(name) for name, column in columns.items())).select_from(tables)
        return found.where(*where).offset(0).cte(f"looked_at{self._tag}")

    def seen(self, stretches: Sequence[Stretch], *, month: bool = True) -> dict[str, ColumnElement[Any]]:
        """What `facts` needs to know of an object that may take one of these ways. `month`: with its reads in the last
        one, which are looked for; without them it has none."""
        reads, read_bytes, covered = self._reads() if month else (_ZERO, _ZERO, _ZERO)
        return {
            "tier_id": objects.c.tier_id,
            "at_key": sa.case((AT_ITS_KEY, 1), else_=0),
            "storage_class": sa.case((AT_ITS_KEY, objects.c.raw_class), else_=blobs.c.storage_class),
            "idle_days": self._idle_days(stretches),
            "stays_days": self._stays_days(stretches),
            "size": objects.c.size,
            "stored": self._selection.stored_bytes(),
            "own": objects.c.stored_bytes,  # without what nobody has of its pack: that is not read
            "begins": sa.case((blobs.c.packed_bytes > 0, CURRENT.c.offset)),
            "after": self._selection.after_bytes(),
            "copied": self.copied(),
            "reads": reads,
            "read_bytes": read_bytes,
            "covered_us": covered,
        }

    def copied(self) -> ColumnElement[int]:
        """1: a server copies it by itself; 0: it passes through us."""
        return copied(self._selection, self._prices.copied_from)

    @staticmethod
    def on_route(found: Routes, seen: Columns) -> ColumnElement[bool]:
        """Whether a route is an object's. It has none where prices are not known."""
        routes = found.table.c
        idle = sa.case((seen["stored"] < routes.monitored_from, 0), else_=seen["idle_days"])
        return sa.and_(
            routes.tier_id == seen["tier_id"],
            routes.at_key == seen["at_key"],
            routes.storage_class == seen["storage_class"],
            routes.idle_from <= idle,
            routes.idle_until > idle,
        )

    def _idle_days(self, stretches: Sequence[Stretch]) -> ColumnElement[int]:
        """Whole days without a read at the end of what logs tell; 0 where none does: unknown is not cold."""
        return self.idle_days() if any(stretch.idle != ALWAYS for stretch in stretches) else _ZERO

    def idle_days(self) -> ColumnElement[int]:
        """Whole days without a read at the end of what logs tell; 0 where none does."""
        evidence = self._selection.inputs.evidence
        until = evidence.at_window(lambda window: window.until_us, sa.BigInteger())
        begin = evidence.at_window(lambda window: window.from_us, sa.BigInteger())
        touched = sql.largest(self._since(), sa.func.coalesce(objects.c.last_read_us, 0))
        idle = (until - sql.largest(touched, begin)) // DAY  # without a window both are NULL
        return sql.largest(sa.func.coalesce(idle, 0), _ZERO)  # it may have been written since

    def _since(self) -> ColumnElement[int]:
        """Since when it is in its storage class. A listing does not tell when a class was changed; the audit does."""
        changed = (
            sa.select(sa.func.max(audit.c.at_us))
            .where(audit.c.object == objects.c.name, audit.c.dataset == datasets.c.name)
            .where(audit.c.kind.in_(sa.bindparam(None, CLASS_CHANGES, expanding=True, literal_execute=True)))
            .correlate(objects, datasets)
            .scalar_subquery()
        )
        at_key = sql.largest(objects.c.created_us, sa.func.coalesce(changed, 0))
        return sa.case((AT_ITS_KEY, at_key), else_=sa.func.coalesce(blobs.c.created_us, objects.c.created_us))

    def facts(self, found: Routes, seen: Columns, *, shares: bool = False) -> dict[str, ColumnElement[Any]]:
        """What is counted of one object: `route` (NULL: no prices), the counts `SUMMED` and `MONTHLY`, `days_left` of
        the minimum duration when the source goes, `covered_us`: the time in which the reads were. The pack that it
        comes out of is not in it (storaged.decide.leaving); `shares`: its share of what that stores is."""
        routes, size, stored, after = found.table.c, seen["size"], seen["stored"], seen["after"]
        part = sa.case((size > _LARGE, size // PARTS + size // (100 * PARTS) + 3), else_=PART)
        by_server = seen["copied"] == 1
        multipart = sa.case((by_server, 0), (after > part, 1), else_=0)
        packed, begins = seen["begins"].is_not(None), seen["begins"]
        inside = (begins + size) // PIECE - begins // PIECE if shares else _ZERO
        gets: ColumnElement[int] = sa.case((by_server, 0), (packed, inside), else_=requests(size, PIECE))
        sampled = _ZERO
        if self.terms.samples:
            slices = sa.case(
                (size > SAMPLED_LARGE, SAMPLE_GETS_LARGE), (size > SAMPLED, SAMPLE_GETS), (size > 0, 1), else_=0
            )
            gets = gets + sa.case((packed, 0), else_=slices)
            sampled = sa.case((packed, 0), else_=_at_most(size, SAMPLED))
        each: dict[str, ColumnElement[Any]] = {
            "after_billable": sql.larger(after, routes.target_minimum),
            "after_monitored": sa.case((after >= routes.target_monitored, 1), else_=0),
            "after_gets": requests(after, PIECE),
            "multiparts": multipart,
            "parts": multipart * requests(after, part),
        }
        if self.packs is not None:  # its pack has them
            each = {name: after if name == "after_billable" else _ZERO for name in each}
        shrunk = sql.whole(sql.real(seen["read_bytes"]) * sql.real(after) / sql.real(seen["own"]))
        return {
            "route": routes.number,
            "days_left": self._days_left(found, seen),
            "covered_us": seen["covered_us"],
            "objects": sa.case((packed, 0), else_=1),
            MOVED: sa.literal(1, sa.Integer()),
            "size": size,
            "stored": sa.case((packed, seen["own"]), else_=stored),
            "billable": sa.case((packed, stored if shares else _ZERO), else_=sql.larger(stored, routes.source_minimum)),
            "monitored": sa.case((packed, 0), (stored >= routes.source_monitored, 1), else_=0),
            "gets": gets,
            "sampled": sampled,
            "copied": seen["copied"] * size,
            "after": after,
            **each,
            "reads": seen["reads"],
            "read_bytes": seen["read_bytes"],
            "after_read_bytes": sa.case((seen["own"] > after, shrunk), else_=seen["read_bytes"]),
        }

    def _stays_days(self, stretches: Sequence[Stretch]) -> ColumnElement[int]:
        """For how many whole days it is in its storage class by the time it is deleted there, or changed."""
        if not any(stretch.route.source.minimum_days for stretch in stretches):
            return _ZERO
        goes_us = self._selection.inputs.evidence.now_us + self.terms.grace_us
        return (goes_us - self._since()) // DAY

    def _days_left(self, found: Routes, seen: Columns) -> ColumnElement[int]:
        """Days, begun ones too, that are left of the source's minimum duration then."""
        minimum, stays = found.table.c.minimum_days, seen["stays_days"]
        return sa.case((minimum <= 0, 0), (stays >= minimum, 0), (stays > 0, minimum - stays), else_=minimum)

    def _reads(self) -> tuple[ColumnElement[int], ColumnElement[int], ColumnElement[int]]:
        """Reads and bytes read in the part of the last month of which logs tell, and how long that is; NULL: none."""
        months = replace(self._selection.inputs.evidence, windows=self._prices.months)
        first = months.at_window(lambda month: month.from_us // DAY, sa.Integer())
        last = months.at_window(lambda month: (month.until_us - 1) // DAY, sa.Integer())
        covered = months.at_window(lambda month: month.length_us, sa.BigInteger())
        begin = months.at_window(lambda month: month.from_us // DAY * DAY, sa.BigInteger())
        unread = sa.func.coalesce(objects.c.last_read_us, 0) < begin  # `last_read_us` is that of its last day of reads
        found = []
        for column in (access.c.reads, access.c.read_bytes):
            seen = (
                sa.select(sa.cast(sa.func.sum(column), sa.BigInteger()))
                .where(access.c.object_id == objects.c.id, access.c.day >= first, access.c.day <= last)
                .correlate(objects)
                .scalar_subquery()
            )
            found.append(sa.case((first.is_(None), None), (unread, 0), else_=sa.func.coalesce(seen, 0)))
        return found[0], found[1], covered

    def priced(
        self, tables: sa.Join, columns: Iterable[ColumnElement[Any]], where: Iterable[ColumnElement[bool]]
    ) -> sa.Select[Any]:
        """These columns of objects that the policy looks at, then the picodollars that each costs once and saves per
        month (below 0: that it costs more). NULL where no prices are known."""
        columns = list(columns)
        routes = self.routes(self._selection.tiers())
        if not routes.stretches:
            unknown = sa.cast(sa.null(), sa.BigInteger())
            return sa.select(*columns, unknown, unknown).select_from(tables).where(*where)
        wanted = {f"given_{number}": column for number, column in enumerate(columns)}
        given = {name: column for name, column in wanted.items() if not isinstance(column, _SAME_FOR_ALL)}
        seen = self._looked_at(routes, tables, given, where)
        facts = self.facts(routes, dict(seen.c.items()))
        sums = {"once": self.once(routes, facts), "saved": self.saved(routes, facts)}
        summed = sa.select(*(seen.c[name] for name in given), *(one.label(name) for name, one in sums.items()))
        routed = seen.outerjoin(routes.table, self.on_route(routes, dict(seen.c.items())))
        found = summed.select_from(routed).offset(0).cte(f"priced{self._tag}")
        told = [found.c[name] if name in given else column for name, column in wanted.items()]
        money = [sql.whole(found.c[name]) for name in sums]
        return sa.select(*told, *money).where(sa.true())  # or ON CONFLICT is a join's

    def once(self, routes: Routes, facts: Mapping[str, ColumnElement[Any]]) -> ColumnElement[float]:
        """Picodollars that its move costs once; NULL: no prices are known."""
        return routes.summed(facts, "once", routes.once)

    def returning(self, routes: Routes, facts: Mapping[str, ColumnElement[Any]]) -> ColumnElement[float]:
        """Picodollars that the way back would cost; NULL: no prices are known."""
        return routes.summed(facts, "back", routes.back)

    def saved(
        self, routes: Routes, facts: Mapping[str, ColumnElement[Any]], *, reads: bool = True
    ) -> ColumnElement[float]:
        """Picodollars that its move saves per month; NULL: no prices are known. `reads`: with those of the last one."""
        names = (name for name in routes.saved if reads or name not in MONTHLY)
        return routes.summed(facts, "saved", names)

    # -- of many ------------------------------------------------------------------------------------------------

    def groups(
        self, tables: sa.Join, by: ColumnElement[Any], where: ColumnElement[bool], *, shares: bool = False
    ) -> sa.Select[Any]:
        """Sums of `facts` by `by` (as `by`) and by all that `counts` wants to be the same."""
        routes = self.routes()
        seen = self._looked_at(routes, tables, {"by": by}, [where])
        columns = {"by": seen.c.by, **self.facts(routes, dict(seen.c.items()), shares=shares)}
        found = sa.select(*(column.label(name) for name, column in columns.items()))
        found = found.select_from(seen.outerjoin(routes.table, self.on_route(routes, dict(seen.c.items()))))
        each = found.cte("each")
        keys = [each.c[name] for name in ("by", "route", "days_left", "covered_us")]
        sums = [sa.func.sum(each.c[name]).label(name) for name in (*SUMMED, MOVED, *MONTHLY)]
        return sa.select(*keys, *sums).group_by(*keys)

    def counts(self, row: sa.RowMapping) -> tuple[Route, Counts]:
        """A route and its counts, from sums of `facts` over objects of one `route`, `days_left` and `covered_us`."""
        summed = {name: int(row[name]) for name in SUMMED}
        owed = {name: summed[base] * row["days_left"] for name, base in OWED.items()}
        count, covered = int(row[MOVED]), row["covered_us"]
        counts = Counts(**summed, **owed)
        if self.packs is None:
            counts = replace(counts, after_objects=count, singles=count - summed["multiparts"])
        if covered is not None:
            reads, read_bytes, after = (int(row[name]) * MONTH_US / Decimal(covered) for name in MONTHLY)
            counts = replace(counts, reads=reads, read_bytes=read_bytes, after_read_bytes=after)
        return self.stretches[row["route"]].route, counts


def _at_most(number: ColumnElement[int], most: int) -> ColumnElement[int]:
    return sa.case((number > most, most), else_=number)
