"""The spool: what is read through storaged, as JSON lines in the state directory, until an ingest has counted it.

Each process appends to a file of its own, `<pid>-<random>.jsonl`, one write per line, and holds a shared lock on it as
long as it may append. So a file of which the exclusive lock can be had will not grow again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import threading
import weakref
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storaged.catalog.engine import Catalog
from storaged.clock import SECOND, new_id, to_datetime
from storaged.model import AccessEvent
from storaged.private import make_directory

if TYPE_CHECKING:
    from storaged.work.ingest import IngestReport

DIRECTORY: Final = "spool"  # in the state directory
LARGEST_FILE: Final = 16 << 20  # bytes; then the next one begins, so that what was counted can go
LAG_US: Final = 3600 * SECOND  # a read is spooled when its handle is closed


class Spool:
    """Where one process writes down its reads. Thread-safe; a forked child begins a file of its own."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / DIRECTORY
        self._lock = threading.Lock()
        self._pid = 0
        self._file = -1
        self._by = ""
        self._written = 0
        self._give_up: Callable[[], object] = bool  # closes the file; also when this Spool is forgotten

    def append(self, event: AccessEvent) -> None:
        """Write down one event. Raises OSError where the disk does not take it."""
        with self._lock:
            if self._file < 0 or self._pid != os.getpid() or self._written >= LARGEST_FILE:
                self._begin()
            line = self._line(event)
            if os.write(self._file, line) != len(line):
                self._end()  # the next line must not run into the torn one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))
            self._written += len(line)

    def close(self) -> None:
        """Give the file up, so that an ingest may remove it; another `append` begins a new one."""
        with self._lock:
            self._end()

    def _line(self, event: AccessEvent) -> bytes:
        told = {
            "ts": to_datetime(event.at_us).isoformat(),
            "op": event.op,
            "dataset": event.dataset,
            "object": event.object,
            "bytes": event.nbytes,
            "count": event.count,
            "by": self._by,  # two processes never write the same line
        }
        return (json.dumps(told) + "\n").encode()

    def _begin(self) -> None:
        self._end()
        make_directory(self._directory)
        self._pid, self._by, self._written = os.getpid(), f"{os.getpid()}-{new_id()}", 0
        hidden = self._directory / f".{self._by}"
        file = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if self._directory.stat().st_mode & stat.S_ISGID:  # shared with a group: see docs/security.md
                os.fchmod(file, 0o640)
            fcntl.flock(file, fcntl.LOCK_SH)
            hidden.rename(self._directory / f"{self._by}.jsonl")  # seen only once it is locked
        except OSError:
            os.close(file)
            raise
        self._file = file
        give_up = weakref.finalize(self, os.close, file)
        give_up.atexit = False  # files that nobody closed are closed after that, and count
        self._give_up = give_up

    def _end(self) -> None:
        self._give_up()  # a forked child leaves its parent's lock as it is
        self._file = -1


def ingest_spool(catalog: Catalog, state_dir: Path, *, now_us: int, half_life_us: int) -> IngestReport:
    """Count what the spool holds, and remove the files that no process appends to any more. Raises as `ingest` does."""
    directory = state_dir / DIRECTORY
    make_directory(directory)
    finished = [path for path in sorted(directory.glob("*.jsonl")) if _finished(path)]
    from storaged.work.ingest import LogSource, ingest  # loads Arrow and DuckDB, which no reader needs

    source = LogSource("spool", "spool", f"{escape(str(directory))}/*.jsonl", lag_us=LAG_US)
    report = ingest(catalog, source, now_us=now_us, half_life_us=half_life_us, state_dir=state_dir)
    if not report.problems:
        for path in finished:
            path.unlink(missing_ok=True)
    return report


def _finished(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked by its writer; or gone, or not ours to read
        return False
    return True
