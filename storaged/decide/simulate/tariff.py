"""What a simulation charges: the listed classes, and the tiers inside of classes that move objects by themselves.

Two rules of the simulation hold here: storage costs what the first volume step says, and a move back to the first
tier is a PUT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from storaged.decide.simulate.stays import Step as IdleStep
from storaged.decide.simulate.trace import Ints
from storaged.prices.amount import ZERO
from storaged.prices.book import DAYS_PER_MONTH, STANDARD_SPEED, ClassPrices, Retrieval, Step
from storaged.prices.formulas import Stock, Traffic, owed_early, read, stored

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tariff:
    """Classes by tier, and the fee for a move into each. `inner`: tiers inside one class, no moves of ours."""

    classes: tuple[ClassPrices, ...]
    fees: tuple[Decimal, ...]
    inner: bool = False

    @classmethod
    def of(cls, tiers: Sequence[ClassPrices], fees: Sequence[Decimal] | None = None) -> Tariff:
        """Of the tiers that an object may be moved between. `fees` left out: a transition, to the first a PUT."""
        flat = tuple(replace(prices, storage=_flat(prices.storage[0].per_gb)) for prices in tiers)
        return cls(flat, tuple(fees or (flat[0].put, *(prices.transition_in for prices in flat[1:]))))

    @classmethod
    def inside(cls, prices: ClassPrices) -> Tariff:
        """Of a class that moves objects by itself: its tiers differ in the price of storage and in nothing else."""
        rates = (prices.storage[0].per_gb, *(inner.per_gb for inner in prices.inner))
        free = replace(
            prices,
            retrieval={STANDARD_SPEED: Retrieval()},
            minimum_days=0,
            minimum_bytes=0,
            overhead_bytes=0,
            overhead_standard_bytes=0,
            inner=(),
        )
        return cls(tuple(replace(free, storage=_flat(rate)) for rate in rates), (ZERO,) * len(rates), inner=True)


def _flat(per_gb: Decimal) -> tuple[Step, ...]:
    return (Step(None, per_gb),)


def idle_steps(prices: ClassPrices) -> list[IdleStep]:
    """When a class moves an object by itself, and to which of its tiers."""
    return [(inner.idle_days, number) for number, inner in enumerate(prices.inner, 1)]


@dataclass(frozen=True, slots=True)
class Rates:
    """The same as floats, of one class: for choosing among many, and for drawing. Per day, byte and request."""

    keep: Floats  # by object: a day
    early: Floats  # by object: a day that is left of the minimum duration
    minimum_days: int
    per_read: float
    per_byte: float
    per_move: float  # out of it, beside the bytes
    fee: float  # into it

    @classmethod
    def of(cls, prices: ClassPrices, fee: Decimal, sizes: Ints) -> Rates:
        """The same formulas asked for one of each."""
        one, byte = read(prices, Traffic(1)), read(prices, Traffic(0, prices.gb))  # a GB: in bytes digits would be lost
        gb_day = stored(prices, Stock(bytes=prices.gb, billable=prices.gb)).storage / DAYS_PER_MONTH
        beside = owed_early(prices, 0, 1)
        watched = stored(prices, Stock(monitored=1)).monitoring / DAYS_PER_MONTH
        early = np.maximum(sizes, prices.minimum_bytes) * (float(gb_day) / prices.gb) + float(beside)
        return cls(
            early + np.where(sizes >= prices.monitoring_bytes, float(watched), 0.0),
            early,
            prices.minimum_days,
            float(one.total),
            float(byte.total) / prices.gb,
            float(one.retrieval),
            float(fee),
        )
