"""A process that something happens to between two of its steps: another one acts, or it dies with a request under way.

Every call of a store and every begin and end of a transaction is a step. At one chosen step, before it takes effect,
`act` runs (another worker, a sweep, the user), or the process dies. What was to be changed by that very step may
still be under way then: such a request lands when the test says so, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.errors import AlreadyExists, ObjectNotFound
from storaged.model import Origin
from storaged.stores.base import Deleted, Had, New, Reader, Skipped, Stat, Store, Upload, Wanted
from storaged.stores.copies import Copy, CopySource
from storaged.stores.listed import Listed
from storaged.stores.notes import LARGEST_NOTE
from storaged.stores.wrappers import StoreWrapper, UploadWrapper
from tests.life.crashes import Crash

STEPS = (
    "begin",  # before a write transaction
    "committed",  # after it
    "read",  # before a read transaction
    "head",
    "list",
    "open",
    "origin",
    "create",
    "write",  # before a piece of an upload
    "upload",  # before it is made visible
    "copy",  # before the server copies by itself
    "delete",
    "deleted",  # after a delete, or before what comes next
    "delete_attempt",
    "read_note",
    "write_note",
)

ANY = "any"  # a step of any kind


@dataclass(frozen=True)
class Landing:
    """A request of a dead process that the store may still carry out."""

    what: str
    key: str
    attempt: str
    store: str
    carry_out: Callable[[], object]

    def land(self) -> bool:
        """Whether it took effect: what is create-only finds its key taken, what was cleared away is gone."""
        try:
            return self.carry_out() not in (Deleted.ABSENT, Deleted.CHANGED)
        except (AlreadyExists, ObjectNotFound):
            return False


@dataclass
class Process:
    """What befalls one process: at the `nth` step of kind `step` it is interrupted by `act`, or it dies (None)."""

    step: str
    nth: int
    act: Callable[[], object] | None = None
    in_flight: bool = False  # the request of that step is under way when the process dies
    happened: bool = False
    dead: bool = False
    under_way: list[Landing] = field(default_factory=list)
    _seen: int = 0

    def before(self, step: str, landing: Callable[[], Landing] | None = None) -> None:
        """Called before every step takes effect. The dead take none."""
        if self.dead:
            raise Crash
        if self.happened or self.step not in (step, ANY):
            return
        self._seen += 1
        if self._seen < self.nth:
            return
        self.happened = True
        if self.act is not None:
            self.act()
            return
        self.dead = True
        if self.in_flight and landing is not None:
            self.under_way.append(landing())
        raise Crash


class InterleavedCatalog(Catalog):
    """The catalog as one process sees it."""

    def __init__(self, catalog: Catalog, process: Process) -> None:
        self.__dict__.update(catalog.__dict__)
        self.process = process

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self.process.before("begin")
        with super().begin() as conn:
            yield conn
        self.process.before("committed")

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        self.process.before("read")
        with super().read() as conn:
            yield conn


class _Upload(UploadWrapper):
    def __init__(self, upload: Upload, store: InterleavedStore, key: str, new: New) -> None:
        super().__init__(upload)
        self._store = store
        self._key = key
        self._new = new
        self._sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._store.process.before("write")
        self._sent.append(bytes(data))
        super().write(data)

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        self._store.process.before("upload", lambda: self._landing(origin, metadata))
        return super().commit(origin, metadata=metadata)

    def _landing(self, origin: Origin, metadata: Mapping[str, str] | None) -> Landing:
        inner = self._store.inner

        def again() -> Stat:  # a store may carry it out whatever has become of the parts since
            with inner.create(self._key, New(self._new.attempt, mtime_us=self._new.mtime_us)) as upload:
                for data in self._sent:
                    upload.write(data)
                return upload.commit(origin, metadata=metadata)

        return Landing("upload", self._key, self._new.attempt, inner.url, again)

    def abort(self) -> None:
        if not self._store.process.dead:  # the dead tidy nothing up
            super().abort()

    def __exit__(self, *_: Any) -> None:
        self.abort()


class InterleavedStore(StoreWrapper):
    """A store as one process sees it."""

    def __init__(self, store: Store, process: Process) -> None:
        super().__init__(store)
        self.inner = store
        self.process = process

    def _landing(self, what: str, key: str, carry_out: Callable[[], object]) -> Callable[[], Landing]:
        return lambda: Landing(what, key, "", self.inner.url, carry_out)

    def head(self, key: str) -> Stat:
        self.process.before("head")
        return super().head(key)

    def identity(self, key: str) -> str:
        self.process.before("head")
        return super().identity(key)

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        for _ in keys:
            self.process.before("head")
        return super().identities(keys)

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        for _ in wanted:
            self.process.before("open")
        return super().contents(wanted)

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        self.process.before("list")
        return iter(list(super().listed(prefix, after)))  # as it was when it was asked for

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        self.process.before("open")
        return super().open(key, identity=identity)

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        found = super().opened(wanted)
        for _ in found:
            self.process.before("open")
        return found

    def origin(self, key: str) -> Origin | None:
        self.process.before("origin")
        return super().origin(key)

    def create(self, key: str, new: New) -> Upload:
        self.process.before("create")
        return _Upload(super().create(key, new), self, key, new)

    def copy(self, key: str, new: New, source: CopySource) -> Stat | None:
        self._before_copy(key, new, source)
        return super().copy(key, new, source)

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """One after the other, so that something happens between two of them."""
        found: dict[str, Stat] = {}
        for one in wanted:
            self._before_copy(one.key, New(one.origin.attempt, origin=one.origin), one.source)
            found |= super().copies([one])
        return found

    def _before_copy(self, key: str, new: New, source: CopySource) -> None:
        inner = self.inner
        late = Landing("copy", key, new.attempt, inner.url, lambda: inner.copy(key, new, source))
        self.process.before("copy", lambda: late)

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        inner = self.inner
        self.process.before(
            "delete", self._landing("delete", key, lambda: inner.delete(key, identity=identity, versions=versions))
        )
        found = super().delete(key, identity=identity, versions=versions)
        self.process.before("deleted")
        return found

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        inner = self.inner
        late = self._landing("delete_attempt", key, lambda: inner.delete_attempt(key, attempt=attempt))
        self.process.before("delete_attempt", late)
        return super().delete_attempt(key, attempt=attempt)

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        self.process.before("read_note")
        return super().read_note(name, limit=limit)

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        self.process.before("read_note")
        super().confirm(name, check)

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        inner = self.inner
        late = self._landing("note", name, lambda: inner.write_note(name, data, create_only=create_only))
        self.process.before("write_note", late)
        super().write_note(name, data, create_only=create_only)
