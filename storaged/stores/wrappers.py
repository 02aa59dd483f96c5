"""What is the same around every store: another try, a refusal to write. Budgets: see throttled."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from storaged.clock import Clock, timed
from storaged.errors import AlreadyExists, StoragedError, Transient
from storaged.model import Origin
from storaged.stores.archives import Warmed
from storaged.stores.base import Deleted, Ended, Folders, Had, New, Reader, Skipped, Stat, Store, Traits, Upload, Wanted
from storaged.stores.copies import Copy, CopySource
from storaged.stores.listed import Listed, Lists
from storaged.stores.locks import Protection
from storaged.stores.notes import LARGEST_NOTE

T = TypeVar("T")


class StoreWrapper(Lists):
    """A store that hands every call on. A wrapper overrides what it changes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def traits(self) -> Traits:
        return self._store.traits

    @property
    def protection(self) -> Protection:
        return self._store.protection

    def head(self, key: str) -> Stat:
        return self._store.head(key)

    def identity(self, key: str) -> str:
        return self._store.identity(key)

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        return self._store.identities(keys)

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        return self._store.contents(wanted)

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        return self._store.opened(wanted)

    def alike(self, known: str, now: str) -> bool:
        return self._store.alike(known, now)

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        return self._store.listed(prefix, after)

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        return self._store.folder(prefix, most)

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        return self._store.open(key, identity=identity)

    def near(self) -> AbstractContextManager[Mapping[str, Ended]]:
        return self._store.near()

    def not_restorable(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        return self._store.not_restorable(metadata)

    def origin(self, key: str) -> Origin | None:
        return self._store.origin(key)

    def create(self, key: str, new: New) -> Upload:
        return self._store.create(key, new)

    def copy(self, key: str, new: New, source: CopySource) -> Stat | None:
        return self._store.copy(key, new, source)

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        return self._store.copies(wanted)

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        return self._store.delete(key, identity=identity, versions=versions)

    def above(self, key: str) -> AbstractContextManager[Folders]:
        return self._store.above(key)

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        return self._store.undeletable(keys, ask=ask)

    def unwritable(self, key: str) -> str:
        return self._store.unwritable(key)

    def checksum(self, key: str) -> str:
        return self._store.checksum(key)

    def locked_until(self, key: str) -> int | None:
        return self._store.locked_until(key)

    def expiry(self) -> str:
        return self._store.expiry()

    def warmth(self, key: str) -> Warmed:
        return self._store.warmth(key)

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        return self._store.warm(key, identity=identity, days=days, speed=speed)

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        return self._store.transition(key, identity=identity, storage_class=storage_class)

    def attempts(self) -> Iterator[str]:
        return self._store.attempts()

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        return self._store.delete_attempt(key, attempt=attempt)

    def shown(self) -> Mapping[str, str]:
        return self._store.shown()

    def forget_shown(self, attempt: str) -> None:
        self._store.forget_shown(attempt)

    def tidy(self) -> int:
        return self._store.tidy()

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        return self._store.read_note(name, limit=limit)

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        self._store.confirm(name, check)

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        self._store.write_note(name, data, create_only=create_only)

    def delete_note(self, name: str) -> None:
        self._store.delete_note(name)

    def list_notes(self, prefix: str) -> Iterator[str]:
        return self._store.list_notes(prefix)

    def clock_us(self) -> int | None:
        return self._store.clock_us()

    def free_bytes(self) -> int | None:
        return self._store.free_bytes()


class ReaderWrapper:
    """A reader that hands every call on."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def stat(self) -> Stat:
        return self._reader.stat

    def read_at(self, offset: int, length: int) -> bytes:
        return self._reader.read_at(offset, length)

    def metadata(self) -> Mapping[str, str]:
        return self._reader.metadata()

    @property
    def copy_source(self) -> CopySource | None:
        return self._reader.copy_source

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UploadWrapper:
    """An upload that hands every call on."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def write(self, data: bytes) -> None:
        self._upload.write(data)

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        return self._upload.commit(origin, metadata=metadata)

    @property
    def proven(self) -> bool:
        return self._upload.proven

    def abort(self) -> None:
        self._upload.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
        self._upload.__exit__(kind, error, trace)


class Retrying(StoreWrapper):
    """Tries again after a Transient error, at most `tries` times in all, and then raises that error.

    Waits between tries are drawn from 0 to twice as much each time, from `first_s` seconds up to `longest_s`: "full
    jitter", so that many workers do not come back at once (M. Brooker, "Exponential Backoff And Jitter", 2015).

    Not tried again are a transition, a copy, the writes and the commit of an upload. Whether a failed one took effect
    is not known, and after a failed fsync the next one succeeds though the data are lost. The attempt fails instead,
    its key becomes a tombstone, and the next attempt writes to a new key. What is repeated may have happened before: a
    delete then says ABSENT, and a create-only note that holds exactly what was to be written counts as ours.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        tries: int = 5,
        first_s: float = 0.1,
        longest_s: float = 20.0,
    ) -> None:
        super().__init__(store)
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._tries = tries
        self._first_s = first_s
        self._longest_s = longest_s

    def head(self, key: str) -> Stat:
        return self._again(lambda: self._store.head(key))

    def identity(self, key: str) -> str:
        return self._again(lambda: self._store.identity(key))

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        return self._again(lambda: self._store.identities(keys))

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        return self._again(lambda: self._store.contents(wanted))

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        """Goes on after the last object delivered; what is skipped may be reported twice. Progress renews the tries."""
        failures = 0
        while True:
            try:
                for told in self._store.listed(prefix, after):
                    if isinstance(told, Listed):
                        after = told.keys[-1]
                        failures = 0
                    yield told
                return
            except StoragedError as error:
                failures += 1
                if not isinstance(error, Transient) or failures == self._tries:
                    raise
                self._clock.sleep(self._wait_s(failures))

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        return self._again(lambda: self._store.folder(prefix, most))

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        return _RetryingReader(self._again(lambda: self._store.open(key, identity=identity)), self._again)

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        found = self._again(lambda: self._store.opened(wanted))
        return {key: _RetryingReader(reader, self._again) for key, reader in found.items()}

    def origin(self, key: str) -> Origin | None:
        return self._again(lambda: self._store.origin(key))

    def create(self, key: str, new: New) -> Upload:
        return self._again(lambda: self._store.create(key, new))

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        return self._again(lambda: self._store.delete(key, identity=identity, versions=versions))

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        return self._again(lambda: self._store.undeletable(keys, ask=ask))

    def checksum(self, key: str) -> str:
        return self._again(lambda: self._store.checksum(key))

    def locked_until(self, key: str) -> int | None:
        return self._again(lambda: self._store.locked_until(key))

    def expiry(self) -> str:
        return self._again(self._store.expiry)

    def warmth(self, key: str) -> Warmed:
        return self._again(lambda: self._store.warmth(key))

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        return self._again(lambda: self._store.warm(key, identity=identity, days=days, speed=speed))

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        return self._again(lambda: self._store.delete_attempt(key, attempt=attempt))

    def tidy(self) -> int:
        return self._again(self._store.tidy)

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        return self._again(lambda: self._store.read_note(name, limit=limit))

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        self._again(lambda: self._store.confirm(name, check))

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        tries = 0

        def write() -> None:
            nonlocal tries
            tries += 1
            try:
                self._store.write_note(name, data, create_only=create_only)
            except AlreadyExists:
                if tries == 1 or self._store.read_note(name) != data:
                    raise

        self._again(write)

    def delete_note(self, name: str) -> None:
        self._again(lambda: self._store.delete_note(name))

    def list_notes(self, prefix: str) -> Iterator[str]:
        yield from self._again(lambda: tuple(self._store.list_notes(prefix)))

    def clock_us(self) -> int | None:
        return self._again(self._store.clock_us)

    def free_bytes(self) -> int | None:
        return self._again(self._store.free_bytes)

    def _again(self, call: Callable[[], T]) -> T:
        try:
            return call()  # nearly every time: tenacity's bookkeeping takes as long as a look at a local file
        except StoragedError as error:
            if not isinstance(error, Transient) or self._tries == 1:
                raise
            self._sleep(self._wait_s(1))
        import tenacity  # here: few processes need it, and it loads what is there of asyncio and tornado

        return tenacity.Retrying(
            sleep=self._sleep,
            stop=tenacity.stop_after_attempt(self._tries - 1),
            wait=lambda state: self._wait_s(state.attempt_number + 1),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Transient)),
            reraise=True,
        )(call)

    def _sleep(self, seconds: float) -> None:
        with timed("retry"):
            self._clock.sleep(seconds)

    def _wait_s(self, failures: int) -> float:
        return self._rng.uniform(0, min(self._longest_s, self._first_s * 2.0 ** (failures - 1)))


class _Again(Protocol):
    def __call__(self, call: Callable[[], T]) -> T: ...


class _RetryingReader(ReaderWrapper):
    def __init__(self, reader: Reader, again: _Again) -> None:
        super().__init__(reader)
        self._again = again

    def read_at(self, offset: int, length: int) -> bytes:
        return self._again(lambda: self._reader.read_at(offset, length))

    def metadata(self) -> Mapping[str, str]:
        return self._again(self._reader.metadata)
