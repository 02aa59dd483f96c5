"""Ways to decide, weighed by what they would have cost."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np
import pytest

from storaged.clock import DAY
from storaged.decide.forecast.hedge import weigh
from storaged.decide.forecast.history import History
from storaged.decide.forecast.model import BREAK_EVEN, EVERY, MEMORY, STAY
from storaged.decide.simulate.tariff import Tariff
from storaged.decide.simulate.trace import Trace
from storaged.prices.load import load_prices
from tests.forecast.made import cooling, made, shuffled_after, steady

HALF_LIFE = 30 * DAY
CLASSES = ("standard", "standard-ia", "glacier-ir")


@pytest.fixture(scope="module")
def tariff() -> Tariff:
    """Three classes of S3."""
    book = load_prices(None)
    return Tariff.of([book.classes[f"aws/us-east-1/{name}"] for name in CLASSES])


def _large(trace: Trace) -> Trace:
    """The same with objects of 1 GiB, which are worth moving."""
    return dataclasses.replace(trace, sizes=trace.sizes << 10, read_bytes=trace.read_bytes << 10)


def test_where_all_cools_for_good_staying_loses_its_weight(tariff: Tariff) -> None:
    found = weigh(History.of(_large(made(cooling(5), 200, 400))), tariff, HALF_LIFE, 400, (30, 90))
    weights = found[EVERY]
    assert sum(weights.values()) == pytest.approx(1)
    assert set(weights) == {STAY, MEMORY, BREAK_EVEN, "forecast-30d", "forecast-90d"}
    assert weights[STAY] < 0.3  # 0.47 before anything was known


def test_where_all_is_read_all_the_time_no_way_beats_staying(tariff: Tariff) -> None:
    found = weigh(History.of(_large(made(steady(1.0, 4.0), 100, 300, old=True))), tariff, HALF_LIFE, 300, (30,))
    assert found[EVERY][STAY] >= 0.4


def test_each_dataset_is_weighed_by_itself(tariff: Tariff) -> None:
    cold, hot = (
        _large(made(steady(0.0005, 1.0), 100, 300, old=True)),
        _large(made(steady(2.0, 2.0), 100, 300, old=True)),
    )
    both = dataclasses.replace(
        cold,
        created=np.zeros(200, np.int32),
        sizes=np.concatenate((cold.sizes, hot.sizes)),
        starts=np.concatenate((cold.starts, hot.starts[1:] + cold.starts[-1])),
        read_day=np.concatenate((cold.read_day, hot.read_day)),
        reads=np.concatenate((cold.reads, hot.reads)),
        read_bytes=np.concatenate((cold.read_bytes, hot.read_bytes)),
        datasets=("cold", "hot"),
        dataset=np.repeat(np.array([0, 1], np.int32), 100),
    )
    found = weigh(History.of(both), tariff, HALF_LIFE, 300, (30,))
    assert found["cold"][STAY] < 0.2 < found["hot"][STAY]
    only = weigh(History.of(both), tariff, HALF_LIFE, 300, (30,), np.array([True, False]))
    assert set(only) == {"cold", EVERY}


def test_the_future_changes_no_weight(tariff: Tariff) -> None:
    trace = _large(made(cooling(8), 200, 250))
    one, other = (History(t, t.created, (((0, 250),),), 0) for t in (trace, shuffled_after(trace, 200)))
    assert weigh(one, tariff, HALF_LIFE, 200, (30,)) == weigh(other, tariff, HALF_LIFE, 200, (30,))


def test_days_that_are_not_known_teach_nothing(tariff: Tariff) -> None:
    """A log that tells of nothing for months, by its window: what was cheap then is not known."""
    trace = _large(made(steady(1.0, 4.0), 50, 400, old=True))
    kept = trace.read_day < 200
    object_ = trace.read_object()
    silent = dataclasses.replace(
        trace,
        starts=np.searchsorted(object_[kept], np.arange(trace.objects + 1)),
        read_day=trace.read_day[kept],
        reads=trace.reads[kept],
        read_bytes=trace.read_bytes[kept],
    )
    holed = History(silent, silent.created, (((0, 200),),), 0)
    believed = History(silent, silent.created, (((0, 400),),), 0)
    of_holed, of_believed = (weigh(one, tariff, HALF_LIFE, 400, (30,))[EVERY][STAY] for one in (holed, believed))
    assert of_holed >= 0.47  # as before anything was known
    assert of_believed < 0.465


def test_too_few_days_or_one_tier_weigh_nothing(tariff: Tariff) -> None:
    history = History.of(made(cooling(5), 50, 80))
    assert weigh(history, tariff, HALF_LIFE, 80, (30,)) == {}
    one = Tariff(tariff.classes[:1], (Decimal(0),))
    assert weigh(History.of(made(cooling(5), 50, 200)), one, HALF_LIFE, 200, (30,)) == {}
