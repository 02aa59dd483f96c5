"""Claims, rights and clocks of tiers and roots; and that looking changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets
from storaged.clock import SystemClock
from storaged.errors import ForeignClaim, MarkerLost
from storaged.stores.base import RESERVED
from storaged.stores.notes import CLAIM
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.doctor import examine, mend
from storaged.work.doctor.places import SKEW_US, access, privacy, skew, trials
from tests.doctor.findings import checks, commands, dump, findings, found, names, one_catalog, tree
from tests.life.rooms import bounded
from tests.life.world import World, noise, text
from tests.stores.conftest import as_nobody


@pytest.mark.parametrize("layout", ["local", "s3"])
@one_catalog
def test_a_claim_of_another_catalog_or_a_newer_epoch_is_found(world: World) -> None:
    world.scan()
    store = world.context.tier("cold")
    marker = json.loads(store.read_note(CLAIM) or b"")
    for told in (marker | {"catalog": "another"}, marker | {"epoch": 7}, {"what": "is this"}):
        store.write_note(CLAIM, json.dumps(told).encode(), create_only=False)
        assert found(world, "foreign-claim").subject == "tier:cold"
        with pytest.raises(ForeignClaim):
            mend(world.context)
    store.write_note(CLAIM, json.dumps(marker).encode(), create_only=False)
    root = world.context.root("lake")
    root.write_note(CLAIM, json.dumps(marker | {"catalog": "another"}).encode(), create_only=False)
    assert found(world, "foreign-claim").subject == "dataset:lake"


@one_catalog
def test_a_lost_claim_is_found_and_claiming_mends_it(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    (world.place / "cold" / RESERVED / CLAIM).unlink()
    assert commands(found(world, "lost-claim").mend) == ["catalog claim tier:cold --yes"]
    with pytest.raises(MarkerLost):
        mend(world.context)
    (world.root / RESERVED / CLAIM).unlink()
    assert [f.subject for f in findings(world) if f.check == "lost-claim"] == ["tier:cold", "dataset:lake"]
    for place in (Place("tier", "cold"), Place("dataset", "lake")):
        world.context.claim(place)
    assert findings(world) == []


@one_catalog
def test_a_place_with_anothers_name_and_a_root_that_was_never_claimed_are_found(world: World) -> None:
    world.scan()
    marker = world.place / "cold" / RESERVED / CLAIM
    right = marker.read_text()
    marker.write_text(right.replace('"cold"', '"warm"'))
    exchanged = found(world, "exchanged-place")
    assert exchanged.subject == "tier:cold"
    assert commands(exchanged.mend) == ["catalog claim tier:cold --yes"]
    marker.write_text(right)
    (world.root / RESERVED / CLAIM).unlink()
    with world.catalog.begin() as conn:
        conn.execute(sa.update(datasets).values(claimed=False))
    assert commands(found(world, "unclaimed-root").mend) == ["catalog claim dataset:lake --yes"]
    world.context.claim(Place("dataset", "lake"))
    assert findings(world) == []


@one_catalog
def test_places_that_this_user_may_not_write_are_found_without_writing(
    open_place: Path, catalog: Catalog, clock: FakeClock
) -> None:
    world = World(open_place, catalog, clock)
    world.scan()
    closed = (open_place / "cold", open_place / "lake", open_place / "state")
    for path in open_place.rglob("*"):
        if path.is_dir():
            path.chmod(0o555 if path in closed else 0o777)
    with as_nobody():
        told = [f.subject for f in access(world.context)]
    for path in closed:
        path.chmod(0o755)
    assert told == ["tier:cold", "dataset:lake", "state_dir"]
    if os.geteuid() != 0:
        assert list(access(world.context)) == []


@one_catalog
def test_places_of_ours_that_everybody_can_get_at_are_named(
    open_place: Path, catalog: Catalog, clock: FakeClock
) -> None:
    world = World(open_place, catalog, clock)
    database = open_place / "catalog.db"
    for path in (open_place / "hot", open_place / "warm", open_place / "cold", open_place / "state"):
        path.chmod(0o700)
    database.touch()
    database.chmod(0o600)
    (open_place / "policies").chmod(0o755)
    (open_place / "lake").chmod(0o755)  # the users' own business
    assert list(privacy(world.context)) == []
    for path, mode in (("hot", 0o755), ("warm", 0o702), ("state", 0o711), ("policies", 0o777), ("catalog.db", 0o644)):
        (open_place / path).chmod(mode)
    told = {f.subject: f.says for f in privacy(world.context)}
    assert {f.check for f in privacy(world.context)} == {"open-to-all"}
    assert list(told) == ["tier:hot", "tier:warm", "state_dir", "catalog", "policies"]
    assert told["tier:hot"].endswith(f"can read {open_place}/hot")
    assert told["tier:warm"].endswith(f"can write to {open_place}/warm")
    assert told["state_dir"].endswith(f"can read {open_place}/state")
    assert told["policies"].endswith(f"can write to {open_place}/policies")
    open_place.chmod(0o700)  # nobody comes as far as that
    assert list(privacy(world.context)) == []
    open_place.chmod(0o777)
    (open_place / "hot").chmod(0o700)
    assert "exchange" in {f.subject: f.says for f in privacy(world.context)}["tier:hot"]
    open_place.chmod(0o1777)
    assert "tier:hot" not in {f.subject for f in privacy(world.context)}


@one_catalog
def test_a_tier_behind_a_link_is_named(world: World) -> None:
    world.scan()
    cold = world.place / "cold"
    cold.rename(world.place / "moved")
    cold.symlink_to(world.place / "moved")
    fresh = Context(world.settings, world.catalog, world.clock, actor="test")
    some = [f for f in findings(world, context=fresh) if f.subject == "tier:cold"]
    assert {f.check for f in some} == {"unreadable"}
    assert str(cold) in some[0].says
    assert "follow: true" in some[0].says


@one_catalog
@pytest.mark.parametrize("layout", ["mixed"])
def test_a_bucket_that_may_not_be_written_is_found_by_trying(world: World, moto: MotoServer) -> None:
    world.scan()

    def fresh() -> Context:  # what was tried once is not tried again
        return Context(world.settings, world.catalog, world.clock, actor="test")

    assert findings(world, context=fresh(), deep=True) == []
    moto.faults.add("AccessDenied", operation="PutObject", times=1_000)
    assert findings(world, context=fresh()) == []
    assert names(findings(world, context=fresh(), deep=True)) == ["read-only tier:cold"]
    moto.faults.assert_all_fired()


@one_catalog
def test_a_directory_that_takes_no_upload_is_found_by_trying(
    open_place: Path, catalog: Catalog, clock: FakeClock
) -> None:
    world = World(open_place, catalog, clock)
    world.scan()
    assert list(trials(world.context)) == []
    shutil.rmtree(open_place / "cold" / RESERVED / "tmp")
    (open_place / "cold" / RESERVED / "tmp").write_text("in the way")
    assert names(list(trials(world.context))) == ["read-only tier:cold"]


@one_catalog
@pytest.mark.parametrize("layout", ["mixed"])
@pytest.mark.parametrize("operation", ["GetObject", "ListObjectsV2", "GetBucketVersioning"])
def test_a_bucket_that_may_not_be_read_is_named(world: World, moto: MotoServer, operation: str) -> None:
    world.scan()
    moto.faults.add("AccessDenied", operation=operation, times=1_000)
    some = findings(world)
    assert set(names(some)) == {"unreadable tier:cold"}
    assert "AccessDenied" in some[0].says or "refuses" in some[0].says


class Going(FakeClock):
    """The machine's clock, and so far ahead of it as it was advanced."""

    def __init__(self) -> None:
        super().__init__(0)

    def now_us(self) -> int:
        return SystemClock().now_us() + super().now_us()


