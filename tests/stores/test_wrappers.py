"""Another try, a refusal to write."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.errors import AlreadyExists, PermissionDenied, StoreUnavailable
from storaged.stores.base import Deleted, New, Skipped, Store
from storaged.stores.listed import Listed, together
from storaged.stores.memory import MemoryStore
from storaged.stores.read_only import ReadOnly
from storaged.stores.wrappers import Retrying, StoreWrapper
from storaged.testing import FakeClock
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.testing.things import MINE, create, keys

AWAY = StoreUnavailable("away")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def memory() -> MemoryStore:
    return filled()


def filled() -> MemoryStore:
    memory = MemoryStore(clock=FakeClock())
    memory.put("a", b"123")
    memory.write_note("claim", b"mine", create_only=True)
    return memory


class FlakyListing(StoreWrapper):
    """Every listing breaks off after so many objects, until nothing is left."""

    def __init__(self, store: Store, breaks_after: int) -> None:
        super().__init__(store)
        self.begun: list[str] = []
        self._breaks_after = breaks_after

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        self.begun.append(after)
        for n, entry in enumerate(self._store.list(prefix, after)):
            if n == self._breaks_after:
                raise AWAY
            yield from together([entry])


def retrying(store: Store, clock: FakeClock, tries: int = 3) -> Retrying:
    return Retrying(store, clock, rng=random.Random(1), tries=tries)


CALLS: dict[str, Callable[[Store], object]] = {
    "head": lambda store: store.head("a").size,
    "open": lambda store: store.open("a").stat.size,
    "read_at": lambda store: store.open("a").read_at(0, 3),
    "list": keys,
    "folder": lambda store: store.folder("", 10),
    "origin": lambda store: store.origin("a"),
    "create": lambda store: create(store, "b", b"x").size,
    "read_note": lambda store: store.read_note("claim"),
    "write_note": lambda store: store.write_note("claim", b"new", create_only=False),
    "delete_note": lambda store: store.delete_note("claim"),
    "list_notes": lambda store: list(store.list_notes("")),
    "free_bytes": lambda store: store.free_bytes(),
    "delete": lambda store: store.delete("a", identity=store.head("a").identity),
    "delete_attempt": lambda store: store.delete_attempt("a", attempt=MINE),
}


@pytest.mark.parametrize("method", CALLS)
def test_a_call_that_fails_for_a_moment_is_made_again(method: str, memory: MemoryStore, clock: FakeClock) -> None:
    expected = CALLS[method](filled())
    faults = Faults(Fault(method, 1, AWAY), Fault(method, 2, AWAY))
    started = clock.now_us()
    assert CALLS[method](retrying(FaultyStore(memory, faults), clock)) == expected
    faults.assert_all_hit()
    assert clock.now_us() > started


@pytest.mark.parametrize("method", CALLS)
def test_after_the_last_try_the_error_itself_comes_out(method: str, memory: MemoryStore, clock: FakeClock) -> None:
    faults = Faults(Fault(method, 0, AWAY))
    with pytest.raises(StoreUnavailable) as caught:
        CALLS[method](retrying(FaultyStore(memory, faults), clock))
    assert caught.value is AWAY
    assert faults.calls(method) == 3


@pytest.mark.parametrize("method", CALLS)
def test_an_error_that_will_stay_is_not_tried_again(method: str, memory: MemoryStore, clock: FakeClock) -> None:
    faults = Faults(Fault(method, 0, PermissionDenied("no")))
    with pytest.raises(PermissionDenied):
        CALLS[method](retrying(FaultyStore(memory, faults), clock))
    assert faults.calls(method) == 1


@pytest.mark.parametrize("method", ["write", "commit"])
@pytest.mark.parametrize("late", [True, False])
def test_a_write_and_a_commit_are_never_repeated(
    method: str, late: bool, memory: MemoryStore, clock: FakeClock
) -> None:
    faults = Faults(Fault(method, 1, AWAY, late=late))
    with pytest.raises(StoreUnavailable):
        create(retrying(FaultyStore(memory, faults), clock), "b", b"x")
    assert faults.calls(method) == 1
    assert (memory.get("b") is not None) == (method == "commit" and late)


def test_a_listing_goes_on_where_it_broke_off(clock: FakeClock) -> None:
    memory = MemoryStore(clock=clock)
    for n in range(10):
        memory.put(f"{n}", b"")
    flaky = FlakyListing(memory, breaks_after=3)
    assert keys(retrying(flaky, clock)) == [f"{n}" for n in range(10)]
    assert flaky.begun == ["", "2", "5", "8"]


def test_a_listing_that_never_gets_on_ends(clock: FakeClock) -> None:
    memory = MemoryStore(clock=clock)
    memory.put("a", b"")
    flaky = FlakyListing(memory, breaks_after=0)
    with pytest.raises(StoreUnavailable):
        keys(retrying(flaky, clock))
    assert flaky.begun == ["", "", ""]


def test_a_delete_whose_answer_was_lost_finds_it_gone(memory: MemoryStore, clock: FakeClock) -> None:
    store = retrying(FaultyStore(memory, Faults(Fault("delete", 1, AWAY, late=True))), clock)
    assert store.delete("a", identity=memory.head("a").identity) is Deleted.ABSENT


def test_a_note_whose_answer_was_lost_is_ours_only_if_it_says_the_same(memory: MemoryStore, clock: FakeClock) -> None:
    store = retrying(FaultyStore(memory, Faults(Fault("write_note", 1, AWAY, late=True))), clock)
    store.write_note("journal/1", b"ours", create_only=True)
    assert memory.read_note("journal/1") == b"ours"
    with pytest.raises(AlreadyExists):
        store.write_note("journal/1", b"ours", create_only=True)  # nothing was lost this time
    other = retrying(FaultyStore(memory, Faults(Fault("write_note", 1, AWAY))), clock)
    with pytest.raises(AlreadyExists):
        other.write_note("claim", b"theirs", create_only=True)
    assert memory.read_note("claim") == b"mine"


@given(seed=st.integers(), tries=st.integers(2, 12))
def test_waits_stay_within_their_doubling_limit(seed: int, tries: int) -> None:
    clock = FakeClock()
    store = Retrying(
        FaultyStore(MemoryStore(clock=clock), Faults(Fault("head", 0, AWAY))),
        clock,
        rng=random.Random(seed),
        tries=tries,
        first_s=0.5,
        longest_s=8,
    )
    started = clock.now_us()
    with pytest.raises(StoreUnavailable):
        store.head("a")
    longest = sum(min(8.0, 0.5 * 2**n) for n in range(tries - 1))
    assert 0 <= clock.now_us() - started <= longest * 1_000_000 + tries


def test_a_read_only_store_reads_and_refuses_every_change(memory: MemoryStore) -> None:
    store = ReadOnly(memory)
    assert (store.traits.writable, memory.traits.writable) == (False, True)
    assert keys(store) == ["a"]
    assert store.open("a").read_at(0, 3) == b"123"
    assert store.read_note("claim") == b"mine"
    identity = memory.head("a").identity
    for call in (
        lambda: store.create("b", New(MINE)),
        lambda: store.delete("a", identity=identity),
        lambda: store.delete_attempt("a", attempt=MINE),
        lambda: store.write_note("claim", b"x", create_only=False),
        lambda: store.delete_note("claim"),
    ):
        with pytest.raises(PermissionDenied, match="read-only"):
            call()
    assert memory.get("a") == b"123"
