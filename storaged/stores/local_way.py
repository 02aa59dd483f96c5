"""A directory that is held open while one thread reads several files in it.

A walk from the top looks at every directory on the way for each file. Where a thread reads neighbours, it walks once
before the first of them and once more behind the last: what was read between is what lies at their keys only if both
walks led to the same directory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from storaged.errors import ObjectNotFound, SourceChanged, StoreError

Walk = Callable[[list[str], str, list[os.stat_result]], AbstractContextManager[int]]  # path, key, passed: a directory


class Way:
    """What one thread holds open. Not thread-safe; `end` it."""

    def __init__(self, walk: Walk) -> None:
        self._walk: Final = walk
        self._held = contextlib.ExitStack()
        self._path: list[str] | None = None
        self._key = ""  # of the last that was asked for there
        self._folder = -1
        self._above: list[os.stat_result] = []
        self._wrong: StoreError | None = None

    def to(self, path: list[str], key: str) -> tuple[int, list[os.stat_result]]:
        """A descriptor of the directory that holds `path`, and what the directories on the way are like. Raises as a
        walk does, OSError included."""
        if self._path != path[:-1]:
            self._leave()
            self._above = []
            self._folder = self._held.enter_context(self._walk(path[:-1], key, self._above))
            self._path = path[:-1]
        self._key = key
        return self._folder, self._above

    def end(self) -> None:
        """Look at the way once more and let go. Raises SourceChanged where it leads elsewhere by now, or did when
        another directory was gone to; else what a walk raises."""
        self._leave()
        if self._wrong is not None:
            raise self._wrong

    def let_go(self) -> None:
        """Without a look."""
        self._path = None
        self._held.close()

    def _leave(self) -> None:
        path = self._path
        try:
            if path is not None and self._wrong is None:
                with self._walk(path, self._key, []) as now:
                    if not os.path.samestat(os.fstat(now), os.fstat(self._folder)):
                        self._wrong = self._moved()
        except ObjectNotFound:
            self._wrong = self._moved()
        except StoreError as error:
            self._wrong = error
        finally:
            self.let_go()

    def _moved(self) -> SourceChanged:
        return SourceChanged(f"{self._key!r}: its directory was moved while files in it were read", key=self._key)
