"""Folders that nothing is in any more: removed up to the root, and nothing that is somebody's or was made meanwhile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.errors import PlaceAway
from storaged.stores.base import RESERVED, Deleted
from storaged.stores.local import LocalStore
from storaged.stores.local_walk import identity_of
from tests.stores.conftest import as_nobody

KEY = "dt=2026/hour=05/a.csv"


def released(root: Path, store: LocalStore, meanwhile: Callable[[], object] = lambda: None, key: str = KEY) -> int:
    """A file is there and is deleted; how many folders go with it."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    with store.above(key) as folders:
        assert store.delete(key, identity=identity_of(path.stat())) is Deleted.DELETED
        meanwhile()
        return folders.remove_empty()


def test_folders_that_are_empty_go_and_the_root_stays(root: Path, store: LocalStore) -> None:
    assert released(root, store) == 2
    assert [path.name for path in root.iterdir()] == [RESERVED]
    assert released(root, store, key="a.csv") == 0
    assert root.is_dir()


@pytest.mark.parametrize("left", ["b.csv", ".hidden", "folder/", "link"])
def test_a_folder_with_anything_in_it_stays(left: str, root: Path, store: LocalStore) -> None:
    folder = root / "dt=2026" / "hour=05"
    folder.mkdir(parents=True)
    if left.endswith("/"):
        (folder / left).mkdir()
    elif left == "link":
        (folder / left).symlink_to("nowhere")
    else:
        (folder / left).touch()
    assert released(root, store) == 0
    assert len(list(folder.iterdir())) == 1


def test_only_the_folders_above_go_up_to_one_that_holds_something(root: Path, store: LocalStore) -> None:
    (root / "dt=2026" / "hour=06").mkdir(parents=True)
    assert released(root, store) == 1
    assert [path.name for path in (root / "dt=2026").iterdir()] == ["hour=06"]


# MUST What a release leaves of folders
def test_a_folder_that_was_made_meanwhile_stays(root: Path, store: LocalStore) -> None:
    """It has the same name, and would have the same inode were the first not held open."""
    folder = root / "dt=2026" / "hour=05"

    def again() -> None:
        folder.rmdir()
        folder.mkdir()

    assert released(root, store, again) == 0
    assert folder.is_dir()


def test_a_folder_that_was_moved_stays(root: Path, store: LocalStore) -> None:
    folder, other = root / "dt=2026" / "hour=05", root / "kept"
    assert released(root, store, lambda: folder.rename(other)) == 0
    assert other.is_dir()


def test_a_link_in_its_place_is_not_followed(root: Path, store: LocalStore, tmp_path: Path) -> None:
    folder, elsewhere = root / "dt=2026" / "hour=05", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def exchanged() -> None:
        folder.rmdir()
        folder.symlink_to(elsewhere)

    assert released(root, store, exchanged) == 0
    assert folder.is_symlink()
    assert elsewhere.is_dir()


def test_a_file_that_comes_just_then_keeps_its_folder(root: Path, store: LocalStore) -> None:
    assert released(root, store, lambda: (root / "dt=2026" / "hour=05" / "new.csv").touch()) == 0


def test_where_we_may_not_remove_anything_it_is_no_error(root: Path, store: LocalStore) -> None:
    path = root / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    path.parent.parent.chmod(0o555)
    with store.above(KEY) as folders:
        path.unlink()
        with as_nobody():
            assert folders.remove_empty() == 0
    assert path.parent.is_dir()


# MUST What a release leaves of folders
@pytest.mark.parametrize("what", [["-t", "tmpfs", "none"], ["--bind", "."]], ids=["tmpfs", "bind"])
def test_what_something_is_mounted_on_stays(what: list[str], root: Path, store: LocalStore, tmp_path: Path) -> None:
    folder, disk = root / "dt=2026" / "hour=05", tmp_path / "disk"
    folder.mkdir(parents=True)
    disk.mkdir()
    command = ["mount", *(str(disk) if part == "." else part for part in what), str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (folder / "a.csv").write_bytes(b"x")
        with store.above(KEY) as folders:
            (folder / "a.csv").unlink()
            assert folders.remove_empty() == 0
        assert folder.is_mount() or folder.is_dir()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert folder.is_dir()


def test_what_is_not_there_has_no_folders(store: LocalStore) -> None:
    with store.above("gone/with/a.csv") as folders:
        assert folders.remove_empty() == 0


def test_folders_of_another_root_in_its_place_are_not_touched(root: Path, store: LocalStore) -> None:
    store.write_note("claim", b"ours", create_only=True)
    store.confirm("claim", lambda _note: None)
    root.rename(root.with_name("other"))
    (root / "dt=2026").mkdir(parents=True)
    with pytest.raises(PlaceAway), store.above("dt=2026/a.csv"):
        pass
