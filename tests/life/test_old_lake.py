"""A lake that an earlier version made: blobs of format version 1, the attempt behind their names.

`old/lake.tar.xz` is one with its catalog, as the code left it that wrote version 1. Released: small.csv, frames.csv,
empty.csv and plain.txt, the first two stored as zstd. In grace: kept.csv. A worker had staged stays.csv and was killed.
Nothing rewrites any of it but what would have rewritten it then.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.engine import Catalog, create_catalog, open_catalog, upgrade_catalog
from storaged.catalog.schema import blobs, replicas
from storaged.codecs.seekable import read_table
from storaged.testing import FakeClock
from storaged.work.content import open_blob, open_current
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.release.strays import bury_strays
from tests.doctor.findings import checks, findings
from tests.life.disks import verified
from tests.life.world import World

NOW_US = 1_790_777_600_000_000  # when it was packed
SIZES = {"empty.csv": 0, "small.csv": 1_000, "frames.csv": 2 * 1024 * 1024 + 77, "plain.txt": 500, "kept.csv": 3_000}
SIZES["stays.csv"] = 100
RELEASED = ("empty.csv", "small.csv", "frames.csv", "plain.txt")


def content(name: str) -> bytes:
    lines = b"".join(b"%08d,of every line of its block,\n" % (n // 4096) for n in range(SIZES[name] // 32 + 1))
    return lines[: SIZES[name]]


def unpack(place: Path, *, attributes: bool) -> None:
    """As `tar` does, with its `--xattrs` or without."""
    with tarfile.open(Path(__file__).parent / "old" / "lake.tar.xz") as packed:
        packed.extraction_filter = lambda member, _: member  # ours; Python 3.11.2 knows no filters
        for member in packed:
            packed.extract(member, place)
            told = {k.removeprefix("SCHILY.xattr."): v for k, v in member.pax_headers.items() if ".xattr." in k}
            for name, value in told.items() if attributes else ():
                os.setxattr(place / member.name, name, value.encode())
            if member.isfile():
                os.utime(place / member.name, ns=(0, round(float(member.mtime) * 1_000_000) * 1_000))


Old = Callable[..., World]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Old]:
    """Makes the world of that lake: with its catalog brought up to this schema, or with one rebuilt from its places."""
    opened: list[Catalog] = []

    def make(*, rebuilt: bool, attributes: bool = True) -> World:
        unpack(tmp_path, attributes=attributes)
        url = f"sqlite:///{tmp_path}/catalog.db"
        if rebuilt:
            (tmp_path / "catalog.db").unlink()
            opened.append(create_catalog(url))
        else:
            upgrade_catalog(url)
            opened.append(open_catalog(url))
        world = World(tmp_path, opened[0], FakeClock(NOW_US))
        if rebuilt:
            lost = lost_catalog(world.context.tier("hot"))
            with world.catalog.begin() as conn:
                facts.put(conn, "catalog_id", lost.catalog)
                facts.put(conn, "epoch", str(lost.epoch))
            world.context = world.new_context()
            reconcile(world.context)
        world.scan()
        return world

    yield make
    for catalog in opened:
        catalog.close()


def keys(world: World) -> set[str]:
    return {key for tier in ("hot", "warm", "cold") for key in world.stored(tier)}


def version(world: World, name: str) -> int:
    seen = world.seen(name)
    assert seen.placement.current
    with open_blob(world.context, seen.blobs[seen.placement.current.blob]) as reader:
        return read_table(reader).version


everywhere = pytest.mark.parametrize(
    ("rebuilt", "attributes"), [(False, True), (False, False), (True, True), (True, False)]
)


# MUST 8
@everywhere
def test_all_of_it_is_read_in_ranges_and_whole_and_verified(old: Old, rebuilt: bool, attributes: bool) -> None:
    """With its catalog and without, from a copy of its directories that kept their extended attributes or lost them."""
    world = old(rebuilt=rebuilt, attributes=attributes)
    assert {name: world.read(name) for name in SIZES} == {name: content(name) for name in SIZES}
    assert version(world, "frames.csv") == version(world, "small.csv") == 1
    for at, length in ((0, 5), (999, 2), (1024 * 1024 - 5, 10), (2 * 1024 * 1024, 77)):
        with open_current(world.context, world.seen("frames.csv")) as opened:
            assert opened.read_at(at, length) == content("frames.csv")[at : at + length]
    done = verified(world)
    assert (done.checked, done.skipped, done.damaged) == (6, 0, [])
    assert world.scan().changed == 0


# MUST 8
@everywhere
def test_what_is_in_grace_is_undone_and_the_rest_returns(old: Old, rebuilt: bool, attributes: bool) -> None:
    """A discarded attempt's blob is cleared away by its attribute only; without one it stays, and nobody reads it."""
    world = old(rebuilt=rebuilt, attributes=attributes)
    assert world.undo("lake/kept.csv").done == ["lake/kept.csv"]
    assert world.sweep().errors == []  # of a rebuilt catalog: what was released waits for a look
    assert world.eject().done == 4
    assert {name: world.raw(name) for name in SIZES} == {name: content(name) for name in SIZES}
    for _ in range(3):
        world.days(10)
        assert world.sweep().errors == []
    assert {key for key in keys(world) if attributes or "stays" not in key} == set()
    assert world.leftovers() == []


