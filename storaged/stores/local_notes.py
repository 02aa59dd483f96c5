"""What we keep in a directory beside its objects: notes below `.storaged`, and the claim, which a root may carry
itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping

from storaged.errors import AlreadyExists, NotANote, ObjectNotFound, StoreError
from storaged.stores.base import RESERVED
from storaged.stores.keys import bounded, check_attempt, segments
from storaged.stores.listed import Listed
from storaged.stores.local_claim import read_claim, remove_claim, write_claim
from storaged.stores.local_errors import translated
from storaged.stores.local_names import FOLDER, LOCK, forget_shown, fresh, link, locked, names, shown_in, sync
from storaged.stores.local_tree import ASIDE, TMP, LocalTree, which
from storaged.stores.local_trial import try_filesystem
from storaged.stores.local_walk import DIRECTORY, kind_of, walk
from storaged.stores.notes import CLAIM, LARGEST_MARKER, LARGEST_NOTE

_NOTE = "_note"  # no attempt is called so
_OURS = frozenset({"tmp", "aside"})  # not for notes


class LocalNotes(LocalTree):
    """A directory with notes. `bare`: its claim is an attribute of the directory, and `.storaged` is there only while
    something is in it."""

    def __init__(self, root: str, *, bare: bool = False) -> None:
        super().__init__(root)
        self._bare = bare

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        """The note, whole. Raises NotANote for what is larger, or no regular file: others may put it in its place."""
        path = _note_path(name)
        if name == CLAIM and (claim := self._attribute()) is not None:
            return claim
        try:
            with self._at(path, name) as (folder, last):
                mode = os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode
                if not stat.S_ISREG(mode):
                    raise NotANote(f"{name!r} is a {kind_of(mode)}", key=name)
            with self._open(path, name) as reader:
                return reader.read_at(0, bounded(name, reader.stat.size, limit))
        except ObjectNotFound:
            return None

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        """From here on every call compares the root that it opens with the one whose note was right.

        The root is not held open meanwhile: nobody could unmount it.
        """
        here = LocalNotes(self._root)
        with here._folder([], name) as root:
            here._confirmed = which(root)
        check(here.read_note(name, limit=LARGEST_MARKER))
        self._confirmed = here._confirmed

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        """Appears whole or not at all, and is on the medium when this returns. Raises AlreadyExists; of a claim that is
        new here, StoreError where the filesystem lacks what storaged needs.

        One at a time among all processes, so that what a killed one left is known as such and goes with the next.
        """
        if name != CLAIM:
            self._write_file(name, data, create_only=create_only)
            return
        if create_only:
            self._try_filesystem()
        if self._bare:
            self._write_attribute(data, create_only=create_only)
        else:
            self._write_claim(data, create_only=create_only)

    def _try_filesystem(self) -> None:
        try:
            with translated(CLAIM), self._folder(TMP, CLAIM, make=True) as parts, locked(parts):
                try_filesystem(parts, self._root)
        finally:
            self._clear()

    def _write_file(self, name: str, data: bytes, *, create_only: bool) -> None:
        path = _note_path(name)
        with self._folder(TMP, name, make=True) as parts, locked(parts), fresh(_NOTE, parts) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            with self._at(path, name, make=True) as (folder, last):
                if create_only:
                    link(_NOTE, parts, last, folder)
                else:
                    os.rename(_NOTE, last, src_dir_fd=parts, dst_dir_fd=folder)
                sync(folder)

    def _write_claim(self, data: bytes, *, create_only: bool) -> None:
        with self._folder(ASIDE, CLAIM, make=True) as shelf, locked(shelf):
            pass  # what deletes need is there from the beginning: a full disk could not make it, and nothing would go
        self._write_file(CLAIM, data, create_only=create_only)
        if not create_only:
            self._drop_attribute()
        elif self._attribute() is not None:
            self._delete_file(CLAIM)
            raise _both()

    def _write_attribute(self, data: bytes, *, create_only: bool) -> None:
        with self._folder([], CLAIM) as root:
            write_claim(root, data, CLAIM, create_only=create_only)
        if not create_only:
            self._delete_file(CLAIM)
            self._clear()
        elif self._has_file(CLAIM):
            self._drop_attribute()
            raise _both()

    def _attribute(self) -> bytes | None:
        with self._folder([], CLAIM) as root:
            return read_claim(root)

    def _drop_attribute(self) -> None:
        with self._folder([], CLAIM) as root:
            remove_claim(root)

    def _has_file(self, name: str) -> bool:
        try:
            with self._at(_note_path(name), name) as (folder, last):
                os.stat(last, dir_fd=folder, follow_symlinks=False)
        except ObjectNotFound:
            return False
        return True

    def delete_note(self, name: str) -> None:
        """Twice is once. The directories that it leaves empty go too."""
        if name == CLAIM:
            self._drop_attribute()
        self._delete_file(name)
        self._clear()

    def _delete_file(self, name: str) -> None:
        path = _note_path(name)
        # under the lock of those who write notes: none of them is about to fill a directory that is removed
        with self._folder(TMP, name, make=True) as parts, locked(parts):
            with contextlib.suppress(ObjectNotFound), self._at(path, name) as (folder, last):
                os.unlink(last, dir_fd=folder)
                sync(folder)
            for depth in range(len(path) - 1, 1, -1):
                try:
                    with self._at(path[:depth], name) as (folder, last):
                        os.rmdir(last, dir_fd=folder)
                except StoreError:  # it holds other notes
                    break

    def list_notes(self, prefix: str) -> Iterator[str]:
        with translated(prefix), contextlib.suppress(ObjectNotFound):
            with self._folder([RESERVED], prefix) as folder:
                top = os.open(".", DIRECTORY, dir_fd=folder)
            for told in walk(top, "", prefix=prefix, hidden=_OURS):
                if isinstance(told, Listed):
                    yield from told.keys

    def shown(self) -> Mapping[str, str]:
        """Of returns; said in `.storaged/tmp` from the moment at which the file is there."""
        try:
            with self._folder(TMP, "") as parts:
                return shown_in(parts)
        except ObjectNotFound:
            return {}

    def forget_shown(self, attempt: str) -> None:
        with contextlib.suppress(ObjectNotFound), self._folder(TMP, "") as parts:
            forget_shown(check_attempt(attempt), parts)
        self._clear()

    def _clear(self) -> None:
        """Where `.storaged` is there only while it is needed, remove it if nothing is in it and nobody is about to put
        something there."""
        if not self._bare:
            return
        with contextlib.suppress(StoreError), self._folder([], "") as root, translated(""):
            own = os.open(RESERVED, DIRECTORY, dir_fd=root)
            try:
                fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who works there holds it shared, see enter_own
                for name in (TMP[1], ASIDE[1]):
                    _remove_unused(name, own)
                os.rmdir(RESERVED, dir_fd=root)
            finally:
                os.close(own)


def _remove_unused(name: str, own: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        folder = os.open(name, FOLDER, dir_fd=own)
        try:
            if names(folder) == [LOCK]:
                os.unlink(LOCK, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=own)


def _both() -> AlreadyExists:
    return AlreadyExists("another process claimed the place in another way at the same time", key=CLAIM)


def _note_path(name: str) -> list[str]:
    path = segments(name)
    if path[0] in _OURS:
        raise StoreError(f"{name!r} cannot be the name of a note", key=name)
    return [RESERVED, *path]
