"""Forecasts in numpy and in SQL: the same numbers, and NULL where nothing is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.config.settings import load_settings
from storaged.decide.evidence import Evidence, Window
from storaged.decide.forecast.history import PastReads, exposure
from storaged.decide.forecast.model import EVERY, ForecastModel, Prior, SharePrior
from storaged.decide.forecast.rates import columns, forecast
from storaged.heat import decay_rate, recent, score
from tests.decide.seeding import NOW, SETTINGS, Seeder, register
from tests.forecast.models import HALF_LIFE, models
from tests.laws import tries

NAMES = ("events/web", "events/app", "logs/raw")
DECAY, FAST = decay_rate(HALF_LIFE), decay_rate(recent(HALF_LIFE))
TODAY = NOW // DAY
FLAT = ForecastModel(
    made_us=0,
    first_day=0,
    cut_day=1,
    half_life_us=HALF_LIFE,
    horizons=(30,),
    bands=(0,),
    priors={(30, EVERY): (Prior(2.0, 10.0, 0.5, 0.25),)},
    shares={EVERY: SharePrior(0.5, 10.0)},
)


@dataclasses.dataclass(frozen=True)
class _Object:
    dataset: str
    age_us: int
    size: int
    reads: dict[int, int]  # days before the window's end: reads
    rescored: bool  # since there are scores of recent reads


_OBJECT = st.builds(
    _Object,
    st.sampled_from(NAMES),
    st.integers(-DAY, 900 * DAY) | st.sampled_from([3 * DAY, 30 * DAY, 30 * DAY - 1]),
    st.integers(0, 1 << 40),
    st.dictionaries(st.integers(1, 500), st.integers(1, 10**6), max_size=4),
    st.booleans(),
)


@pytest.fixture
def lake(catalog: Catalog, tmp_path: Path) -> Catalog:
    """A catalog with datasets and no objects."""
    (tmp_path / "storaged.yaml").write_text(SETTINGS)
    register(catalog, load_settings(tmp_path / "storaged.yaml"))
    return catalog


@tries(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    models(*NAMES), st.lists(_OBJECT, min_size=1, max_size=5), st.integers(1, 400), st.sampled_from([1, 40, 100, 365])
)
def test_sql_and_numpy_forecast_the_same(
    lake: Catalog, model: ForecastModel, made: list[_Object], length: int, days: int
) -> None:
    until = NOW - 5 * 3600 * 1_000_000
    window = Window(until - length * DAY, until)
    with lake.engine.connect() as conn:
        seeder = Seeder(conn)
        for number, one in enumerate(made):
            scores = [
                score(((TODAY - back, n * times) for back, n in one.reads.items()), HALF_LIFE) for times in (1, 7)
            ]
            fast = (
                score(((TODAY - back, n) for back, n in one.reads.items()), recent(HALF_LIFE)) if one.rescored else None
            )
            columns_ = {"created_us": until - one.age_us, "size": one.size, "heat_recent": fast}
            seeder.object(one.dataset, f"o{number}", heat_reads=scores[0], heat_bytes=scores[1], **columns_)
        names = {seeder.datasets[name]: name for name in NAMES}
        evidence = Evidence(NOW, HALF_LIFE, windows=dict.fromkeys(names, window))
        told = columns(model, evidence, names, days)
        query = sa.select(told.mean, told.spread, told.nbytes).select_from(objects.join(told.priors, told.on))
        found = np.array(conn.execute(query.order_by(objects.c.id)).all(), float)
        conn.rollback()
    since = [max(until - one.age_us, window.from_us, model.since.get(one.dataset, 0) * DAY) for one in made]
    counts, fresh = (
        [
            sum(n * np.exp(-decay * (until / DAY - (TODAY - back) - 0.5)) for back, n in one.reads.items())
            for one, decay in zip(made, decays, strict=True)
        ]
        for decays in ([DECAY] * len(made), [FAST if one.rescored else DECAY for one in made])
    )
    seen = PastReads(
        counts=np.array(counts, float),
        nbytes=7 * np.array(counts, float),
        exposure=exposure((until - np.array(since)) / DAY, HALF_LIFE),
        fresh_counts=np.array(fresh, float),
        fresh_exposure=exposure((until - np.array(since)) / DAY, recent(HALF_LIFE)),
        age=np.array([one.age_us / DAY for one in made]),
        size=np.array([one.size for one in made], float),
        dataset=np.array([NAMES.index(one.dataset) for one in made]),
    )
    expected = forecast(model, seen, NAMES, days)
    wanted = np.array([expected.mean, expected.spread, expected.nbytes]).T
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_without_a_window_there_is_no_forecast(lake: Catalog) -> None:
    with lake.begin() as conn:
        seeder = Seeder(conn)
        seeder.object("events/web", "covered")
        seeder.object("logs/raw", "unknown")
        names = {seeder.datasets[name]: name for name in NAMES}
        evidence = Evidence(NOW, HALF_LIFE, windows={seeder.datasets["events/web"]: Window(NOW - 40 * DAY, NOW)})
        told = columns(FLAT, evidence, names, 30)
        query = sa.select(objects.c.name, told.mean, told.spread, told.nbytes)
        found = {row[0]: tuple(row[1:]) for row in conn.execute(query.select_from(objects.join(told.priors, told.on)))}
    assert found["unknown"] == (None, None, None)
    assert all(value > 0 for value in found["covered"])


def test_a_score_far_in_the_future_stays_a_number(lake: Catalog) -> None:
    """A log whose clock jumped may tell of any day."""
    with lake.begin() as conn:
        seeder = Seeder(conn)
        day = TODAY + 1_000_000
        heat = score([(day, 1)], HALF_LIFE)
        seeder.object("events/web", "a", heat_reads=heat, heat_bytes=heat, heat_recent=heat, size=1 << 50)
        names = {seeder.datasets[name]: name for name in NAMES}
        evidence = Evidence(NOW, HALF_LIFE, windows=dict.fromkeys(names, Window(NOW - 40 * DAY, NOW)))
        told = columns(FLAT, evidence, names, 30)
        query = sa.select(told.mean, told.spread, told.nbytes).select_from(objects.join(told.priors, told.on))
        found = conn.execute(query).one()
    assert all(value > 1e6 for value in found)


def test_heat_of_another_half_life_is_refused() -> None:
    with pytest.raises(ValueError, match="half-life"):
        columns(FLAT, Evidence(NOW, 10 * DAY), {}, 30)


@tries(100)
@given(models("a"), st.floats(0, 1e6), st.floats(0, 400), st.floats(0, 1e6))
def test_reads_raise_a_forecast_and_time_without_them_lowers_it(
    model: ForecastModel, counts: float, exposed: float, more: float
) -> None:
    def of(count: float, time: float) -> float:
        values = (count, 0, time, count / 2, time / 2, 5, 1)
        one = PastReads(*(np.array([value], float) for value in values), np.array([0]))
        return float(forecast(model, one, ("a",), 30).mean[0])

    assert of(counts + more, exposed) >= of(counts, exposed)
    assert of(counts, exposed + 1) < of(counts, exposed)
