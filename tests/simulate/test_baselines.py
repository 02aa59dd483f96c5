"""The baselines cost what the rules say, by hand and as a slow program has it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.clock import DAY
from storaged.decide.simulate import run
from storaged.decide.simulate.run import Listing, SimulatedOutcome, simulate
from storaged.prices.book import ClassPrices
from tests.laws import tries
from tests.simulate import slow
from tests.simulate.conftest import ARCHIVES, AWS, AZURE, BOOK, GB, GCS, KINDS, classes, random_things, same
from tests.simulate.slow import MONTH, Thing

HALF_LIFE = 30 * DAY


def outcomes(things: list[Thing], days: int, tiers: list[ClassPrices]) -> dict[str, SimulatedOutcome]:
    return {o.name: o for o in simulate(slow.trace_of(things, days), Listing.of(tiers), BOOK, half_life_us=HALF_LIFE)}


# -- by hand: one GB, us-east-1 ---------------------------------------------------------------------------------------


def test_an_object_that_stays_pays_storage_of_each_day_and_its_reads() -> None:
    """10 days of 1 GB at 0.023 a month of 30.4375 days; 3 GETs at 0.0004 per 1,000; nothing else."""
    found = outcomes([Thing(0, GB, {4: (3, 3 * GB)})], 10, AWS)["stay"]
    same(found, {"storage": Fraction(10) * Fraction("0.023") / MONTH, "requests": 3 * Fraction("0.0004") / 1000})


def test_lifecycle_moves_at_age_30_and_90_in_force_the_next_day() -> None:
    """Days 0 to 29 Standard, 30 to 89 Standard-IA, 90 to 99 Glacier IR: at age 30, which is at the end of day 29."""
    found = outcomes([Thing(0, GB)], 100, AWS)["lifecycle-30-90"]
    months = 30 * Fraction("0.023") + 60 * Fraction("0.0125") + 10 * Fraction("0.004")
    transition = Fraction("0.01") / 1000 + Fraction("0.02") / 1000
    same(found, {"storage": months / MONTH, "retrieval": Fraction("0.01"), "transition": transition, "moves": 2})


def test_nothing_moves_on_the_last_day() -> None:
    """An object that is 30 days old at the end of the last day has not moved; a day later it has."""
    assert outcomes([Thing(0, GB)], 30, AWS)["lifecycle-30-90"].moves == 0
    assert outcomes([Thing(0, GB)], 31, AWS)["lifecycle-30-90"].moves == 1
    assert outcomes([Thing(0, GB)], 31, AWS)["idle-30-90-return"].moves == 1


def test_a_read_returns_an_idle_object_and_pays_for_leaving_early() -> None:
    """Idle for 30 days at the end of day 29; read on day 34, its 5th day in Standard-IA, of which 25 are owed. Back by
    a PUT."""
    found = outcomes([Thing(0, GB, {34: (1, GB)})], 40, AWS)["idle-30-90-return"]
    same(
        found,
        {
            "storage": (35 * Fraction("0.023") + 5 * Fraction("0.0125")) / MONTH,
            "requests": Fraction("0.001") / 1000,
            "retrieval": Fraction("0.02"),  # the read and the way back
            "transition": Fraction("0.01") / 1000 + Fraction("0.005") / 1000,
            "early_deletion": 25 * Fraction("0.0125") / MONTH,
            "moves": 2,
        },
    )


def test_small_objects_are_billed_at_the_minimum_where_there_is_one_and_moved_at_their_true_size() -> None:
    """1,024 bytes: 128 KiB a day in Standard-IA, and a read of 1,024."""
    found = outcomes([Thing(0, 1024, {31: (1, 1024)})], 33, AWS)["lifecycle-30-90"]
    storage = (30 * Fraction("0.023") * 1024 + 3 * Fraction("0.0125") * 131072) / GB / MONTH
    assert abs(Fraction(found.amount.storage) - storage) < Fraction(1, 10**18)
    assert abs(Fraction(found.amount.retrieval) - Fraction("0.01") * 1024 / GB) < Fraction(1, 10**18)


def test_archive_classes_store_beside_each_object_and_restore_by_request() -> None:
    """Glacier from day 30: 32 KiB there and 8 KiB at Standard a day; a read is a restore, the way back another."""
    tiers = classes("aws/us-east-1", "standard", "glacier")
    found = outcomes([Thing(0, GB, {34: (2, GB)})], 40, tiers)["idle-30-90-return"]
    beside = (Fraction("0.0036") * 32768 + Fraction("0.023") * 8192) / GB / MONTH
    same(
        found,
        {
            "storage": (35 * Fraction("0.023") + 5 * Fraction("0.0036")) / MONTH,
            "overhead": 5 * beside,
            "requests": 2 * Fraction("0.0004") / 1000,
            "retrieval": 2 * Fraction("0.01") + 3 * Fraction("0.05") / 1000,
            "transition": Fraction("0.03") / 1000 + Fraction("0.005") / 1000,
            "early_deletion": 85 * (Fraction("0.0036") / MONTH + beside),
            "moves": 2,
        },
    )


def test_intelligent_tiering_counts_idle_days_before_the_days_reads() -> None:
    """Never read until day 31: on day 30 it is idle for 30 days, so days 30 and 31 are infrequent, 32 frequent."""
    found = outcomes([Thing(0, GB, {31: (1, GB)}), Thing(0, 1000)], 33, AWS)["intelligent-tiering"]
    rate = 31 * Fraction("0.023") + 2 * Fraction("0.0125") + 33 * Fraction("0.023") * 1000 / GB
    monitoring = 33 * Fraction("0.0025") / 1000 / MONTH  # of one object: the other is too small
    same(found, {"storage": rate / MONTH, "requests": Fraction("0.0004") / 1000, "monitoring": monitoring})


def test_autoclass_goes_down_to_archive_and_its_fee_is_for_30_days() -> None:
    """Day 365 is the first in Archive."""
    found = outcomes([Thing(0, GB)], 400, GCS)["autoclass"]
    rate = 30 * Fraction("0.02") + 60 * Fraction("0.01") + 275 * Fraction("0.004") + 35 * Fraction("0.0012")
    same(found, {"storage": rate / MONTH, "monitoring": 400 * Fraction("0.0025") / 1000 / 30})


# -- against the slow rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiers", [AWS, ARCHIVES, GCS, AZURE, AWS[:2]], ids=["aws", "archives", "gcs", "azure", "two"])
def test_all_baselines_cost_what_the_slow_rules_say(tiers: list[ClassPrices]) -> None:
    days = 250
    things = random_things(60, days, seed=len(tiers[1].id))
    found = outcomes(things, days, tiers)
    same(found["stay"], slow.bill(things, days, tiers, lambda thing, day, tier: tier))
    same(found["lifecycle-30-90"], slow.bill(things, days, tiers, slow.lifecycle(len(tiers))))
    same(found["idle-30-90-return"], slow.bill(things, days, tiers, slow.idle(len(tiers))))


@pytest.mark.parametrize(
    ("tiers", "name", "fee_days"), [(AWS, "intelligent-tiering", MONTH), (GCS, "autoclass", Fraction(30))]
)
def test_classes_that_move_objects_by_themselves_cost_what_the_slow_rules_say(
    tiers: list[ClassPrices], name: str, fee_days: Fraction
) -> None:
    days = 500
    things = random_things(60, days, seed=7)
    prices = BOOK.classes[f"{tiers[0].region}/{name}"]
    same(outcomes(things, days, tiers)[name], slow.moving_itself(things, days, prices, fee_days))


def test_parts_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    things = random_things(50, 200, seed=3)
    whole = outcomes(things, 200, GCS)
    monkeypatch.setattr(run, "_LARGEST_PART", 7)
    parts = outcomes(things, 200, GCS)
    for name, outcome in whole.items():
        assert outcome.amount == parts[name].amount
        assert outcome.moves == parts[name].moves
        assert parts[name].daily == pytest.approx(outcome.daily)


# -- laws -------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@tries(30)
def test_kinds_and_days_add_up_to_the_total(seed: int) -> None:
    things = random_things(8, 150, seed)
    for outcome in outcomes(things, 150, AWS).values():
        kinds = sum((getattr(outcome.amount, kind) for kind in KINDS), Decimal(0))
        assert outcome.amount.total == kinds
        assert float(outcome.amount.total) == pytest.approx(float(outcome.daily.sum()), rel=1e-9, abs=1e-12)


@given(seed=st.integers(0, 10_000), day=st.integers(0, 149))
@tries(30)
def test_another_read_never_lowers_what_reading_costs(seed: int, day: int) -> None:
    """Of policies that do not look at reads: of all others it is not true."""
    things = random_things(4, 150, seed)
    first = things[-1]
    more = [*things[:-1], Thing(first.created, first.size, {**first.reads, day: (1, GB)})]
    before, after = outcomes(things, 150, AWS), outcomes(more, 150, AWS)
    for name in ("stay", "lifecycle-30-90"):
        assert after[name].amount.total > before[name].amount.total
        assert after[name].amount.retrieval >= before[name].amount.retrieval
    assert after["optimum"].amount.total >= before["optimum"].amount.total


@pytest.mark.parametrize("tiers", [AWS, ARCHIVES, GCS, AZURE])
def test_nothing_that_uses_the_listed_tiers_is_cheaper_than_the_optimum(tiers: list[ClassPrices]) -> None:
    found = outcomes(random_things(80, 300, seed=11), 300, tiers)
    best = found["optimum"].amount.total
    for name in ("stay", "lifecycle-30-90", "idle-30-90-return", "break-even", "auto"):
        assert found[name].amount.total >= best
    assert found["stay"].amount.total > best


def test_one_tier_leaves_nothing_to_choose() -> None:
    found = outcomes([Thing(0, GB, {3: (1, GB)})], 100, AWS[:1])
    assert set(found) == {"stay", "intelligent-tiering", "optimum"}
    assert found["optimum"].amount == found["stay"].amount
