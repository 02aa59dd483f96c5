"""What stays cost: counted exactly, priced at the end, and by day in floats for drawing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storaged.decide.simulate.stays import Stays
from storaged.decide.simulate.tariff import Floats, Rates, Tariff
from storaged.decide.simulate.trace import Ints, Trace
from storaged.prices.amount import Amount
from storaged.prices.book import DAYS_PER_MONTH
from storaged.prices.formulas import Stock, Traffic, owed_early, read, stored

_LOW: Final = 31  # bits


@dataclass(frozen=True, slots=True)
class Use:
    """How one tier was used: whole numbers that no rounding touches."""

    object_days: int = 0
    billable_byte_days: int = 0
    monitored_days: int = 0
    reads: int = 0
    read_bytes: int = 0
    moved_in: int = 0
    moved_out: int = 0
    moved_out_bytes: int = 0
    early_days: int = 0  # left of the minimum duration, of all that left
    early_byte_days: int = 0  # these times their billable sizes

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES: Final = tuple(field.name for field in fields(Use))


@dataclass(frozen=True, slots=True)
class SimulatedBill:
    """What a policy used, by tier, about what it cost on each day (USD), and how many moves went back too soon."""

    uses: tuple[Use, ...]
    daily: Floats
    back: int = 0

    def __add__(self, other: SimulatedBill) -> SimulatedBill:
        uses = tuple(a + b for a, b in zip(self.uses, other.uses, strict=True))
        return SimulatedBill(uses, self.daily + other.daily, self.back + other.back)


def amount(tariff: Tariff, uses: tuple[Use, ...]) -> Amount:
    total = Amount()
    for prices, fee, use in zip(tariff.classes, tariff.fees, uses, strict=True):
        kept = stored(prices, Stock(use.object_days, 0, use.billable_byte_days, use.monitored_days))
        total += kept * (1 / DAYS_PER_MONTH)
        total += read(prices, Traffic(use.reads, use.read_bytes))
        total += Amount(
            retrieval=read(prices, Traffic(use.moved_out, use.moved_out_bytes)).retrieval,
            transition=use.moved_in * fee,
            early_deletion=owed_early(prices, use.early_byte_days, use.early_days),
        )
    return total


def bill(trace: Trace, stays: Stays, tariff: Tariff) -> SimulatedBill:
    """What the stays of a trace's objects used. Sums are exact below 2^31 object-days in one trace (use its parts)."""
    kept = stays.last.astype(np.int64) - stays.first + 1
    where = np.searchsorted(
        stays.object * trace.days + stays.first, trace.read_object() * trace.days + trace.read_day, side="right"
    )
    read_tier = stays.tier[where - 1]
    moved = stays.moved
    uses = []
    daily = np.zeros(trace.days + 1)  # changes of the daily cost; the sums so far are the cost itself
    once = np.zeros(trace.days)
    for tier, prices in enumerate(tariff.classes):
        mine = np.flatnonzero(stays.tier == tier)
        kept_bytes = trace.stored_in(tier)
        sizes = kept_bytes[stays.object[mine]]
        billable = np.maximum(sizes, prices.minimum_bytes)
        reads = np.flatnonzero(read_tier == tier)
        into = moved[stays.tier[moved] == tier]
        left = moved[stays.tier[moved - 1] == tier] - 1
        left_sizes = kept_bytes[stays.object[left]]
        read_bytes = trace.read_in(tier)[reads]
        rest = np.maximum(prices.minimum_days - kept[left], 0)
        use = Use(
            object_days=int(kept[mine].sum()),
            billable_byte_days=_dot(kept[mine], billable),
            monitored_days=int(kept[mine][sizes >= prices.monitoring_bytes].sum()),
            reads=int(trace.reads[reads].sum()),
            read_bytes=_total(read_bytes),
            moved_in=len(into),
            moved_out=len(left),
            moved_out_bytes=_total(left_sizes),
            early_days=int(rest.sum()),
            early_byte_days=_dot(rest, np.maximum(left_sizes, prices.minimum_bytes)),
        )
        uses.append(use)
        rates = Rates.of(prices, tariff.fees[tier], kept_bytes)
        _add(daily, stays.first[mine], rates.keep[stays.object[mine]])
        _add(daily, stays.last[mine] + 1, -rates.keep[stays.object[mine]])
        _add(once, trace.read_day[reads], trace.reads[reads] * rates.per_read + read_bytes * rates.per_byte)
        owed = rest * rates.early[stays.object[left]]
        _add(once, stays.last[left], left_sizes * rates.per_byte + rates.per_move + owed)
        _add(once, stays.first[into] - 1, np.full(len(into), rates.fee))
    return SimulatedBill(tuple(uses), np.cumsum(daily[:-1]) + once)


def _add(daily: Floats, days: NDArray[np.integer[Any]], costs: Floats) -> None:
    daily += np.bincount(days, weights=costs, minlength=len(daily))


def _dot(counts: Ints, sizes: Ints) -> int:
    """The sum of counts times sizes. Sizes have up to 62 bits, so that each half has a sum of its own."""
    high, low = sizes >> _LOW, sizes & ((1 << _LOW) - 1)
    return (int((counts * high).sum()) << _LOW) + int((counts * low).sum())


def _total(sizes: Ints) -> int:
    return _dot(np.ones(len(sizes), np.int64), sizes)
