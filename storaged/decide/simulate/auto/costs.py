"""What each object costs in each tier, as matrices: for many objects at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from storaged.decide.simulate.tariff import Floats, Rates, Tariff
from storaged.decide.simulate.trace import Days, Ints, Places, Trace


@dataclass(frozen=True, slots=True)
class Reads:
    """One day's reads: which objects (each once), how often, and how many bytes."""

    objects: Ints
    counts: Floats
    nbytes: Floats


@dataclass(frozen=True, slots=True)
class TierCosts:
    """By tier, or by tier and object (USD, days). `out`: what leaving costs beside what is owed of a
    minimum duration."""

    keep: Floats
    early: Floats
    out: Floats
    fee: Floats
    minimum_days: Ints
    per_read: Floats
    per_byte: Floats

    @classmethod
    def of(cls, trace: Trace, tariff: Tariff) -> TierCosts:
        """Of the tiers of a tariff, for the objects of a trace."""
        rates = [
            Rates.of(prices, fee, trace.stored_in(tier))
            for tier, (prices, fee) in enumerate(zip(tariff.classes, tariff.fees, strict=True))
        ]
        return cls(
            np.stack([rate.keep for rate in rates]),
            np.stack([rate.early for rate in rates]),
            np.stack([trace.stored_in(tier) * rate.per_byte + rate.per_move for tier, rate in enumerate(rates)]),
            np.array([rate.fee for rate in rates]),
            np.array([rate.minimum_days for rate in rates]),
            np.array([rate.per_read for rate in rates]),
            np.array([rate.per_byte for rate in rates]),
        )

    @property
    def tiers(self) -> int:
        """How many there are."""
        return len(self.fee)

    def at(self, matrix: Floats, tiers: Places) -> Floats:
        """A matrix's values in the tiers that objects, the first of all, are in."""
        found: Floats = matrix[0, : tiers.shape[-1]]
        for tier in range(1, self.tiers):
            found = np.where(tiers == tier, matrix[tier, : tiers.shape[-1]], found)
        return found if found.shape == tiers.shape else np.broadcast_to(found, tiers.shape)

    def day(self, tiers: Places, reads: Reads) -> Floats:
        """What a day costs where objects are."""
        found = self.at(self.keep, tiers).copy()
        there = tiers[..., reads.objects]
        found[..., reads.objects] += self.per_read[there] * reads.counts + self.per_byte[there] * reads.nbytes
        return found

    def leaving(self, tiers: Places, kept: Days) -> Floats:
        """What leaving costs. `kept`: for how many days each was where it is."""
        left = np.maximum(self.minimum_days[tiers] - kept, 0)
        found: Floats = self.at(self.out, tiers) + left * self.at(self.early, tiers)
        return found
