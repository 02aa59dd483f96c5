"""What the reader of the demo sees: headings, real commands with their output, and checks that hold or end it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from demo.files import CATALOG
from storaged.catalog.sql import run_sql
from storaged.clock import SystemClock
from storaged.errors import StoragedError

_BIN: Final = Path(sys.executable).parent  # the environment's commands, whatever PATH says
_OWN: Final = ("STORAGED_CONFIG", "STORAGED_CATALOG_PASSWORD", "STORAGED_CATALOG_PASSWORD_FILE")


class DemoFailed(Exception):
    """A command or a check did not end as it should."""


class Terminal:
    """Runs commands in `place` and tells of them. Colours only on a terminal; rich sees to $NO_COLOR."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.checks = 0
        self._clock = SystemClock()
        self._console = Console(force_terminal=sys.stdout.isatty(), highlight=False, soft_wrap=True)
        self._steps = 0
        self._env = {name: value for name, value in os.environ.items() if name not in _OWN} | {
            "PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        }

    # -- words -------------------------------------------------------------------------------------------------------

    def say(self, text: str = "", style: str = "") -> None:
        """One line, as it is."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def step(self, title: str, about: str) -> None:
        """The heading of a step, and what it is about."""
        self._steps += 1
        self.say()
        self.say(f"== {self._steps}. {title}", "bold cyan")
        self.say(about)

    def check(self, holds: bool, claim: str) -> None:
        """Something that must be so. Raises DemoFailed if it is not."""
        if not holds:
            raise DemoFailed(f"this does not hold: {claim}")
        self.checks += 1
        self.say(f"  ok  {claim}", "green")

    def show(self, text: str, lines: int) -> None:
        """Output of a command: its first lines, cut at the width of the terminal."""
        shown = text.expandtabs().rstrip("\n").split("\n") if text.strip() else []
        width = self._console.width - 4 if self._console.is_terminal else None
        for line in shown[:lines]:
            self.say("    " + (line if width is None or len(line) <= width else line[: width - 1] + "…"))
        if len(shown) > lines:
            self.say(f"    … {len(shown) - lines} more lines", "dim")

    # -- commands ----------------------------------------------------------------------------------------------------

    def run(self, *command: str, lines: int = 12, code: int = 0) -> str:
        """Run a command, show its first lines and return its stdout. Raises DemoFailed for another exit code.

        stderr goes where ours goes, so that a terminal shows the progress bars; of what shall fail, it is shown here.
        """
        self.say(f"$ {shlex.join(command)}", "bold")
        began = time.perf_counter()
        errors = subprocess.STDOUT if code else None
        ran = subprocess.run(  # noqa: S603  our own words
            command, cwd=self.place, env=self._env, stdout=subprocess.PIPE, stderr=errors, text=True, check=False
        )
        self.show(ran.stdout, lines)
        self.say(f"    ({time.perf_counter() - began:.1f} s)", "dim")
        if ran.returncode != code:
            raise DemoFailed(f"`{shlex.join(command)}` ended with {ran.returncode}, not {code}")
        return ran.stdout

    def storagectl(self, *arguments: str, lines: int = 12, code: int = 0) -> str:
        """As `run`, of storagectl."""
        return self.run("storagectl", *arguments, lines=lines, code=code)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Rows of the catalog for a check, as `storagectl sql` has them, which are not shown."""
        try:
            with run_sql(f"sqlite:///{self.place / CATALOG}", query) as answer:
                return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        except StoragedError as error:
            raise DemoFailed(f"the catalog does not answer: {error.message}") from error

    def kill_when(self, command: Sequence[str], ready: Callable[[], bool], *, seconds: float) -> int:
        """Start a command and SIGKILL it as soon as `ready` says so; returns its exit code.

        Raises DemoFailed if it ends by itself first, or nothing happens for that many seconds.
        """
        self.say(f"$ {shlex.join(command)}", "bold")
        until = time.perf_counter() + seconds
        with subprocess.Popen(command, cwd=self.place, env=self._env, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  our own words
            try:
                while not ready():
                    self._clock.sleep(0.005)
                    if process.poll() is not None:
                        raise DemoFailed(f"`{shlex.join(command)}` ended before it could be killed")
                    if time.perf_counter() > until:
                        raise DemoFailed(f"`{shlex.join(command)}` did not begin to write in {seconds:.0f} s")
            finally:
                process.kill()
            return process.wait()
