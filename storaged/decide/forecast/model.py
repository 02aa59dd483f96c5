"""What was learnt: priors by dataset and age, and what each way to decide would have cost. As text, for the catalog."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from storaged.digest import digest_of
from storaged.errors import ModelUnreadable

FORMAT: Final = 2  # of the text; raised where a program of before would take it for something else
AGE_BANDS: Final = (0, 3, 7, 14, 30, 60, 120, 240, 480)  # days from which on an object is in each
EVERY: Final = ""  # in the place of a dataset's name: all of them together
# Ways to decide: never to move anything, to go by what is remembered of reads, to wait as long as a move has to pay for
# itself, and to trust a forecast (of a horizon: `forecast-30d`).
STAY: Final = "stay"
MEMORY: Final = "memory"
BREAK_EVEN: Final = "break-even"
FORECAST: Final = "forecast"
_NEARLY: Final = 1e-6  # as sums of shares come to 1
_AGAIN: Final = "`storagectl learn` makes another one; until then nothing is decided by it"


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of an object's reads per day before any was counted: a Gamma of this shape and rate, as if
    `shape` reads had been seen in `rate` days. `drift`: the relative variance by which rates change until the days that
    are forecast. `fresh`: how much the count that is forgotten sooner counts beside the other (0 to 1)."""

    shape: float
    rate: float
    drift: float
    fresh: float


@dataclass(frozen=True, slots=True)
class SharePrior:
    """What share of its size a read of an object takes, as if that had been seen of so many reads."""

    share: float
    reads: float


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """Learnt of whole UTC days from `first_day` up to and without `cut_day` (since 1970).

    `half_life_us` is that of the heat it goes with. `horizons`: for how many days forecasts were learnt, ascending.
    `priors`: by horizon and dataset name, one for each of `bands`, which begin at these ages in days. EVERY has all
    horizons; a dataset has all or none. `since`: by dataset name the day (since 1970) from which its reads are known
    without a break; a dataset without a break has none. `weights`: by dataset name, what share each way to decide has
    earned. `foretells`: whether its forecasts are better than simple ones; if not, no way trusts them.
    """

    made_us: int
    first_day: int
    cut_day: int
    half_life_us: int
    horizons: tuple[int, ...]
    bands: tuple[int, ...]
    priors: Mapping[tuple[int, str], tuple[Prior, ...]]
    shares: Mapping[str, SharePrior]
    since: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    foretells: bool = True

    @property
    def datasets(self) -> tuple[str, ...]:
        """Those with something of their own, by name."""
        return tuple(sorted(({name for _, name in self.priors} | {*self.shares, *self.since}) - {EVERY}))

    def horizon(self, days: float) -> int:
        """The learnt horizon that is nearest to so many days, as a factor."""
        return min(self.horizons, key=lambda learnt: (abs(math.log(learnt / max(days, 1))), learnt))

    def of(self, dataset: str, days: float) -> tuple[Prior, ...]:
        """A dataset's priors by age band for a horizon; those of EVERY where it has none."""
        horizon = self.horizon(days)
        return self.priors.get((horizon, dataset)) or self.priors[horizon, EVERY]

    def share(self, dataset: str) -> SharePrior:
        """What is believed of a dataset's reads."""
        return self.shares.get(dataset) or self.shares[EVERY]

    def band(self, age_days: float) -> int:
        """The number of the age band; what is not born yet is in the first."""
        return max(bisect_right(self.bands, age_days) - 1, 0)

    def weights_of(self, dataset: str) -> Mapping[str, float]:
        """What each way to decide has earned for a dataset, adding up to 1; empty: nothing is known. Forecasts of
        several horizons are one way."""
        return trusted(self.weights.get(dataset) or self.weights.get(EVERY, {}), foretells=self.foretells)


def trusted(weights: Mapping[str, float], *, foretells: bool) -> Mapping[str, float]:
    """Weights with all forecasts as one way; without it, if nothing is foretold that is worth its name."""
    found = dict.fromkeys((STAY, MEMORY, BREAK_EVEN, FORECAST), 0.0)
    for name, weight in weights.items():
        found[FORECAST if name.startswith(FORECAST) else name] += weight
    if not foretells:
        found[FORECAST] = 0.0
    whole = sum(found.values())
    return {name: weight / whole for name, weight in found.items()} if whole else {}


