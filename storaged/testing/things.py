"""What tests of stores put there: keys, attempts, origins, and whole objects in one go."""

from __future__ import annotations

import random
from collections.abc import Callable

from storaged.model import Origin
from storaged.stores.base import New, Stat, Store

Put = Callable[[str, bytes], None]
Get = Callable[[str], bytes | None]
Remove = Callable[[str], None]

MINE = "a" * 32
OTHER = "b" * 32
ODD_KEYS = (
    " leading and trailing ",
    "#?%20&=+,;:@!$'()*[]",
    "a\tb\nc",
    "back\\slash",
    "dt=2026-11-23/part 0.csv",
    "e\u0301 is not \u00e9",
    "\u00e9",
    "...",
    "n" * 255,
    "\u65e5\u672c/\u8a9e.txt",
    "\U0001f9ca" * 63 + "abc",  # 255 bytes
    "\uffee sorts before the next, in UTF-8 but not in UTF-16",
)


def origin_of(attempt: str, name: str = "a/b.csv", mtime_us: int = 0) -> Origin:
    """An origin with something in every field; an mtime of 0 is one that nobody told."""
    return Origin("c" * 32, attempt, "lake", name, 3, "1:2:3", 4, mtime_us, "d" * 32)


def seeded(seed: int) -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(seed)  # noqa: S311 (test content, not a secret)


def create(store: Store, key: str, data: bytes, attempt: str = MINE, mtime_us: int | None = None) -> Stat:
    """Make one object in one go."""
    with store.create(key, New(attempt, mtime_us=mtime_us)) as upload:
        upload.write(data)
        return upload.commit(origin_of(attempt, mtime_us=mtime_us or 0))


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix, after)]
