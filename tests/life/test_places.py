"""A place is who its marker says it is: tiers and roots that are away, exchanged, replaced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from storaged.catalog import facts
from storaged.errors import (
    MarkerLost,
    OtherPlace,
    PlaceAway,
)
from storaged.model import JobState
from storaged.reader import CatalogReader
from storaged.stores.base import RESERVED, New
from storaged.stores.notes import CLAIM
from storaged.work import targets
from storaged.work.claims import Place
from storaged.work.rewrite.pointers import remove_objects
from storaged.work.rewrite.returns import to_root
from storaged.work.scan.run import scan
from tests.life.disks import away, back, verified
from tests.life.places import Prefix
from tests.life.stage import NAME, NEW, OLD, Stage
from tests.life.world import World


def test_a_marker_names_what_it_marks(world: World) -> None:
    world.scan()
    for place, where in ((Place("tier", "cold"), "cold"), (Place("dataset", "lake"), "lake")):
        told = json.loads((world.place / where / RESERVED / CLAIM).read_text())
        assert (told["catalog"], told[place.kind]) == (world.context.identity.catalog, place.name)


# MUST 14
@pytest.mark.on_sqlite
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


# MUST 14
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


# MUST 14
@pytest.mark.on_sqlite
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
    found = verified(lake)
    assert (found.reasons, found.unseen) == ({"the root of lake is away": 1}, 1)
    back(lake.root, disk)
    assert lake.scan().unchanged == 1
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD


def test_nothing_is_removed_while_the_root_is_not_there(lake: Stage) -> None:
    lake.released()
    disk = away(lake.root)
    refused = remove_objects(lake.context, targets.pages(lake.context, "lake"))
    assert (refused.done, len(refused.refused)) == ([], 1)
    assert "lost its marker" in refused.refused[0][1]
    back(lake.root, disk)
    assert remove_objects(lake.context, targets.pages(lake.context, "lake")).done == [f"lake/{NAME}"]
    disk = away(lake.root)
    lake.days(30)
    assert lake.sweep().held_back == {"its root is away": 1}
    assert len(lake.stored("cold")) == 1
    back(lake.root, disk)
    lake.sweep()
    assert lake.stored("cold") == {}


# MUST 14
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


# MUST 14
@pytest.mark.on_sqlite
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


# MUST 14
def test_a_store_works_on_the_place_that_was_confirmed_and_on_no_other(world: World) -> None:
    world.scan()
    store = world.context.tier("cold")
    disk = away(world.place / "cold")
    for call in (
        lambda: store.head("a"),
        lambda: list(store.list()),
        lambda: store.create("a", New("a" * 32)),
        lambda: store.write_note("x", b"", create_only=False),
        lambda: store.free_bytes(),
        lambda: store.delete("a", identity="1:2:3:4"),
    ):
        with pytest.raises(PlaceAway, match="whose marker"):
            call()
    back(world.place / "cold", disk)
    assert store.free_bytes() or store.free_bytes() == 0


def emptied(place: Prefix, *, notes: bool = True) -> dict[str, bytes]:
    """All of a place in a bucket goes, or all but our notes. Returns what went."""
    pages = place.user.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=f"{place.prefix}/")
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    went = {}
    for key in keys:
        if notes or f"/{RESERVED}/" not in key:
            went[key] = place.user.get_object(Bucket=place.bucket, Key=key)["Body"].read()
            place.user.delete_object(Bucket=place.bucket, Key=key)
    return went


@pytest.mark.on_sqlite
@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("layout", ["s3"])
@pytest.mark.parametrize("name", ["cold", "hot", "lake"])
def test_a_bucket_that_was_emptied_or_made_anew_is_away(lake: Stage, name: str) -> None:
    lake.released()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.enqueue(["b.csv"], "cold")
    place = lake.places.by_name[name]
    assert isinstance(place, Prefix)
    went = emptied(place)
    if name == "lake":
        assert set(lake.work().jobs.values()) == {JobState.QUEUED}  # not to blame, tried again
    else:
        with pytest.raises(MarkerLost):
            lake.work()
    with pytest.raises(MarkerLost):
        lake.rescan()
    with pytest.raises(MarkerLost):
        lake.eject()
    if name == "lake":
        lake.sweep()
    assert emptied(place) == {}  # nothing was written there
    for key, data in went.items():
        place.user.put_object(Bucket=place.bucket, Key=key, Body=data)
    if name == "cold":  # a server that tells another time of them: the same bytes
        assert lake.look() == OLD
    if name == "lake":  # a second later they have another time
        lake.rescan()
    if name != "hot":  # b.csv's job goes on as well, before or behind the eject
        assert lake.eject().failed == 0
        assert (lake.raw(NAME), lake.read("b.csv")) == (OLD, NEW)


@pytest.mark.on_sqlite
@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("layout", ["s3"])
def test_a_server_that_tells_another_time_of_a_blob_is_believed_after_proof(lake: Stage) -> None:
    lake.due()
    lake.days(1)
    cold = lake.places.by_name["cold"]
    [(key, data)] = lake.stored("cold").items()
    cold.write(key, data, lake.clock.now_us())  # without its metadata; what is inside it still tells
    assert lake.look() == OLD
    assert verified(lake).adopted == 1
    assert lake.sweep().sources == 1
    lake.migrate(NAME, tier="warm")
    lake.days(8)
    assert lake.sweep().blobs == 1
    assert lake.look() == OLD


# MUST 14
@pytest.mark.on_sqlite
def test_readers_conclude_nothing_from_a_place_that_is_not_what_it_is_called(lake: Stage) -> None:
    lake.moved()
    lake.write("b.csv", NEW)
    lake.scan()
    lake.days(8)
    lake.sweep()
    reader = CatalogReader(lake.new_context())
    marker = lake.root / RESERVED / CLAIM
    right = marker.read_text()
    (lake.root / "b.csv").write_bytes(OLD)
    marker.write_text(right.replace('"lake"', '"pond"'))
    with pytest.raises(OtherPlace, match="dataset:pond"):
        reader.open("lake/b.csv")
    marker.write_text(right)
    with reader.open("lake/b.csv") as found:
        assert found.read_at(0, len(OLD)) == OLD
    disks = [away(lake.place / "cold"), away(lake.root)]
    for name in (NAME, "b.csv"):
        with pytest.raises(MarkerLost):
            CatalogReader(lake.new_context()).open(f"lake/{name}")
    for path, disk in zip((lake.place / "cold", lake.root), disks, strict=True):
        back(path, disk)


def test_a_claim_of_a_place_that_its_tier_left_is_refused(lake: Stage) -> None:
    lake.moved()
    with lake.catalog.begin() as conn:
        facts.put(conn, facts.moved_to("cold"), "file:///srv/elsewhere")
    with pytest.raises(OtherPlace, match="was moved to"):
        lake.context.claim(Place("tier", "cold"))
