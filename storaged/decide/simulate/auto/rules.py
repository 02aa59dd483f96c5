"""The rules that `auto` follows in thought: each has a place for every object, and knows what it has cost.

An object's *base* is the tier that it begins in. A rule takes an object out of it, to the tier that is cheapest by the
reads of a year, once that is cheaper by each rate that the rule knows, the highest counts. It brings it back as one who
rents skis buys them (Karlin, Manasse, Rudolph and Sleator, 1988), with a prediction (Kumar, Purohit and Svitkina,
Improving Online Algorithms via ML Predictions, 2018): regret is what the last days' reads cost more than they would
have at the base. Where they came on several days, a burst is predicted, and a share (`_TRUST`) of what the return
costs is regret enough; where they came all at once, it takes 1 / `_TRUST` of it. Then no burst costs more than
1 + 1 / `_TRUST` times what was best for it. Where a wave of reads goes over its dataset (`waves.py`), that is a burst
of each object that it reads. A return that did not pay doubles the regret that the object's next one takes, one that
did halves it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from storaged.decide.money import TWICE
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.auto.memory import BURST_SPAN, ReadMemory
from storaged.decide.simulate.auto.waves import Waves
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Days, Mask, Places

HALF_LIVES: Final = (0.0, 90.0)  # days, by rule: what it remembers beside the last days and the year
_TRUST: Final = 0.4
_NEW_DAYS: Final = 3  # without use before a new object first leaves its base
_SPAN_DAYS: Final = 180  # in which a move down has to save TWICE what it costs
_CAUTION: Final = 2.0  # by which a return that did not pay raises the regret that it takes
_MOST_CAUTION: Final = 2.5


class Rules:
    """Places, by rule and object, of all objects of a trace."""

    def __init__(self, costs: TierCosts, base: Places, created: Days, waves: Waves) -> None:
        shape = (len(HALF_LIVES), len(base))
        self._costs = costs
        self._base = base
        self._waves = waves
        self.tiers: Places = np.broadcast_to(base, shape).copy()
        self._since = np.broadcast_to(created, shape).copy()
        self._returned = np.zeros(shape, bool)
        self._caution = np.ones(shape)
        self._gained = np.zeros(shape)  # by the last return so far, less what it cost

    def day(self, reads: Reads, born: int) -> Floats:
        """What a day costs each rule by object."""
        return self._costs.day(self.tiers[:, :born], reads)

    def decide(self, day: int, born: int, reads: Reads, memory: ReadMemory) -> Floats:
        """Move the first `born` objects at the end of a day; returns what that costs, by rule and object."""
        costs, base, here = self._costs, self._base[:born], self.tiers[:, :born]
        year, target = self._by_year(memory, born)
        leaving = costs.leaving(here, day + 1 - self._since[:, :born])
        at_base = here == base
        settled = self._returned[:, :born] | (memory.idle[:born] >= _NEW_DAYS)
        entering = TWICE * costs.fee[target]
        rates = memory.highest(born)
        saving = self._rate(base, rates) - self._rate(target, rates)
        goes = at_base & settled & (saving * _SPAN_DAYS > entering)
        returning = leaving + costs.fee[base]
        comes = ~at_base & self._regretted(memory, reads, here, base, returning)
        saved = costs.at(year, here) - costs.at(year, target)
        shifts = ~at_base & ~comes & (target != here) & (saved * _SPAN_DAYS > TWICE * leaving + entering)
        self._judge(reads, target, goes, comes, returning)
        wanted = np.where(comes, base, np.where(goes | shifts, target, here)).astype(np.int8)
        moved = wanted != here
        spent: Floats = np.where(moved, leaving + costs.fee[wanted], 0.0)
        self._since[:, :born][moved] = day + 1
        self.tiers[:, :born] = wanted
        return spent

    def _by_year(self, memory: ReadMemory, born: int) -> tuple[Floats, Places]:
        """What a day in each tier costs by the reads of a year, and which tier beside the base is cheapest by it."""
        counts, nbytes = memory.year[:, :born]
        costs = self._costs
        year = costs.keep[:, :born] + costs.per_read[:, None] * counts + costs.per_byte[:, None] * nbytes
        others = year.copy()
        others[self._base[:born], np.arange(born)] = np.inf
        return year, others.argmin(axis=0).astype(np.int8)

    def _rate(self, tiers: Places, rates: Floats) -> Floats:
        """What a day there costs by these rates, by rule and object."""
        counts, nbytes = rates
        costs = self._costs
        found: Floats = costs.at(costs.keep, tiers) + costs.per_read[tiers] * counts + costs.per_byte[tiers] * nbytes
        return found

    def _regretted(self, memory: ReadMemory, reads: Reads, here: Places, base: Places, returning: Floats) -> Mask:
        """Whether the last days' reads cost so much more than at the base that what the return costs is due."""
        costs, born = self._costs, len(base)
        dearer = costs.per_read[here] - costs.per_read[base], costs.per_byte[here] - costs.per_byte[base]
        cheaper = (costs.at(costs.keep, base) - costs.at(costs.keep, here)) * BURST_SPAN
        lasting, burst = (
            dearer[0] * sums[0, :born] + dearer[1] * sums[1, :born] - cheaper for sums in (memory.lasting, memory.burst)
        )
        due = _TRUST * self._caution[:, :born] * returning
        served = costs.per_byte[here[:, reads.objects]] * reads.nbytes
        shares = np.minimum(served / np.maximum(returning[:, reads.objects], np.finfo(float).tiny), 1)
        in_wave = self._waves.see(costs.at(costs.keep, base), here != base, reads.objects, shares)
        found: Mask = (lasting > due) | (burst > returning / _TRUST) | (in_wave & (burst > due))
        return found

    def _judge(self, reads: Reads, target: Places, goes: Mask, comes: Mask, returning: Floats) -> None:
        """Whether the returns that are over paid, so that the next ones are made more or less readily."""
        costs, born = self._costs, len(target)
        base, objects = self._base[:born], reads.objects
        there, home = target[objects], base[objects]
        gain = costs.at(costs.keep, target) - costs.at(costs.keep, base)
        gain[objects] += (costs.per_read[there] - costs.per_read[home]) * reads.counts
        gain[objects] += (costs.per_byte[there] - costs.per_byte[home]) * reads.nbytes
        back = (self.tiers[:, :born] == base) & self._returned[:, :born]
        gained, caution = self._gained[:, :born], self._caution[:, :born]
        gained += np.where(back, gain, 0.0)
        over = back & goes
        lost, paid = over & (gained < 0), over & (gained >= 0)
        caution[lost] = np.minimum(caution[lost] * _CAUTION, _MOST_CAUTION)
        caution[paid] = np.maximum(caution[paid] / _CAUTION, 1.0)
        gained[comes] = -returning[comes]
        self._returned[:, :born] |= comes
