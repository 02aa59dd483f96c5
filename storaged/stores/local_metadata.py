"""What a local file has beside its bytes: read from an original, given back to it when it returns."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from collections.abc import Mapping
from decimal import Decimal

ORIGIN_XATTR = "user.storaged.origin"  # ours, so never an original's
_XATTR = "xattr:"
_KEPT = ("user.", "system.posix_acl_access")  # security.* is the system's to set
_OF_FILES = frozenset({"mode", "uid", "gid", "mtime_ns", "links"})
# What every object of a bucket has and no file needs. A bucket's name for the time is read: see stores/s3/metadata.py.
_NOTHING_LOST = frozenset(
    {("content-type", "binary/octet-stream"), ("content-type", "application/octet-stream"), ("sse", "AES256")}
)
_TIMES = ("meta:mtime", "last-modified")  # seconds since 1970, the first that is there
_KINDS = {"meta": "user metadata", "tag": "tags"}
_NEVER_LOST = frozenset({*_TIMES, "storage-class"})


def metadata_of(fd: int) -> Mapping[str, str]:
    """mode (octal), uid, gid, mtime_ns, links, and each extended attribute in base64 as `xattr:NAME`."""
    found = os.fstat(fd)
    told = {
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "uid": str(found.st_uid),
        "gid": str(found.st_gid),
        "mtime_ns": str(found.st_mtime_ns),
        "links": str(found.st_nlink),
    }
    with contextlib.suppress(OSError):  # a filesystem without extended attributes has none to keep
        for name in os.listxattr(fd):
            if name.startswith(_KEPT) and name != ORIGIN_XATTR:
                told[_XATTR + name] = base64.b64encode(os.getxattr(fd, name)).decode()
    return told


def give_back(fd: int, metadata: Mapping[str, str], mtime_ns: int | None) -> int | None:
    """Give a file an original's metadata, as far as `not_restorable` says nothing else; returns its mtime."""
    uid, gid = int(metadata.get("uid", -1)), int(metadata.get("gid", -1))
    with contextlib.suppress(PermissionError):
        os.fchown(fd, uid, gid)
    if "mode" in metadata:
        os.fchmod(fd, int(metadata["mode"], 8))
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
    uid, gid = int(metadata.get("uid", os.geteuid())), int(metadata.get("gid", os.getegid()))
    if os.geteuid() != 0 and (uid != os.geteuid() or gid not in {os.getegid(), *os.getgroups()}):
        lost["owner"] = f"its owner ({uid}:{gid})"
    links = int(metadata.get("links", 1))
    if links > 1:
        lost["links"] = f"its being one file under {links} names"
    for name, value in metadata.items():
        kind, named, _ = name.partition(":")
        if name not in _OF_FILES | _NEVER_LOST and kind != _XATTR[:-1] and (name, value) not in _NOTHING_LOST:
            lost[kind] = f"its {_KINDS[kind]}" if named else f"its {name} ({value})"
    return lost
