"""A directory that is held open while one thread reads or makes several files in it.

A walk from the top looks at every directory on the way for each file. Where a thread is at neighbours, it walks once
before the first of them and once more behind the last: what was read or made between is what lies at their keys only if
both walks led to the same directory. The names that were made in it are brought to the medium once, behind the last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from storaged.errors import ObjectNotFound, PlaceAway, SourceChanged, StoreError
from storaged.stores.local_names import sync

Walk = Callable[[list[str], str, list[os.stat_result], bool], AbstractContextManager[int]]
# path, key, passed, whether to make what is missing: a directory


class Way:
    """What one thread holds open. Not thread-safe; `end` it."""

    def __init__(self, walk: Walk) -> None:
        self._walk: Final = walk
        self._held = contextlib.ExitStack()
        self._path: list[str] | None = None
        self._key = ""  # of the last that was asked for there
        self._folder = -1
        self._above: list[os.stat_result] = []
        self._filled = False  # a name was made in it
        self._wrong: StoreError | None = None

    def to(self, path: list[str], key: str, *, make: bool = False) -> tuple[int, list[os.stat_result]]:
        """A descriptor of the directory that holds `path`, made if asked, and what the directories on the way are like.
        Raises as a walk does, OSError included."""
        if self._path != path[:-1]:
            self._leave()
            self._above = []
            self._folder = self._held.enter_context(self._walk(path[:-1], key, self._above, make))
            self._path = path[:-1]
        self._key = key
        return self._folder, self._above

    def filled(self) -> None:
        """A name was made in the directory that it leads to."""
        self._filled = True

    def vacated(self) -> bool:
        """The directory that it led to is gone. Whether that is no loss, as we made nothing there: then it is walked
        anew."""
        if not self._filled:
            self.let_go()
        return not self._filled

    def end(self) -> None:
        """Look at the way once more and let go. Raises where it leads elsewhere by now, or did when another directory
        was gone to: SourceChanged, or PlaceAway if anything was made there; else what a walk or bringing names to the
        medium raises."""
        self._leave()
        if self._wrong is not None:
            raise self._wrong

    def let_go(self) -> None:
        """Without a look."""
        self._path, self._filled = None, False
        self._held.close()

    def _leave(self) -> None:
        path = self._path
        try:
            if path is not None and self._wrong is None:
                with self._walk(path, self._key, [], False) as now:
                    if self._filled:
                        sync(self._folder)
                    if not os.path.samestat(os.fstat(now), os.fstat(self._folder)):
                        self._wrong = self._moved()
        except ObjectNotFound:
            self._wrong = self._moved()
        except StoreError as error:
            self._wrong = error
        finally:
            self.let_go()

    def _moved(self) -> StoreError:
        if self._filled:
            return PlaceAway(f"{self._key!r}: its directory was moved while files were made in it", key=self._key)
        return SourceChanged(f"{self._key!r}: its directory was moved while files in it were read", key=self._key)


Opened = Callable[[str], AbstractContextManager[tuple[int, int]]]  # for a key: see Making.parts


class Making:
    """The directory of temporary files, which one thread holds open while it makes neighbours. Not thread-safe; `end`
    it."""

    def __init__(self, opened: Opened) -> None:
        self._opened: Final = opened
        self._held = contextlib.ExitStack()
        self._parts: tuple[int, int] | None = None
        self.tags = False  # files there were seen to take a tag

    @property
    def begun(self) -> bool:
        return self._parts is not None

    def parts(self, key: str) -> tuple[int, int]:
        """A descriptor of the directory, and the mode that a blob has in the end. Raises as a walk does."""
        if self._parts is None:
            self._parts = self._held.enter_context(self._opened(key))
        return self._parts

    def end(self) -> None:
        """Bring to the medium that temporary names are gone. Raises OSError."""
        if self._parts is not None:
            sync(self._parts[0])

    def let_go(self) -> None:
        self._held.close()
