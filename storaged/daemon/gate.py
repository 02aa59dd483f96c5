"""How many jobs may run at a time now: none outside the windows, one on a loaded machine, else `daemon.jobs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from storaged.clock import Clock, iso
from storaged.config.schedules import is_open, next_fire
from storaged.config.service import DaemonSettings

CALM: Final = 0.8  # share of max_load below which a machine that was loaded is so no more: else it would flap


class Allowance(NamedTuple):
    """How many jobs may run at a time, and why not more; `reason` is empty where nothing holds them back."""

    jobs: int
    reason: str = ""


class Gate:
    """Asked by each job runner before it takes a job; what runs is never stopped. `load` is the machine's load average.

    It remembers whether the machine was loaded, and nothing else. Threads may share it.
    """

    def __init__(self, settings: DaemonSettings, clock: Clock, load: Callable[[], float], cores: int) -> None:
        self._settings = settings
        self._clock = clock
        self._load = load
        self._cores = cores
        self._loaded = False

    def allows(self) -> Allowance:
        """How many jobs may run at a time now."""
        now, windows = self._clock.now_us(), self._settings.windows
        if windows and not any(is_open(w.opens, w.lasts, now) for w in windows):
            opens = min(next_fire(w.opens, now) for w in windows)
            return Allowance(0, f"outside its windows until {iso(opens)}")
        per_core, most = self._load() / self._cores, self._settings.max_load
        self._loaded = per_core > (most * CALM if self._loaded else most)
        if self._loaded and self._settings.jobs > 1:
            return Allowance(1, f"one job at a time: the load per core is {per_core:.2f}, and max_load is {most:g}")
        return Allowance(self._settings.jobs)

    def refusal(self, runner: int) -> str | None:
        """Why a job runner (counted from 0) may not take a job now; None: it may."""
        allowed = self.allows()
        if runner < allowed.jobs:
            return None
        return allowed.reason or f"at most {allowed.jobs} jobs at a time"
