"""Mounts that no path tells of: what is seen twice belongs to one dataset, and nobody moves another's marker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.lake import Lake

Bind = Callable[[Path, Path], None]


@pytest.fixture
def bind() -> Iterator[Bind]:
    """Mounts a directory at another path as well."""
    points: list[Path] = []

    def mount(place: Path, point: Path) -> None:
        point.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "--bind", place, point], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this needs a machine where we may mount: {done.stderr.decode().strip()}")
        points.append(point)

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", point], check=True)


def names(lake: Lake) -> set[str]:
    rows = lake.good(
        "sql",
        "SELECT d.name AS dataset, o.name FROM objects o JOIN datasets d ON d.id = o.dataset_id"
        " WHERE o.raw_state <> 'absent'",
        "--format",
        "json",
    ).json
    return {f"{row['dataset']}:{row['name']}" for row in rows}


def two(lake: Lake) -> None:
    """A second dataset, `other`."""
    text = lake.config.read_text()
    lake.config.write_text(text + f'  other: {{root: "file://{lake.place}/other", readers: storaged}}\n')
    lake.policy(
        "policies:\n"
        "- {name: a, target: {dataset: lake}, when: {size_over: 0}, to: {tier: cold, codec: zstd}}\n"
        "- {name: b, target: {dataset: other}, when: {size_over: 0}, to: {tier: cold, codec: zstd}}\n"
    )


def move_all(lake: Lake) -> None:
    lake.config.write_text(lake.config.read_text().replace("grace: 7d", "grace: 0s"))
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    lake.good("sweep", "--yes")


def test_a_folder_that_is_the_root_of_another_dataset_is_that_ones(lake: Lake, bind: Bind) -> None:
    lake.write("a.csv", "sub/b.csv")
    bind(lake.root / "sub", lake.place / "other")
    two(lake)
    refused = lake.ctl("config", "check")
    assert refused.code != 0
    assert "datasets.other.root" in refused.err
    assert "show the same by a mount" in refused.err
    lake.good("catalog", "create")
    lake.good("scan")
    assert names(lake) == {"lake:a.csv", "other:b.csv"}
    move_all(lake)
    assert (lake.root / "sub/.storaged/claim.json").exists()
    lake.good("scan")
    assert lake.good("cat", "other/b.csv").out.count("the same words") == 2_000


def test_a_root_that_is_mounted_in_another_one_later_is_left_out_from_then_on(lake: Lake, bind: Bind) -> None:
    (lake.place / "other").mkdir()
    lake.write("a.csv")
    two(lake)
    lake.good("catalog", "create")
    (lake.place / "other/b.csv").write_text("x" * 5_000)
    bind(lake.place / "other", lake.root / "sub")
    lake.good("scan")
    assert names(lake) == {"lake:a.csv", "other:b.csv"}


def test_what_was_known_as_this_datasets_is_the_others_once_that_is_its_root(lake: Lake, bind: Bind) -> None:
    lake.fill("a.csv", "sub/b.csv", "sub/deep/c.csv")
    bind(lake.root / "sub", lake.place / "other")
    two(lake)
    lake.good("scan")
    assert names(lake) == {"lake:a.csv", "other:b.csv", "other:deep/c.csv"}


def test_a_folder_of_another_root_that_is_mounted_in_this_one_stays_the_others(lake: Lake, bind: Bind) -> None:
    """Neither root is seen in the other one, only a part of it."""
    (lake.place / "other/deep").mkdir(parents=True)
    (lake.place / "other/deep/b.csv").write_text("x" * 5_000)
    lake.write("a.csv")
    bind(lake.place / "other/deep", lake.root / "view")
    two(lake)
    assert lake.ctl("config", "check").code != 0
    lake.good("catalog", "create")
    assert "mounted from a place that belongs elsewhere" in lake.good("scan", "--json").out
    assert names(lake) == {"lake:a.csv", "other:deep/b.csv"}
    move_all(lake)
    assert lake.good("cat", "other/deep/b.csv").out == "x" * 5_000


@pytest.mark.parametrize("whole", [False, True], ids=["a folder", "the root itself"])
def test_what_a_root_shows_twice_is_one_object(lake: Lake, bind: Bind, *, whole: bool) -> None:
    lake.write("a.csv", "sub/b.csv")
    bind(lake.root if whole else lake.root / "sub", lake.root / "sub2")
    lake.good("catalog", "create")
    lake.good("scan")
    assert names(lake) == {"lake:a.csv", "lake:sub/b.csv"}


def test_a_disk_that_is_mounted_in_a_root_is_a_part_of_it(lake: Lake, bind: Bind) -> None:
    lake.write("a.csv")
    (lake.place / "disk").mkdir()
    (lake.place / "disk/b.csv").write_text("x")
    bind(lake.place / "disk", lake.root / "disk")
    assert lake.good("config", "check").code == 0
    lake.good("catalog", "create")
    lake.good("scan")
    assert names(lake) == {"lake:a.csv", "lake:disk/b.csv"}


def test_markers_at_any_depth_are_no_objects_and_stay(lake: Lake) -> None:
    """A copy of another root, with all that storaged wrote there."""
    lake.write("a.csv", "copy/b.csv", "copy/.storaged/claim.json", "copy/.storaged/tmp/x", "copy/.storaged-not/c.csv")
    lake.good("catalog", "create")
    told = lake.good("scan", "--json").out
    assert "storaged's own file" in told
    assert names(lake) == {"lake:a.csv", "lake:copy/b.csv", "lake:copy/.storaged-not/c.csv"}


def test_a_marker_that_an_earlier_version_took_for_an_object_is_none_any_more(lake: Lake) -> None:
    lake.fill("a.csv", "copy/b.csv")
    marker = lake.root / "copy/.storaged/claim.json"
    marker.parent.mkdir()
    marker.write_text("{}")
    (lake.root / "copy/b.csv").rename(lake.root / "copy/away.csv")
    os.utime(lake.root / "copy/away.csv", (1_700_000_000, 1_700_000_000))
    import sqlite3

    with sqlite3.connect(lake.place / "catalog.db") as catalog:
        catalog.execute("UPDATE objects SET name = 'copy/.storaged/claim.json' WHERE name = 'copy/b.csv'")
    catalog.close()
    lake.good("scan")
    assert names(lake) == {"lake:a.csv", "lake:copy/away.csv"}
    assert marker.exists()


def test_a_folder_that_is_bound_onto_itself_is_seen_once_and_stays_the_datasets(lake: Lake, bind: Bind) -> None:
    lake.write("a.csv", "sub/b.csv")
    lake.good("catalog", "create")
    lake.good("scan")
    bind(lake.root / "sub", lake.root / "sub")  # as one does to make it read-only
    lake.good("config", "check")
    found = lake.good("scan")
    assert "skipped" not in found.err
    assert names(lake) == {"lake:a.csv", "lake:sub/b.csv"}
    lake.policy("name: a\ntarget: {dataset: lake}\nwhen: {size_over: 0}\nto: {tier: cold, codec: zstd}\n")
    move_all(lake)
    assert (lake.root / "sub/b.csv").exists()
    assert "sub/ is a mount of its own below the root" in lake.good("explain", "lake/sub/b.csv").out
