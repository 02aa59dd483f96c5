"""What a daemon does, without threads, signals and sockets: each method is one step that its owner takes in time.

All that daemons share is in the catalog. `beat` keeps this one alive there and holds the lead, `take` and `run` are its
recurring work, `step` is one job, `look` asks whether it may act at all. Any of them may be the last before a crash.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading

from storaged.catalog import facts, suspensions, tasks
from storaged.catalog.engine import Catalog
from storaged.catalog.tasks import Run
from storaged.clock import SECOND, Clock, new_id
from storaged.config.schedules import next_fire
from storaged.config.settings import Settings
from storaged.daemon import events, ticks
from storaged.daemon.clocks import skew
from storaged.daemon.engine import Engine, Threads, engine_of
from storaged.daemon.events import Tell
from storaged.daemon.generations import Generation, Generations, Load
from storaged.errors import CatalogBehind, CatalogError, StoragedError
from storaged.private import make_directory
from storaged.version import __version__
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.plan.policies import PolicyChange, record
from storaged.work.recover.rebuild import reconcile
from storaged.work.rewrite import approve, trouble


class Core:
    """One daemon. Safe for threads. `problem` says why it does not act; None: it acts."""

    def __init__(
        self,
        load: Load,
        catalog: Catalog,
        clock: Clock,
        *,
        tell: Tell,
        chance: random.Random,
        compare_clocks: bool = True,
    ) -> None:
        """`compare_clocks`: a daemon whose clock is not the catalog server's does nothing. Raises ConfigError,
        UsageError as `load` does."""
        self.catalog = catalog
        self.clock = clock
        self.name = f"{socket.gethostname()}:{os.getpid()}:{new_id()[:6]}"
        self.tell = tell
        self.leading = False
        self.draining = False
        self.problem: str | None = "it has not looked at its places yet"
        self.broken: str | None = None  # what is wrong with the configuration that stands on disk
        self.daemons = 1  # that share what places allow
        self.engine: Engine = Threads()  # until the configuration is read
        self.generations = Generations(load, lambda settings: self._context(settings), self.name)
        self._chance = chance
        self._compare_clocks = compare_clocks
        self._lock = threading.RLock()
        self._taking = threading.Lock()  # whoever drains waits for a run that is just being taken
        self._beating = threading.Lock()  # whoever departs waits for a sign of life that is just being written
        self._departed = False
        self._runs: dict[str, Run] = {}
        self.engine = engine_of(self.settings)
        self._engine_problem: str | None = None
        self._registered: Settings | None = None

    def _context(self, settings: Settings) -> Context:
        made = Context(settings, self.catalog, self.clock, actor=f"daemon:{self.name}", tolerant=True)
        for budget in made.budgets.values():
            budget.share = self.share
        return made

    @property
    def share(self) -> float:
        """This process's part of what places allow."""
        return 1 / (self.daemons + self.engine.processes)

    # -- configuration -------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The configuration that new work goes by."""
        return self.generations.now.settings

    def reload(self) -> bool:
        """Take what stands in storaged.yaml and the policies now, if all of it holds. Else nothing changes."""
        try:
            self.generations.reload()
        except StoragedError as error:
            self.broken = f"{error.message}: {problems}" if (problems := _problems(error)) else error.message
            self.tell(events.ReloadFailed(error))
            return False
        self.broken = None
        changes = self._arrange() if self.leading else []
        self.tell(events.Reloaded(changes))
        return True

    def _arrange(self) -> list[PolicyChange]:
        """What the leader makes of its configuration: the tasks, and a note of what its policies say."""
        with self.generations.using() as now:
            changes = record(now.context, now.policies)
            wanted = ticks.wanted(now.settings, now.policies)
            with self.catalog.begin() as conn:
                tasks.arrange(conn, wanted, self.clock.now_us(), next_fire)
        return changes

    # -- life ----------------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """A sign of life: this daemon's row, the lead, and the leases of its tasks. Raises CatalogError."""
        with self._beating:
            if self._departed:
                return
            now, lease_us = self.clock.now_us(), self.settings.daemon.lease
            with self._lock:
                held = dict(self._runs)
            with self.catalog.begin() as conn:
                tasks.sign_of_life(conn, self.name, now, self._row())
                leading = not self.draining and tasks.lead(conn, self.name, now, lease_us)
                lost = tasks.keep(conn, held, now, lease_us)
                self.daemons = tasks.alive(conn, now, lease_us)
            with self._lock:
                for name in lost:
                    if self._runs.get(name) == held[name]:  # and no other run of it was taken meanwhile
                        del self._runs[name]
            if leading and not self.leading:
                self._arrange()
            if leading != self.leading:
                self.leading = leading
                self.tell(events.Leads(leading))

    def _row(self) -> dict[str, object]:
        with self._lock:
            runs = sorted(self._runs)
        at = {"jobs": self.engine.at(), "tasks": runs, "leads": self.leading}
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "state": "draining" if self.draining else "waiting" if self.problem else "running",
            "problem": "; ".join(p for p in (self.problem, self.broken, self.engine.problem) if p) or None,
            "detail": json.dumps(at),
        }

    def look(self) -> None:
        """Whether this daemon may act: the catalog is up to its journal, and its places are there. What is away is
        suspended, what is back goes on. Raises nothing but what the catalog raises."""
        with self.generations.using() as now:
            problem = self._wrong(now)
            if problem is None:
                self._suspend_what_is_away(now.context)
                for what, well in trouble.look_again(now.context):
                    self.tell(events.Resumed(what) if well else events.Suspended(what))
        if problem != self.problem:
            self.problem = problem
            self.tell(events.Waits(problem))

    def _wrong(self, now: Generation) -> str | None:
        try:
            if skew := self._skew(now.settings.daemon.lease // 3):
                return skew
            now.context.forget_identity()  # another daemon may have brought the catalog up to its journal
            if self._registered is not now.settings:
                self._prepare(now)
            now.context.ready()
        except CatalogBehind as error:
            if not self.leading or self.draining:
                return error.message
            return self._catch_up(now.context)
        except CatalogError as error:
            return error.message
        except StoragedError as error:
            return f"{error.message} ({error.hint})" if error.hint else error.message
        return None

    def _skew(self, limit_us: int) -> str | None:
        return skew(self.catalog, self.clock, limit_us) if self._compare_clocks else None

    def _prepare(self, now: Generation) -> None:
        make_directory(now.settings.state_dir)
        with self.catalog.read() as conn:
            behind = facts.get(conn, "reconciling")
        if not behind:
            now.context.register()
            self._registered = now.settings

    def _catch_up(self, context: Context) -> str | None:
        """An old copy of the catalog was restored: replay what the journal knows before anything else is done."""
        try:
            found = reconcile(context)
        except StoragedError as error:
            return f"it cannot be brought up to its journal: {error.message}"
        self.tell(events.CaughtUp(found))
        return None

    def _suspend_what_is_away(self, context: Context) -> None:
        with self.catalog.read() as conn:
            known = {str(s) for s in suspensions.suspended(conn)}
        away = {Place("tier", name): why for name, why in context.away.items()}
        away |= {Place("dataset", name): why for name, why in context.roots_away.items()}  # its next good scan ends it
        for place in sorted((p for p in away if str(p) not in known), key=str):
            what = trouble.suspend(context, place.kind, place.name, away[place])
            self.tell(events.Suspended(what))

    # -- recurring work ------------------------------------------------------------------------------------------------

    def take(self) -> Run | None:
        """The task that is due, if this daemon leads and may act. Its owner must `run` it."""
        with self._taking:
            if not self.leading or self.draining or self.problem is not None:
                return None
            with self._lock:
                at = list(self._runs)
            with self.catalog.begin() as conn:
                run = tasks.take(conn, self.name, self.clock.now_us(), self.settings.daemon.lease, next_fire, at=at)
            if run is not None:
                with self._lock:
                    self._runs[run.task] = run
                self.tell(events.TaskStarted(run))
            return run

    def run(self, run: Run) -> None:
        """Do a task that was taken. What goes wrong is written down, and tried again later."""
        begun = self.clock.now_us()
        state: tasks.Ended = "done"
        try:
            with self.generations.using() as now:
                message = ticks.perform(ticks.Beat(now.context, now.policies, self._chance), run.task)
        except StoragedError as error:
            state, message = "failed", error.message
        except Exception as error:  # noqa: BLE001  a fault of ours in one task must not end the others
            state, message = "failed", f"{type(error).__name__}: {error}"
            self.tell(events.Faulted(error))
        try:
            with self.catalog.begin() as conn:
                ours = tasks.end(conn, run, state, message, self.clock.now_us())
        finally:
            with self._lock:
                if self._runs.get(run.task) == run:
                    del self._runs[run.task]
        seconds = (self.clock.now_us() - begun) / SECOND
        self.tell(events.TaskEnded(run, state if ours else "lost", message, seconds))

    def carry_out(self) -> None:
        """Do what was approved on the pages, if this daemon leads and may act. Raises as catalog and places do."""
        if not self.leading or self.draining or self.problem is not None:
            return
        with self.generations.using() as now:
            for wanted, state, note in approve.carry_out(now.context, now.policies):
                self.tell(events.Approved(wanted, state, note))

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One job, from its claim to its end. False: none is due, or this daemon may not act."""
        if self.draining or self.problem is not None:
            return False
        with self.generations.using() as now:
            ran = self.engine.job(now, lambda claimed: self.tell(events.JobStarted(claimed)))
        if self.engine.problem != self._engine_problem:
            self._engine_problem = self.engine.problem
            self.tell(events.JobsWait(self._engine_problem))
        if ran is None:
            return False
        self.tell(events.JobEnded(ran))
        for what in ran.suspended:
            self.tell(events.Suspended(what))
        return True

    # -- the end -------------------------------------------------------------------------------------------------------

    @property
    def at(self) -> tuple[int, int]:
        """How many jobs and tasks it is at."""
        with self._lock:
            return len(self.engine.at()), len(self._runs)

    def drain(self) -> None:
        """Take nothing new, and leave the lead to another: `at` is all that is left. Raises CatalogError."""
        with self._taking:
            self.draining = True
        self.engine.drain()
        jobs, runs = self.at
        self.tell(events.Draining(jobs, runs))
        with self.catalog.begin() as conn:
            tasks.step_down(conn, self.name)

    def abandon(self) -> None:
        """Give back what still runs: other daemons take it at once. What was staged is cleared away by sweeps."""
        for job in self.engine.abandon():
            self.tell(events.Abandoned(job))
        with self._lock:
            runs = list(self._runs.values())
        with self.catalog.begin() as conn:
            for run in runs:
                tasks.end(conn, run, "abandoned", "its daemon was stopped", self.clock.now_us())
        for run in runs:
            self.tell(events.Abandoned(run.task))

    def depart(self) -> None:
        """Leave the catalog: the lead is free, nobody waits for this daemon, and it shows no further sign of life."""
        with self._beating:
            self._departed = True
            with self.catalog.begin() as conn:
                tasks.depart(conn, self.name)


def _problems(error: StoragedError) -> str:
    return "; ".join(str(p) for p in getattr(error, "problems", ()))
