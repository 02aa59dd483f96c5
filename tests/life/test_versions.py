"""Versions, locks, and stores that ignore conditions: what a release frees, and where nothing is done at all."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.schema import datasets, objects
from storaged.clock import DAY, SECOND, to_datetime
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.errors import RefusedByGuard
from storaged.model import JobKind
from storaged.stores.locks import FOREVER
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer, RcloneServer, bucket_name
from storaged.work.plan.explain import explain
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.release.sources import unconditional
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches
from storaged.work.rewrite.returns import refusals, to_root
from tests.conftest import boto3_client
from tests.life.places import Directory, Places, Prefix
from tests.life.world import PLAIN, World, noise, text

NAME = "a.csv"
_numbers = itertools.count(1)  # of buckets in this process
POLICY = """
name: cold
target: {dataset: lake, tier: hot}
when: {age_over: 1d}
to: {tier: cold}
mode: active
"""


class Kept(World):
    """A root in a bucket; tiers in directories."""

    @property
    def remote(self) -> Prefix:
        lake = self.places.by_name["lake"]
        assert isinstance(lake, Prefix)
        return lake

    def versions(self) -> list[str]:
        found = self.remote.user.list_object_versions(Bucket=self.remote.bucket, Prefix="lake/")
        parts = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
        return sorted(v["Key"].removeprefix("lake/") for v in parts if ".storaged" not in v["Key"])

    def lock(self, days: int, name: str = NAME) -> None:
        until = to_datetime(self.clock.now_us() + days * DAY)
        self.remote.user.put_object_retention(
            Bucket=self.remote.bucket, Key=f"lake/{name}", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until}
        )

    def row(self, name: str = NAME) -> Any:
        with self.catalog.read() as conn:
            return conn.execute(sa.select(objects).where(objects.c.name == name)).one()

    def dataset(self) -> Any:
        with self.catalog.read() as conn:
            return conn.execute(sa.select(datasets)).one()

    def policies(self, more: str = "") -> PolicySet:
        (self.place / "policies" / "p.yaml").write_text(POLICY + more)
        return load_policies(self.place / "policies", self.settings)

    def plan(self, more: str = "") -> Plan:
        return make_plan(self.catalog, self.settings, self.policies(more), self.clock)

    def held_back(self) -> list[str | None]:
        return [row.held for row in plan_rows(self.catalog, self.plan().id)]


def a_world(
    place: Path, catalog: Catalog, clock: FakeClock, server: MotoServer | RcloneServer, user: Any, bucket: str
) -> Kept:
    def make(where: Path) -> Places:
        for name in ("hot", "warm", "cold"):
            (where / name).mkdir()
        tiers = {name: Directory(where / name) for name in ("hot", "warm", "cold")}
        return Places({**tiers, "lake": Prefix(server, user, bucket, "lake", server.access)})

    world = place / "world"
    world.mkdir()
    return Kept(world, catalog, clock, new_places=make)


@pytest.fixture
def versioned(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, moto: MotoServer, s3_user: Any, new_bucket: Callable[[], str]
) -> Kept:
    bucket = new_bucket()
    moto.set_versioning(bucket, "Enabled")
    return a_world(tmp_path, catalog, clock, moto, s3_user, bucket)


@pytest.fixture
def locking(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, moto: MotoServer, s3_user: Any, request: pytest.FixtureRequest
) -> Any:
    bucket = bucket_name(request.node.name, next(_numbers))
    moto.make_bucket(bucket, locks=True)
    # Retention is judged by the server's own clock; dates in its past are refused.
    ahead = round(dt.datetime.now(dt.UTC).timestamp()) + 86_400 - clock.now_us() / SECOND
    clock.advance(max(0, ahead))
    yield a_world(tmp_path, catalog, clock, moto, s3_user, bucket)
    moto.forget(bucket)


# MUST 7
@pytest.mark.on_sqlite
@pytest.mark.parametrize("purge", [False, True])
def test_a_release_frees_the_current_version_and_with_purge_all_of_them(versioned: Kept, purge: bool) -> None:
    for content in (text("first"), text("second")):
        versioned.write(NAME, content)
    versioned.days(2)
    versioned.scan()
    assert versioned.dataset().versioning == "enabled"
    policies = versioned.policies("purge_noncurrent: true\n" if purge else "")
    plan = make_plan(versioned.catalog, versioned.settings, policies, versioned.clock)
    wanted = "deletes all their versions" if purge else "frees the current version only; older ones stay"
    assert wanted in str(plan.summary)
    apply_plan(versioned.context, plan.id, policies)
    assert versioned.work().done == 1
    assert bool(versioned.row().purge) is purge
    versioned.days(8)
    assert versioned.sweep().sources == 1
    assert versioned.raw(NAME) is None
    left = versioned.versions()
    assert left == [] if purge else NAME in left
    versioned.scan(confirm_empty=True)
    assert versioned.read(NAME) == text("second")
    assert versioned.eject().done == 1
    assert versioned.raw(NAME) == text("second")


def test_a_purge_that_was_undone_does_not_come_back_with_the_next_move(versioned: Kept) -> None:
    versioned.write(NAME, text("a"))
    versioned.days(2)
    versioned.scan()
    policies = versioned.policies("purge_noncurrent: true\n")
    plan = make_plan(versioned.catalog, versioned.settings, policies, versioned.clock)
    apply_plan(versioned.context, plan.id, policies)
    versioned.work()
    versioned.undo("lake")
    versioned.days(8)
    versioned.sweep()
    versioned.migrate(NAME)
    assert not versioned.row().purge


# MUST 7
@pytest.mark.on_sqlite
def test_what_is_locked_is_held_back_with_the_reason_and_nothing_saved(locking: Kept) -> None:
    locking.write(NAME, text("locked"))
    locking.write("free.csv", text("free"))
    locking.write("held.csv", text("held"))
    locking.lock(30)
    locking.remote.user.put_object_legal_hold(
        Bucket=locking.remote.bucket, Key="lake/held.csv", LegalHold={"Status": "ON"}
    )
    locking.days(2)
    locking.scan()
    assert bool(locking.dataset().locks)
    until = locking.row().locked_until_us
    assert until is not None
    assert locking.row("free.csv").locked_until_us is None
    assert locking.row("held.csv").locked_until_us == FOREVER
    rows = {row.name: row for row in plan_rows(locking.catalog, locking.plan().id)}
    assert {name: row.held for name, row in rows.items()} == {NAME: "locked", "held.csv": "locked", "free.csv": None}
    assert rows[NAME].after_bytes == rows[NAME].stored_bytes
    assert "locked until" in rows[NAME].reason
    told = explain(locking.catalog, locking.settings, locking.policies(), "lake", NAME, locking.clock.now_us())
    assert "nothing would be freed" in told.outcome
    locking.days(40)
    assert {row.name: row.held for row in plan_rows(locking.catalog, locking.plan().id)}[NAME] is None


@pytest.mark.on_sqlite
def test_a_lock_that_no_scan_has_seen_stops_the_move_and_the_next_plan(locking: Kept) -> None:
    locking.write(NAME, text("a"))
    locking.days(2)
    locking.scan()
    locking.lock(30)
    report = locking.migrate(NAME)
    assert (report.done, report.skipped, report.failed) == (0, 1, 0)
    assert "nothing would be freed" in report.notes[0][1]
    assert locking.stored("cold") == {}
    assert locking.held_back() == ["locked"]


# MUST 7
@pytest.mark.on_sqlite
def test_a_lock_holds_by_the_stores_clock_and_not_by_ours(locking: Kept, moto: MotoServer) -> None:
    locking.write(NAME, text("a"))
    locking.days(2)
    locking.scan()
    locking.lock(30)
    locking.days(40)  # here, and not there
    assert locking.migrate(NAME).skipped == 1
    assert locking.stored("cold") == {}
    moto.set_time(locking.clock.now_us())
    assert locking.migrate(NAME).done == 1


@pytest.mark.on_sqlite
def test_a_new_generation_brings_its_own_lock_or_none(locking: Kept) -> None:
    locking.write(NAME, text("a"))
    locking.lock(30)
    locking.scan()
    assert locking.row().locked_until_us is not None
    locking.write(NAME, text("b", 30_000))
    locking.scan()
    assert locking.row().generation == 2
    assert locking.row().locked_until_us is None


# -- a server that ignores every condition ---------------------------------------------------------------------------


@pytest.fixture
def careless_user(rclone: RcloneServer) -> Any:
    user = boto3_client(rclone)
    yield user
    user.close()


@pytest.fixture
def careless_bucket(careless_user: Any, clock: FakeClock, request: pytest.FixtureRequest) -> str:
    ahead = round(dt.datetime.now(dt.UTC).timestamp()) - clock.now_us() / SECOND
    clock.advance(max(0, ahead))  # it is the server's own clock that tells the time of an object
    name = bucket_name(request.node.name, next(_numbers))
    careless_user.create_bucket(Bucket=name)
    return name


@pytest.fixture
def careless(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, rclone: RcloneServer, careless_user: Any, careless_bucket: str
) -> Kept:
    return a_world(tmp_path, catalog, clock, rclone, careless_user, careless_bucket)


# MUST 7
def test_nothing_is_released_or_returned_where_conditions_are_ignored(careless: Kept) -> None:
    for name in (NAME, "b.csv"):
        careless.write(name, noise(name))
    careless.days(2)
    careless.scan()
    assert careless.held_back() == ["unconditional", "unconditional"]
    assert careless.migrate(NAME).done == 1, "a copy may be made"
    careless.days(8)
    swept = careless.sweep()
    assert (swept.sources, swept.held_back) == (0, {unconditional(careless.context.root("lake").traits): 1})
    assert careless.raw(NAME) == noise(NAME)
    with careless.catalog.begin() as conn:  # as if it had been released while the server was another one
        conn.execute(sa.update(objects).where(objects.c.name == NAME).values(raw_state="released"))
    [why] = refusals(careless.context, [careless.seen(NAME)], None).values()
    assert "cannot create on condition" in why
    left = to_root(careless.context, [[careless.seen(NAME)]], reason="test").left_out
    assert "cannot create on condition" in left[0][1]


# MUST 7
def test_the_journal_is_not_put_where_conditions_are_ignored(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, rclone: RcloneServer, careless_user: Any, careless_bucket: str
) -> None:

    def make(where: Path) -> Places:
        remote = {n: Prefix(rclone, careless_user, careless_bucket, n, rclone.access) for n in ("hot", "warm", "cold")}
        (where / "lake").mkdir()
        return Places({**remote, "lake": Directory(where / "lake")})

    place = tmp_path / "world"
    place.mkdir()
    world = Kept(place, catalog, clock, new_places=make)
    with pytest.raises(RefusedByGuard, match="cannot hold the journal") as refused:
        world.scan()
    assert "rank 0" in str(refused.value.hint)


# MUST 4
@pytest.mark.on_sqlite
def test_what_cannot_be_proven_is_not_put_into_an_archive_class(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, rclone: RcloneServer, careless_user: Any, careless_bucket: str
) -> None:

    def make(where: Path) -> Places:
        for name in ("lake", "hot", "warm"):
            (where / name).mkdir()
        local = {name: Directory(where / name) for name in ("lake", "hot", "warm")}
        return Places({**local, "cold": Prefix(rclone, careless_user, careless_bucket, "cold", rclone.access)})

    place = tmp_path / "world"
    place.mkdir()
    world = Kept(place, catalog, clock, new_places=make)
    config = place / "storaged.yaml"
    config.write_text(config.read_text().replace("{rank: 2,", "{rank: 2, storage_class: DEEP_ARCHIVE,"))
    world.settings = load_settings(config)
    world.context = world.new_context()
    world.write(NAME, noise("a"))
    world.scan()
    seen = world.seen(NAME)
    result = Enqueued()
    item = NewItem(seen.id, seen.version, seen.placement.size, ToTier("cold", PLAIN, DAY))
    enqueue_batches(world.context, JobKind.REWRITE, "lake", [item], reason="test", result=result)
    report = world.work()
    assert (report.done, report.skipped, report.failed) == (0, 1, 0)
    assert "tells no checksum" in report.notes[0][1]
    listed = careless_user.list_objects_v2(Bucket=careless_bucket, Prefix="cold/").get("Contents", [])
    assert [o["Key"] for o in listed if ".storaged" not in o["Key"]] == []
