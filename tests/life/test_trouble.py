"""What goes wrong around a copy: full and lying disks, users who write at the worst moment, strange names, giants."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.errors import PermissionDenied, RootEmpty, StoreError, StoreFull, StoreUnavailable
from storaged.model import CodecSpec, JobState
from storaged.stores.base import Store
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work import targets
from storaged.work.doctor.verify import verify
from storaged.work.rewrite.stage import AT_ONCE
from tests.life.world import PLAIN, ZSTD, World, noise, text


def only(world: World, folder: str, faults: Faults) -> Callable[[Store], Store]:
    """Wrap the store of one place of the world."""
    return lambda store: FaultyStore(store, faults) if store.url.endswith(f"/{folder}") else store


# MUST 1
def test_a_full_disk_leaves_nothing_behind_and_the_job_is_tried_again(world: World) -> None:
    content = text("a", 2 * AT_ONCE)  # what is smaller is written at once
    world.write("a.csv", content)
    world.scan()
    faults = Faults(Fault("write", 2, StoreFull("no space left", key="a.csv")))
    world.enqueue(["a.csv"], "cold")
    report = world.work(world.new_context(wrap=only(world, "cold", faults)))
    faults.assert_all_hit()
    assert (report.failed, list(report.jobs.values())) == (1, [JobState.QUEUED])
    assert report.notes[0][1] == "no space left"
    assert world.raw("a.csv") == content
    assert world.read("a.csv") == content
    assert world.stored("cold") == {}
    assert world.leftovers() == []
    world.days(0.01)
    assert world.work().done == 1


def test_a_store_that_does_not_answer_is_tried_again_later(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    faults = Faults(Fault("commit", 1, StoreUnavailable("try later", key="a.csv")))
    world.enqueue(["a.csv"], "cold")
    report = world.work(world.new_context(wrap=only(world, "cold", faults)))
    faults.assert_all_hit()
    assert list(report.jobs.values()) == [JobState.QUEUED]
    world.days(0.01)
    assert world.work().done == 1
    assert world.read("a.csv") == text("a")


# MUST 4
@pytest.mark.parametrize("codec", [PLAIN, ZSTD], ids=str)
def test_a_disk_that_lies_is_caught_by_the_proof(world: World, codec: CodecSpec) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    faults = Faults(Fault("write", 1, damage=lambda data: bytes([data[0] ^ 1]) + data[1:]))
    world.enqueue(["a.csv"], "cold", codec)
    report = world.work(world.new_context(wrap=only(world, "cold", faults)))
    faults.assert_all_hit()
    assert report.failed == 1
    assert "is not what was sent" in report.notes[0][1]
    assert world.read("a.csv") == text("a")


MOMENTS = {
    "while it is copied": ("cold", "create"),
    "after it was stored": ("cold", "commit"),
    "after it was proven": ("cold", "read_at"),
}


# MUST 5
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("act", ["overwritten", "same size", "deleted", "replaced by a directory"])
def test_a_source_that_its_user_touches_in_mid_job_keeps_the_users_state(world: World, moment: str, act: str) -> None:
    world.write("a.csv", text("old"))
    world.write("b.csv", text("b"))
    world.scan()
    new = {"overwritten": text("new", 30_000), "same size": text("new")}.get(act)
    folder, method = MOMENTS[moment]
    if world.context.tier(folder).traits.checksums and method == "read_at":
        method = "commit"  # its proof is part of it
    done = []

    def touch(called: str, _key: str) -> None:
        if called == method and not done:
            done.append(called)
            if new is not None:
                world.write("a.csv", new)
            else:
                world.delete("a.csv")
                if act == "replaced by a directory":
                    world.places.by_name["lake"].make_directory("a.csv")

    world.enqueue(["a.csv"], "cold")
    report = world.work(world.new_context(wrap=only(world, folder, Faults(after=touch))))
    assert done
    assert report.done == 0
    for _ in range(3):
        world.scan()
        world.days(8)
        world.sweep()
    assert world.read("a.csv") == new
    assert world.raw("a.csv") == new
    assert world.stored("cold") == {}
    assert world.leftovers() == []


def test_new_bytes_written_between_the_last_look_and_the_release_are_never_deleted(world: World) -> None:
    world.write("a.csv", text("old"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    done = []

    def touch(called: str, key: str) -> None:
        if called == "delete" and key == "a.csv":
            done.append(called)
            world.write("a.csv", text("new"))

    world.sweep(world.new_context(wrap=only(world, "lake", Faults(before=touch))))
    assert done
    assert world.raw("a.csv") == text("new")
    world.scan()
    assert world.read("a.csv") == text("new")


# MUST 7
def test_a_truncated_blob_is_found_by_verify_and_stops_the_release(world: World) -> None:
    world.write("a.csv", text("a"))
    world.write("b.csv", text("b"))
    world.scan()
    world.migrate("a.csv", "b.csv")
    [key] = [k for k in world.stored("cold") if k.startswith("lake/a.")]
    os.truncate(world.place / "cold" / key, 100)
    found = verify(world.context, targets.pages(world.context, "lake"), chance=random.Random(1))
    assert [name for name, _ in found.damaged] == ["lake/a.csv"]
    assert found.checked == 2
    world.days(8)
    swept = world.sweep()
    assert swept.sources == 1  # b only
    assert world.raw("a.csv") == text("a")
    assert world.undo("lake/a.csv").done == ["lake/a.csv"]
    assert world.read("a.csv") == text("a")


def test_a_blob_whose_bytes_rot_is_found_even_if_its_identity_stays(world: World) -> None:
    world.write("a.bin", noise("a"))
    world.scan()
    world.migrate("a.bin", codec=PLAIN)
    faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))
    context = world.new_context(wrap=only(world, "cold", faults))
    found = verify(context, targets.pages(context, "lake"), chance=random.Random(1))
    assert "digest" in found.damaged[0][1]
    world.days(8)
    assert world.sweep().held_back == {"damaged: see `storagectl verify`": 1}
    assert verify(world.context, targets.pages(world.context, "lake"), chance=random.Random(1)).healed == 1
    assert world.sweep().sources == 1


STRANGE = [
    "with space.csv",
    "..hidden.csv",
    "dir/...csv",
    "new\nline.csv",
    "tab\tand%percent.csv",
    "emoji 🦆/é.csv",
    "quote'\".csv",
    "back\\slash.csv",
    "n" * 255,
    "deep/" * 30 + "x" * 250,
    "-dash",
    "*star?[a].csv",
    "con:colon",
    "trailing.",
    "control\x01\x7f",
]


# MUST 2
def test_strange_names_are_moved_read_and_brought_back_exactly(world: World) -> None:
    contents = {name: text(name, 3_000) for name in STRANGE}
    for name, content in contents.items():
        world.write(name, content)
    assert world.scan().added == len(STRANGE)
    assert world.migrate(*STRANGE).done == len(STRANGE)
    world.days(8)
    assert world.sweep().sources == len(STRANGE)
    assert {n: world.read(n) for n in STRANGE} == contents
    for key in world.stored("cold"):
        assert all(len(part.encode()) <= 255 for part in key.split("/"))
        assert "\n" not in key
    assert world.eject().done == len(STRANGE)
    assert {n: world.raw(n) for n in STRANGE} == contents


def test_names_that_are_not_utf8_links_and_pipes_are_reported_and_left_alone(world: World) -> None:
    world.write("a.csv", text("a"))
    with open(os.fsencode(world.root) + b"/bad\xff.json", "wb") as bad:  # or a file with references
        bad.write(b"x")
    outside = world.place / "outside.txt"
    outside.write_bytes(b"of somebody else")
    (world.root / "link").symlink_to(outside)
    os.mkfifo(world.root / "pipe")
    found = world.scan()
    assert (found.added, found.skipped) == (1, 3)
    assert {s.reason for s in found.skipped_samples} == {
        "name is not UTF-8",
        "symbolic link leading out of the root",
        "named pipe",
    }
    assert world.scan().skipped == 3
    assert world.migrate("a.csv").done == 1, "what lies beside them is moved"
    assert outside.read_bytes() == b"of somebody else"


@pytest.mark.parametrize("codec", [PLAIN, ZSTD], ids=str)
def test_an_object_of_no_bytes_lives_the_same_life(world: World, codec: CodecSpec) -> None:
    world.write("empty.csv", b"")
    world.scan()
    assert world.migrate("empty.csv", codec=codec).done == 1
    world.days(8)
    assert world.sweep().sources == 1
    assert world.read("empty.csv") == b""
    assert world.eject().done == 1
    assert world.raw("empty.csv") == b""


def test_our_own_files_are_never_taken_for_objects(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    again = world.scan()
    assert (again.seen, again.added, again.skipped) == (1, 0, 0)


def test_a_root_that_lost_most_of_its_objects_must_be_confirmed(world: World) -> None:
    names = [f"d{i}/x.csv" for i in range(60)]
    for name in names:
        world.write(name, b"x")
    world.write("kept.csv", b"x")
    world.scan()
    for name in names:
        world.delete(name)
    with pytest.raises(RootEmpty, match="60 of 61"):
        world.scan()
    assert world.seen("d3/x.csv").placement.exists
    assert world.scan(confirm_empty=True).vanished == 60


# MUST 3
@pytest.mark.campaign
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)  # the copy is the same on both, and it takes a while
def test_a_sparse_object_of_5_gib_moves_in_under_300_mib_of_memory(world: World, catalog_url: str) -> None:
    size = 5 << 30
    with open(world.root / "giant.img", "wb") as giant:
        giant.truncate(size)
        giant.seek(size - 9)
        giant.write(b"the end.\n")
    world.scan()
    world.enqueue(["giant.img"], "cold")
    program = Path(__file__).with_name("giant.py")
    done = subprocess.run(
        [sys.executable, str(program), str(world.place / "storaged.yaml"), catalog_url, str(world.clock.now_us())],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    before, peak = map(int, done.stdout.split())
    assert peak < 300 << 20, f"{peak >> 20} MiB at the peak, {before >> 20} before the copy"
    assert world.seen("giant.img").placement.current is not None
    assert sum(map(len, world.stored("cold").values())) < 10 << 20


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("error", [PermissionDenied, StoreFull, StoreUnavailable])
def test_a_journal_that_takes_no_entry_is_named(world: World, error: type[StoreError]) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    faults = Faults(Fault("write_note", call=0, error=error("'journal/1.jsonl': not now")))
    context = world.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("hot") else s)
    with pytest.raises(error, match=r"the journal on .*hot takes no entry: 'journal/1.jsonl': not now"):
        world.undo("lake/a.csv", context)
    faults.assert_all_hit()
