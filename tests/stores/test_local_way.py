"""Files that one thread reads as neighbours: what leads to them is looked at once before them and once behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from storaged.errors import ObjectNotFound, PlaceAway, SourceChanged, StoreError
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
