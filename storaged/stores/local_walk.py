"""Listing a directory tree in key order, and what identifies a file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from storaged.stores.base import Skipped, Stat

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_IDENTITY = "%x:%x:%x:%x"  # half the time of an f-string of decimals, and a listing does little else
EARLIEST_US = -62_135_596_800_000_000  # 0001-01-01; some filesystems tell of times that no calendar has
LATEST_US = 253_402_300_799_000_000  # 9999-12-31
_identity_fields = attrgetter("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
_name = attrgetter("name")

_KINDS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "directory",
}


def identity_of(found: os.stat_result) -> str:
    """Inode, size, mtime and ctime in nanoseconds, in hex: every write, rename, link and change of mode alters it.

    Not the device: its number is the kernel's, and another one after a remount. What keeps a replaced file from passing
    for the old one is ctime, which the kernel sets at every change and nobody can put back: the same inode, size, mtime
    and ctime under the same name on another filesystem is a copy of that filesystem block by block.
    """
    return _IDENTITY % _identity_fields(found)


def without_ctime(identity: str) -> str:
    """The part of an identity that survives a rename."""
    return identity.rpartition(":")[0]


def alike(known: str, now: str) -> bool:
    """Whether two identities differ in ctime at most."""
    return without_ctime(known) == without_ctime(now)


def stat_of(key: str, found: os.stat_result) -> Stat:
    """What the port calls a Stat."""
    return Stat(key, found.st_size, identity_of(found), min(max(found.st_mtime_ns // 1_000, EARLIEST_US), LATEST_US))


def kind_of(mode: int) -> str:
    """What a thing that is not a regular file is called."""
    return _KINDS.get(stat.S_IFMT(mode), "symbolic link" if stat.S_ISLNK(mode) else "special file")


def printable(key: str) -> str:
    """The key with undecodable bytes as backslash escapes."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")


def walk(
    top: int,
    at: str,
    *,
    prefix: str = "",
    after: str = "",
    hidden: frozenset[str] = frozenset(),
    excluded: frozenset[tuple[int, int]] = frozenset(),
    elsewhere: frozenset[str] = frozenset(),
    describe_link: Callable[[str], str] = lambda key: "symbolic link",
) -> Iterator[Stat | Skipped]:
    """Everything below the directory descriptor `top` (which is closed in the end), whose key is `at`, in key order.

    `hidden` names are left out at the top, `excluded` (device, inode) pairs everywhere; directories under the keys
    `elsewhere` are skipped. Holds the entries of one directory per level. What vanishes meanwhile is passed over;
    OSError comes out only where the listing would have a hole that nobody sees.
    """
    euid = os.geteuid()
    levels = [_Level(top, at, iter(()))]
    try:
        levels[0].entries = iter(_entries(top, at, prefix, after, hidden))
        while levels:
            level = levels[-1]
            folder, base = level.folder, level.base
            for entry in level.entries:
                name = entry.name
                key = base + name
                if not name.isascii() and not _is_text(name):
                    yield Skipped(printable(key), "name is not UTF-8")
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if key in elsewhere:
                            yield Skipped(key, "mounted from a place that belongs elsewhere")
                            continue
                        below = _descend(folder, name, key + "/", prefix, after, excluded)
                        if below is None:
                            continue
                        levels.append(below)
                        break
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    yield Skipped(key, _reason(error))
                    continue
                mode = found.st_mode
                if excluded and (found.st_dev, found.st_ino) in excluded:
                    continue
                if not stat.S_ISREG(mode):
                    yield Skipped(key, describe_link(key) if stat.S_ISLNK(mode) else kind_of(mode))
                elif mode & 0o004 or euid == 0 or _readable(name, folder):
                    # stat_of and identity_of, written out: two calls per object are a tenth of a listing
                    identity = _IDENTITY % _identity_fields(found)
                    mtime_us = found.st_mtime_ns // 1_000
                    if not EARLIEST_US <= mtime_us <= LATEST_US:
                        mtime_us = min(max(mtime_us, EARLIEST_US), LATEST_US)
                    yield Stat(key, found.st_size, identity, mtime_us)
                else:
                    yield Skipped(key, "permission denied")
            else:
                os.close(levels.pop().folder)
    finally:
        for level in levels:
            os.close(level.folder)


@dataclass(slots=True)
class _Level:
    """One open directory on the way down, and what is left of its entries."""

    folder: int
    base: str
    entries: Iterator[os.DirEntry[str]]


def _descend(
    folder: int, name: str, base: str, prefix: str, after: str, excluded: frozenset[tuple[int, int]]
) -> _Level | None:
    below = os.open(name, DIRECTORY, dir_fd=folder)
    try:
        found = os.fstat(below)
        if (found.st_dev, found.st_ino) not in excluded:
            return _Level(below, base, iter(_entries(below, base, prefix, after)))
    except OSError:
        os.close(below)
        raise
    os.close(below)
    return None


def _entries(
    folder: int, base: str, prefix: str, after: str, hidden: frozenset[str] = frozenset()
) -> list[os.DirEntry[str]]:
    """The entries of one directory that may hold wanted keys, in the order of the keys they lead to."""
    with os.scandir(folder) as found:
        entries = list(found)
    if [entry for entry in entries if entry.is_dir(follow_symlinks=False)]:
        # "a.b" comes before "a/b" and "a0" after it, so a directory sorts as its name with the slash
        entries.sort(key=_sort_name)
    else:
        entries.sort(key=_name)
    if hidden:
        entries = [entry for entry in entries if entry.name not in hidden]
    if not base.startswith(prefix):
        entries = [entry for entry in entries if _leads_into(base + _sort_name(entry), prefix)]
    if after.startswith(base):
        entries = [entry for entry in entries if _leads_beyond(base + _sort_name(entry), after)]
    elif base < after:
        return []
    return entries


def _sort_name(entry: os.DirEntry[str]) -> str:
    return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name


def _leads_into(key: str, prefix: str) -> bool:
    return key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key))


def _leads_beyond(key: str, after: str) -> bool:
    return key > after or (key.endswith("/") and after.startswith(key))


def _is_text(name: str) -> bool:
    with contextlib.suppress(UnicodeEncodeError):
        name.encode()
        return True
    return False


def _readable(name: str, folder: int) -> bool:
    return os.access(name, os.R_OK, dir_fd=folder, effective_ids=True)


def _reason(error: OSError) -> str:
    """Why one entry cannot be listed. Raises the error again where it puts the whole listing in doubt."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied"
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return "replaced during the listing"
    raise error
