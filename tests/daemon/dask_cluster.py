"""A real Dask cluster: one process that schedules, and some that work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.daemon.processes import REPOSITORY, free_port, wait_for


class DaskCluster:
    """A scheduler and workers as processes of this machine."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: dict[int, subprocess.Popen[bytes]] = {}

    def schedules(self) -> None:
        """The scheduler, at the same address each time."""
        arguments = ("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-jupyter")
        self.scheduler = self._started("scheduler", *arguments)

    def works(self, threads: int = 1) -> subprocess.Popen[bytes]:
        """One more process that works."""
        arguments = ("worker", self.address, "--no-nanny", "--nthreads", str(threads), "--no-dashboard")
        made = self._started(f"worker{len(self.workers)}", *arguments, "--host", "127.0.0.1")
        self.workers[made.pid] = made
        return made

    def _started(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.place / f"{name}.log").open("ab") as out:
            return subprocess.Popen(
                (sys.executable, "-m", "dask", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.place,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            )

    def logs(self) -> str:
        return "\n".join(f"== {f.name}\n{f.read_text()[-3_000:]}" for f in sorted(self.place.glob("*.log")))

    def all_there(self) -> None:
        """All that were started have met."""
        wait_for(
            lambda: self.log_says("scheduler", "Register worker", len(self.workers)),
            "the workers of Dask registered",
        )

    def log_says(self, name: str, words: str, times: int) -> bool:
        return (self.place / f"{name}.log").read_text().count(words) >= times

    def schedules_no_more(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()

    def close(self) -> None:
        for process in (*self.workers.values(), *([self.scheduler] if self.scheduler else [])):
            if process.poll() is None:
                process.kill()
            process.wait()
