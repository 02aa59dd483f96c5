"""A store in this process's memory, for tests and trials: the whole contract, and gone with the process."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from storaged.clock import Clock, SystemClock
from storaged.errors import AlreadyExists, ObjectNotFound, SourceChanged, StoreError, UsageError
from storaged.model import Origin
from storaged.stores.base import Deleted, New, NoFolders, OneClass, Skipped, Stat, Traits
from storaged.stores.keys import bounded, check_attempt, object_segments, segments
from storaged.stores.listed import Listed, Lists, together
from storaged.stores.notes import LARGEST_MARKER, LARGEST_NOTE
from storaged.stores.origins import left_by

SCHEME = "memory://"

_shared: dict[str, MemoryStore] = {}
_shared_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Thing:
    stat: Stat
    data: bytes
    origin: Origin | None


class MemoryReader:
    """The bytes as they were when opened: what is put there later is another thing."""

    def __init__(self, thing: _Thing) -> None:
        self._thing = thing
        self._closed = False

    @property
    def stat(self) -> Stat:
        """As it was when opened."""
        return self._thing.stat

    def read_at(self, offset: int, length: int) -> bytes:
        if self._closed:
            raise StoreError(f"{self.stat.key!r} is closed", key=self.stat.key)
        return self._thing.data[offset : offset + max(length, 0)]

    @property
    def copy_source(self) -> None:
        """There is no server that could."""

    def metadata(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Twice is once."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryUpload:
    """Bytes that are not yet at their key; for one thread at a time."""

    def __init__(self, store: MemoryStore, key: str, attempt: str, mtime_us: int | None) -> None:
        self._store = store
        self._mtime_us = mtime_us
        self._ended = False
        self._data = bytearray()
        self.key = key
        self.attempt = attempt

    def write(self, data: bytes) -> None:
        self._must_go_on()
        self._data += data

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        """Make it visible. Raises AlreadyExists. Memory keeps no metadata."""
        self._must_go_on()
        self._ended = True
        return self._store._publish(self, bytes(self._data), origin, self._mtime_us, back=metadata is not None)

    @property
    def proven(self) -> bool:
        """Never: memory tells no checksum."""
        return False

    def abort(self) -> None:
        """Forget what was written; once it has ended, nothing."""
        self._ended = True
        self._store._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
        if kind is None:
            self._store.forget_shown(self.attempt)

    def _must_go_on(self) -> None:
        if self._ended:
            raise StoreError(f"{self.key!r}: this upload has ended", key=self.key)


class MemoryStore(Lists, OneClass):
    """The port on a dict. `put`, `get` and `remove` are what a user does behind storaged's back."""

    def __init__(self, url: str = SCHEME, *, clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._things: dict[str, _Thing] = {}
        self._notes: dict[str, bytes] = {}
        self._uploads: set[MemoryUpload] = set()
        self._shown: dict[str, str] = {}
        self._version = 0

    @classmethod
    def shared(cls, url: str) -> MemoryStore:
        """The one store of this process with this URL, such as memory://cold. Raises UsageError for another scheme."""
        if not url.startswith(SCHEME):
            raise UsageError(f"{url!r} is no place in memory", hint="write memory:// and a name: memory://cold")
        with _shared_lock:
            return _shared.setdefault(url, cls(url))

    @property
    def url(self) -> str:
        return self._url

    @property
    def traits(self) -> Traits:
        """Writable, with origins."""
        return Traits()

    def put(self, key: str, data: bytes, *, mtime_us: int | None = None) -> Stat:
        """As a user does: replaces what is there. `mtime_us` is now if not given."""
        object_segments(key)
        with self._lock:
            return self._set(key, data, None, mtime_us)

    def get(self, key: str) -> bytes | None:
        """As a user does: the bytes, or None."""
        thing = self._things.get(key)
        return thing.data if thing else None

    def remove(self, key: str) -> None:
        """As a user does: gone, if it was there."""
        with self._lock:
            self._things.pop(key, None)

    def head(self, key: str) -> Stat:
        return self._get(key).stat

    def identity(self, key: str) -> str:
        return self.head(key).identity

    def alike(self, known: str, now: str) -> bool:
        """Only what is the same: nothing but a write gives another identity."""
        return known == now

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        """In key order; the keys are those of the moment it began."""
        with self._lock:
            keys = sorted(self._things)
        there = (self._things.get(key) for key in keys[bisect.bisect_right(keys, after) :] if key.startswith(prefix))
        yield from together(thing.stat for thing in there if thing)

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        with self._lock:
            below = [key[len(prefix) :] for key in self._things if key.startswith(prefix)]
        names = {name + slash for name, slash, _ in (key.partition("/") for key in below)}
        return sorted(names)[:most]

    def open(self, key: str, *, identity: str | None = None) -> MemoryReader:
        thing = self._get(key)
        if identity is not None and thing.stat.identity != identity:
            raise SourceChanged(f"{key!r} is not the object that the catalog knows", key=key)
        return MemoryReader(thing)

    def not_restorable(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        return {name: f"its {name}" for name in metadata}

    def origin(self, key: str) -> Origin | None:
        return self._get(key).origin

    def create(self, key: str, new: New) -> MemoryUpload:
        object_segments(key)
        upload = MemoryUpload(self, key, check_attempt(new.attempt), new.mtime_us)
        with self._lock:
            self._uploads.add(upload)
        return upload

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        return {}

    def unwritable(self, key: str) -> str:
        return ""

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        """Compares and removes in one."""
        object_segments(key)
        with self._lock:
            thing = self._things.get(key)
            if thing is None:
                return Deleted.ABSENT
            if thing.stat.identity != identity:
                return Deleted.CHANGED
            del self._things[key]
            return Deleted.DELETED

    def near(self) -> AbstractContextManager[Mapping[str, Stat]]:
        """Nothing leads to a key."""
        return nullcontext({})

    def above(self, key: str) -> NoFolders:
        return NoFolders()

    def attempts(self) -> Iterator[str]:
        """Of uploads that were neither committed nor aborted, or not left since."""
        with self._lock:
            found = {upload.attempt for upload in self._uploads} | self._shown.keys()
        yield from sorted(found)

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        """DELETED if anything of the attempt was removed; CHANGED if the key holds something else; else ABSENT."""
        object_segments(key)
        check_attempt(attempt)
        with self._lock:
            parts = {upload for upload in self._uploads if upload.attempt == attempt}
            self._uploads -= parts
            self._shown.pop(attempt, None)
            thing = self._things.get(key)
            if thing is None:
                return Deleted.DELETED if parts else Deleted.ABSENT
            if not left_by(attempt, thing.origin, thing.stat):
                return Deleted.CHANGED
            del self._things[key]
            return Deleted.DELETED

    def shown(self) -> Mapping[str, str]:
        """Of uploads that were committed and not left."""
        with self._lock:
            return dict(self._shown)

    def forget_shown(self, attempt: str) -> None:
        with self._lock:
            self._shown.pop(attempt, None)

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        segments(name)
        data = self._notes.get(name)
        bounded(name, len(data or b""), limit)
        return data

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        """There is no other place that could take its name."""
        check(self.read_note(name, limit=LARGEST_MARKER))

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        segments(name)
        with self._lock:
            if create_only and name in self._notes:
                raise AlreadyExists(f"the note {name!r} is there already", key=name)
            self._notes[name] = data

    def delete_note(self, name: str) -> None:
        segments(name)
        with self._lock:
            self._notes.pop(name, None)

    def list_notes(self, prefix: str) -> Iterator[str]:
        with self._lock:
            names = sorted(self._notes)
        yield from (name for name in names if name.startswith(prefix))

    def free_bytes(self) -> None:
        """Memory has no quota of its own."""

    def _get(self, key: str) -> _Thing:
        object_segments(key)
        try:
            return self._things[key]
        except KeyError as error:
            raise ObjectNotFound(f"there is no {key!r}", key=key) from error

    def _set(self, key: str, data: bytes, origin: Origin | None, mtime_us: int | None) -> Stat:
        self._version += 1
        mtime = self._clock.now_us() if mtime_us is None else mtime_us
        stat = Stat(key, len(data), f"{self._version}", mtime)
        self._things[key] = _Thing(stat, data, origin)
        return stat

    def _publish(self, upload: MemoryUpload, data: bytes, origin: Origin, mtime_us: int | None, *, back: bool) -> Stat:
        with self._lock:
            if upload not in self._uploads:
                raise StoreError(f"{upload.key!r}: its temporary part was removed", key=upload.key)
            self._uploads.remove(upload)
            if upload.key in self._things:
                raise AlreadyExists(f"{upload.key!r} is there already", key=upload.key)
            stat = self._set(upload.key, data, origin, mtime_us)
            if back:
                self._shown[upload.attempt] = stat.identity
            return stat

    def _forget(self, upload: MemoryUpload) -> None:
        with self._lock:
            self._uploads.discard(upload)
