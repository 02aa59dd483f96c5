"""The laws of forward-decayed heat."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storaged.clock import DAY
from storaged.heat import decay_rate, rate, score, threshold

days = st.integers(min_value=10_957, max_value=40_000)
rollups = st.dictionaries(days, st.integers(min_value=1, max_value=10**15), min_size=1, max_size=20)
half_lives = st.integers(min_value=DAY, max_value=3_650 * DAY)


@given(rollups, half_lives, st.randoms(use_true_random=False))
def test_the_order_of_rollups_changes_no_bit_of_the_score(counts, half_life_us, chance):
    shuffled = list(counts.items())
    chance.shuffle(shuffled)
    assert score(shuffled, half_life_us) == score(sorted(shuffled), half_life_us)


@given(rollups, half_lives)
def test_the_rate_halves_in_each_half_life_while_the_score_stays(counts, half_life_us):
    stored = score(counts.items(), half_life_us)
    at_us = max(counts) * DAY
    before = rate(stored, at_us, half_life_us)
    assert rate(stored, at_us + half_life_us, half_life_us) == pytest.approx(before / 2, rel=1e-9)


@given(rollups, days, half_lives)
def test_one_more_read_never_cools(counts, day, half_life_us):
    more = counts | {day: counts.get(day, 0) + 1}
    assert score(more.items(), half_life_us) >= score(counts.items(), half_life_us)


@given(rollups, half_lives, st.floats(min_value=1e-6, max_value=1e15), days)
def test_a_rate_is_under_a_limit_exactly_if_the_score_is_under_its_threshold(counts, half_life_us, limit, day):
    stored = score(counts.items(), half_life_us)
    found = rate(stored, day * DAY, half_life_us)
    assume(abs(found / limit - 1) > 1e-8)  # but for the last bits of a double
    assert (found < limit) == (stored < threshold(limit, day * DAY, half_life_us))


@given(rollups, half_lives, days)
def test_the_threshold_of_a_rate_is_the_score_that_it_came_from(counts, half_life_us, day):
    stored = score(counts.items(), half_life_us)
    found = rate(stored, day * DAY, half_life_us)
    assume(1e-300 < found < math.inf)
    assert threshold(found, day * DAY, half_life_us) == pytest.approx(stored, rel=1e-9)


@given(st.integers(1, 10**6), st.integers(5, 60), st.floats(0, 1))
def test_a_steady_count_per_day_over_many_half_lives_is_that_rate_at_any_time_of_the_day(count, half_life_days, hour):
    last = 20_000 + 30 * half_life_days
    stored = score(((day, count) for day in range(20_000, last)), half_life_days * DAY)
    at_us = round((last - 0.5 + hour) * DAY)  # from the middle of the last day that counted to the middle of the next
    slack = math.exp(decay_rate(half_life_days * DAY) / 2) - 1
    assert rate(stored, at_us, half_life_days * DAY) == pytest.approx(count, rel=slack + 1e-3)
    at_end = rate(stored, last * DAY, half_life_days * DAY)
    assert at_end == pytest.approx(count, rel=1e-3)


def test_what_was_never_read_has_no_score_and_the_rate_zero():
    assert score([], 30 * DAY) is None
    assert score([(20_000, 0)], 30 * DAY) is None
    assert rate(None, 20_000 * DAY, 30 * DAY) == 0


def test_no_rate_is_under_zero():
    assert threshold(0, 20_000 * DAY, 30 * DAY) == -math.inf
    with pytest.raises(ValueError, match="negative"):
        threshold(-1, 20_000 * DAY, 30 * DAY)


def test_a_half_life_must_be_positive():
    with pytest.raises(ValueError, match="not positive"):
        decay_rate(0)


def test_a_rate_that_no_double_holds_is_infinite():
    assert rate(score([(20_000, 1)], DAY), 0, DAY) == math.inf
