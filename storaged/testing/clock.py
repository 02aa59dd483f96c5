"""Time that passes only when a test says so."""

from __future__ import annotations

import threading

START_US = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z; any fixed instant would do


class FakeClock:
    """A Clock without a machine behind it: sleeping returns at once and moves the time on. Thread-safe."""

    def __init__(self, start_us: int = START_US) -> None:
        self._now_us = start_us
        self._lock = threading.Lock()

    def now_us(self) -> int:
        with self._lock:
            return self._now_us

    def sleep(self, seconds: float) -> None:
        """Return at once; the time is `seconds` later."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the time on. Raises ValueError for a negative step: time does not run backwards."""
        if seconds < 0:
            raise ValueError(f"cannot go back in time by {-seconds} s")
        with self._lock:
            self._now_us += round(seconds * 1_000_000)
