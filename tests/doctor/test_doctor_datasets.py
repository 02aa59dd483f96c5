"""Datasets and tiers: configuration, catalog and roots against one another."""

from __future__ import annotations

import shutil
from random import Random

import pytest

from storaged.catalog.placements import note_stuck
from storaged.clock import DAY, to_datetime
from storaged.config.settings import load_settings
from storaged.errors import PermissionDenied
from storaged.testing import Fault, Faults, FaultyStore
from storaged.testing.servers import MotoServer
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.doctor import datasets, stored
from storaged.work.doctor.verify import verify
from storaged.work.rewrite.overwritten import let_go
from tests.doctor.findings import change, checks, commands, findings, found, one_catalog
from tests.life.places import Prefix
from tests.life.world import World, text


def configured(world: World, old: str, new: str) -> Context:
    """A context of this world with another configuration."""
    path = world.place / "storaged.yaml"
    assert old in path.read_text()
    other = path.with_name("other.yaml")
    other.write_text(path.read_text().replace(old, new))
    return Context(load_settings(other), world.catalog, world.clock, actor="test")


def test_a_dataset_that_was_never_scanned_is_found_and_a_scan_mends_it(world: World) -> None:
    world.context.register()
    assert commands(found(world, "never-scanned").mend) == ["scan lake"]
    world.scan()
    assert findings(world) == []


@one_catalog
def test_a_scan_that_is_late_by_its_own_schedule_is_found(world: World) -> None:
    world.scan()
    world.days(6.9)
    assert findings(world) == []
    world.days(0.2)
    assert commands(found(world, "scan-late").mend) == ["scan lake"]
    far = to_datetime(world.clock.now_us() + 10 * DAY).day  # whatever day it is, not these days and not the last ones
    monthly = configured(world, "readers: storaged", f'readers: storaged, scan: "0 0 {far} * *"')
    assert checks(world, context=monthly) == []
    world.scan()
    assert findings(world) == []


