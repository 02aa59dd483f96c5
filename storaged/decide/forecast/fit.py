"""Priors from samples: empirical Bayes (Robbins 1956), by dataset and age, each leaning on its like.

An object's reads per day are Λ ~ Gamma(shape, rate), and its reads in so many days Poisson: so counts are negative
binomial, as Greenwood and Yule (1920) had it, Ehrenberg (1959) of purchases, and Fader and Hardie (2005) of customers
who may be gone. After N reads in E days Λ is Gamma(shape + N, rate + E). N and E are decayed: of what was seen long ago
less holds (West and Harrison, Bayesian Forecasting and Dynamic Models, 1997, chapter 10.8). The forecast is

    mean = (shape + N) / (rate + E)         reads per day

A prior's mean m = shape / rate and weight k = rate are those under which what came after is likeliest, with a variance
of M + M² for a mean of M (a quasi-likelihood, Wedderburn 1974: objects count by how far off their forecast is as a
factor, so that the busiest do not decide alone). A normal prior holds ln m and ln k near the parent's: the band of a
dataset leans on the band of all datasets, moved by what sets the dataset apart. What cools for good is learnt: the
bands of the young have a large k, so their first reads promise little. m is found by Newton's method for each k of a
grid. (A steady stream's decayed count varies half as much as a Poisson count of E days would: the k of a Gamma law
comes out at half of its rate.)

Counts are decayed twice, as heat is and sooner; how much each counts (`fresh`) is what leaves a dataset's samples the
least Poisson deviance. What bursts or dies away is seen by the one, what is seldom read by the other.

Rates change until the days that are forecast. `drift` v is the variance of that change, a factor of mean 1 that depends
on nothing: of reads Y in h days with mean M the variance is M + M²·(r + v + r·v), where r = 1 / (shape + N); so v
follows by moments, each weighted by 1 / (M + M²)².
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from storaged.decide.forecast.history import Samples
from storaged.decide.forecast.model import AGE_BANDS, EVERY, Prior, SharePrior
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Ints

_GRID: Final = np.exp(np.linspace(np.log(0.25), np.log(4000), 30))  # of k, days
_STEPS: Final = 12
_NEAR: Final = 1e-7  # of ln m
_FRESH: Final = (0.0, 0.5, 0.75, 0.9, 0.97)
_SPREAD_MEAN: Final = 1.0  # of ln m about the parent's
_SPREAD_WEIGHT: Final = 1.0  # of ln k
_DRIFT: Final = 1.0  # before anything is known,
_DRIFT_SAMPLES: Final = 5.0  # and as sure as of so many objects that are read much
_LEAST_DRIFT: Final = 1e-6
_MOST_DRIFT: Final = 1e4
_SHARE_READS: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Fitted:
    """By group: ln m, ln k, and the drift."""

    mean: Floats
    weight: Floats
    drift: Floats


def fit(
    samples: Samples, names: tuple[str, ...], own: Ints, bands: tuple[int, ...] = AGE_BANDS
) -> dict[str, tuple[Prior, ...]]:
    """Priors by dataset name and age band, EVERY among them. `own`: numbers of the datasets that get their own."""
    best: dict[str, tuple[float, tuple[Prior, ...]]] = {}
    for fresh in _FRESH:
        for name, deviance, priors in _fitted_by_age(_mixed(samples, fresh), names, own, bands, fresh):
            if name not in best or deviance < best[name][0]:
                best[name] = deviance, priors
    return {name: priors for name, (_, priors) in best.items()}


@dataclass(frozen=True, slots=True)
class _Mixed:
    """Samples whose counts and exposure are mixed of both memories."""

    counts: Floats
    exposure: Floats
    age: Floats
    dataset: Ints
    days: float
    came: Floats

    def expected(self, mean: Floats, weight: Floats) -> Floats:
        found: Floats = self.days * (mean * weight + self.counts) / (weight + self.exposure)
        return found


def _mixed(samples: Samples, fresh: float) -> _Mixed:
    seen = samples.seen
    return _Mixed(
        (1 - fresh) * seen.counts + fresh * seen.fresh_counts,
        (1 - fresh) * seen.exposure + fresh * seen.fresh_exposure,
        seen.age,
        seen.dataset,
        float(samples.days),
        samples.reads,
    )


def _fitted_by_age(
    some: _Mixed, names: tuple[str, ...], own: Ints, bands: tuple[int, ...], fresh: float
) -> Iterator[tuple[str, float, tuple[Prior, ...]]]:
    """By dataset name and EVERY the Poisson deviance that is left, and the priors."""
    band = np.clip(np.searchsorted(np.array(bands), some.age, side="right") - 1, 0, None)
    place = np.full(len(names), len(own), np.int64)
    place[own] = np.arange(len(own))
    group = place[some.dataset]
    total, width = len(own), len(bands)
    every = _fitted(some, np.zeros(len(band), np.int64), 1, None)
    of_band = _fitted(some, band, width, _spread(every, np.zeros(width, np.int64)))
    yield EVERY, float(_deviance(some, of_band, band).sum()), _priors(of_band, fresh)
    if not total:
        return
    of_dataset = _fitted(some, group, total + 1, _spread(every, np.zeros(total + 1, np.int64)))
    number = np.arange((total + 1) * width)
    parent = _Fitted(
        of_band.mean[number % width] + of_dataset.mean[number // width] - every.mean[0],
        of_band.weight[number % width] + of_dataset.weight[number // width] - every.weight[0],
        of_band.drift[number % width] * of_dataset.drift[number // width] / every.drift[0],
    )
    cell = group * width + band
    both = _fitted(some, cell, (total + 1) * width, parent)
    left = np.bincount(group, weights=_deviance(some, both, cell), minlength=total + 1)
    for place_, dataset in enumerate(own.tolist()):
        mine = slice(place_ * width, (place_ + 1) * width)
        one = _Fitted(both.mean[mine], both.weight[mine], both.drift[mine])
        yield names[dataset], float(left[place_]), _priors(one, fresh)


def _deviance(some: _Mixed, fitted: _Fitted, group: Ints) -> Floats:
    expected = some.expected(np.exp(fitted.mean)[group], np.exp(fitted.weight)[group])
    came = some.came
    found: Floats = 2 * (came * np.log(np.where(came > 0, came, 1) / expected) - came + expected)
    return found


def _spread(one: _Fitted, which: Ints) -> _Fitted:
    return _Fitted(one.mean[which], one.weight[which], one.drift[which])


def _priors(fitted: _Fitted, fresh: float) -> tuple[Prior, ...]:
    mean, weight = np.exp(fitted.mean), np.exp(fitted.weight)
    told = zip(mean.tolist(), weight.tolist(), fitted.drift.tolist(), strict=True)
    return tuple(Prior(m * k, k, drift, fresh) for m, k, drift in told)


def _fitted(some: _Mixed, group: Ints, groups: int, parent: _Fitted | None) -> _Fitted:
    days, came = some.days, some.came

    def summed(values: Floats) -> Floats:
        return np.bincount(group, weights=values, minlength=groups).astype(np.float64)

    if parent is None:
        plain = (came.sum() + 0.5) / (days * (len(came) + 1))
        parent = _Fitted(np.full(groups, np.log(plain)), np.full(groups, np.log(60.0)), np.full(groups, _DRIFT))
    best = _Fitted(parent.mean.copy(), parent.weight.copy(), parent.drift.copy())
    least = np.full(groups, np.inf)
    mean = parent.mean.copy()
    for k in _GRID:
        below = k + some.exposure
        for _ in range(_STEPS):  # from where the k before has it: few are needed
            of_prior = days * np.exp(mean)[group] * k / below
            expected = of_prior + days * some.counts / below
            slope = (
                summed((came - expected) / (expected * (1 + expected)) * of_prior)
                - (mean - parent.mean) / _SPREAD_MEAN**2
            )
            bend = summed(of_prior**2 / (expected * (1 + expected))) + 1 / _SPREAD_MEAN**2
            step = np.clip(slope / bend, -2, 2)
            mean = mean + step
            if np.abs(step).max() < _NEAR:
                break
        expected = days * (np.exp(mean)[group] * k + some.counts) / below
        loss = summed((came + 1) * np.log1p(expected) - came * np.log(expected))
        loss += 0.5 * ((mean - parent.mean) / _SPREAD_MEAN) ** 2
        loss += 0.5 * ((np.log(k) - parent.weight) / _SPREAD_WEIGHT) ** 2
        better = loss < least
        least[better] = loss[better]
        best.mean[better], best.weight[better] = mean[better], np.log(k)
    below = np.exp(best.weight)[group] + some.exposure
    have = np.exp(best.mean + best.weight)[group] + some.counts
    expected = days * have / below
    weight = 1 / (expected + expected**2) ** 2
    over = summed(weight * ((came - expected) ** 2 - expected - expected**2 / have))
    most = summed(weight * expected**2 * (1 + 1 / have))
    drift = (np.maximum(over, 0) + _DRIFT_SAMPLES * parent.drift) / (most + _DRIFT_SAMPLES)
    best.drift[:] = np.clip(drift, _LEAST_DRIFT, _MOST_DRIFT)
    return best


def fit_shares(samples: Samples, names: tuple[str, ...], own: Ints) -> dict[str, SharePrior]:
    """What share of its size a read takes, by dataset name, EVERY among them: the ratio of all bytes to all reads times
    sizes, which leans on all datasets' (credibility, Bühlmann 1967)."""
    seen = samples.seen
    offered = samples.reads * np.maximum(seen.size, 1.0)
    all_of_it = max(float(samples.read_bytes.sum()), 1.0) / max(float(offered.sum()), 1.0)
    found = {EVERY: SharePrior(all_of_it, _SHARE_READS)}
    nbytes = np.bincount(seen.dataset, weights=samples.read_bytes, minlength=len(names))
    wanted = np.bincount(seen.dataset, weights=offered, minlength=len(names))
    size = np.bincount(seen.dataset, weights=np.maximum(seen.size, 1.0), minlength=len(names))
    number = np.bincount(seen.dataset, minlength=len(names))
    for dataset in own.tolist():
        typical = _SHARE_READS * size[dataset] / max(number[dataset], 1)
        share = (nbytes[dataset] + all_of_it * typical) / (wanted[dataset] + typical)
        found[names[dataset]] = SharePrior(float(max(share, 1e-12)), _SHARE_READS)
    return found
