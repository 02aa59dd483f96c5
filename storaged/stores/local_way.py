"""A directory that is held open while one thread reads, makes or deletes several files in it.

A walk from the top looks at every directory on the way for each file. Where a thread is at neighbours, it walks once
before the first of them and once more behind the last: what was done between was done at their keys only if both walks
led to the same directory. What names were made or removed in it is brought to the medium once, behind the last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from storaged.errors import ObjectNotFound, PlaceAway, SourceChanged, StoreError
from storaged.stores.local_metadata import Passed
from storaged.stores.local_names import sync

Walk = Callable[[list[str], str, list[Passed], bool], AbstractContextManager[int]]
# path, key, passed, whether to make what is missing: a directory


class Way:
    """What one thread holds open. Not thread-safe; `end` it."""

    def __init__(self, walk: Walk) -> None:
        self._walk: Final = walk
        self._held = contextlib.ExitStack()
        self._path: list[str] | None = None
        self._key = ""  # of the last that was asked for there
        self._folder = -1
        self._above: list[Passed] = []
        self._altered = False  # a name was made or removed in it
        self._wrong: StoreError | None = None

    def to(self, path: list[str], key: str, *, make: bool = False) -> tuple[int, list[Passed]]:
        """A descriptor of the directory that holds `path`, made if asked, and what the directories on the way are like.
        Raises as a walk does, OSError included."""
        if self._path != path[:-1]:
            self._leave()
            self._above = []
            self._folder = self._held.enter_context(self._walk(path[:-1], key, self._above, make))
            self._path = path[:-1]
        self._key = key
        return self._folder, self._above

    def altered(self) -> None:
        """A name was made or removed in the directory that it leads to."""
        self._altered = True

    def vacated(self) -> bool:
        """The directory that it led to is gone. Whether that is no loss, as we changed nothing there: then it is walked
        anew."""
        if not self._altered:
            self.let_go()
        return not self._altered

    def end(self) -> None:
        """Look at the way once more and let go. Raises where it leads elsewhere by now, or did when another directory
        was gone to: SourceChanged, or PlaceAway if names changed there; else what a walk or bringing them to the medium
        raises."""
        self._leave()
        if self._wrong is not None:
            raise self._wrong

    def let_go(self) -> None:
        """Without a look."""
        self._path, self._altered = None, False
        self._held.close()

    def _leave(self) -> None:
        path = self._path
        try:
            if path is not None and self._wrong is None:
                with self._walk(path, self._key, [], False) as now:
                    if self._altered:
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
        if self._altered:
            return PlaceAway(f"{self._key!r}: its directory was moved while we worked in it", key=self._key)
        return SourceChanged(f"{self._key!r}: its directory was moved while files in it were read", key=self._key)


class Held:
    """A directory of our own that one thread holds open while it makes or deletes neighbours, from when it is first
    needed on. Not thread-safe; `end` it."""

    def __init__(self, opened: Callable[[str], AbstractContextManager[int]]) -> None:
        """`opened`: for a key."""
        self._opened: Final = opened
        self._held = contextlib.ExitStack()
        self._folder: int | None = None
        self.tags = False  # files there were seen to take a tag

    @property
    def begun(self) -> bool:
        return self._folder is not None

    def folder(self, key: str) -> int:
        """A descriptor of it. Raises as a walk does."""
        if self._folder is None:
            self._folder = self._held.enter_context(self._opened(key))
        return self._folder

    def end(self) -> None:
        """Bring to the medium which names are there. Raises OSError."""
        if self._folder is not None:
            sync(self._folder)

    def let_go(self) -> None:
        self._held.close()
