"""What happened: objects and their reads by whole UTC days, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Days = NDArray[np.int32]
Places = NDArray[np.int8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trace:
    """Objects in the order of their first days, and their reads in the order of objects and days.

    Days count from the trace's first (0). Reads are of one object on one day together; each has at least one. Days
    before `opens` are known, and nothing moves at their ends.
    """

    days: int
    created: Days  # by object: its first day
    sizes: Ints  # by object: bytes
    starts: Ints  # by object: where its reads begin; one more at the end
    read_day: Days  # by row
    reads: Ints  # by row: at least 1
    read_bytes: Ints  # by row
    datasets: tuple[str, ...] = ()  # names, where known
    dataset: Days | None = None  # by object: which of these
    formats: tuple[str, ...] = ()  # likewise
    format: Days | None = None
    home: Places | None = None  # by object: the place that it begins in; None: the first
    stored: tuple[Ints, ...] = ()  # by place, by object: bytes that it takes there; empty: its size anywhere
    masks: tuple[Mask, ...] = ()  # by object: whether what a policy asks of what never changes holds
    opens: int = 0

    @property
    def objects(self) -> int:
        return len(self.created)

    def parts(self, objects: int) -> Iterator[Trace]:
        """The same in pieces of at most so many objects."""
        for begin in range(0, self.objects, objects):
            end = min(begin + objects, self.objects)
            rows = slice(int(self.starts[begin]), int(self.starts[end]))
            yield replace(
                self,
                created=self.created[begin:end],
                sizes=self.sizes[begin:end],
                starts=self.starts[begin : end + 1] - self.starts[begin],
                read_day=self.read_day[rows],
                reads=self.reads[rows],
                read_bytes=self.read_bytes[rows],
                dataset=None if self.dataset is None else self.dataset[begin:end],
                format=None if self.format is None else self.format[begin:end],
                home=None if self.home is None else self.home[begin:end],
                stored=tuple(sizes[begin:end] for sizes in self.stored),
                masks=tuple(mask[begin:end] for mask in self.masks),
            )

    def until(self, day: int) -> Trace:
        """What was known at the end of the day before: its first so many days, and what there was on them."""
        there = self.some(np.arange(np.searchsorted(self.created, day)))
        return there._reads(np.flatnonzero(there.read_day < day), days=day)

    def held_out(self) -> Trace:
        """The days from `opens` on alone. What is older begins with them."""
        found = self._reads(np.flatnonzero(self.read_day >= self.opens), days=self.days - self.opens)
        created = np.maximum(self.created - self.opens, 0)
        return replace(found, created=created, read_day=found.read_day - np.int32(self.opens), opens=0)

    def some(self, objects: Ints) -> Trace:
        """The same of some objects alone, whose numbers rise."""
        chosen = np.zeros(self.objects, bool)
        chosen[objects] = True
        rows = np.flatnonzero(chosen[self.read_object()])
        starts = np.concatenate(([0], np.cumsum(np.diff(self.starts)[objects])))
        return replace(
            self,
            created=self.created[objects],
            sizes=self.sizes[objects],
            starts=starts,
            read_day=self.read_day[rows],
            reads=self.reads[rows],
            read_bytes=self.read_bytes[rows],
            dataset=None if self.dataset is None else self.dataset[objects],
            format=None if self.format is None else self.format[objects],
            home=None if self.home is None else self.home[objects],
            stored=tuple(sizes[objects] for sizes in self.stored),
            masks=tuple(mask[objects] for mask in self.masks),
        )

    def _reads(self, rows: Ints, days: int) -> Trace:
        """The same with some of its rows alone, in so many days."""
        return replace(
            self,
            days=days,
            starts=np.searchsorted(rows, self.starts),
            read_day=self.read_day[rows],
            reads=self.reads[rows],
            read_bytes=self.read_bytes[rows],
        )

    def bare(self) -> Trace:
        """The same where there is one place and one form."""
        return replace(self, home=None, stored=())

    def begins(self) -> Places:
        """By object: the place that it begins in."""
        return np.zeros(self.objects, np.int8) if self.home is None else self.home

    def stored_in(self, place: int) -> Ints:
        """By object: bytes that it takes in a place."""
        return self.stored[place] if self.stored else self.sizes

    def read_in(self, place: int) -> Ints:
        """By row: bytes that are read there, fewer where less is stored."""
        if not self.stored or self.stored[place] is self.sizes:
            return self.read_bytes
        share = self.stored[place] / np.maximum(self.sizes, 1)
        return np.rint(self.read_bytes * share[self.read_object()]).astype(np.int64)

    def read_object(self) -> Ints:
        """By row: which object was read."""
        return np.repeat(np.arange(self.objects), np.diff(self.starts))


@dataclass(frozen=True, slots=True)
class ReadsByDay:
    """The rows of a trace in the order of days."""

    rows: Ints
    objects: Ints
    starts: Ints  # by day

    @classmethod
    def of(cls, trace: Trace) -> ReadsByDay:
        """Sorted once, so that a loop over days finds each day's rows together."""
        rows = np.argsort(trace.read_day, kind="stable")
        starts = np.searchsorted(trace.read_day[rows], np.arange(trace.days + 1))
        return cls(rows, trace.read_object()[rows], starts)

    def on(self, day: int) -> slice:
        """Where that day's are in `rows` and `objects`."""
        return slice(int(self.starts[day]), int(self.starts[day + 1]))
