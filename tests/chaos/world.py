"""Three tiers and two roots, a daemon as a process and commands beside it, and the story of all that was done."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.chaos import command
from tests.chaos.oracle import Oracle
from tests.chaos.places import DIRECTORY, Place, private
from tests.daemon.processes import PROGRAM, RUNNER, Process, Steering, free_port, wait_for

TIERS, ROOTS = ("hot", "warm", "cold"), ("alpha", "beta")
SPEED = 60.0  # of a steered clock
LEASE_S, LONG_S = 3.0, 600.0  # in the storm; at rest, where nobody may lose a lease on a slow machine
PATIENCE_S = 300.0
AT_ONCE = 2  # commands beside the daemon
INTERNAL = 70  # the exit code of a fault in storaged
POLICY = """\
name: {name}
target: {{dataset: {dataset}}}
when: {{size_over: 0}}
to: {{tier: {tier}, codec: {codec}}}
schedule: "* * * * *"
mode: active
limits: {{stop_on_error_rate: 100%}}
"""


class Database(Protocol):
    """Where the catalog of a round is."""

    url: str

    def lose(self) -> None:
        """The catalog is gone; an empty place for another is left."""


@dataclass
class Command:
    """One `storagectl` that runs, or ran."""

    arguments: tuple[str, ...]
    process: Any
    out: Path

    @property
    def said(self) -> str:
        return self.out.read_text(errors="replace") if self.out.exists() else ""


class World:
    """One round's machine. `kinds`: what each place is. `steered`: time runs faster for all of storaged."""

    def __init__(
        self, place: Path, database: Database, kinds: Mapping[str, str], *, steered: bool, chance: random.Random
    ) -> None:
        self.place = place
        self.database = database
        self.chance = chance
        self.oracle = Oracle()
        self.counts: Counter[str] = Counter()
        self.disturbed: set[str] = set()  # places that a fault has now
        self.commands: list[Command] = []
        self.daemons: list[Process] = []
        self.daemon: Process | None = None
        self._began = time.monotonic()
        self.told: list[str] = []
        self.complaints: list[str] = []
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.chaos.preload"])
        if any(kind != DIRECTORY for kind in kinds.values()):
            private(place)
        for name in ("policies", "spare", "user"):
            (place / name).mkdir()
        self.places = {name: Place(name, place / name, kinds[name], place / "spare") for name in (*TIERS, *ROOTS)}
        self.steering: Steering | None = None
        if steered:
            self.steering = Steering(place / "steering")
            self.steering.set(time.time_ns() // 1_000, speed=SPEED)
        self.config = place / "storaged.yaml"
        self._configure(LEASE_S)

    def _configure(self, lease_s: float) -> None:
        """Leases in seconds of the machine's clock, however fast storaged's runs."""
        pace = SPEED if self.steering else 1.0
        second = f"{pace:.0f}s"
        tiers = "".join(f'  {n}: {{rank: {i}, url: "file://{self.place}/{n}"}}\n' for i, n in enumerate(TIERS))
        roots = "".join(f'  {n}: {{root: "file://{self.place}/{n}", tier: hot, readers: storaged}}\n' for n in ROOTS)
        minute = '"* * * * *"'
        self.config.write_text(
            f"catalog: {self.database.url}\nstate_dir: state\ngrace: {second}\nquiet_for: 0s\n"
            f"late_put_window: {3 * pace:.0f}s\ntiers:\n{tiers}datasets:\n{roots}"
            f"workers: {{threads: 2, lease: {lease_s * pace:.0f}s}}\n"
            f"limits: {{stop_on_error_rate: 100%}}\n"
            f"daemon:\n  listen: 127.0.0.1:{free_port()}\n  poll: 200ms\n  retry: {second}\n"
            f"  lease: {lease_s * pace:.0f}s\n"
            f"  scan: {minute}\n  sweep: {minute}\n"
            f'  verify: {{schedule: "*/5 * * * *", sample: 20%}}\n'
        )
        for dataset, tier, codec in (("alpha", "cold", "zstd"), ("beta", "warm", "identity")):
            made = POLICY.format(name=f"out-{dataset}", dataset=dataset, tier=tier, codec=codec)
            (self.place / f"policies/out-{dataset}.yaml").write_text(made)

    # -- the story -----------------------------------------------------------------------------------------------------

    def tell(self, what: str) -> None:
        """A line of the story, with its time in seconds."""
        self.told.append(f"{time.monotonic() - self._began:8.3f} {what}")
        with (self.place / "story").open("a") as file:
            file.write(self.told[-1] + "\n")

    # -- the daemon ----------------------------------------------------------------------------------------------------

    def starts(self) -> None:
        """Start the daemon, if none runs."""
        if self.runs():
            return
        log = self.place / f"log{len(self.daemons)}"
        if self.steering:
            line: tuple[str, ...] = (*RUNNER, str(self.config), str(self.steering.place))
        else:
            line = (*PROGRAM, "--config", str(self.config), "run", "--log", "json")
        self.daemon = Process(line, log)
        self.daemons.append(self.daemon)
        self.tell(f"the daemon starts as {self.daemon.pid}")

    def runs(self) -> bool:
        if self.daemon is not None and (code := self.daemon.process.poll()) is not None:
            last = self.daemon.log.read_text().strip().splitlines()[-1:]
            self.tell(f"the daemon had ended by itself with {code}: {''.join(last)[:300]}")
            self.counts["daemons that gave up"] += 1
            self.daemon = None
        return self.daemon is not None

    def is_awake(self) -> bool:
        """Whether the daemon has come up, or has given that up."""
        return not self.runs() or (self.daemon is not None and bool(self.daemon.said("started")))

    def comes_up(self) -> None:
        """Start the daemon, if none runs, and wait until it is at work."""
        self.starts()
        wait_for(self.is_awake, "the daemon comes up", patience_s=PATIENCE_S)
        assert self.daemon is not None, self.told[-1]

    def pauses(self) -> None:
        """SIGSTOP, if it runs: it sleeps through its lease."""
        if self.runs() and self.daemon is not None:
            self.daemon.signal(signal.SIGSTOP)
            self.tell("the daemon is paused")

    def wakes(self) -> None:
        """SIGCONT to all that may be paused."""
        if self.runs() and self.daemon is not None:
            self.daemon.signal(signal.SIGCONT)
        for one in self.commands:
            with suppress(ProcessLookupError):  # it has just ended
                if one.process.exitcode is None:
                    os.kill(one.process.pid, signal.SIGCONT)

    def dies(self) -> bool:
        """SIGKILL; False if none runs."""
        if not self.runs() or self.daemon is None:
            return False
        self.daemon.dies()
        assert self.daemon.process.returncode == -signal.SIGKILL, "it ended by itself"
        self.daemon = None
        self.counts["kills"] += 1
        self.tell("the daemon is killed")
        return True

    def stops(self) -> bool:
        """SIGTERM, and it ends in good order; False if none runs."""
        self.wakes()
        if not self.runs() or self.daemon is None:
            return False
        self.daemon.signal(signal.SIGTERM)
        code = self.daemon.ends(PATIENCE_S)
        self.tell(f"the daemon stops with {code}")
        early = code == -signal.SIGTERM and not self.daemon.said("started")  # it did not listen yet
        assert code == 0 or early, self.daemon.log.read_text()[-3_000:]
        self.daemon = None
        return True

    def rests(self) -> None:
        """Nothing of storaged runs: as somebody leaves it who takes a disk out, or a machine that lost its power."""
        if self.chance.random() < 0.5:
            self.stops()
        else:
            self.dies()
        self.waits()

    # -- commands ------------------------------------------------------------------------------------------------------

    def launches(self, *arguments: str) -> Command:
        """Start a command."""
        out = self.place / f"out{self.counts['commands']}"
        self.counts["commands"] += 1
        clock = str(self.steering.place / "clock") if self.steering else ""
        process = self._processes.Process(
            target=command.work, args=(str(self.config), clock, str(out), list(arguments)), daemon=True
        )
        process.start()
        made = Command(arguments, process, out)
        self.commands.append(made)
        self.tell(f"{out.name}: storagectl {' '.join(arguments)}")
        return made

    def ends(self, command: Command) -> int:
        """Its exit code, when it has ended; what may never be is a failure."""
        command.process.join(PATIENCE_S)
        code = command.process.exitcode
        assert code is not None, f"storagectl {command.arguments} does not end: {command.said[-2_000:]}"
        self.commands.remove(command)
        self.tell(
            f"{command.out.name}: exit {code}"
            + ("" if command.arguments[:1] == ("cat",) else f": {command.said.strip()[-240:]!r}")
        )
        assert code != INTERNAL, f"a fault in storaged {command.arguments}: {command.said[-2_000:]}"
        assert "Traceback" not in command.said, f"{command.arguments}: {command.said[-4_000:]}"
        command.process.close()
        return int(code)

    def has_room(self) -> bool:
        """Whether another command may be started. Looks after those that ended."""
        for one in list(self.commands):
            if one.process.exitcode is not None:
                self.ends(one)
        return len(self.commands) < AT_ONCE

    def waits(self) -> None:
        """For all commands."""
        self.wakes()
        for one in list(self.commands):
            self.ends(one)

    def ctl(self, *arguments: str, good: tuple[int, ...] = (0,)) -> Command:
        """Run a command to its end, which must be one of `good`."""
        done = self.launches(*arguments)
        code = self.ends(done)
        assert code in good, f"storagectl {' '.join(arguments)} exits with {code}:\n{done.said[-3_000:]}"
        return done

    # -- the end -------------------------------------------------------------------------------------------------------

    def recovers(self) -> None:
        """With every place back, a daemon comes to its feet by itself."""
        self.comes_up()
        time.sleep(1.5)
        assert self.runs(), self.told[-1]

    def heard_no_fault(self) -> list[str]:
        """Complaints about what daemons logged."""
        return [
            f"{daemon.log.name} tells of a fault in storaged: {line}"
            for daemon in self.daemons
            for line in daemon.said("fault in storaged")[:1]
        ]

    def calms(self) -> None:
        """Time goes its own pace, and leases are long."""
        self._configure(LONG_S)
        if self.steering:
            self.steering.set(self.steering.now_us())

    def pass_time(self) -> None:
        """Until every grace is over; and, where the clock is steered, every lease of those that died."""
        if self.steering:
            self.steering.advance(2 * LONG_S * SPEED)
        else:
            time.sleep(1.5)

    def close(self) -> None:
        """End what still runs."""
        for one in self.commands:
            one.process.kill()
            one.process.join()
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                os.kill(daemon.pid, signal.SIGCONT)
                daemon.dies()

    def keep(self) -> None:
        """What mounts hold, into plain directories: they will be gone."""
        kept = self.place / "kept"
        kept.mkdir(exist_ok=True)
        for place in self.places.values():
            place.keep(kept)
