"""A place with data and tiers for daemons to work at, and daemons whose every step a test takes itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema_daemon import runs, tasks
from storaged.catalog.suspensions import Suspension, suspended
from storaged.clock import SECOND
from storaged.config.settings import Settings, load_settings
from storaged.daemon import events
from storaged.daemon.core import Core
from storaged.daemon.events import Event
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.stores.base import Store
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.content import open_current
from storaged.work.context import Context

HOUR, DAY = 3_600, 86_400
LEASE_S = 30
MIDNIGHT_US = 1_790_035_200_000_000  # 2026-09-22T00:00:00Z
MOVE = """\
name: {name}
target: {{dataset: "{dataset}"}}
when: {{size_over: 1}}
to: {{tier: {tier}, codec: zstd}}
schedule: "{schedule}"
mode: {mode}
"""


class Sundial(FakeClock):
    """A clock that can also be set: forward, or back."""

    def set(self, seconds: float) -> None:
        """Move it by so many seconds, either way."""
        with self._lock:
            self._now_us += round(seconds * SECOND)


class Heard:
    """Keeps what a daemon tells, in words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def said(self, start: str) -> list[str]:
        """All that begins so."""
        return [word for word in self.words if word.startswith(start)]

    def hear(self, event: Event) -> None:
        match event:
            case events.TaskEnded(run, state, message):
                self.words.append(f"task {run.task} {state}: {message}")
            case events.JobEnded(ran):
                self.words.append(f"job {ran.claimed.id} {ran.state}")
            case events.Suspended(what):
                self.words.append(f"suspended {what}: {what.reason}")
            case events.Resumed(what):
                self.words.append(f"resumed {what}")
            case events.Reloaded(changes):
                self.words.append(f"reloaded {sorted(c.name for c in changes)}")
            case events.ReloadFailed(error):
                self.words.append(f"reload failed: {error.message}")
            case events.Leads(leading):
                self.words.append("leads" if leading else "leads no more")
            case events.Waits(problem):
                self.words.append(f"waits: {problem}" if problem else "acts")
            case events.CaughtUp():
                self.words.append("caught up")
            case events.Faulted(error):
                self.words.append(f"fault: {error!r}")
            case events.Abandoned(what):
                self.words.append(f"abandoned {what}")
            case _:
                pass


class Daemon(Core):
    """A core that hears itself, and whose stores can be made to fail."""

    def __init__(
        self,
        load: Callable[[], tuple[Settings, PolicySet]],
        catalog: Catalog,
        clock: FakeClock,
        *,
        wrap: Callable[[Store], Store] = lambda store: store,
    ) -> None:
        self.heard = Heard()
        self._wrap_store = wrap
        super().__init__(load, catalog, clock, tell=self.heard.hear, chance=random.Random(1), compare_clocks=False)

    def _context(self, settings: Settings) -> Context:
        actor = f"daemon:{self.name}"
        return Context(settings, self.catalog, self.clock, actor=actor, tolerant=True, wrap=self._wrap_store)

    def wakes(self) -> None:
        """A sign of life and a look around."""
        self.beat()
        self.look()

    def does_tasks(self) -> list[str]:
        """All tasks that are due, one after another. Their names."""
        done = []
        while (run := self.take()) is not None:
            self.run(run)
            done.append(run.task)
        return done

    def does_jobs(self) -> int:
        """All jobs that are due. How many."""
        count = 0
        while self.step():
            count += 1
        return count

    def turns(self) -> list[str]:
        """Everything that a daemon does now."""
        self.wakes()
        done = self.does_tasks()
        self.does_jobs()
        return done


