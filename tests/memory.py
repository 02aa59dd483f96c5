"""Directories in memory, where there is room: most tests are not about losing power, and fsync costs them the most."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SHARED: Final = Path("/dev/shm")
_ENOUGH: Final = 2 * 1024**3  # bytes: a container may have 64 MiB of it


@functools.cache
def base() -> Path | None:
    """Where to make directories in memory; None: where others are made."""
    usable = _SHARED.is_dir() and os.access(_SHARED, os.W_OK) and shutil.disk_usage(_SHARED).free > _ENOUGH
    return _SHARED if usable else None


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A directory in memory, or elsewhere where there is none."""
    with tempfile.TemporaryDirectory(dir=base(), prefix="storaged-") as name:
        yield Path(name)
