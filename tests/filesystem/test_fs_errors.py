"""What storaged:// refuses, and what its errors say."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storaged.errors import CatalogMissing, ConfigError, ObjectCold, UsageError
from storaged.filesystem import StoragedFileSystem
from storaged.oserrors import ColdObjectError
from storaged.stores.base import Reader
from storaged.stores.wrappers import StoreWrapper
from tests.filesystem.lake import Lake

CHANGES: list[Callable[[Any], object]] = [
    lambda fs: fs.open("lake/a.csv", "wb"),
    lambda fs: fs.open("lake/new.csv", "w"),
    lambda fs: fs.open("lake/a.csv", "ab"),
    lambda fs: fs.open("lake/a.csv", "xb"),
    lambda fs: fs.open("lake/a.csv", "r+b"),
    lambda fs: fs.pipe_file("lake/a.csv", b""),
    lambda fs: fs.pipe({"lake/a.csv": b""}),
    lambda fs: fs.write_text("lake/a.csv", ""),
    lambda fs: fs.touch("lake/a.csv"),
    lambda fs: fs.rm("lake", recursive=True),
    lambda fs: fs.rm_file("lake/a.csv"),
    lambda fs: fs.delete("lake/a.csv"),
    lambda fs: fs.mv("lake/a.csv", "lake/b.csv"),
    lambda fs: fs.rename("lake/a.csv", "lake/b.csv"),
    lambda fs: fs.copy("lake/a.csv", "lake/b.csv"),
    lambda fs: fs.cp_file("lake/a.csv", "lake/b.csv"),
    lambda fs: fs.put(__file__, "lake/b.csv"),
    lambda fs: fs.put_file(__file__, "lake/b.csv"),
    lambda fs: fs.mkdir("lake/b"),
    lambda fs: fs.makedirs("lake/b"),
    lambda fs: fs.rmdir("lake"),
]


@pytest.fixture
def dialect() -> str:
    """fsspec gets the same answers from both databases: test_fs_read.py and test_fs_list.py ask both."""
    return "sqlite"


def test_nothing_can_be_changed_through_it(lake: Lake) -> None:
    lake.add({"a.csv": b"a"})
    for change in CHANGES:
        with pytest.raises(PermissionError, match="for reading; `storagectl rm` deletes"):
            change(lake.fs)
    assert lake.fs.find("") == ["lake/a.csv"]
    assert lake.raw("a.csv") == b"a"


class _Cold(StoreWrapper):
    def open(self, key: str, *, identity: str | None = None) -> Reader:
        raise ObjectCold(f"{key!r} is in an archive class", key=key)


def test_a_cold_object_says_what_to_run(lake: Lake) -> None:
    lake.add({"a b.csv": b"a"}, "zstd")
    fs = lake.other_fs(_Cold)
    for read in (fs.open, fs.cat_file):
        with pytest.raises(ColdObjectError, match=r"archive class \(`storagectl warm 'lake/a b.csv'` asks"):
            read("lake/a b.csv")
    assert fs.info("lake/a b.csv")["size"] == 1


def test_a_slow_tier_is_not_warm(lake: Lake) -> None:
    lake.add({"a.csv": b"a", "b.csv": b"b"})
    lake.move("a.csv")
    lake.config.write_text(lake.config.read_text().replace("cold: {rank: 2,", "cold: {rank: 2, read_latency: 12h,"))
    assert [lake.fs.info(f"lake/{name}")["warm"] for name in ("a.csv", "b.csv")] == [False, True]


def test_a_missing_object_is_a_file_not_found_with_a_hint(lake: Lake) -> None:
    lake.add({"a.csv": b"a"})
    with pytest.raises(FileNotFoundError, match=r"no object 'b.csv' \(`storagectl scan lake`") as caught:
        lake.fs.open("lake/b.csv")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "lake/b.csv")


def test_a_root_or_tier_that_is_not_mounted_is_not_a_missing_object(lake: Lake) -> None:
    lake.add({"a.csv": b"a", "b.csv": b"b"})
    lake.move("a.csv")
    shutil.move(lake.root, lake.place / "elsewhere")
    shutil.move(lake.place / "cold", lake.place / "elsewhere2")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(OSError, match="no directory") as caught:
            lake.fs.cat_file(f"lake/{name}")
        assert not isinstance(caught.value, FileNotFoundError)
    with pytest.raises(OSError, match="no directory"):
        lake.fs.exists("lake/b.csv")


def test_a_catalog_that_is_gone_is_never_an_empty_listing(lake: Lake) -> None:
    lake.add({"a.csv": b"a"})
    _, rest = lake.config.read_text().split("\n", 1)
    lake.config.write_text(f"catalog: sqlite:///none.db\n{rest}")
    fs = lake.fs
    for ask in (fs.ls, fs.find, fs.glob, fs.exists, fs.isdir, fs.isfile, lambda path: list(fs.walk(path)), fs.cat):
        with pytest.raises(CatalogMissing) as caught:
            ask("lake/**" if ask == fs.glob else "lake")
        assert "storagectl catalog create" in "".join(caught.value.__notes__)


def test_a_missing_or_broken_configuration_says_so(tmp_path: Path) -> None:
    fs = StoragedFileSystem(str(tmp_path / "none.yaml"), skip_instance_cache=True)
    with pytest.raises(UsageError, match=r"none\.yaml"):
        fs.ls("")
    (tmp_path / "broken.yaml").write_text("tiers: 7\n")
    fs = StoragedFileSystem(str(tmp_path / "broken.yaml"), skip_instance_cache=True)
    with pytest.raises(ConfigError):
        fs.exists("lake/a.csv")
