"""What is in the tiers: each difference is made, found, and mended by what the finding names."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from random import Random

import pytest
import sqlalchemy as sa

from storaged.catalog import queue
from storaged.catalog.schema import jobs
from storaged.catalog.schema_attempts import attempts
from storaged.clock import SECOND, new_id
from storaged.model import AttemptState, JobState, Origin
from storaged.stores.base import New, Skipped, Store
from storaged.stores.listed import Listed
from storaged.stores.s3.parts import PART
from storaged.stores.wrappers import StoreWrapper
from storaged.testing.servers import MotoServer
from storaged.work import targets
from storaged.work.doctor import mend
from storaged.work.doctor.stored import compare
from storaged.work.doctor.verify import verify
from storaged.work.rewrite.pointers import undo_objects
from storaged.work.rewrite.returns import restage
from tests.doctor.findings import checks, commands, findings, found, one_catalog, put
from tests.life.places import Directory, Prefix
from tests.life.world import World, noise, text

on_s3 = pytest.mark.parametrize("layout", ["s3"])


def moved(world: World, *names: str) -> str:
    """Objects (one, a.csv, unless named) scanned and compressed in the cold tier. The key of the last one's blob."""
    for name in names or ("a.csv",):
        world.write(name, text(name))
    world.scan()
    world.migrate(*(names or ("a.csv",)))
    return sorted(world.stored("cold"))[-1]


def undo_as_told(world: World, mends: str) -> None:
    """Run the undo that a finding names."""
    [(_, target)] = [command for c in commands(mends) if (command := shlex.split(c))[0] == "undo"]
    assert undo_objects(world.context, targets.pages(world.context, target)).done == [target]


@one_catalog
@pytest.mark.parametrize("layout", ["local", "mixed", "s3"])
def test_a_healthy_life_has_no_findings_at_any_step(world: World) -> None:
    names = [f"dt={n % 3}/part {n}.csv" for n in range(12)]
    for name in names:
        world.write(name, text(name))
    world.scan()
    assert findings(world, deep=True) == []
    world.migrate(*names[:8])
    assert findings(world) == []
    world.undo(f"lake/{names[0]}")
    world.sweep()
    assert findings(world) == []
    world.days(8)
    world.delete(names[11])
    world.write(names[10], noise("new"))
    world.scan()
    world.sweep()
    assert findings(world) == []
    world.migrate(*names[1:4], tier="warm")
    assert world.eject().failed == 0
    world.sweep()
    world.scan()
    assert findings(world, deep=True) == []
    assert mend(world.context) == mend(world.context)


def test_a_lost_blob_is_found_and_undo_brings_its_object_back(world: World) -> None:
    key = moved(world, "a.csv", "it's b.csv")
    assert "it's b." in key
    world.places.by_name["cold"].delete(key)
    lost = found(world, "lost-blob")
    assert lost.subject == f"cold:{key}"
    undo_as_told(world, lost.mend)
    assert findings(world) == []
    assert world.read("it's b.csv") == text("it's b.csv")
    world.sweep()
    assert findings(world) == []


@one_catalog
@pytest.mark.parametrize("layout", ["local", "mixed"])
def test_a_blob_that_somebody_wrote_to_is_found_and_undo_brings_its_object_back(world: World) -> None:
    key = moved(world)
    world.days(0.1)
    world.places.by_name["cold"].write(key, b"other", world.clock.now_us())
    changed = found(world, "changed-blob")
    assert "it has 5 bytes instead of" in changed.says
    undo_as_told(world, changed.mend)
    assert findings(world) == []


@one_catalog
def test_a_blob_that_is_superseded_may_be_gone(world: World) -> None:
    key = moved(world)
    world.undo("lake/a.csv")
    world.places.by_name["cold"].delete(key)
    assert findings(world) == []


