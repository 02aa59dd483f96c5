"""Which way to decide would have paid, by dataset: each is followed in thought over the days that were, with its moves.

The ways are staying; what is remembered of reads (`memory.py`); the tier that a forecast makes cheapest, for each
horizon that a model has; and break-even, which takes an object to be left alone for as long as it was. A move of these
must save TWICE what it costs, and what the way back would, as far as that is to be feared (Cantelli's inequality).
Forecasts are by models of the days before (a new one every `TERM_DAYS`), so that no way is judged on what it saw; and
days that nobody knows of cost nothing. What they want is in `ways.py`, which simulations of policies that choose ask
too.

The weights are those of Hedge (Freund and Schapire, 1997), as in `storaged.decide.simulate.auto.mixture`: prior times
exp(-ETA·loss), the loss in days of storage at the base. All losses are known, for what an object's reads would have
cost in any tier is. The weighted mean of the ways then loses at most log(1 / prior) / ETA + ETA·T·r² / 8 more than any
of them in T days on which they differ by at most r (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006,
theorem 2.2 and section 2.8). Each dataset has weights of its own, so that a burst in one says nothing of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from storaged.decide.forecast.history import History, sampled
from storaged.decide.forecast.learn import learn
from storaged.decide.forecast.memory import PastRates, Remembered, remembered
from storaged.decide.forecast.model import BREAK_EVEN, EVERY, FORECAST, MEMORY, STAY, ForecastModel
from storaged.decide.forecast.ways import Foreseen, PastCounts, wanted
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.auto.mixture import DATASET_DAYS, ETA, stakes_of
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Days, Ints, Mask, Places, ReadsByDay, Trace
from storaged.errors import UsageError

MOST_OBJECTS: Final = 10_000
ACTED_DAYS: Final = 365  # the last ones, that ways are followed on
LEAST_ACTED: Final = 30
FIRST_DAYS: Final = 60  # that are only learnt from
TERM_DAYS: Final = 60
EACH_DAYS: Final = 7  # between decisions
_PRIOR_STAY, _PRIOR_MEMORY, _PRIOR_BREAK_EVEN, _PRIOR_FORECASTS = 0.47, 0.43, 0.04, 0.06
_REMEMBERED_DAYS: Final = 180
_BREAK_EVEN_DAYS: Final = 180  # for which a place is reckoned at most


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
    first = max(FIRST_DAYS, until - ACTED_DAYS)
    if until - first < LEAST_ACTED or len(tariff.classes) < 2:
        return {}
    some = sampled(history, MOST_OBJECTS)
    followed = FollowedWays(some.trace, some.born, tariff, half_life_us, horizons, mine)

    def teach(day: int) -> tuple[ForecastModel | None, History]:
        try:
            return learn(some, day, half_life_us, 0), some
        except UsageError:  # no forecast yet: the other ways need none
            return None, some

    for _ in followed.walk(first, until, teach):
        pass
    return followed.weights(some, until)


Teacher = Callable[[int], tuple[ForecastModel | None, History]]
"""What the days before one teach, if they are enough to learn from, and which days are known by then."""


class FollowedWays:
    """All ways over one trace."""

    def __init__(
        self,
        trace: Trace,
        born: Days,
        tariff: Tariff,
        half_life_us: int,
        horizons: tuple[int, ...],
        mine: Mask | None = None,
    ) -> None:
        """`born`: as History has it; `horizons`, `mine`: as of `weigh`."""
        self._trace = trace
        self._born = born
        self._names = trace.datasets or ("",)
        self._dataset = np.zeros(trace.objects, np.int32) if trace.dataset is None else trace.dataset
        self._costs = TierCosts.of(trace, tariff)
        self._base = trace.begins()
        self._stakes = stakes_of(self._costs.keep, self._base)
        self._mine = np.ones(len(self._names), bool) if mine is None else mine
        self._ways = (STAY, MEMORY, BREAK_EVEN, *(f"{FORECAST}-{days}d" for days in horizons))
        self._known = PastCounts.of(trace, half_life_us)
        self._rates = PastRates.of(trace.objects)
        self._tiers = np.broadcast_to(self._base, (len(self._ways), trace.objects)).copy()
        self._moved_on = np.broadcast_to(trace.created, self._tiers.shape).copy()
        self._days: list[tuple[int, Floats, Floats]] = []  # of each day what it lost by way, and stakes, by dataset

    def walk(
        self, first: int, until: int, teach: Teacher, term_days: int = TERM_DAYS
    ) -> Iterator[tuple[int, ForecastModel | None, History]]:
        """Follow the ways from one day until another; yields the days on which a new term begins, and what they teach:
        before anything is decided in it. `term_days`: how long one is; models are made every TERM_DAYS."""
        np.maximum(self._moved_on, first, out=self._moved_on)
        by_day, trace = ReadsByDay.of(self._trace), self._trace
        model: ForecastModel | None = None
        for day in range(until):
            rows = by_day.rows[on := by_day.on(day)]
            reads = Reads(by_day.objects[on], trace.reads[rows].astype(float), trace.read_bytes[rows].astype(float))
            self._known.see(day, reads)
            self._rates.see(reads)
            if day < first:
                continue
            if (day - first) % TERM_DAYS == 0:
                model, history = teach(day)
                since = since_by_day(history, trace.days)
            if (day - first - LEAST_ACTED) % term_days == 0:
                yield day, model, history
            born = int(np.searchsorted(trace.created, day, side="right"))
            spent = self._costs.day(self._tiers[:, :born], reads)
            self._remember(day, born, reads, since[:, day], spent)
            if (day - first) % EACH_DAYS == 0:
                self._decide(day, born, model, since[:, day], spent)
            told = np.where(self._mine[self._dataset[:born]], self._stakes[:born], 0.0)
            beside = (spent - spent[0]) * (told > 0)
            self._days.append((day, np.stack([self._by_dataset(of) for of in beside]), self._by_dataset(told)))

    def _remember(self, day: int, born: int, reads: Reads, since: Days, spent: Floats) -> None:
        """As `_decide`, for the way that goes by what is remembered: a burst does not wait for a week."""
        trace, dataset = self._trace, self._dataset[:born]
        here, number = self._tiers[1, :born], 1
        waves = self._rates.waves(self._costs, here, trace.sizes, self._dataset, len(self._names))
        read = np.zeros(born, bool)
        read[reads.objects] = True
        age = day + 1 - self._born[:born]
        known = day + 1 - np.maximum(self._born[:born], since[dataset])
        past = Remembered.at(self._rates, slice(0, born), age, known, read, waves[dataset])
        everywhere = [np.full(born, tier, np.int8) for tier in range(self._costs.tiers)]
        kept, some = day + 1 - self._moved_on[number, :born], np.arange(born)
        to, cost = remembered(self._costs, some, here, everywhere, kept, past, _REMEMBERED_DAYS)
        self._move(day, number, to, cost, since, spent)

    def _move(self, day: int, number: int, to: Places, cost: Floats, since: Days, spent: Floats) -> None:
        dataset = self._dataset[: len(to)]
        heard = (since[dataset] >= 0) & self._mine[dataset]
        moves = np.flatnonzero((to != self._tiers[number, : len(to)]) & heard)
        spent[number, moves] += cost[moves]
        self._tiers[number, moves] = to[moves]
        self._moved_on[number, moves] = day + 1

    def _decide(self, day: int, born: int, model: ForecastModel | None, since: Days, spent: Floats) -> None:
        """Move at the end of a day what a way would, and charge it. `since`: by dataset, since when reads are known."""
        trace, some = self._trace, np.arange(born)
        since_of = since[self._dataset[:born]]
        seen = self._known.seen(day, some, self._born[:born], since_of, trace.sizes[:born], self._dataset[:born])
        everywhere = [np.full(born, tier, np.int8) for tier in range(self._costs.tiers)]
        for number, way in enumerate(self._ways[2:], 2):
            if way == BREAK_EVEN:
                guess = Foreseen.untouched(self._known.idle(day, some, since_of), _BREAK_EVEN_DAYS)
            elif model is None:
                continue
            else:
                days = model.horizon(int(way.removeprefix(f"{FORECAST}-").removesuffix("d")))
                guess = Foreseen.foretold(model, seen, self._names, days)
            here = self._tiers[number, :born]
            kept = day + 1 - self._moved_on[number, :born]
            to, cost = wanted(self._costs, some, here, everywhere, kept, guess)
            self._move(day, number, to, cost, since, spent)

    def weights(self, history: History, day: int) -> dict[str, dict[str, float]]:
        """What the ways have earned by that day, in the last ACTED_DAYS; of the days that a history knows."""
        self._days = [of for of in self._days if of[0] >= day - ACTED_DAYS]
        since = since_by_day(history, self._trace.days)
        heard = since[:, [day for day, _, _ in self._days]].T >= 0
        stakes_of_day = np.array([stake for _, _, stake in self._days]).reshape(heard.shape)
        beside = np.array([lost for _, lost, _ in self._days]).reshape(len(heard), len(self._ways), len(self._names))
        lost = (beside * heard[:, None]).sum(axis=0)
        stakes = (stakes_of_day * heard).sum(axis=0)
        days = (heard & (stakes_of_day > 0)).sum(axis=0)
        return self._weighed(lost, stakes, days)

    def _weighed(self, lost: Floats, stakes: Floats, days: Ints) -> dict[str, dict[str, float]]:
        forecasts = len(self._ways) - 3
        prior = np.array([_PRIOR_STAY, _PRIOR_MEMORY, _PRIOR_BREAK_EVEN, *[_PRIOR_FORECASTS / forecasts] * forecasts])
        found = {}
        told = [(name, lost[:, n], stakes[n], days[n]) for n, name in enumerate(self._names)]
        told.append((EVERY, lost.sum(axis=1), stakes.sum(), days.max(initial=0)))
        for name, of_way, stake, number in told:
            if stake > 0 and name not in found:
                logs = np.log(prior) - ETA * of_way / stake * min(number, DATASET_DAYS)
                weights = np.exp(logs - logs.max())
                found[name] = dict(zip(self._ways, (weights / weights.sum()).tolist(), strict=True))
        return found

    def _by_dataset(self, values: Floats) -> Floats:
        return np.bincount(self._dataset[: len(values)], weights=values, minlength=len(self._names)).astype(float)


def since_by_day(history: History, days: int) -> Days:
    """By dataset and day: since which day all reads are known up to this one; -1: those of this day are not. Days after
    a history are taken to be known."""
    found = np.full((len(history.names), days), -1, np.int32)
    ends = history.trace.days
    found[:, ends:] = ends
    for number, stretches in enumerate(history.known):
        for begin, end in stretches:
            found[number, begin : days if end == ends else end] = begin
    return found