# MUST 8
@pytest.mark.parametrize("rebuilt", [False, True])
def test_nothing_is_rewritten_but_by_what_moves_it_and_then_it_is_of_version_2(old: Old, rebuilt: bool) -> None:
    """A blob that was staged and never swapped is known as ours and cleared away."""
    world = old(rebuilt=rebuilt)
    before = keys(world)
    stray = {key for key in before if "stays" in key}
    for _ in range(3):
        world.days(10)
        world.scan()
        world.work()
        assert world.sweep().errors == []
        verified(world)
    left = before - stray
    assert {key for key in keys(world) if "stays" not in key} == left
    assert not stray & keys(world)
    assert world.migrate("frames.csv", tier="warm").done == 1
    assert version(world, "frames.csv") == 2
    world.days(10)
    world.sweep()
    [made] = {key for key in keys(world) if "frames" in key}
    assert re.fullmatch(r"lake/frames\.[0-9a-f]{16}\.csv\.zst", made)
    assert world.read("frames.csv") == content("frames.csv")


@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_doctor_knows_what_is_ours(old: Old, rebuilt: bool) -> None:
    """By the rows; and what no row speaks of by what it says, whatever its name."""
    world = old(rebuilt=rebuilt)
    assert not {"foreign-object", "dark-blob", "dark-copy", "lost-blob"} & set(checks(world))
    forgotten = dict.fromkeys(("frames.csv", "small.csv"), 0)
    with world.catalog.begin() as conn:
        for name in forgotten:
            current = world.seen(name).placement.current
            assert current
            conn.execute(sa.delete(replicas).where(replicas.c.blob_id == current.blob))
            conn.execute(sa.delete(blobs).where(blobs.c.id == current.blob))
    assert checks(world).count("dark-blob") == 2


# MUST 8
@pytest.mark.parametrize("attributes", [True, False])
def test_torn_blobs_that_no_row_speaks_of_stop_nothing(old: Old, attributes: bool) -> None:
    """Of both versions: a rebuild, the sweeps after it and the doctor name them, go on, and leave them alone."""
    world = old(rebuilt=True, attributes=attributes)
    [first] = (world.place / "cold/lake").glob("small*")
    assert world.migrate("frames.csv", tier="hot").done == 1
    [second] = (world.place / "hot/lake").glob("frames*")
    torn = {
        "one.zst": first.read_bytes()[:-20],
        "two.zst": second.read_bytes()[:-20],
        "three.zst": second.read_bytes()[:-20] + bytes(20),
    }
    for name, data in torn.items():
        (world.place / "warm" / name).write_bytes(data)
    found = bury_strays(world.context)
    assert sorted(found.unreadable) == sorted(f"warm:{name}" for name in torn)
    told = world.sweep()
    assert all(any(f"warm:{name}" in error for error in told.errors) for name in torn)
    named = [f for f in findings(world) if f.check == "foreign-object"]
    assert sorted(f.subject for f in named) == sorted(f"warm:{name}" for name in torn)
    assert all("does not end in a seek table" in f.says for f in named)
    assert {name: (world.place / "warm" / name).read_bytes() for name in torn} == torn
