"""Budgets of tiers: never more than the rates allow, and never a longer wait than they demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.engine import create_catalog
from storaged.clock import SECOND
from storaged.config.settings import load_settings
from storaged.errors import StoreUnavailable
from storaged.stores.memory import MemoryStore
from storaged.stores.throttled import PAGE, PART, Budget, Throttled
from storaged.testing import Fault, Faults, FaultyStore
from storaged.testing.clock import FakeClock
from storaged.testing.things import MINE, create, keys
from storaged.work.context import Context
from tests.daemon.farm import Sundial

RATES = st.integers(1, 10**9)
STEPS = st.lists(
    st.tuples(
        st.floats(0, 5),  # seconds without asking
        st.floats(0, 4),  # seconds' worth that are asked for then
        st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.1]),  # the share from then on
    ),
    min_size=1,
    max_size=30,
)


def spent(clock: FakeClock, act: Callable[[], object]) -> float:
    """How long something takes (seconds)."""
    before = clock.now_us()
    act()
    return (clock.now_us() - before) / SECOND


# -- the laws --------------------------------------------------------------------------------------------------------


@given(rate=RATES, steps=STEPS)
def test_over_no_interval_is_more_taken_than_its_rate_and_one_burst(
    rate: int, steps: list[tuple[float, float, float]]
) -> None:
    clock = FakeClock()
    budget = Budget(clock, bytes_per_second=rate)
    taken: list[tuple[float, float, int]] = []  # asked, allowed (both as bytes earned so far), and how much
    earned, since = 0.0, clock.now_us()
    for idle, worth, share in steps:
        budget.share = share
        clock.advance(idle)
        earned, since = earned + (clock.now_us() - since) * rate * share / SECOND, clock.now_us()
        asked, amount = earned, round(worth * rate)
        budget.take(nbytes=amount)
        earned, since = earned + (clock.now_us() - since) * rate * share / SECOND, clock.now_us()
        taken.append((asked, earned, amount))
    for first, (asked, _, _) in enumerate(taken):
        total = 0
        for _, allowed, amount in taken[first:]:
            total += amount
            assert total <= allowed - asked + rate + 1e-6 * rate


@given(rate=RATES, steps=STEPS)
def test_nobody_waits_longer_than_the_rate_demands(rate: int, steps: list[tuple[float, float, float]]) -> None:
    clock = FakeClock()
    budget = Budget(clock, bytes_per_second=rate)
    credit, since = Fraction(rate), clock.now_us()
    for idle, worth, _ in steps:
        clock.advance(idle)
        amount = round(worth * rate)
        credit = min(credit + Fraction(rate * (clock.now_us() - since), SECOND), Fraction(rate)) - amount
        since = clock.now_us()
        waited = spent(clock, lambda amount=amount: budget.take(nbytes=amount))
        pieces = amount // rate + 1  # each wakes up to a microsecond late
        assert float(max(Fraction(0), -credit) / rate) <= waited + 1e-6
        assert waited <= float(max(Fraction(0), -credit) / rate) + (2 * pieces + 1) * 1e-6


@given(
    requests=st.integers(1, 5),
    kilobytes=st.integers(0, 10),
    per_second=st.tuples(st.integers(1, 5), st.integers(1, 10)),
)
def test_requests_and_bytes_are_waited_for_together_not_one_after_the_other(
    requests: int, kilobytes: int, per_second: tuple[int, int]
) -> None:
    clock = FakeClock()
    budget = Budget(clock, bytes_per_second=per_second[1] * 1_000, requests_per_second=per_second[0])
    needed = max(0.0, requests / per_second[0] - 1, kilobytes / per_second[1] - 1)
    assert spent(clock, lambda: budget.take(requests, kilobytes * 1_000)) == pytest.approx(needed, abs=1e-4)


@given(threads=st.integers(2, 8), takes=st.integers(1, 10))
def test_many_threads_keep_the_budget_together(threads: int, takes: int) -> None:
    clock = FakeClock()
    budget = Budget(clock, bytes_per_second=1_000)
    with ThreadPoolExecutor(threads) as pool:
        took = spent(clock, lambda: list(pool.map(lambda _: budget.take(nbytes=700), range(threads * takes))))
    assert took >= threads * takes * 0.7 - 1


# -- in particular ---------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_long_is_no_credit_beyond_a_second() -> None:
    clock = FakeClock()
    budget = Budget(clock, bytes_per_second=1_000)
    clock.advance(3_600)
    assert spent(clock, lambda: budget.take(nbytes=1_000)) == 0
    assert spent(clock, lambda: budget.take(nbytes=2_000)) == 2


def test_a_request_in_ten_seconds_is_one_at_once_and_one_in_ten_seconds() -> None:
    clock = FakeClock()
    budget = Budget(clock, requests_per_second=0.1)
    assert spent(clock, budget.take) == 0
    assert spent(clock, budget.take) == pytest.approx(10)


def test_without_limits_nothing_waits() -> None:
    clock = FakeClock()
    budget = Budget(clock)
    budget.share = 0.01
    assert spent(clock, lambda: [budget.take(1_000, 1 << 50) for _ in range(100)]) == 0


def test_a_small_request_goes_between_the_pieces_of_a_large_one() -> None:
    class Interrupting(FakeClock):
        """While it lets the first time pass, somebody else asks for a little."""

        waited: float | None = None

        def sleep(self, seconds: float) -> None:
            if self.waited is None:
                self.waited = 0.0
                self.waited = spent(self, lambda: budget.take(nbytes=10))
            super().sleep(seconds)

    clock = Interrupting()
    budget = Budget(clock, bytes_per_second=1_000)
    budget.take(nbytes=1_000)
    took = spent(clock, lambda: budget.take(nbytes=60_000))
    assert took >= 60
    assert clock.waited is not None
    assert 0 < clock.waited <= 1.1


def test_a_smaller_share_counts_for_those_who_wait_already() -> None:
    class Joined(FakeClock):
        """After so many seconds of waiting nine other daemons are there."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            budget.share = 0.1

    clock = Joined()
    budget = Budget(clock, bytes_per_second=1_000)
    assert spent(clock, lambda: budget.take(nbytes=3_000)) == pytest.approx(1 + 10, abs=0.01)


