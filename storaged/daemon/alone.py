"""One daemon on an SQLite catalog: a file lock that ends with its process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storaged.catalog.engine import parse_url
from storaged.config.settings import Settings
from storaged.errors import CatalogLocked
from storaged.work.context import ALONE


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the lock while the block runs. On Postgres there is none: any number of daemons share a catalog.

    Raises CatalogLocked where another daemon works with this catalog.
    """
    where = parse_url(settings.catalog)
    if where.get_backend_name() != "sqlite":
        yield
        return
    path = Path(str(where.database) + ALONE)  # never the catalog's own file: closing that would drop SQLite's locks
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CatalogLocked(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = os.pread(file, 100, 0).decode(errors="replace").strip() or "unknown"
            raise CatalogLocked(
                f"another daemon works with the catalog {settings.catalog} (process {who})",
                hint="an SQLite catalog has one daemon; several share a Postgres catalog",
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)  # the file stays: removing it would let two daemons lock two files
