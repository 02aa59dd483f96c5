"""The past as samples: what was known of each object on some days, and how often it was read in the days after.

A day is *known* of a dataset where some heat source covers it. A sample lies within one stretch of known days: counts
and exposure begin with the stretch, and all days that are forecast are in it. Unknown is not cold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Days, Ints, Trace
from storaged.heat import decay_rate, recent

Stretch = tuple[int, int]  # known days: the first, and the one after the last
LEAST_DAYS: Final = 7  # of evidence before a sample: what began yesterday says little of what is to come
RECENT_DAYS: Final = 30
_ROBUST_SHARE: Final = 0.99
SILENT_DAYS: Final = 60
_CHANCE: Final = 1e-6
_ROUNDS: Final = 4
_OUTLIER: Final = 100  # times the count that 99 of 100 days of reads have: more counts as so much


@dataclass(frozen=True, slots=True)
class History:
    """A trace whose first day is `first_day` (since 1970); `born`: the day of creation of each object, below 0 where it
    is older; `known`: by dataset the stretches of days of which all reads are known, in order. A trace without datasets
    is one."""

    trace: Trace
    born: Days
    known: tuple[tuple[Stretch, ...], ...]
    first_day: int

    @classmethod
    def of(cls, trace: Trace, first_day: int = 0) -> History:
        """A trace that tells all reads of all its days, but for silences that no chance explains."""
        told = cls(trace, trace.created, (((0, trace.days),),) * max(len(trace.datasets), 1), first_day)
        return replace(told, known=heard(told))

    def since(self) -> dict[str, int]:
        """By dataset name the day (since 1970) from which reads are known without a break, where there was one."""
        found = {}
        for name, stretches in zip(self.names, self.known, strict=True):
            begin, end = stretches[-1] if stretches else (self.trace.days, self.trace.days)
            if len(stretches) != 1 or end < self.trace.days:
                found[name] = self.first_day + (begin if end == self.trace.days else self.trace.days)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The datasets' names."""
        return self.trace.datasets or ("",)

    @property
    def dataset(self) -> Days:
        """By object: which of these."""
        return np.zeros(self.trace.objects, np.int32) if self.trace.dataset is None else self.trace.dataset


@dataclass(frozen=True, slots=True)
class PastReads:
    """What is known of objects at some instants: decayed counts of reads and of bytes (their sums, not rates), decayed
    days in which these were counted, age in days, size in bytes, and which dataset. `fresh_counts`, `fresh_exposure`:
    of reads too, decayed as recent heat is (storaged/heat.py::RECENT)."""

    counts: Floats
    nbytes: Floats
    exposure: Floats
    fresh_counts: Floats
    fresh_exposure: Floats
    age: Floats
    size: Floats
    dataset: Ints


@dataclass(frozen=True, slots=True)
class Samples:
    """What was seen of objects, and what came: `reads` and `read_bytes` in `days` days. `recent`: reads in the days
    before, no more than those of RECENT_DAYS."""

    seen: PastReads
    object: Ints
    origin: Ints
    days: int
    reads: Floats
    read_bytes: Floats
    recent: Floats
    recent_days: Floats

    def __len__(self) -> int:
        return len(self.object)


def heard(history: History) -> tuple[tuple[Stretch, ...], ...]:
    """The known stretches without silences: days in a row on which nothing of a dataset was read, though it is read on
    so many days that this would come about by chance once in `_CHANCE` such rows. They may be a hole in the log.

    Days count as independent, with the share that they have from the dataset's first read to its last. A silence that
    lasts is believed once it is longer than SILENT_DAYS.
    """
    trace = history.trace
    key = history.dataset[trace.read_object()].astype(np.int64) * trace.days + trace.read_day
    active = np.zeros(len(history.names) * trace.days, bool)
    active[key] = True
    return tuple(
        tuple(_without_silence(stretches, of_dataset))
        for stretches, of_dataset in zip(history.known, active.reshape(len(history.names), trace.days), strict=True)
    )


def _without_silence(stretches: tuple[Stretch, ...], active: NDArray[np.bool_]) -> Iterator[Stretch]:
    days = np.flatnonzero(active)
    if len(days) < 2:
        yield from stretches
        return
    silences = np.diff(days) - 1
    longest = np.inf
    for _ in range(_ROUNDS):  # a hole is no day without reads: what is left of the days tells the share
        usual = silences[silences <= longest]
        quiet = usual.sum() / (usual.sum() + len(days))
        longest = np.log(_CHANCE) / np.log(quiet) if quiet > 0 else 0.0
        longest = max(longest, 1.0)
    holes = [(int(days[i]) + 1, int(days[i + 1])) for i in np.flatnonzero(silences > longest)]
    if longest < len(active) - 1 - days[-1] <= SILENT_DAYS:
        holes.append((int(days[-1]) + 1, len(active)))
    for begin, end in stretches:
        for from_, until in holes:
            if begin < until and from_ < end:
                if begin < from_:
                    yield begin, from_
                begin = until
        if begin < end:
            yield begin, end


