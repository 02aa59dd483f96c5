"""What things cost, from prices: pure, in Decimal. docs/money.md says the same in words.

Counts may be fractions (reads per month). An object's *billable* size is the larger of its
own and the class's minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from storaged.prices.amount import PICODOLLAR, ZERO, Amount
from storaged.prices.book import DAYS_PER_MONTH, STANDARD_SPEED, ClassPrices, Disk, Inner, Step

_TB: Final = Decimal(10**12)  # as disks are sold
_HOURS_PER_MONTH: Final = 24 * DAYS_PER_MONTH


@dataclass(frozen=True, slots=True)
class Stock:
    """What is stored in one class: objects, their bytes, their billable bytes, and those that are monitored."""

    objects: int | Decimal = 0
    bytes: int = 0
    billable: int = 0
    monitored: int | Decimal = 0

    @classmethod
    def of(cls, prices: ClassPrices, objects: int, size: int) -> Stock:
        """So many objects of one size."""
        return cls(
            objects,
            objects * size,
            objects * max(size, prices.minimum_bytes),
            objects if size >= prices.monitoring_bytes else 0,
        )

    def __add__(self, other: Stock) -> Stock:
        return Stock(
            self.objects + other.objects,
            self.bytes + other.bytes,
            self.billable + other.billable,
            self.monitored + other.monitored,
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """Reads, and bytes of them, per month."""

    reads: Decimal | int = 0
    bytes: Decimal | int = 0


def by_steps(steps: tuple[Step, ...], gigabytes: Decimal, above: Decimal = ZERO) -> Decimal:
    """Per month of so many GB that lie on top of `above` GB in the same class, where larger volumes cost less."""
    cost, below, end = ZERO, ZERO, above + gigabytes
    for step in steps:
        top = end if step.up_to_gb is None else min(end, Decimal(step.up_to_gb))
        cost += max(ZERO, top - max(below, above)) * step.per_gb
        if top == end:
            break
        below = top
    return cost


def gigabytes(prices: ClassPrices, nbytes: Decimal | int) -> Decimal:
    """Bytes in the GB of these prices."""
    return Decimal(nbytes) / prices.gb


def stored(prices: ClassPrices, stock: Stock, *, above: int = 0) -> Amount:
    """Per month for keeping it, on top of `above` billable bytes that are in the class as well."""
    beside = by_steps(prices.storage[:1], gigabytes(prices, stock.objects * prices.overhead_bytes))
    at_standard = by_steps(prices.standard[:1], gigabytes(prices, stock.objects * prices.overhead_standard_bytes))
    return Amount(
        storage=by_steps(prices.storage, gigabytes(prices, stock.billable), gigabytes(prices, above)),
        overhead=beside + at_standard,
        monitoring=stock.monitored * prices.monitoring,
    )


def shares(prices: ClassPrices, reads: Decimal) -> tuple[Decimal, ...]:
    """Of a month, how long an object is at the class's own price and in each of its inner tiers, if it is read so often
    a month, evenly spaced. Never read: always in the last. The shares add up to 1."""
    starts = [ZERO, *(Decimal(inner.idle_days) for inner in prices.inner)]
    if reads == 0:
        return (*(ZERO for _ in starts[1:]), Decimal(1))
    period = DAYS_PER_MONTH / reads
    ends = [*starts[1:], period]
    return tuple(max(ZERO, min(end, period) - start) / period for start, end in zip(starts, ends, strict=True))


def settled(prices: ClassPrices, stock: Stock, reads: Decimal) -> Amount:
    """Per month for keeping objects of one size that are each read so often a month, evenly spaced. Where a class moves
    objects by itself, that is what it comes to in the long run; elsewhere reads change nothing."""
    if not prices.inner or not stock.monitored:  # objects too small to be monitored never move
        return stored(prices, stock)
    own, *inside = shares(prices, reads)
    whole = gigabytes(prices, stock.billable)
    storage = by_steps(prices.storage, whole * own) + sum(
        (whole * share * inner.per_gb for share, inner in zip(inside, prices.inner, strict=True)), ZERO
    )
    return replace(stored(prices, stock), storage=storage)


def amortised(disk: Disk, gb: int) -> Decimal:
    """Per GB (of `gb` bytes) and month for space on a disk of one's own."""
    bought = disk.price_per_tb / disk.lifetime_months
    powered = disk.watts_per_tb / 1000 * _HOURS_PER_MONTH * disk.per_kwh
    return (bought + powered) * disk.copies / disk.usable * gb / _TB


def read(prices: ClassPrices, traffic: Traffic, speed: str = STANDARD_SPEED) -> Amount:
    """Of so many reads: a GET each, and retrieval; of an archive class a restore request each."""
    way = prices.retrieval[speed]
    return Amount(
        requests=traffic.reads * prices.get,
        retrieval=gigabytes(prices, traffic.bytes) * way.per_gb + traffic.reads * way.per_request,
    )


def owed_early(prices: ClassPrices, byte_days: int, object_days: int | Decimal) -> Decimal:
    """For what leaves before the minimum duration: the storage of the days that are left, of the billable bytes and of
    what is stored beside the objects. Given are the sums of bytes, and of objects, times their days left."""
    beside = gigabytes(prices, byte_days + object_days * prices.overhead_bytes) * prices.storage[0].per_gb
    at_standard = gigabytes(prices, object_days * prices.overhead_standard_bytes) * prices.standard[0].per_gb
    return (beside + at_standard) / DAYS_PER_MONTH


def written(prices: ClassPrices, writes: Decimal | int) -> Amount:
    """Of so many objects that are put there, whole and not in parts."""
    return Amount(requests=writes * prices.put)


def inside(prices: ClassPrices, inner: Inner) -> ClassPrices:
    """What a class that moves objects by itself costs for those that are in one of its inner tiers."""
    return replace(prices, storage=(Step(None, inner.per_gb),), inner=())


def allotted(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """A sum of money shared out in proportion, to the picodollar: the parts add up to the sum (rounded so) exactly.
    Not all weights are 0, or the sum is."""
    whole, upto, given = sum(weights), 0, ZERO
    parts = []
    for weight in weights:
        upto += weight
        due = (total if upto == whole else total * upto / whole).quantize(PICODOLLAR)
        parts.append(due - given)
        given = due
    return parts


def leaving(source: ClassPrices, target: ClassPrices, nbytes: int) -> Decimal:
    """Egress of so many bytes from one place to another."""
    if source.region == target.region:
        return ZERO
    rate = source.egress.regions if source.provider == target.provider else source.egress.internet
    return gigabytes(source, nbytes) * rate


def payback_months(one_time: Decimal, before: Decimal, after: Decimal) -> Decimal | None:
    """After how many months the lower bill has made up for the cost; None: never."""
    if one_time <= 0:
        return ZERO if after <= before else None
    return one_time / (before - after) if after < before else None