def to_text(model: ForecastModel) -> str:
    """As JSON, with its format and a digest."""
    body = asdict(model) | {
        "priors": [
            [horizon, name, [[p.shape, p.rate, p.drift, p.fresh] for p in bands]]
            for (horizon, name), bands in sorted(model.priors.items())
        ]
    }
    body["shares"] = {name: [one.share, one.reads] for name, one in sorted(model.shares.items())}
    body["since"] = dict(sorted(model.since.items()))
    body["weights"] = {name: dict(shares) for name, shares in sorted(model.weights.items())}
    return json.dumps({"format": FORMAT, "digest": _digest(body), "model": body}, allow_nan=False)


def from_text(text: str, what: str) -> ForecastModel:
    """A model that `to_text` wrote. `what`: how people call it. Raises ModelUnreadable for any other text."""
    try:
        told = json.loads(text)
        number, digest, body = told["format"], told["digest"], told["model"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelUnreadable(f"{what} is damaged: it is not what was written", hint=_AGAIN) from error
    if type(number) is int and number > FORMAT:
        raise ModelUnreadable(
            f"{what} was made by a newer version of storaged",
            hint="use that version, or `storagectl learn` for a model that this one reads",
        )
    if type(number) is int and 0 < number < FORMAT:
        raise ModelUnreadable(f"{what} was made by an older version of storaged", hint=_AGAIN)
    if number != FORMAT or digest != _digest(body):
        raise ModelUnreadable(f"{what} is damaged: its digest is another one", hint=_AGAIN)
    try:
        found = _made(body)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ModelUnreadable(f"{what} is damaged: {error}", hint=_AGAIN) from error
    return found


def _digest(body: object) -> str:
    return digest_of([json.dumps(body, sort_keys=True).encode()])


def _made(body: Mapping[str, Any]) -> ForecastModel:
    numbers = {name: int(body[name]) for name in ("made_us", "first_day", "cut_day", "half_life_us")}
    horizons, bands = tuple(map(int, body["horizons"])), tuple(map(int, body["bands"]))
    priors = {(int(h), str(name)): tuple(_prior(one) for one in of_band) for h, name, of_band in body["priors"]}
    shares = {str(name): SharePrior(*_positive(one)) for name, one in body["shares"].items()}
    since = {str(name): int(day) for name, day in body["since"].items()}
    weights = {str(name): {str(k): float(v) for k, v in of.items()} for name, of in body["weights"].items()}
    for of in weights.values():
        _shares(of)
    if any(horizon < 1 for horizon in horizons) or list(bands) != sorted({0, *bands}):
        raise ValueError("horizons or age bands are none")
    names = {name for _, name in priors} | {EVERY}
    if not horizons or set(priors) != {(h, name) for h in horizons for name in names} or EVERY not in shares:
        raise ValueError("priors are missing")
    if any(len(of_band) != len(bands) for of_band in priors.values()):
        raise ValueError("age bands are missing")
    return ForecastModel(
        **numbers,
        horizons=horizons,
        bands=bands,
        priors=priors,
        shares=shares,
        since=since,
        weights=weights,
        foretells=bool(body["foretells"]),
    )


def _shares(weights: Mapping[str, float]) -> None:
    """Raises ValueError for what are no shares of the whole, or of ways to decide that nothing here follows."""
    whole = sum(weights.values())
    for name in weights:
        if name not in (STAY, MEMORY, BREAK_EVEN) and not name.startswith(FORECAST):
            raise ValueError(f"{name!r} is no way to decide")
    if not all(weight >= 0 for weight in weights.values()) or (weights and not math.isclose(whole, 1, abs_tol=_NEARLY)):
        raise ValueError(f"{dict(weights)} are no shares")


def _prior(given: Sequence[float]) -> Prior:
    *positive, fresh = given
    if not 0 <= fresh <= 1:
        raise ValueError(f"{fresh} is no share")
    shape, rate, drift = _positive(positive)
    return Prior(shape, rate, drift, float(fresh))


def _positive(given: Sequence[float]) -> list[float]:
    found = [float(number) for number in given]
    if not all(number > 0 and math.isfinite(number) for number in found):
        raise ValueError(f"{found} are no parameters")
    return found
