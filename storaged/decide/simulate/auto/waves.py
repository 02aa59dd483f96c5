"""Reads that come over a whole dataset at once: what they say of each of its objects.

One full read of one object is no burst. Where much of what a dataset has away from its base is read within a few days,
its siblings tell that it is one: then what was read today is brought back for what a burst takes, though it was read
only once.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Days, Ints, Mask

_KEPT: Final = 0.75  # of what was read, each day
_MUCH: Final = 0.4  # of what is away, by a day's storage of it


class Waves:
    """Of some rules, by dataset."""

    def __init__(self, rules: int, dataset: Days, datasets: int) -> None:
        self._dataset = dataset
        self._read = np.zeros((rules, datasets))

    def see(self, stakes: Floats, away: Mask, objects: Ints, shares: Floats) -> Mask:
        """Take a day in; returns by rule and object whether it was read in a wave. `stakes`: a day of storage at the
        base; `away`: by rule and object, whether it has left that; `objects`: that were read; `shares`: by rule and
        read object, what of it was read, 1 at most."""
        found = np.zeros(away.shape, bool)
        dataset = self._dataset[: len(stakes)]
        for rule, read in enumerate(self._read):
            read *= _KEPT
            hit = stakes[objects] * away[rule, objects] * shares[rule]
            read += np.bincount(dataset[objects], weights=hit, minlength=len(read))
            all_away = np.bincount(dataset, weights=stakes * away[rule], minlength=len(read))
            wave = (read > _MUCH * all_away) & (all_away > 0)
            found[rule, objects] = wave[dataset[objects]]
        return found
