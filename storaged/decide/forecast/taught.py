"""What would have been known, day by day, by one who learns as `storagectl learn` does: without any look ahead.

A model is learnt of the days up to a cut, judged on those after it, and used from then on if it is better than the
naive forecasts and than the one in use: whenever the past has doubled, and once a year. Every `TERM_DAYS` the one in
use is judged anew, and every `EACH_DAYS` the ways to decide are weighed by what they have earned up to then, once they
were followed for LEAST_ACTED days. On each day only what came before it is known, silences of a log among it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from storaged.clock import DAY
from storaged.decide.choice.outlook import OLD_MODEL
from storaged.decide.forecast import judge
from storaged.decide.forecast.hedge import EACH_DAYS, FIRST_DAYS, LEAST_ACTED, FollowedWays
from storaged.decide.forecast.history import History, ordinary, sampled
from storaged.decide.forecast.judge import AHEAD_DAYS
from storaged.decide.forecast.learn import HORIZONS, learn
from storaged.decide.forecast.model import ForecastModel, trusted
from storaged.decide.simulate.tariff import Tariff
from storaged.decide.simulate.trace import Trace
from storaged.errors import UsageError

MOST_TAUGHT: Final = 1_000  # objects that are learnt from
_YEAR_DAYS: Final = 365
GOOD_DAYS: Final = OLD_MODEL // DAY  # since a model was found to be the best, after which nothing is decided by it


@dataclass(frozen=True, slots=True)
class TaughtTerm:
    """What is known from a day on: the model in use (None: none that is good enough), which is believed before the day
    `stale`; since when each dataset's reads are known (`since`, days, where there was a break); and what the ways to
    decide have earned, by dataset name and EVERY."""

    day: int
    model: ForecastModel | None
    stale: int
    since: Mapping[str, int]
    weights: Mapping[str, Mapping[str, float]]

    def weights_of(self, dataset: str, day: int) -> Mapping[str, float]:
        """As of a model: those of all datasets where it has none. On a day on which no forecast is believed no way
        trusts one."""
        of = self.weights.get(dataset) or self.weights.get("", {})
        return trusted(of, foretells=self.model is not None and day < self.stale)


def teach(trace: Trace, tariff: Tariff, half_life_us: int, horizons: Sequence[float]) -> tuple[TaughtTerm, ...]:
    """The terms of a trace that covers all of its reads. `tariff`: of the tiers that objects may be in; `horizons`: in
    days, for which places are reckoned."""
    if len(tariff.classes) < 2 or trace.days <= FIRST_DAYS + LEAST_ACTED:
        return ()
    some = sampled(History.of(trace), MOST_TAUGHT).trace
    learnt = tuple(sorted({min(HORIZONS, key=lambda one: abs(np.log(one / max(days, 1)))) for days in horizons}))
    lessons = _Lessons(some, half_life_us, tuple(sorted({AHEAD_DAYS, *learnt})))
    followed = FollowedWays(some, some.created, tariff, half_life_us, learnt)
    found = []
    for day, _, history in followed.walk(FIRST_DAYS, trace.days, lessons, EACH_DAYS):
        if day < FIRST_DAYS + LEAST_ACTED:
            continue
        weights = followed.weights(history, day)
        found.append(TaughtTerm(day, lessons.used, lessons.good + GOOD_DAYS, history.since(), weights))
    return tuple(found)


@dataclass(slots=True)
class _Lessons:
    """Lessons of one trace. `learnt`: the newest model, of the day `learnt_on`; `used`: the one in use, which was found
    to be the best on the day `good`."""

    trace: Trace
    half_life_us: int
    horizons: tuple[int, ...]
    used: ForecastModel | None = field(default=None, init=False)
    good: int = field(default=0, init=False)
    learnt: ForecastModel | None = field(default=None, init=False)
    learnt_on: int = field(default=0, init=False)

    def __call__(self, day: int) -> tuple[ForecastModel | None, History]:
        """What the days before that one teach. What was learnt last follows the ways, whether it is used or not."""
        history = History.of(self.trace.until(day))
        cut = day - AHEAD_DAYS
        counts, _ = ordinary(history, cut)
        if day >= min(2 * self.learnt_on, self.learnt_on + _YEAR_DAYS):
            try:
                self.learnt = learn(history, cut, self.half_life_us, 0, counts, self.horizons)
            except UsageError:
                return self.learnt, history
            self.learnt_on = day
        model = self.learnt
        if model is None:
            return None, history
        ahead = judge.held_out(history, cut, self.half_life_us, counts)
        if not len(ahead):
            return model, history
        names = history.names
        rivals = judge.naive(history, cut, ahead, counts, self.half_life_us)
        least = min(one.deviance for one in rivals)
        before = np.inf if self.used is None else judge.of_model("", self.used, names, ahead).deviance
        mine = judge.of_model("", model, names, ahead).deviance
        if self.used is not model and mine < min(least, before):
            self.used, self.good = model, day
        elif before < least:
            self.good = day
        return model, history
