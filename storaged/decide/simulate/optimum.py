"""The clairvoyant optimum: what one who knew all reads beforehand would have paid. Exact, by dynamic programming.

Backwards over the days, for all objects of a trace at once. For tier j of an object, with C_j(d) what staying in j from
day d to the end costs, and L_j(e) the least that can follow from leaving j at the end of day e (the way out, the fee
into another tier, and all from there on):

    X_j(e) = L_j(e) - C_j(e+1)                 what leaving then adds to staying to the end; below 0 it saves
    Q_j(d) = min(0, min X_j(e) for e ≥ d)      the same with the best day to leave from d on, or none

A stay that begins on day d owes nothing if it lasts m_j days (the minimum duration). Leaving at the end of day e
before that owes k_j·(d + m_j - 1 - e), where k_j is a day's storage. So the least cost from the begin of a stay is

    N_j(d) = C_j(d) + min( Q_j(d + m_j - 1),
                           k_j·(d + m_j - 1) + min (X_j(e) - k_j·e) for d ≤ e < d + m_j - 1 )

and L_j(e) = out_j + min (fee_k + N_k(e+1)) over k ≠ j. The inner minimum slides over m_j - 1 days. It is taken as
van Herk (1992) and Gil and Werman (1993) do: blocks of that length, running minima inside each from both sides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from storaged.decide.simulate.stays import Stays, settle
from storaged.decide.simulate.tariff import Floats, Rates, Tariff
from storaged.decide.simulate.trace import Ints, ReadsByDay, Trace

Marks = NDArray[np.int32]  # days
Mask = NDArray[np.bool_]


_NEVER: Final = np.int32(1 << 30)  # later than any day


def _earlier(days: Marks, day: int, where: Mask) -> None:
    """Set these days to one that is before all of them. (What numpy offers for it takes several times as long.)"""
    new = np.multiply(~where, _NEVER, dtype=np.int32)
    new += np.int32(day)
    np.minimum(days, new, out=days)


class _Sliding:
    """The least of the last `width` values pushed, and the day of each such value. Days go down, one by one."""

    def __init__(self, width: int, objects: int) -> None:
        self._width = width
        self._block = np.full((width, objects), np.inf)
        self._later = np.full((width, objects), np.inf)  # the block of later days, as running minima from its begin
        self._later_day = np.full((width, objects), _NEVER)
        self._least = np.full(objects, np.inf)  # of this block so far
        self._day = np.full(objects, _NEVER)
        self._place = 0

    def push(self, day: int, values: Floats) -> Floats:
        """Add a day's values; returns the least of the days [day, day + width)."""
        number, self._place = divmod(day, self._width)
        if self._place == self._width - 1:
            self._turn(number + 1)
        self._block[self._place] = values
        _earlier(self._day, day, values < self._least)
        np.minimum(values, self._least, out=self._least)
        return np.minimum(self._later[self._place - 1], self._least) if self._place else self._least

    def days(self) -> Marks:
        """Which days have the least values that `push` just returned."""
        if not self._place:
            return self._day
        later = self._place - 1
        return np.where(self._later[later] < self._least, self._later_day[later], self._day)

    def _turn(self, number: int) -> None:
        """The block is full: it becomes the one of later days."""
        np.minimum.accumulate(self._block, axis=0, out=self._later)
        days = number * self._width + np.arange(self._width, dtype=np.int32)
        np.multiply(self._later == self._block, days[:, None], out=self._later_day)
        np.maximum.accumulate(self._later_day, axis=0, out=self._later_day)
        self._block.fill(np.inf)
        self._least = np.full_like(self._least, np.inf)
        self._day = np.full_like(self._day, _NEVER)


