"""What there will be in the months ahead, and what that costs, if datasets go on to grow as they did and nothing is
moved. `growing.py` says how bills and intervals are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import sqlalchemy as sa

from storaged.catalog import rooms
from storaged.catalog.schema import tiers
from storaged.clock import DAY
from storaged.decide.growth import INTERVAL, LEAST, WEEK, Backtest, Chances, Floats, backtest, ways_on
from storaged.decide.load import load_policies
from storaged.prices.book import DAYS_PER_MONTH
from storaged.work.context import Context
from storaged.work.money.arrivals import Arrivals, arrivals
from storaged.work.money.cost import Bill, bill_basis
from storaged.work.money.growing import GrowingBills, Place, Within
from storaged.work.money.planned import NewestPlan, newest_plans

BACKTESTED: Final = (4, 13, 26, 52)  # weeks ahead
_STEP: Final = 8  # weeks from one forecast of a backtest to the next
_SEED: Final = 20  # the same catalog says the same
_MONTH_DAYS: Final = float(DAYS_PER_MONTH)
_UNKNOWN_SHARE: Final = 0.11  # of the ways in which nothing more comes, where it is not known what goes


@dataclass(frozen=True, slots=True)
class MonthAhead:
    """What there is so many months from now; 0: now. `usd`: per month; None: no prices are known of any of it.
    `unpriced_bytes`: stored where none are, and not in `usd`. `standing`: datasets of which nothing is said so far
    ahead, and which count as they last were."""

    month: int
    bytes: Within
    objects: Within
    usd: Within | None
    unpriced_bytes: int
    reads_known: bool
    standing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineAhead:
    """The months of a dataset in a tier; of a tier (dataset None), or of all (tier None too)."""

    dataset: str | None
    tier: str | None
    months: tuple[MonthAhead, ...]


@dataclass(frozen=True, slots=True)
class MarkMet:
    """When a tier with a capacity meets a mark: `high`, or `capacity`. The days by which one in ten, half, and nine in
    ten of the ways on have met it; None: not within the months that were asked for."""

    tier: str
    mark: str
    bytes: int
    used_bytes: int
    earliest_us: int | None
    expected_us: int | None
    latest_us: int | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """`places`: by dataset and tier. `known_months`: how far ahead something is said, by dataset. `plans`: the newest
    of each policy that there is, which are in no figure."""

    bill: Bill
    places: tuple[LineAhead, ...]
    tiers: tuple[LineAhead, ...]
    total: LineAhead
    marks: tuple[MarkMet, ...]
    plans: tuple[NewestPlan, ...]
    datasets: tuple[Arrivals, ...]
    known_months: Mapping[str, int]


def look_ahead(context: Context, months: int, names: Sequence[str] = ()) -> Ahead:
    """`names`: only these datasets; none: all. Marks are of all of them. Reads only. Raises UsageError for a dataset
    that there is not, ConfigError for prices and policies that do not hold together, CatalogError."""
    policies = {loaded.policy.name for loaded in load_policies(context.settings.policies, context.settings)}
    basis = bill_basis(context)
    with context.catalog.read() as conn:
        told = arrivals(conn, basis.at_us)
        used = rooms.stored(conn)
        classes = {row.id: row.storage_class for row in conn.execute(sa.select(tiers))}
        plans = tuple(plan for name, plan in newest_plans(conn).items() if name in policies)
        for name in names:
            if name not in {one.dataset for one in told}:
                context.dataset_id(conn, name)
    ways, known = _ways_of(told, months)
    bills = GrowingBills(basis, told, ways, classes, months)
    wanted = set(names) or {*(one.dataset for one in told), ""}
    shown = [place for place in bills.places if place[0] in wanted]

    def outlook(dataset: str | None, tier: str | None, its: Sequence[Place]) -> LineAhead:
        here = sorted({name for name, _ in its})
        found = []
        for month, (group, nbytes, objects, usd) in enumerate(bills.together(its)):
            standing = tuple(name for name in here if known.get(name, months) < month)
            paid = usd if group.priced else None
            found.append(MonthAhead(month, nbytes, objects, paid, group.unpriced_bytes, group.reads_known, standing))
        return LineAhead(dataset, tier, tuple(found))

    numbers = {name: number for number, name in basis.names.items()}
    return Ahead(
        _only(bills.bills[0], wanted),
        tuple(outlook(*place, [place]) for place in shown),
        tuple(outlook(None, tier, [p for p in shown if p[1] == tier]) for tier in sorted({tier for _, tier in shown})),
        outlook(None, None, shown),
        tuple(_marks(context, bills, {name: used.get(number, 0) for name, number in numbers.items()}, basis.at_us)),
        plans,
        tuple(one for one in told if one.dataset in wanted),
        {name: known[name] for name in sorted(wanted & known.keys())},
    )


def tried_before(told: Sequence[Arrivals]) -> tuple[Backtest, ...]:
    """How forecasts of the bytes of each dataset, from earlier days, would have fared."""
    found = {weeks: Backtest(weeks, 0, 0) for weeks in BACKTESTED}
    for one in told:
        chance = np.random.default_rng((_SEED, one.dataset_id))
        for result in backtest(one.bytes, chance, BACKTESTED, _STEP):
            found[result.weeks] += result
    return tuple(found.values())


def _only(bill: Bill, wanted: set[str]) -> Bill:
    parts = tuple(part for part in bill.parts if part.dataset in wanted)
    windows = {name: window for name, window in bill.months.items() if name in wanted}
    return replace(bill, parts=parts, months=windows, unread=tuple(name for name in bill.unread if name in wanted))


def _ways_of(told: Sequence[Arrivals], months: int) -> tuple[dict[str, tuple[Floats, Floats]], dict[str, int]]:
    """The ways of each dataset, bytes and objects by month from now on, and for how many months they say something: no
    further ahead than they look back. After that they stand."""
    weeks = int(np.ceil(months * _MONTH_DAYS / WEEK))
    chances = Chances.of(np.random.default_rng(_SEED))
    at = np.arange(months + 1) * _MONTH_DAYS / WEEK
    found: dict[str, tuple[Floats, Floats]] = {}
    known = {}
    for one in told:
        says = one.weeks >= LEAST and one.objects_now > 0 and one.scanned_us is not None
        known[one.dataset] = min(months, int(one.weeks * WEEK / _MONTH_DAYS)) if says else 0
        if not says:
            continue
        chance = np.random.default_rng((_SEED, one.dataset_id))
        until = np.minimum(at, at[known[one.dataset]])
        nbytes, objects = (
            _monthly(ways_on(weekly, weeks, chances, chance), until, there, one.removals_known)
            for weekly, there in ((one.bytes, one.bytes_now), (one.objects, one.objects_now))
        )
        found[one.dataset] = nbytes, objects
    return found, known


def _monthly(ways: Floats, at: Floats, there: int, removals_known: bool) -> Floats:
    """The ways at these weeks from now: no more goes than is there. Where it is not known what goes, in some of them
    nothing more comes, so that the interval reaches down to what is there now."""
    weeks = np.arange(ways.shape[1] + 1)
    found = np.stack([np.interp(at, weeks, (0.0, *way)) for way in ways])
    if not removals_known:
        few = found <= np.quantile(found, _UNKNOWN_SHARE, axis=0)
        found = np.where(few, np.minimum(found, 0.0), found)
    left: Floats = np.maximum(found, -float(there))
    return left


def _marks(context: Context, bills: GrowingBills, used: Mapping[str, int], now_us: int) -> Iterator[MarkMet]:
    """Of all tiers with a capacity."""
    for tier in context.tiers.values():
        if tier.capacity_bytes is None or tier.high_watermark is None:
            continue
        ways = sum((bills.more(place) for place in bills.places if place[1] == tier.name), bills.more(("", tier.name)))
        there = used.get(tier.name, 0)
        for mark, share in (("high", tier.high_watermark), ("capacity", 1.0)):
            limit = int(tier.capacity_bytes * share)
            days = [_met(way, limit - there) for way in ways]
            met = np.quantile(days, (INTERVAL[0], 0.5, INTERVAL[1]), method="higher")
            when = [None if np.isinf(d) else now_us + int(d) * DAY for d in met]
            yield MarkMet(tier.name, mark, limit, there, *when)


def _met(way: Floats, room: int) -> float:
    """After how many days a way has so much more; infinity: not as far as it leads. Between months it is a line."""
    over = np.flatnonzero(way >= room)
    if not len(over):
        return float("inf")
    month = int(over[0])
    if month == 0:
        return 0.0
    before, after = way[month - 1], way[month]
    return float((month - 1 + (room - before) / (after - before)) * _MONTH_DAYS)
