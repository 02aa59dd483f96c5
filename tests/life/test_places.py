"""A place is who its marker says it is: tiers and roots that are away, exchanged, copied, moved; and a blob is what its
bytes say, whatever its inode is called by now."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog import facts
from storaged.config.settings import at_another_place, load_settings
from storaged.errors import (
    CatalogBehind,
    ForeignClaim,
    MarkerLost,
    OtherPlace,
    PlaceAway,
    RefusedByGuard,
    SourceChanged,
    UsageError,
)
from storaged.model import IDENTITY, RawState
from storaged.stores.base import RESERVED
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.claims import CLAIM, Place
from storaged.work.context import Context
from storaged.work.rebuild import lost_catalog, reconcile
from storaged.work.returns import to_root
from storaged.work.scan import scan
from storaged.work.tier_move import move_tier
from storaged.work.verify import Verified, verify
from tests.life.stage import NAME, NEW, OLD, Stage, a_stage
from tests.life.world import World, text


@pytest.fixture
def lake(dialect: str, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with a_stage(dialect, clock, request) as made:
        yield made


def verified(world: World) -> Verified:
    return verify(world.context, targets.pages(world.context, "lake"), chance=random.Random(7))


def anew(path: Path) -> None:
    """Every file under a path becomes another file of the same content and times, as `cp -a` from a copy makes it."""
    copy = path.with_name(path.name + "-copy")
    subprocess.run(["/bin/cp", "-a", path, copy], check=True)
    shutil.rmtree(path)
    copy.rename(path)


def away(path: Path) -> Path:
    """What an unmounted disk leaves: an empty mount point. Returns where the disk is now."""
    disk = path.with_name(path.name + "-disk")
    path.rename(disk)
    path.mkdir()
    return disk


def back(path: Path, disk: Path) -> None:
    """Mounts it again. Whatever was written into the mount point meanwhile is an error."""
    assert list(path.rglob("*")) == []
    path.rmdir()
    disk.rename(path)


def one_blob(world: World, tier: str = "cold") -> Path:
    [key] = world.stored(tier)
    return world.place / tier / key


def chmod(path: Path) -> None:
    path.chmod(0o400)


def another_name(path: Path) -> None:
    os.link(path, path.with_name("second-name"))


def away_and_back(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.with_name("elsewhere").rename(path)


def put_there_again(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # no extended attributes, another mtime: what is inside it still tells


METADATA: list[Callable[[Path], None]] = [chmod, another_name, away_and_back, put_there_again]


# -- content decides ---------------------------------------------------------------------------------------------------


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


# -- the same content at the original key ------------------------------------------------------------------------------


@pytest.mark.parametrize("change", METADATA[:3])
def test_a_change_of_metadata_is_no_new_generation(world: World, change: Callable[[Path], None]) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    before = world.held("a.csv").placement
    change(world.root / "a.csv")
    found = world.scan()
    assert (found.touched, found.changed, found.reappeared) == (1, 0, 0)
    after = world.held("a.csv").placement
    assert (after.generation, after.created_us) == (before.generation, before.created_us)
    assert world.scan().unchanged == len(list(world.root.glob("[!.]*")))
    world.enqueue(["a.csv"], "cold", allow_loss=frozenset({"links"}))
    assert world.work().done == 1  # under the identity that it has now


def test_metadata_that_changes_in_grace_is_what_comes_back(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    (world.root / "a.csv").chmod(0o640)
    found = world.scan()
    p = world.held("a.csv").placement
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
        assert world.held(name).placement.generation == 2
        assert world.read(name) == text("b")


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


# -- markers -----------------------------------------------------------------------------------------------------------


def test_a_marker_names_what_it_marks(world: World) -> None:
    world.scan()
    for place, where in ((Place("tier", "cold"), "cold"), (Place("dataset", "lake"), "lake")):
        told = json.loads((world.place / where / RESERVED / CLAIM).read_text())
        assert (told["catalog"], told[place.kind]) == (world.context.identity.catalog, place.name)


def test_exchanged_tiers_are_refused_by_everything_that_acts_and_nothing_is_written(lake: Stage) -> None:
    lake.moved()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.enqueue(["b.csv"], "cold")
    cold, warm, aside = (lake.place / n for n in ("cold", "warm", "aside"))
    cold.rename(aside)
    warm.rename(cold)
    aside.rename(warm)
    before = {p for d in (cold, warm) for p in d.rglob("*")}
    lake.days(8)
    for act in (lake.work, lake.sweep, lake.rescan, lambda: verified(lake), lambda: lake.eject()):
        with pytest.raises(OtherPlace, match="tier:"):
            act()
    assert {p for d in (cold, warm) for p in d.rglob("*")} == before
    assert lake.raw(NAME) == OLD


def test_tiers_exchanged_between_claim_and_write_get_nothing(lake: Stage) -> None:
    """The marker is looked at before every batch, not once."""
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    cold, warm, aside = (lake.place / n for n in ("cold", "warm", "aside"))

    def exchange() -> None:
        cold.rename(aside)
        warm.rename(cold)
        aside.rename(warm)

    for step in ("create", "write", "upload", "open"):
        lake.meets(lake.work, step, exchange)
        assert [p for d in (cold, warm) for p in d.rglob("*.zst")] == [], step
        exchange()
        lake.days(1)
    assert lake.raw(NAME) == OLD
    lake.work()
    assert lake.look() == OLD


def test_a_root_that_shows_no_marker_is_away(lake: Stage) -> None:
    lake.released()
    lake.write("b.csv", NEW)
    lake.scan()
    disk = away(lake.root)
    lake.context = lake.new_context()
    lake.context.register()
    with pytest.raises(MarkerLost, match="lost its marker"):
        scan(lake.context, "lake")
    with pytest.raises(MarkerLost):
        scan(lake.context, "lake", confirm_empty=True)
    with pytest.raises(MarkerLost):
        lake.eject()
    lake.days(30)
    lake.sweep()
    assert verified(lake).reasons == {"the root of lake is away": 1}
    back(lake.root, disk)
    assert lake.scan().unchanged == 1
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD


def test_a_root_that_goes_while_something_returns_gets_nothing(lake: Stage) -> None:
    lake.released()
    to_root(lake.context, targets.pages(lake.context, "lake"), reason="eject")
    disks: list[Path] = []
    for step in ("create", "write", "upload"):
        lake.meets(lake.work, step, lambda: disks.append(away(lake.root)))
        back(lake.root, disks.pop())
        lake.days(1)
    lake.work()
    assert lake.raw(NAME) == OLD


def test_only_a_claim_by_a_person_makes_another_root_the_dataset(lake: Stage) -> None:
    lake.moved()
    shutil.rmtree(lake.root)
    lake.root.mkdir()
    with pytest.raises(MarkerLost):
        lake.scan()
    lake.context.claim(Place("dataset", "lake"))
    lake.rescan()
    assert lake.look() is None


def test_a_dataset_that_was_renamed_is_claimed_by_a_person(lake: Stage) -> None:
    lake.scan()
    marker = lake.root / RESERVED / CLAIM
    marker.write_text(marker.read_text().replace('"lake"', '"pond"'))
    with pytest.raises(OtherPlace, match="dataset:pond"):
        lake.scan()
    lake.context.claim(Place("dataset", "lake"))
    assert lake.scan().seen == 0


def test_a_marker_of_before_markers_had_names_gets_one_where_its_blobs_are(lake: Stage) -> None:
    lake.moved()
    names = {}
    for tier in ("cold", "warm"):
        marker = lake.place / tier / RESERVED / CLAIM
        told = json.loads(marker.read_text())
        names[tier] = told.pop("tier")
        marker.write_text(json.dumps(told))
    cold, warm, aside = (lake.place / n for n in ("cold", "warm", "aside"))
    cold.rename(aside)
    warm.rename(cold)
    aside.rename(warm)
    with pytest.raises(OtherPlace, match="without a name"):
        lake.rescan()
    warm.rename(aside)
    cold.rename(warm)
    aside.rename(cold)
    lake.rescan()
    for tier, name in names.items():
        assert json.loads((lake.place / tier / RESERVED / CLAIM).read_text())["tier"] == name == tier


def test_a_store_works_on_the_place_that_was_confirmed_and_on_no_other(world: World) -> None:
    world.scan()
    store = world.context.tier("cold")
    disk = away(world.place / "cold")
    for call in (
        lambda: store.head("a"),
        lambda: list(store.list()),
        lambda: store.create("a", attempt="a" * 32),
        lambda: store.write_note("x", b"", create_only=False),
        lambda: store.free_bytes(),
        lambda: store.delete("a", identity="1:2:3:4"),
    ):
        with pytest.raises(PlaceAway, match="whose marker"):
            call()
    back(world.place / "cold", disk)
    assert store.free_bytes() or store.free_bytes() == 0


# -- the journal -------------------------------------------------------------------------------------------------------


def notes(lake: Stage) -> list[Path]:
    return sorted((lake.place / "hot" / RESERVED / "journal").rglob("*.jsonl"))


def test_the_journal_is_not_written_where_its_tier_is_not_mounted(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    disks: list[Path] = []
    with pytest.raises((MarkerLost, PlaceAway)):
        lake.meets(lake.work, "write_note", lambda: disks.append(away(lake.place / "hot")))
    lake.days(8)
    with pytest.raises((MarkerLost, PlaceAway)):
        lake.sweep()
    back(lake.place / "hot", disks.pop())
    assert lake.look() == OLD
    assert lake.sweep().sources == 1
    lake.is_rebuilt()
    assert lake.look() == OLD


def test_nothing_is_released_while_the_journal_has_a_hole_and_a_reconcile_leads_out(lake: Stage) -> None:
    lake.write("b.csv", NEW)
    lake.moved()
    lake.migrate("b.csv")
    lake.days(8)
    notes(lake)[-2].unlink()
    with pytest.raises(CatalogBehind, match="has a hole"):
        lake.sweep()
    assert (lake.raw(NAME), lake.raw("b.csv")) == (OLD, NEW)
    found = reconcile(lake.context)
    assert (found.retold, found.unseen, len(found.holes)) == (2, [], 1)
    assert lake.sweep().sources == 2
    lake.is_rebuilt()
    assert (lake.look(), lake.read("b.csv")) == (OLD, NEW)


def test_an_entry_is_not_written_behind_one_that_is_missing(lake: Stage) -> None:
    lake.moved()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.enqueue(["b.csv"], "cold")
    last = notes(lake)[-1]
    with pytest.raises(CatalogBehind, match="is not on"):
        lake.meets(lake.work, "create", last.unlink)
    assert last not in notes(lake)
    assert lake.raw("b.csv") == NEW


def test_a_rebuild_tells_of_a_hole_uses_what_lies_behind_it_and_leaves_it_open(lake: Stage) -> None:
    lake.released()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.migrate("b.csv")
    lake.days(8)
    lake.sweep()
    gone = [n for n in notes(lake) if f'"{NAME}"' in n.read_text()]
    assert 0 < len(gone) < len(notes(lake))
    for note in gone:
        note.unlink()
    lake.takes_over(lake.databases.heir(heir_of(lake)))
    found = reconcile(lake.context)
    assert found.unseen == found.holes != []
    assert [k.split(":")[0] for k in found.kept] == ["cold"]  # the only copy of what the hole told of
    scan(lake.context, "lake", confirm_empty=True)
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert lake.read("b.csv") == NEW
    assert len(lake.stored("cold")) == 2
    assert not {n.name for n in gone} & {n.name for n in notes(lake)}
    lake.is_rebuilt()  # once more: the hole is known, and what is known was told anew behind it
    assert lake.read("b.csv") == NEW
    assert len(lake.stored("cold")) == 2


def heir_of(lake: Stage) -> facts.Identity:
    return lost_catalog(lake.context.tier("hot"))


def test_a_rebuild_refuses_a_tier_that_is_a_bare_mount_point(lake: Stage) -> None:
    lake.released()
    disk = away(lake.place / "cold")
    lake.takes_over(lake.databases.heir(heir_of(lake)))
    with pytest.raises(MarkerLost):
        reconcile(lake.context)
    back(lake.place / "cold", disk)
    assert reconcile(lake.context).kept == []
    lake.rescan()
    assert lake.look() == OLD


def test_a_rebuild_writes_no_claim_into_a_bare_root(lake: Stage) -> None:
    lake.released()
    disk = away(lake.root)
    lake.takes_over(lake.databases.heir(heir_of(lake)))
    assert list(reconcile(lake.context).roots_away) == ["lake"]
    with pytest.raises(MarkerLost):
        scan(lake.context, "lake", confirm_empty=True)
    back(lake.root, disk)
    lake.rescan()
    assert lake.look() == OLD


# -- a tier at another place -------------------------------------------------------------------------------------------


def contexts(lake: Stage, tier: str, path: Path) -> tuple[Context, Context]:
    moved = at_another_place(lake.settings, tier, path.as_uri())
    return Context(moved, lake.catalog, lake.clock, actor="test"), lake.context


def at(lake: Stage, tier: str, path: Path) -> None:
    config = lake.place / "storaged.yaml"
    config.write_text(config.read_text().replace(f'"{lake.settings.tiers[tier].url}"', f'"{path.as_uri()}"'))
    lake.settings = load_settings(config)
    lake.context = lake.new_context()


@pytest.mark.parametrize("options", ["-a", "-r"])
@pytest.mark.parametrize("tier", ["cold", "hot"])
def test_a_tier_moves_to_a_copy_of_it_and_the_old_place_is_refused(lake: Stage, tier: str, options: str) -> None:
    lake.moved()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.migrate("b.csv", tier="warm")
    new = lake.place / "new"
    subprocess.run(["/bin/cp", options, lake.place / tier, new], check=True)
    there, here = contexts(lake, tier, new)
    assert move_tier(there, here, tier, dry_run=True).wrong == []
    lake.rescan()  # nothing was changed
    found = move_tier(there, here, tier, dry_run=False)
    assert (found.wrong, found.left, found.blobs) == ([], True, int(tier == "cold"))
    with pytest.raises(OtherPlace, match="was moved to"):
        lake.rescan()
    at(lake, tier, new)
    lake.rescan()
    shutil.rmtree(lake.place / tier)
    assert verified(lake).adopted == 0  # recorded already
    lake.days(8)
    assert lake.sweep().sources == 2
    lake.is_rebuilt()
    assert (lake.look(), lake.read("b.csv")) == (OLD, NEW)


def test_a_tier_does_not_move_to_a_copy_that_lacks_or_harms_something(lake: Stage) -> None:
    lake.moved()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.migrate("b.csv")
    new = lake.place / "new"
    shutil.copytree(lake.place / "cold", new)
    first, second = sorted(p for p in new.rglob("*.zst"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    there, here = contexts(lake, "cold", new)
    found = move_tier(there, here, "cold", dry_run=False)
    assert len(found.wrong) == 2
    lake.rescan()
    assert lake.look() == OLD


def test_a_tier_does_not_move_under_a_running_job_or_to_a_strangers_place(lake: Stage) -> None:
    lake.moved()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.enqueue(["b.csv"], "cold")
    new = lake.place / "new"
    shutil.copytree(lake.place / "cold", new)

    def move() -> None:
        with pytest.raises(RefusedByGuard, match="is running"):
            move_tier(*contexts(lake, "cold", new), "cold", dry_run=False)

    lake.meets(lake.work, "create", move)
    claim = new / RESERVED / CLAIM
    claim.write_text(claim.read_text().replace(lake.context.identity.catalog, "f" * 32))
    with pytest.raises(ForeignClaim):
        move_tier(*contexts(lake, "cold", new), "cold", dry_run=False)
    assert lake.look() == OLD


def test_the_journals_tier_moves_only_with_all_of_its_journal(lake: Stage) -> None:
    lake.moved()
    new = lake.place / "new"
    shutil.copytree(lake.place / "hot", new)
    sorted(new.rglob("*.jsonl"))[0].unlink()
    with pytest.raises(CatalogBehind, match="lacks"):
        move_tier(*contexts(lake, "hot", new), "hot", dry_run=False)
    lake.rescan()


@pytest.mark.parametrize("url", ["nowhere", "file:///", "memory://x"])
def test_a_tier_moves_to_no_place_that_cannot_be(lake: Stage, url: str) -> None:
    if url == "memory://x":
        url = (lake.place / "warm" / "inside").as_uri()
    with pytest.raises(UsageError):
        at_another_place(lake.settings, "cold", url)
