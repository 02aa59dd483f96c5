"""`auto` beside a class that moves objects by itself: what it knows at the end of a day is what happened up to then."""

from __future__ import annotations

from typing import Final

import numpy as np

from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.auto.inner import SelfMoving
from storaged.decide.simulate.auto.memory import ReadMemory
from storaged.decide.simulate.auto.mixture import ETA, Mixture, stakes_of
from storaged.decide.simulate.auto.rules import HALF_LIVES, Rules
from storaged.decide.simulate.auto.waves import Waves
from storaged.decide.simulate.stays import Stays, settle
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Days, Ints, Places, ReadsByDay, Trace

_PRIOR: Final = (6.0, 3.0, 2.0)  # stay, and each rule
_MOVING_PRIOR: Final = 14.0  # the class that moves objects by itself, which can only cost more by what it always costs,
_SURE_DAYS: Final = 90  # for so long

Moves = tuple[Ints, Ints, Ints]  # objects, days from which they are in force, and tiers


class _Mixed:
    """One mixture, and where it has each object."""

    def __init__(self, costs: TierCosts, mixture: Mixture, trace: Trace) -> None:
        self._costs = costs
        self._mixture = mixture
        self.tiers = trace.begins().copy()
        self._since = np.maximum(trace.created, trace.opens)
        self._opens = trace.opens
        self._moves: list[Moves] = []

    def day(self, reads: Reads, born: int) -> Floats:
        return self._costs.day(self.tiers[:born], reads)

    def decide(self, day: int, reads: Reads, spent: Floats, rules: Floats, stakes: Floats, places: Places) -> Ints:
        """Learn of a day and move; returns which objects. `spent`: what the day has cost; `rules`: what it has cost
        each rule; `places`: where these have the objects."""
        born = len(spent)
        self._mixture.learn(rules, stakes, reads.objects)
        if day < self._opens:
            return np.zeros(0, np.int64)
        here = self.tiers[:born]
        wanted = self._mixture.middle(places, here)
        moved: Ints = np.flatnonzero(wanted != here)
        leaving = self._costs.leaving(here, day + 1 - self._since[:born])[moved]
        spent[moved] += leaving + self._costs.fee[wanted[moved]]
        self._mixture.spend(spent, rules[0])
        self.tiers[moved], self._since[moved] = wanted[moved], day + 1
        if len(moved):
            self._moves.append((moved, np.full(len(moved), day + 1), wanted[moved].astype(np.int64)))
        return moved

    def stays(self, trace: Trace) -> Stays:
        none = np.zeros(0, np.int64)
        return settle(trace, *(np.concatenate((none, *parts)) for parts in zip((none,) * 3, *self._moves, strict=True)))


def auto_beside(trace: Trace, tariff: Tariff, moving: SelfMoving) -> Stays:
    """Where the objects of a trace are, which covers all of their reads, over the tiers of a tariff, of which there are
    two at least, and a class that moves objects by itself, as place number `tiers`."""
    tiers = len(tariff.classes)
    costs = TierCosts.of(trace, tariff)
    base, created = trace.begins(), trace.created
    dataset = np.zeros(trace.objects, np.int32) if trace.dataset is None else trace.dataset
    datasets = max(len(trace.datasets), 1)
    order = sorted(range(tiers), key=lambda tier: -tariff.classes[tier].storage[0].per_gb)
    rules = Rules(costs, base, created, Waves(len(HALF_LIVES), dataset, datasets))
    memory = ReadMemory(trace.sizes.astype(np.float64), HALF_LIVES)
    stakes = stakes_of(costs.keep, base)
    with_it = Mixture(_with(moving, stakes), [order[0], tiers, *order[1:]], dataset, datasets)
    beside = _Beside(moving, _Mixed(moving.beside(costs), with_it, trace), tiers, created)
    by_day = ReadsByDay.of(trace)
    born_by = np.searchsorted(created, np.arange(trace.days), side="right")
    for day in range(trace.days - 1):
        born = int(born_by[day])
        rows = by_day.rows[on := by_day.on(day)]
        reads = Reads(by_day.objects[on], trace.reads[rows].astype(float), trace.read_bytes[rows].astype(float))
        memory.see(reads, born)
        cost = np.vstack((costs.day(base[:born], reads), rules.day(reads, born)))
        cost[1:] += rules.decide(day, born, reads, memory)
        places = np.vstack((base[:born], rules.tiers[:, :born]))
        beside.day(day, reads, cost, stakes[:born], places)
    return beside.mixed.stays(trace)


def _with(moving: SelfMoving, stakes: Floats) -> Floats:
    """The prior by rule and object where there is a class that moves objects by itself."""
    surcharge = np.maximum(moving.keep[0] / stakes - 1, 0)
    rules = np.repeat(np.array(_PRIOR)[:, None], len(stakes), axis=1)
    entering = float(moving.prices.transition_in) / stakes  # in days of storage: of what is tiny it is all there is
    sure = np.minimum(_SURE_DAYS * surcharge + entering, _SURE_DAYS * 100)
    found: Floats = np.vstack((rules, _MOVING_PRIOR * np.exp(-ETA * sure)))
    return np.maximum(found, np.finfo(float).tiny)


class _Beside:
    """The mixture with a class that moves objects by itself: one rule more, which has everything there from its first
    evening on."""

    def __init__(self, moving: SelfMoving, mixed: _Mixed, place: int, created: Days) -> None:
        self._moving = moving
        self.mixed = mixed
        self._place = place
        self._created = created
        self._rule_idle = created.copy()  # the day of the last read since it came there, or the one before that
        self._idle = created.copy()
        self._fee = float(moving.prices.transition_in)

    def day(self, day: int, reads: Reads, cost: Floats, stakes: Floats, places: Places) -> None:
        born, moving = len(stakes), self._moving
        came = self._created[:born] < day
        there = moving.keep[0, :born] - moving.spared(day, self._rule_idle[:born])
        there[reads.objects] += moving.per_read * reads.counts
        rule = np.where(came, there, cost[0] + np.where(self._created[:born] == day, self._fee, 0.0))
        spent = self.mixed.day(reads, born)
        inside = self.mixed.tiers[:born] == self._place
        spent -= np.where(inside, moving.spared(day, self._idle[:born]), 0.0)
        for idle in (self._rule_idle, self._idle):
            idle[reads.objects] = day
        where = np.full(born, self._place, np.int8)
        moved = self.mixed.decide(day, reads, spent, np.vstack((cost, rule)), stakes, np.vstack((places, where)))
        self._idle[moved] = day
