"""A tier is brought to another place, and proved there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from storaged.config.settings import at_another_place, load_settings
from storaged.errors import (
    CatalogBehind,
    ForeignClaim,
    OtherPlace,
    RefusedByGuard,
    UsageError,
)
from storaged.stores.base import RESERVED
from storaged.stores.notes import CLAIM
from storaged.work.context import Context
from storaged.work.recover.tier_move import move_tier
from tests.life.disks import verified
from tests.life.stage import NEW, OLD, Stage


def contexts(lake: Stage, tier: str, path: Path) -> tuple[Context, Context]:
    moved = at_another_place(lake.settings, tier, path.as_uri())
    return Context(moved, lake.catalog, lake.clock, actor="test"), lake.context


def at(lake: Stage, tier: str, path: Path) -> None:
    config = lake.place / "storaged.yaml"
    config.write_text(config.read_text().replace(f'"{lake.settings.tiers[tier].url}"', f'"{path.as_uri()}"'))
    lake.settings = load_settings(config)
    lake.context = lake.new_context()


# MUST 14
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
    assert (found.wrong, found.left, found.blobs, found.damaged) == ([], True, int(tier == "cold"), 0)
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
