"""A farm at which daemons work as processes, as a person on that machine sees it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import objects
from storaged.cli.app import run
from tests.daemon.farm import MIDNIGHT_US, Farm, Sundial
from tests.daemon.processes import PROGRAM, RUNNER, Process, Steering, free_port, wait_for


class Site(Farm):
    """A farm at which real daemons work. `steering` steers the clocks of those that `steered` starts."""

    def __init__(self, place: Path, url: str) -> None:
        self.port = free_port()
        super().__init__(place, open_catalog(url, wait_s=30), Sundial(MIDNIGHT_US))
        self.steering = Steering(place / "steering")
        self.steering.set(MIDNIGHT_US)
        self.processes: list[Process] = []

    def configure(self, *, daemon: str = "", lease: str = "3s", **more: str) -> None:
        lines = f"listen: 127.0.0.1:{self.port}\npoll: 200ms\n{daemon}"
        super().configure(daemon=lines, lease=lease, **more)

    def start(self, **options: object) -> Process:
        """`storaged run`, by the machine's clock."""
        command = (*PROGRAM, "--config", str(self.config), "run", "--log", "json")
        return self._started(command, **options)

    def steered(self, **options: object) -> Process:
        """The same by a clock of ours."""
        return self._started((*RUNNER, str(self.config), str(self.steering.place)), **options)

    def _started(self, command: tuple[str, ...], **options: object) -> Process:
        log = self.place / f"log{len(self.processes)}"
        self.processes.append(Process(command, log, port=self.port, **options))
        return self.processes[-1]

    def ready(self, process: Process) -> Process:
        wait_for(lambda: process.get("/readyz")[0] == 200 or process.process.poll() is not None, "ready")
        assert process.process.poll() is None, process.log.read_text()[-4000:]
        return process

    def ctl(self, *arguments: str) -> tuple[int, str]:
        """A command beside the daemon: its exit code and output."""
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            code = run(["--config", str(self.config), *arguments])
        return code, out.getvalue()

    def moved(self) -> int:
        return self.count(objects, objects.c.raw_state.in_(["superseded", "released"]))

    def leftovers(self) -> list[str]:
        found = (self.place / "cold" / ".storaged").rglob("*")
        return [str(p) for p in found if p.is_file() and p.parent.name in ("tmp", "aside") and p.name != "lock"]

    def close(self) -> None:
        for process in self.processes:
            process.dies()
        super().close()
        self.catalog.close()
