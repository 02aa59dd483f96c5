"""Where each object was, and when; and the baselines that follow from creation and reads alone.

A move is decided at the end of a day and in force from the next. On the last day nothing is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storaged.decide.simulate.trace import Days, Ints, Trace

Step = tuple[int, int]  # from so many days on, in that tier


@dataclass(frozen=True, slots=True)
class Stays:
    """By stay, in the order of objects and time: object, tier, first and last day. An object's stays leave no gap."""

    object: Ints
    tier: NDArray[np.int8]
    first: Days
    last: Days

    @property
    def moved(self) -> Ints:
        """Which stays began with a move out of the stay before."""
        return np.flatnonzero(self.object[1:] == self.object[:-1]) + 1

    def of(self, begin: int, end: int) -> Stays:
        """Those of some objects, which are counted from the first of these."""
        mine = slice(*np.searchsorted(self.object, (begin, end)))
        return Stays(self.object[mine] - begin, self.tier[mine], self.first[mine], self.last[mine])

    def since(self, day: int) -> Stays:
        """Those of that day and later, which becomes the first."""
        kept = self.last >= day
        first = np.maximum(self.first[kept] - np.int32(day), 0)
        return Stays(self.object[kept], self.tier[kept], first, self.last[kept] - np.int32(day))


def turned_back(stays: Stays, rest_days: Sequence[int], ranks: Sequence[int]) -> int:
    """How many moves go against the direction of the object's move before, fewer days after it than what is left rests.

    `rest_days` and `ranks`: by tier. A move that keeps the rank has no direction.
    """
    rank = np.asarray(ranks)[stays.tier]
    later = stays.moved[np.isin(stays.moved - 1, stays.moved)]  # moves before which there was another one
    came = np.sign(rank[later - 1] - rank[later - 2])
    goes = np.sign(rank[later] - rank[later - 1])
    kept = stays.last[later - 1] - stays.first[later - 1] + 1
    rest = np.asarray(rest_days)[stays.tier[later - 1]]
    return int(((came * goes < 0) & (kept < rest)).sum())


def settle(trace: Trace, objects: Ints, days: Ints, tiers: Ints) -> Stays:
    """The stays that moves make: `objects` to `tiers`, in force from `days`. Before them all are where they begin.

    Moves come in any order, at most one by object and day; one to where an object is already is none. Of those before
    the trace opens an object's last is made at the end of the day on which it does.
    """
    at = np.concatenate((np.arange(trace.objects), objects))
    since = np.concatenate((trace.created, days))
    tier = np.concatenate((trace.begins().astype(np.int64), tiers))
    order = np.lexsort((since, at))
    at, since, tier = at[order], since[order], tier[order]
    if trace.opens:
        begins = np.concatenate(([True], at[1:] != at[:-1]))
        since = np.where(begins, since, np.maximum(since, trace.opens + 1))
        last_of_day = np.concatenate(((at[1:] != at[:-1]) | (since[1:] != since[:-1]), [True])) | begins
        at, since, tier = at[last_of_day], since[last_of_day], tier[last_of_day]
    real = np.ones(len(at), bool)
    real[1:] = (at[1:] != at[:-1]) | (tier[1:] != tier[:-1])
    at, since, tier = at[real], since[real], tier[real]
    last = np.full(len(at), trace.days - 1)
    same = at[1:] == at[:-1]
    last[:-1][same] = since[1:][same] - 1
    return Stays(at, tier.astype(np.int8), since.astype(np.int32), last.astype(np.int32))


def by_age(trace: Trace, steps: Sequence[Step]) -> Stays:
    """Down by age, and never back: in force when the object is so many days old."""
    objects, days, tiers = [], [], []
    for age, tier in steps:
        old = np.flatnonzero(trace.created + age < trace.days)
        objects.append(old)
        days.append(trace.created[old].astype(np.int64) + age)
        tiers.append(np.full(len(old), tier))
    return _settled(trace, objects, days, tiers)


def by_idleness(trace: Trace, steps: Sequence[Step], only: NDArray[np.bool_] | None = None) -> Stays:
    """Down by days without a read, back to tier 0 by a read. `steps` rise. `only`: which objects move at all."""
    reader = trace.read_object()
    ends = trace.starts[1:] + np.arange(trace.objects)  # where each object's last gap stands among all gaps
    object_ = np.insert(reader, trace.starts[1:], np.arange(trace.objects))
    until = np.insert(trace.read_day.astype(np.int64), trace.starts[1:], trace.days - 1)  # the read that ends the gap
    since = np.empty_like(until)  # the read that begins it; before the first: the day before creation
    since[1:] = until[:-1]
    since[np.concatenate(([0], ends[:-1] + 1))[: trace.objects]] = trace.created.astype(np.int64) - 1
    ended = np.ones(len(until), bool)  # by a read
    ended[ends] = False
    moving = np.ones(len(until), bool) if only is None else only[object_]
    objects, days, tiers = [], [], []
    for idle, tier in steps:
        force = since + idle + 1
        hit = np.flatnonzero(moving & (force <= until))
        objects.append(object_[hit])
        days.append(force[hit])
        tiers.append(np.full(len(hit), tier))
    back = np.flatnonzero(moving & ended & (until - since > steps[0][0]) & (until < trace.days - 1))
    objects.append(object_[back])
    days.append(until[back] + 1)
    tiers.append(np.zeros(len(back), np.int64))
    return _settled(trace, objects, days, tiers)


def stay(trace: Trace) -> Stays:
    """Nothing ever moves."""
    return by_age(trace, ())


def _settled(trace: Trace, objects: list[Ints], days: list[Ints], tiers: list[Ints]) -> Stays:
    none = np.zeros(0, np.int64)
    return settle(trace, *(np.concatenate((none, *arrays)) for arrays in (objects, days, tiers)))
