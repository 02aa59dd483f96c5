"""A root that carries its claim itself: nothing of ours is below it but while something is in it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storaged.catalog.facts import Identity
from storaged.errors import AlreadyExists, ForeignClaim, MarkerLost, StoreError
from storaged.stores.base import RESERVED, Deleted, New, Stat
from storaged.stores.local import LocalStore
from storaged.stores.local_claim import CLAIM_XATTR
from storaged.stores.notes import CLAIM
from storaged.testing.things import MINE, origin_of
from storaged.work.claims import Place, holder, rename, take
from tests.stores.test_local_crashes import each_death

PLACE = Place("dataset", "lake")
ONE, OTHER = Identity("one", 1), Identity("other", 1)
WAYS = pytest.mark.parametrize("bare", [False, True], ids=["file", "attribute"])


def at(root: Path, *, bare: bool) -> LocalStore:
    return LocalStore(root.as_uri(), bare=bare)


def put_back(store: LocalStore, key: str, data: bytes) -> Stat:
    """As a return does it: it is said for a moment what became visible."""
    with store.create(key, New(MINE, metadata={"mode": "0644"})) as upload:
        upload.write(data)
        return upload.commit(origin_of(MINE), metadata={"mode": "0644"})


def ways(root: Path) -> set[str]:
    """How a root carries a claim."""
    found = {"attribute"} if CLAIM_XATTR in os.listxattr(root) else set()
    return found | ({"file"} if (root / RESERVED / CLAIM).exists() else set())


def test_a_claimed_root_holds_nothing_of_ours(root: Path) -> None:
    store = at(root, bare=True)
    take(store, ONE, PLACE)
    assert (holder(store), ways(root), list(root.iterdir())) == (ONE, {"attribute"}, [])


# MUST 13
@WAYS
def test_a_second_catalog_finds_the_claim_whatever_its_own_settings_say(root: Path, bare: bool) -> None:
    take(at(root, bare=bare), ONE, PLACE)
    second = at(root, bare=not bare)
    assert holder(second) == ONE
    for claim in (take, lambda *told: rename(*told, journal=False)):
        with pytest.raises(ForeignClaim, match="belongs to catalog one"):
            claim(second, OTHER, PLACE)
    assert holder(second) == ONE


@WAYS
def test_the_other_way_is_taken_when_a_person_claims_the_place_again(root: Path, bare: bool) -> None:
    take(at(root, bare=not bare), ONE, PLACE)
    changed = at(root, bare=bare)
    take(changed, ONE, PLACE)  # as every scan does: what is there is good
    assert ways(root) == {"file" if bare else "attribute"}
    rename(changed, ONE, PLACE, journal=False)
    assert ways(root) == {"attribute" if bare else "file"}
    assert holder(changed) == holder(at(root, bare=not bare)) == ONE
    assert (root / RESERVED).exists() is not bare


@WAYS
def test_a_process_that_dies_in_between_leaves_a_claim(root: Path, monkeypatch: pytest.MonkeyPatch, bare: bool) -> None:
    newer = Identity("one", 2)
    deaths = each_death(
        root,
        monkeypatch,
        lambda place: take(at(place, bare=not bare), ONE, PLACE),
        lambda store, _: rename(at(Path(store.url.removeprefix("file://")), bare=bare), newer, PLACE, journal=False),
    )
    for place, _ in deaths:
        left = at(place, bare=bare)
        assert holder(left) in (ONE, newer)
        rename(left, newer, PLACE, journal=False)
        assert holder(left) == newer
        assert ways(place) == {"attribute" if bare else "file"}


# MUST 13
def test_of_two_that_claim_in_different_ways_at_once_at_most_one_has_it(root: Path) -> None:
    for n in range(60):
        place = root / str(n)
        place.mkdir()
        start = threading.Barrier(2)

        def claim(who: Identity, bare: bool, place: Path = place, start: threading.Barrier = start) -> str:
            start.wait()
            try:
                take(at(place, bare=bare), who, PLACE)
            except (ForeignClaim, MarkerLost):
                return ""
            return who.catalog

        with ThreadPoolExecutor(2) as pool:
            told = [pool.submit(claim, ONE, False), pool.submit(claim, OTHER, True)]
            winners = {future.result() for future in told} - {""}
        found = holder(at(place, bare=False))
        assert winners <= ({found.catalog} if found else set())


def test_neither_way_creates_beside_the_other(root: Path) -> None:
    at(root, bare=False).write_note(CLAIM, b"file", create_only=True)
    with pytest.raises(AlreadyExists):
        at(root, bare=True).write_note(CLAIM, b"attribute", create_only=True)
    assert ways(root) == {"file"}
    at(root, bare=True).write_note(CLAIM, b"attribute", create_only=False)
    with pytest.raises(AlreadyExists):
        at(root, bare=False).write_note(CLAIM, b"file", create_only=True)
    assert ways(root) == {"attribute"}
    at(root, bare=False).delete_note(CLAIM)
    assert ways(root) == set()


def test_what_returns_and_what_goes_leaves_no_folder_behind(root: Path) -> None:
    store = at(root, bare=True)
    made = put_back(store, "a/b", b"content")
    assert not (root / RESERVED).exists()
    assert store.delete("a/b", identity=made.identity) is Deleted.DELETED
    assert [path.name for path in root.iterdir()] == ["a"]
    with store.create("c", New("0" * 32)) as upload:
        upload.write(b"given up")
        assert (root / RESERVED / "tmp").exists()
    assert not (root / RESERVED).exists()


def test_what_a_killed_process_left_keeps_the_folder_until_it_is_cleared_away(root: Path) -> None:
    attempt = "1" * 32
    left = at(root, bare=True).create("c", New(attempt))  # never ended
    put_back(at(root, bare=True), "d", b"another")
    store = at(root, bare=True)
    assert list(store.attempts()) == [attempt]
    assert store.delete_attempt("c", attempt=attempt) is Deleted.DELETED
    assert not (root / RESERVED).exists()
    left.abort()


def test_many_at_once_never_have_it_removed_under_them(root: Path) -> None:
    """Each thread is a process of its own: nothing but the root is shared."""

    def live(number: int) -> None:
        store = at(root, bare=True)
        for n in range(60):
            key = f"{number}-{n}"
            made = put_back(store, key, b"x")
            assert store.delete(key, identity=made.identity) is Deleted.DELETED
            assert not (root / key).exists()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(live, number) for number in range(4)]:
            future.result()
    assert list(root.iterdir()) == []


def test_a_filesystem_that_has_no_room_for_it_is_told(root: Path) -> None:
    with pytest.raises(StoreError, match="cannot be kept as an extended attribute") as caught:
        at(root, bare=True).write_note(CLAIM, bytes(1 << 17), create_only=True)  # more than any keeps
    assert "claim: attribute" in str(caught.value.hint)
    assert ways(root) == set()


def test_a_copy_without_attributes_carries_no_claim(root: Path, tmp_path: Path) -> None:
    """As `cp -r`, `tar` and `rsync -a` make it; `cp -a` and `rsync -aX` take it along."""
    take(at(root, bare=True), ONE, PLACE)
    copy = tmp_path / "copy"
    copy.mkdir()
    assert holder(at(copy, bare=True)) is None
    for name in os.listxattr(root):
        os.setxattr(copy, name, os.getxattr(root, name))
    assert holder(at(copy, bare=True)) == ONE