@pytest.mark.parametrize("layout", ["local", "mixed"])
def test_a_dark_blob_becomes_a_tombstone_and_a_sweep_clears_it(world: World) -> None:
    moved(world)
    before = world.stored("cold")
    attempt = new_id()
    who = world.context.identity.catalog
    put(world.context.tier("cold"), "lake/dark", Origin(who, attempt, "lake", "a.csv", 1, ""))
    dark = found(world, "dark-blob")
    assert dark.subject == "cold:lake/dark"
    assert attempt in dark.says
    assert dark.fixable
    world.sweep()
    assert checks(world) == ["dark-blob"]  # nobody else sees it
    assert mend(world.context).strays == 1
    assert findings(world) == []
    assert mend(world.context).strays == 0
    world.sweep()
    assert world.stored("cold") == before


@one_catalog
def test_a_blob_that_may_be_the_only_copy_is_reported_and_never_touched(world: World) -> None:
    moved(world)
    who = world.context.identity.catalog
    put(world.context.tier("cold"), "lake/only", Origin(who, new_id(), "lake", "nobody knows it", 1, ""))
    assert not found(world, "dark-copy").fixable
    assert mend(world.context).strays == 0
    world.sweep()
    assert checks(world) == ["dark-copy"]
    assert "lake/only" in world.stored("cold")


@one_catalog
def test_what_others_put_into_a_tier_is_reported_and_never_touched(world: World) -> None:
    moved(world)
    world.places.by_name["cold"].write("a first", b"somebody's", world.clock.now_us())
    world.places.by_name["cold"].write("z last", b"somebody's", world.clock.now_us())
    put(world.context.tier("warm"), "x", Origin("another", new_id(), "lake", "a.csv", 1, ""))
    some = findings(world)
    assert [f.subject for f in some if f.check == "foreign-object"] == ["warm:x", "cold:a first", "cold:z last"]
    assert len(some) == 3
    assert "it is of catalog another" in some[0].says
    assert mend(world.context).strays == 0
    world.sweep()
    assert len(findings(world)) == 3


@one_catalog
@on_s3
def test_a_blob_that_a_rule_of_the_bucket_moved_is_found_and_restage_writes_it_anew(world: World) -> None:
    key = moved(world)
    world.days(8)
    world.sweep()
    world.scan()
    cold = world.places.by_name["cold"]
    assert isinstance(cold, Prefix)
    assert isinstance(cold.server, MotoServer)
    source = {"Bucket": cold.bucket, "Key": f"{cold.prefix}/{key}"}
    head = cold.user.head_object(**source)
    cold.server.set_time(round(head["LastModified"].timestamp()) * SECOND)  # a lifecycle rule changes no time
    cold.user.copy_object(**source, CopySource=source, StorageClass="STANDARD_IA", MetadataDirective="COPY")
    cold.server.set_time(None)
    other = found(world, "other-class")
    assert other.subject == f"cold:{key}"
    assert "STANDARD_IA" in other.says
    word, target, _, tier = shlex.split(commands(other.mend)[0])
    assert word == "restage"
    assert restage(world.context, targets.pages(world.context, target), tier, reason="as told").objects == 1
    assert world.work().done == 1
    assert findings(world) == []


@one_catalog
@pytest.mark.parametrize("layout", ["local", "s3"])
def test_parts_of_an_upload_that_nobody_knows_are_found_and_cleared(world: World) -> None:
    moved(world)
    for place in ("cold", "root"):
        store = world.context.root("lake") if place == "root" else world.context.tier(place)
        upload = store.create("lake/cut", New(new_id(), size=2 * PART))
        upload.write(b"x" * (PART + 1))
        upload.write(b"y" * PART)
    some = findings(world)
    assert [(f.check, f.subject) for f in some] == [("unknown-parts", "tier:cold"), ("unknown-parts", "dataset:lake")]
    assert mend(world.context).strays == 2
    assert findings(world) == []
    assert mend(world.context).strays == 0
    world.sweep()
    assert world.leftovers() == []


