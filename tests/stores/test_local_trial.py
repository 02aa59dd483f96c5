"""What a filesystem lacks is found when a place is claimed, before anything is moved to it or deleted from it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storaged.catalog.facts import Identity
from storaged.errors import StoreError
from storaged.stores.local import LocalStore
from storaged.work.claims import Place, holder, take
from tests.cli.lake import Lake

ME = Identity("me", 1)
ROOT = Place("dataset", "lake")


def _refused(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def _copied(source: str, name: str, *, src_dir_fd: int, dst_dir_fd: int, **_: Any) -> None:
    """A second name that is another file, as some FUSE filesystems show it."""
    with open(os.open(source, os.O_RDONLY, dir_fd=src_dir_fd), "rb") as old:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(name, flags, 0o600, dir_fd=dst_dir_fd), "wb") as new:
            shutil.copyfileobj(old, new)


# MUST 13
@pytest.mark.parametrize("bare", [False, True], ids=["file", "attribute"])
@pytest.mark.parametrize(
    ("call", "does", "lacks"),
    [
        ("setxattr", _refused(errno.ENOTSUP), "keeps no extended attributes"),
        ("link", _refused(errno.EPERM), "makes no hard links"),
        ("link", _refused(errno.ENOSYS), "makes no hard links"),
        ("link", _copied, "tells another inode or ctime"),
    ],
)
def test_a_filesystem_that_lacks_what_writes_need_is_not_claimed(
    root: Path, monkeypatch: pytest.MonkeyPatch, bare: bool, call: str, does: Callable[..., None], lacks: str
) -> None:
    store = LocalStore(root.as_uri(), bare=bare)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, does)
        with pytest.raises(StoreError, match=lacks) as caught:
            take(store, ME, ROOT)
        assert str(root) in caught.value.message
    assert holder(store) is None
    take(store, ME, ROOT)  # mounted anew: nothing of the trial is in the way
    assert holder(store) == ME


@pytest.fixture
def without_attributes(tmp_path: Path) -> Iterator[Lake]:
    """A lake on a filesystem that has hard links and no extended attributes, as NFS before 4.2."""
    lake = Lake(tmp_path)
    done = subprocess.run(["mount", "-t", "ramfs", "none", lake.root], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this needs a machine where we may mount: {done.stderr.decode().strip()}")
    yield lake
    subprocess.run(["umount", lake.root], check=True)


def test_nothing_is_released_that_could_not_come_back(without_attributes: Lake) -> None:
    lake = without_attributes
    lake.configure(grace="0s")
    lake.write("a.csv")
    lake.make_catalog()
    assert "keeps no extended attributes" in lake.good("scan").err
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    assert "its root does not carry our claim" in lake.good("sweep", "--yes").out
    assert (lake.root / "a.csv").exists()
    assert "keeps no extended attributes" in lake.ctl("catalog", "claim", "dataset:lake", "--yes").err
    lake.good("eject", "lake", "--yes")
