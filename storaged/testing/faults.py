"""A store that fails as told: errors, lying disks, crashes, and writes that land late."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from storaged.errors import AlreadyExists
from storaged.model import Origin
from storaged.stores.archives import Warmed
from storaged.stores.base import Deleted, Had, New, Reader, Skipped, Stat, Store, Upload, Wanted
from storaged.stores.copies import Copy, CopySource
from storaged.stores.listed import Listed
from storaged.stores.notes import LARGEST_NOTE
from storaged.stores.wrappers import ReaderWrapper, StoreWrapper, UploadWrapper

METHODS = frozenset(
    {"head", "list", "open", "read_at", "origin", "create", "write", "commit", "abort", "delete", "delete_attempt"}
    | {"copy", "warm", "transition", "read_note", "write_note", "delete_note", "list_notes", "free_bytes", "folder"}
)
Hook = Callable[[str, str], None]


class Crash(BaseException):
    """The process dies here. Nothing that catches Exception sees it."""


@dataclass(frozen=True)
class Fault:
    """What happens at the `call`-th call of `method` (counted from 1 over the whole store; 0: at every call).

    `error` is raised instead of the call, or with `late` after it: it took effect and the answer was lost. `damage`
    changes the bytes that `write` stores or `read_at` gives, and nobody is told. A commit with `lands_later` raises
    `error` too, and takes effect when `Faults.land` is called: a request that outlives the process that sent it.
    """

    method: str
    call: int = 1
    error: BaseException | None = None
    late: bool = False
    damage: Callable[[bytes], bytes] | None = None
    lands_later: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"a store has no {self.method!r}")
        if self.damage is not None and self.method not in ("write", "read_at"):
            raise ValueError(f"{self.method} handles no bytes to damage")
        if self.lands_later and (self.method != "commit" or self.error is None):
            raise ValueError("only a commit can land later, and its caller has to see an error")
        if (self.error is None) == (self.damage is None):
            raise ValueError("a fault is either an error or damage")


class Faults:
    """The plan of a FaultyStore, and what came of it. `before` and `after` are called as hook(method, key).

    Once a Crash is raised, by a hook or a fault, every further call raises Crash: a dead process does nothing.
    """

    def __init__(self, *plan: Fault, before: Hook | None = None, after: Hook | None = None) -> None:
        self.crashed = False
        self._plan = plan
        self._hit: set[Fault] = set()
        self._calls: Counter[str] = Counter()
        self._before = before
        self._after = after
        self._landings: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def calls(self, method: str) -> int:
        """How often the method was called so far."""
        return self._calls[method]

    def assert_all_hit(self) -> None:
        """Raise AssertionError if some fault of the plan never happened: then the test has shown nothing."""
        missed = [fault for fault in self._plan if fault not in self._hit]
        if missed:
            raise AssertionError(f"never happened: {missed}")

    def land(self) -> int:
        """Let the commits that were to land later take effect now. How many did; a key that is taken takes none."""
        with self._lock:
            landings, self._landings = self._landings, []
        landed = 0
        for landing in landings:
            try:
                landing()
            except AlreadyExists:
                continue
            landed += 1
        return landed

    @property
    def some_land_later(self) -> bool:
        """Whether an upload has to remember its bytes."""
        return any(fault.lands_later for fault in self._plan)

    def postpone(self, landing: Callable[[], None]) -> None:
        """Keep for `land`."""
        with self._lock:
            self._landings.append(landing)

    @contextlib.contextmanager
    def around(self, method: str, key: str) -> Iterator[list[Fault]]:
        """Count a call; raise before or after it what is to be raised; give what else is to happen in it."""
        if self.crashed:
            raise Crash(f"{method} {key}: the process is dead")
        with self._lock:
            self._calls[method] += 1
            due = [fault for fault in self._plan if fault.method == method and fault.call in (0, self._calls[method])]
            self._hit.update(due)
        try:
            if self._before:
                self._before(method, key)
            for fault in due:
                if fault.error is not None and not (fault.late or fault.lands_later):
                    raise fault.error
            yield due
            for fault in due:
                if fault.error is not None:
                    raise fault.error
            if self._after:
                self._after(method, key)
        except Crash:
            self.crashed = True
            raise


class FaultyStore(StoreWrapper):
    """A store whose calls go as `faults` say. `list` and `list_notes` fail where they begin."""

    def __init__(self, store: Store, faults: Faults) -> None:
        super().__init__(store)
        self.faults = faults

    def head(self, key: str) -> Stat:
        with self.faults.around("head", key):
            return super().head(key)

    def identity(self, key: str) -> str:
        with self.faults.around("head", key):
            return super().identity(key)

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        """None: each is asked for by itself, and fails by itself."""
        return {}

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        """None: each is opened by itself, and fails by itself."""
        return {}

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        """None: each is opened by itself, and fails by itself."""
        return {}

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """None: each is copied by itself, and fails by itself."""
        return {}

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        with self.faults.around("list", prefix):
            told = super().listed(prefix, after)
        yield from told

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        with self.faults.around("folder", prefix):
            return super().folder(prefix, most)

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        with self.faults.around("open", key):
            return _FaultyReader(super().open(key, identity=identity), self.faults)

    def origin(self, key: str) -> Origin | None:
        with self.faults.around("origin", key):
            return super().origin(key)

    def create(self, key: str, new: New) -> Upload:
        def again() -> Upload:
            return super(FaultyStore, self).create(key, new)

        with self.faults.around("create", key):
            return _FaultyUpload(again(), self.faults, key, again)

    def copy(self, key: str, new: New, source: CopySource) -> Stat | None:
        with self.faults.around("copy", key):
            return super().copy(key, new, source)

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        with self.faults.around("delete", key):
            return super().delete(key, identity=identity, versions=versions)

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        with self.faults.around("warm", key):
            return super().warm(key, identity=identity, days=days, speed=speed)

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        with self.faults.around("transition", key):
            return super().transition(key, identity=identity, storage_class=storage_class)

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        with self.faults.around("delete_attempt", key):
            return super().delete_attempt(key, attempt=attempt)

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        with self.faults.around("read_note", name):
            return super().read_note(name, limit=limit)

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        with self.faults.around("read_note", name):
            super().confirm(name, check)

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        with self.faults.around("write_note", name):
            super().write_note(name, data, create_only=create_only)

    def delete_note(self, name: str) -> None:
        with self.faults.around("delete_note", name):
            super().delete_note(name)

    def list_notes(self, prefix: str) -> Iterator[str]:
        with self.faults.around("list_notes", prefix):
            names = super().list_notes(prefix)
        yield from names

    def free_bytes(self) -> int | None:
        with self.faults.around("free_bytes", ""):
            return super().free_bytes()


class _FaultyReader(ReaderWrapper):
    def __init__(self, reader: Reader, faults: Faults) -> None:
        super().__init__(reader)
        self._faults = faults

    def read_at(self, offset: int, length: int) -> bytes:
        with self._faults.around("read_at", self.stat.key) as due:
            return _damaged(super().read_at(offset, length), due)


class _FaultyUpload(UploadWrapper):
    def __init__(self, upload: Upload, faults: Faults, key: str, again: Callable[[], Upload]) -> None:
        super().__init__(upload)
        self._faults = faults
        self._key = key
        self._again = again
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        with self._faults.around("write", self._key) as due:
            data = _damaged(data, due)
            if self._faults.some_land_later:
                self._written.append(bytes(data))
            super().write(data)

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        with self._faults.around("commit", self._key) as due:
            for fault in due:
                if fault.lands_later and fault.error is not None:
                    super().abort()
                    self._faults.postpone(lambda: self._land(origin, metadata))
                    raise fault.error
            return super().commit(origin, metadata=metadata)

    def abort(self) -> None:
        with self._faults.around("abort", self._key):
            super().abort()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._faults.crashed:  # a dead process tidies nothing up
            super().__exit__(kind, error, trace)

    def _land(self, origin: Origin, metadata: Mapping[str, str] | None) -> None:
        with self._again() as upload:
            for data in self._written:
                upload.write(data)
            upload.commit(origin, metadata=metadata)


def _damaged(data: bytes, due: list[Fault]) -> bytes:
    for fault in due:
        if fault.damage is not None:
            data = fault.damage(data)
    return data


def cut(data: bytes) -> bytes:
    """Damage: the second half is missing."""
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """Damage: one bit in the middle is wrong."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data
