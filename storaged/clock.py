"""Time, sleep and randomness are passed in; nothing else in storaged asks the machine for them.

How long things took is measured here too, by the machine's own counters: it decides nothing, so nothing passes it in.
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

SECOND = 1_000_000
DAY = 86_400 * SECOND
OTHER: Final = "other"  # the stage of what belongs to no stage


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


def new_ids(count: int) -> list[str]:
    """So many of them."""
    text = secrets.token_hex(16 * count)
    return [text[at : at + 32] for at in range(0, len(text), 32)]


LATEST: Final = 253_402_300_799 * SECOND  # microseconds: the last second of the year 9999


def to_datetime(us: int) -> dt.datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)


def from_datetime(when: dt.datetime) -> int:
    """An aware datetime as microseconds since 1970 (exact; no float on the way)."""
    return (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def iso(us: int | None) -> str | None:
    """Microseconds since 1970 as ISO 8601 with a Z, or None. Calendars end with the year 9999; so does this."""
    return None if us is None else to_datetime(min(us, LATEST)).isoformat(timespec="seconds").replace("+00:00", "Z")


class Timings:
    """Where the time of one piece of work went, by stage, in all threads that worked on it. Thread-safe.

    Each thread is in one stage at a time, the innermost, so the stages add up to the time that threads were at it. Wall
    time of threads that worked side by side is more than went by meanwhile. Processor time is of these threads only: a
    library's own threads (obstore's, those that compress frames) are seen in the process's alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads_ns = 0
        self._stages: dict[str, _Spent] = {}
        self._began_ns, self._began_cpu_ns = time.perf_counter_ns(), time.process_time_ns()

    @contextmanager
    def recording(self, stage: str = OTHER) -> Iterator[None]:
        """What this thread does meanwhile counts: as `stage`, where no `timed` inside says another."""
        began_ns = time.perf_counter_ns()  # before its first stage begins, so that no stages add up to more
        mine = _here.thread = _Thread(stage)
        try:
            yield
        finally:
            _here.thread = None
            mine.enter(OTHER)
            with self._lock:
                self._threads_ns += time.perf_counter_ns() - began_ns
                for name, spent in mine.stages.items():
                    self._stages.setdefault(name, _Spent()).add(spent.wall_ns, spent.cpu_ns)

    def told(self) -> dict[str, Any]:
        """Up to now, in microseconds: `wall_us` since it was made and `cpu_us` of the whole process meanwhile;
        `threads_us` that threads were at it, and each stage's part of that, the longest first."""
        with self._lock:
            stages = sorted(self._stages.items(), key=lambda item: -item[1].wall_ns)
            return {
                "wall_us": (time.perf_counter_ns() - self._began_ns) // 1_000,
                "cpu_us": (time.process_time_ns() - self._began_cpu_ns) // 1_000,
                "threads_us": self._threads_ns // 1_000,
                "stages": [
                    {"stage": name, "wall_us": spent.wall_ns // 1_000, "cpu_us": spent.cpu_ns // 1_000}
                    for name, spent in stages
                ],
            }


class timed:  # noqa: N801  used as a statement, hundreds of thousands of times: a generator takes three times as long
    """`with timed("read"):` counts as that stage, if somebody records this thread (Timings)."""

    __slots__ = ("_outer", "_stage")

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._outer = ""

    def __enter__(self) -> None:
        if (thread := _here.thread) is not None:
            self._outer = thread.enter(self._stage)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (thread := _here.thread) is not None:
            thread.enter(self._outer)


@dataclass(slots=True)
class _Spent:
    wall_ns: int = 0
    cpu_ns: int = 0

    def add(self, wall_ns: int, cpu_ns: int) -> None:
        self.wall_ns += wall_ns
        self.cpu_ns += cpu_ns


class _Thread:
    """One thread while it is recorded."""

    def __init__(self, stage: str) -> None:
        self.stages: dict[str, _Spent] = {}
        self._stage = stage
        self._wall_ns, self._cpu_ns = time.perf_counter_ns(), time.thread_time_ns()

    def enter(self, stage: str) -> str:
        """Go over to another stage; returns the one that was."""
        wall_ns, cpu_ns, left = time.perf_counter_ns(), time.thread_time_ns(), self._stage
        spent = self.stages.get(left)
        if spent is None:
            spent = self.stages[left] = _Spent()
        spent.add(wall_ns - self._wall_ns, cpu_ns - self._cpu_ns)
        self._stage, self._wall_ns, self._cpu_ns = stage, wall_ns, cpu_ns
        return left


class _Here(threading.local):
    thread: _Thread | None = None


_here: Final = _Here()
