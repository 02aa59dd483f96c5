"""`auto`: what it knows, what it does about it, and that it is not far from the cheaper of simple things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from storaged.clock import DAY
from storaged.decide.forecast.taught import teach
from storaged.decide.simulate.auto.follow import auto_beside
from storaged.decide.simulate.auto.inner import SelfMoving
from storaged.decide.simulate.auto.mixture import Mixture
from storaged.decide.simulate.bill import amount, bill
from storaged.decide.simulate.rules import follow, unbound
from storaged.decide.simulate.run import Listing, SimulatedOutcome, simulate
from storaged.decide.simulate.stays import Stays, stay
from storaged.decide.simulate.tariff import Tariff
from storaged.decide.simulate.trace import Trace
from storaged.prices.book import ClassPrices
from tests.simulate import slow
from tests.simulate.conftest import ARCHIVES, AWS, AZURE, BOOK, GB, GCS, random_things
from tests.simulate.slow import Thing

TARIFF = Tariff.of(AWS)
MOVING = BOOK.classes["aws/us-east-1/intelligent-tiering"]
DAYS = 300
DAILY = Thing(0, GB, dict.fromkeys(range(DAYS), (1, GB)))


def tiers_of(stays: Stays, number: int) -> list[int]:
    """The tier of an object by day, from its first on."""
    mine = stays.object == number
    return np.repeat(stays.tier[mine], (stays.last - stays.first + 1)[mine]).tolist()


def followed(things: Sequence[Thing], days: int = DAYS) -> tuple[Trace, Stays]:
    trace = slow.trace_of(things, days)
    return trace, chosen(trace)


def chosen(trace: Trace, tiers: Sequence[ClassPrices] = AWS) -> Stays:
    """Where the line `auto` has them."""
    tariff = Tariff.of(tiers)
    terms = teach(trace, tariff, 30 * DAY, [180.0])
    return follow(trace, [unbound(tiers)], 30 * DAY, tariff, None, terms)


def made(rate: Callable[[np.ndarray, np.random.Generator], np.ndarray], objects: int = 60, days: int = 500) -> Trace:
    """Objects that come over half of the days, each read wholly, by chance, as often as `rate` says of its ages."""
    chance = np.random.default_rng(3)
    things = []
    for created in sorted(chance.integers(0, days // 2, objects)):
        reads = chance.poisson(rate(np.arange(days - created), chance))
        size = int(chance.lognormal(15, 2))
        things.append(
            Thing(
                int(created),
                size,
                {int(created + d): (int(reads[d]), int(reads[d]) * size) for d in reads.nonzero()[0]},
            )
        )
    return slow.trace_of(things, days)


def simulated(trace: Trace) -> dict[str, SimulatedOutcome]:
    return {o.name: o for o in simulate(trace, Listing.of(AWS), BOOK, half_life_us=30 * DAY)}


def test_what_is_never_read_goes_straight_to_the_cheapest_tier_and_what_is_read_daily_stays() -> None:
    _, stays = followed([DAILY, *(Thing(0, GB) for _ in range(20))])
    assert set(tiers_of(stays, 0)) == {0}
    path = tiers_of(stays, 5)
    assert set(path) == {0, 2}
    assert path == sorted(path)  # with no stop between, and never back


def test_a_new_object_inherits_what_its_dataset_taught_and_waits_for_its_first_days_only() -> None:
    """A hundred days on, 3 days without a read are enough: it leaves in the evening of its third day."""
    _, stays = followed([DAILY, *(Thing(0, GB) for _ in range(20)), Thing(150, GB)])
    assert tiers_of(stays, 21)[:6] == [0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("reads", "returns"),
    [
        ({200: (1, GB)}, False),  # wholly, once
        ({200: (1, GB // 2), 201: (1, GB // 2), 202: (1, GB // 2)}, True),  # it lasts
        ({200: (5, 5 * GB)}, True),  # more than the return costs, whatever comes
    ],
)
def test_a_burst_brings_it_back_and_a_single_read_does_not(reads: dict[int, tuple[int, int]], returns: bool) -> None:
    _, stays = followed([DAILY, *(Thing(0, GB) for _ in range(20)), Thing(0, GB, reads)])
    path = tiers_of(stays, 21)
    assert path[200] == 2
    assert (0 in path[200:]) is returns
    if returns:
        first = 200 + path[200:].index(0)
        assert {1, 2} & set(path[first:]), "it has not left again after the burst"


def test_a_million_reads_on_one_day_cost_that_day_and_no_more() -> None:
    things = [DAILY, *(Thing(0, GB) for _ in range(20))]
    million = Thing(0, GB, {200: (1_000_000, GB)})
    _, stays = followed([*things, million])
    path = tiers_of(stays, 21)
    assert path[200] == 2
    assert path[201] == 0


def test_what_was_much_read_once_is_not_given_up_soon() -> None:
    """Forty reads in forty days: by a year's memory that is more than a cheaper tier would bear."""
    _, stays = followed([DAILY, *(Thing(0, GB) for _ in range(20)), Thing(0, GB, dict.fromkeys(range(40), (1, GB)))])
    assert set(tiers_of(stays, 21)) == {0}


