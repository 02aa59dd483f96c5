"""Time, sleep and randomness are passed in; nothing else in storaged asks the machine for them."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from typing import Protocol

SECOND = 1_000_000
DAY = 86_400 * SECOND


class Clock(Protocol):
    """Where loops and workers get the time from. Instants are integers: microseconds since 1970, UTC."""

    def now_us(self) -> int:
        """The time now, in microseconds since 1970-01-01 UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def new_id() -> str:
    """A fresh random 128-bit id as 32 hex characters (never a counter: a restored counter repeats)."""
    return secrets.token_hex(16)


def to_datetime(us: int) -> dt.datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)


def from_datetime(when: dt.datetime) -> int:
    """An aware datetime as microseconds since 1970 (exact; no float on the way)."""
    return (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def iso(us: int | None) -> str | None:
    """Microseconds since 1970 as ISO 8601 with a Z, or None."""
    return None if us is None else to_datetime(us).isoformat(timespec="seconds").replace("+00:00", "Z")
