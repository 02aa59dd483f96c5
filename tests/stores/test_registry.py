"""Which store a URL means, and the clock that tests pass in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storaged.errors import UsageError
from storaged.stores.access import Opening
from storaged.stores.local import LocalStore
from storaged.stores.memory import MemoryStore
from storaged.stores.registry import OPENERS, open_store
from storaged.stores.schemes import SCHEMES
from storaged.testing import FakeClock


def test_a_file_url_opens_a_directory_without_what_is_excluded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    found = (tmp_path / "a").stat()
    store = open_store(tmp_path.as_uri(), Opening(frozenset({(found.st_dev, found.st_ino)})))
    assert isinstance(store, LocalStore)
    assert store.url == tmp_path.as_uri()
    assert [entry.key for entry in store.list()] == ["b"]


def test_a_memory_url_is_the_same_store_throughout_the_process(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    with ThreadPoolExecutor(8) as pool:
        stores = set(pool.map(open_store, [url] * 50))
    (store,) = stores
    assert isinstance(store, MemoryStore)
    assert store is not open_store(url + "-other")
    assert store.url == url


@pytest.mark.parametrize("url", ["", "nothing", "ftp://host/a", "://a", "file", "memory:"])
def test_an_unknown_place_is_refused_with_the_list_of_what_there_is(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url)
    assert caught.value.exit_code == 2
    assert tuple(OPENERS) == SCHEMES
    for scheme in SCHEMES:
        assert f"{scheme}://" in (caught.value.hint or "")


def test_a_memory_store_needs_its_own_scheme() -> None:
    with pytest.raises(UsageError):
        MemoryStore.shared("file:///a")


def test_fake_time_passes_only_by_sleeping_and_advancing() -> None:
    clock = FakeClock(1_000)
    assert clock.now_us() == clock.now_us() == 1_000
    clock.sleep(1.5)
    assert clock.now_us() == 1_501_000
    with pytest.raises(ValueError, match="back in time"):
        clock.advance(-1)


def test_fake_time_adds_up_over_threads() -> None:
    clock = FakeClock(0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: clock.sleep(0.001), range(2_000)))
    assert clock.now_us() == 2_000_000
