"""What every store of ours demands of a key."""

from __future__ import annotations

import re
from typing import Final

from storaged.errors import NotANote, StoreError
from storaged.stores.base import RESERVED

ATTEMPT: Final = re.compile(r"[0-9a-f]{32}(\.|$)")  # how the name of a temporary part begins


def segments(key: str) -> list[str]:
    """The segments of a key or note name. Raises StoreError for one that could lead out of the store or is no text."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise StoreError(f"{key!r} is no key: a segment of it is empty, '.' or '..'", key=key)
    if "\0" in key:
        raise StoreError(f"{key!r} is no key: it holds a NUL", key=key)
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{key!r} is no key: it is not UTF-8", key=key) from error
    return parts


def object_segments(key: str) -> list[str]:
    """As `segments`, and refuses the store's own names."""
    parts = segments(key)
    if parts[0] == RESERVED:
        raise StoreError(f"{key!r} is one of storaged's own names", key=key)
    return parts


def check_attempt(attempt: str) -> str:
    """`attempt` itself. Raises StoreError where it is not letters and digits, as it becomes a part of file names."""
    if not (attempt.isascii() and attempt.isalnum()):
        raise StoreError(f"{attempt!r} is no attempt id: letters and digits only")
    return attempt


def bounded(name: str, size: int, limit: int) -> int:
    """The size of a note, in bytes. Raises NotANote where it is more than it may be."""
    if size > limit:
        raise NotANote(
            f"the note {name!r} has {size:,} bytes, and at most {limit:,} are read",
            key=name,
            hint="storaged writes no such note: look at what is there, and who may write there",
        )
    return size
