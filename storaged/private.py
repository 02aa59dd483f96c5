"""Files and directories for nobody but this user, whatever the umask; and who else may get at a path."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def opener(path: str, flags: int) -> int:
    """For `open(..., opener=)`: a file that is made is 0600; one that is there keeps its mode."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def make_directory(path: Path) -> None:
    """A directory of 0700, where there is none; what is missing above it is made as usual. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_file(path: Path) -> None:
    """An empty file of 0600, where there is none. Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def others(path: Path) -> frozenset[str]:
    """What everybody on this machine may do at a path: `read`, `write`, or `exchange` it for another, where a directory
    above it lets them. What is not there, or lies behind a directory that lets nobody pass, is nobody's."""
    real = Path(os.path.realpath(path))
    may: set[str] = set()
    try:
        for parent in reversed(real.parents):
            mode = os.stat(parent).st_mode
            if not mode & stat.S_IXOTH:
                return frozenset(may)
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                may.add("exchange")
        mode = os.stat(real).st_mode
    except OSError:
        return frozenset(may)
    if mode & stat.S_IROTH or (stat.S_ISDIR(mode) and mode & stat.S_IXOTH):
        may.add("read")
    if mode & stat.S_IWOTH:
        may.add("write")
    return frozenset(may)
