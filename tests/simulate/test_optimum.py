"""The optimum is the least that any sequence of tiers costs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import event, example, given
from hypothesis import strategies as st

from storaged.clock import DAY
from storaged.decide.simulate.run import Listing, SimulatedOutcome, simulate
from storaged.prices.book import ClassPrices, Retrieval, Step
from tests.laws import tries
from tests.simulate import slow
from tests.simulate.conftest import ARCHIVES, AWS, BOOK, GB, made_up, things_of
from tests.simulate.slow import Thing

CLOSE = Fraction(1, 10**11)


def best(things: list[Thing], days: int, tiers: list[ClassPrices]) -> SimulatedOutcome:
    return simulate(slow.trace_of(things, days), Listing.of(tiers), BOOK, half_life_us=30 * DAY)[-1]


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[ClassPrices], int, list[Thing]]:
    """Tiers, days and objects, few enough that every sequence of tiers can be tried."""
    count = draw(st.integers(1, 3))
    tiers = [draw(made_up(f"tier-{n}")) for n in range(count)]
    days = draw(st.integers(1, 7 if count == 3 else 9))
    return tiers, days, draw(st.lists(things_of(days), min_size=1, max_size=3))


@given(market=markets())
@tries(150)
def test_it_is_what_trying_every_sequence_of_tiers_finds(
    market: tuple[list[ClassPrices], int, list[Thing]],
) -> None:
    tiers, days, things = market
    expected = sum((slow.cheapest(thing, days, tiers) for thing in things), Fraction(0))
    assert abs(Fraction(best(things, days, tiers).amount.total) - expected) < CLOSE


@st.composite
def long_markets(draw: st.DrawFn) -> tuple[list[ClassPrices], int, list[Thing]]:
    """Tiers with minimum durations, between which moves are cheap and reads are not, so that leaving early pays."""
    days = draw(st.integers(10, 60))
    prices = st.integers(0, 40).map(Decimal)
    tiers = [
        replace(
            draw(made_up(f"tier-{n}")),
            storage=(Step(None, draw(prices)),),
            get=draw(prices) / 10,
            put=draw(prices) / 100,
            transition_in=draw(prices) / 100,
            retrieval={"standard": Retrieval(draw(prices) / 1000)},
            minimum_days=draw(st.integers(0, 11)),
        )
        for n in range(draw(st.integers(2, 3)))
    ]
    reads = st.dictionaries(st.integers(0, days - 1), st.tuples(st.integers(1, 3), st.just(GB)), max_size=days // 2)
    return tiers, days, [Thing(0, GB, found) for found in draw(st.lists(reads, min_size=1, max_size=4))]


@given(market=long_markets())
@tries(100)
def test_it_is_what_a_program_with_a_state_for_each_age_finds(
    market: tuple[list[ClassPrices], int, list[Thing]],
) -> None:
    tiers, days, things = market
    expected = sum((slow.cheapest_by_ages(thing, days, tiers) for thing in things), Fraction(0))
    found = best(things, days, tiers)
    event(f"early deletion: {found.amount.early_deletion > 0}")
    assert abs(Fraction(found.amount.total) - expected) < CLOSE


@given(thing=things_of(7))
@tries(20)
def test_both_slow_programs_agree(thing: Thing) -> None:
    tiers = [replace(prices, minimum_days=prices.minimum_days and 3) for prices in ARCHIVES]
    assert slow.cheapest_by_ages(thing, 7, tiers) == slow.cheapest(thing, 7, tiers)


@given(thing=things_of(8), archive=st.booleans())
@example(thing=Thing(0, 3 * GB, {0: (1, 0), 7: (3, 4 * GB)}), archive=True)
@tries(30)
def test_it_is_so_at_the_prices_of_stores_too(thing: Thing, archive: bool) -> None:
    tiers = ARCHIVES if archive else AWS
    assert abs(Fraction(best([thing], 8, tiers).amount.total) - slow.cheapest(thing, 8, tiers)) < CLOSE


def test_it_moves_at_once_what_is_never_read_and_never_what_is_read_all_the_time() -> None:
    cold, hot = Thing(0, 100 * GB), Thing(0, 100 * GB, dict.fromkeys(range(300), (9, 900 * GB)))
    assert best([cold], 300, AWS).moves == 1
    assert best([hot], 300, AWS).moves == 0
    glacier_ir = 299 * Fraction("0.004") * 100 + Fraction("0.023") * 100
    expected = glacier_ir / slow.MONTH + Fraction("0.02") / 1000
    assert abs(Fraction(best([cold], 300, AWS).amount.total) - expected) < CLOSE


def test_it_pays_for_leaving_early_where_that_is_cheapest() -> None:
    """Glacier IR for 80 days, 10 short of its minimum, is cheaper than to read 100 times the size from it."""
    busy = Thing(0, 100 * GB, dict.fromkeys(range(80, 200), (1, 1000 * GB)))
    found = best([busy], 200, AWS)
    assert found.moves == 2
    assert found.amount.early_deletion > 0


@given(market=markets(), longer=st.integers(1, 5))
@tries(50)
def test_a_longer_minimum_duration_never_makes_it_cheaper(
    market: tuple[list[ClassPrices], int, list[Thing]], longer: int
) -> None:
    tiers, days, things = market
    dearer = [replace(prices, minimum_days=prices.minimum_days + longer) for prices in tiers]
    assert Fraction(best(things, days, dearer).amount.total) >= Fraction(best(things, days, tiers).amount.total) - CLOSE
