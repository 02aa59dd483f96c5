"""Files that hold references into other files, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from storaged.codecs.base import Content
from storaged.work.scan import icechunk, kerchunk

FIXED: Final = frozenset({icechunk.MANIFEST})  # forms of files that are never written anew under their name
SIGNS: Final = ("json", "kerchunk", ".ref", "refs.", "manifests/")
"""One of them is in the key of each file that may hold references."""


def may_hold(key: str) -> bool:
    """Whether a file of this name may hold references."""
    return kerchunk.may_hold(key) or icechunk.is_manifest(key)


def form_of(key: str, content: Content) -> str:
    """Which form of references a file seems to have, by its name and first bytes; empty: none. Raises StoreError."""
    if icechunk.is_manifest(key):
        return icechunk.MANIFEST if icechunk.seems_one(content) else ""
    return kerchunk.form_of(key, content)


def named(form: str, content: Content) -> Iterator[str | None]:
    """What a file names, as written there, more than once perhaps; None: what its reader is told beside it. Raises
    Unfollowed, NoReferences, and what `content` raises."""
    return icechunk.named(content) if form == icechunk.MANIFEST else kerchunk.named(form, content)
