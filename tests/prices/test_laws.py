"""Laws of money: parts add up, more never costs less, a dearer class is never cheaper."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from storaged.decide.whatif import Answer, Question, answer
from storaged.prices.amount import KINDS, Amount, plain, usd
from storaged.prices.book import ClassPrices, Retrieval, Step
from storaged.prices.formulas import Stock, Traffic, by_steps, payback_months, read, shares, stored
from storaged.prices.load import load_prices

BOOK: Final = load_prices()
CLASSES: Final = st.sampled_from(list(BOOK.classes.values()))
PLAIN: Final = st.sampled_from([prices for prices in BOOK.classes.values() if not prices.inner])
OBJECTS: Final = st.integers(1, 10**9)
SIZES: Final = st.integers(1, 10**12)
READS: Final = st.decimals(0, 1_000, places=3)
MONEY: Final = st.decimals(-(10**9), 10**9, places=14)
AMOUNTS: Final = st.builds(Amount, *[MONEY for _ in KINDS])
QUESTIONS: Final = st.builds(
    Question,
    objects=OBJECTS,
    size=SIZES,
    source=CLASSES,
    target=CLASSES,
    reads=READS,
    pack=st.none() | st.integers(1, 10**10),
    ratio=st.decimals("0.5", 20, places=2),
    grace_days=st.integers(0, 90).map(Decimal),
).filter(lambda asked: not asked.beyond)
STEPS: Final = st.lists(st.integers(1, 10_000), unique=True, max_size=4).flatmap(
    lambda tops: st.lists(st.decimals(0, 1, places=6), min_size=len(tops) + 1, max_size=len(tops) + 1).map(
        lambda costs: tuple(map(Step, [*sorted(tops), None], costs))
    )
)


def amounts(found: Answer) -> tuple[Amount, Amount, Amount]:
    return found.one_time, found.before, found.after


@given(AMOUNTS)
def test_what_json_tells_adds_up_exactly_and_reads_back(amount: Amount) -> None:
    told = amount.as_json()
    assert Decimal(told.pop("total")) == sum(map(Decimal, told.values()))
    assert Amount.from_json(told).as_json() == amount.as_json()
    assert abs(Amount.from_json(told).total - amount.total) < Decimal("1e-10")


@given(AMOUNTS, AMOUNTS, st.integers(-5, 5))
def test_sums_and_multiples_of_amounts_are_those_of_their_totals(one: Amount, other: Amount, factor: int) -> None:
    assert (one + other).total == one.total + other.total
    assert (one - other).total == one.total - other.total
    assert (one * factor).total == one.total * factor


@given(MONEY)
def test_an_amount_is_shown_to_the_cent_or_with_two_digits_that_say_something(value: Decimal) -> None:
    shown = Decimal(usd(value).replace("$", "").replace(",", "").replace("<", ""))
    assert abs(shown - value) <= max(Decimal("0.005"), Decimal("1e-9")) if abs(value) >= Decimal("0.01") else True
    if Decimal("1e-9") <= abs(value) < Decimal("0.01"):
        assert abs(shown - value) <= abs(value) / 10
    assert (shown == 0) is (value == 0)


@given(MONEY)
def test_a_plain_decimal_has_no_exponent_and_the_same_value(value: Decimal) -> None:
    assert "E" not in plain(value)
    assert Decimal(plain(value)) == value


@given(QUESTIONS)
def test_the_parts_of_a_what_if_add_up_in_json_and_nothing_is_below_zero(asked: Question) -> None:
    for amount in amounts(answer(asked)):
        told = amount.as_json()
        assert Decimal(told.pop("total")) == sum(map(Decimal, told.values()))
        assert all(Decimal(value) >= 0 for value in told.values())


@given(QUESTIONS.filter(lambda asked: asked.pack is None), OBJECTS)
def test_more_objects_never_cost_less(asked: Question, more: int) -> None:
    larger = answer(replace(asked, objects=asked.objects + more))
    for amount, dearer in zip(amounts(answer(asked)), amounts(larger), strict=True):
        assert all(getattr(dearer, kind) >= getattr(amount, kind) for kind in KINDS)


@given(QUESTIONS, PLAIN, PLAIN, SIZES)
def test_more_bytes_never_cost_less(asked: Question, source: ClassPrices, target: ClassPrices, more: int) -> None:
    asked = replace(asked, source=source, target=target)  # a class may move larger objects by itself, and save
    larger = answer(replace(asked, size=asked.size + more))
    for amount, dearer in zip(amounts(answer(asked)), amounts(larger), strict=True):
        assert all(getattr(dearer, kind) >= getattr(amount, kind) for kind in KINDS)


@given(QUESTIONS, READS)
def test_more_reads_never_lower_requests_retrieval_or_the_bill(asked: Question, more: Decimal) -> None:
    found, larger = answer(asked), answer(replace(asked, reads=asked.reads + more))
    for amount, dearer in ((found.before, larger.before), (found.after, larger.after)):
        assert dearer.requests >= amount.requests
        assert dearer.retrieval >= amount.retrieval
        assert dearer.total >= amount.total - Decimal("1e-9")  # shares of time are rounded at 28 digits
    assert larger.one_time.retrieval == found.one_time.retrieval


def dearer(prices: ClassPrices, factor: Decimal) -> ClassPrices:
    """The same class with every price multiplied."""
    scaled = {
        field.name: value * factor
        for field in fields(prices)
        if isinstance(value := getattr(prices, field.name), Decimal)
    }
    return replace(
        prices,
        **scaled,
        storage=tuple(Step(step.up_to_gb, step.per_gb * factor) for step in prices.storage),
        standard=tuple(Step(step.up_to_gb, step.per_gb * factor) for step in prices.standard),
        inner=tuple(replace(inner, per_gb=inner.per_gb * factor) for inner in prices.inner),
        retrieval={
            speed: Retrieval(way.per_gb * factor, way.per_request * factor, way.hours)
            for speed, way in prices.retrieval.items()
        },
    )


@given(QUESTIONS, st.decimals(1, 3, places=3))
def test_a_dearer_class_is_never_cheaper(asked: Question, factor: Decimal) -> None:
    found = answer(asked)
    worse_target = answer(replace(asked, target=dearer(asked.target, factor)))
    worse_source = answer(replace(asked, source=dearer(asked.source, factor)))
    slack = Decimal("1e-12") * (1 + found.one_time.total + found.before.total + found.after.total)
    assert worse_target.after.total >= found.after.total - slack
    assert worse_target.one_time.total >= found.one_time.total - slack
    assert worse_target.before == found.before
    assert worse_source.before.total >= found.before.total - slack
    assert worse_source.one_time.total >= found.one_time.total - slack
    assert worse_source.after == found.after


@given(QUESTIONS)
def test_after_the_payback_the_move_has_paid_for_itself_and_not_before(asked: Question) -> None:
    found = answer(asked)
    saving = found.before.total - found.after.total
    if found.payback is None:
        assert saving <= 0
    else:
        assert abs(found.payback * saving - found.one_time.total) <= Decimal("1e-12") * (1 + found.one_time.total)


@given(STEPS, st.decimals(0, 20_000, places=3), st.decimals(0, 20_000, places=3))
def test_the_price_of_a_volume_does_not_depend_on_the_parts_it_is_counted_in(
    steps: tuple[Step, ...], below: Decimal, above: Decimal
) -> None:
    assert by_steps(steps, below) + by_steps(steps, above, below) == by_steps(steps, below + above)


@given(CLASSES, READS)
def test_the_shares_of_a_month_add_up_and_reading_keeps_an_object_hot(prices: ClassPrices, reads: Decimal) -> None:
    found = shares(prices, reads)
    assert all(share >= 0 for share in found)
    assert abs(sum(found) - 1) < Decimal("1e-20")
    assert shares(prices, reads + 1)[0] >= found[0]


@given(PLAIN, st.integers(0, 10**6), st.integers(0, 10**9))
def test_stocks_add_up_like_what_they_cost(prices: ClassPrices, objects: int, size: int) -> None:
    one, two = Stock.of(prices, objects, size), Stock.of(prices, 2 * objects, size)
    assert one + one == two
    together = stored(prices, one) + stored(prices, one, above=one.billable)
    assert abs(together.total - stored(prices, two).total) < Decimal("1e-12")


@given(CLASSES, st.integers(0, 10**9), st.integers(0, 10**15))
def test_traffic_costs_the_same_in_one_part_or_two(prices: ClassPrices, reads: int, nbytes: int) -> None:
    half, whole = read(prices, Traffic(reads, nbytes)), read(prices, Traffic(2 * reads, 2 * nbytes))
    assert abs((half + half - whole).total) < Decimal("1e-12")


def test_payback_at_the_borders() -> None:
    assert payback_months(Decimal(0), Decimal(1), Decimal(1)) == 0
    assert payback_months(Decimal(0), Decimal(1), Decimal(2)) is None
    assert payback_months(Decimal(1), Decimal(1), Decimal(1)) is None
    assert payback_months(Decimal(6), Decimal(3), Decimal(1)) == 3
