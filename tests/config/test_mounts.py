"""Which places show the same files though no path tells so."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.checks import mount_problems
from storaged.config.yaml import read_document
from storaged.mounts import mounts, trees

TABLE = r"""22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 8:2 / /data rw - ext4 /dev/sdb1 rw
31 22 8:2 /sub /export rw - ext4 /dev/sdb1 rw
32 22 8:2 /other /mnt/with\040space rw - ext4 /dev/sdb1 rw
33 30 8:3 / /data/disk rw - ext4 /dev/sdc1 rw
34 22 8:1 /srv/x /view rw - ext4 /dev/sda1 rw
35 22 8:4 / /twice rw - ext4 /dev/sdd1 rw
36 35 8:5 / /twice rw - ext4 /dev/sde1 rw
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/data/sub", [("8:2", "/sub", "/data/sub")]),
        ("/data", [("8:2", "/", "/data"), ("8:3", "/", "/data/disk")]),
        ("/export/a", [("8:2", "/sub/a", "/export/a")]),
        ("/mnt/with space/a", [("8:2", "/other/a", "/mnt/with space/a")]),
        ("/srv/x", [("8:1", "/srv/x", "/srv/x")]),
        ("/twice", [("8:5", "/", "/twice")]),
        ("/database", [("8:1", "/database", "/database")]),
    ],
)
def test_a_path_is_a_directory_of_a_filesystem_and_what_is_mounted_below(path, found):
    assert [(t.device, str(t.top), str(t.seen)) for t in trees(path, mounts(TABLE))] == found


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("/data", "/export", True),
        ("/export", "/data", True),
        ("/data/sub/deep", "/export", True),
        ("/data/subway", "/export", False),
        ("/export", "/mnt/with space", False),
        ("/data/disk", "/data2", False),
        ("/srv", "/view", True),
        ("/srv/y", "/view", False),
        ("/data/elsewhere", "/export", False),
    ],
)
@pytest.mark.parametrize("what", ["roots", "tier"])
def test_places_that_show_the_same_files_are_a_problem_with_line_and_name(tmp_path: Path, one, other, meet, what):
    file = tmp_path / "storaged.yaml"
    first = f'tiers:\n  hot: {{rank: 0, url: "file://{one}"}}\n'
    if what == "roots":
        first = f'tiers:\n  hot: {{rank: 0, url: "file:///hot"}}\ndatasets:\n  d: {{root: "file://{one}"}}\n'
    second = f'  e: {{root: "file://{other}"}}\n'
    file.write_text(first + ("" if what == "roots" else "datasets:\n") + second)
    found = list(mount_problems(read_document(file), mounts(TABLE)))
    assert bool(found) is meet
    for problem in found:
        assert problem.path == "datasets.e.root"
        assert problem.line == len(file.read_text().splitlines())
        assert "by a mount" in problem.message


def test_what_the_paths_tell_is_said_once(tmp_path: Path):
    file = tmp_path / "storaged.yaml"
    file.write_text('tiers: {}\ndatasets:\n  d: {root: "file:///data"}\n  e: {root: "file:///data/sub"}\n')
    assert list(mount_problems(read_document(file), mounts(TABLE))) == []


def test_a_system_without_such_a_table_has_no_such_problem():
    assert list(trees("/data", [])) == []
