"""Growth: four of five times what comes is inside the interval, and nothing is known of the days after one's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from storaged.decide.growth import (
    LEAST,
    LONGEST,
    WAYS,
    WEEK,
    Backtest,
    Chances,
    backtest,
    interval,
    ways_on,
)
from tests.laws import tries

Floats = NDArray[np.float64]
Made = Callable[[np.random.Generator, NDArray[np.int64]], Floats]  # what came less what went on each day
AHEAD = (4, 13, 26, 52)
WEEKS, SERIES = 156, 30


def steady(chance: np.random.Generator, day: NDArray[np.int64]) -> Floats:
    return chance.gamma(2, 0.5, len(day))


def by_weekday(chance: np.random.Generator, day: NDArray[np.int64]) -> Floats:
    return steady(chance, day) * np.where(day % WEEK < 5, 1.3, 0.1)


def bursts(chance: np.random.Generator, day: NDArray[np.int64]) -> Floats:
    large = np.where(chance.random(len(day)) < 0.03, chance.lognormal(3, 1, len(day)), 0.0)
    return large + steady(chance, day) * 0.1


def growth(chance: np.random.Generator, day: NDArray[np.int64]) -> Floats:
    return steady(chance, day) * (1 + day / 365 * chance.uniform(0.3, 1))


def shrink(chance: np.random.Generator, day: NDArray[np.int64]) -> Floats:
    return steady(chance, day) * 0.5 - chance.gamma(0.5, 2, len(day))


def weekly(law: Made, chance: np.random.Generator, weeks: int = WEEKS) -> Floats:
    days: Floats = law(chance, np.arange(weeks * WEEK)) * chance.lognormal(20, 2)
    return days.reshape(weeks, WEEK).sum(1)


def tried(law: Made) -> list[Backtest]:
    chance = np.random.default_rng(3)
    each = [list(backtest(weekly(law, chance), chance, AHEAD, 26)) for _ in range(SERIES)]
    return [sum(its, Backtest(its[0].weeks, 0, 0)) for its in zip(*each, strict=True)]


@pytest.mark.parametrize("law", [steady, by_weekday, bursts, growth, shrink])
def test_four_of_five_truths_are_inside_the_interval(law: Made) -> None:
    found = tried(law)
    whole = sum(found, Backtest(0, 0, 0))
    assert whole.forecasts == SERIES * (6 + 6 + 4 + 2)
    assert 0.7 <= whole.inside / whole.forecasts <= 0.9
    assert [one.weeks for one in found] == list(AHEAD)
    assert all(one.inside / one.forecasts >= 0.65 for one in found)


def drawn(its: Floats, ahead: int = 52) -> Floats:
    return ways_on(its, ahead, Chances.of(np.random.default_rng(1)), np.random.default_rng(2))


series = st.lists(st.floats(-1e12, 1e15, allow_subnormal=False), min_size=LEAST, max_size=130).map(np.array)


@tries(40)
@given(series)
def test_the_ends_are_around_what_is_expected_and_every_number_is_one(its: Floats) -> None:
    ways = drawn(its)
    low, mean, high = interval(ways)
    assert ways.shape == (WAYS, 52)
    assert np.isfinite(ways).all()
    assert (low <= mean).all()
    assert (mean <= high).all()


@tries(40)
@given(series)
def test_how_far_one_asks_changes_nothing_of_what_is_said(its: Floats) -> None:
    assert np.array_equal(drawn(its)[:, :9], drawn(its, 9))


def test_another_unit_is_another_unit_and_nothing_else() -> None:
    its = weekly(bursts, np.random.default_rng(5), 60)
    assert np.allclose(drawn(its) * 1024, drawn(its * 1024))


def test_what_stands_still_stands_still_and_what_always_grows_by_as_much_goes_on() -> None:
    assert not drawn(np.zeros(40)).any()
    assert np.allclose(drawn(np.full(40, 7.0)).mean(0), 7.0 * np.arange(1, 53))


def test_what_is_older_than_the_longest_past_does_not_count() -> None:
    its = weekly(steady, np.random.default_rng(5), LONGEST)
    assert np.array_equal(drawn(its), drawn(np.concatenate((np.full(20, 1e30), its))))


def test_the_further_ahead_the_less_is_known_and_the_shorter_the_past() -> None:
    its = weekly(steady, np.random.default_rng(5), LONGEST)

    def width(past: Floats) -> Floats:
        low, _, high = interval(drawn(past))
        return high - low

    assert (np.diff(width(its)) > 0).mean() > 0.9
    assert width(its[-26:])[-1] > 1.5 * width(its)[-1]


def test_a_forecast_that_was_off_makes_the_next_ones_wider() -> None:
    chance = np.random.default_rng(5)
    calm = weekly(steady, chance, LONGEST)
    jumps = calm * np.repeat(np.where(np.arange(8) % 2, 3.0, 0.3), 14)[:LONGEST]
    (low, _, high), (calm_low, _, calm_high) = interval(drawn(jumps)), interval(drawn(calm))
    assert high[12] - low[12] > 3 * (calm_high[12] - calm_low[12])


def test_a_backtest_sees_nothing_of_the_days_after_its_own() -> None:
    its = weekly(steady, np.random.default_rng(5), 40)
    other = its.copy()
    other[30:] = -1e20
    chance = [np.random.default_rng(1) for _ in range(2)]
    [before] = backtest(its[:30], chance[0], (4,), 2)
    [after] = backtest(other[:34], chance[1], (4,), 2)
    assert (before.forecasts, after.forecasts) == (7, 9)
    assert after.inside == before.inside > 0  # what cannot be known is missed, and all before it is as it was
