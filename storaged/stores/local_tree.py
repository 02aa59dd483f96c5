"""The directories of a local place, walked one open directory at a time; no symbolic link is followed."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import xxhash

from storaged.errors import ObjectNotFound, PlaceAway, SourceChanged, StoreError, StoreUnavailable
from storaged.stores.base import RESERVED, Had, Skipped, Stat, Wanted
from storaged.stores.keys import object_segments, segments
from storaged.stores.listed import Listed
from storaged.stores.local_deletes import Mounted, mounted_below, of_file, of_folder
from storaged.stores.local_errors import store_error, translated
from storaged.stores.local_files import LocalReader, contents_in
from storaged.stores.local_metadata import PRIVATE, Folder, Passed, ours
from storaged.stores.local_names import READ, enter_own, open_root, regular, step
from storaged.stores.local_walk import DIRECTORY, identity_of, walk
from storaged.stores.local_way import Way

T = TypeVar("T")
Path = list[str]  # a name of its own, because a store has a method called list

TMP = [RESERVED, "tmp"]
ASIDE = [RESERVED, "aside"]


class LocalTree:
    """What is below one directory."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._confirmed: tuple[int, int] | None = None  # device and inode of the root whose marker was looked at
        self._ways = threading.local()  # `way`: what this thread holds open

    @contextlib.contextmanager
    def _at(
        self,
        path: Path,
        key: str,
        *,
        make: bool = False,
        above: Sequence[Folder] | None = None,
        passed: list[Passed] | None = None,
    ) -> Iterator[tuple[int, str]]:
        """The directory that holds `path`, and the name in it."""
        with self._folder(path[:-1], key, make=make, above=above, passed=passed) as folder:
            yield folder, path[-1]

    @contextlib.contextmanager
    def _folder(
        self,
        path: Path,
        key: str,
        *,
        make: bool = False,
        above: Sequence[Folder] | None = None,
        passed: list[Passed] | None = None,
    ) -> Iterator[int]:
        """A descriptor of the directory `path` below the root; missing ones are made if asked, like those `above`. What
        the directories on the way are like goes into `passed`, if given. Translates OSError."""
        with translated(key), contextlib.ExitStack() as held:
            folder = open_root(self._root, key)
            try:
                if self._confirmed not in (None, which(folder)):
                    raise PlaceAway(
                        f"{self._root} is not the directory any more whose marker was looked at",
                        key=key,
                        hint="is it mounted, and is it the right one?",
                    )
                usual = ours(folder)
                if path[:2] in (TMP, ASIDE):
                    held.callback(os.close, enter_own(folder, key, usual if make else None))
                for depth, name in enumerate(path):
                    like = above[depth] if above else PRIVATE if path[: depth + 1] in (TMP, ASIDE) else usual
                    below = step(folder, name, key, like if make else None)
                    os.close(folder)
                    folder = below
                    if passed is not None:
                        passed.append(Passed.of(folder))
                yield folder
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _held_above(self, key: str, excluded: frozenset[tuple[int, int]]) -> Iterator[Above]:
        """Held open: the number of a folder that went is not given to another meanwhile."""
        path = object_segments(key)[:-1]
        with contextlib.ExitStack() as held:
            try:
                found = [held.enter_context(self._folder(path[:depth], key)) for depth in range(len(path) + 1)]
            except ObjectNotFound:  # they are gone
                found = []
            yield Above(tuple(found), path, excluded)

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        """Of a large folder any of the names. Links count as files."""
        found: list[str] = []
        path = segments(prefix[:-1]) if prefix else []
        with contextlib.suppress(ObjectNotFound), self._folder(path, prefix) as folder:
            top = os.open(".", DIRECTORY, dir_fd=folder)
            try:
                with os.scandir(top) as entries:
                    for entry in entries:
                        if path or entry.name != RESERVED:
                            found.append(entry.name + "/" * entry.is_dir(follow_symlinks=False))
                        if len(found) == most:
                            break
            finally:
                os.close(top)
        return found

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        """By device, permissions and flags of the directories and files; there is nothing to ask."""
        found: dict[str, str] = {}
        if not keys:
            return found
        shelf, mounts = self._shelf(), mounted_below(self._root)
        for folder_key, group in itertools.groupby(sorted(keys, key=_folder_of), key=_folder_of):
            names = list(group)
            try:
                with self._folder([*filter(None, folder_key.split("/"))], folder_key) as folder:
                    why = of_folder(folder, f"{folder_key}/" if folder_key else "the root", shelf=shelf)
                    here = Mounted.of(folder) if mounts else None
                    told = {key: why or of_file(folder, key.rpartition("/")[2], key, within=here) for key in names}
                found |= {key: why for key, why in told.items() if why}
            except ObjectNotFound:
                continue
            except (PlaceAway, StoreUnavailable):
                raise
            except StoreError as error:
                found |= dict.fromkeys(names, f"{error.message}: {error.hint}" if error.hint else error.message)
        return found

    def unwritable(self, key: str) -> str:
        """By the directory that it would be in, or the first on the way there that would have to be made."""
        path = [*filter(None, _folder_of(key).split("/"))]
        for depth in range(len(path), -1, -1):
            where = "".join(f"{name}/" for name in path[:depth]) or "the root"
            with contextlib.suppress(ObjectNotFound), self._folder(path[:depth], key) as folder:
                return of_folder(folder, where, shelf=self._shelf(), only_added=True)
        return ""

    def _shelf(self) -> Mounted:
        """Where the directory is that what is deleted is renamed into first, or will be made on."""
        for depth in range(len(ASIDE), -1, -1):
            with contextlib.suppress(ObjectNotFound), self._folder(ASIDE[:depth], "") as folder:
                return Mounted.of(folder)
        raise ObjectNotFound("the root is gone", key="")

    @contextlib.contextmanager
    def near(self) -> Iterator[Mapping[str, Stat]]:
        """The directory of the last file that was opened, looked at or made is held open, and looked at once more when
        another one is, and in the end."""
        way = self._ways.way = Way(lambda path, key, passed, make: self._folder(path, key, make=make, passed=passed))
        try:
            yield {}
            way.end()
        finally:
            del self._ways.way
            way.let_go()

    def _in_folder(self, path: Path, key: str, act: Callable[[int, str, list[Passed]], T]) -> T:
        """`act` on the directory that holds `path`, the name in it, and what the directories on the way are like.
        Translates OSError."""
        way: Way | None = getattr(self._ways, "way", None)
        if way is None:
            above: list[Passed] = []
            with self._folder(path[:-1], key, passed=above) as folder:
                return act(folder, path[-1], above)
        try:
            folder, above = way.to(path, key)
            return act(folder, path[-1], above)
        except OSError as error:
            raise store_error(error, key) from error

    def _open(self, path: Path, key: str, identity: str | None = None) -> LocalReader:
        def opened(folder: int, name: str, above: list[Passed]) -> LocalReader:
            regular(os.stat(name, dir_fd=folder, follow_symlinks=False), key)  # opening a device may do things
            return LocalReader(os.open(name, READ, dir_fd=folder), key, above)

        reader = self._in_folder(path, key, opened)
        try:
            regular(reader.found, key)
            if identity is not None and reader.stat.identity != identity:
                raise SourceChanged(f"{key!r} is not the file that the catalog knows", key=key)
        except StoreError:
            reader.close()
            raise
        return reader

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        """Folder by folder."""
        found: dict[str, Had] = {}
        for _, group in itertools.groupby(wanted, key=lambda one: _folder_of(one.key)):
            theirs = list(group)
            found |= self._together([one.key for one in theirs], partial(contents_in, theirs))
        return found

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Folder by folder."""
        found: dict[str, str] = {}
        for _, group in itertools.groupby(keys, key=_folder_of):
            theirs = list(group)
            found |= self._together(theirs, partial(_identities_in, theirs))
        return found

    def _together(
        self, keys: Sequence[str], told: Callable[[int, Sequence[Passed]], Mapping[str, T]]
    ) -> Mapping[str, T]:
        """What is told of keys in one folder, by what that is and those on the way to it; of none where it cannot be
        reached, or one is no key."""
        try:
            return self._in_folder(object_segments(keys[0]), keys[0], lambda folder, _, above: told(folder, above))
        except (StoreError, ValueError):  # a NUL
            return {}

    def _describe_link(self, key: str) -> str:
        root = os.path.realpath(self._root)
        target = os.path.realpath(os.path.join(root, key))
        inside = os.path.commonpath([root, target]) == root
        return "symbolic link" if inside else "symbolic link leading out of the root"

    def _listed(
        self, prefix: str, after: str, excluded: frozenset[tuple[int, int]], elsewhere: frozenset[str]
    ) -> Iterator[Listed | Skipped]:
        """What `walk` finds below `prefix`, without the store's own names."""
        folders = prefix.split("/")[:-1]
        if folders and folders[0] == RESERVED:
            return
        base = "".join(folder + "/" for folder in folders)
        with translated(prefix), contextlib.suppress(ObjectNotFound):
            top = self._top(segments(base[:-1]) if base else [], prefix, excluded)
            if top is None:
                return
            yield from walk(
                top,
                base,
                prefix=prefix,
                after=after,
                hidden=frozenset() if base else frozenset({RESERVED}),
                excluded=excluded,
                elsewhere=elsewhere,
                describe_link=self._describe_link,
            )

    def _top(self, path: Path, prefix: str, excluded: frozenset[tuple[int, int]]) -> int | None:
        """The directory that a listing starts at, open for reading; None where it is excluded, by device and inode."""
        with contextlib.ExitStack() as stack:
            for depth in range(len(path) + 1):
                folder = stack.enter_context(self._folder(path[:depth], prefix))
                found = os.fstat(folder)
                if depth and (found.st_dev, found.st_ino) in excluded:
                    return None
            return os.open(".", DIRECTORY, dir_fd=folder)


