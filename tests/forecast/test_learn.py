"""What is learnt of pasts whose law is known, and that no day after the cut is looked at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from storaged.clock import DAY
from storaged.decide.forecast import judge
from storaged.decide.forecast.history import History, Samples, ordinary, origins, sampled, samples
from storaged.decide.forecast.learn import MOST_ORIGINS, learn
from storaged.decide.forecast.model import EVERY, ForecastModel
from storaged.errors import UsageError
from tests.forecast.made import Rates, cooling, made, shuffled_after, steady

HALF_LIFE = 30 * DAY


def _ahead(history: History, cut: int) -> Samples:
    return judge.held_out(history, cut, HALF_LIFE, ordinary(history, cut)[0])


def _judged(history: History, model: ForecastModel, cut: int) -> list[judge.Judgement]:
    """The model, last month, and the mean of the same age."""
    ahead = _ahead(history, cut)
    before = origins(history, cut, judge.AHEAD_DAYS, MOST_ORIGINS)
    past = samples(history, before, judge.AHEAD_DAYS, HALF_LIFE, ordinary(history, cut)[0])
    naive = [judge.last_month(ahead), judge.mean_of_age(past, ahead, len(history.names))]
    return [judge.of_model("model", model, history.names, ahead), *naive]


@pytest.fixture(scope="module")
def steadily() -> tuple[History, ForecastModel]:
    """A past of one law, and what 270 days of it taught."""
    history = History.of(made(steady(0.05, 0.5), 3_000, 300, old=True))
    return history, learn(history, 270, HALF_LIFE, 0)


def test_the_prior_of_a_steady_past_is_the_law_that_made_it(steadily: tuple[History, ForecastModel]) -> None:
    _, model = steadily
    prior = model.of(EVERY, 30)[model.band(200)]
    assert prior.shape / prior.rate == pytest.approx(0.05, rel=0.25)
    # The law's 10 days count half beside decayed counts, which vary as those of twice the days do.
    assert prior.rate == pytest.approx(0.5 * 0.5 / 0.05, rel=0.6)


@pytest.mark.parametrize("rates", [steady(0.05, 0.5), cooling(5)], ids=["steady", "cooling"])
def test_it_is_better_than_the_naive_ones_on_days_that_it_has_not_seen(rates: Rates) -> None:
    history = History.of(made(rates, 2_000, 300))
    model = learn(history, 240, HALF_LIFE, 0)
    mine, month, age = _judged(history, model, 240)
    assert mine.deviance < 0.9 * min(month.deviance, age.deviance)
    assert mine.bias == pytest.approx(1, abs=0.3)
    assert mine.inside is not None
    assert mine.inside > 0.9


def test_what_cools_for_good_is_learnt() -> None:
    history = History.of(made(cooling(5), 2_000, 300))
    model = learn(history, 270, HALF_LIFE, 0)
    young, old = (model.of(EVERY, 30)[model.band(age)] for age in (1, 100))
    assert young.shape / young.rate > 10 * old.shape / old.rate
    assert old.rate > 5 * young.rate  # much was read of it when it was new, and that says nothing


def test_calibration_by_tenths_holds(steadily: tuple[History, ForecastModel]) -> None:
    history, model = steadily
    found = judge.of_model("model", model, history.names, _ahead(history, 270))
    assert sum(decile.samples for decile in found.deciles) == len(_ahead(history, 270))
    for decile in found.deciles:
        assert decile.reads == pytest.approx(decile.forecast, rel=0.35, abs=0.2)
    forecasts = [decile.forecast for decile in found.deciles]
    assert forecasts == sorted(forecasts)


def test_no_day_after_the_cut_is_looked_at() -> None:
    trace = made(cooling(8), 600, 200)
    history, other = (History(t, t.created, (((0, 200),),), 0) for t in (trace, shuffled_after(trace, 150)))
    assert not np.array_equal(history.trace.read_day, other.trace.read_day)
    assert learn(history, 150, HALF_LIFE, 0) == learn(other, 150, HALF_LIFE, 0)


def test_a_dataset_has_priors_of_its_own_and_a_small_one_leans_on_all() -> None:
    hot, cold = made(steady(2.0, 2.0), 300, 200, old=True), made(steady(0.01, 1.0), 300, 200, old=True, seed=2)
    both = dataclasses.replace(
        hot,
        created=np.zeros(600, np.int32),
        sizes=np.full(600, 1 << 20),
        starts=np.concatenate((hot.starts, cold.starts[1:] + hot.starts[-1])),
        read_day=np.concatenate((hot.read_day, cold.read_day)),
        reads=np.concatenate((hot.reads, cold.reads)),
        read_bytes=np.concatenate((hot.read_bytes, cold.read_bytes // 4)),
        datasets=("cold", "hot"),
        dataset=np.repeat(np.array([1, 0], np.int32), 300),
    )
    history = History.of(both)
    model = learn(history, 170, HALF_LIFE, 0)
    means = {name: prior.shape / prior.rate for name in ("hot", "cold", EVERY) for prior in model.of(name, 30)[-2:-1]}
    assert means["cold"] < means[EVERY] < means["hot"]
    assert model.share("cold").share == pytest.approx(0.25, rel=0.1)
    assert model.share("hot").share == pytest.approx(1, rel=0.01)


def test_a_hole_in_the_log_is_neither_learnt_from_nor_judged_on() -> None:
    """Known by a window's end, or by a silence that no chance explains: the forecast stays what it was."""
    trace = made(steady(0.5, 1.0), 300, 300, old=True)
    kept = (trace.read_day < 120) | (trace.read_day >= 180)
    object_ = trace.read_object()
    holed = dataclasses.replace(
        trace,
        starts=np.searchsorted(object_[kept], np.arange(trace.objects + 1)),
        read_day=trace.read_day[kept],
        reads=trace.reads[kept],
        read_bytes=trace.read_bytes[kept],
    )
    by_silence = History.of(holed)
    assert by_silence.known == (((0, 120), (180, 300)),)
    assert by_silence.since() == {"": 180}
    assert History(holed, holed.created, (((0, 120), (180, 300)),), 7).since() == {"": 187}
    model = learn(by_silence, 270, HALF_LIFE, 0)
    for origin in np.unique(_ahead(by_silence, 30).origin):
        assert origin + 30 <= 120 or origin >= 187
    mine = judge.of_model("model", model, by_silence.names, _ahead(by_silence, 270))
    assert mine.bias == pytest.approx(1, abs=0.15)


