"""A class that moves objects by itself, as one more place for `auto`: S3's Intelligent-Tiering.

An object that comes there begins at its most frequent tier, for the fee of a transition, and goes down by days without
a read as the class has it (docs/simulate.md). It leaves for nothing but the fee of where it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from storaged.decide.simulate.auto.costs import TierCosts
from storaged.decide.simulate.stays import Stays, Step, settle
from storaged.decide.simulate.tariff import Floats, Rates, Tariff, idle_steps
from storaged.decide.simulate.trace import Days, Ints, Trace
from storaged.prices.amount import ZERO
from storaged.prices.book import ClassPrices


@dataclass(frozen=True, slots=True)
class SelfMoving:
    """A class that moves objects by itself, for the objects of a trace. `keep`: a day's storage, by its tier."""

    prices: ClassPrices
    steps: tuple[Step, ...]
    keep: Floats
    per_read: float

    @classmethod
    def of(cls, prices: ClassPrices, trace: Trace) -> SelfMoving:
        """Objects too small to be monitored stay as if they were read."""
        inside = [Rates.of(tier, ZERO, trace.sizes) for tier in Tariff.inside(prices).classes]
        keep = np.stack([rates.keep for rates in inside])
        return cls(
            prices,
            tuple(idle_steps(prices)),
            np.where(trace.sizes >= prices.monitoring_bytes, keep, keep[0]),
            inside[0].per_read,
        )

    def beside(self, costs: TierCosts) -> TierCosts:
        """These costs with one tier more, which is this class: `keep` of what is read."""
        nothing = np.zeros_like(self.keep[0])
        return TierCosts(
            np.vstack((costs.keep, self.keep[0])),
            np.vstack((costs.early, nothing)),
            np.vstack((costs.out, nothing)),
            np.append(costs.fee, float(self.prices.transition_in)),
            np.append(costs.minimum_days, 0),
            np.append(costs.per_read, self.per_read),
            np.append(costs.per_byte, 0.0),
        )

    def spared(self, day: int, idle_from: Days) -> Floats:
        """What a day there costs less than that of an object that is read. `idle_from`: by object, the first of all,
        the day of the last read before, or the one before it came."""
        born = len(idle_from)
        found = np.zeros(born)
        for idle, tier in self.steps:
            found = np.where(day > idle_from + idle, self.keep[0, :born] - self.keep[tier, :born], found)
        return found

    def tariff(self, listed: Tariff) -> Tariff:
        """The listed tiers, then where an object comes to, the tiers further down, and the first again after a read:
        apart, for only what comes pays for it."""
        inside = Tariff.inside(self.prices).classes
        none = (ZERO,) * (len(inside) - 1)
        return Tariff((*listed.classes, *inside, inside[0]), (*listed.fees, self.prices.transition_in, *none, ZERO))

    def unfold(self, trace: Trace, stays: Stays, place: int) -> Stays:
        """Stays with those at `place`, which is the class as a whole, told by its tiers as `tariff` has them."""
        mine = np.flatnonzero(stays.tier == place)
        small = trace.sizes[stays.object[mine]] < self.prices.monitoring_bytes
        mine = mine[~small]
        key = stays.object * trace.days + stays.first
        rows = np.searchsorted(key, trace.read_object() * trace.days + trace.read_day, side="right") - 1
        inside = np.flatnonzero(np.isin(rows, mine))
        stay = np.concatenate((mine, rows[inside]))
        since = np.concatenate((stays.first[mine].astype(np.int64) - 1, trace.read_day[inside].astype(np.int64)))
        order = np.lexsort((since, stay))
        stay, since = stay[order], since[order]
        read = np.ones(len(stay), bool)  # that the gap is ended by a read
        read[-1:] = False
        read[:-1] = stay[1:] == stay[:-1]
        until = stays.last[stay].astype(np.int64)
        until[:-1][read[:-1]] = since[1:][read[:-1]]
        moves: list[tuple[Ints, Ints, Ints]] = [
            (stays.object, stays.first.astype(np.int64), stays.tier.astype(np.int64))
        ]
        for idle, tier in self.steps:
            hit = np.flatnonzero(since + idle + 1 <= until)
            moves.append((stays.object[stay[hit]], since[hit] + idle + 1, np.full(len(hit), place + tier)))
        deep = until - since > self.steps[0][0]
        back = np.flatnonzero(read & deep & (until < stays.last[stay]))
        again = place + len(self.keep)
        moves.append((stays.object[stay[back]], until[back] + 1, np.full(len(back), again)))
        begins = stays.first == trace.created[stays.object]
        objects, days, tiers = (np.concatenate(parts) for parts in zip(*moves, strict=True))
        keep = np.ones(len(objects), bool)
        keep[: len(begins)] = ~begins  # where an object begins is no move
        return settle(trace, objects[keep], days[keep], tiers[keep])

    def placed(self, trace: Trace, tiers: int) -> Trace:
        """A trace as the places of `tariff` have it, of which the first so many are the listed tiers: everything is as
        it was written."""
        if not trace.stored:
            return trace
        return replace(trace, stored=(*trace.stored[:tiers], *(trace.sizes for _ in range(len(self.keep) + 1))))
