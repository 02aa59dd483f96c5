"""The rules of docs/simulate.md once more, as slowly as they read: one object, one day, fractions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from storaged.decide.simulate.trace import Trace
from storaged.prices.book import ClassPrices

MONTH = Fraction("30.4375")


@dataclass(frozen=True)
class Thing:
    """An object: its first day, its size, and by day how many reads of how many bytes."""

    created: int
    size: int
    reads: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def idle(self, day: int) -> int:
        """Days up to and with this one that it was not read on."""
        return day - max([d for d in self.reads if d <= day], default=self.created - 1)

    def age(self, day: int) -> int:
        """At the end of that day."""
        return day - self.created + 1


Choice = Callable[[Thing, int, int], int]  # object, day, tier at its end -> tier from the next day on


def trace_of(things: Sequence[Thing], days: int) -> Trace:
    """The same as arrays."""
    listed = sorted(things, key=lambda thing: thing.created)
    rows = [(day, *thing.reads[day]) for thing in listed for day in sorted(thing.reads)]
    table = np.array(rows, np.int64).reshape(-1, 3)
    starts = np.cumsum([0, *(len(thing.reads) for thing in listed)])
    created = np.array([thing.created for thing in listed], np.int32)
    sizes = np.array([thing.size for thing in listed], np.int64)
    return Trace(days, created, sizes, starts, table[:, 0].astype(np.int32), table[:, 1], table[:, 2])


def day_of_storage(prices: ClassPrices, size: int) -> tuple[Fraction, Fraction]:
    """Of the content, and of what lies beside it."""
    per_gb, standard = Fraction(prices.storage[0].per_gb), Fraction(prices.standard[0].per_gb)
    content = per_gb * max(size, prices.minimum_bytes) / prices.gb / MONTH
    beside = (per_gb * prices.overhead_bytes + standard * prices.overhead_standard_bytes) / prices.gb / MONTH
    return content, beside


def cost(thing: Thing, days: int, tiers: Sequence[ClassPrices], choose: Choice, opens: int = 0) -> Counter[str]:
    """What one object costs by kind, and `moves`, on the days from `opens` on."""
    found: Counter[str] = Counter()
    tier, since = 0, max(thing.created, opens)
    for day in range(thing.created, days):
        if day < opens:
            choose(thing, day, tier)  # it sees what there is, and nothing moves
            continue
        prices = tiers[tier]
        way = prices.retrieval["standard"]
        if day in thing.reads:
            reads, nbytes = thing.reads[day]
            found["requests"] += reads * Fraction(prices.get)
            found["retrieval"] += Fraction(way.per_gb) * nbytes / prices.gb + reads * Fraction(way.per_request)
        content, beside = day_of_storage(prices, thing.size)
        found["storage"] += content
        found["overhead"] += beside
        if day == days - 1:
            break
        target = choose(thing, day, tier)
        if target == tier:
            continue
        found["moves"] += 1
        found["retrieval"] += Fraction(way.per_gb) * thing.size / prices.gb + Fraction(way.per_request)
        found["transition"] += Fraction(tiers[target].put if target == 0 else tiers[target].transition_in)
        found["early_deletion"] += max(0, prices.minimum_days - (day - since + 1)) * (content + beside)
        tier, since = target, day + 1
    return found


def total(found: Mapping[str, Fraction]) -> Fraction:
    """In USD."""
    return sum((value for kind, value in found.items() if kind != "moves"), Fraction(0))


def bill(
    things: Sequence[Thing], days: int, tiers: Sequence[ClassPrices], choose: Choice, opens: int = 0
) -> Counter[str]:
    """What all of them cost."""
    return sum((cost(thing, days, tiers, choose, opens) for thing in things), Counter())


def lifecycle(tiers: int) -> Choice:
    """Down at 30 and at 90 days of age, never up."""

    def choose(thing: Thing, day: int, tier: int) -> int:
        wanted = 2 if thing.age(day) >= 90 else 1 if thing.age(day) >= 30 else 0
        return max(tier, min(wanted, tiers - 1))

    return choose


def idle(tiers: int) -> Choice:
    """Down at 30 and at 90 days without a read, back by a read."""

    def choose(thing: Thing, day: int, tier: int) -> int:
        unread = thing.idle(day)
        wanted = 2 if unread >= 90 else 1 if unread >= 30 else 0
        return min(wanted, tiers - 1)

    return choose


def break_even(tiers: Sequence[ClassPrices], opens: int = 0) -> Choice:
    """Where having stayed has cost as much more as the way there and back; it remembers, so one for each object."""
    speaks = [Fraction(0)] * len(tiers)
    since: list[int] = []

    def day_in(thing: Thing, day: int, tier: int) -> Fraction:
        reads, nbytes = thing.reads.get(day, (0, 0))
        way = tiers[tier].retrieval["standard"]
        served = reads * (Fraction(tiers[tier].get) + Fraction(way.per_request))
        return sum(day_of_storage(tiers[tier], thing.size)) + served + Fraction(way.per_gb) * nbytes / tiers[tier].gb

    def out(thing: Thing, tier: int) -> Fraction:
        way = tiers[tier].retrieval["standard"]
        return Fraction(way.per_gb) * thing.size / tiers[tier].gb + Fraction(way.per_request)

    def into(tier: int) -> Fraction:
        return Fraction(tiers[tier].put if tier == 0 else tiers[tier].transition_in)

    def choose(thing: Thing, day: int, tier: int) -> int:
        since[:] = since or [max(thing.created, opens)]
        owed = max(0, tiers[tier].minimum_days - (day - since[0] + 1)) * sum(day_of_storage(tiers[tier], thing.size))
        over = {}
        for other in range(len(tiers)):
            speaks[other] = max(Fraction(0), speaks[other] + day_in(thing, day, tier) - day_in(thing, day, other))
            way = out(thing, tier) + owed + into(other) + out(thing, other) + into(tier)
            if other != tier and speaks[other] >= way:
                over[other] = speaks[other] - way
        if day < opens or not over:
            return tier
        speaks[:] = [Fraction(0)] * len(tiers)
        since[:] = [day + 1]
        return max(over, key=lambda other: over[other])

    return choose


def moving_itself(
    things: Sequence[Thing], days: int, prices: ClassPrices, fee_days: Fraction, opens: int = 0
) -> Counter[str]:
    """Intelligent-Tiering and Autoclass, whose fee of 0.0025 per 1,000 objects is for so many days."""
    found: Counter[str] = Counter()
    for thing in things:
        for day in range(max(thing.created, opens), days):
            reads, _ = thing.reads.get(day, (0, 0))
            found["requests"] += reads * Fraction(prices.get)
            rate = Fraction(prices.storage[0].per_gb)
            if thing.size >= 131072:
                before = thing.idle(day - 1) if day > thing.created else 0
                for inner in prices.inner:
                    rate = Fraction(inner.per_gb) if before >= inner.idle_days else rate
                found["monitoring"] += Fraction("0.0025") / 1000 / fee_days
            found["storage"] += rate * thing.size / prices.gb / MONTH
    return found


def cheapest(thing: Thing, days: int, tiers: Sequence[ClassPrices]) -> Fraction:
    """The least that any sequence of tiers, a day each, costs."""

    def follow(path: tuple[int, ...]) -> Choice:
        return lambda thing, day, _tier: path[day - thing.created]

    paths = itertools.product(range(len(tiers)), repeat=max(days - thing.created - 1, 0))
    return min(total(cost(thing, days, tiers, follow(path))) for path in paths)


def cheapest_by_ages(thing: Thing, days: int, tiers: Sequence[ClassPrices], opens: int = 0) -> Fraction:
    """The same for longer traces: the least from each day on, by tier and by days in it."""
    keep = [sum(day_of_storage(prices, thing.size)) for prices in tiers]
    later: dict[tuple[int, int], Fraction] = {}
    for day in range(days - 1, max(thing.created, opens) - 1, -1):
        reads, nbytes = thing.reads.get(day, (0, 0))
        now: dict[tuple[int, int], Fraction] = {}
        for tier, prices in enumerate(tiers):
            way = prices.retrieval["standard"]
            served = reads * Fraction(prices.get) + Fraction(way.per_gb) * nbytes / prices.gb
            served += reads * Fraction(way.per_request) + keep[tier]
            out = Fraction(way.per_gb) * thing.size / prices.gb + Fraction(way.per_request)
            oldest = max(prices.minimum_days, 1)
            for age in range(1, oldest + 1):
                if day == days - 1:
                    now[tier, age] = served
                    continue
                stays = later[tier, min(age + 1, oldest)]
                debt = max(prices.minimum_days - age, 0) * keep[tier]
                goes = [
                    Fraction(other.put if k == 0 else other.transition_in) + later[k, 1]
                    for k, other in enumerate(tiers)
                    if k != tier
                ]
                now[tier, age] = served + min([stays, *(out + debt + to for to in goes)])
        later = now
    return later[0, 1]