def test_a_silence_that_lasts_is_believed() -> None:
    trace = made(steady(0.5, 1.0), 100, 100, old=True)
    longer = dataclasses.replace(trace, days=100 + 61)
    assert History.of(longer).known == (((0, 161),),)
    assert History.of(dataclasses.replace(trace, days=150)).known == (((0, 100),),)


def test_what_is_seldom_read_has_no_holes() -> None:
    trace = made(steady(0.0005, 1.0), 100, 400, old=True, seed=3)
    assert History.of(trace).known == (((0, 400),),)


def test_a_million_reads_on_one_day_do_not_make_all_hot() -> None:
    trace = made(steady(0.1, 1.0), 500, 200, old=True)
    reads = trace.reads.copy()
    reads[len(reads) // 2] = 1_000_000
    burst = History.of(dataclasses.replace(trace, reads=reads))
    counts, outliers = ordinary(burst, 170)
    assert outliers == 1
    assert counts.max() < 1000
    calm = learn(History.of(trace), 170, HALF_LIFE, 0).of(EVERY, 30)[-2]
    found = learn(burst, 170, HALF_LIFE, 0).of(EVERY, 30)[-2]
    assert found.shape / found.rate < 3 * calm.shape / calm.rate


def test_too_few_days_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing to learn from"):
        learn(History.of(made(steady(1.0, 1.0), 20, 36)), 36, HALF_LIFE, 0)


def test_horizons_are_learnt_as_far_as_the_past_goes() -> None:
    history = History.of(made(steady(0.1, 1.0), 200, 220, old=True))
    assert learn(history, 60, HALF_LIFE, 0).horizons == (30,)
    assert learn(history, 220, HALF_LIFE, 0).horizons == (30, 90, 180)


def test_nothing_read_at_all_is_learnt_as_that() -> None:
    trace = made(steady(0.1, 1.0), 50, 200, old=True)
    none = np.zeros(0, np.int64)
    silent = dataclasses.replace(
        trace, starts=np.zeros(51, np.int64), read_day=none.astype(np.int32), reads=none, read_bytes=none
    )
    history = History.of(silent)
    model = learn(history, 170, HALF_LIFE, 0)
    found = judge.of_model("model", model, history.names, _ahead(history, 170))
    assert found.deciles[-1].forecast < 0.1
    assert found.bias is None


def test_a_sample_keeps_every_so_manyth_object_with_its_reads() -> None:
    trace = made(steady(0.3, 1.0), 100, 60, name="a")
    found = sampled(History.of(trace), 30)
    assert found.trace.objects == 25
    for number in range(25):
        mine = slice(trace.starts[4 * number], trace.starts[4 * number + 1])
        own = slice(found.trace.starts[number], found.trace.starts[number + 1])
        assert np.array_equal(found.trace.read_day[own], trace.read_day[mine])
        assert np.array_equal(found.trace.reads[own], trace.reads[mine])
    assert sampled(History.of(trace), 100).trace is trace