@pytest.mark.on_both
@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_a_clock_that_differs_from_the_catalogs_server_is_found(world: World) -> None:
    world.scan()
    clock = Going()
    context = Context(world.settings, world.catalog, clock, actor="test")
    assert [f for f in examine(context) if f.check == "clock-skew"] == []
    clock.advance(90)
    [skew] = [f for f in examine(context) if f.check == "clock-skew"]
    assert skew.subject == "the catalog's server"


@one_catalog
@pytest.mark.parametrize("layout", ["s3"])
def test_a_clock_that_differs_from_the_stores_is_found_once_for_each_bucket(world: World) -> None:
    world.scan()
    clock = Going()
    context = Context(world.settings, world.catalog, clock, actor="test")
    assert [f for f in examine(context) if f.check == "clock-skew"] == []
    clock.advance(90)
    [skew] = [f for f in examine(context) if f.check == "clock-skew"]
    assert skew.subject.startswith("bucket:")


def test_a_clock_that_is_behind_counts_as_one_that_is_ahead() -> None:
    now = SystemClock().now_us()
    for off in (-SKEW_US - 1, SKEW_US + 1):
        assert len(list(skew("x", now, now + off, now))) == 1
    for off in (-SKEW_US, SKEW_US):
        assert list(skew("x", now, now + off, now)) == []


