"""A command in a process of its own, and what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Final

BIN: Final = Path(sys.executable).parent
# A small process between: ru_maxrss outlives exec, so what a large one starts would begin with the peak of that.
_MEASURE: Final = """
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a program took: seconds of wall, of processor, and peak memory in MiB."""

    wall: float
    cpu: float
    memory: float


def run(
    command: Sequence[str],
    *,
    out: IO[bytes],
    err: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Raises subprocess.CalledProcessError."""
    given = dict(os.environ if environment is None else environment)
    given.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled; here each start would do it anew
    read, write = os.pipe()
    with open(read, "rb") as told:
        begun = perf_counter()
        between = [sys.executable, "-S", "-c", _MEASURE, str(write), *command]
        try:
            subprocess.run(between, stdout=out, stderr=err, env=given, pass_fds=[write], check=True)
        finally:
            os.close(write)
        wall = perf_counter() - begun
        cpu, memory = map(float, told.read().split())
    return Cost(wall, cpu, memory / 1024)
