"""The daemon as a process: threads that tick, signals, systemd, pages, and the way out.

APScheduler only ticks: what is due stands in the catalog. Signals only set flags: what follows is done by the main
thread, which also tells systemd that the others are alive.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import FrameType, MappingProxyType
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor as Ticking
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from storaged.clock import SECOND
from storaged.daemon import events
from storaged.daemon.approving import Approving
from storaged.daemon.core import Core
from storaged.daemon.gate import Gate
from storaged.daemon.memory import give_back
from storaged.daemon.metrics import Meters
from storaged.daemon.notify import Notifier
from storaged.daemon.pages.site import Site
from storaged.daemon.pages.view import View
from storaged.daemon.receivers import deliver
from storaged.daemon.watch import Watch
from storaged.daemon.web import Web
from storaged.errors import StoragedError
from storaged.work.ingest.reads import ingest_spool
from storaged.work.show.measure import Measured, measure
from storaged.work.show.notices import note

TASKS: Final = 4  # at a time: they mostly wait for stores
LOOK_S: Final = 20.0  # how often the places are looked at
MEASURE_S: Final = 30.0
DELIVER_S: Final = 10.0
APPROVE_S: Final = 3.0  # how often it is looked whether somebody approved a plan
LAST_WORDS_S: Final = 5.0  # for threads to notice that what they are at was given back
SILENT_S: Final = 120.0  # without a beat, the process is taken for hung


class Service:
    """Runs a core until it is told to stop."""

    def __init__(
        self,
        core: Core,
        meters: Meters,
        notifier: Notifier,
        *,
        token: str | None,
        approvers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Binds the pages' address. `approvers`: tokens by the names of who may approve plans there. Raises
        UsageError."""
        self.core = core
        self.meters = meters
        self.notifier = notifier
        settings = core.settings
        self._measured: Measured | None = None
        site = Site(self._view, lambda error: core.tell(events.Faulted(error)))
        self._approves = bool(approvers)
        approving = Approving(approvers, site, core.clock, others=token, url=settings.daemon.url)
        self.web = Web(
            settings.daemon.listen,
            token,
            healthy=self._healthy,
            ready=self._ready,
            registry=meters.registry,
            site=site,
            approving=approving if approvers else None,
        )
        self._gate = self._new_gate()
        self._runners: list[threading.Thread] = []
        self._tasks = ThreadPoolExecutor(TASKS, thread_name_prefix="task")
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it warns of each tick that outlasts its interval
        self._ticking = BackgroundScheduler(
            timezone="UTC",
            executors={"default": Ticking(8)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._watch = Watch([settings.file, settings.policies], self._changed)
        self._wake = threading.Event()  # runners: there may be a job
        self._turn = threading.Event()  # main thread: something is asked of it
        self._stop_asked = 0
        self._reload_asked = False
        self._alive_s = time.monotonic()
        self._unwell: dict[str, str] = {}  # what last went wrong, and how
        self._lock = threading.Lock()
        self._ticks = 0  # under way
        self._over = False  # none begins any more
        self.left_behind = False  # whether a thread went on after its work was given back

    def _new_gate(self) -> Gate:
        return Gate(self.core.settings.daemon, self.core.clock, lambda: os.getloadavg()[0], os.cpu_count() or 1)

    # -- for the pages -------------------------------------------------------------------------------------------------

    def _healthy(self) -> tuple[bool, str]:
        silent = time.monotonic() - self._alive_s
        return silent < SILENT_S, "ok" if silent < SILENT_S else f"no beat for {silent:.0f} s"

    def _ready(self) -> tuple[bool, str]:
        if self.core.draining:
            return False, "draining"
        with self._lock:
            why = next(iter(self._unwell.values()), self.core.problem)
        return why is None, why or "ready"

    @contextmanager
    def _view(self) -> Iterator[View]:
        with self.core.generations.using() as now:
            yield View(now.context, now.policies, self._measured, self._approves)

    # -- ticks ---------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._alive_s = time.monotonic()
        if self._survives(self.core.beat):
            share = self.core.share
            for budget in self.core.generations.now.context.budgets.values():
                budget.share = share

    def _tick(self) -> None:
        """Hand what is due to the threads. A full pool leaves the rest to other ticks, and to nobody else."""

        def taken() -> None:
            while self.core.at[1] < TASKS and (run := self.core.take()) is not None:
                self._tasks.submit(self._survives, partial(self.core.run, run))

        self._survives(taken, of="tick")
        self._wake.set()

    def _look(self) -> None:
        self._survives(self.core.look)
        self._wake.set()

    def _measure(self) -> None:
        def shown() -> None:
            with self.core.generations.using() as now:
                self._measured = measure(now.context)
                if self.core.leading and now.settings.notify:
                    note(now.context, self._measured)
            self.meters.show(self._measured)

        self._survives(shown)
        give_back()

    def _deliver(self) -> None:
        """What receivers are still to be told, one after the other, beside all work; a stop leaves the rest."""

        def sent() -> None:
            with self.core.generations.using() as now:
                while not self.core.draining and deliver(now.context, os.environ, self.core.tell):
                    pass

        self._survives(sent)

    def _approve(self) -> None:
        self._survives(self.core.carry_out)
        self._wake.set()

    def _spool(self) -> None:
        """What was read through storaged on this machine. Other daemons have spools of their own."""

        def counted() -> None:
            settings = self.core.settings
            ingest_spool(
                self.core.catalog, settings.state_dir, now_us=self.core.clock.now_us(), half_life_us=settings.half_life
            )

        self._survives(counted)

    def _survives(self, what: Callable[[], object], *, of: str = "beat") -> bool:
        """Whether it went well. A catalog that cannot be reached is said once, and tried again at the next tick: what
        goes wrong stays so until `of`, a regular tick, goes well. (Others may: a full disk can be read.)"""
        try:
            what()
        except StoragedError as error:
            with self._lock:
                known = error.message in self._unwell.values()
                self._unwell[of] = error.message
            if not known:
                self.core.tell(events.Waits(error.message))
            return False
        except Exception as error:  # noqa: BLE001  a fault of ours in one tick must not end the others
            self.core.tell(events.Faulted(error))
            return False
        with self._lock:
            over = of in self._unwell and len(self._unwell) == 1
            self._unwell.pop(of, None)
        if over:
            self.core.tell(events.Waits(self.core.problem))
        return True

    def _run_jobs(self, number: int) -> None:
        """One of the threads that run jobs: `number` is how many others come before it."""
        while not self.core.draining:
            if self._gate.refusal(number) is not None or not self._survives_step():
                self._wake.wait(self.core.settings.daemon.poll / SECOND)
                self._wake.clear()

    def _survives_step(self) -> bool:
        """One job. Whether to look for another at once."""
        found = False

        def step() -> None:
            nonlocal found
            found = self.core.step()

        return self._survives(step) and found

    # -- the main thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until SIGTERM or SIGINT. A second one does not wait for what runs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGHUP, self._asked_to_reload)
        self.web.start()
        self.core.tell(events.Started(self.core.name, f"{self.web.host}:{self.web.port}"))
        self._beat()
        self._look()
        self._start()
        self.notifier.ready(self._words())
        try:
            while not self._stop_asked:
                self._turn.wait(self._pause_s())
                self._turn.clear()
                if self._reload_asked:
                    self._reload_asked = False
                    self._reload()
                self._sign()
        finally:
            self.notifier.stopping()
            self._end()

    def _start(self) -> None:
        daemon = self.core.settings.daemon
        self._every(daemon.lease / SECOND / 3, self._beat)
        self._every(daemon.poll / SECOND, self._tick)
        self._every(LOOK_S, self._look)
        self._every(MEASURE_S, self._measure)
        self._every(DELIVER_S, self._deliver)
        self._every(APPROVE_S, self._approve)
        crontab = CronTrigger.from_crontab(daemon.ingest, timezone="UTC")
        self._ticking.add_job(self._ticks_once, crontab, [self._spool])
        self._ticking.start()
        threading.Thread(target=self._ticks_once, args=(self._measure,), name="measure", daemon=True).start()
        self._watch.start()
        self._man()

    def _every(self, seconds: float, what: Callable[[], None]) -> None:
        self._ticking.add_job(self._ticks_once, "interval", [what], seconds=seconds)

    def _ticks_once(self, what: Callable[[], None]) -> None:
        """One tick, which is waited for where this process ends; after that none begins."""
        with self._lock:
            if self._over:
                return
            self._ticks += 1
        try:
            what()
        finally:
            with self._lock:
                self._ticks -= 1

    def _man(self) -> None:
        """A thread for each job that may run at a time. The gate holds back those that a reload made too many."""
        while len(self._runners) < self.core.settings.daemon.jobs:
            number = len(self._runners)
            runner = threading.Thread(target=self._run_jobs, args=(number,), name=f"job-{number}", daemon=True)
            self._runners.append(runner)
            runner.start()

    def _pause_s(self) -> float:
        return min(5.0, self.notifier.watchdog_s or 5.0)

    def _sign(self) -> None:
        well, _ = self._healthy()
        if well:
            self.notifier.watchdog()
        self.notifier.status(self._words())

    def _words(self) -> str:
        jobs, runs = self.core.at
        _, why = self._ready()
        held = f"; {held}" if (held := self._gate.allows().reason) else ""
        broken = "; the configuration on disk is broken, the one before runs" if self.core.broken else ""
        return f"{why}{', leads' if self.core.leading else ''}: {jobs} jobs, {runs} tasks{held}{broken}"

    def _reload(self) -> None:
        self.notifier.reloading(time.monotonic_ns() // 1_000)
        self._survives(self.core.reload)
        self._gate = self._new_gate()
        self._man()
        self._look()
        self.notifier.ready(self._words())

    def _changed(self) -> None:
        self._reload_asked = True
        self._turn.set()

    def _asked_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._changed()

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked += 1
        self._turn.set()

    def _at_work(self) -> bool:
        """Whether something still runs, or is just being claimed by a thread that does not know yet of the end."""
        return any(self.core.at) or any(runner.is_alive() for runner in self._runners)

    def _end(self) -> None:
        """Wait for what runs, up to a bound; then give it back and go. Threads that do not notice end with the process:
        whatever they were writing is a discarded attempt's by then."""
        self._watch.stop()
        self._survives(self.core.drain)
        until = time.monotonic() + self.core.settings.daemon.drain / SECOND
        while self._at_work() and time.monotonic() < until and self._stop_asked < 2:
            self._wake.set()
            self._turn.wait(0.2)
            self._sign()
        if any(self.core.at):
            self._survives(self.core.abandon)
            until = time.monotonic() + LAST_WORDS_S
            while any(self.core.at) and time.monotonic() < until:
                self._turn.wait(0.1)
        with self._lock:
            self._over = True
        self._ticking.shutdown(wait=False)
        until = max(until, time.monotonic() + LAST_WORDS_S)
        while self._ticks and time.monotonic() < until and self._stop_asked < 2:
            self._turn.wait(0.1)
            self._sign()
        self.core.engine.close()
        self._survives(self.core.depart)
        self.web.stop()
        self.left_behind = any(self.core.at) or self._ticks > 0
        if not self.left_behind:
            self._tasks.shutdown()
            for runner in self._runners:
                runner.join(LAST_WORDS_S)
            self.core.generations.close()
        self.core.tell(events.Stopped(self.core.name, self.left_behind))
