"""`tier: auto` of a policy in a simulation: each day what a plan would choose, by what is known by then.

The ways to decide and their weights are those of `storaged.decide.forecast`, and what they want is asked of `ways.py`,
as when they are weighed: there is one decider. Of a plan's costs a simulation knows those that its bill has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from storaged.decide.forecast.model import BREAK_EVEN, FORECAST, STAY
from storaged.decide.forecast.taught import TaughtTerm
from storaged.decide.forecast.ways import Foreseen, PastCounts, middle, wanted
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Days, Ints, Mask, Places, Trace

_WAYS: Final = (STAY, BREAK_EVEN, FORECAST)


@dataclass(frozen=True, slots=True)
class TierOptions:
    """Between what a policy chooses. `leads`: of each tier, the hottest first, where it takes an object, by the place
    where that is. `horizon_days`: for how long a place is reckoned. `order`: of the places, that of their tiers."""

    leads: tuple[tuple[int, ...], ...]
    horizon_days: float
    order: tuple[int, ...]


@dataclass(slots=True)
class Chooser:
    """What is known of the objects of a trace, or of a part of it, day by day. `terms`: of the whole of it."""

    trace: Trace
    terms: Sequence[TaughtTerm]
    costs: TierCosts
    counts: PastCounts
    dataset: Days
    term: int = -1

    @classmethod
    def of(cls, trace: Trace, tariff: Tariff, half_life_us: int, terms: Sequence[TaughtTerm]) -> Self:
        """Before the first day."""
        dataset = np.zeros(trace.objects, np.int32) if trace.dataset is None else trace.dataset
        return cls(trace, terms, TierCosts.of(trace, tariff), PastCounts.of(trace, half_life_us), dataset)

    def see(self, day: int, reads: Reads) -> None:
        """Take a day in."""
        self.counts.see(day, reads)
        while self.term + 1 < len(self.terms) and self.terms[self.term + 1].day <= day:
            self.term += 1

    def knows(self, day: int) -> bool:
        """Whether anything is foretold on a day; else all stays."""
        return self.term >= 0 and self.terms[self.term].model is not None and day < self.terms[self.term].stale

    def choose(
        self, day: int, some: Ints, options: TierOptions, here: Places, kept: Days, open_: Sequence[Mask]
    ) -> Places:
        """Where some objects belong at the end of a day. `here`: where they are, for so many days (`kept`); `open_`: of
        each tier, whether nothing holds the move there back. Only on days of which it `knows`."""
        term = self.terms[self.term]
        if term.model is None:
            raise ValueError("nothing is foretold on that day")
        names, dataset = self.trace.datasets or ("",), self.dataset[some]
        known = np.array([term.since.get(name, 0) for name in names], np.int32)[dataset]
        born = self.trace.created[some]
        seen = self.counts.seen(day, some, born, known, self.trace.sizes[some], dataset)
        since = np.maximum(known, born)
        guesses = (
            Foreseen.untouched(self.counts.idle(day, some, since), options.horizon_days),
            Foreseen.foretold(term.model, seen, names, options.horizon_days),
        )
        to = [np.array(lead, np.int8)[here] for lead in options.leads]
        picks = [wanted(self.costs, some, here, to, kept, guess, open_)[0] for guess in guesses]
        weights = np.stack([_weights(term, name) for name in names], axis=1)[:, dataset]
        return middle(weights, (here, *picks), np.array(options.order), here)


def _weights(term: TaughtTerm, dataset: str) -> Floats:
    """Of the ways in their order; staying has all of it where nothing is known."""
    found = dict.fromkeys(_WAYS, 0.0)
    for name, weight in term.weights_of(dataset).items():
        found[FORECAST if name.startswith(FORECAST) else name] += weight
    return np.array(list(found.values())) if any(found.values()) else np.array([1.0, 0.0, 0.0])
