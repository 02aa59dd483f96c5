"""How much memory this process took at most."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def peak_bytes() -> int:
    """The largest resident memory since this program began, in bytes (VmHWM of proc_pid_status(5); so on Linux only).

    Not `ru_maxrss`: that outlives exec(2), so a program that a large process starts would begin with the peak of that.
    """
    (line,) = (line for line in _STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