def test_silence_of_a_whole_dataset_teaches_nothing_for_sixty_days() -> None:
    """It may be a hole in the log."""
    _, stays = followed([Thing(0, GB) for _ in range(20)])
    assert {day for number in range(20) for day, tier in enumerate(tiers_of(stays, number)) if tier == 0} >= set(
        range(60)
    )
    assert tiers_of(stays, 0)[-1] == 2


def test_nothing_leaves_in_the_first_ninety_days_of_a_dataset() -> None:
    """However well it is known that nothing is read: ten days say nothing, nor do eighty-nine."""
    _, stays = followed([DAILY, *(Thing(0, GB) for _ in range(20))])
    assert {number: tiers_of(stays, number).index(2) for number in range(1, 21)} == dict.fromkeys(range(1, 21), 91)


def test_a_wave_of_reads_brings_back_what_it_reads_after_one_read() -> None:
    """A single read does not, as above: here so much of the dataset is read that it is a burst of each object."""
    cold = [Thing(0, GB) for _ in range(20)]
    wave = [Thing(0, GB, {200: (1, GB)}) for _ in range(20)]
    _, stays = followed([DAILY, *cold, *wave])
    path = tiers_of(stays, 30)
    assert (path[200], path[201]) == (2, 0)
    assert set(tiers_of(stays, 5)[95:]) == {2}, "what was not read came back too"
    _, stays = followed([DAILY, *cold, *wave[:5]])
    assert tiers_of(stays, 22)[200:205] == [2] * 5, "a quarter of it is no wave"


def test_tiny_objects_do_not_enter_a_class_whose_fee_they_never_earn() -> None:
    """A transition costs as much as five years of storage of 8 KB."""
    chance = np.random.default_rng(1)
    things = [Thing(int(chance.integers(0, 200)), 8_000, {}) for _ in range(40)]
    things.append(Thing(0, 8_000, dict.fromkeys(range(0, DAYS, 30), (1, 8000))))
    found = simulated(slow.trace_of(things, DAYS))
    assert found["auto-intelligent-tiering"].amount == found["stay"].amount
    assert found["auto"].amount == found["stay"].amount


def test_days_that_jump_and_ten_days_move_nothing_that_they_do_not_tell_of() -> None:
    """A clock that jumps leaves a hole of a hundred days, which is no silence of one object; ten days teach nothing."""
    hot = [Thing(0, GB, dict.fromkeys([*range(100), *range(150, 300)], (1, GB))) for _ in range(5)]
    _, stays = followed(hot)
    assert set(stays.tier.tolist()) == {0}
    mixed = random_things(60, 10, seed=3)
    _, stays = followed(mixed, days=10)
    assert set(stays.tier.tolist()) == {0}


def test_nothing_is_known_of_the_future() -> None:
    """Other reads from day 150 on change nothing before."""
    things = random_things(60, DAYS, seed=5)
    trace = slow.trace_of(things, DAYS)
    chance = np.random.default_rng(8)
    late = trace.read_day >= 150
    shuffled = trace.read_bytes.copy(), trace.reads.copy()
    for column in shuffled:
        column[late] = chance.permutation(column[late])
    other = replace(trace, read_bytes=shuffled[0], reads=shuffled[1])
    moving = SelfMoving.of(MOVING, trace)
    changed = False
    for one, two in ([chosen(t) for t in (trace, other)], [auto_beside(t, TARIFF, moving) for t in (trace, other)]):
        for number in range(trace.objects):
            until = 151 - int(trace.created[number])  # decided in the evening of day 149, in force on day 150
            assert tiers_of(one, number)[: max(until, 0)][:-1] == tiers_of(two, number)[: max(until, 0)][:-1]
            changed |= tiers_of(one, number) != tiers_of(two, number)
    assert changed, "the future made no difference at all"


