"""Every store, and every wrapper around one, keeps the contract."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.stores.base import RESERVED, Store
from storaged.stores.local import LocalStore
from storaged.stores.memory import MemoryStore
from storaged.stores.throttled import Budget, Throttled
from storaged.stores.wrappers import Retrying, StoreWrapper
from storaged.testing import FakeClock
from storaged.testing.faults import Faults, FaultyStore
from storaged.testing.stores import StoreContract
from storaged.testing.things import Get, Put, Remove


class _OnMemory(StoreContract):
    @pytest.fixture
    def memory(self) -> MemoryStore:
        return MemoryStore(clock=FakeClock())

    @pytest.fixture
    def store(self, memory: MemoryStore) -> Store:
        return memory

    @pytest.fixture
    def raw_put(self, memory: MemoryStore) -> Put:
        return lambda key, data: void(memory.put(key, data))

    @pytest.fixture
    def raw_get(self, memory: MemoryStore) -> Get:
        return memory.get

    @pytest.fixture
    def raw_delete(self, memory: MemoryStore) -> Remove:
        return memory.remove


class _OnDisk(StoreContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "röot with %41 spaces"
        root.mkdir()
        return root

    @pytest.fixture
    def store(self, root: Path) -> Store:
        return LocalStore(root.as_uri())

    @pytest.fixture
    def raw_put(self, root: Path) -> Put:
        def put(key: str, data: bytes) -> None:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.stat().st_ctime_ns if path.exists() else 0
            path.write_bytes(data)
            while path.stat().st_ctime_ns == before:  # within one tick of the filesystem's clock
                path.write_bytes(data)

        return put

    @pytest.fixture
    def raw_get(self, root: Path) -> Get:
        return lambda key: (root / key).read_bytes() if os.path.lexists(root / key) else None

    @pytest.fixture
    def raw_delete(self, root: Path) -> Remove:
        return lambda key: (root / key).unlink()


def void(_: object) -> None:
    """Forget a result."""


class TestMemory(_OnMemory):
    pass


class TestLocal(_OnDisk):
    pass


class TestBare(_OnDisk):
    """A root that carries its claim itself."""

    @pytest.fixture
    def store(self, root: Path) -> Store:
        return LocalStore(root.as_uri(), bare=True)

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, root: Path) -> Iterator[None]:
        """Our folder is there only for what is in it."""
        yield
        own = root / RESERVED
        left = [path for path in own.rglob("*") if not path.is_dir() and path.name != "lock"]
        assert left or not own.exists()


class TestWrapper(_OnMemory):
    @pytest.fixture
    def store(self, memory: MemoryStore) -> Store:
        return StoreWrapper(memory)


class TestRetrying(_OnMemory):
    @pytest.fixture
    def store(self, memory: MemoryStore) -> Store:
        return Retrying(memory, FakeClock(), rng=random.Random(1))


class TestThrottled(_OnMemory):
    @pytest.fixture
    def store(self, memory: MemoryStore) -> Store:
        return Throttled(memory, Budget(FakeClock(), 1e6, 100))


class TestFaultyWithoutFaults(_OnMemory):
    @pytest.fixture
    def store(self, memory: MemoryStore) -> Store:
        return FaultyStore(memory, Faults())


class TestAllAroundLocal(_OnDisk):
    @pytest.fixture
    def store(self, root: Path) -> Store:
        throttled = Throttled(LocalStore(root.as_uri()), Budget(FakeClock(), 1e6, 100))
        return FaultyStore(Retrying(throttled, FakeClock(), rng=random.Random(1)), Faults())
