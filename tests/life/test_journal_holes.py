"""A journal that is not mounted, or lacks entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.catalog import facts
from storaged.errors import (
    CatalogBehind,
    MarkerLost,
    PlaceAway,
)
from storaged.model import JobState
from storaged.stores.base import RESERVED
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan
from tests.life.disks import away, back
from tests.life.stage import NAME, NEW, OLD, Stage


def notes(lake: Stage) -> list[Path]:
    return sorted((lake.place / "hot" / RESERVED / "journal").rglob("*.jsonl"))


# MUST 15
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


# MUST 15
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


# MUST 15
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


# MUST 15
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


# MUST 14
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


# MUST 14
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


# MUST 15
def test_a_release_whose_intent_was_lost_with_the_catalog_can_be_taken_back_for_long(lake: Stage) -> None:
    """The intent is the newest entry: nothing shows that it is missing."""
    lake.released()
    notes(lake)[-1].unlink()
    lake.is_rebuilt()
    assert lake.look() is None  # for all that is known, its user deleted it
    for _ in range(4):
        lake.days(30)
        lake.sweep()
    assert len(lake.stored("cold")) == 1
    assert lake.undo(f"lake/{NAME}").done == [f"lake/{NAME}"]
    assert lake.look() == OLD


# MUST 15
def test_what_was_under_way_before_a_hole_of_the_journal_is_kept(lake: Stage) -> None:
    """An old copy has it staged; the journal lost that it became a blob, and that its source was released."""
    lake.write(NAME, OLD)
    lake.write("b.csv", NEW)
    lake.scan()
    lake.enqueue([NAME], "cold")
    with Worker(lake.context, name="worker") as worker:
        claimed = worker.claim()
        assert claimed is not None
        restore, known = lake.databases.copy(lake.catalog), len(notes(lake))
        state, _ = worker.work(claimed)
        assert state is JobState.DONE
    lake.days(8)
    assert lake.sweep().sources == 1
    assert lake.migrate("b.csv", tier="warm").done == 1
    for note in notes(lake)[known:-1]:
        note.unlink()
    lake.takes_over(restore())
    found = reconcile(lake.context)
    assert found.holes
    assert [place.partition(":")[0] for place in found.kept] == ["cold"]
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert len(lake.stored("cold")) == 1, "the only copy"
