"""Daemons as processes, and how a test waits for what they say."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from storaged.clock import SECOND

PATIENCE_S = 240.0  # for what happens within seconds on a machine that has nothing else to do
REPOSITORY = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from storaged.cli import main; main()")
RUNNER = (sys.executable, str(Path(__file__).with_name("runner.py")))


def wait_for(what: Callable[[], Any], why: str = "", *, patience_s: float = PATIENCE_S) -> Any:
    """What `what` answers when that is true for the first time."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not happen: {why or what}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Process:
    """One daemon. Its log is read from a file."""

    def __init__(self, command: tuple[str, ...], log: Path, *, port: int = 0, **options: Any) -> None:
        self.log = log
        self.port = port
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=log.parent,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                **options,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"event": line, "level": "text"})
        return found

    def said(self, event: str, **facts: object) -> list[dict[str, Any]]:
        """Every line of an event with these facts."""
        return [x for x in self.lines() if x["event"] == event and all(x.get(k) == v for k, v in facts.items())]

    def hears(self, event: str, *, times: int = 1, patience_s: float = PATIENCE_S, **facts: object) -> dict[str, Any]:
        """The newest line of an event, once it was said so often."""
        try:
            wait_for(lambda: len(self.said(event, **facts)) >= times or self.process.poll() is not None, event,
                     patience_s=patience_s)  # fmt: skip
            return self.said(event, **facts)[times - 1]
        except (AssertionError, IndexError) as error:
            raise AssertionError(f"{event} {facts}: {error}\n{self.log.read_text()[-6000:]}") from error

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; (0, why) where nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (URLError, OSError) as error:
            return 0, str(error)

    def metric(self, name: str) -> float | None:
        """The value of a metric, its labels as they are written."""
        lines = self.get("/metrics")[1].splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), None)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(patience_s)

    def stops(self) -> int:
        """Ask it to stop, and wait."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.ends()

    def dies(self) -> None:
        self.process.kill()
        self.process.wait()

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


class Steering:
    """The files that a runner goes by."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.speed = 1.0
        self.set(time.time_ns() // 1_000)

    def set(self, now_us: int, *, speed: float = 1.0) -> None:
        """It is `now_us`, and time goes on from there."""
        self.speed = speed
        self._anchor, self._base = time.time_ns() // 1_000, now_us
        fresh = self.place / "fresh"
        fresh.write_text(f"{self._anchor} {self._base} {speed}")
        fresh.replace(self.place / "clock")

    def now_us(self) -> int:
        return self._base + round((time.time_ns() // 1_000 - self._anchor) * self.speed)

    def advance(self, seconds: float) -> None:
        self.set(self.now_us() + round(seconds * SECOND), speed=self.speed)

    @contextmanager
    def full(self, tier: str) -> Iterator[None]:
        """No room is left in a tier while the block runs."""
        flag = self.place / f"full-{tier}"
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()
