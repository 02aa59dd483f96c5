"""Errors of stores and contents as the OSErrors that programs expect of a file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from storaged.errors import (
    ObjectCold,
    ObjectNotFound,
    PermissionDenied,
    SourceChanged,
    StoragedError,
    StoreError,
    VerificationFailed,
)


class ColdObjectError(OSError):
    """The object is in an archive class: it can be read once it was warmed or restaged. The message says how."""


_KINDS: Final[tuple[tuple[type[StoragedError], type[OSError], int], ...]] = (
    (ObjectNotFound, FileNotFoundError, errno.ENOENT),
    (PermissionDenied, PermissionError, errno.EACCES),
    (ObjectCold, ColdObjectError, errno.EAGAIN),
    (SourceChanged, OSError, errno.ESTALE),
    (StoreError, OSError, errno.EIO),
    (VerificationFailed, OSError, errno.EIO),
)


@contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Errors of stores and contents as Python's own, with message and hint; the hint of any other as a note."""
    try:
        yield
    except StoragedError as error:
        for kind, wanted, number in _KINDS:
            if isinstance(error, kind):
                words = f"{error.message} ({error.hint})" if error.hint else error.message
                raise wanted(number, words, path) from error
        if error.hint and not getattr(error, "__notes__", None):
            error.add_note(error.hint)
        raise
