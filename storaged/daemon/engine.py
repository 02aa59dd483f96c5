"""Where jobs run. The daemon decides when, and how many at a time: each of its runners asks an engine for one job.

Nothing of the truth is in an engine. A job is claimed, renewed and swapped under its lease in the catalog, so what an
engine loses, repeats or forgets is taken over like the work of any dead process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from storaged.catalog.items import Item
from storaged.catalog.queue import ClaimedJob
from storaged.config.settings import Settings
from storaged.daemon.generations import Generation
from storaged.daemon.jobs import OnClaimed, Ran, run_job
from storaged.work.rewrite.worker import Worker


class Engine(Protocol):
    """Where jobs run. Safe for threads."""

    @property
    def problem(self) -> str | None:
        """Why no job can run there; None: nothing is known to be wrong."""

    @property
    def processes(self) -> int:
        """How many other processes share with this one what places allow."""

    def job(self, now: Generation, started: OnClaimed) -> Ran | None:
        """One job, from its claim to its end. None: none was due, or none could run. Raises CatalogError."""

    def at(self) -> list[dict[str, object]]:
        """The jobs that run in this process, and how far they are."""

    def drain(self) -> None:
        """No further job is wanted."""

    def abandon(self) -> list[str]:
        """Give back what runs in this process; the names of these jobs. Raises CatalogError."""

    def close(self) -> None:
        """Let go of what it holds."""


@dataclass(slots=True)
class _Job:
    """A job that this process is at."""

    claimed: ClaimedJob
    worker: Worker
    started_us: int
    done: int = 0
    done_bytes: int = 0  # of content


class Threads:
    """The threads of this process that ask."""

    problem: str | None = None
    processes: int = 0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[int, _Job] = {}
        self._stopping = False

    def job(self, now: Generation, started: OnClaimed) -> Ran | None:
        claimed = now.worker.claim()
        if claimed is None:
            return None
        job = _Job(claimed, now.worker, now.context.now_us())

        def count(item: Item, _note: str) -> None:
            job.done += 1
            job.done_bytes += item.seen.placement.size

        with self._lock:
            self._jobs[claimed.id] = job
        started(claimed)
        try:
            return run_job(now.worker, claimed, on_item=count, stopped=lambda: self._stopping)
        finally:
            with self._lock:
                self._jobs.pop(claimed.id, None)

    def at(self) -> list[dict[str, object]]:
        with self._lock:
            return [
                {
                    "job": number,
                    "done": job.done,
                    "bytes": job.done_bytes,
                    "objects": job.claimed.objects,
                    "since_us": job.started_us,
                }
                for number, job in sorted(self._jobs.items())
            ]

    def drain(self) -> None:
        """What runs is waited for by who asked."""

    def abandon(self) -> list[str]:
        self._stopping = True
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.worker.give_back(job.claimed)
        return [f"job {job.claimed.id}" for job in jobs]

    def close(self) -> None:
        """Its threads are not its own."""


def engine_of(settings: Settings) -> Engine:
    """The engine that a configuration names. Raises UsageError where its package is not installed."""
    if settings.workers.engine == "threads":
        return Threads()
    from storaged.daemon.cluster import Cluster  # the package that it needs is an extra

    return Cluster(str(settings.workers.address))
