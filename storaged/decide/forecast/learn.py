"""A model of a past: what it teaches up to a day, and of no day after it."""

from __future__ import annotations

from typing import Final

import numpy as np

from storaged.decide.forecast.fit import fit, fit_shares
from storaged.decide.forecast.history import History, Samples, ordinary, origins, samples
from storaged.decide.forecast.model import AGE_BANDS, ForecastModel, Prior, SharePrior
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Ints
from storaged.errors import UsageError

HORIZONS: Final = (30, 90, 180, 365)  # days; as many as the past has
MOST_ORIGINS: Final = 12
MOST_OWN: Final = 300  # datasets with priors of their own, so that a plan's statement stays short
_LEAST_OWN: Final = 20  # samples


def learn(
    history: History,
    cut: int,
    half_life_us: int,
    made_us: int,
    counts: Floats | None = None,
    horizons: tuple[int, ...] = HORIZONS,
) -> ForecastModel:
    """What the days of a history before `cut` (a day of its trace) teach. `counts`: `ordinary` of it. `horizons`: in
    days, ascending; as many are learnt as the past has.

    Raises UsageError where no dataset's reads are known of enough days.
    """
    counts = ordinary(history, cut)[0] if counts is None else counts
    priors: dict[tuple[int, str], tuple[Prior, ...]] = {}
    shares: dict[str, SharePrior] = {}
    own: Ints | None = None
    for days in horizons:
        some = samples(history, origins(history, cut, days, MOST_ORIGINS), days, half_life_us, counts)
        if not len(some):
            break
        own = _own(some, len(history.names)) if own is None else own
        priors |= {(days, name): of_bands for name, of_bands in fit(some, history.names, own).items()}
        shares = shares or fit_shares(some, history.names, own)
    if own is None:
        raise UsageError(
            f"there is nothing to learn from: no {horizons[0]} days in a row before the cut have all their reads known",
            hint="wait until logs tell of more days, or choose a later --cut",
        )
    return ForecastModel(
        made_us=made_us,
        first_day=history.first_day,
        cut_day=history.first_day + cut,
        half_life_us=half_life_us,
        horizons=tuple(sorted({days for days, _ in priors})),
        bands=AGE_BANDS,
        priors=priors,
        shares=shares,
        since=history.since(),
    )


def _own(some: Samples, datasets: int) -> Ints:
    """The datasets that get priors of their own: those with most samples, if they are enough."""
    size = np.bincount(some.seen.dataset, minlength=datasets)
    largest = np.argsort(-size, kind="stable")[:MOST_OWN]
    return np.sort(largest[size[largest] >= _LEAST_OWN])
