"""Laws of what moves cost, and documented cases: amounts alone, without a catalog."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.clock import DAY
from storaged.decide.money import PART, Counts, MoveTerms, Route, Volumes, reckon, route_of
from storaged.prices.amount import Amount
from storaged.prices.book import ClassPrices, Retrieval, Step
from storaged.prices.load import load_prices
from tests.decide.pricing import GB, MONTH

BOOK = load_prices()
CLASSES = sorted(name for name in BOOK.classes if name.startswith("aws/us-east-1/"))
CENT = Decimal("0.01")


def counts(objects: int, size: int, route: Route, *, reads: Decimal | int = 0, days_left: int = 0) -> Counts:
    """So many plain objects of one size, moved as they are, each read whole so often a month."""
    billable = objects * max(size, route.source.minimum_bytes)
    parts = -(-size // PART)
    return Counts(
        objects=objects,
        size=objects * size,
        stored=objects * size,
        billable=billable,
        monitored=objects if size >= route.source.monitoring_bytes else 0,
        gets=objects * -(-size // (4 << 20)),
        after_objects=objects,
        after=objects * size,
        after_billable=objects * max(size, route.target.minimum_bytes),
        after_monitored=objects if size >= route.target.monitoring_bytes else 0,
        after_gets=objects * -(-size // (4 << 20)),
        singles=objects if size <= PART else 0,
        multiparts=objects if size > PART else 0,
        parts=objects * parts if size > PART else 0,
        owed_bytes=billable * days_left,
        owed_objects=objects * days_left,
        reads=objects * reads,
        read_bytes=objects * reads * size,
        after_read_bytes=objects * reads * size,
    )


def route(source: str, target: str, *, in_place: bool = False) -> Route:
    return route_of(BOOK.classes[source], BOOK.classes[target], BOOK, in_place=in_place, at_key=True, reads_back=False)


def come_to(r: Route, c: Counts, terms: MoveTerms | None = None) -> tuple[Amount, Amount, Amount]:
    return reckon([(r, c)], terms or MoveTerms(7 * DAY), Volumes())


routes = st.builds(route, st.sampled_from(CLASSES), st.sampled_from(CLASSES), in_place=st.booleans())
objects = st.integers(1, 10**9)
sizes = st.integers(0, 10**12)
reads = st.integers(0, 100).map(Decimal)


@given(routes, objects, sizes, reads, reads)
def test_more_reads_never_lower_a_bill(r: Route, n: int, size: int, few: Decimal, more: Decimal) -> None:
    """Before and after, requests and retrieval grow with reads, and nothing else does."""
    one, other = (come_to(r, counts(n, size, r, reads=few + extra)) for extra in (Decimal(0), more))
    assert one[0] == other[0]
    for less, greater in zip(one[1:], other[1:], strict=True):
        assert greater.requests >= less.requests
        assert greater.retrieval >= less.retrieval
        assert replace(greater, requests=less.requests, retrieval=less.retrieval) == less


def dearer(prices: ClassPrices, by: Decimal) -> ClassPrices:
    """Every price of a class higher by a factor."""
    ways = {name: Retrieval(w.per_gb * by, w.per_request * by, w.hours) for name, w in prices.retrieval.items()}
    storage = tuple(Step(step.up_to_gb, step.per_gb * by) for step in prices.storage)
    return replace(
        prices,
        storage=storage,
        put=prices.put * by,
        get=prices.get * by,
        retrieval=ways,
        monitoring=prices.monitoring * by,
    )


@given(routes, objects, sizes, reads, st.integers(0, 180), st.integers(100, 900).map(lambda n: Decimal(n) / 100))
def test_a_dearer_target_never_saves_more(r: Route, n: int, size: int, rate: Decimal, left: int, by: Decimal) -> None:
    """Neither does it cost less to get there; and a dearer source never saves less."""
    c = counts(n, size, r, reads=rate, days_left=left)
    once, before, after = come_to(r, c)
    worse = replace(r, target=dearer(r.target, by))
    once_worse, before_worse, after_worse = come_to(worse, c)
    assert before_worse == before
    assert after_worse.total >= after.total
    assert once_worse.total >= once.total
    once_left, before_left, after_left = come_to(replace(r, source=dearer(r.source, by)), c)
    assert before_left.total - after_left.total >= before.total - after.total
    assert once_left.total >= once.total


@given(st.lists(st.tuples(routes, st.integers(1, 1000), st.integers(0, 10**10), reads), max_size=6))
def test_parts_add_up_to_the_whole(groups: list[tuple[Route, int, int, Decimal]]) -> None:
    """Kinds to totals; groups to sums; and what leaves one class is in another."""
    made = [(r, counts(n, size, r, reads=rate)) for r, n, size, rate in groups]
    room = dict.fromkeys(CLASSES, 10**18)  # beyond the last volume step, so that the order does not matter
    whole = Volumes(room)
    together = reckon(made, MoveTerms(7 * DAY), whole)
    single = [reckon([one], MoveTerms(7 * DAY), Volumes(room)) for one in made]
    for number, amount in enumerate(together):
        summed = sum((parts[number] for parts in single), Amount())
        assert {f.name: round(getattr(amount, f.name), 12) for f in fields(Amount)} == {
            f.name: round(getattr(summed, f.name), 12) for f in fields(Amount)
        }
        assert sum(getattr(amount, f.name) for f in fields(Amount)) == amount.total
    moved = sum(c.billable for _, c in made), sum(c.after_billable for _, c in made)
    assert sum(whole.of(BOOK.classes[name]) for name in CLASSES) == sum(room.values()) - moved[0] + moved[1]


@given(routes, st.integers(1, 10**5), st.integers(1, 10**6), reads)
def test_packs_are_fewer_and_hold_the_same(r: Route, n: int, size: int, rate: Decimal) -> None:
    """Never more objects, never more billable bytes; the same bytes, sources, reads. Twice is once."""
    c = counts(n, size, r, reads=rate)
    packed = c.as_packs()
    assert packed.after_objects <= c.after_objects
    assert packed.after_billable <= c.after_billable
    same = ("objects", "size", "stored", "billable", "gets", "after", "reads", "read_bytes", "after_read_bytes")
    assert all(getattr(packed, name) == getattr(c, name) for name in same)
    assert packed.as_packs() == packed


def test_two_billion_small_objects_cost_43_thousand_dollars_to_move_to_coldline() -> None:
    """github.com/cal-itp/data-infra#5431 and #5727: 2.17 billion objects of 20 KB; written as packs, some tens."""
    coldline = BOOK.classes["gcs/us-central1/coldline"]
    r = route_of(BOOK.classes["gcs/us-central1/standard"], coldline, BOOK, in_place=True, at_key=True, reads_back=False)
    n = 2_170_000_000
    once, _, _ = come_to(r, counts(n, 20_000, r))
    assert once.transition == n * Decimal("0.00002")
    assert round(once.transition, -3) == 43_000
    rewritten = replace(r, in_place=False)
    packed, _, _ = come_to(rewritten, counts(n, 20_000, rewritten).as_packs())
    packs, parts = -(-n * 20_000 // (256 << 20)), -(-n * 20_000 // (8 << 20))
    puts = packed.requests - n * rewritten.source.get
    assert puts == (2 * packs + parts) * coldline.put + packs * BOOK.classes["gcs/us-central1/standard"].put
    assert puts < 150


def test_an_archived_object_takes_40_kilobytes_more() -> None:
    """32 KiB at its class's price and 8 KiB at Standard's (S3 User Guide, "Transitioning objects")."""
    r = route("aws/us-east-1/standard", "aws/us-east-1/glacier")
    _, _, after = come_to(r, counts(100_000, 1 << 30, r))
    beside = 100_000 * (32 << 10) / GB, 100_000 * (8 << 10) / GB
    assert after.overhead == beside[0] * Decimal("0.0036") + beside[1] * Decimal("0.023")
    assert after.storage == 100_000 * Decimal("0.0036")


@pytest.mark.parametrize(("days_left", "owed"), [(0, "0"), (20, "8.21"), (30, "12.32")])
def test_leaving_early_owes_the_days_that_are_left(days_left: int, owed: str) -> None:
    """1,000 GB in Standard-IA at 0.0125: 20 days more of it, in months of 30.4375 days."""
    r = route("aws/us-east-1/standard-ia", "aws/us-east-1/standard", in_place=True)
    once, _, _ = come_to(r, counts(1000, 1 << 30, r, days_left=days_left))
    assert once.early_deletion == 1000 * Decimal("0.0125") * days_left / MONTH
    assert once.early_deletion.quantize(CENT) == Decimal(owed).quantize(CENT)
    assert once.grace == 0
