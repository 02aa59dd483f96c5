"""What a local file has beside its bytes: read from an original, given back to it when it returns."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from collections.abc import Mapping

ORIGIN_XATTR = "user.storaged.origin"  # ours, so never an original's
_XATTR = "xattr:"
_KEPT = ("user.", "system.posix_acl_access")  # security.* is the system's to set


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
    return int(metadata["mtime_ns"]) if "mtime_ns" in metadata else mtime_ns


def not_restorable(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """What `give_back` could not restore in this process: `owner`, `links`, each in words."""
    lost = {}
    uid, gid = int(metadata.get("uid", os.geteuid())), int(metadata.get("gid", os.getegid()))
    if os.geteuid() != 0 and (uid != os.geteuid() or gid not in {os.getegid(), *os.getgroups()}):
        lost["owner"] = f"its owner ({uid}:{gid})"
    links = int(metadata.get("links", 1))
    if links > 1:
        lost["links"] = f"its being one file under {links} names"
    return lost
