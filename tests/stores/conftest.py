"""A directory as a store, and what tests of it need."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.stores.base import Skipped
from storaged.stores.local import LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root.as_uri())


@pytest.fixture
def nobodys_root() -> Iterator[Path]:
    """A root in a place that every user can reach, owned by the one that `as_nobody` becomes."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights inside; everybody else has none to lose."""
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody")
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(nobody.pw_gid)
    os.seteuid(nobody.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def skipped(store: LocalStore, prefix: str = "") -> dict[str, str]:
    """Key and reason of everything that a listing reports as skipped."""
    return {entry.key: entry.reason for entry in store.list(prefix) if isinstance(entry, Skipped)}


def files_below(root: Path) -> list[str]:
    """The relative paths of everything below a directory that is no directory."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
