"""What `memory`, a way to decide, remembers of reads and wants by it: in numpy, as plans do it in SQL.

It remembers decayed rates of a year (of the days that are known, and DOUBT_DAYS without reads) and of the last days,
and of these what came on the one day that counts most (storaged/heat.py). An object goes to the tier that is worth most
by the rates of a year, once that saves `TWICE` what the move costs by the rates of the last days as well; a new one not
before it is NEW_DAYS old. It comes back as one who rents skis buys them (Karlin, Manasse, Rudolph and Sleator, 1988),
with a prediction (Kumar, Purohit and Svitkina, Improving Online Algorithms via ML Predictions, 2018): regret is what
the last days' reads cost more than they would have elsewhere. Where they came on several days, a burst is predicted,
and a share (`TRUST`) of what the return costs is regret enough; where they came all at once, it takes 1 / `TRUST` of
it. Then no burst costs more than 1 + 1 / `TRUST` times what was best for it. Where a *wave* of reads goes over its
dataset, that is a burst of each object that it reads: `WAVE` of the bytes that the dataset has where reads cost by the
byte was read within the last days. One full read of one object is no burst; its siblings tell that it is one.
`storaged.decide.choice.remembered` has the same in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from storaged.decide.choice.remembered import DOUBT_DAYS, NEW_DAYS, SPAN_DAYS, TRUST, WAVE
from storaged.decide.forecast.ways import NOWHERE
from storaged.decide.money import TWICE
from storaged.decide.simulate.auto.costs import Reads, TierCosts
from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Days, Ints, Mask, Places
from storaged.heat import DAYS, YEAR, decay_rate


@dataclass(slots=True)
class PastRates:
    """Of all objects of a trace, day by day. Rows are reads and bytes, per day: of a year, of the last days, and of
    these on the one day that counts most."""

    year: Floats
    days: Floats
    day: Floats

    @classmethod
    def of(cls, objects: int) -> Self:
        """Before the first day."""
        return cls(*np.zeros((3, 2, objects)))

    def see(self, reads: Reads) -> None:
        """Take a day in."""
        both = np.stack((reads.counts, reads.nbytes))
        for rates, half_life_us in ((self.year, YEAR), (self.days, DAYS), (self.day, DAYS)):
            decay = decay_rate(half_life_us)
            rates *= np.exp(-decay)
            came = both * (decay * np.exp(-decay / 2))
            if rates is self.day:
                rates[:, reads.objects] = np.maximum(rates[:, reads.objects], came)
            else:
                rates[:, reads.objects] += came

    def waves(self, costs: TierCosts, tiers: Places, sizes: Ints, dataset: Days, datasets: int) -> Mask:
        """By dataset, whether a wave of reads goes over it. `tiers`: where objects, the first of all, are."""
        born = len(tiers)
        size = np.where(costs.per_byte[tiers] > 0, sizes[:born], 0).astype(float)
        read = np.minimum(self.days[1, :born] * SPAN_DAYS, size)
        by_dataset = [np.bincount(dataset[:born], weights=of, minlength=datasets) for of in (read, size)]
        found: Mask = (by_dataset[0] > WAVE * by_dataset[1]) & (by_dataset[1] > 0)
        return found


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is remembered of some objects: rates (rows are reads and bytes), whether each is `young`, and whether it was
    read on the last day in a wave (`waved`)."""

    year: Floats
    days: Floats
    day: Floats
    young: Mask
    waved: Mask

    @classmethod
    def at(cls, rates: PastRates, some: Ints | slice, age: Days, known: Days, read: Mask, waves: Mask) -> Self:
        """Of some objects at the end of a day: `age` in days, `known` for so many, `read` on it, `waves` over their
        datasets."""
        decay = decay_rate(YEAR)
        year = rates.year[:, some] / (1 + decay * DOUBT_DAYS - np.exp(-decay * known))
        days, day = rates.days[:, some], rates.day[:, some]
        return cls(year, days, day, age < NEW_DAYS, read & waves)


def remembered(
    costs: TierCosts,
    some: Ints,
    here: Places,
    ways: Sequence[Places],
    kept: Days,
    past: Remembered,
    horizon_days: float,
    open_: Sequence[Mask] | None = None,
) -> tuple[Places, Floats]:
    """Of some objects the place that this way wants, and what going there costs. As of `wanted` (ways.py)."""
    owed = np.maximum(costs.minimum_days[here] - kept, 0) * costs.early[here, some]
    leaving = costs.out[here, some] + owed
    told = [_Told.of(costs, some, here, to, leaving, past, horizon_days) for to in ways]
    everywhere = [np.ones(len(some), bool)] * len(ways)
    found, price = here.copy(), np.zeros(len(some))
    for able in (everywhere, everywhere if open_ is None else open_):  # what is said later goes first
        for values, passes in (
            ([one.worth for one in told], [one.sinks for one in told]),
            ([one.regret for one in told], [one.rises for one in told]),
        ):
            to, wants = _best(here, ways, values, passes, able)
            found = np.where(wants, to, found)
    for one, to in zip(told, ways, strict=True):
        price = np.where((found == to) & (found != here), one.once, price)
    return found.astype(np.int8), price


def _best(
    here: Places, ways: Sequence[Places], values: Sequence[Floats], passes: Sequence[Mask], able: Sequence[Mask]
) -> tuple[Places, Mask]:
    """The place of the highest value, of equals the first, and whether it passes."""
    best, found, wants = np.full(len(here), -np.inf), here.copy(), np.zeros(len(here), bool)
    for to, value, gate, may in zip(ways, values, passes, able, strict=True):
        better = may & (value > best)
        best, found, wants = np.where(better, value, best), np.where(better, to, found), np.where(better, gate, wants)
    return found, wants


@dataclass(frozen=True, slots=True)
class _Told:
    """Of one place: what going there costs `once`; what that is `worth` (-inf: not cheaper to keep) and whether all
    that is remembered lets it go (`sinks`); the `regret` of not being there, and whether it is enough (`rises`)."""

    once: Floats
    worth: Floats
    sinks: Mask
    regret: Floats
    rises: Mask

    @classmethod
    def of(
        cls,
        costs: TierCosts,
        some: Ints,
        here: Places,
        to: Places,
        leaving: Floats,
        past: Remembered,
        horizon_days: float,
    ) -> Self:
        goes = (to != NOWHERE) & (to != here)
        there = np.where(goes, to, here)
        once = leaving + costs.fee[there]
        keeps = costs.keep[here, some] - costs.keep[there, some]
        by_read = costs.per_read[there] - costs.per_read[here]
        by_byte = costs.per_byte[there] - costs.per_byte[here]

        def saved(rates: Floats) -> Floats:
            found: Floats = keeps - rates[0] * by_read - rates[1] * by_byte
            return found

        year, days = saved(past.year) * horizon_days, saved(past.days)
        lasting = saved(past.days - past.day)
        cheaper, dearer = goes & (keeps > 0), goes & (keeps <= 0)
        pays = (year > once) & (year >= TWICE * once) & (days * horizon_days >= TWICE * once) & (days > 0)
        due = TRUST * once
        enough = (lasting * SPAN_DAYS > due) | (days * SPAN_DAYS > once / TRUST)
        enough |= past.waved & (days * SPAN_DAYS > due)
        return cls(
            once,
            np.where(cheaper, year - once, -np.inf),
            cheaper & pays & ~past.young,
            np.where(dearer & enough, days, -np.inf),
            dearer & enough,
        )
