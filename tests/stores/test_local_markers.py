"""A marker is read in bounds and as a regular file only: at a root others may put anything in its place."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.errors import StoreError, StoreUnavailable
from storaged.stores.base import RESERVED
from storaged.stores.local import LocalStore
from storaged.stores.notes import LARGEST_NOTE

NAME = "claim.json"


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the whole path may be too long for one
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def a_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: endless
    except PermissionError:
        pytest.skip("only root makes devices")


ODD: dict[str, Callable[[Path], object]] = {
    "named pipe": os.mkfifo,
    "socket": a_socket,
    "device": a_device,
    "directory": Path.mkdir,
    "symbolic link": lambda path: path.symlink_to("/dev/zero"),
    "symbolic link to a file": lambda path: path.symlink_to("/etc/passwd"),
    "dangling symbolic link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("how", ["read", "confirm"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_regular_file_is_refused_without_waiting(root: Path, store: LocalStore, kind: str, how: str) -> None:
    (root / RESERVED).mkdir()
    ODD[kind](root / RESERVED / NAME)
    seen: list[bytes | None] = []
    with pytest.raises(StoreError) as caught:
        seen.append(store.read_note(NAME)) if how == "read" else store.confirm(NAME, seen.append)
    assert not isinstance(caught.value, StoreUnavailable)
    assert NAME in caught.value.message
    assert seen == []


@pytest.mark.parametrize("how", ["read", "confirm"])
def test_a_huge_marker_is_not_read(root: Path, store: LocalStore, how: str) -> None:
    (root / RESERVED).mkdir()
    with (root / RESERVED / NAME).open("wb") as file:
        file.truncate(10 << 30)  # a hole: it takes no room on disk
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="10,737,418,240 bytes"):
            store.read_note(NAME) if how == "read" else store.confirm(NAME, lambda _data: None)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_marker_that_grows_while_it_is_looked_at_is_read_as_far_as_it_was(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_note(NAME, b"small", create_only=True)
    asked: list[int] = []
    real = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        asked.append(length)
        os.truncate(root / RESERVED / NAME, LARGEST_NOTE * 2)
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(StoreError):
        store.read_note(NAME)
    assert asked == [5]
