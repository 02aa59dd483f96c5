"""Lives on a store that answers as Ceph does: what may be released and returned there, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import audit, job_items, objects
from storaged.errors import RefusedByGuard
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer
from storaged.work import targets
from storaged.work.release.sources import unconditional
from storaged.work.rewrite.pointers import remove_objects
from storaged.work.rewrite.returns import to_root
from tests.conftest import boto3_client
from tests.life import test_life
from tests.life.places import Places, Prefix
from tests.life.test_versions import NAME, Kept, a_world
from tests.life.world import PLAIN, World, noise, text

LARGE = 20 << 20
_OF_FILES = {
    "test_an_object_comes_back_with_its_mode_mtime_and_attributes",
    "test_a_file_under_two_names_is_left_where_it_is",
    "test_a_user_who_touches_or_renames_what_came_back_keeps_it",
    "test_another_half_life_scores_every_object_anew",
}
# The whole life once more with the cold tier there.
globals().update({n: t for n, t in vars(test_life).items() if n.startswith("test_") and n not in _OF_FILES})


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested with directories."""
    return "sqlite"


@pytest.fixture
def layout() -> str:
    """Root and journal in directories: there is nothing to be released or returned on a plain bucket of Ceph's."""
    return "mixed"


@pytest.fixture
def moto(rgw: MotoServer) -> MotoServer:
    """Ceph's answers."""
    return rgw


@pytest.fixture
def s3_user(moto: MotoServer) -> Iterator[Any]:
    client = boto3_client(moto)
    yield client
    client.close()


@pytest.fixture
def plain(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, moto: MotoServer, s3_user: Any, new_bucket: Callable[[], str]
) -> Kept:
    """A root in a bucket without versions."""
    return a_world(tmp_path, catalog, clock, moto, s3_user, new_bucket())


@pytest.fixture
def versioned(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, moto: MotoServer, s3_user: Any, new_bucket: Callable[[], str]
) -> Kept:
    """A root in a bucket with versions."""
    bucket = new_bucket()
    moto.set_versioning(bucket, "Enabled")
    return a_world(tmp_path, catalog, clock, moto, s3_user, bucket)


def released(world: Kept, name: str) -> None:
    """As if it had been released while the bucket was on another server."""
    world.delete(name)
    with world.catalog.begin() as conn:
        conn.execute(sa.update(objects).where(objects.c.name == name).values(raw_state="released"))


def notes(world: World) -> list[str]:
    with world.catalog.read() as conn:
        found = conn.execute(sa.select(job_items.c.note).where(job_items.c.note.is_not(None))).scalars()
        return [str(note) for note in found]


# MUST 7
def test_nothing_is_released_where_a_delete_is_never_exact(plain: Kept) -> None:
    plain.write(NAME, noise("a"))
    plain.days(2)
    plain.scan()
    assert plain.held_back() == ["unconditional"]
    assert plain.migrate(NAME).done == 1, "a copy may be made"
    plain.days(8)
    swept = plain.sweep()
    why = unconditional(plain.context.root("lake").traits)
    assert (swept.sources, swept.held_back) == (0, {why: 1})
    assert "delete_condition: a delete ignores" in why
    assert "delete_version: no delete" in why
    assert plain.raw(NAME) == noise("a")


# MUST 2
def test_a_small_object_goes_back_and_a_large_one_never_replaces_what_a_user_put_there(plain: Kept) -> None:
    large = noise("large", LARGE)
    plain.write("large", large)
    plain.write("small", noise("small"))
    plain.days(2)
    plain.scan()
    assert plain.migrate("large", "small", codec=PLAIN).done == 2
    for name in ("large", "small"):
        released(plain, name)
    left = to_root(plain.context, [[plain.seen("large"), plain.seen("small")]], reason="test").left_out
    [(what, why)] = left
    assert what == "lake/large"
    assert "create_parts" in why
    plain.write("large", b"the user's")
    assert plain.work().done == 1
    assert plain.raw("small") == noise("small")
    assert plain.raw("large") == b"the user's"
    assert notes(plain) == []


# MUST 2
def test_a_job_that_was_asked_for_before_is_refused_when_it_runs(plain: Kept, moto: MotoServer) -> None:
    plain.write(NAME, noise("a"))
    plain.days(2)
    plain.scan()
    assert plain.migrate(NAME, codec=PLAIN).done == 1
    released(plain, NAME)
    assert to_root(plain.context, [[plain.seen(NAME)]], reason="test").left_out == []
    assert plain.context.root("lake").traits.create_put
    moto.set_versioning(plain.remote.bucket, "Enabled")  # from now on it overwrites
    report = plain.work()
    assert (report.done, plain.raw(NAME)) == (0, None)
    assert any("create_put" in note for note in notes(plain))