def test_a_dead_workers_job_goes_back_into_the_queue_and_is_done(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.enqueue(["a.csv"], "cold")
    with world.catalog.begin() as conn:
        claimed = queue.claim(conn, "one that dies", now_us=world.clock.now_us(), lease_us=60 * SECOND)
    assert claimed is not None
    assert findings(world) == []
    world.clock.advance(61)
    dead = found(world, "dead-lease")
    assert dead.subject == f"job:{claimed.id}"
    assert "one that dies" in dead.says
    assert mend(world.context).leases == 1
    assert mend(world.context).leases == 0
    assert findings(world) == []
    assert world.work().done == 1


def test_what_no_running_job_is_staging_becomes_a_tombstone(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.enqueue(["a.csv"], "cold")
    with world.catalog.begin() as conn:
        claimed = queue.claim(conn, "one that lives", now_us=world.clock.now_us(), lease_us=60 * SECOND)
    assert claimed is not None
    assert mend(world.context).attempts == 0
    with world.catalog.begin() as conn:
        ended = {"state": JobState.FAILED.value, "lease": None, "lease_until_us": None}
        conn.execute(sa.update(jobs).values(ended))
    abandoned = found(world, "abandoned-attempt")
    assert abandoned.subject == f"job:{claimed.id}"
    assert mend(world.context).attempts == 1
    assert mend(world.context).attempts == 0
    assert findings(world) == []
    with world.catalog.read() as conn:
        assert conn.execute(sa.select(attempts.c.state)).scalars().all() == [AttemptState.TOMBSTONE.value]


@one_catalog
def test_tombstones_that_no_sweep_clears_are_found_and_a_sweep_clears_them(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.enqueue(["a.csv"], "cold")
    with world.catalog.begin() as conn:
        claimed = queue.claim(conn, "w", now_us=world.clock.now_us(), lease_us=60 * SECOND)
        assert claimed is not None
        queue.bury_attempts(conn, claimed.id, note="died", now_us=world.clock.now_us())
        conn.execute(sa.update(jobs).values(state=JobState.CANCELLED.value, lease=None, lease_until_us=None))
    world.days(7.5)
    world.scan()
    assert findings(world) == []
    world.days(1)
    assert commands(found(world, "old-tombstones").mend) == ["sweep --yes"]
    world.sweep()
    assert findings(world) == []


@one_catalog
def test_damage_that_verify_found_is_told_until_it_is_undone(world: World) -> None:
    key = moved(world, "a.csv")
    cold = world.places.by_name["cold"]
    assert isinstance(cold, Directory)
    cold.write_into(key, b"rot")
    verified = verify(world.context, targets.pages(world.context, "lake"), chance=Random(1))
    assert len(verified.damaged) == 1
    some = findings(world)
    assert sorted(f.check for f in some) == ["changed-blob", "damaged-blob"]
    undo_as_told(world, next(f.mend for f in some if f.check == "damaged-blob"))
    assert findings(world) == []


class Meddled(StoreWrapper):
    """Something happens between a listing and what is made of it."""

    def __init__(self, store: Store, meddle: Callable[[], object]) -> None:
        super().__init__(store)
        self._meddle = meddle

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        listed = [*super().listed(prefix, after)]
        self._meddle()
        return iter(listed)


@one_catalog
def test_what_is_written_and_released_meanwhile_is_no_difference(world: World) -> None:
    moved(world, "a.csv", "b.csv")
    world.write("c.csv", text("c"))
    world.scan()

    def go_on() -> None:
        world.migrate("c.csv")
        world.undo("lake/a.csv")
        world.sweep()

    before = set(world.stored("cold"))
    tier = Meddled(world.context.tier("cold"), go_on)
    assert list(compare(world.context, "cold", tier)) == []
    after = set(world.stored("cold"))
    assert (len(before - after), len(after - before)) == (1, 1)


@one_catalog
def test_what_is_lost_meanwhile_is_found_by_the_next_look(world: World) -> None:
    key = moved(world)
    tier = Meddled(world.context.tier("cold"), lambda: world.places.by_name["cold"].delete(key))
    assert list(compare(world.context, "cold", tier)) == []
    assert found(world, "lost-blob").subject == f"cold:{key}"
