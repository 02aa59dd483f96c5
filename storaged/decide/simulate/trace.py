"""What happened: objects and their reads by whole UTC days, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Days = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Trace:
    """Objects in the order of their first days, and their reads in the order of objects and days.

    Days count from the trace's first (0). Reads are of one object on one day together; each has at least one.
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

    @property
    def objects(self) -> int:
        return len(self.created)

    def parts(self, objects: int) -> Iterator[Trace]:
        """The same in pieces of at most so many objects."""
        for begin in range(0, self.objects, objects):
            end = min(begin + objects, self.objects)
            rows = slice(int(self.starts[begin]), int(self.starts[end]))
            yield Trace(
                self.days,
                self.created[begin:end],
                self.sizes[begin:end],
                self.starts[begin : end + 1] - self.starts[begin],
                self.read_day[rows],
                self.reads[rows],
                self.read_bytes[rows],
                self.datasets,
                None if self.dataset is None else self.dataset[begin:end],
            )

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
