"""Lives of packs: many objects in one blob, each of which is undone, removed, held and ejected by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import blobs, objects, replicas
from storaged.catalog.schema_attempts import attempts
from storaged.model import BlobState
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.rewrite.pointers import hold_objects, remove_objects
from storaged.work.rewrite.returns import restage
from tests.life.stage import Stage, a_stage
from tests.life.world import noise, text

NAMES = tuple(f"dt=1/{number}.json" for number in range(6))


def content(name: str, size: int = 3_000) -> bytes:
    """What a member holds."""
    return text(name, size)


@pytest.fixture
def world(dialect: str, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with a_stage(dialect, clock, request) as made:
        yield made


@pytest.fixture
def packed(world: Stage) -> Stage:
    """Six objects in one pack of the cold tier, their sources in grace."""
    for name in NAMES:
        world.write(name, content(name))
    world.scan()
    report = world.pack(*NAMES)
    assert (report.done, report.skipped, report.failed) == (6, 0, 0)
    return world


@pytest.fixture
def released(packed: Stage) -> Stage:
    """The same, its sources released."""
    packed.days(8)
    assert packed.sweep().sources == 6
    return packed


def rows(world: Stage) -> list[str]:
    """The states of all blobs."""
    with world.catalog.read() as conn:
        return list(conn.execute(sa.select(blobs.c.state).order_by(blobs.c.id)).scalars())


def all_read(world: Stage, *, but: tuple[str, ...] = ()) -> None:
    """Every member has its content, and of each pack so much counts as somebody's as is."""
    with world.catalog.read() as conn:
        theirs = sa.select(sa.func.coalesce(sa.func.sum(replicas.c.length), 0)).where(replicas.c.blob_id == blobs.c.id)
        query = sa.select(blobs.c.live_bytes, theirs.scalar_subquery()).where(blobs.c.packed_bytes > 0)
        assert all(live == found for live, found in conn.execute(query))
    assert {n: world.read(n) for n in NAMES if n not in but} == {n: content(n) for n in NAMES if n not in but}


def test_a_pack_is_one_blob_and_each_object_answers_to_its_name(packed: Stage) -> None:
    [(key, stored)] = packed.stored("cold").items()
    assert key.startswith("lake/0001.")
    assert key.endswith(".tar.zst")
    all_read(packed)
    with packed.catalog.read() as conn:
        [blob] = conn.execute(sa.select(blobs)).all()
        shares = list(conn.execute(sa.select(objects.c.stored_bytes)).scalars())
        assert conn.execute(sa.select(sa.func.count()).select_from(attempts)).scalar_one() == 0
    assert (blob.size, blob.packed_bytes, blob.codec) == (len(stored), 6 * 3_000, "pack")
    assert max(shares) - min(shares) <= 1  # alike
    assert sum(shares) == blob.size
    packed.days(8)
    swept = packed.sweep()
    assert (swept.sources, swept.blobs, swept.errors) == (6, 0, [])
    assert [packed.raw(name) for name in NAMES] == [None] * 6
    assert packed.scan().vanished == 0
    all_read(packed)


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar")
def test_a_pack_is_a_tar_that_tar_unpacks(packed: Stage, tmp_path: Path) -> None:
    [(_, stored)] = packed.stored("cold").items()
    (tmp_path / "pack.tar.zst").write_bytes(stored)
    to = tmp_path / "out"
    to.mkdir()
    import zstandard

    with zstandard.open(tmp_path / "pack.tar.zst", "rb", dctx=zstandard.ZstdDecompressor()) as source:
        data = source.read()
    done = subprocess.run(["tar", "-x", "-C", str(to)], input=data, capture_output=True, check=True)
    assert done.stderr == b""
    assert {n: (to / n).read_bytes() for n in NAMES} == {n: content(n) for n in NAMES}


# MUST 17
def test_the_last_member_takes_the_key_with_it_and_no_other(released: Stage) -> None:
    """Whatever one does, the others' content stays: their only copy is in the same blob."""
    gone = NAMES[:-1]
    for name in gone:
        assert remove_objects(released.context, targets.pages(released.context, f"lake/{name}")).refused == []
    released.days(8)
    swept = released.sweep()
    assert (swept.blobs, swept.errors) == (0, [])
    assert released.read(NAMES[-1]) == content(NAMES[-1])
    with released.catalog.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(replicas)).scalar_one() == 1
    remove_objects(released.context, targets.pages(released.context, f"lake/{NAMES[-1]}"))
    released.days(8)
    swept = released.sweep()
    assert (swept.blobs, swept.errors) == (1, [])
    assert swept.freed_bytes > 0
    assert released.stored("cold") == {}
    assert rows(released) == []


@pytest.mark.on_sqlite
def test_undo_of_one_leaves_the_others(packed: Stage) -> None:
    assert packed.undo(f"lake/{NAMES[0]}").refused == []
    packed.sweep()
    packed.days(8)
    swept = packed.sweep()
    assert (swept.sources, swept.blobs, swept.errors) == (5, 0, [])
    assert packed.raw(NAMES[0]) == content(NAMES[0])
    all_read(packed)


@pytest.mark.on_sqlite
def test_undo_of_all_clears_the_pack(packed: Stage) -> None:
    assert len(packed.undo("lake").done) == 6
    assert packed.sweep().blobs == 1
    assert packed.stored("cold") == {}
    all_read(packed)