class Farm:
    """Datasets `lake` and others on directories, tiers hot, warm and cold, a catalog, a clock, and daemons."""

    def __init__(self, place: Path, catalog: Catalog, clock: Sundial, *, datasets: Iterable[str] = ("lake",)) -> None:
        self.place = place
        self.catalog = catalog
        self.clock = clock
        self.datasets = tuple(datasets)
        self.config = place / "storaged.yaml"
        self.made: list[Daemon] = []
        for name in (*self.datasets, "hot", "warm", "cold", "policies"):
            (place / name).mkdir()
        self.configure()

    def configure(
        self,
        *,
        grace: str = "1h",
        daemon: str = "",
        more: str = "",
        lease: str = f"{LEASE_S}s",
        retry: str = "5m",
        cold: str = "",
    ) -> None:
        """Write storaged.yaml anew. `daemon`: further lines of its section, `more`: further sections, `cold`: more of
        that tier."""
        roots = "".join(f'  {n}: {{root: "file://{self.place}/{n}", readers: storaged}}\n' for n in self.datasets)
        lines = "".join(f"  {line}\n" for line in daemon.splitlines())
        self.config.write_text(
            f"""\
catalog: {self.catalog.url}
state_dir: state
grace: {grace}
quiet_for: 1m
late_put_window: 1h
tiers:
  hot: {{rank: 0, url: "file://{self.place}/hot"}}
  warm: {{rank: 1, url: "file://{self.place}/warm"}}
  cold: {{rank: 2, url: "file://{self.place}/cold"{cold}}}
datasets:
{roots}workers: {{threads: 2, lease: {lease}}}
daemon:
  lease: {lease}
  retry: {retry}
{lines}{more}"""
        )

    def policy(
        self,
        name: str = "move",
        *,
        dataset: str = "lake",
        tier: str = "cold",
        schedule: str = "0 2 * * *",
        mode: str = "active",
        more: str = "",
    ) -> Path:
        """Write a policy that compresses everything in a tier."""
        path = self.place / f"policies/{name}.yaml"
        path.write_text(MOVE.format(name=name, dataset=dataset, tier=tier, schedule=schedule, mode=mode) + more)
        return path

    def load(self) -> tuple[Settings, PolicySet]:
        settings = load_settings(self.config)
        return settings, load_policies(settings.policies, settings)

    def daemon(self, *, wrap: Callable[[Store], Store] = lambda store: store) -> Daemon:
        """A new daemon. It has not shown a sign of life yet."""
        self.made.append(Daemon(self.load, self.catalog, self.clock, wrap=wrap))
        return self.made[-1]

    def close(self) -> None:
        for daemon in self.made:
            daemon.generations.close()

    # -- what users do and see ---------------------------------------------------------------------------------------

    def write(self, *names: str, dataset: str = "lake", size: int = 4_000, age_s: float = HOUR) -> None:
        """A user writes files, some time ago."""
        at = self.clock.now_us() / SECOND - age_s
        for name in names:
            path = self.place / dataset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(name, size))
            os.utime(path, (at, at))

    def read(self, name: str, dataset: str = "lake") -> bytes:
        """An object's content as storaged reads it."""
        context = self.context()
        with open_current(context, targets.one(context, f"{dataset}/{name}")) as found:
            return b"".join(found.chunks())

    def context(self) -> Context:
        return Context(self.load()[0], self.catalog, self.clock, actor="test")

    # -- what stands in the catalog ----------------------------------------------------------------------------------

    def task(self, name: str) -> sa.Row[Any]:
        with self.catalog.read() as conn:
            return conn.execute(sa.select(tasks).where(tasks.c.name == name)).one()

    def tasks(self) -> dict[str, str]:
        """Every task's schedule."""
        with self.catalog.read() as conn:
            return {row.name: row.schedule for row in conn.execute(sa.select(tasks).order_by(tasks.c.name))}

    def runs(self, task: str | None = None) -> list[sa.Row[Any]]:
        """All runs, or those of one task, oldest first."""
        query = sa.select(runs).order_by(runs.c.id)
        with self.catalog.read() as conn:
            return list(conn.execute(query if task is None else query.where(runs.c.task == task)))

    def suspended(self) -> dict[str, Suspension]:
        with self.catalog.read() as conn:
            return {str(s): s for s in suspended(conn)}

    def count(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        with self.catalog.read() as conn:
            return int(conn.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one())


def content(name: str, size: int = 4_000) -> bytes:
    """What a file of this name holds: it shrinks, and differs from every other's."""
    line = f"{name},the same words in every line\n".encode()
    return (line * (size // len(line) + 1))[:size]


def awake(farm: Farm) -> Daemon:
    """A daemon that leads and has done what is done at once."""
    daemon = farm.daemon()
    daemon.turns()
    assert daemon.problem is None
    assert daemon.leading
    return daemon
