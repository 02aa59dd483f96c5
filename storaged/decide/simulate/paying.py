"""Whether a move pays back, as a plan would reckon on that day: with the reads of the last month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from storaged.clock import DAY
from storaged.decide.simulate.tariff import Floats, Rates, Tariff
from storaged.decide.simulate.trace import Days, Ints, Mask, Places, ReadsByDay, Trace
from storaged.prices.book import DAYS_PER_MONTH

_LAST_DAYS: Final = 30  # whose reads stand for a month's


@dataclass(slots=True)
class Paying:
    """What moves cost and save, day by day."""

    trace: Trace
    by_day: ReadsByDay
    rates: tuple[Rates, ...]
    stored: tuple[Ints, ...]
    read_bytes: tuple[Ints, ...]
    reads: Floats
    nbytes: tuple[Floats, ...]

    @classmethod
    def of(cls, trace: Trace, by_day: ReadsByDay, tariff: Tariff) -> Paying:
        """Of the places of a tariff."""
        places = range(len(tariff.classes))
        stored = tuple(trace.stored_in(place) for place in places)
        rates = tuple(map(Rates.of, tariff.classes, tariff.fees, stored))
        bare = tuple(np.zeros(trace.objects) for _ in places)
        read_bytes = tuple(trace.read_in(place) for place in places)
        return cls(trace, by_day, rates, stored, read_bytes, np.zeros(trace.objects), bare)

    def see(self, day: int) -> None:
        """Take a day's reads in, and forget those of a month ago."""
        for seen, sign in ((day, 1), (day - _LAST_DAYS, -1)):
            if seen < 0:
                continue
            rows = self.by_day.rows[on := self.by_day.on(seen)]
            objects = self.by_day.objects[on]
            self.reads[objects] += sign * self.trace.reads[rows]
            for total, nbytes in zip(self.nbytes, self.read_bytes, strict=True):
                total[objects] += sign * nbytes[rows]

    def pays(
        self, objects: Ints, here: Places, to: Places, kept: Days, within_us: int, *, pack_bytes: int | None = None
    ) -> Mask:
        """Whether moving these objects pays back within that time. What costs nothing must cost no more.
        `kept`: for how many days each was where it is. `pack_bytes`: they go into packs of that size, each of which
        pays back as a whole or does not."""
        once, month_now = self._leaving(objects, here, kept)
        entering, month_then = np.zeros(len(objects)), np.zeros(len(objects))
        for place, rates in enumerate(self.rates):
            mine = to == place
            entering[mine] = rates.fee
            month_then[mine] = self._month(objects[mine], place)
        once += entering
        saving = month_now - month_then
        if pack_bytes is not None:
            packs = self._packs(objects, here, to, pack_bytes)
            once, saving = (np.bincount(packs, of).astype(np.float64)[packs] for of in (once, saving))
        in_time = once * (float(DAYS_PER_MONTH) * DAY) <= saving * within_us
        return np.where(once <= 0, saving >= 0, (saving > 0) & in_time)

    def _packs(self, objects: Ints, here: Places, to: Places, pack_bytes: int) -> Ints:
        """Which pack each goes into: those of one dataset and way, in their order, go into packs of even size."""
        dataset = self.trace.dataset
        of = np.zeros(len(objects), np.int64) if dataset is None else dataset[objects].astype(np.int64)
        way = (of * len(self.rates) + here) * len(self.rates) + to
        packs, number = np.zeros(len(objects), np.int64), 0
        for one in np.unique(way):
            mine = np.flatnonzero(way == one)
            sizes = self.trace.sizes[objects[mine]]
            begins, content = np.cumsum(sizes) - sizes, max(int(sizes.sum()), 1)
            many = -(-content // pack_bytes)
            packs[mine] = number + np.minimum(begins // -(-content // many), many - 1)
            number += many
        return packs

    def _leaving(self, objects: Ints, here: Places, kept: Days) -> tuple[Floats, Floats]:
        """What leaving costs once, and what a month of staying does."""
        once, month = np.zeros(len(objects)), np.zeros(len(objects))
        for place, rates in enumerate(self.rates):
            mine = here == place
            some = objects[mine]
            left = np.maximum(rates.minimum_days - kept[mine], 0)
            once[mine] = self.stored[place][some] * rates.per_byte + rates.per_move + left * rates.early[some]
            month[mine] = self._month(some, place)
        return once, month

    def _month(self, objects: Ints, place: int) -> Floats:
        rates = self.rates[place]
        month = float(DAYS_PER_MONTH)
        read = self.reads[objects] * rates.per_read + self.nbytes[place][objects] * rates.per_byte
        found: Floats = rates.keep[objects] * month + read * (month / _LAST_DAYS)
        return found
