"""What held-out days say of each policy: beside the best of the fixed ones in hindsight, and beside staying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from storaged.decide.simulate.run import STAY, SimulatedOutcome

WEEK: Final = 7  # days


@dataclass(frozen=True, slots=True)
class Week:
    """Days in a row. `first_day`: of the judged ones; `beside_staying`: what they cost more than staying (USD)."""

    first_day: int
    days: int
    beside_staying: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One policy on days that it was not made from. `regret`: what it cost more than the best fixed policy (USD)."""

    outcome: SimulatedOutcome
    regret: Decimal
    worst: Week


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of them; `best`: the fixed policy that was cheapest, as one knows afterwards."""

    best: str
    policies: tuple[Evaluated, ...]


def judge(found: Sequence[SimulatedOutcome]) -> Evaluation:
    """What a simulation's outcomes say, all of the same days."""
    fixed = [outcome for outcome in found if outcome.fixed]
    best = min(fixed, key=lambda outcome: outcome.amount.total)
    stayed = next(outcome for outcome in found if outcome.name == STAY)
    least = best.amount.rounded().total
    judged = (Evaluated(o, o.amount.rounded().total - least, worst_week(o, stayed)) for o in found)
    return Evaluation(best.name, tuple(judged))


def by_week(outcome: SimulatedOutcome) -> list[float]:
    """What it cost week by week, from its first day (USD). The last may have fewer days."""
    begins = np.arange(0, len(outcome.daily), WEEK)
    return [float(cost) for cost in np.add.reduceat(outcome.daily, begins)]


def worst_week(outcome: SimulatedOutcome, stayed: SimulatedOutcome) -> Week:
    """The first of the weeks in which it cost most beside staying."""
    beside = [ours - theirs for ours, theirs in zip(by_week(outcome), by_week(stayed), strict=True)]
    worst = int(np.argmax(beside))
    return Week(worst * WEEK, min(WEEK, len(outcome.daily) - worst * WEEK), beside[worst])
