"""What plans know of prices, and what the parts of a plan come to in money."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.placements import dataset_ids
from storaged.catalog.schema import objects, plan_items
from storaged.catalog.schema_totals import object_totals
from storaged.config.settings import Settings
from storaged.decide.choice.candidates import candidates
from storaged.decide.evidence import Window
from storaged.decide.leaving import Leaving, LeftPart
from storaged.decide.money import MONTH_US, Counts, MoveTerms, PlanMoney, Requests, Route, Volumes, reckon
from storaged.decide.packcosts import PackCosts
from storaged.decide.packreads import PackReads
from storaged.decide.places import CopiedFrom, PricedPlace, Prices
from storaged.decide.planner import costs_of
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.decide.selection import TABLES, Inputs
from storaged.decide.spend import Costs
from storaged.model import RawState
from storaged.prices.amount import configured
from storaged.prices.book import DAYS_PER_MONTH, ClassPrices
from storaged.prices.load import load_prices
from storaged.prices.tiers import tier_prices
from storaged.stores.schemes import terms_of
from storaged.work.money.usage import last_month

FIGURES: Final = (  # of a price book that plans rest on
    "storage",
    "requests.put",
    "requests.get",
    "retrieval",
    "minimum",
    "overhead",
    "monitoring",
    "inner",
    "egress",
    "disk",
)
_PACKS: Final = -1  # in the place of a route's number
_LEFT: Final = -2  # and below
_READ: Final = 1 << 20  # and above
_GB: Final = {1 << 30: "2^30", 10**9: "10^9"}


def known_prices(
    conn: sa.Connection, settings: Settings, tiers: Iterable[Any], windows: Mapping[int, Window], now_us: int
) -> Prices | None:
    """The prices of the catalog's tiers (rows with id, name, storage_class), and what is stored where; None: no tier
    has any. Raises ConfigError for price books and `prices:` of tiers that do not hold together."""
    if not any(tier.prices for tier in settings.tiers.values()):
        return None
    book = load_prices(settings.price_books)
    named = tier_prices(settings, book)
    rows = [row for row in tiers if row.name in settings.tiers]
    held = object_totals.c
    at_key = sa.case((held.raw_state == RawState.CURRENT.value, 1), else_=0)
    there = sa.case((held.raw_state == RawState.CURRENT.value, held.raw_class), else_="")
    place = (held.tier_id, at_key.label("at_key"), there.label("storage_class"))
    stored = (
        sa.select(*place, sa.func.sum(held.stored_bytes).label("bytes"))
        .where(held.tier_id.is_not(None), held.removed == 0)
        .group_by(*place)
        .having(sa.func.sum(held.objects) > 0)
    )
    return Prices(
        book,
        {row.id: named[row.name] for row in rows if row.name in named},
        {row.id: row.storage_class for row in rows},
        {PricedPlace(row.tier_id, bool(row.at_key), row.storage_class): int(row.bytes) for row in conn.execute(stored)},
        last_month(windows, now_us),
        frozenset(row.id for row in rows if not terms_of(settings.tiers[row.name].url).checksums),
        configured(settings.cpu_hour or "0 USD"),
        _copied_from(conn, settings, {row.name: row.id for row in rows}),
        dict(_by_one_get(conn, settings)),
    )


def _copied_from(conn: sa.Connection, settings: Settings, tier_ids: Mapping[str, int]) -> dict[int, CopiedFrom]:
    """By tier id, what is on the tier's server, as configured: nothing is tried for a plan, which counts what passes
    through us where credentials differ."""
    ids = dataset_ids(conn)
    roots = {ids[name]: settings.server(d.root) for name, d in settings.datasets.items() if name in ids}
    tiers = {number: settings.server(settings.tiers[name].url) for name, number in tier_ids.items()}
    return {
        number: CopiedFrom(
            frozenset(other for other, its in tiers.items() if its == server),
            frozenset(other for other, its in roots.items() if its == server),
            server[0].in_parts,
        )
        for number, server in tiers.items()
        if server is not None
    }


def _by_one_get(conn: sa.Connection, settings: Settings) -> Iterator[tuple[int, str]]:
    ids = dataset_ids(conn)
    for name, dataset in settings.datasets.items():
        terms = terms_of(dataset.root)
        if name in ids and terms.one_get:
            yield ids[name], terms.in_versions


class PlanPart:
    """One policy's part of a plan, or one object that it looks at: what the objects come to by what holds them back
    (None: actions), from sums that are made once."""

    def __init__(self, costs: Costs, rows: Iterable[sa.RowMapping]) -> None:
        self.terms: MoveTerms = costs.terms
        self.routes: dict[str | None, dict[tuple[int, int], tuple[Route, Counts]]] = {}
        self.unpriced: dict[str | None, int] = {}
        self.unread: dict[str | None, int] = {}
        self.left = 0  # packs that actions come out of
        self.stay = 0  # of these, those in which somebody stays
        self.add(costs, rows)

    def add(
        self,
        costs: Costs,
        rows: Iterable[sa.RowMapping],
        packed: Callable[[Counts], Counts] | None = None,
        tier_id: int = 0,
    ) -> None:
        """More of them. `packed`: with what it makes of their counts, for they have no packs yet. `tier_id`: where they
        go, where a policy has several such places."""
        for row in rows:
            held, number, count = row["by"], row["route"], int(row["moved"])
            if number is None:
                self.unpriced[held] = self.unpriced.get(held, 0) + count
                continue
            if row["covered_us"] is None:
                self.unread[held] = self.unread.get(held, 0) + count
            route, counts = costs.counts(row)
            self._add(held, (tier_id, number), route, counts if packed is None else packed(counts))

    def add_packs(self, costs: PackCosts, rows: Iterable[sa.RowMapping]) -> None:
        """What packs come to as such, beside their members."""
        for row in rows:
            found = costs.counts(row)
            if found is not None:
                self._add(row["held"], (row["tier_id"], _PACKS), *found)

    def add_reads(self, reads: PackReads, rows: Iterable[sa.RowMapping]) -> None:
        """What is asked less for originals that are read together."""
        for row in rows:
            self._add(row["held"], (0, _READ + row["place"]), *reads.counts(row))

    def add_left(self, parts: Iterable[LeftPart]) -> None:
        """What goes of packs that they come out of."""
        for part in parts:
            self._add(part.held, (part.tier_id, _LEFT - part.way), part.route, part.counts)
            if part.held is None:
                self.left += 1
                self.stay += part.stays

    def _add(self, held: str | None, way: tuple[int, int], route: Route, counts: Counts) -> None:
        routes = self.routes.setdefault(held, {})
        routes[way] = (route, routes[way][1] + counts if way in routes else counts)

    def money(self, held: str | None, volumes: Volumes) -> PlanMoney | None:
        """What these come to, and `volumes` as they are then; None: no prices are known of any of them."""
        return self._money(held, list(self.routes.get(held, {}).values()), volumes)

    def packed(self, held: str | None, volumes: Volumes) -> PlanMoney | None:
        """The same as packs; None: they cannot be packed, or no prices are known."""
        groups = self.routes.get(held, {}).values()
        if any(route.in_place for route, _ in groups):
            return None
        return self._money(held, [(route, counts.as_packs()) for route, counts in groups], volumes)

    def _money(self, held: str | None, groups: Sequence[tuple[Route, Counts]], volumes: Volumes) -> PlanMoney | None:
        if not groups:
            return None
        once, before, after = (amount.rounded() for amount in reckon(groups, self.terms, volumes))
        made = sum(Requests.of(route, counts, self.terms).total for route, counts in groups)
        return PlanMoney(once, before, after, self.unpriced.get(held, 0), self.unread.get(held, 0), made)

    def prices(self) -> Iterator[ClassPrices]:
        for routes in self.routes.values():
            for route, _ in routes.values():
                yield from (route.source, route.target)


def parts_of(
    conn: sa.Connection, policies: Iterable[LoadedPolicy], inputs: Inputs, plan_id: int
) -> dict[str, PlanPart]:
    """The parts of a plan whose prices are known, by policy."""
    found = {}
    tables = TABLES.join(plan_items, plan_items.c.object_id == objects.c.id)
    for p in policies:
        mine = sa.and_(plan_items.c.plan_id == plan_id, plan_items.c.policy == p.name)
        if p.policy.to.chooses:
            given = candidates(p.policy, inputs.about(p.policy))
            if given.of:
                found[p.name] = PlanPart(given.of[0].costs, ())
            for one in given:
                there = sa.and_(mine, plan_items.c.tier_id == one.tier_id)
                rows = conn.execute(one.costs.groups(tables, plan_items.c.held, there)).mappings()
                found[p.name].add(one.costs, rows, tier_id=one.tier_id)
            continue
        costs = costs_of(p.policy, inputs.about(p.policy))
        if costs is None:
            continue
        packed = plan_items.c.pack.is_not(None)
        packing, held = p.policy.to.packing, plan_items.c.held
        members = mine if packing is None else sa.and_(mine, packed)
        part = found[p.name] = PlanPart(costs, conn.execute(costs.groups(tables, held, members)).mappings())
        if packing is not None and costs.packs is not None:
            others = conn.execute(costs.groups(tables, held, sa.and_(mine, sa.not_(packed)))).mappings()
            part.add(costs, others, partial(Counts.as_packs, target=packing.target))
            part.add_packs(costs.packs, conn.execute(costs.packs.sums(plan_id, p.name)).mappings())
            if costs.reads:
                part.add_reads(costs.reads, conn.execute(costs.reads.sums(plan_id, p.name)).mappings())
    if inputs.prices is not None:
        leaving = Leaving(inputs.prices, inputs.evidence)
        for name, part in found.items():
            part.add_left(leaving.parts(conn, plan_id, name))
    return found


def money_of_some(
    conn: sa.Connection,
    policy: Policy,
    inputs: Inputs,
    which: sa.ColumnElement[bool],
    along: sa.ColumnElement[bool] | None = None,
) -> PlanMoney | None:
    """What the policy's move of these objects comes to, whatever holds them back; of one that goes into a pack with its
    share of a full one. `along`: who else leaves the packs that they are in, over TABLES; None: all. None: no prices
    are known."""
    costs = costs_of(policy, inputs)
    if costs is None or inputs.prices is None:
        return None
    rows = conn.execute(costs.groups(TABLES, sa.literal("", sa.Text()), which)).mappings()
    part, packing = PlanPart(costs, ()), policy.to.packing
    part.add(costs, rows, None if packing is None else partial(Counts.of_full_pack, target=packing.target))
    part.add_left(
        Leaving(inputs.prices, inputs.evidence).of_some(conn, which, sa.true() if along is None else along, costs.terms)
    )
    return part.money("", inputs.prices.volumes())


def pays_as_packs(
    part: PlanPart, held: str | None, policy: Policy, alone: PlanMoney, volumes: Volumes
) -> PlanMoney | None:
    """What objects come to as packs, where they do not pay back by themselves and would then; else None."""
    if policy.to.packing is not None:
        return None
    within = MONTH_US * 12 if policy.require is None else policy.require.payback_within
    packed = part.packed(held, volumes)
    if packed is None or alone.pays_within(within) or not packed.pays_within(within):
        return None
    return packed


def basis(parts: Iterable[PlanPart]) -> Iterator[str]:
    """What the money of a plan rests on, in lines."""
    used = {prices.id: prices for part in parts for prices in part.prices()}
    if not used:
        return
    names = ", ".join(f"{name} ({used[name].source('storage').date})" for name in sorted(used))
    sizes = {_GB.get(prices.gb, f"{prices.gb:,}"): prices.provider for prices in used.values()}
    said = ", ".join(f"{size} bytes" + (f" ({who})" if len(sizes) > 1 else "") for size, who in sizes.items())
    yield f"money: USD by {names}; GB = {said}; a month is {DAYS_PER_MONTH} days"
    for name in sorted(used):
        doubted = [figure for figure in FIGURES if used[name].doubted(figure)]
        if doubted:
            yield f"not verified in {name}: {', '.join(doubted)}"
