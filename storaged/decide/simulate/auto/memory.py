"""What is remembered of reads: decayed rates at several half-lives.

A rate is the sum of a^age·reads over the days, times 1 - a, where a halves in so many days: the posterior mean of a
gamma-Poisson whose prior is a whole memory without reads, and which forgets (West and Harrison, Bayesian Forecasting
and Dynamic Models, 1997, chapter 10.8). So a long memory is slow to believe in a few reads, and slow to forget many.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from storaged.decide.simulate.auto.costs import Reads
from storaged.decide.simulate.tariff import Floats

_FAST_DAYS: Final = 2
_YEAR_DAYS: Final = 365
_BURST_DAYS: Final = 3
_ONE_DAY_AT_MOST: Final = 0.25  # of an object's bytes count of one day in `lasting`: a single full read is no burst
_TOUCHED: Final = 0.02  # of an object's bytes on one day: less is no use of it


def decay(half_life_days: float) -> float:
    """What is left of a count after a day."""
    return 0.0 if half_life_days == 0 else 2 ** (-1 / half_life_days)


BURST_SPAN: Final = 1 / (1 - decay(_BURST_DAYS))  # days that a burst's memory has, all in all


class ReadMemory:
    """Of all objects of a trace. Rows are reads and bytes; rates are per day, sums of bursts are not."""

    def __init__(self, sizes: Floats, slow_days: tuple[float, ...]) -> None:
        """`slow_days`: a half-life for each rule; 0: it has no memory of its own."""
        objects = len(sizes)
        self._sizes = np.maximum(sizes, 1)
        self._fast = np.zeros((2, objects))
        self.year = np.zeros((2, objects))
        self.burst = np.zeros((2, objects))  # what was read in the last days
        self.lasting = np.zeros((2, objects))  # of it what did not come all on one day
        self._kept = np.array([decay(days) for days in slow_days])[:, None]
        self._slow = np.zeros((2, len(slow_days), objects))
        self.idle = np.zeros(objects, np.int32)  # days without use

    def see(self, reads: Reads, born: int) -> None:
        """Take a day in. `born`: so many objects exist."""
        for rates, days in ((self._fast, _FAST_DAYS), (self.year, _YEAR_DAYS)):
            rates[:, :born] *= decay(days)
        for sums in (self.burst, self.lasting):
            sums[:, :born] *= decay(_BURST_DAYS)
        self._slow[..., :born] *= self._kept
        self.idle[:born] += 1
        objects, both = reads.objects, np.stack((reads.counts, reads.nbytes))
        self._fast[:, objects] += both * (1 - decay(_FAST_DAYS))
        self.year[:, objects] += both * (1 - decay(_YEAR_DAYS))
        self._slow[..., objects] += both[:, None] * (1 - self._kept)
        self.burst[:, objects] += both
        sizes = self._sizes[objects]
        self.lasting[:, objects] += both * np.minimum(_ONE_DAY_AT_MOST * sizes / np.maximum(reads.nbytes, 1), 1)
        self.idle[objects[reads.nbytes > _TOUCHED * sizes]] = 0

    def highest(self, born: int) -> Floats:
        """By rule: the highest of its rates, of reads and of bytes."""
        least = np.maximum(self._fast[:, :born], self.year[:, :born])
        found: Floats = np.maximum(least[:, None], self._slow[..., :born])
        return found