@pytest.mark.on_sqlite
def test_an_overwritten_member_leaves_and_the_others_stay(released: Stage) -> None:
    released.write(NAMES[2], b"new")
    released.scan()
    assert released.read(NAMES[2]) == b"new"
    released.days(400)
    assert released.sweep().errors == []
    all_read(released, but=(NAMES[2],))
    assert released.read(NAMES[2]) == b"new"


# MUST 17
@pytest.mark.on_sqlite
def test_a_held_member_holds_the_key_and_nobody_else(released: Stage) -> None:
    """The others may leave; its bytes stay, with the key."""
    for name in NAMES:
        remove_objects(released.context, targets.pages(released.context, f"lake/{name}"))
    hold_objects(released.context, targets.pages(released.context, f"lake/{NAMES[3]}"), "a court")
    released.days(8)
    swept = released.sweep()
    assert (swept.blobs, swept.held_back) == (0, {"held": 1})
    assert len(released.stored("cold")) == 1
    with released.catalog.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(replicas)).scalar_one() == 1
    hold_objects(released.context, targets.pages(released.context, f"lake/{NAMES[3]}"), None)
    assert released.sweep().blobs == 1


def test_an_ejected_dataset_is_as_it_was(released: Stage) -> None:
    report = released.eject()
    assert (report.done, report.failed, report.skipped) == (6, 0, 0)
    assert [released.raw(name) for name in NAMES] == [content(name) for name in NAMES]
    released.days(8)
    assert released.sweep().blobs == 1
    assert released.stored("cold") == {}


@pytest.mark.on_sqlite
def test_a_member_is_restaged_by_itself(released: Stage) -> None:
    restage(released.context, targets.pages(released.context, f"lake/{NAMES[1]}"), "hot", reason="test")
    assert released.work().done == 1
    released.days(8)
    assert released.sweep().errors == []
    assert list(released.stored("hot").values()) == [content(NAMES[1])]
    assert len(released.stored("cold")) == 1
    all_read(released)


def test_who_changes_meanwhile_drops_out_alone(world: Stage) -> None:
    """Before it is opened: by its identity. One that is gone likewise."""
    for name in NAMES:
        world.write(name, content(name))
    world.scan()
    world.enqueue_pack(NAMES)
    world.write(NAMES[0], b"new")
    world.delete(NAMES[1])
    report = world.work()
    assert (report.done, report.skipped, report.failed) == (4, 2, 0)
    world.scan()
    assert (world.read(NAMES[0]), world.read(NAMES[1])) == (b"new", None)
    all_read(world, but=NAMES[:2])
    [stored] = world.stored("cold").values()
    assert b"new" not in stored


@pytest.mark.on_sqlite
def test_one_with_too_much_beside_its_bytes_is_left_where_it_is(world: Stage) -> None:
    """No listing tells of that: it is known when it is read."""
    for name in NAMES:
        world.write(name, content(name))
    for part in range(3):
        os.setxattr(world.place / "lake" / NAMES[2], f"user.part{part}", bytes(60_000))
    world.scan()
    report = world.pack(*NAMES)
    assert (report.done, report.skipped, report.failed) == (5, 1, 0)
    assert [note for _, note in report.notes] == ["it has more than 128 KiB beside its bytes: it is not packed"]
    assert world.seen(NAMES[2]).placement.current is None
    all_read(world)


def test_one_that_is_left_over_is_not_packed(world: Stage) -> None:
    for name in NAMES[:2]:
        world.write(name, content(name))
    world.scan()
    world.enqueue_pack(NAMES[:2])
    world.write(NAMES[0], b"new")
    report = world.work()
    assert (report.done, report.skipped) == (0, 2)
    assert world.stored("cold") == {}
    world.days(8)
    world.sweep()
    assert world.leftovers() == []


def test_large_and_empty_members_and_odd_names(world: Stage) -> None:
    contents = {
        "a/empty": b"",
        "a/large.bin": noise("large", 9 << 20),
        "a/new\nline": b"x" * 700,
        "a/Case": b"upper",
        "a/case": b"lower",
        "z/" + "n" * 200: b"long",
    }
    for name, data in contents.items():
        world.write(name, data)
    world.scan()
    assert world.pack(*contents).done == len(contents)
    world.days(8)
    assert world.sweep().sources == len(contents)
    assert {name: world.read(name) for name in contents} == contents


def test_a_rebuilt_catalog_has_the_members_of_the_journal_only(world: Stage) -> None:
    """Who dropped out is nobody's in the pack, though its bytes may be there: what a pack says gives no place."""
    for name in NAMES:
        world.write(name, content(name))
    world.scan()
    world.pack(*NAMES)
    world.undo(f"lake/{NAMES[0]}")
    world.days(8)
    world.sweep()
    world.delete(NAMES[0])
    before = {n: world.seen(n).placement.replicas for n in NAMES}
    world.is_rebuilt()
    for name in NAMES[1:]:
        assert world.read(name) == content(name)
        assert world.seen(name).placement.replicas == before[name]
    assert world.read(NAMES[0]) is None
    assert world.sweep().errors == []  # it leaves once more: that nobody told the journal
    all_read(world, but=NAMES[:1])
    with world.catalog.read() as conn:
        [blob] = conn.execute(sa.select(blobs)).all()
    assert (blob.state, blob.packed_bytes, blob.live_bytes) == (BlobState.LIVE.value, 6 * 3_000, 5 * 3_000)
