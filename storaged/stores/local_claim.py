"""The claim of a directory as an extended attribute of the directory itself: nothing below it is made for it.

Whoever looks for a claim looks here too, whatever its own settings say, so that no two catalogs miss each other. Where
there is one, it counts, and not a file that a change between the two ways left behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from storaged.errors import AlreadyExists, StoreError
from storaged.stores.local_walk import DIRECTORY

CLAIM_XATTR: Final = "user.storaged.claim"
_NONE: Final = frozenset({errno.ENODATA, errno.ENOTSUP})


def keeps_claims(path: str) -> bool:
    """Whether the filesystem of a directory has such attributes, as far as reading tells."""
    try:
        os.getxattr(path, CLAIM_XATTR)
    except OSError as error:
        return error.errno != errno.ENOTSUP
    return True


def read_claim(root: int) -> bytes | None:
    """What an open directory carries, or None. The system keeps it below 64 KiB."""
    with _readable(root) as folder:
        try:
            return os.getxattr(folder, CLAIM_XATTR)
        except OSError as error:
            if error.errno not in _NONE:
                raise
            return None


def write_claim(root: int, data: bytes, name: str, *, create_only: bool) -> None:
    """On the medium when this returns. Raises AlreadyExists if create_only and there is one; StoreError where the
    filesystem keeps no such attributes."""
    with _readable(root) as folder:
        try:
            os.setxattr(folder, CLAIM_XATTR, data, os.XATTR_CREATE if create_only else 0)
        except FileExistsError as error:
            raise AlreadyExists(f"the attribute {CLAIM_XATTR} is there already", key=name) from error
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOSPC, errno.E2BIG):
                raise
            raise StoreError(
                "the claim cannot be kept as an extended attribute of the root: the filesystem has no room for one",
                key=name,
                hint="leave `claim: attribute` out of that dataset: its claim is then a file below .storaged",
            ) from error
        os.fsync(folder)


def remove_claim(root: int) -> None:
    """Twice is once."""
    with _readable(root) as folder:
        try:
            os.removexattr(folder, CLAIM_XATTR)
        except OSError as error:
            if error.errno not in _NONE:
                raise
            return
        os.fsync(folder)


@contextlib.contextmanager
def _readable(root: int) -> Iterator[int]:
    folder = os.open(".", DIRECTORY, dir_fd=root)  # one that is open for walking only has no attributes
    try:
        yield folder
    finally:
        os.close(folder)
