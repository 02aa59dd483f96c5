"""Models as text: what was written comes back, and nothing else does."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.decide.forecast.model import EVERY, FORMAT, ForecastModel, from_text, to_text
from storaged.errors import ModelUnreadable
from tests.forecast.models import models


@given(models("a", "b/c"))
def test_a_model_comes_back_as_it_was(model: ForecastModel) -> None:
    assert from_text(to_text(model), "model 1") == model


@given(models("a"), st.data())
def test_no_damage_goes_unseen(model: ForecastModel, data: st.DataObject) -> None:
    text = to_text(model)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    damaged = text[:at] + other + text[at + 1 :]
    try:
        found = from_text(damaged, "model 1")
    except ModelUnreadable as error:
        found, hint = None, error.hint or ""
    else:
        hint = ""
    assert found == model or "storagectl learn" in hint  # JSON takes no notice of some characters


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"format": 1}', "[" * 100_000, "\x00"])
def test_what_is_no_model_is_said_to_be_damaged(text: str) -> None:
    with pytest.raises(ModelUnreadable, match="model 7 is damaged"):
        from_text(text, "model 7")


@given(models())
def test_a_newer_format_is_named(model: ForecastModel) -> None:
    newer = json.dumps(json.loads(to_text(model)) | {"format": FORMAT + 1})
    with pytest.raises(ModelUnreadable, match="newer version"):
        from_text(newer, "model 1")


@given(models("a"))
def test_numbers_that_cannot_be_are_no_model(model: ForecastModel) -> None:
    """Even where their digest is right: a later program may have written them."""
    one = dataclasses.replace(next(iter(model.priors.values()))[0], rate=-1.0)
    wrong = dataclasses.replace(model, priors={**model.priors, (30, EVERY): (one,) * len(model.bands)})
    with pytest.raises(ModelUnreadable, match="no parameters"):
        from_text(to_text(wrong), "model 1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {EVERY: {"stay": 0.1, "forecast-30d": 0.2}}},
        {"weights": {EVERY: {"stay": -5.0, "forecast-30d": 6.0}}},
        {"weights": {EVERY: {"stay": 0.5, "magic": 0.5}}},
        {"bands": (0, 60, 7)},
        {"bands": (3, 7, 60)},
    ],
    ids=str,
)
@given(models("a"))
def test_shares_and_bands_that_cannot_be_are_no_model(wrong: dict[str, object], model: ForecastModel) -> None:
    """Else the ways to decide would have no middle, and an age no band."""
    priors = {key: (of_band[0],) * len(model.bands) for key, of_band in model.priors.items()}
    if "bands" in wrong:
        priors = {key: (of_band[0],) * 3 for key, of_band in priors.items()}
    odd = dataclasses.replace(model, priors=priors, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelUnreadable, match="damaged"):
        from_text(to_text(odd), "model 1")


@given(models("a"))
def test_a_horizon_of_no_days_is_no_model(model: ForecastModel) -> None:
    horizons = tuple(0 if days == model.horizons[0] else days for days in model.horizons)
    priors = {(0 if d == model.horizons[0] else d, name): of for (d, name), of in model.priors.items()}
    with pytest.raises(ModelUnreadable, match="damaged"):
        from_text(to_text(dataclasses.replace(model, horizons=horizons, priors=priors)), "model 1")


@given(models("a"), st.floats(0.1, 5000))
def test_the_nearest_horizon_is_taken_and_every_dataset_has_priors(model: ForecastModel, days: float) -> None:
    assert model.horizon(days) in model.horizons
    assert len(model.of("never heard of", days)) == len(model.bands)
