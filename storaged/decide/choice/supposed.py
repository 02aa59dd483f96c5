"""Reads that are supposed of an object, so that the planner's own statement says what would be chosen then.

Two things are supposed. Of an object that is read *evenly*, so often a day and for as long as its reads are known,
each way to decide sees that rate: forecasts foretell it, break-even takes the object to be left alone from one read to
the next, and what is remembered of a year and of the last days is that rate, so much of the latter on one day as daily
reads have there. *One more read* comes on top of what there was, at the end of what logs tell, of the usual share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa

from storaged.decide.choice.remembered import DOUBT_DAYS
from storaged.decide.choice.weighed import Foretold
from storaged.decide.forecast.model import BREAK_EVEN, FORECAST
from storaged.heat import DAYS, REMEMBERED, YEAR, decay_rate
from storaged.prices.book import DAYS_PER_MONTH

_LEAST, _MOST = 1e-4, 1e7  # reads a month
_FINE: Final = 1.1  # by which rates differ that are tried
_FINER: Final = 64  # steps between two of these, once more between two of those
_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class Supposed:
    """Columns of the planner's statement that are taken instead of what the catalog has, by name."""

    columns: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PastOfOne:
    """What suppositions about one object start from: the planner's `row` of it, of which the forecast is `foretold` for
    so many `days`. `guesses`: by number, their names. `waved`: a wave of reads goes over its dataset."""

    row: Mapping[str, Any]
    foretold: Foretold
    days: float
    guesses: Sequence[str]
    waved: bool

    def evenly(self, per_month: float) -> Supposed:
        """It is read so often, evenly."""
        months = self.days / float(DAYS_PER_MONTH)
        told = self.foretold.with_reads(Decimal(per_month) * self.foretold.months)
        between = min(1 / per_month if per_month else months, self.row["known_days"] / float(DAYS_PER_MONTH), months)
        rate = per_month / float(DAYS_PER_MONTH)
        daily = decay_rate(DAYS) * math.exp(-decay_rate(DAYS) / 2)
        return self._of(told, between, (rate, rate, rate * daily))

    def one_more(self) -> Supposed:
        """It is read once more, now."""
        seen = self.foretold.evidence
        told = self.foretold.with_reads(self.foretold.reads * (seen + 1) / seen)
        slow, fast = decay_rate(YEAR), decay_rate(DAYS)
        year = slow / (1 + slow * DOUBT_DAYS - math.exp(-slow * self.row["known_days"]))
        reads = (self.row["year_reads"] + year, self.row["days_reads"] + fast, max(self.row["day_reads"], fast))
        nbytes = (year, fast, fast)
        found = dict(self._of(told, 0.0, reads).columns)
        for name, more in zip(REMEMBERED[1::2], nbytes, strict=True):
            found[name] = self.row[name] + more * self._taken
        found["day_bytes"] = max(self.row["day_bytes"], fast * self._taken)
        return Supposed(found | {"young": self.row["young"], "waved": int(self.waved)})

    @property
    def _taken(self) -> float:
        return float(self.row["size"] * self.row["share"])

    def _of(self, told: Foretold, idle_months: float, reads: Sequence[float]) -> Supposed:
        """`reads`: per day, of a year, of the last days, and of these on the day that counts most."""
        found: dict[str, float] = {}
        for k, name in enumerate(self.guesses):
            guessed = {FORECAST: (float(told.reads), float(told.variance), float(told.months))}
            guessed[BREAK_EVEN] = (0.0, 0.0, idle_months)
            found |= dict(zip((f"reads_{k}", f"variance_{k}", f"months_{k}"), guessed[name], strict=True))
        for name, nbytes, rate in zip(REMEMBERED[::2], REMEMBERED[1::2], reads, strict=True):
            found |= {name: rate, nbytes: rate * self._taken}
        return Supposed(found | {"young": self.row["young"], "waved": self.row["waved"]})


def supposing(seen: sa.CTE, given: Sequence[Supposed]) -> sa.CTE:
    """What is seen of an object, once for each of these, with their columns in place of its own; `supposed` numbers
    them."""
    names = list(given[0].columns)
    table = sa.values(
        sa.column("supposed", sa.Integer()),
        *(sa.column(name, sa.Double()) for name in names),
        name="given",
        literal_binds=True,
    )
    rows = [(number, *(float(one.columns[name]) for name in names)) for number, one in enumerate(given)]
    values = table.data(rows).cte("auto_given")
    columns = {name: values.c[name] if name in names else column for name, column in seen.c.items()}
    columns["supposed"] = values.c.supposed
    told = [column.label(name) for name, column in columns.items()]
    return sa.select(*told).select_from(seen.join(values, sa.true())).offset(0).cte("auto_supposed")


def edges(where: Callable[[Sequence[float]], Sequence[str]]) -> Iterator[tuple[float, str]]:
    """From how many reads a month on an object that is read evenly is in which tier: the first from none on. `where`:
    by rates the tiers."""
    steps = math.ceil(math.log(_MOST / _LEAST) / math.log(_FINE))
    rates = [0.0, *(_LEAST * _FINE**n for n in range(steps + 1))]
    found = list(zip(rates, where(rates), strict=True))
    for _ in range(_ROUNDS):
        finer = [
            near + (far - near) * n / _FINER
            for (near, place), (far, other) in pairwise(found)
            if place != other
            for n in range(1, _FINER)
        ]
        if finer:
            found = sorted({*found, *zip(finer, where(finer), strict=True)})
    before = None
    for rate, place in found:
        if place != before:
            yield rate, place
        before = place