def sampled(history: History, most: int) -> History:
    """The same of so many objects at most, evenly from its order."""
    trace = history.trace
    step = -(-trace.objects // most)
    if step <= 1:
        return history
    taken = np.arange(0, trace.objects, step)
    return replace(history, trace=trace.some(taken), born=history.born[taken])


def exposure(days: NDArray[np.float64] | float, half_life_us: int) -> Floats:
    """Decayed days: what a count of one a day for so many days decays to (the integral of e^(-λu))."""
    decay = decay_rate(half_life_us)
    found: Floats = -np.expm1(-decay * np.maximum(days, 0.0)) / decay
    return found


def ordinary(history: History, until: int) -> tuple[Floats, int]:
    """By row of the trace, how many of its reads count, and for how many rows that is not all; by what was usual before
    the day `until`. One object that is read a million times on one day would else be all that there is to learn."""
    trace = history.trace
    counts = trace.reads.astype(np.float64)
    of_row = history.dataset[trace.read_object()]
    most = np.full(len(history.names), np.inf)
    order = np.argsort(of_row, kind="stable")
    order = order[trace.read_day[order] < until]
    starts = np.searchsorted(of_row[order], np.arange(len(history.names) + 1))
    for number, (begin, end) in enumerate(pairwise(starts)):
        if begin < end:
            usual = np.quantile(counts[order[begin:end]], _ROBUST_SHARE, method="lower")
            most[number] = _OUTLIER * usual
    limit = most[of_row]
    return np.minimum(counts, limit), int((counts > limit).sum())


def samples(
    history: History, origins: list[int], days: int, half_life_us: int, counts: Floats | None = None
) -> Samples:
    """What was known at the begin of each of these days of the trace, and what came in so many days from it on.

    Only of objects that existed, and whose dataset's reads are known of all these days and of LEAST_DAYS before.
    `counts`: reads by row, where not all count.
    """
    found = [_at(history, origin, days, half_life_us, counts) for origin in origins]
    return _joined(found, days)


def _at(history: History, origin: int, days: int, half_life_us: int, given: Floats | None) -> Samples:
    trace, decay = history.trace, decay_rate(half_life_us)
    begins = np.array([_begin(stretches, origin, days) for stretches in history.known])
    since = np.maximum(begins[history.dataset], history.born)
    taken = np.flatnonzero((begins[history.dataset] >= 0) & (since < origin))
    of_row = trace.read_object()
    reads = trace.reads.astype(np.float64) if given is None else given
    nbytes = trace.read_bytes.astype(np.float64)

    def summed(values: Floats, which: NDArray[np.bool_]) -> Floats:
        return np.bincount(of_row[which], weights=values[which], minlength=trace.objects)[taken].astype(np.float64)

    before = trace.read_day < origin
    past = np.maximum(origin - 0.5 - trace.read_day, 0.0)
    weight = np.exp(-decay * past)
    fast_us = recent(half_life_us)
    after = (trace.read_day >= origin) & (trace.read_day < origin + days)
    lately = before & (trace.read_day >= np.maximum(origin - RECENT_DAYS, begins[history.dataset][of_row]))
    seen = PastReads(
        counts=summed(reads * weight, before),
        nbytes=summed(nbytes * weight, before),
        exposure=exposure((origin - since[taken]).astype(np.float64), half_life_us),
        fresh_counts=summed(reads * np.exp(-decay_rate(fast_us) * past), before),
        fresh_exposure=exposure((origin - since[taken]).astype(np.float64), fast_us),
        age=(origin - history.born[taken]).astype(np.float64),
        size=trace.sizes[taken].astype(np.float64),
        dataset=history.dataset[taken].astype(np.int64),
    )
    return Samples(
        seen,
        taken.astype(np.int64),
        np.full(len(taken), origin, np.int64),
        days,
        summed(reads, after),
        summed(nbytes, after),
        summed(reads, lately),
        np.minimum(origin - since[taken], RECENT_DAYS).astype(np.float64),
    )


def _begin(stretches: tuple[Stretch, ...], origin: int, days: int) -> int:
    """Since when the days before an origin are known, if those after it are as well; else -1."""
    for begin, end in stretches:
        if begin + LEAST_DAYS <= origin and origin + days <= end:
            return begin
    return -1


def _joined(parts: list[Samples], days: int) -> Samples:
    def of(value: Callable[[Samples], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, np.int64), *map(value, parts)])

    return Samples(
        PastReads(
            counts=of(lambda part: part.seen.counts),
            nbytes=of(lambda part: part.seen.nbytes),
            exposure=of(lambda part: part.seen.exposure),
            fresh_counts=of(lambda part: part.seen.fresh_counts),
            fresh_exposure=of(lambda part: part.seen.fresh_exposure),
            age=of(lambda part: part.seen.age),
            size=of(lambda part: part.seen.size),
            dataset=of(lambda part: part.seen.dataset),
        ),
        object=of(lambda part: part.object),
        origin=of(lambda part: part.origin),
        days=days,
        reads=of(lambda part: part.reads),
        read_bytes=of(lambda part: part.read_bytes),
        recent=of(lambda part: part.recent),
        recent_days=of(lambda part: part.recent_days),
    )


def origins(history: History, until: int, days: int, most: int) -> list[int]:
    """Days of the trace to learn at, of which at least one dataset knows so many days before `until`; the newest first,
    at most so many. No two forecasts of the same object overlap."""

    def known(origin: int) -> bool:
        return any(_begin(stretches, origin, days) >= 0 for stretches in history.known)

    found: list[int] = []
    origin = until - days
    while origin >= LEAST_DAYS and len(found) < most:
        if known(origin):
            found.append(origin)
        origin -= days if found and found[-1] == origin else 1
    return found
