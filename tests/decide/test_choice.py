"""`tier: auto` in plans: the cheapest tier of each object, by another computation; and where nothing is known it stays."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import metadata
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide.forecast.model import ForecastModel
from storaged.work.plan import explain as explaining
from storaged.work.plan import make
from tests.decide.choosing import Guessed, Thing, chosen, forecast, middle, model
from tests.decide.pricing import MONTH, PICO, planned, priced_settings
from tests.decide.seeding import MIB, NOW, Seeder, register
from tests.laws import examples

SIZES = (0, 1, 100_000, 128 << 10, 400_000, MIB, 4 * MIB, 4 * MIB + 1, 8 * MIB)
STAY, FORECAST, BREAK_EVEN = "stay", "forecast", "break-even"
ONLY = {FORECAST: 1.0}
TEXT = "name: p\ntarget: {dataset: events/web}\nto: {tier: auto}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return priced_settings(tmp_path / "storaged.yaml")


class Known:
    """The model that plans are made with."""

    def __init__(self) -> None:
        self.model: ForecastModel | None = None


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Known:
    found, gather = Known(), make.gather

    def gathered(*args: Any, **more: Any) -> Any:
        return replace(gather(*args, **more), model=found.model)

    monkeypatch.setattr(make, "gather", gathered)
    monkeypatch.setattr(explaining, "gather", gathered)
    return found


def empty(catalog: Catalog, settings: Settings) -> None:
    with catalog.begin() as conn:
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("meta", "tiers", "datasets"):
                conn.execute(sa.delete(table))
    register(catalog, settings)


def scatter(catalog: Catalog, settings: Settings, seed: int, covered: int) -> dict[str, Thing]:
    """Forty plain objects, most of them at their original keys, by name."""
    chance = random.Random(seed)
    empty(catalog, settings)
    found: dict[str, Thing] = {}
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - covered * DAY, NOW // DAY * DAY)
        for number in range(40):
            name, size, age = f"{number:02}.csv", chance.choice(SIZES), chance.choice([2, 20, 85, 400])
            days = chance.sample(
                range(1, min(age, covered) + 1), min(chance.choice([0, 0, 1, 3, 12]), min(age, covered))
            )
            reads = dict.fromkeys(days, chance.choice([1, 1, 40]))
            tier = chance.choice(["hot", "hot", "standard", "cold", "rare"])
            known = {"size": size, "age": age * DAY + NOW % DAY, "tier": tier, "reads": reads}
            if tier in ("hot", "standard"):
                s.object("events/web", name, **known, raw_class="STANDARD")  # type: ignore[arg-type]  # of a mapping
            else:
                made = s.object("events/web", name, **known, raw_state="released")  # type: ignore[arg-type]  # the same
                at = {"codec": "identity", "size": size, "created_us": NOW - age * DAY - NOW % DAY}
                s.replica(made, tier, **at)  # type: ignore[arg-type]  # the same
            found[name] = Thing(size, age, tier, tier in ("hot", "standard"), reads)
    return found


WEIGHTS = (
    {FORECAST: 1.0},
    {STAY: 0.3, FORECAST: 0.7},
    {BREAK_EVEN: 1.0},
    {STAY: 0.2, FORECAST: 0.35, BREAK_EVEN: 0.45},
    {STAY: 0.5, FORECAST: 0.3, BREAK_EVEN: 0.2},
)


def test_each_object_goes_where_it_is_cheapest_by_another_computation(
    catalog: Catalog, settings: Settings, tmp_path: Path, known: Known
) -> None:
    """In decimals, candidate by candidate, guess by guess, then the weighted middle; and nothing moves for less than
    twice what its move costs."""
    seen: dict[str, int] = {}

    @examples(catalog, 16, derandomize=True)
    @given(
        seed=st.integers(0, 2**32),
        weights=st.sampled_from(WEIGHTS),
        among=st.sampled_from([("hot", "cold", "rare"), ("cold",), ("hot", "standard", "rare", "cold")]),
        days=st.sampled_from([90, 180, 400]),
        grace=st.integers(0, 30),
        covered=st.sampled_from([40, 300]),
        shape=st.sampled_from([0.001, 0.05, 1.0]),
    )
    def law(
        seed: int,
        weights: Mapping[str, float],
        among: tuple[str, ...],
        days: int,
        grace: int,
        covered: int,
        shape: float,
    ) -> None:
        things = scatter(catalog, settings, seed, covered)
        known.model = model(weights, shape=shape)
        to = f"to: {{tier: auto, among: [{', '.join(among)}], horizon: {days}d}}\n"
        text = f"name: p\ntarget: {{dataset: events/web}}\n{to}keep_source: {grace}d\n"
        _, rows = planned(catalog, settings, tmp_path, text)
        for name, thing in things.items():
            foretold, share = forecast(thing, known.model, days, covered=covered)
            last = min(thing.reads, default=1000)
            idle = min(last - 1, thing.age, covered)
            guesses = {
                FORECAST: foretold,
                BREAK_EVEN: Guessed(0.0, 0.0, min(idle / float(MONTH), days / float(MONTH))),
            }
            places, edges = {STAY: thing.tier}, []
            for guess, told in guesses.items():
                if weights.get(guess):
                    places[guess], edge = chosen(thing, told, share, among, grace)
                    edges.append(edge)
            expected = middle(places, {STAY: 0.0, **weights})
            if min(edges) * PICO < 10:
                continue
            row = rows.get(name)
            assert (thing.tier if row is None else row.tier) == expected, (name, thing, places)
            seen[expected if row else STAY] = seen.get(expected if row else STAY, 0) + 1

    law()
    assert {STAY, "hot", "cold", "rare", "standard"} <= set(seen), seen
