"""`storagectl` as processes of their own, forked from one that has everything loaded, by the clock of their daemon."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import storaged.cli.context
from storaged.cli.app import run
from tests.daemon.runner import SteeredClock


def work(config: str, clock: str, out: str, arguments: list[str]) -> None:
    """Run one command line, its output in a file. `apply` without a number makes a plan first and applies that.
    `clock`: the file that steers it; the machine's own if it is empty."""
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    if clock:
        vars(storaged.cli.context)["SystemClock"] = lambda: SteeredClock(Path(clock))
    if arguments == ["apply"]:
        arguments = _planned(config, out)
    code = run(["--config", config, *arguments]) if arguments else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _planned(config: str, out: str) -> list[str]:
    before = Path(out).stat().st_size
    code = run(["--config", config, "--json", "--quiet", "plan", "--active"])
    sys.stdout.flush()
    if code:
        os._exit(code)
    number = json.loads(Path(out).read_bytes()[before:])["plan"]
    return ["apply", str(number), "--yes"] if number else []
