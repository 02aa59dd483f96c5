"""Rules weighed by what they would have cost, and the middle of them.

Hedge (Freund and Schapire, 1997): a rule's weight is its prior times exp(-eta·loss). All rules' losses are known each
day, for what an object's reads would have cost in any tier is. The loss of a rule about an object is in days of
storage at the base: its own so far, and the mean of its dataset for as many days as that is known, `DATASET_DAYS` at
most; so a new object inherits, and a burst in one dataset says nothing of another. The weighted mean of the rules
loses at most log(1 / prior) / eta + eta·T·r² / 8 more than any of them in T days on which rules differ by at most r
(Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006, theorem 2.2 and section 2.8). An object cannot be in
several tiers, so it is where the weighted median of the rules has it, which costs at most twice what the mean does,
and its moves. It goes back towards its base where rules of the weight `_SURE` have it there, for that costs most.

Days on which nothing of a dataset was read teach nothing until they are more than `_SILENT_DAYS` together: they may
be a hole in the log, and unknown is not cold.

Where a dataset has cost more than `_MOST` times what staying would have, nothing of it leaves its base until it has
not: as Conservative Bandits do (Wu, Shariff, Lattimore and Szepesvári, 2016), with the cost of a day's surprise beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from storaged.decide.simulate.tariff import Floats
from storaged.decide.simulate.trace import Days, Ints, Places

ETA: Final = 1 / 110  # per day of storage: a return costs some 55, so that two of them are much
DATASET_DAYS: Final = 1000
_LEAST: Final = 1e-12  # USD
_HALF: Final = 0.5
_SURE: Final = 0.75
_SILENT_DAYS: Final = 60
_MOST: Final = 1.02


class Mixture:
    """Of one set of rules, the first of which stays. `order`: the tiers from the dearest to keep to the cheapest."""

    def __init__(self, prior: Floats, order: Sequence[int], dataset: Days, datasets: int) -> None:
        """`prior`: of each rule, or of each rule and object."""
        self._log_prior = np.log(prior)
        self._order = order
        self._dataset = dataset
        self._own = np.zeros((len(prior), len(dataset)))
        self._total = np.zeros((len(prior), datasets))  # USD, beside staying
        self._silent = np.zeros(datasets, np.int64)  # days
        self._stakes = np.zeros(datasets)  # USD that staying stores for
        self._stayed = np.zeros(datasets)  # USD that staying has cost
        self._spent = np.zeros(datasets)  # USD
        self._days = np.zeros(datasets)
        self._dearest = np.argsort(order)  # by tier: its place in the order

    def learn(self, costs: Floats, stakes: Floats, read: Ints) -> None:
        """Take in what a day has cost each rule by object. `stakes`: a day of storage at the base; `read`: objects that
        were."""
        born = len(stakes)
        self._silent += 1
        self._silent[self._dataset[read]] = 0
        heard = (self._silent == 0) | (self._silent > _SILENT_DAYS)
        known = np.where(heard[self._dataset[:born]], stakes, 0.0)
        beside = (costs - costs[0]) * (known > 0)
        self._own[:, :born] += beside / stakes
        self._total += [self._by_dataset(of_rule) for of_rule in beside]
        of_day = self._by_dataset(known)
        self._stakes += of_day
        self._days += of_day > 0

    def spend(self, costs: Floats, stayed: Floats) -> None:
        """Take in what a day has cost by object, as it was, and what it would have cost at the base."""
        self._spent += self._by_dataset(costs)
        self._stayed += self._by_dataset(stayed)

    def _by_dataset(self, values: Floats) -> Floats:
        found: Floats = np.bincount(self._dataset[: len(values)], weights=values, minlength=len(self._days)).astype(
            float
        )
        return found

    def weights(self, born: int) -> Floats:
        """By rule and object; they add up to 1."""
        mean = self._total / np.maximum(self._stakes, np.finfo(float).tiny)
        known = mean * np.minimum(self._days, DATASET_DAYS)
        loss = self._own[:, :born] + known[:, self._dataset[:born]]
        logs = self._log_prior[:, :born] - ETA * loss
        found: Floats = np.exp(logs - logs.max(axis=0))
        found /= found.sum(axis=0)
        return found

    def middle(self, tiers: Places, here: Places) -> Places:
        """Where the weighted median of the rules' tiers has each object, which is `here`."""
        born = len(here)
        weights = self.weights(born)
        ranks = self._dearest[tiers]
        near, far = np.zeros(born, np.int64), np.zeros(born, np.int64)
        for number in range(1, len(self._order)):
            beyond = (weights * (ranks >= number)).sum(axis=0)
            near += beyond > _HALF
            far += beyond > 1 - _SURE
        rank = self._dearest[here]
        waits = (self._spent > _MOST * self._stayed)[self._dataset[:born]]
        rank = np.minimum(np.where(waits, rank, np.maximum(rank, near)), far)
        found: Places = np.array(self._order, np.int8)[rank]
        return found


def stakes_of(keep: Floats, base: Places) -> Floats:
    """A day of storage at the base, by object; never 0."""
    found: Floats = np.maximum(keep[base, np.arange(len(base))], _LEAST)
    return found