def troubled(world: World) -> None:
    """Something of many kinds."""
    for name in ("a", "b", "c"):
        world.write(name, text(name))
    world.scan()
    world.migrate("a", "b")
    world.undo("lake/b")
    key = sorted(world.stored("cold"))[0]
    world.places.by_name["cold"].delete(key)
    world.places.by_name["warm"].write("foreign", b"foreign", world.clock.now_us())
    world.enqueue(["c"], "cold")
    world.days(10)
    world.write("new", text("new"))


def test_looking_changes_neither_catalog_nor_directories(world: World) -> None:
    troubled(world)
    before = dump(world.catalog), tree(world.place)
    assert len(checks(world)) >= 5
    assert (dump(world.catalog), tree(world.place)) == before
    assert findings(world, deep=True)
    assert dump(world.catalog) == before[0]


@one_catalog
@pytest.mark.parametrize("layout", ["s3"])
def test_looking_asks_a_bucket_only_what_changes_nothing(world: World, moto: MotoServer) -> None:
    troubled(world)
    moto.clear_log()
    assert "lost-blob" in checks(world)
    asked = {request.method for request in moto.log()}
    assert asked == {"GET", "HEAD"}


@one_catalog
def test_mending_changes_no_store_and_twice_is_once(world: World) -> None:
    troubled(world)
    world.context.register()
    before = tree(world.place)
    mend(world.context)
    assert tree(world.place) == before
    after = dump(world.catalog)
    assert set(dataclasses.astuple(mend(world.context))) == {0}
    assert dump(world.catalog) == after


@pytest.mark.parametrize("layout", ["local"])
@one_catalog
def test_tiers_that_are_too_full_are_named(world: World) -> None:
    world.write("a.bin", noise("a", 90 << 10))
    world.scan()
    bounded(world, hot=110, cold=5)
    assert checks(world) == []
    bounded(world, hot=100)
    assert found(world, "above-high").says == "it stores 90.0 KiB of 100.0 KiB, more than 85%"
    bounded(world, hot=80)
    assert found(world, "over-capacity").subject == "tier:hot"


@pytest.mark.parametrize("layout", ["local"])
@one_catalog
def test_places_that_show_the_same_files_by_a_mount_are_named(world: World) -> None:
    world.scan()
    assert checks(world) == []
    below = world.root / "below"
    below.mkdir()
    done = subprocess.run(["mount", "--bind", world.place / "warm", below], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this needs a machine where we may mount: {done.stderr.decode().strip()}")
    try:
        twice = found(world, "seen-twice")
    finally:
        subprocess.run(["umount", below], check=True)
    assert twice.subject == "dataset:lake"
    assert "show the same by a mount" in twice.says
