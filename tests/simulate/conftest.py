"""What the tests of simulations share: books of prices, shipped and made up, and traces made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st

from storaged.decide.simulate.run import SimulatedOutcome
from storaged.prices.book import ClassPrices, PriceBook, Retrieval, Step
from storaged.prices.load import load_prices
from tests.simulate.slow import Thing

BOOK = load_prices()
KINDS = ("storage", "requests", "retrieval", "transition", "early_deletion", "monitoring", "overhead")
GB = 1 << 30


def classes(region: str, *names: str) -> list[ClassPrices]:
    """Of the shipped books."""
    return [BOOK.classes[f"{region}/{name}"] for name in names]


AWS = classes("aws/us-east-1", "standard", "standard-ia", "glacier-ir")
ARCHIVES = classes("aws/us-east-1", "standard", "glacier", "deep-archive")
GCS = classes("gcs/us-central1", "standard", "nearline", "coldline", "archive")
AZURE = classes("azure/eastus", "hot", "cool", "cold", "archive")


@pytest.fixture
def book() -> PriceBook:
    """The shipped books."""
    return BOOK


def same(outcome: SimulatedOutcome, expected: Mapping[str, Fraction], *, moves: bool = True) -> None:
    """Each kind is what the slow rules say, to a millionth of a millionth of a dollar."""
    for kind in KINDS:
        ours, theirs = Fraction(getattr(outcome.amount, kind)), expected.get(kind, Fraction(0))
        assert abs(ours - theirs) < Fraction(1, 10**12), (outcome.name, kind, float(ours), float(theirs))
    assert not moves or outcome.moves == expected.get("moves", 0), outcome.name


def random_things(count: int, days: int, seed: int) -> list[Thing]:
    """Objects of all sizes, read never, now and then, or in bursts."""
    chance = np.random.default_rng(seed)
    things = []
    for _ in range(count):
        created = int(chance.integers(0, days))
        size = int(chance.choice([0, 1_000, 131_071, 131_072, 5_000_000, 3 * GB, 900 * GB]))
        some = chance.integers(created, days, int(chance.choice([0, 1, 3, 12])))
        burst = np.arange(int(some[0]), min(int(some[0]) + 20, days)) if len(some) > 3 else []
        reads = {
            int(day): (int(chance.integers(1, 9)), int(chance.integers(0, 2 * size + 1))) for day in [*some, *burst]
        }
        things.append(Thing(created, size, reads))
    things.append(Thing(0, GB, {}))
    return things


_PRICE = st.decimals(0, 1, places=3)


@st.composite
def made_up(draw: st.DrawFn, name: str) -> ClassPrices:
    """A class whose prices have nothing to do with any store's: reads, moves and storage may outweigh each other."""
    minimum = draw(st.sampled_from([0, 0, 1, 2, 3, 5, 30]))
    rate = draw(_PRICE)
    return replace(
        AWS[0],
        id=f"own/here/{name}",
        storage=(Step(None, rate),),
        put=draw(_PRICE) / 100,
        get=draw(_PRICE) / 100,
        transition_in=draw(_PRICE) / 100,
        retrieval={"standard": Retrieval(draw(_PRICE) / 100, draw(_PRICE) / 100)},
        minimum_days=minimum,
        minimum_bytes=draw(st.sampled_from([0, 0, GB])),
        overhead_bytes=draw(st.sampled_from([0, 0, GB // 2])),
        overhead_standard_bytes=draw(st.sampled_from([0, 0, GB // 4])),
        standard=(Step(None, Decimal("0.5")),),
    )


@st.composite
def things_of(draw: st.DrawFn, days: int) -> Thing:
    """One object of a short trace."""
    created = draw(st.integers(0, days - 1))
    reads = st.tuples(st.integers(1, 3), st.integers(0, 4 * GB))
    return Thing(
        created,
        draw(st.sampled_from([0, GB // 2, GB, 3 * GB])),
        draw(st.dictionaries(st.integers(created, days - 1), reads, max_size=4)),
    )
