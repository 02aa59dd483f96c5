"""What glibc keeps of memory that was freed. Other C libraries have no such settings, and nothing happens there."""

from __future__ import annotations

import ctypes
from typing import Any, Final

_M_MMAP_THRESHOLD: Final = -3  # of glibc's malloc.h
_M_ARENA_MAX: Final = -8
_LARGE: Final = 2 << 20  # bytes


def free_at_once(*, arenas: int | None = None) -> None:
    """Let what is large go back as soon as it is freed. What eight threads read and write piece by piece would
    otherwise stay in their arenas: some 60 MiB for eight large objects.

    `arenas`: at most so many for all threads. A process that lives long needs few: each keeps the most that its threads
    ever held.
    """
    if mallopt := _of_libc("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        if arenas is not None:
            mallopt(_M_ARENA_MAX, arenas)


def give_back() -> None:
    """Let all that is free go back now. Takes some milliseconds."""
    if trim := _of_libc("malloc_trim"):
        trim(0)


def _of_libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
