"""Files that one thread reads, makes or deletes as neighbours: what leads to them is looked at once before them and
once behind them, and what became of their names is on the medium in the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from storaged.errors import AlreadyExists, ObjectNotFound, PlaceAway, SourceChanged, StoreError
from storaged.model import Origin
from storaged.stores.base import Deleted, New, Stat
from storaged.stores.local import LocalStore

KEYS = ("dt=1/a.csv", "dt=1/b.csv", "dt=2/a.csv", "top.csv")


@pytest.fixture
def root(root: Path) -> Path:
    for key in KEYS:
        (root / key).parent.mkdir(exist_ok=True)
        (root / key).write_bytes(key.encode())
    return root


def read(store: LocalStore, key: str) -> tuple[bytes, dict[str, str]]:
    with store.open(key, identity=store.identity(key)) as reader:
        return reader.read_at(0, 100), dict(reader.metadata())


def read_near(store: LocalStore, meanwhile: Callable[[], None], *more: str) -> None:
    """One of the first folder, and others after something happened."""
    with store.near():
        read(store, KEYS[0])
        meanwhile()
        for key in more:
            with suppress(ObjectNotFound):
                read(store, key)


def test_neighbours_read_as_each_would_alone(root: Path, store: LocalStore) -> None:
    alone = {key: read(store, key) for key in KEYS}
    with store.near():
        assert {key: read(store, key) for key in KEYS} == alone
        with pytest.raises(ObjectNotFound):
            store.open("dt=1/missing")
        with pytest.raises(ObjectNotFound):
            store.open("dt=3/a.csv")
        assert read(store, KEYS[0]) == alone[KEYS[0]]


def test_the_way_is_walked_twice_whatever_lies_there(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[object] = []
    walk = store._folder
    monkeypatch.setattr(store, "_folder", lambda *args, **more: (walks.append(args), walk(*args, **more))[1])
    with store.near():
        for _ in range(5):
            for key in KEYS[:2]:
                read(store, key)
    assert len(walks) == 2


def test_nothing_stays_open(root: Path, store: LocalStore) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    with store.near():
        for key in KEYS:
            read(store, key)
    with suppress(ObjectNotFound), store.near():
        read(store, KEYS[0])
        read(store, "missing")
    assert opened() == before


def exchanged_for_a_link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def exchanged_for_another(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize("others", [(), (KEYS[3],)], ids=["last", "before another"])
@pytest.mark.parametrize("does", [exchanged_for_a_link, exchanged_for_another, moved])
def test_a_folder_that_was_exchanged_meanwhile_is_noticed(
    root: Path, store: LocalStore, does: Callable[[Path], None], others: tuple[str, ...]
) -> None:
    with pytest.raises(StoreError):
        read_near(store, lambda: does(root / "dt=1"), KEYS[1], *others)
    with pytest.raises(StoreError):
        read(store, KEYS[0])


def test_a_folder_above_that_was_exchanged_is_noticed(root: Path, store: LocalStore) -> None:
    with pytest.raises((PlaceAway, SourceChanged)):
        read_near(store, lambda: exchanged_for_a_link(root))


# -- made and deleted --------------------------------------------------------------------------------------------------


class Calls:
    """What was asked of the system, in order: what was brought to the medium (a file by the name that it had), linked
    and removed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, str]] = []
        fsync, link, unlink = os.fsync, os.link, os.unlink

        def noted_fsync(fd: int) -> None:
            self.made.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
            fsync(fd)

        def noted_link(source: str, name: str, **how: Any) -> None:
            self.made.append(("link", source))
            link(source, name, **how)

        def noted_unlink(name: str, **how: Any) -> None:
            self.made.append(("unlink", name))
            unlink(name, **how)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "link", noted_link)
        monkeypatch.setattr(os, "unlink", noted_unlink)

    def of(self, kind: str) -> list[str]:
        return [what for done, what in self.made if done == kind]


def make(store: LocalStore, key: str, number: int) -> str:
    """A new file at a key. Returns its identity."""
    attempt = f"{number:032x}"
    with store.create(key, New(attempt, mtime_us=5)) as upload:
        upload.write(key.encode())
        return upload.commit(Origin("c", attempt, "d", key, 1, "", mtime_us=5)).identity


NEW = ("dt=1/new.csv", "dt=1/newer.csv", "dt=3/new.csv", "new.csv")


