"""Which store a URL means. One line per scheme of storaged.stores.schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from storaged.errors import UsageError
from storaged.stores.access import Access, Opening
from storaged.stores.base import Store
from storaged.stores.local import LocalStore
from storaged.stores.schemes import SCHEMES_HINT

Opener = Callable[[str, Opening], Store]


def _s3(url: str, how: Opening) -> Store:
    from storaged.stores.s3.store import S3Store  # its client is slow to import, and many have no bucket

    return S3Store(url, how)


OPENERS: Mapping[str, Opener] = {
    "file": lambda url, how: LocalStore(url, how.excluded, follow=how.follow, bare=how.bare, elsewhere=how.elsewhere),
    "s3": _s3,
}
_of_tests: dict[str, Opener] = {}


def allow_memory() -> None:
    """Let `memory://` URLs be opened in this process. Importing `storaged.testing` does so, and nothing else: what is
    there dies with its process, and no word of a configuration can ask for it."""
    from storaged.stores.memory import MemoryStore  # here only: no command has one

    _of_tests["memory"] = lambda url, how: MemoryStore.shared(url)


def memory_allowed() -> bool:
    """Whether `allow_memory` was called."""
    return bool(_of_tests)


def open_store(url: str, how: Opening | None = None) -> Store:
    """The store at `url`. Raises UsageError."""
    scheme, found, _ = url.partition("://")
    opener = OPENERS.get(scheme) or _of_tests.get(scheme)
    if not found or opener is None:
        raise UsageError(f"{url!r} is at no store that storaged knows", hint=SCHEMES_HINT)
    return opener(url, how or Opening())


def library_options(url: str, access: Access) -> Mapping[str, str]:
    """What a library on Rust's `object_store` is told to open what is at a URL as we would, with our credentials.
    Raises PermissionDenied where there are none."""
    if not url.startswith("s3://"):
        return {}
    from storaged.stores.s3.session import S3Session

    return S3Session(url, access).library_options()
