"""What runs in a process of a Dask cluster: claim what is due and work on one job, by that machine's configuration.

A process keeps its catalog and its open stores from one task to the next, and closes them at its end.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from storaged.catalog import suspensions
from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.facts import Identity
from storaged.clock import SystemClock
from storaged.config.secrets import catalog_url
from storaged.config.settings import Settings, load_settings
from storaged.daemon.clocks import skew
from storaged.daemon.generations import Generation, Generations
from storaged.daemon.jobs import Ran, run_job
from storaged.decide.policy import PolicySet
from storaged.errors import RefusedByGuard, StoragedError
from storaged.version import __version__
from storaged.work.context import Context

WAIT_S = 10.0  # for a catalog that is locked


@dataclass(frozen=True, slots=True)
class Order:
    """What a daemon asks for: one job of its catalog, by its configuration. `share`: of what places allow."""

    file: str
    settings: str  # their digest
    version: str
    catalog: Identity
    share: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of an order. `refused`: why this process does nothing; then nothing was claimed."""

    ran: Ran | None = None
    refused: str | None = None


def order(now: Generation, share: float) -> Order:
    """An order by a daemon's configuration."""
    return Order(str(now.settings.file), settings_digest(now.settings), __version__, now.context.identity, share)


def settings_digest(settings: Settings) -> str:
    """Two machines with the same digest act alike. Comments and the order of keys do not count."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()


class Station:
    """What a process keeps for one catalog."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Raises CatalogError, ConfigError."""
        self.name = name
        self.clock = SystemClock()
        self.catalog: Catalog = open_catalog(catalog_url(settings, os.environ), wait_s=WAIT_S)
        file = settings.file
        self.generations = Generations(lambda: (load_settings(file), PolicySet()), self._context, name)

    def _context(self, settings: Settings) -> Context:
        return Context(settings, self.catalog, self.clock, actor=f"dask:{self.name}", tolerant=True)

    def close(self) -> None:
        self.generations.close()
        self.catalog.close()

    def work(self, wanted: Order) -> Ran | None:
        """One job, if one is due. Raises RefusedByGuard and others where this process may not act as was ordered."""
        self.generations.reload()
        with self.generations.using() as now:
            self._agree(now, wanted)
            for budget in now.context.budgets.values():
                budget.share = wanted.share
            claimed = now.worker.claim()
            return None if claimed is None else run_job(now.worker, claimed)

    def _agree(self, now: Generation, wanted: Order) -> None:
        if settings_digest(now.settings) != wanted.settings:
            raise RefusedByGuard(f"{wanted.file} differs from the daemon's: give both machines the same")
        now.context.forget_identity()  # a rebuild may have raised the epoch
        if now.context.identity != wanted.catalog:
            raise RefusedByGuard(f"its catalog is {now.context.identity.catalog}, not {wanted.catalog.catalog}")
        if off := skew(self.catalog, self.clock, now.settings.daemon.lease // 3):
            raise RefusedByGuard(off)
        now.context.ready()
        with self.catalog.read() as conn:
            known = {s.name for s in suspensions.suspended(conn) if s.kind == "tier"}
        for tier in sorted(set(now.context.away) - known):  # only here: what others can reach is not suspended
            raise RefusedByGuard(now.context.away[tier])


_lock = threading.Lock()
_stations: dict[tuple[str, str], Station] = {}  # by file and catalog; a process seldom has a second


def work_one(wanted: Order) -> Reply:
    """Called by Dask. What is wrong with this process or its machine is said, and not raised."""
    from distributed import get_worker

    host = socket.gethostname()
    try:
        if wanted.version != __version__:
            raise RefusedByGuard(f"it has storaged {__version__}, the daemon {wanted.version}")
        return Reply(_station(wanted.file, f"{host}:{os.getpid()}:{get_worker().name}").work(wanted))
    except StoragedError as error:
        why = getattr(error, "problems", ()) or (error.message,)
        return Reply(refused=f"{host}:{os.getpid()}: {'; '.join(map(str, why))}")


def _station(file: str, name: str) -> Station:
    settings = load_settings(Path(file))
    with _lock:
        key = (file, settings.catalog)
        if key not in _stations:
            _stations[key] = Station(settings, name)
            atexit.register(_stations[key].close)
        return _stations[key]
