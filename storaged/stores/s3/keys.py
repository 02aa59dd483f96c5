"""Which keys an object of a bucket can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from storaged.errors import StoreError
from storaged.stores.base import RESERVED

LONGEST: Final = 1_024  # bytes of a full key


def checked_key(key: str, full: Callable[[str], str]) -> str:
    """`key` itself; `full` puts the place's prefix before it. Raises StoreError for what S3, or the catalog, cannot
    hold."""
    why = ""
    if not key:
        why = "it is empty"
    elif "\0" in key:
        why = "it holds a NUL"
    elif key.split("/", 1)[0] == RESERVED:
        why = "it is one of storaged's own names"
    else:
        try:
            length = len(full(key).encode())
        except UnicodeEncodeError:
            why = "it is not UTF-8"
        else:
            why = f"it has {length:,} bytes with its prefix, and S3 takes {LONGEST:,}" if length > LONGEST else ""
    if why:
        raise StoreError(f"{key!r} is no key: {why}", key=key)
    return key
