"""Stop a process after every n-th effect: a commit of the catalog, or a change of a store.

After the stop nothing that process does has any effect, as after SIGKILL: its uploads are not aborted, its threads
change nothing. A write may also be *late*: it was sent before the stop and arrives when the test says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.model import Origin
from storaged.stores.base import Deleted, Stat, Store


class Crash(BaseException):
    """The process is gone."""


class Effects:
    """Counts effects and ends the process right after number `stop_after` (None: never)."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.count = 0
        self.dead = False
        self.log: list[str] = []

    def before(self) -> None:
        """Called before an effect: the dead have none."""
        if self.dead:
            raise Crash

    def happened(self, what: str) -> None:
        """Called after an effect."""
        self.count += 1
        self.log.append(what)
        if self.stop_after is not None and self.count >= self.stop_after:
            self.dead = True
            raise Crash


class CrashingCatalog(Catalog):
    """A catalog whose every commit is an effect."""

    def __init__(self, catalog: Catalog, effects: Effects) -> None:
        self.__dict__.update(catalog.__dict__)
        self.effects = effects

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self.effects.before()
        with super().begin() as conn:
            yield conn
        self.effects.happened("commit")


class _Upload:
    def __init__(self, upload: Any, effects: Effects, key: str) -> None:
        self._upload = upload
        self._effects = effects
        self._key = key

    def write(self, data: bytes) -> None:
        self._effects.before()
        self._upload.write(data)

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        self._effects.before()
        found: Stat = self._upload.commit(origin, metadata=metadata)
        self._effects.happened(f"commit {self._key}")
        return found

    def abort(self) -> None:
        if not self._effects.dead:
            self._upload.abort()

    def __enter__(self) -> _Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class CrashingStore:
    """A store whose every change is an effect."""

    def __init__(self, store: Store, effects: Effects) -> None:
        self._store = store
        self._effects = effects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def create(self, key: str, *, attempt: str, mtime_us: int | None = None) -> _Upload:
        self._effects.before()
        upload = self._store.create(key, attempt=attempt, mtime_us=mtime_us)
        self._effects.happened(f"create {key}")
        return _Upload(upload, self._effects, key)

    def delete(self, key: str, *, identity: str) -> Deleted:
        self._effects.before()
        found = self._store.delete(key, identity=identity)
        self._effects.happened(f"delete {key}")
        return found

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        self._effects.before()
        found = self._store.delete_attempt(key, attempt=attempt)
        self._effects.happened(f"delete attempt {key}")
        return found

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        self._effects.before()
        self._store.write_note(name, data, create_only=create_only)
        self._effects.happened(f"note {name}")
