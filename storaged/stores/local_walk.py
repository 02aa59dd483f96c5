"""Listing a directory tree in key order, and what identifies a file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter

from storaged.model import DEFAULT_CLASS
from storaged.stores.base import Skipped, Stat
from storaged.stores.listed import BETWEEN, Listed, together
from storaged.stores.local_blocks import all_allocated, allocated

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_IDENTITY = "%x:%x:%x:%x"  # half the time of an f-string of decimals, and a listing does little else
EARLIEST_US = -62_135_596_800_000_000  # 0001-01-01; some filesystems tell of times that no calendar has
LATEST_US = 253_402_300_799_000_000  # 9999-12-31
_identity_fields = attrgetter("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
_name, _mode, _inode = attrgetter("name"), attrgetter("st_mode"), attrgetter("st_ino")
_size, _mtime_ns = attrgetter("st_size"), attrgetter("st_mtime_ns")
RUN = 1_000  # files of a folder that are looked at together
NOT_TEXT = "name is not UTF-8"

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
    return Stat(key, found.st_size, identity_of(found), _mtime_us(found.st_mtime_ns), allocated=allocated(found))


def _mtime_us(nanoseconds: int) -> int:
    """In microseconds since 1970, within what a calendar has."""
    return min(max(nanoseconds // 1_000, EARLIEST_US), LATEST_US)


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
) -> Iterator[Listed | Skipped]:
    """Everything below the directory descriptor `top` (which is closed in the end), whose key is `at`, in key order.

    `hidden` names are left out at the top, `excluded` (device, inode) pairs everywhere; directories under the keys
    `elsewhere` are skipped. Holds the entries of one directory per level. What vanishes meanwhile is passed over;
    OSError comes out only where the listing would have a hole that nobody sees.
    """
    look = _Look(excluded, describe_link)
    levels = [_Level(top, at, iter(()))]
    try:
        levels[0].runs = _runs(top, at, prefix, after, hidden)
        while levels:
            level = levels[-1]
            for run in level.runs:
                if not run[0].is_dir(follow_symlinks=False):
                    yield from look.at(run, level)
                    continue
                name = run[0].name
                key = level.base + name
                if not _is_text(name):
                    yield Skipped(printable(key), NOT_TEXT)
                    continue
                if key in elsewhere:
                    yield Skipped(key, "mounted from a place that belongs elsewhere")
                    continue
                try:
                    below = _descend(level.folder, name, key + "/", prefix, after, excluded)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    yield Skipped(key, _reason(error))
                    continue
                if below is not None:
                    levels.append(below)
                    break
            else:
                os.close(levels.pop().folder)
    finally:
        for level in levels:
            os.close(level.folder)


class _Look:
    """What files are, many of a folder at once: what is told of an unchanged one is most of what a scan of it takes."""

    def __init__(self, excluded: frozenset[tuple[int, int]], describe_link: Callable[[str], str]) -> None:
        self._excluded = excluded
        self._inodes = {inode for _, inode in excluded}
        self._describe_link = describe_link
        self._all_readable = os.geteuid() == 0

    def at(self, run: Sequence[os.DirEntry[str]], level: _Level) -> Iterable[Listed | Skipped]:
        """What entries of a folder that are no directories are, in their order."""
        try:
            found = [entry.stat(follow_symlinks=False) for entry in run]
        except OSError:
            return together(self._one_by_one(run, level))
        names = [entry.name for entry in run]
        modes = set(map(_mode, found))
        if not (
            all(map(stat.S_ISREG, modes))
            and (self._all_readable or all(mode & 0o004 for mode in modes))
            and _is_text("".join(names))
            and self._inodes.isdisjoint(map(_inode, found))
        ):
            return together(self._one_by_one(run, level))
        keys = [*map(level.base.__add__, names)]
        identities = BETWEEN.join(repeat(_IDENTITY, len(found))) % tuple(
            chain.from_iterable(map(_identity_fields, found))
        )
        classes = [DEFAULT_CLASS] * len(found)
        sizes, mtimes = [*map(_size, found)], [*map(_mtime_ns, found)]
        return [Listed(keys, sizes, identities, lambda: map(_mtime_us, mtimes), classes, all_allocated(found))]

    def _one_by_one(self, run: Sequence[os.DirEntry[str]], level: _Level) -> Iterator[Stat | Skipped]:
        for entry in run:
            name, key = entry.name, level.base + entry.name
            if not _is_text(name):
                yield Skipped(printable(key), NOT_TEXT)
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Skipped(key, _reason(error))
                continue
            mode = found.st_mode
            if self._excluded and (found.st_dev, found.st_ino) in self._excluded:
                continue
            if not stat.S_ISREG(mode):
                yield Skipped(key, self._describe_link(key) if stat.S_ISLNK(mode) else kind_of(mode))
            elif mode & 0o004 or self._all_readable or _readable(name, level.folder):
                yield stat_of(key, found)
            else:
                yield Skipped(key, "permission denied")


@dataclass(slots=True)
class _Level:
    """One open directory on the way down, and what is left of its entries, see `_runs`."""

    folder: int
    base: str
    runs: Iterator[Sequence[os.DirEntry[str]]]


def _descend(
    folder: int, name: str, base: str, prefix: str, after: str, excluded: frozenset[tuple[int, int]]
) -> _Level | None:
    below = os.open(name, DIRECTORY, dir_fd=folder)
    try:
        found = os.fstat(below)
        if (found.st_dev, found.st_ino) not in excluded:
            return _Level(below, base, _runs(below, base, prefix, after))
    except OSError:
        os.close(below)
        raise
    os.close(below)
    return None


def _runs(
    folder: int, base: str, prefix: str, after: str, hidden: frozenset[str] = frozenset()
) -> Iterator[Sequence[os.DirEntry[str]]]:
    """The entries of one directory that may hold wanted keys, in the order of the keys they lead to: each directory by
    itself, files between them together, up to RUN."""
    entries, folders = _entries(folder, base, prefix, after, hidden)
    if not folders:
        return iter([entries[start : start + RUN] for start in range(0, len(entries), RUN)])
    runs: list[list[os.DirEntry[str]]] = []
    within = False  # the run of files that the last entry is in
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            runs.append([entry])
            within = False
        elif within and len(runs[-1]) < RUN:
            runs[-1].append(entry)
        else:
            runs.append([entry])
            within = True
    return iter(runs)


def _entries(
    folder: int, base: str, prefix: str, after: str, hidden: frozenset[str]
) -> tuple[list[os.DirEntry[str]], bool]:
    """The entries that may hold wanted keys, in order, and whether directories are among those of the folder."""
    with os.scandir(folder) as found:
        entries = list(found)
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    if folders:
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
        return [], False
    return entries, bool(folders)


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
