"""Which store a URL means. One line per scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from storaged.errors import UsageError
from storaged.stores.base import Store
from storaged.stores.local import LocalStore
from storaged.stores.memory import MemoryStore

Opener = Callable[[str, frozenset[tuple[int, int]]], Store]

SCHEMES: Mapping[str, Opener] = {
    "file": LocalStore,
    "memory": lambda url, excluded: MemoryStore.shared(url),
}


def open_store(url: str, excluded: frozenset[tuple[int, int]] = frozenset()) -> Store:
    """The store at `url`; what has one of the `excluded` (device, inode) pairs is never listed. Raises UsageError."""
    scheme, found, _ = url.partition("://")
    opener = SCHEMES.get(scheme)
    if not found or opener is None:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise UsageError(f"{url!r} is at no store that storaged knows", hint=f"there are {known}")
    return opener(url, excluded)
