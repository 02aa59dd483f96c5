"""Heat: how often, and how many bytes of, an object are read per day, decayed. Standard library only.

Forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward Decay: A Practical Time Decay Model for Streaming
Systems", ICDE 2009): instead of shrinking every counter as time passes, weigh each event by e^(λ·its own time), and
divide by e^(λ·now) only when asked. What is stored never changes with time, so a threshold on today's rate is a
range of stored values, and an index finds it.

With the rollup of day d (days since 1970 UTC) standing at its midday, λ = ln 2 / half-life in days, and c_d its count:

    score = ln Σ_d c_d · e^(λ·(d + ½))          the logarithm, because e^(λ·20000) soon leaves a double's range

The decayed count at time t (in days) is N(t) = e^(score − λ·t). A steady stream of c per day has, over all its past,
N = ∫ c·e^(−λ·u) du for u from 0 to ∞ = c/λ; so the rate that would explain N(t) is

    rate(t) = λ · e^(score − λ·t)               per day

Daily rollups of a steady stream give c·λ/(2·sinh(λ/2)) at a day's end: for a half-life of 30 days 0.002 % under c.
Within a day the rate is off by at most a factor e^(λ/2), 1.2 %. No read at all has no score (None) and the rate 0.

Beside it stands a score that is forgotten RECENT times as fast: forecasts ask what the last days were like. What
`tier: auto` remembers is scored alike, with half-lives of its own: reads and bytes of about a YEAR, of the last DAYS,
and of these what came on the one day that counts most. The greatest of decayed counts decays as their sum does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from storaged.clock import DAY

RECENT = 6  # times as fast the score of recent reads halves
YEAR = 365 * DAY  # half-lives of what `tier: auto` remembers
DAYS = 2 * DAY
REMEMBERED = ("year_reads", "year_bytes", "days_reads", "days_bytes", "day_reads", "day_bytes")
_LARGEST_EXPONENT = 700.0  # e^709 is the largest double


def decay_rate(half_life_us: int) -> float:
    """λ per day for a half-life in microseconds. Raises ValueError unless it is positive."""
    if half_life_us <= 0:
        raise ValueError(f"a half-life of {half_life_us} us is not positive")
    return math.log(2) / (half_life_us / DAY)


def recent(half_life_us: int) -> int:
    """The half-life of recent reads beside one (microseconds)."""
    return half_life_us // RECENT


def score(counts: Iterable[tuple[int, int]], half_life_us: int) -> float | None:
    """The forward-decayed log score of (day, count) rollups, days since 1970 UTC; None where nothing was counted.

    Sums in ascending order of days whatever the order given, so equal rollups have equal scores, bit by bit.
    """
    counted = sorted((day, count) for day, count in counts if count > 0)
    if not counted:
        return None
    decay = decay_rate(half_life_us)
    last = counted[-1][0]  # factored out of the sum: every exponent is at most 0
    total = sum(count * math.exp(decay * (day - last)) for day, count in counted)
    return decay * (last + 0.5) + math.log(total)


def rate(score: float | None, at_us: int, half_life_us: int) -> float:
    """The rate per day that a score means at an instant (microseconds since 1970); infinity if no double holds it."""
    if score is None:
        return 0.0
    decay = decay_rate(half_life_us)
    exponent = score - decay * (at_us / DAY)
    return decay * math.exp(exponent) if exponent < _LARGEST_EXPONENT else math.inf


def threshold(rate_per_day: float, at_us: int, half_life_us: int) -> float:
    """The score at which `rate` is `rate_per_day` at that instant: rate(s) < rate_per_day <=> s < threshold.

    (Up to the last bits of a double.) An object without a score is below every positive rate: in SQL say
    `heat IS NULL OR heat < threshold`. Raises ValueError for a negative rate.
    """
    if rate_per_day < 0:
        raise ValueError(f"a rate of {rate_per_day} per day is negative")
    decay = decay_rate(half_life_us)
    return math.log(rate_per_day / decay) + decay * (at_us / DAY) if rate_per_day > 0 else -math.inf
