"""Break-even: an object moves once having stayed has cost as much as the way to the other tier and back.

What a day costs more where the object is than in another tier adds to what speaks for that tier; what it costs less
takes off it, down to nothing. Between two tiers this is the work function's way, which never costs more than three
times what is best for an object, but for a constant and for minimum durations (Borodin, Linial and Saks, An Optimal
On-Line Algorithm for Metrical Task System, 1992); where one never comes back it is the rule of who rents skis (Karlin,
Manasse, Rudolph and Sleator, 1988). It learns nothing and has nothing to set.
"""

from __future__ import annotations

import numpy as np

from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.stays import Stays, settle
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Ints, ReadsByDay, Trace


def break_even(trace: Trace, tariff: Tariff) -> Stays:
    """Where it has the objects of a trace, over the tiers of a tariff."""
    costs = TierCosts.of(trace, tariff)
    place = trace.begins().copy()
    since = np.maximum(trace.created, trace.opens)
    speaks = np.zeros((costs.tiers, trace.objects))  # USD, by tier
    by_day = ReadsByDay.of(trace)
    born_by = np.searchsorted(trace.created, np.arange(trace.days), side="right")
    moves: list[tuple[Ints, Ints, Ints]] = []
    for day in range(trace.days - 1):
        born = int(born_by[day])
        here = place[:born]
        rows = by_day.rows[on := by_day.on(day)]
        reads = Reads(by_day.objects[on], trace.reads[rows].astype(float), trace.read_bytes[rows].astype(float))
        now = costs.day(here, reads)
        out = costs.leaving(here, day + 1 - since[:born])
        back = costs.fee[here]
        most: Floats = np.zeros(born)
        wanted = here.copy()
        for tier in range(costs.tiers):
            there = costs.day(np.full(born, tier, np.int8), reads)
            of_tier = speaks[tier, :born]
            np.maximum(of_tier + now - there, 0, out=of_tier)
            over = of_tier - (out + costs.fee[tier] + costs.out[tier, :born] + back)
            better = (over >= most) & (here != tier) & (of_tier > 0)
            most = np.where(better, over, most)
            wanted[better] = tier
        if day < trace.opens:
            continue
        moved = np.flatnonzero(wanted != here)
        if len(moved):
            moves.append((moved, np.full(len(moved), day + 1), wanted[moved].astype(np.int64)))
            place[moved], since[moved] = wanted[moved], day + 1
            speaks[:, moved] = 0
    none = np.zeros(0, np.int64)
    return settle(trace, *(np.concatenate((none, *parts)) for parts in zip((none,) * 3, *moves, strict=True)))
