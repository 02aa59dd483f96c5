"""What a local file has beside its bytes: read from an original, given back to it when it returns."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from storaged.errors import StoreUnavailable

ORIGIN_XATTR = "user.storaged.origin"  # ours, so never an original's
_XATTR = "xattr:"
_ACL: Final = "system.posix_acl_"
ACLS: Final = ("access", "default")
_KEPT = ("user.", f"{_ACL}access")  # security.* is the system's to set
_OF_FILES = frozenset({"mode", "uid", "gid", "mtime_ns", "links", "folders", "allocated"})
_SETID: Final = stat.S_ISUID | stat.S_ISGID
# What every object of a bucket has and no file needs. A bucket's name for the time is read: see stores/s3/metadata.py.
_NOTHING_LOST = frozenset(
    {("content-type", "binary/octet-stream"), ("content-type", "application/octet-stream"), ("sse", "AES256")}
)
_TIMES = ("meta:mtime", "last-modified")  # seconds since 1970, the first that is there
_KINDS = {"meta": "user metadata", "tag": "tags"}
_RESTORED = frozenset({*_OF_FILES, *_TIMES, "storage-class"})  # or never lost


def metadata_of(fd: int, found: os.stat_result | None = None) -> dict[str, str]:
    """mode (octal), uid, gid, mtime_ns, links, allocated (bytes, where that is less than its size), and each extended
    attribute in base64 as `xattr:NAME`. The reader adds `folders`. `found`: what the file is like, where that is
    known."""
    told = metadata_told(found or os.fstat(fd))
    with contextlib.suppress(OSError):  # a filesystem without extended attributes has none to keep
        for name in os.listxattr(fd):
            if name.startswith(_KEPT) and name != ORIGIN_XATTR:
                told[_XATTR + name] = base64.b64encode(os.getxattr(fd, name)).decode()
    return told


def metadata_told(found: os.stat_result) -> dict[str, str]:
    """The part of it that a file's stat tells; `allocated`, in bytes, of a file that takes less than its size."""
    told = {
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "uid": str(found.st_uid),
        "gid": str(found.st_gid),
        "mtime_ns": str(found.st_mtime_ns),
        "links": str(found.st_nlink),
    }
    if (allocated := found.st_blocks * 512) < found.st_size:
        told["allocated"] = str(allocated)
    return told


def _may_own(metadata: Mapping[str, str]) -> bool:
    """Whether this process may make a file its original's owner's. Root may: nothing else is asked then."""
    user = os.geteuid()
    if user == 0:
        return True
    group = os.getegid()
    uid, gid = int(metadata.get("uid", user)), int(metadata.get("gid", group))
    return uid == user and (gid == group or gid in os.getgroups())


@dataclass(frozen=True, slots=True)
class Passed:
    """What a directory on the way to a file is like: its stat, and its access control lists by name."""

    found: os.stat_result
    acls: Mapping[str, bytes]

    @classmethod
    def of(cls, folder: int) -> Passed:
        """`folder` may be open for walking only. Raises OSError; StoreUnavailable where nobody can tell."""
        acls, path = {}, _by_path(folder)
        try:
            for name in os.listxattr(path):
                if name.startswith(_ACL):
                    acls[name.removeprefix(_ACL)] = os.getxattr(path, name)
        except FileNotFoundError as error:  # it is open: what is missing is what tells of it
            raise StoreUnavailable("/proc is not there, which tells who may enter a directory") from error
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENODATA):
                raise
        return cls(os.fstat(folder), acls)

    def __str__(self) -> str:
        parts = [f"{stat.S_IMODE(self.found.st_mode):04o}", str(self.found.st_uid), str(self.found.st_gid)]
        return ":".join(parts + [f"{name}={acl.hex()}" for name, acl in sorted(self.acls.items())])


def _by_path(folder: int) -> str:
    """A descriptor that is open for walking only answers no questions about attributes; its path does."""
    return f"/proc/self/fd/{folder}"


@dataclass(frozen=True, slots=True)
class Folder:
    """What a directory that we make is like: its permissions, and its owner where that is known. `acls`: its access
    control lists by name; None: those that it inherits."""

    mode: int
    uid: int = -1
    gid: int = -1
    acls: Mapping[str, bytes] | None = None

    def apply(self, folder: int) -> None:
        """Give a new directory (of 0700, ours) its owner and mode. Where the owner cannot be given back, its group gets
        no more than everybody has."""
        with contextlib.suppress(PermissionError):
            os.chown(".", self.uid, self.gid, dir_fd=folder)
        found, mode = os.fstat(folder), self.mode
        if (found.st_uid, found.st_gid) != (self.uid, self.gid) and -1 not in (self.uid, self.gid):
            mode = _no_group(mode & ~_SETID)
        elif self.acls is not None and not self._listed(folder, self.acls):
            mode = _no_group(mode)  # with a list the group's bits are the most that anybody in it may do
        os.chmod(".", mode, dir_fd=folder)  # "." is no link, whatever its name has become meanwhile

    def _listed(self, folder: int, acls: Mapping[str, bytes]) -> bool:
        """Give it these lists and no others; whether the filesystem took them."""
        path = _by_path(folder)
        drop_acls(path, [name for name in ACLS if name not in acls])
        try:
            for name, acl in acls.items():
                os.setxattr(path, _ACL + name, acl)
        except OSError:
            return False
        return True


