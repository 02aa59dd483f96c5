"""What every write of ours needs of a filesystem, tried once, before a place is claimed: where only deletes worked,
originals would go that nothing could bring back.

Network and FUSE filesystems lack one or the other: no extended attributes (NFS before 4.2), no hard links (exFAT), or
another inode or ctime under a second name (mergerfs 2.33, bindfs 1.14 and ntfs-3g 2022.10, by which each write would be
taken for somebody else's).
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from storaged.errors import StoreError
from storaged.stores.local_metadata import ORIGIN_XATTR
from storaged.stores.local_names import NEW, link
from storaged.stores.local_walk import identity_of
from storaged.stores.notes import CLAIM

_FIRST, _SECOND = "_trial", "_trial.second"  # no attempt is called so
_LACKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_ELSEWHERE: Final = "put it on ext4, XFS, Btrfs or their like; NFS has extended attributes from 4.2 on"


def try_filesystem(parts: int, place: str) -> None:
    """Make a file in an open directory of ours as blobs are made, and look whether it is known again. One at a time.

    Raises StoreError naming what the filesystem of `place` lacks, OSError for what else goes wrong.
    """
    _remove(parts)
    try:
        made = _made(parts, place)
        if identity_of(os.stat(_SECOND, dir_fd=parts, follow_symlinks=False)) != made:
            raise _lacks(place, "tells another inode or ctime of a file once it got its second name")
    finally:
        _remove(parts)


def _made(parts: int, place: str) -> str:
    file = os.open(_FIRST, NEW, 0o600, dir_fd=parts)
    try:
        os.write(file, b"x")
        try:
            os.setxattr(file, ORIGIN_XATTR, b"{}")
        except OSError as error:
            if error.errno in _LACKS:
                raise _lacks(place, "keeps no extended attributes (user_xattr)") from error
            raise
        os.fsync(file)
        try:
            link(_FIRST, parts, _SECOND, parts)
        except OSError as error:
            if error.errno in _LACKS:
                raise _lacks(place, "makes no hard links") from error
            raise
        os.unlink(_FIRST, dir_fd=parts)
        return identity_of(os.fstat(file))
    finally:
        os.close(file)


def _remove(parts: int) -> None:
    for name in (_FIRST, _SECOND):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parts)


def _lacks(place: str, what: str) -> StoreError:
    return StoreError(f"storaged can write nothing at {place}: its filesystem {what}", key=CLAIM, hint=_ELSEWHERE)