def test_a_larger_share_counts_within_a_second_for_those_who_wait_already() -> None:
    class Left(FakeClock):
        """As soon as anybody waits, the other daemons are gone."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            budget.share = 1

    clock = Left()
    budget = Budget(clock, requests_per_second=0.1)
    budget.take()
    budget.share = 0.1
    assert spent(clock, budget.take) <= 1 + 10


def test_who_asked_first_does_not_wait_for_who_asked_later() -> None:
    asked, over = threading.Event(), threading.Event()

    class Overtaken(FakeClock):
        """While the first waits a second one asks, and does not wake before the first is served."""

        def sleep(self, seconds: float) -> None:
            if threading.current_thread() is later:
                asked.set()
                assert over.wait(30)
            elif not later.is_alive():
                later.start()
                assert asked.wait(30)
            super().sleep(seconds)

    clock = Overtaken()
    budget = Budget(clock, bytes_per_second=1_000)
    later = threading.Thread(target=lambda: budget.take(nbytes=700))
    budget.take(nbytes=1_000)
    try:
        assert spent(clock, lambda: budget.take(nbytes=500)) == 0.5
    finally:
        over.set()
        later.join()


def test_a_clock_that_is_put_back_makes_nobody_wait_for_it() -> None:
    clock = Sundial()
    budget = Budget(clock, bytes_per_second=1_000)
    budget.take(nbytes=1_000)
    clock.set(-86_400)
    assert spent(clock, lambda: budget.take(nbytes=500)) == 0.5
    clock.set(86_400)
    assert spent(clock, lambda: budget.take(nbytes=2_000)) == 1


@pytest.mark.parametrize("share", [0, -0.5, 1.01, float("nan")])
def test_a_share_is_a_part_of_the_whole(share: float) -> None:
    budget = Budget(FakeClock(), bytes_per_second=1)
    with pytest.raises(ValueError, match="a share is"):
        budget.share = share
    assert budget.share == 1


# -- the store -------------------------------------------------------------------------------------------------------


def test_reads_and_writes_of_a_store_share_its_bytes_per_second() -> None:
    clock = FakeClock()
    store = Throttled(MemoryStore(clock=clock), Budget(clock, bytes_per_second=1_000))

    def use() -> None:
        for n in range(10):
            create(store, f"{n}", b"x" * 500, f"{n:032x}")
        for n in range(10):
            with store.open(f"{n}") as reader:
                assert reader.read_at(0, 10_000) == b"x" * 500  # what is not there is not paid for
                assert reader.read_at(600, 100) == b""

    assert spent(clock, use) == pytest.approx(9, abs=0.01)


def test_every_call_that_a_store_must_answer_is_a_request() -> None:
    clock = FakeClock()
    memory = MemoryStore(clock=clock)
    memory.put("a", b"x")
    for n in range(2 * PAGE):
        memory.put(f"many/{n:04}", b"")
    calls: dict[str, tuple[int, Callable[[Throttled], object]]] = {
        "head": (1, lambda s: s.head("a")),
        "open and read": (3, lambda s: [(r := s.open("a")).read_at(0, 1), r.read_at(0, 1)]),
        "two full pages, and one to see the end": (3, lambda s: keys(s, "many/")),
        "an empty page": (1, lambda s: keys(s, "none/")),
        "identity": (1, lambda s: s.identity("a")),
        "open and metadata": (2, lambda s: s.open("a").metadata()),
        "origin": (1, lambda s: s.origin("a")),
        "checksum": (1, lambda s: s.checksum("a")),
        "locked_until": (1, lambda s: s.locked_until("a")),
        "warmth": (1, lambda s: s.warmth("a")),
        "create and commit": (2, lambda s: create(s, "b", b"x")),
        "an upload of two parts": (4, lambda s: create(s, "c", b"x" * 2 * PART, "1" * 32)),
        "attempts": (1, lambda s: list(s.attempts())),
        "delete_attempt": (1, lambda s: s.delete_attempt("b", attempt=MINE)),
        "write_note": (1, lambda s: s.write_note("n", b"x", create_only=True)),
        "read_note": (1, lambda s: s.read_note("n")),
        "list_notes": (1, lambda s: list(s.list_notes(""))),
        "delete_note": (1, lambda s: s.delete_note("n")),
        "delete": (1, lambda s: s.delete("a", identity=memory.head("a").identity)),
    }
    for name, (requests, call) in calls.items():
        budget = Budget(clock, requests_per_second=1)
        budget.take()  # what may be had at once
        took = spent(clock, lambda call=call, budget=budget: call(Throttled(memory, budget)))
        assert took == pytest.approx(requests), name


def test_another_try_is_another_request(tmp_path: Path) -> None:
    clock = FakeClock()
    context, faults = budgeted(tmp_path, clock, Faults(Fault("head", 1, StoreUnavailable("away"))))
    store = context.tier("hot")
    create(store, "a", b"x")
    context.budgets["hot"].take(6)  # eight a second: none is left
    assert spent(clock, lambda: store.head("a")) >= 0.25
    faults.assert_all_hit()


def budgeted(place: Path, clock: FakeClock, faults: Faults) -> tuple[Context, Faults]:
    """Tiers with a budget and without, as commands and daemons open them."""
    config = place / "storaged.yaml"
    config.write_text(
        f"""\
tiers:
  hot: {{rank: 0, url: "file://{place}/hot", budget: {{bytes_per_second: 1KiB, requests_per_second: 8}}}}
  cold: {{rank: 1, url: "file://{place}/cold"}}
"""
    )
    for name in ("hot", "cold"):
        (place / name).mkdir()
    settings = load_settings(config)
    catalog = create_catalog(f"sqlite:///{place}/catalog.db")
    catalog.close()
    return Context(settings, catalog, clock, actor="test", wrap=lambda store: FaultyStore(store, faults)), faults


def test_a_tier_is_opened_with_its_budget_and_another_one_without(tmp_path: Path) -> None:
    clock = FakeClock()
    context, _ = budgeted(tmp_path, clock, Faults())
    assert set(context.budgets) == {"hot"}
    assert spent(clock, lambda: create(context.tier("cold"), "a", b"x" * 10_240)) == 0
    assert spent(clock, lambda: create(context.tier("hot"), "a", b"x" * 10_240)) == pytest.approx(9, abs=0.01)
    context.budgets["hot"].share = 0.5
    assert spent(clock, lambda: create(context.tier("hot"), "b", b"x" * 10_240, "2" * 32)) >= 19
