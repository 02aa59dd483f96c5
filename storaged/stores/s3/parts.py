"""Memory of parts of uploads while they are sent, for all uploads of this process."""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections import deque
from typing import Final

PART: Final = 8 << 20  # bytes; also the most that is stored with one PUT
SENDING: Final = threading.BoundedSemaphore(4)  # parts that are being sent: each holds its bytes

_spare: Final[deque[mmap.mmap]] = deque(maxlen=2)  # parts that were sent: new memory takes a third of a part's CPU


def memory_of(size: int) -> mmap.mmap:
    """For so many bytes of a part, whatever is in it."""
    if size == PART:
        with contextlib.suppress(IndexError):
            return _spare.pop()
    return mmap.mmap(-1, size)


def give_back(part: mmap.mmap) -> None:
    """It is not needed any more."""
    if len(part) == PART:
        _spare.append(part)
