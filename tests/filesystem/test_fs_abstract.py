"""fsspec's own tests of what a filesystem is, those for reading, on a lake whose objects are compressed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from tests.filesystem.lake import Lake

BULK = ["file1", "file2", "subdir/subfile1", "subdir/subfile2", "subdir/nesteddir/nestedfile"]
GLOBS = ["file1", "file2"] + [
    f"subdir{n}/{name}" for n in (0, 1) for name in ("subfile1", "subfile2", "nesteddir/nestedfile")
]


@pytest.fixture
def dialect() -> str:
    """fsspec gets the same answers from both databases: test_fs_read.py and test_fs_list.py ask both."""
    return "sqlite"


class TestGet(AbstractGetTests, AbstractFixtures):  # type: ignore[misc]  # fsspec has no types
    @pytest.fixture
    def fs(self, lake: Lake) -> Any:
        return lake.fs

    @pytest.fixture
    def fs_path(self) -> str:
        return "lake"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def local_path(self, tmp_path: Path) -> str:
        return str(tmp_path / "local")

    @pytest.fixture
    def local_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @staticmethod
    def source(lake: Lake, contents: dict[str, bytes]) -> str:
        lake.add({f"source/{name}": content for name, content in contents.items()})
        lake.move(*[f"source/{name}" for name in contents])
        return "lake/source"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, lake: Lake) -> str:
        return self.source(lake, dict.fromkeys(BULK, b""))

    @pytest.fixture
    def fs_glob_edge_cases_files(self, lake: Lake) -> str:
        return self.source(lake, dict.fromkeys(GLOBS, b""))

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, lake: Lake) -> str:
        return self.source(lake, dict.fromkeys(["subdir/subfile.txt", "subdir.txt"], b""))

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, lake: Lake) -> str:
        return self.source(
            lake, {f"{md5(b'%d' % n, usedforsecurity=False).hexdigest()}.txt": b"%d" % n for n in range(10)}
        )

    @pytest.mark.parametrize("slash", ["", "/"])
    def test_get_directory_recursive(self, lake: Lake, tmp_path: Path, slash: str) -> None:
        """The original writes its source through the filesystem; the rest is as there."""
        lake.add({"src/file": b"x"})
        target = tmp_path / "target"
        lake.fs.get("lake/src" + slash, str(target), recursive=True)
        assert sorted(p.name for p in target.rglob("*")) == ["file"]
        lake.fs.get("lake/src" + slash, str(target), recursive=True)
        again = [] if slash else ["src", "src/file"]
        assert sorted(str(p.relative_to(target)) for p in target.rglob("*")) == ["file", *again]
