"""The way to a place: whoever can exchange a directory on it for a symbolic link must not choose where we work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.errors import PlaceAway, StoreError
from storaged.stores.access import Opening
from storaged.stores.base import RESERVED, New
from storaged.stores.local import LocalStore
from storaged.stores.registry import open_store
from storaged.testing.things import MINE, OTHER, create, keys, origin_of
from tests.stores.conftest import as_nobody, files_below


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A directory that is none of ours, with a file in it."""
    place = tmp_path / "others" / "data"
    place.mkdir(parents=True)
    (place / "secret").write_bytes(b"x")
    return place


def leads(link: Path, to: Path) -> Path:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(to, target_is_directory=True)
    return link


CALLS: dict[str, Callable[[LocalStore], object]] = {
    "head": lambda store: store.head("secret"),
    "list": lambda store: list(store.list()),
    "open": lambda store: store.open("secret"),
    "create": lambda store: store.create("new", New(MINE)),
    "delete": lambda store: store.delete("secret", identity="1"),
    "attempts": lambda store: list(store.attempts()),
    "delete_attempt": lambda store: store.delete_attempt("secret", attempt=MINE),
    "read_note": lambda store: store.read_note("claim.json"),
    "confirm": lambda store: store.confirm("claim.json", lambda _data: None),
    "write_note": lambda store: store.write_note("claim.json", b"x", create_only=True),
    "delete_note": lambda store: store.delete_note("claim.json"),
    "list_notes": lambda store: list(store.list_notes("")),
    "free_bytes": lambda store: store.free_bytes(),
}


# MUST 2
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", ["itself", "parent", "grandparent", "dangling", "chain"])
def test_a_place_behind_a_link_is_refused_whatever_is_asked(
    tmp_path: Path, others: Path, call: str, where: str
) -> None:
    link, place = {
        "itself": (tmp_path / "root", tmp_path / "root"),
        "parent": (tmp_path / "way", tmp_path / "way" / "data"),
        "grandparent": (tmp_path / "far", tmp_path / "far" / "others" / "data"),
        "dangling": (tmp_path / "nowhere", tmp_path / "nowhere"),
        "chain": (tmp_path / "two", tmp_path / "two"),
    }[where]
    to = {"itself": others, "parent": others.parent, "grandparent": tmp_path, "dangling": tmp_path / "gone"}
    leads(link, to[where] if where in to else leads(tmp_path / "one", others))
    before = files_below(tmp_path)
    with pytest.raises(PlaceAway) as caught:
        CALLS[call](LocalStore(place.as_uri()))
    assert str(link) in caught.value.message
    assert "follow: true" in (caught.value.hint or "")
    assert files_below(tmp_path) == before


# MUST 2
@pytest.mark.parametrize("call", CALLS)
def test_a_root_that_becomes_a_link_is_not_followed_by_a_store_that_is_open(
    root: Path, store: LocalStore, others: Path, call: str
) -> None:
    create(store, "secret", b"ours")
    store.confirm("claim.json", lambda _data: None)
    root.rename(root.with_name("moved"))
    leads(root, others)
    with pytest.raises(PlaceAway, match="symbolic link"):
        CALLS[call](store)
    assert files_below(others) == ["secret"]


def test_an_upload_that_is_under_way_is_not_committed_behind_a_link(
    root: Path, store: LocalStore, others: Path
) -> None:
    (others / RESERVED / "tmp").mkdir(parents=True)
    with store.create("a", New(MINE)) as upload:
        upload.write(b"x")
        root.rename(root.with_name("moved"))
        leads(root, others)
        with pytest.raises(PlaceAway):
            upload.commit(origin_of(MINE))
    assert files_below(others) == ["secret"]


def test_with_follow_the_link_is_resolved_once_and_a_later_one_changes_nothing(tmp_path: Path, others: Path) -> None:
    link = leads(tmp_path / "way", others.parent)
    store = open_store((link / "data").as_uri(), Opening(follow=True))
    assert keys(store) == ["secret"]
    link.unlink()
    leads(link, tmp_path)
    create(store, "new", b"x")
    assert keys(store) == ["new", "secret"]
    others.rename(others.with_name("moved"))  # what was resolved is walked without following any link
    leads(others, tmp_path)
    with pytest.raises(PlaceAway):
        create(store, "more", b"x", OTHER)


def test_a_way_without_a_link_that_ends_nowhere_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for name in ("gone", "gone/further", "file", "file/further"):
        with pytest.raises(StoreError, match="is no directory") as caught:
            LocalStore((tmp_path / name).as_uri()).head("a")
        assert type(caught.value) is StoreError


def test_a_way_that_may_only_be_passed_through_is_no_hindrance(nobodys_root: Path) -> None:
    (nobodys_root / "passage" / "data").mkdir(parents=True)
    (nobodys_root / "passage" / "data" / "a").write_bytes(b"x")
    (nobodys_root / "passage").chmod(0o711)
    store = LocalStore((nobodys_root / "passage" / "data").as_uri())
    with as_nobody():
        assert keys(store) == ["a"]


def test_no_descriptor_stays_open_where_a_place_is_refused(tmp_path: Path, others: Path) -> None:
    store = LocalStore(leads(tmp_path / "link", others).as_uri())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(PlaceAway):
            store.head("secret")
    assert len(os.listdir("/proc/self/fd")) == before
