"""Models for tests, drawn and made."""

from __future__ import annotations

from hypothesis import strategies as st

from storaged.clock import DAY
from storaged.decide.forecast.model import EVERY, ForecastModel, Prior, SharePrior

HALF_LIFE = 30 * DAY
_NUMBER = st.floats(1e-6, 1e6)
_PRIOR = st.builds(Prior, _NUMBER, st.floats(0.1, 5000), st.floats(1e-6, 1e4), st.sampled_from([0.0, 0.5, 0.97, 1.0]))
_SHARE = st.builds(SharePrior, st.floats(1e-9, 10), st.floats(0.1, 100))


@st.composite
def models(draw: st.DrawFn, *names: str) -> ForecastModel:
    """Models in which some of these datasets have something of their own."""
    horizons = draw(st.sampled_from([(30,), (30, 90)]))
    own = draw(st.sets(st.sampled_from(names))) if names else set()
    bands = (0, 3, 30)
    of_bands = st.tuples(*(_PRIOR for _ in bands))
    return ForecastModel(
        made_us=5 * DAY,
        first_day=draw(st.integers(0, 100)),
        cut_day=200,
        half_life_us=HALF_LIFE,
        horizons=horizons,
        bands=bands,
        priors={(horizon, name): draw(of_bands) for horizon in horizons for name in (EVERY, *sorted(own))},
        shares={name: draw(_SHARE) for name in (EVERY, *sorted(own))},
        since=draw(st.dictionaries(st.sampled_from(names), st.integers(19_000, 21_000))) if names else {},
        weights={EVERY: {"stay": 0.25, "break-even": 0.75}},
    )
