"""The store that fails as told does exactly that: what tests rest on is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.errors import ObjectNotFound, StoreError, StoreUnavailable
from storaged.stores.base import Deleted, Store
from storaged.stores.local import LocalStore
from storaged.stores.memory import MemoryStore
from storaged.testing import FakeClock
from storaged.testing.faults import Crash, Fault, Faults, FaultyStore, cut, flipped
from storaged.testing.things import MINE, OTHER, create, keys, origin_of
from tests.stores.conftest import files_below

AWAY = StoreUnavailable("away")


@pytest.fixture(params=["memory", "local"])
def inner(request: pytest.FixtureRequest, root: Path) -> Store:
    return MemoryStore(clock=FakeClock()) if request.param == "memory" else LocalStore(root.as_uri())


def read(store: Store, key: str) -> bytes:
    with store.open(key) as reader:
        return reader.read_at(0, reader.stat.size)


def test_only_the_call_that_was_named_fails(inner: Store) -> None:
    store = FaultyStore(inner, Faults(Fault("head", 2, AWAY)))
    create(store, "a", b"x")
    store.head("a")
    with pytest.raises(StoreUnavailable):
        store.head("a")
    store.head("a")
    assert store.faults.calls("head") == 3


def test_a_late_error_comes_after_the_effect(inner: Store) -> None:
    store = FaultyStore(inner, Faults(Fault("commit", error=AWAY, late=True), Fault("delete", error=AWAY)))
    with pytest.raises(StoreUnavailable):
        create(store, "a", b"x")
    assert read(inner, "a") == b"x"
    with pytest.raises(StoreUnavailable):
        store.delete("a", identity=inner.head("a").identity)
    assert read(inner, "a") == b"x"
    store.faults.assert_all_hit()


def test_a_fault_that_never_happened_fails_the_test(inner: Store) -> None:
    store = FaultyStore(inner, Faults(Fault("head", 1, AWAY), Fault("head", 3, AWAY)))
    with pytest.raises(StoreUnavailable):
        store.head("a")
    with pytest.raises(ObjectNotFound):
        store.head("a")
    with pytest.raises(AssertionError, match="call=3"):
        store.faults.assert_all_hit()


def test_a_lying_disk_stores_something_else_and_says_nothing(inner: Store) -> None:
    store = FaultyStore(inner, Faults(Fault("write", 1, damage=cut), Fault("write", 2, damage=flipped)))
    create(store, "a", b"0123")
    create(store, "b", b"0123", OTHER)
    assert read(inner, "a") == b"01"
    assert read(inner, "b") == b"0133"
    assert read(FaultyStore(inner, Faults(Fault("read_at", damage=flipped))), "b") == b"0123"


def test_a_put_that_lands_late_lands_when_told_even_if_its_attempt_was_deleted(inner: Store) -> None:
    store = FaultyStore(inner, Faults(Fault("commit", error=AWAY, lands_later=True)))
    with pytest.raises(StoreUnavailable):
        create(store, "a", b"late")
    assert keys(inner) == []
    assert store.delete_attempt("a", attempt=MINE) is Deleted.ABSENT
    assert store.faults.land() == 1
    assert store.faults.land() == 0
    assert read(inner, "a") == b"late"
    assert inner.origin("a") == origin_of(MINE)


def test_a_put_that_lands_on_a_taken_key_changes_nothing(inner: Store) -> None:
    store = FaultyStore(inner, Faults(Fault("commit", error=AWAY, lands_later=True)))
    with pytest.raises(StoreUnavailable):
        create(store, "a", b"late")
    create(store, "a", b"first", OTHER)
    assert store.faults.land() == 0
    assert read(inner, "a") == b"first"


def test_hooks_see_every_effect_before_and_after(inner: Store) -> None:
    seen: list[tuple[str, str, str]] = []
    faults = Faults(
        before=lambda method, key: seen.append(("before", method, key)),
        after=lambda method, key: seen.append(("after", method, key)),
    )
    create(FaultyStore(inner, faults), "a", b"x")
    steps = ["create", "write", "commit", "abort"]  # leaving the `with` aborts what is committed: nothing
    assert seen == [(when, method, "a") for method in steps for when in ("before", "after")]


@pytest.mark.parametrize("method", ["create", "write", "commit"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_leaves_things_as_they_were_at_that_moment(root: Path, method: str, when: str) -> None:
    def die(name: str, _: str) -> None:
        if name == method:
            raise Crash

    inner = LocalStore(root.as_uri())
    store = FaultyStore(inner, Faults(before=die) if when == "before" else Faults(after=die))
    with pytest.raises(Crash):
        create(store, "a", b"x")
    assert keys(inner) == (["a"] if (method, when) == ("commit", "after") else [])
    if (method, when) not in (("create", "before"), ("commit", "after")):
        assert [name for name in files_below(root) if MINE in name], "a dead process does not tidy up"
    with pytest.raises(Crash):
        store.head("a")
    assert inner.delete_attempt("a", attempt=MINE) is not Deleted.CHANGED
    assert files_below(root) in ([], [".storaged/aside/lock"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "rename", "error": AWAY},
        {"method": "head"},
        {"method": "head", "damage": cut},
        {"method": "write", "damage": cut, "error": AWAY},
        {"method": "write", "error": AWAY, "lands_later": True},
        {"method": "commit", "lands_later": True},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fault(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_an_error_of_the_store_itself_passes_through(inner: Store) -> None:
    store = FaultyStore(inner, Faults())
    with pytest.raises(StoreError):
        store.head("..")
