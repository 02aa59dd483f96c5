"""Names in an open directory: stepping down without following links, linking, making durable."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from storaged.errors import AlreadyExists, ObjectNotFound, PlaceAway, StoreError
from storaged.stores.base import RESERVED
from storaged.stores.local_metadata import Folder
from storaged.stores.local_walk import DIRECTORY, kind_of

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FOLLOW = "write the path that it leads to; or `follow: true`, if nobody but you can exchange that link"
LOCK = "lock"
_SHOWN = ".shown"  # parts have a number there
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a pipe must not make us wait
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_root(path: str, key: str) -> int:
    """A descriptor of the directory at an absolute path, to which no symbolic link leads.

    Raises PlaceAway naming the link where there is one: whoever may exchange a directory on the way for a link would
    else have this process work wherever the link leads. StoreError where there is no such directory.
    """
    folder = os.open("/", FOLDER)
    walked = ""
    try:
        for name in filter(None, path.split("/")):
            walked += f"/{name}"
            below = os.open(name, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
    except (FileNotFoundError, NotADirectoryError) as error:
        link = _link_at(name, folder)
        os.close(folder)
        if link:
            raise PlaceAway(linked(path, walked), key=key, hint=FOLLOW) from error
        raise StoreError(f"{path} is no directory", key=key, hint="make it, or mount what belongs there") from error
    except OSError:
        os.close(folder)
        raise
    return folder


def linked(path: str, link: str) -> str:
    """What is said of a place that is reached through a symbolic link."""
    return f"{path} is reached through a symbolic link, {link}, which leads to {os.path.realpath(link)}"


def first_link(path: str) -> str | None:
    """The first symbolic link on the way to an absolute path, itself included; None: there is none."""
    walked = ""
    for name in filter(None, path.split("/")):
        walked += f"/{name}"
        if os.path.islink(walked):
            return walked
    return None


def _link_at(name: str, folder: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def step(folder: int, name: str, key: str, make: Folder | None) -> int:
    """Open the directory `name`; make it, durably and as told, if asked. Raises StoreError for a link, AlreadyExists
    for a file."""
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if make is None:
            raise
        made = _made(folder, name, make)
        sync(folder)
        return made
    except NotADirectoryError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise StoreError(f"{key!r} is reached through a symbolic link, {name!r}", key=key) from error
        if make is not None:
            raise AlreadyExists(f"{key!r} needs a directory where there is a file, {name!r}", key=key) from error
        raise


def enter_own(root: int, key: str, make: Folder | None) -> int:
    """Open our own directory below a root, made if asked, in a way that keeps it from being removed as unused until
    what is returned is closed. Raises as `step` does."""
    while True:
        below = step(root, RESERVED, key, make)
        try:
            held = os.open(".", DIRECTORY, dir_fd=below)
        finally:
            os.close(below)
        with contextlib.suppress(OSError):  # no locks here: then nobody removes it
            fcntl.flock(held, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), os.stat(RESERVED, dir_fd=root, follow_symlinks=False)):
                return held
        os.close(held)


def _made(folder: int, name: str, like: Folder) -> int:
    """Make a directory, first for nobody but us, then as it shall be; one that somebody else made stays as it is."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return os.open(name, FOLDER, dir_fd=folder)
    made = os.open(name, FOLDER, dir_fd=folder)
    try:
        like.apply(made)
    except OSError:
        os.close(made)
        raise
    return made


def regular(found: os.stat_result, key: str) -> os.stat_result:
    """`found` itself. Raises ObjectNotFound for a directory, StoreError for what is no regular file either."""
    if stat.S_ISDIR(found.st_mode):
        raise ObjectNotFound(f"{key!r} is a directory", key=key)
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{key!r} is a {kind_of(found.st_mode)}", key=key)
    return found


def link(source: str, source_folder: int, name: str, folder: int) -> None:
    """Give a file a second name. Raises FileExistsError unless that name is the same file already."""
    try:
        os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        # a crash came before the first name was removed; or NFS repeats a request whose answer was lost
        old = os.stat(source, dir_fd=source_folder, follow_symlinks=False)
        if not os.path.samestat(old, os.stat(name, dir_fd=folder, follow_symlinks=False)):
            raise


def return_directory(source: str, source_folder: int, name: str, folder: int) -> None:
    """Rename a directory to a vacant name (or an empty directory's). Raises FileExistsError, or OSError ENOTEMPTY."""
    try:
        os.rename(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
    except NotADirectoryError as error:
        raise FileExistsError(errno.EEXIST, "a file has taken the name") from error


def names(folder: int) -> list[str]:
    """The names in a directory that is open for walking only."""
    readable = os.open(".", DIRECTORY, dir_fd=folder)
    try:
        return os.listdir(readable)
    finally:
        os.close(readable)


def note_shown(attempt: str, identity: str, parts: int) -> None:
    """Say beside the parts what an attempt made visible: whole or not at all, as a link's target is."""
    with contextlib.suppress(OSError):  # no room, or no links here: then nothing says it
        os.symlink(identity, f"{attempt}{_SHOWN}", dir_fd=parts)


def shown_in(parts: int) -> dict[str, str]:
    """What `note_shown` said, by attempt."""
    found = {}
    for name in names(parts):
        attempt, _, _ = name.partition(".")
        if name == f"{attempt}{_SHOWN}":
            with contextlib.suppress(OSError):  # forgotten meanwhile, or nothing of ours
                found[attempt] = os.readlink(name, dir_fd=parts)
    return found


def forget_shown(attempt: str, parts: int) -> None:
    """Twice is once."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{attempt}{_SHOWN}", dir_fd=parts)


def sync(folder: int) -> None:
    """Make the names in a directory durable."""
    readable = os.open(".", DIRECTORY, dir_fd=folder)
    try:
        os.fsync(readable)
    finally:
        os.close(readable)


@contextlib.contextmanager
def fresh(name: str, folder: int) -> Iterator[BinaryIO]:
    """A new file to write, instead of one of that name; the name goes in the end."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    try:
        with open(os.open(name, NEW, 0o600, dir_fd=folder), "wb") as file:
            yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def locked(folder: int) -> Iterator[None]:
    """One at a time among all processes; the system lets go when a process dies."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