@one_catalog
def test_a_scan_that_was_cut_is_told(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.days(1)
    world.scan()
    change(world, scans={"finished_us": None}, datasets={"scanned_us": world.clock.now_us() - 1})
    world.days(1.1)
    assert found(world, "scan-cut").severity == "info"
    world.scan()
    assert "scan-cut" not in checks(world)


@pytest.mark.parametrize("layout", ["local", "s3"])
@one_catalog
def test_what_users_did_since_the_scan_is_counted_and_only_worth_knowing(world: World) -> None:
    for name in ("a", "b", "c", "d", "m"):
        world.write(name, text(name))
    world.scan()
    world.migrate("m")
    world.clock.advance(5)
    world.delete("a")
    world.delete("m")
    world.write("b", text("another b"))
    world.write("0 new", text("n"))
    world.write("z new", text("n"))
    differs = found(world, "not-yet-scanned")
    assert "1 changed (b), 2 gone (a), 2 new (0 new)" in differs.says
    assert differs.severity == "info"
    world.scan()
    assert findings(world) == []


@one_catalog
@pytest.mark.parametrize("layout", ["s3"])
def test_originals_whose_storage_class_changed_are_told_and_a_scan_adopts_them(world: World) -> None:
    world.write("a", text("a"))
    world.scan()
    place = world.places.by_name["lake"]
    assert isinstance(place, Prefix)
    assert isinstance(place.server, MotoServer)
    source = {"Bucket": place.bucket, "Key": f"{place.prefix}/a"}
    place.server.set_time(world.clock.now_us())
    place.user.copy_object(**source, CopySource=source, StorageClass="STANDARD_IA", MetadataDirective="COPY")
    changed = found(world, "class-changed")
    assert "objects: 1, such as a" in changed.says
    world.scan()
    assert findings(world) == []


@one_catalog
def test_a_root_that_shows_nothing_is_an_error_and_confirming_it_mends_it(world: World) -> None:
    world.write("dt=1/a.csv", text("a"))
    world.scan()
    shutil.rmtree(world.root / "dt=1")
    empty = found(world, "root-empty")
    assert empty.severity == "error"
    assert commands(empty.mend) == ["scan lake --confirm-empty"]
    world.scan(confirm_empty=True)
    assert findings(world) == []


@one_catalog
def test_a_root_that_is_away_is_unreadable_and_all_else_is_looked_at(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    [key] = world.stored("cold")
    world.places.by_name["cold"].delete(key)
    world.root.rename(world.place / "away")
    assert checks(world) == ["lost-blob", "unreadable"]
    (world.place / "away").rename(world.root)
    assert checks(world) == ["lost-blob"]


@one_catalog
def test_a_collection_is_told(world: World) -> None:
    world.write("_delta_log/00000000000000000000.json", b"{}")
    world.scan()
    assert found(world, "collections").says == "1 of kind delta"


@one_catalog
def test_a_dataset_and_a_tier_that_the_configuration_forgot_are_found(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    without = configured(world, "  cold: {", "  frozen: {")
    assert "tier-gone" in checks(world, context=without)
    without = configured(world, "  lake: {", "  pond: {")
    assert set(checks(world, context=without)) >= {"dataset-gone", "never-scanned"}
    assert findings(world) == []


@one_catalog
def test_a_dataset_that_is_gone_and_had_nothing_is_not_told(world: World) -> None:
    world.scan()
    without = configured(world, "  lake: {", "  pond: {")
    assert "dataset-gone" not in checks(world, context=without)


def test_a_damaged_original_is_told_until_it_reads_right_again(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    verify(world.context, targets.pages(world.context, "lake"), chance=Random(1))
    change(world, objects={"damaged": "its content has digest x"})
    assert commands(found(world, "damaged-original").mend) == ["scan lake", "verify lake/a.csv"]
    assert verify(world.context, targets.pages(world.context, "lake"), chance=Random(1)).healed == 1
    assert findings(world) == []


def test_what_was_overwritten_at_a_released_key_is_told_until_somebody_confirms(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    assert world.sweep().sources == 1
    world.write("a.csv", text("b"))
    world.scan()
    assert commands(found(world, "overwritten").mend) == [
        "cat lake/a.csv --generation 1",
        "overwritten lake/a.csv --confirm",
    ]
    let_go(world.context, targets.pages(world.context, "lake"))
    assert findings(world) == []


@one_catalog
def test_more_rows_than_are_held_at_a_time_are_merged_right(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "PAGE", 3)
    monkeypatch.setattr(stored, "PAGE", 3)
    monkeypatch.setattr(stored, "SUSPECTS", 2)
    names = [f"{n:02}" for n in range(13)]
    for name in names:
        world.write(name, text(name))
    world.scan()
    world.migrate(*names)
    assert findings(world) == []
    for key in list(world.stored("cold"))[::4]:
        world.places.by_name["cold"].delete(key)
    for name in names[::5]:
        world.delete(name)
    some = findings(world)
    assert [f.check for f in some] == ["lost-blob"] * 4 + ["not-yet-scanned"]
    assert "3 gone (00)" in some[-1].says


@one_catalog
def test_what_cannot_be_deleted_is_told_with_what_leads_out(world: World) -> None:
    world.write("a.csv", text("a"))
    world.write("b.csv", text("b"))
    world.scan()
    with world.catalog.begin() as conn:
        note_stuck(conn, {world.seen("a.csv").id: "it is immutable: `chattr -i` lets it go"})
    kept = found(world, "cannot-be-deleted")
    assert (kept.severity, commands(kept.mend)) == ("info", ["scan lake"])
    assert "1 objects, 20,000 bytes, such as lake/a.csv: it is immutable: `chattr -i`" in kept.says
    world.scan()
    assert findings(world) == []
    world.migrate("a.csv")
    world.days(8)
    denied = Faults(Fault("delete", 0, error=PermissionDenied("not yours", hint="ask the owner")))
    root = world.root.as_uri()
    world.sweep(world.new_context(wrap=lambda s: FaultyStore(s, denied) if s.url == root else s))
    denied.assert_all_hit()
    world.scan()
    stuck = found(world, "cannot-be-released")
    assert stuck.severity == "warning"
    assert "lake/a.csv: not yours: ask the owner" in stuck.says
    assert commands(stuck.mend) == ["sweep", "undo lake/a.csv", "eject lake"]
    assert world.undo("lake/a.csv").done == ["lake/a.csv"]
    assert "cannot-be-released" not in checks(world)
