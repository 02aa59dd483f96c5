"""How good forecasts were, on days that nobody had learnt from.

The Poisson deviance decides: of all scores of a mean it is one of those that the true mean makes smallest (Savage 1971,
Gneiting 2011), and it counts what is read much by how much. A forecast of less than LEAST reads counts as LEAST, so
that one that says "never" is not infinitely wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from storaged.decide.forecast.history import History, Samples, origins, samples
from storaged.decide.forecast.learn import MOST_ORIGINS
from storaged.decide.forecast.model import AGE_BANDS, ForecastModel
from storaged.decide.forecast.rates import forecast
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Ints

LEAST: Final = 0.01  # reads in the days that are forecast
AHEAD_DAYS: Final = 30  # that forecasts are judged on
_DECILES: Final = 10
LAST_MONTH, AGE = "last-month", "mean-of-age"  # the naive ones


@dataclass(frozen=True, slots=True)
class Decile:
    """Of the samples with the lowest forecasts, the next ones, ...: how many, the mean forecast, the mean of reads."""

    samples: int
    forecast: float
    reads: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """One way to forecast: means over the samples of Poisson deviance and of the squared error of log1p; the sum of
    forecasts over that of reads; and both by tenths of the forecasts. `inside`: the share of samples within two
    standard deviations; None: it tells no spread."""

    name: str
    deviance: float
    squared_log: float
    bias: float | None
    deciles: tuple[Decile, ...]
    inside: float | None = None


def held_out(history: History, cut: int, half_life_us: int, counts: Floats) -> Samples:
    """Samples of AHEAD_DAYS each from `cut` (a day of the trace) on, which lie wholly after it."""
    days = history.trace.days
    some = [day for day in origins(history, days, AHEAD_DAYS, days) if day >= cut]
    return samples(history, some, AHEAD_DAYS, half_life_us, counts)


def judge(name: str, some: Samples, expected: Floats, spread: Floats | None = None) -> Judgement:
    """Of forecasts of reads in all days of each sample. `spread`: their standard deviations, of reads as well."""
    reads, told = some.reads, np.maximum(expected, LEAST)
    deviance = 2 * (reads * np.log(np.where(reads > 0, reads, 1) / told) - reads + told)
    order = np.argsort(told, kind="stable")
    parts = [part for part in np.array_split(order, _DECILES) if len(part)]
    total = float(reads.sum())
    return Judgement(
        name,
        float(deviance.mean()),
        float(((np.log1p(reads) - np.log1p(expected)) ** 2).mean()),
        float(expected.sum()) / total if total else None,
        tuple(Decile(len(part), float(expected[part].mean()), float(reads[part].mean())) for part in parts),
        None if spread is None else float((np.abs(reads - expected) <= 2 * spread).mean()),
    )


def of_model(name: str, model: ForecastModel, names: tuple[str, ...], some: Samples) -> Judgement:
    """A model's forecasts; `some` must be counted with its half-life."""
    told = forecast(model, some.seen, names, some.days)
    expected = told.mean * some.days
    return judge(name, some, expected, np.sqrt(expected + (told.spread * some.days) ** 2))


def last_month(some: Samples) -> Judgement:
    """As much as in the month before, or in what is known of it."""
    return judge(LAST_MONTH, some, some.recent / np.maximum(some.recent_days, 1) * some.days)


def naive(history: History, cut: int, ahead: Samples, counts: Floats, half_life_us: int) -> list[Judgement]:
    """The naive forecasts of held-out samples."""
    before = origins(history, cut, AHEAD_DAYS, MOST_ORIGINS)
    past = samples(history, before, AHEAD_DAYS, half_life_us, counts)
    return [last_month(ahead), mean_of_age(past, ahead, len(history.names))]


def mean_of_age(past: Samples, some: Samples, datasets: int) -> Judgement:
    """What objects of the same age and dataset were read in as many days before; of all datasets where it had none."""
    bands = len(AGE_BANDS)

    def cells(of: Samples) -> Ints:
        band = np.maximum(np.searchsorted(np.array(AGE_BANDS), of.seen.age, side="right") - 1, 0)
        return of.seen.dataset * bands + band

    here, there = cells(past), cells(some)
    reads = np.bincount(here, weights=past.reads, minlength=datasets * bands).reshape(datasets, bands)
    number = np.bincount(here, minlength=datasets * bands).reshape(datasets, bands)
    every = reads.sum(axis=0) / np.maximum(number.sum(axis=0), 1)
    mean = np.where(number > 0, reads / np.maximum(number, 1), every)
    return judge(AGE, some, mean.ravel()[there])
