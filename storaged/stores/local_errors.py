"""What the operating system's errors mean to a store."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from storaged.errors import AlreadyExists, ObjectNotFound, PermissionDenied, StoreError, StoreFull, StoreUnavailable

_KINDS: dict[int, type[StoreError]] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), ObjectNotFound),
    **dict.fromkeys((errno.EEXIST, errno.ENOTEMPTY), AlreadyExists),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), PermissionDenied),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), StoreFull),
    # a network filesystem or a device that may be back in a moment; or somebody else's files that may be closed by then
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT, errno.EBUSY), StoreUnavailable
    ),
    **dict.fromkeys((errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH), StoreUnavailable),
    **dict.fromkeys((errno.ENOMEM, errno.EMFILE, errno.ENFILE), StoreUnavailable),
}
_HINTS = {
    errno.EROFS: "the filesystem is mounted read-only",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "this filesystem allows 255 bytes per name: the object needs a shorter one",
    errno.EXDEV: "another filesystem is mounted below the root: give it a root or tier of its own",
    errno.ENOTSUP: "the filesystem keeps no extended attributes (user_xattr), by which storaged knows its own files",
    errno.EFBIG: "the filesystem, or `ulimit -f`, allows no file of this size",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}


def store_error(error: OSError, key: str) -> StoreError:
    """The StoreError that says the same as `error`."""
    number = error.errno or 0
    kind = _KINDS.get(number, StoreError)
    return kind(f"{key!r}: {(error.strerror or str(error)).lower()}", key=key, hint=_HINTS.get(number))


@contextlib.contextmanager
def translated(key: str) -> Iterator[None]:
    """Raise the StoreError for any OSError inside."""
    try:
        yield
    except OSError as error:
        raise store_error(error, key) from error