class _Tier:
    """One tier of all objects, while the days go down."""

    def __init__(self, rates: Rates, sizes: Ints, days: int) -> None:
        objects = len(sizes)
        self.rates = rates
        self.out = sizes * rates.per_byte + rates.per_move
        self.stay = np.zeros(objects)  # C of the day before
        self.best = np.zeros(objects)  # Q
        self.best_day = np.full(objects, days - 1, np.int32)
        self.wait = max(rates.minimum_days, 1) - 1
        self.since = np.zeros(objects)  # N
        if self.wait:
            self._sliding = _Sliding(self.wait, objects)
            self._waiting = np.zeros((self.wait, objects))  # Q of the days to come, by day modulo the wait
            self._waiting_day = np.full((self.wait, objects), days - 1, np.int32)

    def leave(self, day: int, after: Floats) -> Floats:
        """X, and with it Q. `after`: the least that follows from leaving at the end of the day."""
        extra = after + self.out
        extra -= self.stay
        _earlier(self.best_day, day, extra < self.best)
        np.minimum(extra, self.best, out=self.best)
        return extra

    def begin(self, day: int, extra: Floats | None, reads: tuple[Ints, Floats]) -> Marks:
        """N of a day, and at the end of which day a stay that begins on it is best left."""
        self.stay += self.rates.keep
        objects, costs = reads
        self.stay[objects] += costs
        if not self.wait:
            np.add(self.stay, self.best, out=self.since)
            return self.best_day
        slot = day % self.wait
        best = self._waiting[slot].copy()  # Q of day + wait
        until: Marks = self._waiting_day[slot].copy()
        self._waiting[slot], self._waiting_day[slot] = self.best, self.best_day
        if extra is not None:
            early = self._sliding.push(day, extra - self.rates.early * day) + self.rates.early * (day + self.wait)
            less = early < best
            if less.any():
                until = np.where(less, self._sliding.days(), until)
                np.minimum(early, best, out=best)
        np.add(self.stay, best, out=self.since)
        return until


def optimum(trace: Trace, tariff: Tariff) -> Stays:
    """The cheapest stays that there are. Memory: 5 bytes by object, day and tier, and 24 by object and minimum day."""
    first = max(int(trace.created.min()), trace.opens)
    tiers = [
        _Tier(Rates.of(prices, fee, sizes := trace.stored_in(number)), sizes, trace.days)
        for number, (prices, fee) in enumerate(zip(tariff.classes, tariff.fees, strict=True))
    ]
    read_bytes = [trace.read_in(number) for number in range(len(tiers))]
    by_day = ReadsByDay.of(trace)
    until = np.empty((len(tiers), trace.days - first, trace.objects), np.int32)
    to = np.empty((len(tiers), trace.days - first, trace.objects), np.int8)
    for day in range(trace.days - 1, first - 1, -1):
        extras: list[Floats | None] = [None] * len(tiers)
        if day < trace.days - 1 and len(tiers) > 1:
            entered = [tier.since + tier.rates.fee for tier in tiers]
            extras = [tier.leave(day, _next(entered, j, to[j, day - first])) for j, tier in enumerate(tiers)]
        rows = by_day.rows[on := by_day.on(day)]
        reads = trace.reads[rows]
        for j, tier in enumerate(tiers):
            costs = reads * tier.rates.per_read + read_bytes[j][rows] * tier.rates.per_byte
            until[j, day - first] = tier.begin(day, extras[j], (by_day.objects[on], costs))
    return _followed(trace, until, to, first)


def _next(entered: list[Floats], leaving: int, to: NDArray[np.int8]) -> Floats:
    """The least from the next day on in another tier, and which one it is."""
    first, *others = (k for k in range(len(entered)) if k != leaving)
    least = entered[first]
    to.fill(first)
    for k in others:
        to += (k - to) * (entered[k] < least)
        least = np.minimum(least, entered[k])
    return least


def _followed(trace: Trace, until: NDArray[np.int32], to: NDArray[np.int8], first: int) -> Stays:
    """The stays of the choices, from each object's first day on."""
    at = np.arange(trace.objects)
    tier = trace.begins().astype(np.int64)
    day = np.maximum(trace.created, trace.opens).astype(np.int64)
    objects, days, tiers = [at[:0]], [day[:0]], [tier[:0]]
    while len(at):
        end = until[tier, day - first, at].astype(np.int64)
        goes = end < trace.days - 1
        at, tier, day = at[goes], tier[goes], end[goes]
        tier, day = to[tier, day - first, at].astype(np.int64), day + 1
        objects.append(at)
        days.append(day)
        tiers.append(tier)
    return settle(trace, np.concatenate(objects), np.concatenate(days), np.concatenate(tiers))
