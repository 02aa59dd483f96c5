"""A blob is what its bytes say, whatever its inode is called by now; and the same content is the same generation."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.errors import (
    SourceChanged,
)
from storaged.model import IDENTITY, RawState
from storaged.work.recover.rebuild import reconcile
from tests.life.disks import METADATA, anew, one_blob, verified
from tests.life.stage import NAME, NEW, OLD, Stage
from tests.life.world import World, text


# MUST 16
@pytest.mark.parametrize("change", METADATA)
def test_a_blob_whose_inode_changed_and_whose_bytes_did_not_is_read_released_and_taken_over(
    lake: Stage, change: Callable[[Path], None]
) -> None:
    lake.due()
    change(one_blob(lake))
    assert lake.look() == OLD
    found = verified(lake)
    assert (found.checked, found.adopted, found.damaged) == (1, 1, [])
    assert verified(lake).adopted == 0
    lake.context = lake.new_context()
    assert lake.sweep().sources == 1
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD
    lake.days(8)
    assert lake.sweep().blobs == 1


# MUST 16
def test_a_tier_that_came_back_as_a_copy_serves_releases_and_lets_go(lake: Stage) -> None:
    lake.due()
    anew(lake.place / "cold")
    assert lake.sweep().sources == 1  # proved first
    lake.context = lake.new_context()
    assert lake.look() == OLD
    anew(lake.place / "cold")
    lake.migrate(NAME, tier="warm")
    lake.days(8)
    assert lake.sweep().blobs == 1  # deleted under the identity that it has now
    assert (lake.stored("cold"), lake.look()) == ({}, OLD)


# MUST 16
def test_what_a_verify_took_over_is_known_to_a_rebuilt_catalog_and_to_an_old_copy(lake: Stage) -> None:
    lake.released()
    copy = lake.databases.copy(lake.catalog)
    anew(lake.place / "cold")
    assert verified(lake).adopted == 1
    lake.is_rebuilt()
    assert verified(lake).adopted == 0
    lake.takes_over(copy())
    reconcile(lake.context)
    assert verified(lake).adopted == 0
    assert lake.look() == OLD


# MUST 16
@pytest.mark.parametrize("other", [NEW, OLD[:-1], OLD + b"x", b""])
def test_other_bytes_under_a_blobs_name_are_never_taken_for_it(lake: Stage, other: bytes) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", IDENTITY)
    lake.work()
    lake.days(8)
    path = one_blob(lake)
    path.unlink()
    path.write_bytes(other)
    assert lake.look() == "SourceChanged"
    assert [why[:28] for _, why in verified(lake).damaged] == ["it is not what was proven: l"]
    assert lake.sweep().sources == 0
    assert lake.raw(NAME) == OLD


# MUST 16
def test_a_blob_of_another_object_is_not_taken_over_though_it_is_whole(lake: Stage) -> None:
    """Names in a tier exchanged: each is a good blob of ours, and the wrong one."""
    lake.write(NAME, OLD)
    lake.write("b.csv", OLD)
    lake.scan()
    lake.migrate(NAME, "b.csv")
    first, second = (lake.place / "cold" / key for key in sorted(lake.stored("cold")))
    first.rename(first.with_name("x"))
    second.rename(first)
    first.with_name("x").rename(second)
    assert len(verified(lake).damaged) == 2
    with pytest.raises(SourceChanged, match="attempt"):
        lake.read(NAME)


# -- the same content at the original key --------------------------------------------------------------------------


# MUST 16
@pytest.mark.parametrize("change", METADATA[:3])
def test_a_change_of_metadata_is_no_new_generation(world: World, change: Callable[[Path], None]) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    before = world.seen("a.csv").placement
    change(world.root / "a.csv")
    found = world.scan()
    assert (found.touched, found.changed, found.reappeared) == (1, 0, 0)
    after = world.seen("a.csv").placement
    assert (after.generation, after.created_us) == (before.generation, before.created_us)
    assert world.scan().unchanged == len(list(world.root.glob("[!.]*")))
    world.enqueue(["a.csv"], "cold", allow_loss=frozenset({"links"}))
    assert world.work().done == 1  # under the identity that it has now


# MUST 16
def test_metadata_that_changes_in_grace_is_what_comes_back(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    (world.root / "a.csv").chmod(0o640)
    found = world.scan()
    p = world.seen("a.csv").placement
    assert (found.touched, p.generation, p.raw.state) == (1, 1, RawState.SUPERSEDED)
    world.days(8)
    assert world.sweep().sources == 1
    assert world.eject().done == 1
    assert stat.S_IMODE((world.root / "a.csv").stat().st_mode) == 0o640


def test_a_root_that_came_back_as_a_copy_keeps_what_waits_in_grace(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    anew(world.root)
    assert world.scan().touched == 1
    assert world.undo("lake/a.csv").done == ["lake/a.csv"]
    assert world.read("a.csv") == text("a")


# MUST 16
def test_a_replaced_file_of_the_same_size_and_time_is_a_new_generation(world: World) -> None:
    for moved in (False, True):
        name = f"{moved}.csv"
        world.write(name, text("a"))
        world.scan()
        if moved:
            world.migrate(name)
        was = (world.root / name).stat()
        world.write(name, text("b"))
        os.utime(world.root / name, ns=(was.st_atime_ns, was.st_mtime_ns))
        assert world.scan().changed == 1
        assert world.seen(name).placement.generation == 2
        assert world.read(name) == text("b")


# MUST 16
def test_a_file_rewritten_in_grace_with_its_time_put_back_is_a_new_generation(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    path = world.root / "a.csv"
    was = path.stat()
    with open(path, "r+b") as file:
        file.write(text("b"))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert world.scan().changed == 1
    assert world.read("a.csv") == text("b")