def test_where_more_was_spent_than_staying_would_have_nothing_goes_down() -> None:
    mixture = Mixture(np.array([[1.0], [9.0]]), [0, 1, 2], np.zeros(2, np.int32), 1)
    mixture.learn(np.array([[1.0, 1.0], [0.5, 0.5]]), np.ones(2), np.array([0]))
    rules, here = np.array([[0, 0], [2, 2]], np.int8), np.array([0, 1], np.int8)
    mixture.spend(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert mixture.middle(rules, here).tolist() == [2, 2]
    mixture.spend(np.array([0.1, 0.1]), np.zeros(2))
    assert mixture.middle(rules, here).tolist() == [0, 1]


def test_a_dataset_learns_for_itself() -> None:
    """What happens in another one changes nothing."""
    calm = [DAILY, *(Thing(0, GB, {250: (1, GB)}) for _ in range(10))]
    wild = [Thing(0, GB, dict.fromkeys(range(0, DAYS, 9), (40, 40 * GB))) for _ in range(10)]
    alone = slow.trace_of(calm, DAYS)
    both = slow.trace_of([*calm, *wild], DAYS)
    dataset = np.repeat(np.array([0, 1], np.int32), [len(calm), len(wild)])
    both = replace(both, datasets=("calm", "wild"), dataset=dataset)
    apart, together = chosen(alone), chosen(both)
    for number in range(len(calm)):
        assert tiers_of(apart, number) == tiers_of(together, number)


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "rate",
    [
        pytest.param(lambda age, _: np.full(len(age), 2.0), id="always hot"),
        pytest.param(lambda age, _: np.full(len(age), 0.02), id="at the break-even"),
        pytest.param(lambda age, _: 2 * np.exp(-age / 15), id="hot when new"),
        pytest.param(lambda age, _: (age % 91 < 5) * 3.0, id="bursts by season"),
        pytest.param(lambda age, chance: np.full(len(age), 10 ** chance.uniform(-4, 1)), id="of all kinds"),
    ],
)
def test_it_is_not_far_from_the_cheaper_of_simple_things(
    rate: Callable[[np.ndarray, np.random.Generator], np.ndarray],
) -> None:
    found = {name: float(outcome.amount.total) for name, outcome in simulated(made(rate)).items()}
    assert found["auto"] <= 1.05 * found["stay"]
    assert found["auto-intelligent-tiering"] <= 1.05 * min(found["stay"], found["intelligent-tiering"])


def test_a_burst_each_quarter_that_cost_too_much_costs_so_once() -> None:
    """The first is paid for, since ninety days told nothing of it; after that the dataset is left where it is."""
    bursts = [Thing(b, GB, {d: (3, 3 * GB) for d in range(b, 400) if d % 91 < 5}) for b in range(0, 100, 10)]
    trace = slow.trace_of(bursts, 400)
    used, stayed = (bill(trace, stays, TARIFF).daily for stays in (chosen(trace), stay(trace)))
    assert used[:120].sum() > 1.5 * stayed[:120].sum(), "no burst cost anything"
    assert used[120:].sum() <= 1.05 * stayed[120:].sum()


def test_on_objects_of_all_kinds_it_saves_a_good_part_of_what_can_be_saved() -> None:
    trace = made(lambda age, chance: np.full(len(age), 10 ** chance.uniform(-4, 1)))
    found = {name: float(outcome.amount.total) for name, outcome in simulated(trace).items()}
    assert found["stay"] - found["auto"] > 0.3 * (found["stay"] - found["optimum"])


def test_the_class_as_a_place_is_billed_as_its_baseline_is() -> None:
    """What is there from its first day on costs the same, kind by kind."""
    trace = slow.trace_of(random_things(80, DAYS, seed=2), DAYS)
    moving, place = SelfMoving.of(MOVING, trace), len(AWS)
    there = replace(trace, home=np.full(trace.objects, place, np.int8))
    tariff = moving.tariff(TARIFF)
    used = bill(there, moving.unfold(there, stay(there), place), tariff)
    ours = amount(tariff, used.uses)
    theirs = {o.name: o for o in simulate(trace, Listing.of(AWS), BOOK, half_life_us=DAY)}["intelligent-tiering"]
    assert ours == theirs.amount
    assert used.daily == pytest.approx(theirs.daily)


def test_what_enters_the_class_pays_for_it_once() -> None:
    trace = slow.trace_of([Thing(0, GB, {60: (1, GB), 199: (1, GB)})], DAYS)
    moving, place = SelfMoving.of(MOVING, trace), len(AWS)
    first, last = np.array([0, 10, 200]), np.array([9, 199, DAYS - 1])
    stays = Stays(np.zeros(3, np.int64), np.array([0, place, 0], np.int8), first, last)
    tariff = moving.tariff(TARIFF)
    found = moving.unfold(trace, stays, place)
    # Idle from day 10 on: a tier further down on day 40, back after the read of day 60, down on days 91 and 151, and
    # out after the read of 199.
    assert list(zip(found.first.tolist(), found.tier.tolist(), strict=True)) == [
        (0, 0), (10, place), (40, place + 1), (61, place + 3), (91, place + 1), (151, place + 2), (200, 0),
    ]  # fmt: skip
    assert amount(tariff, bill(trace, found, tariff).uses).transition == MOVING.transition_in + AWS[0].put


@pytest.mark.parametrize("tiers", [AWS, ARCHIVES, GCS, AZURE])
def test_its_stays_leave_no_gap_at_any_stores_prices(tiers: list[ClassPrices]) -> None:
    trace = slow.trace_of(random_things(60, 200, seed=9), 200)
    stays = chosen(trace, tiers)
    for number in range(trace.objects):
        assert len(tiers_of(stays, number)) == 200 - trace.created[number]