# MUST 7
def test_where_versions_are_kept_a_release_deletes_the_version_that_was_meant(versioned: Kept) -> None:
    versioned.write(NAME, text("a"))
    versioned.days(2)
    versioned.scan()
    assert versioned.held_back() == [None]
    assert versioned.migrate(NAME).done == 1
    versioned.days(8)
    assert versioned.sweep().sources == 1
    assert versioned.versions() == []
    assert versioned.read(NAME) == text("a")
    [(_, why)] = to_root(versioned.context, [[versioned.seen(NAME)]], reason="test").left_out
    assert "create_put" in why


def test_an_older_version_is_neither_brought_back_nor_lost(versioned: Kept) -> None:
    for content in (text("first"), text("second")):
        versioned.write(NAME, content)
    versioned.days(2)
    versioned.scan()
    assert versioned.migrate(NAME).done == 1
    versioned.days(8)
    swept = versioned.sweep()
    assert swept.sources == 0
    assert any("delete_condition" in error for error in swept.errors)
    assert versioned.raw(NAME) == text("second")
    assert versioned.versions() == [NAME, NAME]


def test_a_user_who_writes_during_the_grace_keeps_what_was_written(versioned: Kept) -> None:
    versioned.write(NAME, text("a"))
    versioned.days(2)
    versioned.scan()
    assert versioned.migrate(NAME).done == 1
    versioned.days(8)
    versioned.write(NAME, text("b"))
    assert versioned.sweep().sources == 0
    assert versioned.raw(NAME) == text("b")


# MUST 12
def test_a_public_object_stays_where_it_is(plain: Kept) -> None:
    plain.write(NAME, noise("a"))
    plain.remote.user.put_object_acl(Bucket=plain.remote.bucket, Key=f"lake/{NAME}", ACL="public-read")
    plain.scan()
    report = plain.migrate(NAME)
    assert report.done == 0
    assert "READ to AllUsers" in report.notes[0][1]


def test_the_journal_is_where_create_only_is_kept_and_nowhere_else(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, moto: MotoServer, s3_user: Any, new_bucket: Callable[[], str]
) -> None:
    bucket = new_bucket()

    def make(_where: Path) -> Places:
        return Places({n: Prefix(moto, s3_user, bucket, n, moto.access) for n in ("lake", "hot", "warm", "cold")})

    World(tmp_path, catalog, clock, new_places=make).context.register()
    moto.set_versioning(bucket, "Enabled")
    with pytest.raises(RefusedByGuard, match="create_put"):
        World(tmp_path, catalog, clock, new_places=make).context.register()


# MUST 12
def test_what_came_back_otherwise_is_said_and_recorded(world: World) -> None:
    world.write(NAME, text("a"))
    (world.root / NAME).chmod(0o640)
    world.scan()
    assert world.migrate(NAME).done == 1
    world.days(8)
    assert world.sweep().sources == 1
    with world.catalog.begin() as conn:  # as if it had had a mode that no file here can have
        told = json.loads(conn.execute(sa.select(objects.c.metadata)).scalar_one())
        conn.execute(sa.update(objects).values(metadata=json.dumps(told | {"mode": "100640"})))
    report = world.eject()
    assert report.done == 1
    assert world.raw(NAME) == text("a")
    [note] = notes(world)
    assert "mode was '100640' and is '0640'" in note
    with world.catalog.read() as conn:
        found = conn.execute(sa.select(audit.c.detail).where(audit.c.kind == "eject")).scalars()
        assert [json.loads(detail)["said"] for detail in found] == [note]


def test_a_pack_there_is_proven_read_by_slices_and_left_by_one_member_after_the_other(world: World) -> None:
    contents = {f"d/{n}.csv": text(str(n), 3_000) for n in range(4)} | {"large": noise("large", LARGE)}  # in parts
    for name, content in contents.items():
        world.write(name, content)
    world.scan()
    assert world.pack(*contents).done == 5
    world.days(8)
    assert world.sweep().sources == 5
    assert {name: world.read(name) for name in contents} == contents
    assert len(world.stored("cold")) == 1
    assert remove_objects(world.context, targets.pages(world.context, "lake/d/0.csv")).refused == []
    world.days(8)
    assert (world.sweep().blobs, world.read("d/1.csv")) == (0, contents["d/1.csv"])
    assert world.eject().done == 4
    world.days(8)
    assert world.sweep().blobs == 1
    assert world.stored("cold") == {}
    assert {name: world.raw(name) for name in contents} == {**contents, "d/0.csv": None}
