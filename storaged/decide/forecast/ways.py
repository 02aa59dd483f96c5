"""What the ways to decide want of many objects on one day, at the prices of a tariff: in numpy, as plans do it in SQL.

A way guesses for how long a place is reckoned, and how often an object is read meanwhile: break-even takes it to be
left alone for as long as it was, a forecast asks a model. Of the places that it may go to it wants the one that is
worth most; a move must save TWICE what it costs, and what its way back would, as far as that is to be feared
(Cantelli's inequality). `storaged.decide.choice.choosing` has the same in SQL, with all that a plan knows of a move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from storaged.decide.forecast.history import PastReads, exposure
from storaged.decide.forecast.model import ForecastModel
from storaged.decide.forecast.rates import forecast
from storaged.decide.money import TWICE
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Days, Ints, Mask, Places, Trace
from storaged.heat import decay_rate, recent

NOWHERE: Final = -1  # no place
_HALF: Final = 0.5


@dataclass(slots=True)
class PastCounts:
    """Decayed counts of the objects of a trace, day by day, and when each was read last."""

    half_life_us: int
    counts: Floats
    nbytes: Floats
    fresh: Floats
    last: Floats  # before the first read: the day before creation

    @classmethod
    def of(cls, trace: Trace, half_life_us: int) -> Self:
        """Before the first day."""
        counts, nbytes, fresh = np.zeros((3, trace.objects))
        return cls(half_life_us, counts, nbytes, fresh, trace.created.astype(float) - 1)

    def see(self, day: int, reads: Reads) -> None:
        """Take a day in."""
        slow, fast = decay_rate(self.half_life_us), decay_rate(recent(self.half_life_us))
        of_each = (
            (self.counts, reads.counts, slow),
            (self.nbytes, reads.nbytes, slow),
            (self.fresh, reads.counts, fast),
        )
        for sums, more, decay in of_each:
            sums *= np.exp(-decay)
            sums[reads.objects] += more * np.exp(-decay / 2)
        self.last[reads.objects] = day

    def seen(self, day: int, some: Ints | slice, born: Days, since: Days, sizes: Ints, dataset: Days) -> PastReads:
        """What is known of some objects at the end of a day. The others are by these: when each was `born`, and `since`
        when its reads are known without a break."""
        known = (day + 1 - np.maximum(since, born)).astype(float)
        return PastReads(
            counts=self.counts[some],
            nbytes=self.nbytes[some],
            exposure=exposure(known, self.half_life_us),
            fresh_counts=self.fresh[some],
            fresh_exposure=exposure(known, recent(self.half_life_us)),
            age=(day + 1 - born).astype(float),
            size=sizes.astype(float),
            dataset=dataset.astype(np.int64),
        )

    def idle(self, day: int, some: Ints | slice, since: Days) -> Floats:
        """For how many days, at the end of one, they were not read as far as is known: not before `since`."""
        found: Floats = np.minimum(day - self.last[some], day + 1 - since)
        return found


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a way guesses, by object: `reads` of so many bytes in `length` days, and the `variance` of their number."""

    length: Floats
    reads: Floats
    nbytes: Floats
    variance: Floats

    @classmethod
    def untouched(cls, idle: Floats, most: float) -> Self:
        """By break-even. `most`: days for which a place is reckoned."""
        none = np.zeros(len(idle))
        return cls(np.minimum(idle, most), none, none, none)

    @classmethod
    def foretold(cls, model: ForecastModel, seen: PastReads, names: tuple[str, ...], days: float) -> Self:
        """By a model, over so many days."""
        told = forecast(model, seen, names, days)
        reads = told.mean * days
        return cls(np.full(len(reads), days), reads, told.nbytes * days, reads + (told.spread * days) ** 2)


def worth(costs: TierCosts, some: Ints, here: Places, to: Places, kept: Days, guess: Foreseen) -> tuple[Floats, Floats]:
    """What moves of some objects are worth, 0: too little to move for; and what each costs at once. `to`: a place of
    each, NOWHERE: none; `kept`: for how many days each was where it is."""
    goes = (to != NOWHERE) & (to != here)
    there = np.where(goes, to, here)
    share = np.divide(guess.nbytes, guess.reads, out=np.zeros(len(here)), where=guess.reads > 0)  # bytes of a read
    dearer = costs.per_read[there] - costs.per_read[here] + (costs.per_byte[there] - costs.per_byte[here]) * share
    keeps = costs.keep[here, some] - costs.keep[there, some]
    saved = guess.length * keeps - guess.reads * dearer
    owed = np.maximum(costs.minimum_days[here] - kept, 0) * costs.early[here, some]
    once = costs.out[here, some] + owed + costs.fee[there]
    back = costs.out[there, some] + costs.minimum_days[there] * costs.early[there, some] + costs.fee[here]
    doubt = dearer**2 * guess.variance
    risk = np.divide(doubt, doubt + saved**2, out=np.zeros(len(here)), where=doubt > 0)
    full = once + risk * back
    pays = goes & (saved > 0) & (saved > full) & (saved >= TWICE * full)
    return np.where(pays, saved - full, 0.0), once


def wanted(
    costs: TierCosts,
    some: Ints,
    here: Places,
    ways: Sequence[Places],
    kept: Days,
    guess: Foreseen,
    open_: Sequence[Mask] | None = None,
) -> tuple[Places, Floats]:
    """Of some objects the place that is worth most, of equals the first, and what going there costs. `ways`: the places
    that they may go to. `open_`: of each of these, where nothing holds a move back; where one is open that is worth
    anything, none of the others is wanted."""
    found = [worth(costs, some, here, to, kept, guess) for to in ways]
    _, to, price = _most(here, ways, found)
    if open_ is not None:
        free = [(np.where(able, of, 0.0), once) for (of, once), able in zip(found, open_, strict=True)]
        able_best, able_to, able_price = _most(here, ways, free)
        to, price = np.where(able_best > 0, able_to, to), np.where(able_best > 0, able_price, price)
    return to.astype(np.int8), price


def _most(
    here: Places, ways: Sequence[Places], found: Sequence[tuple[Floats, Floats]]
) -> tuple[Floats, Places, Floats]:
    best, to, price = np.zeros(len(here)), here.copy(), np.zeros(len(here))
    for way, (of, once) in zip(ways, found, strict=True):
        better = of > best
        best[better], to[better], price[better] = of[better], way[better], once[better]
    return best, to, price


def middle(weights: Floats, picks: Sequence[Places], order: Ints, here: Places) -> Places:
    """The weighted median of the ways' picks: the coldest that, with all beyond it, has more than half of the weight.
    `weights`: by way and object, of staying the first; `picks`: of the others; `order`: of the places, from the dearest
    to keep on; what moves within a tier is behind what stays there. Staying never went anywhere, so what is cold by
    mistake has its voice for the way back: it picks the hottest of the picks and of where an object is."""
    position = np.stack([2 * order[here], *(2 * order[pick] + (pick != here) for pick in picks)])
    picks = (here, *picks)
    hottest = position.argmin(axis=0)
    position[0] = position.min(axis=0)
    picks = (np.choose(hottest, picks), *picks[1:])
    best, found = np.full(len(here), -1), here.copy()
    for number, pick in enumerate(picks):
        beyond = (weights * (position >= position[number])).sum(axis=0)
        further = (beyond > _HALF) & (position[number] > best)
        best[further], found[further] = position[number][further], pick[further]
    return found
