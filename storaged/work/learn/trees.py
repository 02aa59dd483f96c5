"""Gradient-boosted trees as a rival of the model: how much better could one forecast who need not do it in SQL?

By scikit-learn, an extra (`storaged[learn]`). They see what the model sees and what it does not: counts decayed with
several half-lives, time since the last read, size, format; and they minimize the Poisson deviance itself.
"""

from __future__ import annotations

import importlib.util
from typing import Final

import numpy as np

from storaged.clock import DAY
from storaged.decide.forecast.history import History, Samples, origins, samples
from storaged.decide.forecast.judge import AHEAD_DAYS, Judgement, judge
from storaged.decide.forecast.learn import MOST_ORIGINS
from storaged.decide.simulate.tariff import Floats

NAME: Final = "trees"
_HALF_LIVES: Final = (3, 10, 30, 120)  # days
_SEED: Final = 20


def there() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("sklearn") is not None


def judged(
    history: History, cut: int, ahead: Samples, half_life_us: int, counts: Floats, notes: list[str]
) -> list[Judgement]:
    """Trees that learn of the days before the cut and are judged on the same samples as the model; none where the extra
    is not installed, which is noted."""
    if not there():
        notes.append("trees are not compared: pip install 'storaged[learn]'")
        return []
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    before = origins(history, cut, AHEAD_DAYS, MOST_ORIGINS)
    past = samples(history, before, AHEAD_DAYS, half_life_us, counts)
    if not past.reads.sum():
        notes.append("trees are not compared: nothing was read before the cut")
        return []
    grown = HistGradientBoostingRegressor(loss="poisson", max_iter=200, early_stopping=False, random_state=_SEED)
    with threadpool_limits(limits=1):  # threads that wait for each other would take more of a busy machine than one
        grown.fit(_features(history, past, counts), past.reads)
        expected = np.asarray(grown.predict(_features(history, ahead, counts)), float)
    return [judge(NAME, ahead, expected)]


def _features(history: History, some: Samples, counts: Floats) -> Floats:
    trace = history.trace
    format_ = np.zeros(trace.objects, np.int32) if trace.format is None else trace.format
    days = list(dict.fromkeys(some.origin.tolist()))
    decayed = [samples(history, days, some.days, half * DAY, counts).seen.counts for half in _HALF_LIVES]
    known: list[Floats] = [some.seen.age, some.seen.size, some.seen.dataset.astype(float), _idle(history, some)]
    found: Floats = np.column_stack([*known, format_[some.object].astype(float), some.recent, *decayed])
    return found


def _idle(history: History, some: Samples) -> Floats:
    """Days since the last read, or since an object is there."""
    trace = history.trace
    of_row = trace.read_object()
    found = np.zeros(len(some))
    for origin in np.unique(some.origin):
        last = trace.created.astype(np.int64).copy()
        before = trace.read_day < origin
        np.maximum.at(last, of_row[before], trace.read_day[before])
        mine = some.origin == origin
        found[mine] = origin - last[some.object[mine]]
    return found