@dataclass(frozen=True, slots=True)
class Above:
    """The open folders above a key, the root first, and the names of those below it."""

    folders: tuple[int, ...]
    names: Path
    excluded: frozenset[tuple[int, int]]

    def remove_empty(self) -> int:
        """The system itself refuses to remove what holds anything, or what something is mounted on."""
        removed = 0
        for depth in range(len(self.folders) - 1, 0, -1):
            parent, folder, name = self.folders[depth - 1], self.folders[depth], self.names[depth - 1]
            try:
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                mounted = found.st_dev != os.fstat(parent).st_dev
                if (found.st_dev, found.st_ino) != which(folder) or which(folder) in self.excluded or mounted:
                    break
                os.rmdir(name, dir_fd=parent)
            except OSError:  # there is something in it, or it is not ours to remove
                break
            removed += 1
        return removed


def _identities_in(keys: Sequence[str], folder: int, _: Sequence[Passed]) -> Mapping[str, str]:
    """Of regular files of an open directory."""
    found: dict[str, str] = {}
    for key in keys:
        with contextlib.suppress(OSError):
            there = os.stat(key.rpartition("/")[2], dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(there.st_mode):
                found[key] = identity_of(there)
    return found


def which(folder: int) -> tuple[int, int]:
    """Device and inode of an open directory."""
    found = os.fstat(folder)
    return found.st_dev, found.st_ino


def _folder_of(key: str) -> str:
    return key.rpartition("/")[0]


def aside_name(key: str) -> str:
    """What a key is called while it lies aside."""
    return xxhash.xxh3_128_hexdigest(key.encode())
