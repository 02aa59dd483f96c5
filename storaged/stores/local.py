"""A directory of the machine as a store.

Paths are walked one open directory at a time and no symbolic link is followed, neither below the root, so that nothing
outside it can be reached, nor on the way to it, unless the place says `follow: true`. What we write is made in
`.storaged/tmp`, for nobody but us, and linked to its place when it is whole, on the medium and has its mode; what we
delete is renamed to `.storaged/aside` first and looked at again there.

Blobs, notes and their directories are 0600 and 0700 whatever the umask; blobs 0640 and directories 2750 where the top
one is setgid, which is how an administrator lets its group read a tier.

What no order of system calls can close: a program that holds a file open may still write to it after `delete` looked
at it for the last time, and those bytes go with the file; and a file rewritten in place with the same size within one
tick of the filesystem's clock keeps its identity. So datasets have to be quiet for `quiet_for` before anything is done.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from urllib.parse import unquote, urlsplit

from storaged.errors import (
    AlreadyExists,
    ObjectNotFound,
    StoreUnavailable,
    UsageError,
)
from storaged.model import Origin
from storaged.stores.access import Elsewhere
from storaged.stores.base import Deleted, New, OneClass, Skipped, Stat, Traits
from storaged.stores.keys import ATTEMPT, check_attempt, object_segments
from storaged.stores.listed import Listed, Lists
from storaged.stores.local_errors import store_error, translated
from storaged.stores.local_files import LocalReader, LocalUpload, write_origin
from storaged.stores.local_metadata import (
    close_to_others,
    folders_of,
    metadata_told,
    not_restorable,
    ours,
)
from storaged.stores.local_names import (
    NEW,
    link,
    locked,
    names,
    note_shown,
    regular,
    return_directory,
    sync,
)
from storaged.stores.local_notes import LocalNotes
from storaged.stores.local_tree import ASIDE, TMP, Above, Path, aside_name
from storaged.stores.local_walk import alike, identity_of, stat_of, without_ctime
from storaged.stores.local_way import Held, Way
from storaged.stores.origins import left_by

_TRAITS = Traits()


class LocalStore(Lists, LocalNotes, OneClass):
    """The port on a directory. `excluded` are (device, inode) pairs of what is never listed: catalog, tiers, state.
    `elsewhere` tells at each listing what belongs to another place. `follow`: the links on the way to it are followed,
    once and now. `bare`: see LocalNotes."""

    def __init__(
        self,
        url: str,
        excluded: frozenset[tuple[int, int]] = frozenset(),
        *,
        follow: bool = False,
        bare: bool = False,
        elsewhere: Callable[[], Elsewhere] = Elsewhere,
    ) -> None:
        parsed = urlsplit(url)
        path = unquote(parsed.path)
        if parsed.scheme != "file" or parsed.netloc or not path.startswith("/") or parsed.query or parsed.fragment:
            raise UsageError(f"{url!r} is no local place", hint="write file:// and an absolute path: file:///srv/data")
        if os.fsencode("\u00e9") != b"\xc3\xa9":
            raise UsageError("file names are not UTF-8 in this locale", hint="set LC_ALL=C.UTF-8 or PYTHONUTF8=1")
        self._url = url
        super().__init__(os.path.realpath(path) if follow else os.path.normpath(path), bare=bare)
        self._excluded = excluded
        self._elsewhere = elsewhere
        self._numbers = itertools.count()
        self._mode = 0o600  # of a blob, as it was when last something was made

    @property
    def url(self) -> str:
        return self._url

    @property
    def traits(self) -> Traits:
        """Writable; files carry their origin in an extended attribute."""
        return _TRAITS

    def head(self, key: str) -> Stat:
        """Raises ObjectNotFound; StoreError for what is no regular file or is reached through a symbolic link."""

        def looked(folder: int, name: str, _: object) -> os.stat_result:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)

        return stat_of(key, regular(self._in_folder(object_segments(key), key, looked), key))

    def identity(self, key: str) -> str:
        return self.head(key).identity

    def alike(self, known: str, now: str) -> bool:
        """By inode, size and mtime to the nanosecond: only ctime may differ."""
        return alike(known, now)

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        """What is skipped may be a directory: it then stands for everything below it.

        Raises StoreError where the listing would end with a hole: the root is missing, a directory cannot be read on.
        """
        elsewhere = self._elsewhere()
        yield from self._listed(prefix, after, self._excluded | elsewhere.inodes, elsewhere.keys)

    def open(self, key: str, *, identity: str | None = None) -> LocalReader:
        return self._open(object_segments(key), key, identity)

    def not_restorable(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """The owner, unless it is this process or this process may give files away; more than one hard link."""
        return not_restorable(metadata)

    def origin(self, key: str) -> Origin | None:
        with self.open(key) as reader:
            return reader.origin()

    def create(self, key: str, new: New) -> LocalUpload:
        """Nothing is made outside `.storaged/tmp` before commit. Raises StoreError where files cannot be tagged."""
        path = object_segments(key)
        fd, part, mode = self._new_part(check_attempt(new.attempt), key)

        def publish(told: Mapping[str, str] | None) -> Stat:
            return self._publish(path, key, fd, part, told)

        def discard() -> None:
            with contextlib.suppress(ObjectNotFound), self._folder(TMP, key) as parts:
                os.unlink(part, dir_fd=parts)
            self._clear()

        def ended(back: bool) -> None:
            if back:
                self.forget_shown(new.attempt)
            elif self._making is None:
                self._clear()

        upload = LocalUpload(key, fd, new.mtime_us, mode, publish, discard, ended, holes=new.metadata is not None)
        making = self._making
        if making is not None and making.tags:
            return upload
        try:
            # asked now, not after a terabyte was written; commit replaces it
            write_origin(fd, Origin("", new.attempt, "", "", 0, ""))
        except OSError as error:
            upload.abort()
            raise store_error(error, key) from error
        if making is not None:
            making.tags = True
        return upload

    @contextlib.contextmanager
    def near(self) -> Iterator[Mapping[str, Stat]]:
        """What is made within is on the medium before it is visible, file by file; the names of all of it are there in
        the end. A power failure may bring back an older ctime of it: then its blob is proven anew, as any is of which
        its store tells another identity, and an original is looked at, as any that was touched."""
        making = self._ways.making = Held(self._parts)
        taking = self._ways.taking = Held(self._shelf_of)
        try:
            with super().near() as told:
                yield told
                with translated(""):
                    making.end()
                    taking.end()
        finally:
            del self._ways.making, self._ways.taking
            making.let_go()
            taking.let_go()
            if making.begun or taking.begun:
                self._clear()

    @property
    def _making(self) -> Held | None:
        """The directory of what is being made, which this thread holds open among neighbours."""
        found: Held | None = getattr(self._ways, "making", None)
        return found

    @property
    def _taking(self) -> Held | None:
        """The same of what is being deleted."""
        found: Held | None = getattr(self._ways, "taking", None)
        return found

    def _publish(self, path: Path, key: str, fd: int, part: str, told: Mapping[str, str] | None) -> Stat:
        making = self._making
        try:
            if making is None:
                return self._linked(path, key, fd, part, told)
            return self._near(making, path, key, fd, part, told)
        except ObjectNotFound:  # a sweep took the folder for left empty just as it was about to be filled
            if making is None:
                return self._linked(path, key, fd, part, told)
            if not self._ways.way.vacated():
                raise
            return self._near(making, path, key, fd, part, told)

    def _near(self, making: Held, path: Path, key: str, fd: int, part: str, told: Mapping[str, str] | None) -> Stat:
        way: Way = self._ways.way
        with translated(key):
            parts = making.folder(key)
            folder = self._led(way, path, key, told)
            link(part, parts, path[-1], folder)
            way.altered()
            os.unlink(part, dir_fd=parts)
            found = stat_of(key, os.fstat(fd))
            if told is not None:
                note_shown(part.partition(".")[0], found.identity, parts)
            return found

    def _led(self, way: Way, path: Path, key: str, told: Mapping[str, str] | None) -> int:
        """The directory that holds `path`, made where it is missing: for an original as it was."""
        if not told:
            return way.to(path, key, make=True)[0]
        try:
            return way.to(path, key)[0]
        except ObjectNotFound:
            with self._at(path, key, make=True, above=folders_of(told, len(path) - 1)):
                return way.to(path, key)[0]

    def _linked(self, path: Path, key: str, fd: int, part: str, told: Mapping[str, str] | None) -> Stat:
        above = folders_of(told, len(path) - 1) if told else None
        with self._folder(TMP, key) as parts, self._at(path, key, make=True, above=above) as (folder, name):
            link(part, parts, name, folder)
            os.unlink(part, dir_fd=parts)
            # link and unlink moved its ctime, which is part of the identity
            found = stat_of(key, os.fstat(fd))
            if told is not None:
                note_shown(part.partition(".")[0], found.identity, parts)
            sync(folder)
            os.fsync(fd)
            return found

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        """Rename aside, look again, remove. Raises AlreadyExists, naming the file that is kept aside, if the object was
        changed and its name taken again meanwhile."""
        path = object_segments(key)
        if (taking := self._taking) is not None:
            with translated(key):
                return self._delete(taking.folder(key), path, key, identity)
        with self._shelf_of(key) as shelf:
            outcome = self._delete(shelf, path, key, identity)
            sync(shelf)
        self._clear()
        with contextlib.suppress(ObjectNotFound), self._folder(path[:-1], key) as folder:
            sync(folder)
        return outcome

    @contextlib.contextmanager
    def _shelf_of(self, key: str) -> Iterator[int]:
        """The directory that what is deleted is renamed into first."""
        with self._folder(ASIDE, key, make=True) as shelf:
            close_to_others(shelf)
            yield shelf

    def _delete(self, shelf: int, path: Path, key: str, identity: str) -> Deleted:
        aside = aside_name(key)
        with locked(shelf):  # or a second rename to the same name aside would replace the first
            finished = self._settle(shelf, aside, path, key, identity)
            outcome = self._take(shelf, aside, path, key, identity)
            if outcome is Deleted.DELETED and not self._settle(shelf, aside, path, key, identity):
                outcome = Deleted.CHANGED
        return Deleted.DELETED if finished else outcome

    def _take(self, shelf: int, aside: str, path: Path, key: str, identity: str) -> Deleted:
        """Rename the key aside if it has the identity; DELETED says that this was done."""

        def taken(folder: int, name: str, _: object) -> Deleted:
            if identity_of(os.stat(name, dir_fd=folder, follow_symlinks=False)) != identity:
                return Deleted.CHANGED
            os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=shelf)
            return Deleted.DELETED

        try:
            outcome = self._in_folder(path, key, taken)
        except ObjectNotFound:
            return Deleted.ABSENT
        if outcome is Deleted.DELETED and self._taking is not None:
            self._ways.way.altered()
        return outcome

    def _settle(self, shelf: int, aside: str, path: Path, key: str, identity: str) -> bool:
        """Remove what lies aside if it is what was to go, else put it back. Whether it was removed."""
        try:
            found = os.stat(aside, dir_fd=shelf, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if without_ctime(identity_of(found)) == without_ctime(identity):  # the rename moved its ctime
            os.unlink(aside, dir_fd=shelf)
            return True
        try:
            above = folders_of(metadata_told(found), len(path) - 1)
            with self._at(path, key, make=True, above=above) as (folder, name):
                if stat.S_ISDIR(found.st_mode):
                    return_directory(aside, shelf, name, folder)
                else:
                    link(aside, shelf, name, folder)
                    os.unlink(aside, dir_fd=shelf)
        except ObjectNotFound as error:
            raise StoreUnavailable(f"{key!r}: its directory went while it was put back", key=key) from error
        except AlreadyExists as error:
            raise self._kept(shelf, aside, key) from error
        return False

    def _kept(self, shelf: int, aside: str, key: str) -> AlreadyExists:
        """Give what lies aside a name that no later delete takes for its own, and say so."""
        taken = set(names(shelf))
        kept = next(name for n in itertools.count(1) if (name := f"{aside}.{n}") not in taken)
        os.rename(aside, kept, src_dir_fd=shelf, dst_dir_fd=shelf)
        sync(shelf)
        return AlreadyExists(
            f"{key!r} was changed and then made anew while it was being removed; "
            f"the older one is kept as {self._root}/{'/'.join(ASIDE)}/{kept}",
            key=key,
            hint="compare the two and remove the one that is not wanted",
        )

    def above(self, key: str) -> AbstractContextManager[Above]:
        """Held open: the number of a folder that went is not given to another meanwhile."""
        return self._held_above(key, self._excluded | self._elsewhere().inodes)

    def attempts(self) -> Iterator[str]:
        """Of the files in `.storaged/tmp`."""
        try:
            with self._folder(TMP, "") as parts:
                found = {name.partition(".")[0] for name in names(parts) if ATTEMPT.match(name)}
        except ObjectNotFound:
            return
        yield from sorted(found)

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        """DELETED if anything of the attempt was removed; CHANGED if the key holds something else; else ABSENT."""
        path = object_segments(key)
        check_attempt(attempt)
        removed = False
        with contextlib.suppress(ObjectNotFound), self._folder(TMP, key) as parts:
            for name in names(parts):
                if name.split(".")[0] == attempt:
                    os.unlink(name, dir_fd=parts)
                    removed = True
        with contextlib.suppress(ObjectNotFound), self._folder(ASIDE, key) as shelf, locked(shelf):
            self._settle(shelf, aside_name(key), path, key, identity="")
        self._clear()
        try:
            with self._open(path, key) as reader:
                origin = reader.origin()
        except ObjectNotFound:
            return Deleted.DELETED if removed else Deleted.ABSENT
        if not left_by(attempt, origin, reader.stat):
            return Deleted.CHANGED
        return self.delete(key, identity=reader.stat.identity)

    def free_bytes(self) -> int:
        """What the filesystem would let us write."""
        with self._folder([], "") as root:
            found = os.fstatvfs(root)
        return found.f_bavail * found.f_frsize

    def _new_part(self, attempt: str, key: str) -> tuple[int, str, int]:
        """Descriptor and name of a new file that nobody else may open, and the mode that a blob has here."""
        making = self._making
        if making is None:
            with self._parts(key) as parts:
                return self._new_in(parts, attempt)
        with translated(key):
            return self._new_in(making.folder(key), attempt)

    @contextlib.contextmanager
    def _parts(self, key: str) -> Iterator[int]:
        """The directory of what is being made."""
        with self._folder(TMP, key, make=True) as parts, self._folder([], key) as root:
            close_to_others(parts)
            self._mode = ours(root).mode & 0o640
            yield parts

    def _new_in(self, parts: int, attempt: str) -> tuple[int, str, int]:
        while True:
            part = f"{attempt}.{next(self._numbers)}"
            with contextlib.suppress(FileExistsError):  # of an earlier process
                return os.open(part, NEW, 0o600, dir_fd=parts), part, self._mode
