"""What there is: objects and bytes by format, size, age and heat, and what the small ones cost by their number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import datasets, objects, tiers
from storaged.clock import DAY
from storaged.decide.evidence import Evidence
from storaged.decide.places import Prices
from storaged.decide.sql import larger
from storaged.model import IDENTITY
from storaged.prices.book import ClassPrices
from storaged.prices.formulas import Stock, stored

SMALL: Final = 128 << 10  # bytes; below, classes for what is read seldom bill an object as if it had these
SIZES: Final = (0, 4 << 10, SMALL, 1 << 20, 16 << 20, 256 << 20)  # bytes, where bands begin
DAYS: Final = (0, 30, 90, 365)  # of age or idleness, where bands begin
UNKNOWN: Final = -1  # idle for so many days: no log tells


@dataclass(frozen=True, slots=True)
class Shelf:
    """Objects that are alike. `size_from`, `age_days`, `idle_days`: where their bands begin; the last may be UNKNOWN.
    `bytes` is content, `stored_bytes` what it takes. `plain`: stored as it is."""

    dataset: str
    tier: str
    format: str
    plain: bool
    size_from: int
    age_days: int
    idle_days: int
    objects: int
    bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class InClass:
    """What small objects come to in one class, in USD. `month`: as they are; `by_number`: what of that is not for their
    bytes; `write`: the requests that would put each there once; `packed`: a month of the same bytes as packs."""

    tier: str
    prices: str
    month: Decimal
    by_number: Decimal
    write: Decimal
    packed: Decimal


@dataclass(frozen=True, slots=True)
class SmallObjects:
    """Objects under SMALL bytes that lie by themselves, in one tier, and what they cost in each class with prices."""

    tier: str
    objects: int
    bytes: int
    classes: tuple[InClass, ...]


def shelves(conn: sa.Connection, names: Collection[str], evidence: Evidence) -> list[Shelf]:
    """Everything that is there of these datasets, by kind, the most bytes first."""
    age = sa.literal(evidence.now_us, sa.BigInteger()) - objects.c.created_us
    columns = (
        datasets.c.name.label("dataset"),
        tiers.c.name.label("tier"),
        objects.c.format,
        sa.case((objects.c.codec == IDENTITY.name, 1), else_=0).label("plain"),
        _band(objects.c.size, SIZES).label("size_from"),
        _band(age, DAYS, DAY).label("age_days"),
        _idle_days(evidence).label("idle_days"),
    )
    named = (
        sa.select(*columns, objects.c.size, objects.c.stored_bytes).select_from(_THERE).where(*_of(names)).subquery()
    )
    kinds = [named.c[column.name] for column in columns]
    sums = (sa.func.count(), sa.func.sum(named.c.size), sa.func.sum(named.c.stored_bytes))
    found = [
        Shelf(dataset, tier, kind, bool(plain), size_from, age_days, idle_days, count, int(size), int(held))
        for dataset, tier, kind, plain, size_from, age_days, idle_days, count, size, held in conn.execute(
            sa.select(*kinds, *sums).group_by(*kinds)
        )
    ]
    return sorted(found, key=lambda s: (-s.bytes, s.dataset, s.tier, s.format, s.size_from, s.age_days, s.idle_days))


def small_objects(conn: sa.Connection, names: Collection[str], prices: Prices | None) -> list[SmallObjects]:
    """The small objects of these datasets, tier by tier. Without prices it is known how many there are, and no more."""
    number = sa.select(tiers.c.id, tiers.c.name).order_by(tiers.c.rank, tiers.c.id)
    known = {row.id: row.name for row in conn.execute(number)}
    offers = {} if prices is None else {i: prices.tiers[i] for i in known if i in prices.tiers}
    sizes = sorted({offer.minimum_bytes for offer in offers.values()} | {o.monitoring_bytes for o in offers.values()})
    sums = [
        *(
            sa.func.sum(larger(objects.c.size, sa.literal(least, sa.BigInteger()))).label(f"at_least_{least}")
            for least in sizes
        ),
        *(sa.func.sum(sa.case((objects.c.size >= least, 1), else_=0)).label(f"from_{least}") for least in sizes),
    ]
    query = (
        sa.select(
            objects.c.tier_id, sa.func.count().label("objects"), sa.func.sum(objects.c.size).label("bytes"), *sums
        )
        .select_from(_THERE)
        .where(*_of(names), objects.c.size < SMALL, objects.c.codec == IDENTITY.name)
        .group_by(objects.c.tier_id)
        .order_by(objects.c.tier_id)
    )
    found = []
    for row in conn.execute(query).mappings():
        classes = tuple(_in_class(known[i], offer, row) for i, offer in offers.items())
        found.append(SmallObjects(known[row["tier_id"]], int(row["objects"]), int(row["bytes"]), classes))
    return found


def _in_class(tier: str, prices: ClassPrices, sums: Mapping[Any, Any]) -> InClass:
    count, nbytes = int(sums["objects"]), int(sums["bytes"])
    monitored = int(sums[f"from_{prices.monitoring_bytes}"])
    month = stored(prices, Stock(count, nbytes, int(sums[f"at_least_{prices.minimum_bytes}"]), monitored)).total
    bytes_alone = stored(prices, Stock(0, nbytes, nbytes, 0)).total
    return InClass(tier, prices.id, month, month - bytes_alone, count * prices.put, bytes_alone)


_THERE: Final = objects.join(datasets, datasets.c.id == objects.c.dataset_id).join(
    tiers, tiers.c.id == objects.c.tier_id
)


def _of(names: Collection[str]) -> Iterator[ColumnElement[bool]]:
    yield datasets.c.name.in_(sorted(names))
    yield objects.c.removed_us.is_(None)


def _band(value: ColumnElement[int], begins: tuple[int, ...], unit: int = 1) -> ColumnElement[int]:
    """Where the band of a value begins."""
    at = sa.literal
    steps = ((value >= at(begin * unit, sa.BigInteger()), at(begin, sa.BigInteger())) for begin in reversed(begins[1:]))
    return sa.case(*steps, else_=at(begins[0], sa.BigInteger()))


def _idle_days(evidence: Evidence) -> ColumnElement[int]:
    """As the condition `idle_for` counts: at the end of the window, and no longer than the window is. Of one that is
    shorter than the first band nothing is known."""
    end = evidence.at_window(lambda w: w.until_us if w.length_us >= DAYS[1] * DAY else None, sa.BigInteger())
    begin = evidence.at_window(lambda window: window.from_us, sa.BigInteger())
    touched = larger(objects.c.created_us, sa.func.coalesce(objects.c.last_read_us, 0))
    idle = end - larger(touched, begin)
    return sa.case((end.is_(None), UNKNOWN), else_=_band(idle, DAYS, DAY))
