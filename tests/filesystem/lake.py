"""A world with a filesystem over it: what the other programs of a house see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storaged.catalog.engine import Catalog, open_catalog
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.filesystem import StoragedFileSystem
from storaged.model import RawState
from storaged.reader import CatalogReader
from storaged.stores.base import Reader, Stat, Store
from storaged.stores.wrappers import ReaderWrapper, StoreWrapper
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.rewrite.pointers import remove_objects
from storaged.work.scan.run import scan
from tests.life.world import PLAIN, ZSTD, World

FORMS = ("raw", "moved", "zstd", "packed")  # at its original key; elsewhere as it is, compressed, and in a pack
BESIDE = "~beside"  # packed with what is packed, and removed since


class Lake(World):
    """A world whose datasets are read through `fs`."""

    def __init__(self, place: Path, catalog: Catalog, clock: FakeClock, url: str, *, more: str = "") -> None:
        super().__init__(place, catalog, clock, more=more)
        self.config = self.settings.file
        first, rest = self.config.read_text().split("\n", 1)
        assert first.startswith("catalog:")
        self.config.write_text(f"catalog: {json.dumps(url)}\n{rest}")
        self.fs = StoragedFileSystem(str(self.config), skip_instance_cache=True)
        self.opened = [self.fs]

    def other_fs(self, wrap: Callable[[Store], Store]) -> StoragedFileSystem:
        """A filesystem whose stores are wrapped."""

        class Wrapped(StoragedFileSystem):
            def _open_reader(self, file: Path) -> CatalogReader:
                settings = load_settings(file)
                catalog = open_catalog(settings.catalog, read_only=True)
                return CatalogReader(Context(settings, catalog, SystemClock(), actor="reader", wrap=wrap))

        self.opened.append(Wrapped(str(self.config), skip_instance_cache=True))
        return self.opened[-1]

    def close(self) -> None:
        for fs in self.opened:
            fs.close()

    def add(self, contents: dict[str, bytes], form: str = "raw") -> None:
        """Objects of dataset `lake` in one of the FORMS; where they were moved, their sources are released."""
        if form == "packed":
            contents = {**contents, BESIDE: b"beside"}
        for name, content in contents.items():
            self.write(name, content)
        self.scan()
        if form != "raw":
            self.move(*contents, codec=form)
            self.release(*contents)
        if form == "packed":
            remove_objects(self.context, targets.pages(self.context, f"lake/{BESIDE}"))

    def move(self, *names: str, codec: str = "zstd") -> None:
        if codec == "packed":
            assert self.pack(*names).done == len(names)
            return
        report = self.migrate(*names, codec=ZSTD if codec == "zstd" else PLAIN)
        assert report.done == len(names)
        assert all(note.startswith("stored ") for _, note in report.notes)

    def release(self, *names: str) -> None:
        self.days(8)
        assert self.sweep().sources == len(names)
        assert [self.raw(name) for name in names] == [None] * len(names)

    def scan_dataset(self, name: str) -> None:
        self.context.register()
        scan(self.context, name)

    def is_raw(self, name: str) -> bool:
        return self.seen(name).placement.raw.state is RawState.CURRENT

    def spooled(self) -> list[tuple[str, int]]:
        """(object, bytes) of every read in the spool, in the order of the spool."""
        lines: list[dict[str, Any]] = []
        for file in sorted((self.place / "state").rglob("*.jsonl")):
            lines += [json.loads(line) for line in file.read_text().splitlines()]
        assert all(line["op"] == "read" and line["count"] == 1 for line in lines)
        return [(f"{line['dataset']}/{line['object']}", line["bytes"]) for line in lines]


class Counting(StoreWrapper):
    """Remembers which keys were opened, and how many bytes each read of them gave."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.opened: list[str] = []
        self.reads: list[int] = []

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        self.opened.append(key)
        return _CountingReader(super().open(key, identity=identity), self.reads)


class _CountingReader(ReaderWrapper):
    def __init__(self, reader: Reader, reads: list[int]) -> None:
        super().__init__(reader)
        self._reads = reads

    def read_at(self, offset: int, length: int) -> bytes:
        data = super().read_at(offset, length)
        self._reads.append(len(data))
        return data


class Counters:
    """Wraps every store of a filesystem in one that counts."""

    def __init__(self) -> None:
        self.stores: list[Counting] = []

    def wrap(self, store: Store) -> Store:
        self.stores.append(Counting(store))
        return self.stores[-1]

    @property
    def bytes(self) -> int:
        return sum(sum(store.reads) for store in self.stores)

    @property
    def reads(self) -> int:
        return sum(len(store.reads) for store in self.stores)

    @property
    def opened(self) -> list[str]:
        return [key for store in self.stores for key in store.opened]


class WithoutHandles(StoreWrapper):
    """A store like S3, where a deleted key ends the reads of those who opened it."""

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        return _WithoutHandle(super().open(key, identity=identity), self)


class _WithoutHandle(ReaderWrapper):
    def __init__(self, reader: Reader, store: Store) -> None:
        super().__init__(reader)
        self._store = store

    def read_at(self, offset: int, length: int) -> bytes:
        self._store.head(self.stat.key)
        return super().read_at(offset, length)


class Meanwhile(StoreWrapper):
    """A store where something happens right before it is first asked for an object."""

    def __init__(self, store: Store, happen: Callable[[], object]) -> None:
        super().__init__(store)
        self._todo = [happen]

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        self._happen()
        return super().open(key, identity=identity)

    def head(self, key: str) -> Stat:
        self._happen()
        return super().head(key)

    def _happen(self) -> None:
        if self._todo:
            self._todo.pop()()
