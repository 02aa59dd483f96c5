"""A command in a process of its own, and what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PROGRAM: Final = (sys.executable, "-c", "from storaged.cli import main; main()")
AIMS: Final = {"plan": 10.0, "explain": 0.3, "status": 0.3}  # seconds at ten million objects


def run(*words: str, config: Path, program: Sequence[str] = PROGRAM) -> tuple[float, float, float, str]:
    """Seconds, those of the processor, MiB of memory at most, and what a command prints."""
    with tempfile.TemporaryFile("w+") as out:
        begin = time.perf_counter()
        child = subprocess.Popen([*program, *words], stdout=out, env=os.environ | {"STORAGED_CONFIG": str(config)})
        _, status, used = os.wait4(child.pid, 0)
        took = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
        out.seek(0)
        return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read()


def show(name: str, config: Path, *words: str, about: str = "") -> str:
    """Run a command and print what it took."""
    took, cpu, memory, out = run(*words, config=config)
    aim = f"aim {AIMS[words[0]]} s" if words[0] in AIMS else ""
    print(f"{name:34} {took:8.2f} s  cpu {cpu:8.2f} s  {memory:7.0f} MiB  {aim} {about}", flush=True)
    return out
