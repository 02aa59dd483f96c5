"""`auto` on made traces of one pattern each: not dearer than to leave all where it is.

docs/simulate.md says of which patterns that does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from storaged.clock import DAY
from storaged.decide.forecast.taught import teach
from storaged.decide.simulate.bill import amount, bill
from storaged.decide.simulate.rules import follow, unbound
from storaged.decide.simulate.stays import Stays, stay
from storaged.decide.simulate.tariff import Tariff
from storaged.decide.simulate.trace import Trace
from tests.simulate import slow
from tests.simulate.conftest import AWS, GB
from tests.simulate.slow import Thing

TARIFF = Tariff.of(AWS)
DAYS, OBJECTS = 420, 12


def thing(created: int, reads: Mapping[int, int], size: int = GB // 4) -> Thing:
    return Thing(created, size, {day: (count, count * size) for day, count in reads.items()})


PATTERNS = {
    "cold": [thing(0, {}) for _ in range(OBJECTS)],
    "hot": [thing(0, dict.fromkeys(range(DAYS), 2)) for _ in range(OBJECTS)],
    "ends of quarters": [thing(0, dict.fromkeys((d for d in range(DAYS) if d % 91 < 5), 3)) for _ in range(OBJECTS)],
    "each week": [thing(0, dict.fromkeys(range(k % 7, DAYS, 7), 1)) for k in range(OBJECTS)],
    "each month": [thing(0, dict.fromkeys(range(k, DAYS, 30), 1)) for k in range(OBJECTS)],
    "each 45 days": [thing(0, dict.fromkeys(range(0, DAYS, 45), 1)) for _ in range(OBJECTS)],
    "hot when new": [thing(k * 20, dict.fromkeys(range(k * 20, k * 20 + 20), 2)) for k in range(OBJECTS)],
    "a reader stops": [thing(0, dict.fromkeys(range(200), 1)) for _ in range(OBJECTS)],
    "a reader starts": [thing(0, dict.fromkeys(range(300, DAYS), 3)) for _ in range(OBJECTS)],
    "weekdays": [thing(0, dict.fromkeys((d for d in range(DAYS) if d % 7 < 5), 1)) for _ in range(OBJECTS)],
    "large and seldom": [thing(0, {37 * k % DAYS: 1, 101 * k % DAYS: 1}, 50 * GB) for k in range(OBJECTS)],
    "tiny": [thing(0, {37 * k % DAYS: 3, 101 * k % DAYS: 3}, 8_000) for k in range(OBJECTS)],
    "a hole": [thing(0, dict.fromkeys((*range(100), *range(170, DAYS)), 1)) for _ in range(OBJECTS)],
}


def cost(trace: Trace, stays: Stays) -> float:
    """USD, all in all."""
    return float(amount(TARIFF, bill(trace, stays, TARIFF).uses).total)


@pytest.mark.every(2)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_costs_no_more_than_to_stay(pattern: str) -> None:
    """But for one part in twenty."""
    trace = slow.trace_of(PATTERNS[pattern], DAYS)
    stays = follow(trace, [unbound(AWS)], 30 * DAY, TARIFF, None, teach(trace, TARIFF, 30 * DAY, [180.0]))
    assert cost(trace, stays) <= 1.05 * cost(trace, stay(trace))
    if pattern in ("cold", "large and seldom"):
        assert set(stays.tier.tolist()) != {0}, "it never goes down: the law says nothing"
