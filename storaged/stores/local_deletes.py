"""Why a local file could not be deleted, or made: looked at without trying, before anything hangs on it."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from typing import Final, NamedTuple, Self

from storaged.stores.local_names import READ
from storaged.stores.local_walk import DIRECTORY

# FS_IOC_GETFLAGS and two of its answers (linux/fs.h); _IOR('f', 1, long)
_GETFLAGS: Final = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1
_IMMUTABLE: Final = 0x10
_APPEND_ONLY: Final = 0x20
_FLAGS: Final = {_IMMUTABLE: ("immutable", "chattr -i"), _APPEND_ONLY: ("append-only", "chattr -a")}


class Mounted(NamedTuple):
    """Where an open file or directory is, as far as renames and links go: they never lead from one mount into another,
    though both may show the same filesystem. `mount`: 0 where the system does not tell."""

    device: int
    mount: int

    @classmethod
    def of(cls, fd: int) -> Self:
        """Of an open file or directory."""
        try:
            table = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return cls(os.fstat(fd).st_dev, 0)
        try:
            told = os.read(table, 4_096)
        finally:
            os.close(table)
        return cls(os.fstat(fd).st_dev, int(told.partition(b"mnt_id:")[2].split()[0]) if b"mnt_id:" in told else 0)


def of_folder(folder: int, where: str, *, shelf: Mounted, only_added: bool = False) -> str:
    """Why nothing can be deleted in an open directory, and what helps; empty: nothing speaks against it. `shelf`: where
    the directory is that what is deleted is renamed into first, and where what is made comes from. `only_added`: it is
    asked whether a file can be put there."""
    here = Mounted.of(folder)
    if here.device != shelf.device:
        return f"{where} is on another filesystem than its root: give it a dataset of its own, or unmount it"
    if here.mount != shelf.mount:
        return f"{where} is a mount of its own below the root: give it a dataset of its own, or unmount it"
    if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        return f"{where} is mounted read-only: mount it to be written"
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
        return f"{where} may not be written by user {os.geteuid()}: let that user write there (chmod, setfacl)"
    return _flagged(where, ".", folder, DIRECTORY, but=_APPEND_ONLY if only_added else 0)


def mounted_below(path: str) -> bool:
    """Whether anything is mounted below an absolute path to which no link leads, or that cannot be told."""
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            places = [line.split(b" ", 5)[4] for line in table]
    except (OSError, LookupError):
        return True
    return any(_as_written(place).startswith(os.fsencode(path).rstrip(b"/") + b"/") for place in places)


def _as_written(place: bytes) -> bytes:
    """A path of the table of mounts, in which spaces, tabs, newlines and backslashes are octal numbers."""
    for escaped, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        place = place.replace(escaped, byte)
    return place


def of_file(folder: int, name: str, key: str, *, within: Mounted | None) -> str:
    """Why one file of a directory in which files can be deleted cannot be; empty: nothing speaks against it. `within`:
    where that directory is; None: nothing is mounted below its root."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    above, me = os.fstat(folder), os.geteuid()
    if above.st_mode & stat.S_ISVTX and me not in (0, above.st_uid, found.st_uid):
        return "its directory is sticky, and neither that nor the file is ours: give us one of the two (chown)"
    return _flagged(key, name, folder, READ, within=within)


def _flagged(called: str, name: str, folder: int, how: int, *, but: int = 0, within: Mounted | None = None) -> str:
    try:
        fd = os.open(name, how, dir_fd=folder)
    except OSError:  # not for us to read: then it is not moved either
        return ""
    try:
        if within is not None and Mounted.of(fd).mount != within.mount:  # an overlay's files have devices of their own
            return f"{called} is a mount of its own: unmount it"
        answer = fcntl.ioctl(fd, _GETFLAGS, bytes(struct.calcsize("l")))
    except OSError:  # a filesystem that has no such flags
        return ""
    finally:
        os.close(fd)
    flags = struct.unpack("l", answer)[0] & 0xFFFFFFFF
    for flag, (word, helps) in _FLAGS.items():
        if flags & flag & ~but:
            return f"{called} is {word}: `{helps}` lets it go"
    return ""
