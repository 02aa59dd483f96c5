"""Tells that configuration files changed: at once where the system tells of it, in any case within seconds."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from watchfiles import Change, watch

from storaged.config.yaml import SUFFIXES

LONGEST: Final = 10  # quiet times after which a burst is told of though it goes on

_Changes = Iterable[tuple[Change, str]]
_Seen = frozenset[tuple[Path, int, int, int, int]]  # path; device, inode, size and time of change


class Watch:
    """Calls `on_change` in a thread of its own when one of `paths` changed, or a *.yaml or *.yml in one that is a
    directory. Changes closer together than `quiet_s` are one. `on_change` must not raise.

    The system's notices miss what is behind a symbolic link (a ConfigMap), on a network, or in a directory that was
    not there; so every `look_s`, and at any notice, the files themselves are looked at. Their content is not read.
    """

    def __init__(
        self, paths: Iterable[Path], on_change: Callable[[], object], *, quiet_s: float = 0.2, look_s: float = 5.0
    ) -> None:
        self._paths = tuple(Path(os.path.abspath(path)) for path in paths)
        self._on_change = on_change
        self._quiet_s = quiet_s
        self._look_s = look_s
        self._stop = threading.Event()
        self._seen = self._files()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """What has changed since this object was made is told, and what changes from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended: nothing is told any more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            places = self._places()
            for changes in self._notices(places):
                self._look(changes)
                if self._places() != places:
                    break  # a directory came, went or is another one: its notices must be asked for anew

    def _notices(self, places: dict[Path, tuple[int, int]]) -> Iterator[_Changes]:
        """What changed in these directories, and nothing whenever it is time to look."""
        quiet_ms = round(self._quiet_s * 1_000)
        if places:
            with suppress(OSError, RuntimeError):  # one went away just now, or the system has no more notices to give
                yield from watch(
                    *places,
                    watch_filter=None,
                    recursive=False,
                    step=quiet_ms,
                    debounce=quiet_ms * LONGEST,
                    rust_timeout=round(self._look_s * 1_000),
                    yield_on_timeout=True,
                    stop_event=self._stop,
                    raise_interrupt=False,
                )
        if not self._stop.wait(self._look_s):
            yield ()

    def _look(self, changes: _Changes) -> None:
        files = self._files()
        told = any(self._concerns(Path(name)) for _, name in changes)
        if told or files != self._seen:
            self._seen = files
            self._on_change()

    def _concerns(self, path: Path) -> bool:
        return path in self._paths or (path.parent in self._paths and path.suffix in SUFFIXES)

    def _places(self) -> dict[Path, tuple[int, int]]:
        """Directories to ask for notices, and which they are: each path that is one, and those that paths lie in."""
        found = {}
        for place in {*self._paths, *(path.parent for path in self._paths)}:
            st = _stat(place)
            if st is not None and stat.S_ISDIR(st.st_mode):
                found[place] = (st.st_dev, st.st_ino)
        return found

    def _files(self) -> _Seen:
        found = set()
        for path in self._paths:
            for file in (path, *_inside(path)):
                st = _stat(file)
                if st is not None and not stat.S_ISDIR(st.st_mode):
                    found.add((file, st.st_dev, st.st_ino, st.st_size, max(st.st_mtime_ns, st.st_ctime_ns)))
        return frozenset(found)


def _inside(path: Path) -> list[Path]:
    try:
        return [path / name for name in os.listdir(path) if name.endswith(SUFFIXES)]
    except OSError:  # it is a file, or not there, or not ours to read
        return []


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