def drop_acls(of: str | int, names: Iterable[str]) -> None:
    """Take away access control lists that a new file or directory inherited."""
    for name in names:
        with contextlib.suppress(OSError):  # it has none, or the filesystem knows none
            os.removexattr(of, _ACL + name)


def _no_group(mode: int) -> int:
    """The group may do what everybody may."""
    return mode & ~0o070 | (mode & 0o007) << 3


PRIVATE: Final = Folder(0o700)
_OF_A_GROUP: Final = Folder(0o2750)


def ours(root: int) -> Folder:
    """What our own directories below a top directory are like: its group may look in where it is setgid."""
    return _OF_A_GROUP if os.fstat(root).st_mode & stat.S_ISGID else PRIVATE


def close_to_others(folder: int) -> None:
    """Make a directory of ours 0700 that an earlier version made as the umask let it."""
    found = os.fstat(folder)
    if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
        os.chmod(".", 0o700, dir_fd=folder)


def folders_text(folders: Iterable[Passed]) -> str:
    """The directories from a root (left out) down to a file, as a file's metadata tells them: `MODE:UID:GID/...`, where
    one has access control lists with `:NAME=HEX` for each."""
    return "/".join(map(str, folders))


def folders_of(metadata: Mapping[str, str], depth: int) -> list[Folder]:
    """What the `depth` directories above an original were like when it left. Where nobody recorded it, they are no more
    open than the file, and its owner's; where its mode is unknown too, nobody's but ours."""
    uid, gid = int(metadata.get("uid", -1)), int(metadata.get("gid", -1))
    with contextlib.suppress(ValueError, TypeError):
        told = [one.split(":") for one in metadata.get("folders", "").split("/")]
        if len(told) == depth:
            return [_folder(*one) for one in told]
    readable = int(metadata.get("mode", "0"), 8) & 0o044
    return [Folder(0o700 | readable | readable >> 2, uid, gid)] * depth


def _folder(mode: str, user: str, group: str, *lists: str) -> Folder:
    named = (one.partition("=") for one in lists)
    return Folder(int(mode, 8), int(user), int(group), {name: bytes.fromhex(acl) for name, _, acl in named})


def give_back(fd: int, metadata: Mapping[str, str], mtime_ns: int | None) -> int | None:
    """Give a file an original's metadata, as far as `not_restorable` says nothing else; returns its mtime.

    Without its owner it is not setuid or setgid either: else whoever runs it would become us.
    """
    uid, gid = int(metadata.get("uid", -1)), int(metadata.get("gid", -1))
    with contextlib.suppress(PermissionError):
        os.fchown(fd, uid, gid)
    if "mode" in metadata:
        mode, found = int(metadata["mode"], 8), os.fstat(fd)
        if (found.st_uid, found.st_gid) != (uid, gid):
            mode &= ~_SETID
        drop_acls(fd, ["access"])  # of the root, where it was written, and not its original's
        os.fchmod(fd, mode)
    for name, value in metadata.items():
        if name.startswith(_XATTR):
            os.setxattr(fd, name.removeprefix(_XATTR), base64.b64decode(value))
    if "mtime_ns" in metadata:
        return int(metadata["mtime_ns"])
    for name in _TIMES:
        with contextlib.suppress(KeyError, ArithmeticError, ValueError):
            return int(Decimal(metadata[name]) * 10**9)
    return mtime_ns


def not_restorable(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """What `give_back` could not restore in this process: `owner`, `links`, and what only objects of a bucket have (by
    its name, or `meta` and `tag` for all of a kind), each in words."""
    lost = {}
    if not _may_own(metadata):
        uid, gid = metadata.get("uid", os.geteuid()), metadata.get("gid", os.getegid())
        setid = int(metadata.get("mode", "0"), 8) & _SETID
        lost["owner"] = f"its owner ({uid}:{gid})" + (", and with it being setuid or setgid" if setid else "")
    links = int(metadata.get("links", 1))
    if links > 1:
        lost["links"] = f"its being one file under {links} names"
    for name, value in metadata.items():
        if name in _RESTORED or name.startswith(_XATTR) or (name, value) in _NOTHING_LOST:
            continue
        kind, named, _ = name.partition(":")
        lost[kind] = f"its {_KINDS[kind]}" if named else f"its {name} ({value})"
    return lost
