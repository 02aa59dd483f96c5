"""Which way to decide would have paid, by dataset: each is followed in thought over the days that were, with its moves.

The ways are staying; the tier that a forecast makes cheapest, for each horizon that a model has; and break-even, which
takes an object to be left alone for as long as it was. A move must save TWICE what it costs, and what the way back
would, as far as that is to be feared (Cantelli's inequality). Forecasts are by models of the days before (a new one
every `_TERM_DAYS`), so that no way is judged on what it saw; and days that nobody knows of cost nothing.

The weights are those of Hedge (Freund and Schapire, 1997), as in `storaged.decide.simulate.auto.mixture`: prior times
exp(-ETA·loss), the loss in days of storage at the base. All losses are known, for what an object's reads would have
cost in any tier is. The weighted mean of the ways then loses at most log(1 / prior) / ETA + ETA·T·r² / 8 more than any
of them in T days on which they differ by at most r (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006,
theorem 2.2 and section 2.8). Each dataset has weights of its own, so that a burst in one says nothing of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from storaged.decide.forecast.history import History, PastReads, exposure, sampled
from storaged.decide.forecast.learn import learn
from storaged.decide.forecast.model import BREAK_EVEN, EVERY, FORECAST, STAY, ForecastModel
from storaged.decide.forecast.rates import forecast
from storaged.decide.money import TWICE
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.auto.mixture import DATASET_DAYS, ETA, stakes_of
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Days, Mask, Places, ReadsByDay
from storaged.errors import UsageError
from storaged.heat import decay_rate, recent

MOST_OBJECTS: Final = 10_000
ACTED_DAYS: Final = 365  # the last ones, that ways are followed on
LEAST_ACTED: Final = 30
_FIRST_DAYS: Final = 60  # that are only learnt from
_TERM_DAYS: Final = 60
_EACH_DAYS: Final = 7  # between decisions
_PRIOR_STAY, _PRIOR_BREAK_EVEN, _PRIOR_FORECASTS = 0.4, 0.2, 0.4
_BREAK_EVEN_DAYS: Final = 180  # for which a place is reckoned at most


@dataclass(slots=True)
class _Known:
    """Decayed counts of all objects, day by day, and when each was read last."""

    counts: Floats
    nbytes: Floats
    fresh: Floats
    last: Floats

    def see(self, day: int, reads: Reads, slow: float, fast: float) -> None:
        of_each = (
            (self.counts, reads.counts, slow),
            (self.nbytes, reads.nbytes, slow),
            (self.fresh, reads.counts, fast),
        )
        for sums, more, decay in of_each:
            sums *= np.exp(-decay)
            sums[reads.objects] += more * np.exp(-decay / 2)
        self.last[reads.objects] = day


def weigh(
    history: History,
    tariff: Tariff,
    half_life_us: int,
    until: int,
    horizons: tuple[int, ...],
    mine: Mask | None = None,
) -> dict[str, dict[str, float]]:
    """The weights of the ways by dataset name, and of EVERY, from the days of a history before `until`. Its trace says
    in which place of the tariff each object begins. `horizons`: of forecasts, in days. `mine`: by dataset, whether its
    prices are known.

    Empty where there are too few days, or no second tier.
    """
    first = max(_FIRST_DAYS, until - ACTED_DAYS)
    if until - first < LEAST_ACTED or len(tariff.classes) < 2:
        return {}
    try:
        return _Followed(sampled(history, MOST_OBJECTS), tariff, half_life_us, mine).weights(first, until, horizons)
    except UsageError:  # nothing to learn from before the first day
        return {}


class _Followed:
    """All ways over one history."""

    def __init__(self, history: History, tariff: Tariff, half_life_us: int, mine: Mask | None) -> None:
        trace = history.trace
        self._history = history
        self._half_life_us = half_life_us
        self._costs = TierCosts.of(trace, tariff)
        self._base = trace.begins()
        self._stakes = stakes_of(self._costs.keep, self._base)
        self._dataset = history.dataset
        self._mine = np.ones(len(history.names), bool) if mine is None else mine
        self._since = self._stretches()

    def weights(self, first: int, until: int, horizons: tuple[int, ...]) -> dict[str, dict[str, float]]:
        history, trace = self._history, self._history.trace
        model = learn(history, first, self._half_life_us, 0)
        ways = (STAY, BREAK_EVEN, *(f"{FORECAST}-{days}d" for days in horizons))
        tiers = np.broadcast_to(self._base, (len(ways), trace.objects)).copy()
        moved_on = np.broadcast_to(np.maximum(trace.created, first), tiers.shape).copy()
        counts, nbytes, fresh = np.zeros((3, trace.objects))
        known = _Known(counts, nbytes, fresh, trace.created.astype(float) - 1)
        lost = np.zeros((len(ways), len(history.names)))
        stakes, days = np.zeros(len(history.names)), np.zeros(len(history.names))
        by_day, slow = ReadsByDay.of(trace), decay_rate(self._half_life_us)
        fast = decay_rate(recent(self._half_life_us))
        for day in range(until):
            rows = by_day.rows[on := by_day.on(day)]
            reads = Reads(by_day.objects[on], trace.reads[rows].astype(float), trace.read_bytes[rows].astype(float))
            known.see(day, reads, slow, fast)
            if day < first:
                continue
            born = int(np.searchsorted(trace.created, day, side="right"))
            heard = (self._since[:, day] >= 0) & self._mine
            told = np.where(heard[self._dataset[:born]], self._stakes[:born], 0.0)
            spent = self._costs.day(tiers[:, :born], reads)
            if (day - first) % _TERM_DAYS == 0 and day > first:
                model = learn(history, day, self._half_life_us, 0)
            if (day - first) % _EACH_DAYS == 0:
                self._decide(day, born, model, known, ways, tiers, moved_on, spent, told > 0)
            beside = (spent - spent[0]) * (told > 0)
            lost += np.stack([self._by_dataset(of_way) for of_way in beside])
            of_day = self._by_dataset(told)
            stakes += of_day
            days += of_day > 0
        return self._weighed(ways, lost, stakes, days)

    def _decide(
        self,
        day: int,
        born: int,
        model: ForecastModel,
        known: _Known,
        ways: tuple[str, ...],
        tiers: Places,
        moved_on: Days,
        spent: Floats,
        heard: Mask,
    ) -> None:
        """Move at the end of a day what a way would, and charge it."""
        since = np.maximum(self._since[self._dataset[:born], day], self._history.born[:born])
        seen = PastReads(
            counts=known.counts[:born],
            nbytes=known.nbytes[:born],
            exposure=exposure((day + 1 - since).astype(float), self._half_life_us),
            fresh_counts=known.fresh[:born],
            fresh_exposure=exposure((day + 1 - since).astype(float), recent(self._half_life_us)),
            age=(day + 1 - self._history.born[:born]).astype(float),
            size=self._history.trace.sizes[:born].astype(float),
            dataset=self._dataset[:born].astype(np.int64),
        )
        for number, way in enumerate(ways[1:], 1):
            none = np.zeros(born)
            if way == BREAK_EVEN:
                reads, variance, nbytes = none, none, none
                length = np.minimum(day - known.last[:born], _BREAK_EVEN_DAYS)
            else:
                days = model.horizon(int(way.removeprefix(f"{FORECAST}-").removesuffix("d")))
                told = forecast(model, seen, self._history.names, days)
                reads, nbytes = told.mean * days, told.nbytes * days
                variance = reads + (told.spread * days) ** 2
                length = np.full(born, float(days))
            here = tiers[number, :born]
            kept = day + 1 - moved_on[number, :born]
            wanted, cost = self._cheapest(here, kept, length, reads, nbytes, variance)
            moves = np.flatnonzero((wanted != here) & heard)
            spent[number, moves] += cost[moves]
            tiers[number, moves] = wanted[moves]
            moved_on[number, moves] = day + 1

    def _cheapest(
        self, here: Places, kept: Days, length: Floats, reads: Floats, nbytes: Floats, variance: Floats
    ) -> tuple[Places, Floats]:
        """Where each object is worth most, and what going there costs."""
        costs, born = self._costs, len(here)
        share = np.divide(nbytes, reads, out=np.zeros(born), where=reads > 0)  # bytes of a read
        out = costs.leaving(here, kept)
        best, wanted, price = np.zeros(born), here.copy(), np.zeros(born)
        for tier in range(costs.tiers):
            there = np.full(born, tier, np.int8)
            dearer = costs.per_read[tier] - costs.per_read[here] + (costs.per_byte[tier] - costs.per_byte[here]) * share
            saved = length * (costs.at(costs.keep, here) - costs.keep[tier, :born]) - reads * dearer
            once = out + costs.fee[tier]
            doubt = dearer**2 * variance
            risk = np.divide(doubt, doubt + saved**2, out=np.zeros(born), where=doubt > 0)
            back = costs.at(costs.out, there) + costs.fee[here]
            full = once + risk * back
            worth = np.where((saved >= TWICE * full) & (there != here), saved - full, 0.0)
            better = worth > best
            best[better], wanted[better], price[better] = worth[better], tier, once[better]
        return wanted, price

    def _weighed(
        self, ways: tuple[str, ...], lost: Floats, stakes: Floats, days: Floats
    ) -> dict[str, dict[str, float]]:
        forecasts = len(ways) - 2
        prior = np.array([_PRIOR_STAY, _PRIOR_BREAK_EVEN, *[_PRIOR_FORECASTS / forecasts] * forecasts])
        found = {}
        told = [(name, lost[:, n], stakes[n], days[n]) for n, name in enumerate(self._history.names)]
        told.append((EVERY, lost.sum(axis=1), stakes.sum(), days.max(initial=0)))
        for name, of_way, stake, number in told:
            if stake > 0 and name not in found:
                logs = np.log(prior) - ETA * of_way / stake * min(number, DATASET_DAYS)
                weights = np.exp(logs - logs.max())
                found[name] = dict(zip(ways, (weights / weights.sum()).tolist(), strict=True))
        return found

    def _by_dataset(self, values: Floats) -> Floats:
        number = len(self._history.names)
        return np.bincount(self._dataset[: len(values)], weights=values, minlength=number).astype(float)

    def _stretches(self) -> Days:
        """By dataset and day: since which day all reads are known up to this one; -1: those of this day are not."""
        found = np.full((len(self._history.names), self._history.trace.days), -1, np.int32)
        for number, stretches in enumerate(self._history.known):
            for begin, end in stretches:
                found[number, begin:end] = begin
        return found
