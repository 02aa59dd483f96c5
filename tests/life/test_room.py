"""What comes back takes what it took: files with holes, and the room there is for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.errors import StoreFull
from storaged.model import JobState, Origin
from storaged.stores.base import New, Store
from storaged.stores.local import LocalStore
from storaged.stores.local_files import BUFFER, ZEROS
from storaged.stores.wrappers import StoreWrapper
from storaged.testing import Fault, Faults, FaultyStore
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.rewrite.jobs import JobsSummary, what_ran
from storaged.work.rewrite.returns import to_root
from tests.life.world import PLAIN, World, noise

MINE = "0123456789abcdef0123456789abcdef"
MIB = 1 << 20


class Cramped(StoreWrapper):
    """A root with so many bytes free."""

    def __init__(self, store: Store, free: int) -> None:
        super().__init__(store)
        self.free = free

    def free_bytes(self) -> int:
        return self.free


def cramped(world: World, free: int) -> Context:
    root = world.root.as_uri()
    return world.new_context(wrap=lambda s: Cramped(s, free) if s.url == root else s)


def taken(path: Path) -> int:
    return path.stat().st_blocks * 512


def sparse(path: Path, size: int, *written: tuple[int, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in written:
            file.seek(at)
            file.write(data)


HOLED = {
    "one block": (20 * MIB, [(MIB + 1, b"boot")]),
    "only a hole": (8 * MIB, []),
    "a hole at its end": (8 * MIB, [(0, noise("a", 9_000))]),
    "a hole at its beginning": (8 * MIB, [(8 * MIB - 3, b"end")]),
    "no whole block": (4_095, []),
    "blocks here and there": (16 * MIB, [(n * 3 * MIB + n, noise(str(n), 5_000)) for n in range(5)]),
    "around the buffer": (4 * MIB, [(BUFFER - 2, b"four"), (2 * BUFFER - 4_096, noise("b", 8_192))]),
}


# MUST 12
@pytest.mark.parametrize("name", HOLED)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_file_comes_home_with_its_holes(name: str, world: World) -> None:
    size, written = HOLED[name]
    path = world.root / "vm.img"
    sparse(path, size, *written)
    before, content = taken(path), path.read_bytes()
    world.scan()
    assert world.migrate("vm.img").done == 1
    world.days(8)
    swept = world.sweep()
    assert (swept.sources, swept.freed_bytes) == (1, min(before, size))
    assert world.eject().done == 1
    assert path.read_bytes() == content
    assert taken(path) <= before + 8_192  # the tag of ours may take a block
    assert world.read("vm.img") == content


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_file_without_holes_is_counted_whole(world: World) -> None:
    content = noise("a", 3 * MIB)
    world.write("a.bin", content)
    world.scan()
    assert world.migrate("a.bin", codec=PLAIN).done == 1
    world.days(8)
    assert world.sweep().freed_bytes == len(content)
    assert world.eject().done == 1
    assert world.raw("a.bin") == content


def test_what_is_written_to_a_tier_is_written_whole(tmp_path: Path) -> None:
    store = LocalStore(tmp_path.as_uri())
    for name, metadata in (("blob", None), ("original", {"mode": "0644"})):
        with store.create(name, New(MINE, metadata=metadata)) as upload:
            for part in (b"x" * 5_000, bytes(MIB), b"y", bytes(3 * MIB)):
                upload.write(part)
            upload.commit(Origin("", MINE, "", "", 0, ""), metadata=metadata)
        assert (tmp_path / name).read_bytes() == b"x" * 5_000 + bytes(MIB) + b"y" + bytes(3 * MIB)
    assert taken(tmp_path / "blob") > taken(tmp_path / "original")
    assert taken(tmp_path / "original") <= 64 * len(ZEROS)


def released(world: World, *names: str) -> None:
    for name in names:
        world.write(name, noise(name, 100_000))
    world.scan()
    assert world.migrate(*names).done == len(names)
    world.days(8)
    assert world.sweep().sources == len(names)


# MUST 12
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_only_what_has_room_is_asked_back_and_the_rest_says_why(world: World) -> None:
    released(world, "a", "b", "c")
    made = to_root(cramped(world, 250_000), targets.pages(world.context, "lake"), reason="eject")
    assert made.objects == 2
    [(name, why)] = made.left_out
    assert name == "lake/c"
    assert "no room at its root: it needs 100,000 bytes, and beside the others 50,000 are left" in why
    assert world.work().done == 2
    assert world.eject().done == 1


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_holes_need_no_room(world: World) -> None:
    sparse(world.root / "vm.img", 20 * MIB, (MIB, b"boot"))
    world.scan()
    world.migrate("vm.img")
    world.days(8)
    world.sweep()
    assert world.eject(context=cramped(world, MIB)).done == 1
    assert taken(world.root / "vm.img") < MIB


def ran_of(world: World, jobs: list[int]) -> JobsSummary:
    lease_us = world.context.settings.workers.lease
    return what_ran(world.catalog, jobs, now_us=world.context.now_us(), lease_us=lease_us)


# MUST 12
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_room_that_went_while_jobs_waited_is_seen_before_anything_is_written(world: World) -> None:
    released(world, "a")
    made = to_root(world.context, targets.pages(world.context, "lake"), reason="eject")
    report = world.work(cramped(world, 99_999))
    assert (report.done, report.jobs[made.jobs[0]]) == (0, JobState.QUEUED)
    ran = ran_of(world, made.jobs)
    assert ran.notes == [("lake/a", "pending", "a needs 100,000 bytes at its root, and 99,999 are free there")]
    assert world.leftovers() == []
    world.clock.advance(3_600)
    assert world.work().done == 1
    assert ran_of(world, made.jobs).notes == []


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_disk_that_fills_up_while_it_is_written_leaves_nothing_and_says_why(world: World) -> None:
    released(world, "a")
    made = to_root(world.context, targets.pages(world.context, "lake"), reason="eject")
    faults = Faults(Fault("write", 0, error=StoreFull("'a': no space left on device")))
    root = world.root.as_uri()
    world.work(world.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url == root else s))
    faults.assert_all_hit()
    assert ran_of(world, made.jobs).notes == [("lake/a", "pending", "'a': no space left on device")]
    assert world.leftovers() == []
    world.clock.advance(3_600)
    assert world.work().done == 1
