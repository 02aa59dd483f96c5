"""Forecasts: of a model and what an object was read, in numpy and as columns of SQL that agree.

Before any was counted an object's reads per day are Λ ~ Gamma(shape, rate); after N reads in E days, both decayed, they
are Gamma(shape + N, rate + E), of the mean (shape + N) / (rate + E) and the relative variance r = 1 / (shape + N).
Until the days that are forecast the rate changes by a factor of mean 1 and variance v, the prior's drift; so the
relative variance of the forecast is r + v + r·v. `fit.py` says where this comes from. A read takes the share of the
size that it took before, leaning on the dataset's, as of so many reads as its prior says (credibility, Bühlmann 1967).

N is decayed as heat is (storaged/heat.py), or sooner, or both in the proportion of the prior's `fresh`: a count by a
sum of two exponentials. E is what a count of one a day would have decayed to: it begins with the object, with the
window of its dataset's logs, or after the last break in them. Unknown is not cold: without a window there is no
forecast, and each of these columns is NULL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.decide.evidence import Evidence
from storaged.decide.forecast.history import PastReads
from storaged.decide.forecast.model import EVERY, ForecastModel
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Ints
from storaged.decide.sql import LARGEST, in_ids, largest, real
from storaged.heat import decay_rate, recent

_ALL: Final = 0  # in the place of a dataset's id: no dataset has it
_NEVER_DAYS: Final = 10**6
_MOST_POWER: Final = math.log(LARGEST)
_COLUMNS: Final = ("shape", "rate", "drift", "fresh", "share", "share_reads")


@dataclass(frozen=True, slots=True)
class Forecast:
    """By object: the mean of its reads per day over the horizon, its standard deviation, and bytes read per day."""

    mean: Floats
    spread: Floats
    nbytes: Floats


def forecast(model: ForecastModel, seen: PastReads, names: tuple[str, ...], days: float) -> Forecast:
    """What is to be expected over so many days. `names`: of the datasets that `seen.dataset` numbers.

    `seen` must be counted with the model's half-life.
    """
    table = np.array([[(p.shape, p.rate, p.drift, p.fresh) for p in model.of(name, days)] for name in names])
    shares = np.array([(one.share, one.reads) for one in map(model.share, names)])
    band: Ints = np.maximum(np.searchsorted(np.array(model.bands), seen.age, side="right") - 1, 0)
    shape, rate, drift, fresh = table[seen.dataset, band].T
    share, reads = shares[seen.dataset].T
    evidence = shape + (1 - fresh) * seen.counts + fresh * seen.fresh_counts
    mean = evidence / (rate + (1 - fresh) * seen.exposure + fresh * seen.fresh_exposure)
    nbytes = mean * (reads * share * seen.size + seen.nbytes) / (reads + seen.counts)
    return Forecast(mean, mean * np.sqrt((1 + 1 / evidence) * (1 + drift) - 1), nbytes)


@dataclass(frozen=True, slots=True)
class ForecastColumns:
    """A forecast as columns over `objects`, to be selected from `objects` joined with `priors` on `on`, which has
    exactly one row for each object. `evidence` and `days`: shape and rate of the Gamma before the drift; `known_days`:
    whole days for which reads are known without a break. All are NULL where the dataset has no window."""

    priors: sa.FromClause
    on: ColumnElement[bool]
    evidence: ColumnElement[float]
    days: ColumnElement[float]
    mean: ColumnElement[float]
    spread: ColumnElement[float]
    nbytes: ColumnElement[float]
    known_days: ColumnElement[int]


def columns(model: ForecastModel, evidence: Evidence, names: Mapping[int, str], days: float) -> ForecastColumns:
    """`forecast` in SQL, of each object at the end of its dataset's window. `names`: of datasets by id.

    Raises ValueError where heat has another half-life than the model: they mean nothing to each other.
    """
    if evidence.half_life_us != model.half_life_us:
        raise ValueError(f"the model is of a half-life of {model.half_life_us} us, heat of {evidence.half_life_us} us")
    decay, fast = decay_rate(model.half_life_us), decay_rate(recent(model.half_life_us))
    priors, own = _priors(model, evidence, names, days)
    given = {name: real(priors.c[name]) for name in _COLUMNS}
    until_us = evidence.at_window(lambda window: window.until_us, sa.BigInteger())
    from_us = evidence.at_window(lambda window: window.from_us, sa.BigInteger())
    age_us = until_us - objects.c.created_us
    band = sa.case(*((age_us >= begin * DAY, n) for n, begin in _descending(model.bands)), else_=0)
    id_ = sa.case((in_ids(objects.c.dataset_id, own), objects.c.dataset_id), else_=_ALL) if own else sa.literal(_ALL)
    since_us = largest(objects.c.created_us, largest(from_us, priors.c.since_us))
    exposed_us = largest(until_us - since_us, sa.literal(0, sa.BigInteger()))
    exposed = real(exposed_us) / float(DAY)
    counts = _decayed(objects.c.heat_reads, until_us, decay)
    nbytes = _decayed(objects.c.heat_bytes, until_us, decay)
    # What was scored before there was a score of recent reads counts as if all had been recent: never too cold.
    recently = sa.case((objects.c.heat_recent.is_(None), counts), else_=_decayed(objects.c.heat_recent, until_us, fast))
    fresh = given["fresh"]
    shape = given["shape"] + (1.0 - fresh) * counts + fresh * recently
    rate = given["rate"] + (1.0 - fresh) * _exposure(exposed, decay) + fresh * _exposure(exposed, fast)
    mean = shape / rate
    relative = (1.0 + 1.0 / shape) * (1.0 + given["drift"]) - 1.0
    share = given["share_reads"] * given["share"] * real(objects.c.size)
    return ForecastColumns(
        priors,
        sa.and_(priors.c.dataset_id == id_, priors.c.band == band),
        shape,
        rate,
        mean,
        mean * sa.func.sqrt(relative),
        mean * (share + nbytes) / (given["share_reads"] + counts),
        exposed_us // DAY,
    )


def _descending(bands: tuple[int, ...]) -> list[tuple[int, int]]:
    """Numbers and begins of age bands, the oldest first. One that nothing is in keeps the list from being empty."""
    return [(0, _NEVER_DAYS), *((n, bands[n]) for n in reversed(range(1, len(bands))))]


def _decayed(score: ColumnElement[Any], at_us: ColumnElement[int], decay: float) -> ColumnElement[float]:
    """The decayed count that a heat score means: e^(score - λt); 0 without a score, NULL without an instant."""
    count = _exp(score - decay * (real(at_us) / float(DAY)))
    return sa.case((at_us.is_(None), None), (score.is_(None), 0.0), else_=count)


def _exposure(days: ColumnElement[float], decay: float) -> ColumnElement[float]:
    return (1.0 - _exp(-decay * days)) / decay


def _exp(power: ColumnElement[float]) -> ColumnElement[float]:
    """e to a power, which stands in the statement once, as it may be long; within what both databases can multiply."""
    most = -largest(-power, sa.literal(-_MOST_POWER, sa.Double()))
    return sa.func.exp(real(largest(most, sa.literal(-_MOST_POWER, sa.Double()))))


def _priors(
    model: ForecastModel, evidence: Evidence, names: Mapping[int, str], days: float
) -> tuple[sa.CTE, list[int]]:
    """The model's priors as a table by dataset id and age band, and the ids that it has; _ALL stands for the others."""
    mine = set(model.datasets)
    own = sorted(i for i, name in names.items() if name in mine and i in evidence.windows)
    rows = []
    for dataset_id, name in [(_ALL, EVERY), *((i, names[i]) for i in own)]:
        share = model.share(name)
        since_us = model.since.get(name, 0) * DAY
        for band, prior in enumerate(model.of(name, days)):
            numbers = (prior.shape, prior.rate, prior.drift, prior.fresh, share.share, share.reads)
            rows.append((dataset_id, band, since_us, *numbers))
    table = sa.values(
        sa.column("dataset_id", sa.Integer()),
        sa.column("band", sa.Integer()),
        sa.column("since_us", sa.BigInteger()),
        *(sa.column(name, sa.Double()) for name in _COLUMNS),
        name="priors",
        literal_binds=True,
    )
    return table.data(rows).cte(), own