def test_neighbours_are_made_and_deleted_as_each_would_be_alone(root: Path, store: LocalStore) -> None:
    with store.near():
        made = {key: make(store, key, n) for n, key in enumerate(NEW)}
        assert {key: read(store, key)[0] for key in NEW} == {key: key.encode() for key in NEW}
        with pytest.raises(AlreadyExists):
            make(store, NEW[0], 9)
    assert {key: store.identity(key) for key in NEW} == made
    assert [origin.object for key in NEW if (origin := store.origin(key))] == list(NEW)
    with store.near():
        assert store.delete(NEW[0], identity="another") is Deleted.CHANGED
        assert {store.delete(key, identity=made[key]) for key in NEW} == {Deleted.DELETED}
        assert store.delete(NEW[0], identity=made[NEW[0]]) is Deleted.ABSENT
        assert store.delete("dt=4/none", identity="any") is Deleted.ABSENT
    assert [e.key for e in store.list() if isinstance(e, Stat)] == sorted(KEYS)
    assert os.listdir(root / ".storaged" / "tmp") == []
    assert os.listdir(root / ".storaged" / "aside") == ["lock"]


# MUST 4
def test_each_file_is_on_the_medium_before_it_is_visible_and_all_names_before_the_end(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".storaged" / "tmp").mkdir(parents=True)
    calls = Calls(monkeypatch)
    with store.near():
        for n, key in enumerate(NEW[:2]):
            make(store, key, n)
    parts = calls.of("link")
    assert len(parts) == 2
    for part in parts:
        assert calls.made.index(("sync", part)) < calls.made.index(("link", part))
    last = calls.made.index(("unlink", parts[-1]))
    assert sorted(calls.made[last + 1 :]) == [("sync", "dt=1"), ("sync", "tmp")]
    assert len(calls.of("sync")) == 4


# MUST 7
def test_what_was_deleted_is_gone_for_good_before_the_end(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.delete("none", identity="any")  # the directory aside is there
    calls = Calls(monkeypatch)
    with store.near():
        for key in KEYS[:2]:
            assert store.delete(key, identity=store.identity(key)) is Deleted.DELETED
    assert len(calls.of("unlink")) == 2
    assert sorted(calls.made[-2:]) == [("sync", "aside"), ("sync", "dt=1")]
    assert len(calls.of("sync")) == 2


def test_nothing_of_what_was_made_or_deleted_stays_open(root: Path, store: LocalStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with suppress(AlreadyExists), store.near():
        store.delete(KEYS[0], identity=store.identity(KEYS[0]))
        make(store, NEW[0], 1)
        make(store, KEYS[1], 2)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("does", [exchanged_for_a_link, exchanged_for_another, moved])
@pytest.mark.parametrize("deletes", [False, True])
def test_a_folder_that_was_exchanged_while_names_changed_in_it_is_noticed(
    root: Path, store: LocalStore, does: Callable[[Path], None], deletes: bool
) -> None:
    def work() -> None:
        with store.near():
            if deletes:
                store.delete(KEYS[0], identity=store.identity(KEYS[0]))
            else:
                make(store, NEW[0], 1)
            does(root / "dt=1")

    with pytest.raises(StoreError):
        work()


def test_a_folder_that_was_removed_before_it_was_filled_is_made_anew(root: Path, store: LocalStore) -> None:
    (root / "dt=3").mkdir()
    with store.near():
        with suppress(ObjectNotFound):
            store.identity(NEW[2])  # it is held open from here on
        (root / "dt=3").rmdir()
        make(store, NEW[2], 1)
    assert read(store, NEW[2])[0] == NEW[2].encode()


def test_a_folder_that_was_emptied_and_removed_by_others_loses_nothing_in_silence(
    root: Path, store: LocalStore
) -> None:
    def work() -> None:
        with store.near():
            make(store, NEW[2], 1)
            (root / NEW[2]).unlink()
            (root / "dt=3").rmdir()
            with suppress(ObjectNotFound):
                make(store, "dt=3/another.csv", 2)

    with pytest.raises(PlaceAway):
        work()


def test_where_a_file_takes_no_tag_nothing_is_made(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no such attributes here")

    monkeypatch.setattr(os, "setxattr", refused)
    with store.near(), pytest.raises(StoreError):
        make(store, NEW[0], 1)
    assert not (root / NEW[0]).exists()
