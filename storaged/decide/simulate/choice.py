"""`tier: auto` of a policy in a simulation: each day what a plan would choose, by what is known by then.

The ways to decide and their weights are those of `storaged.decide.forecast`, and what they want is asked of `ways.py`,
as when they are weighed: there is one decider. Of a plan's costs a simulation knows those that its bill has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from storaged.decide.forecast.memory import PastRates, Remembered, remembered
from storaged.decide.forecast.model import BREAK_EVEN, FORECAST, MEMORY, STAY
from storaged.decide.forecast.taught import TaughtTerm
from storaged.decide.forecast.ways import Foreseen, PastCounts, middle, wanted
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Days, Ints, Mask, Places, Trace

_HALF: Final = 0.5
_WAYS: Final = (STAY, MEMORY, BREAK_EVEN, FORECAST)


@dataclass(frozen=True, slots=True)
class TierOptions:
    """Between what a policy chooses. `leads`: of each tier, the hottest first, where it takes an object, by the place
    where that is. `horizon_days`: for how long a place is reckoned. `order`: of the places, that of their tiers."""

    leads: tuple[tuple[int, ...], ...]
    horizon_days: float
    order: tuple[int, ...]


@dataclass(slots=True)
class Chooser:
    """What is known of the objects of a trace, day by day. `terms`: what it has taught. `read`: by object, whether it
    was on the last day that was seen."""

    trace: Trace
    terms: Sequence[TaughtTerm]
    costs: TierCosts
    counts: PastCounts
    rates: PastRates
    dataset: Days
    read: Mask
    term: int = -1

    @classmethod
    def of(cls, trace: Trace, tariff: Tariff, half_life_us: int, terms: Sequence[TaughtTerm]) -> Self:
        """Before the first day."""
        dataset = np.zeros(trace.objects, np.int32) if trace.dataset is None else trace.dataset
        counts, rates = PastCounts.of(trace, half_life_us), PastRates.of(trace.objects)
        return cls(trace, terms, TierCosts.of(trace, tariff), counts, rates, dataset, np.zeros(trace.objects, bool))

    def see(self, day: int, reads: Reads) -> None:
        """Take a day in."""
        self.counts.see(day, reads)
        self.rates.see(reads)
        self.read[:] = False
        self.read[reads.objects] = True
        while self.term + 1 < len(self.terms) and self.terms[self.term + 1].day <= day:
            self.term += 1

    def knows(self) -> bool:
        """Whether anything is known by which to choose; else all stays."""
        return self.term >= 0

    def waves(self, tiers: Places) -> Mask:
        """By dataset, whether a wave of reads goes over it. `tiers`: where objects, the first of all, are."""
        return self.rates.waves(self.costs, tiers, self.trace.sizes, self.dataset, max(len(self.trace.datasets), 1))

    def choose(
        self,
        day: int,
        some: Ints,
        options: TierOptions,
        here: Places,
        kept: Days,
        open_: Sequence[Mask],
        waves: Mask,
    ) -> Places:
        """Where some objects belong at the end of a day. `here`: where they are, for so many days (`kept`); `open_`: of
        each tier, whether nothing holds the move there back; `waves`: by dataset. Only where it `knows` anything."""
        term = self.terms[self.term]
        names, dataset = self.trace.datasets or ("",), self.dataset[some]
        known = np.array([term.since.get(name, 0) for name in names], np.int32)[dataset]
        born = self.trace.created[some]
        since = np.maximum(known, born)
        to = [np.array(lead, np.int8)[here] for lead in options.leads]
        weights = np.stack([_weights(term, name, day) for name in names], axis=1)
        order = np.array(options.order)
        asked = self._asked(weights, order[here] == order.min(), dataset)
        picks = []
        for number, way in enumerate(_WAYS[1:], 1):
            pick = here.copy()
            on = np.flatnonzero(asked[number])
            if len(on):
                of = slice(None) if len(on) == len(some) else on
                opened = [able[of] for able in open_]
                places = [one[of] for one in to]
                known_of = (self.costs, some[of], here[of], places, kept[of])
                if way == MEMORY:
                    past = Remembered.at(
                        self.rates,
                        some[of],
                        day + 1 - born[of],
                        day + 1 - since[of],
                        self.read[some[of]],
                        waves[dataset[of]],
                    )
                    pick[of] = remembered(*known_of, past, options.horizon_days, opened)[0]
                else:
                    guess = self._guess(way, day, some[of], born[of], known[of], dataset[of], options.horizon_days)
                    pick[of] = wanted(*known_of, guess, opened)[0]
            picks.append(pick)
        return middle(weights[:, dataset], picks, order, here)

    def _guess(
        self, way: str, day: int, some: Ints, born: Days, known: Days, dataset: Days, horizon_days: float
    ) -> Foreseen:
        """What a way but memory guesses."""
        model = self.terms[self.term].model
        if way == BREAK_EVEN or model is None:
            return Foreseen.untouched(self.counts.idle(day, some, np.maximum(known, born)), horizon_days)
        seen = self.counts.seen(day, some, born, known, self.trace.sizes[some], dataset)
        return Foreseen.foretold(model, seen, self.trace.datasets or ("",), horizon_days)

    @staticmethod
    def _asked(weights: Floats, hottest: Mask, dataset: Days) -> Mask:
        """By way and object, whether it matters what the way wants. Where one has more than half of the weight, no
        other does: what it wants is the median. Where staying has it, what is in the hottest place stays."""
        most = weights.argmax(axis=0)
        decided = weights.max(axis=0) > _HALF
        found = np.empty((len(_WAYS), len(dataset)), bool)
        for number, way in enumerate(_WAYS):
            counts = (weights[number] > 0) | (way == MEMORY)  # memory without weight too: staying goes by it
            matters = counts & (~decided | (most == number) | (most == 0))
            found[number] = matters[dataset] & ~(hottest & (decided & (most == 0))[dataset])
        return found


def _weights(term: TaughtTerm, dataset: str, day: int) -> Floats:
    """Of the ways in their order; staying has all of it where nothing is known."""
    found = term.weights_of(dataset, day)
    return np.array([found.get(way, 0.0) for way in _WAYS]) if found else np.array([1.0, 0.0, 0.0, 0.0])
