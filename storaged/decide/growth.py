"""Growth: by how much more there will be, from by how much more there was each week, as ways on that are drawn.

What came less what went, a week: y = level + slope·t + noise, t in weeks from now, the past forgotten with a half-life
of HALF_LIFE weeks (discounted least squares, Brown 1963). The slope leans on none: its prior is a normal of mean 0 and
the standard deviation DRIFT × the mean of y a year (ridge regression as a Bayesian one, Hoerl and Kennard 1970). A way
on draws weeks of the past with replacement and a slope of the prior, fits these ("randomize, then optimize": Bardsley
et al. 2014, whose draws are the posterior's where all is normal), and adds to each week ahead one of the residuals: the
bootstrap (Efron 1979), by which bursts stay bursts. So an interval has both in it, that weeks differ, and that level
and slope are not known well.

Where forecasts from earlier days, of up to a quarter of the past, were off by more than that, all intervals are wider
by as much: four of five of the past errors, a few as expected counted with them, would have been inside. They are never
narrower (conformal prediction in its simplest form: Vovk et al. 2005). Where nothing ever went, nothing will.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WEEK: Final = 7  # days
LONGEST: Final = 105  # weeks that are looked back at
LEAST: Final = 13  # weeks without which nothing is said
WAYS: Final = 400
INTERVAL: Final = (0.1, 0.9)  # quantiles: 80 %
HALF_LIFE: Final = 26.0  # weeks
DRIFT: Final = 0.5  # of the level, a year
_YEAR: Final = 52.0  # weeks
_FURTHEST: Final = 26  # weeks ahead of which past errors count
_FIT: Final = 1.5  # degrees of freedom that level and slope take, the slope being held
_NORMAL: Final = 1.2816  # standard deviations within which 80 % of a normal are
_LARGE: Final = 1e30


@dataclass(frozen=True, slots=True)
class Chances:
    """Numbers between 0 and 1 that all series have in common, a row a way: those of equal length draw the same weeks,
    so that their sums vary as they did together."""

    past: Floats
    ahead: Floats

    @classmethod
    def of(cls, chance: np.random.Generator) -> Chances:
        return cls(chance.random((WAYS, LONGEST)), chance.random((WAYS, LONGEST)))


@dataclass(frozen=True, slots=True)
class _Fit:
    """`beta`: level and slope; `held`: the weight of the prior; `spread`: its variance; `noise`: of a week; `unknown`:
    the covariance of beta."""

    weight: Floats
    at: Floats
    beta: Floats
    held: float
    spread: float
    residuals: Floats
    noise: float
    unknown: Floats

    def variance(self, x: Floats) -> float:
        """Of what comes in so many weeks (`x`: their number, and half its square)."""
        return float(x[0] * self.noise + x @ self.unknown @ x)


def _fit(weekly: Floats) -> _Fit:
    at = np.arange(len(weekly), dtype=np.float64) - len(weekly) + 0.5
    weight: Floats = np.exp2(at / HALF_LIFE)
    mean = float(weight @ weekly / weight.sum())
    variance = float(weight @ (weekly - mean) ** 2 / weight.sum())
    spread = (DRIFT * mean / _YEAR) ** 2
    held = min(variance / spread, _LARGE) if spread > 0 else _LARGE
    x = np.stack((np.ones_like(at), at), 1)
    weighted = x * weight[:, None]
    inverse = np.linalg.inv(weighted.T @ x + np.diag((0.0, held)))
    beta = inverse @ (weighted.T @ weekly)
    residuals = weekly - x @ beta
    enough = weight.sum() ** 2 / (weight @ weight)
    scale = enough / max(enough - _FIT, 1.0)
    noise = float(weight @ residuals**2 / weight.sum()) * scale
    unknown = inverse @ (weighted.T @ weighted) @ inverse * noise
    if held < _LARGE:
        unknown = unknown + np.outer(inverse[:, 1], inverse[:, 1]) * held**2 * spread
    centred = (residuals - weight @ residuals / weight.sum()) * np.sqrt(scale)
    return _Fit(weight, at, beta, held, spread, centred, noise, unknown)


def _wider(weekly: Floats, newest: _Fit) -> float:
    """By how much wider intervals are than one fit says, by the errors of earlier ones; at least 1. What was constant
    for a while promises too much: it counts as known half as well as the newest fit is, at best."""
    ahead = min(_FURTHEST, len(weekly) // 4)
    step = max(1, ahead // 4)
    x = np.array((ahead, ahead**2 / 2))
    least = newest.variance(x) / 4
    errors = [1.0] * (ahead // step)
    for origin in range(max(LEAST, len(weekly) // 3), len(weekly) - ahead + 1, step):
        fit = _fit(weekly[:origin])
        variance = max(fit.variance(x), least)
        error = abs(float(weekly[origin : origin + ahead].sum() - x @ fit.beta))
        errors.append(error / float(np.sqrt(variance)) if variance > 0 else 0.0)
    return max(1.0, float(np.quantile(errors, INTERVAL[1] - INTERVAL[0])) / _NORMAL)


def ways_on(weekly: Floats, ahead: int, chances: Chances, chance: np.random.Generator) -> Floats:
    """A row a way, a column for each of `ahead` weeks (at most LONGEST): by how much more there is at its end than now.
    Of `weekly` the newest week is the last; at least LEAST are wanted. The mean of the ways is what is expected.
    """
    weekly = weekly[-LONGEST:]
    weeks = len(weekly)
    fit = _fit(weekly)
    picked = (chances.past[:, :weeks] * weeks).astype(np.int64) + weeks * np.arange(WAYS)[:, None]
    times = np.bincount(picked.ravel(), minlength=WAYS * weeks).reshape(WAYS, weeks) * fit.weight
    prior = chance.normal(0.0, np.sqrt(fit.spread), WAYS) if fit.held < _LARGE else np.zeros(WAYS)
    one, first, second = times.sum(1), times @ fit.at, times @ fit.at**2 + fit.held
    sums, moments = times @ weekly, times @ (fit.at * weekly) + fit.held * prior
    least = one * second - first**2
    level, slope = (second * sums - first * moments) / least, (one * moments - first * sums) / least
    share = np.cumsum(fit.weight) / fit.weight.sum()
    noise = fit.residuals[np.minimum(np.searchsorted(share, chances.ahead[:, :ahead], side="right"), weeks - 1)]
    time = np.arange(ahead) + 0.5
    rates, rate = level[:, None] + slope[:, None] * time, fit.beta[0] + fit.beta[1] * time
    only_came = bool((weekly >= 0).all())
    if only_came:
        rates, rate = np.maximum(rates, 0.0), np.maximum(rate, 0.0)
    ways, expected = np.cumsum(rates + noise, 1), np.cumsum(rate)
    ways = expected + (ways - ways.mean(0)) * _wider(weekly, fit)
    return np.asarray(np.maximum(ways, 0.0) if only_came else ways)


def interval(ways: Floats) -> tuple[Floats, Floats, Floats]:
    """Of each column the low end, the mean, and the high end. Where the mean is beyond an end, as of rare large bursts,
    the interval reaches to it."""
    low, high = np.quantile(ways, INTERVAL, axis=0)
    mean = ways.mean(0)
    return np.minimum(low, mean), mean, np.maximum(high, mean)


@dataclass(frozen=True, slots=True)
class Backtest:
    """Of how many forecasts of so many weeks ahead, from earlier days, what came was inside the interval."""

    weeks: int
    forecasts: int
    inside: int

    def __add__(self, other: Backtest) -> Backtest:
        return Backtest(self.weeks, self.forecasts + other.forecasts, self.inside + other.inside)


def backtest(weekly: Floats, chance: np.random.Generator, ahead: tuple[int, ...], step: int) -> Iterator[Backtest]:
    """Each forecast knows the weeks up to its own day alone, a day each `step` weeks, and is of no more weeks ahead
    than it knows."""
    chances = Chances.of(chance)
    told = {weeks: [0, 0] for weeks in ahead}
    for origin in range(LEAST, len(weekly) - min(ahead) + 1, step):
        low, _, high = interval(ways_on(weekly[:origin], max(ahead), chances, chance))
        for weeks, counts in told.items():
            if weeks <= min(origin, len(weekly) - origin):
                came = float(weekly[origin : origin + weeks].sum())
                ends = float(low[weeks - 1]), float(high[weeks - 1])
                counts[0] += 1
                counts[1] += ends[0] <= came <= ends[1] or any(math.isclose(came, end) for end in ends)
    return (Backtest(weeks, *counts) for weeks, counts in told.items())
