"""The catalog's own troubles: journal, queue, plans, suspensions."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.schema import meta, plan_items, plans
from storaged.clock import SECOND
from storaged.errors import CatalogBehind, PermissionDenied
from storaged.stores.read_only import ReadOnly
from storaged.work import suspension
from storaged.work.doctor import mend
from storaged.work.journal import prefix
from storaged.work.recover.rebuild import reconcile
from tests.doctor.findings import checks, commands, findings, found, one_catalog
from tests.life.databases import Databases
from tests.life.world import World, text


def lived(world: World, steps: int = 3) -> None:
    """Some journal entries."""
    for n in range(steps):
        world.write(f"{n}.csv", text(str(n)))
        world.scan()
        world.migrate(f"{n}.csv")
        world.sweep()


def notes(world: World) -> list[Path]:
    """The files of the journal."""
    return sorted((world.place / "hot/.storaged" / prefix(world.context.identity.catalog)).iterdir())


@one_catalog
def test_an_old_copy_of_the_catalog_is_found_and_reconcile_mends_it(
    world: World, sqlite_template: Path, tmp_path: Path
) -> None:
    databases = Databases("sqlite", tmp_path, template=sqlite_template)
    lived(world, 1)
    restore = databases.copy(world.catalog)
    lived(world, 2)
    context = world.new_context(catalog=restore())
    some = findings(world, context=context)
    assert "journal-behind" in {f.check for f in some}
    [behind] = [f for f in some if f.check == "journal-behind"]
    assert commands(behind.mend) == ["catalog reconcile --yes"]
    with pytest.raises(CatalogBehind):
        mend(context)
    reconcile(context)
    assert "journal-behind" not in checks(world, context=context)
    databases.close()


@one_catalog
def test_a_reconcile_that_was_cut_short_is_told(world: World) -> None:
    lived(world, 1)
    with world.catalog.begin() as conn:
        facts.put(conn, "reconciling", "1")
    assert "not finished" in found(world, "journal-behind").says
    reconcile(world.context)
    world.context.forget_identity()
    assert findings(world) == []


@one_catalog
@pytest.mark.parametrize(
    ("gone", "says"),
    [((0,), "entry 0 is missing of the 3"), ((1,), "entry 1 is missing"), ((1, 2), "entries 1 to 2 are missing")],
)
def test_a_hole_in_the_journal_is_found(world: World, gone: tuple[int, ...], says: str) -> None:
    lived(world)
    files = notes(world)
    assert len(files) == 3
    kept = {n: files[n].read_bytes() for n in gone}
    for n in gone:
        files[n].unlink()
    assert says in found(world, "journal-gap").says
    for n, data in kept.items():
        files[n].write_bytes(data)
    assert findings(world) == []


@one_catalog
def test_a_damaged_journal_entry_is_found_by_reading_them_all(world: World) -> None:
    lived(world)
    path = notes(world)[1]
    path.write_bytes(path.read_bytes()[:-20])
    assert findings(world) == []
    assert "journal entry 1" in found(world, "journal-damaged", deep=True).says


@one_catalog
def test_an_entry_that_a_crash_left_between_journal_and_catalog_is_none_of_our_business(world: World) -> None:
    lived(world, 1)
    undo_and_die(world)
    before = len(notes(world))
    with world.catalog.read() as conn:
        entries = facts.waiting(conn, 10)
    assert len(entries) == 1
    world.context.journal._write(before, [line for _, line in entries])  # J1, and then it dies
    assert len(notes(world)) == before + 1
    assert findings(world) == []
    world.sweep()
    assert findings(world) == []


def undo_and_die(world: World) -> None:
    """A change is in the catalog and waits for the journal."""
    with pytest.raises(PermissionDenied):
        world.undo("lake/0.csv", world.new_context(wrap=lambda store: ReadOnly(store)))


def test_entries_that_wait_long_are_found_and_a_sweep_sends_them(world: World) -> None:
    lived(world, 1)
    undo_and_die(world)
    assert findings(world) == []
    world.clock.advance(2 * 3600)
    assert "1 wait" in found(world, "entries-wait").says
    world.sweep()
    assert findings(world) == []


@one_catalog
def test_a_journal_on_a_tier_that_is_not_configured_is_told(world: World) -> None:
    world.scan()
    with world.catalog.begin() as conn:
        conn.execute(sa.update(meta).where(meta.c.key == "journal_tier").values(value="another"))
    assert "'another'" in found(world, "journal-away").says


def test_jobs_that_nobody_takes_are_found_unless_they_are_suspended(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.enqueue(["a.csv"], "cold")
    world.days(1.1)
    assert commands(found(world, "jobs-wait").mend) == ["work"]
    suspension.suspend(world.context, "tier", "cold", "it is full")
    stopped = found(world, "suspended")
    assert stopped.subject == "tier:cold"
    assert "it is full" in stopped.says
    assert commands(stopped.mend) == ["resume tier:cold"]
    suspension.resume(world.context, "tier", "cold")
    world.work()
    assert findings(world) == []


@one_catalog
def test_what_is_tried_again_by_itself_is_only_worth_knowing(world: World) -> None:
    world.scan()
    suspension.suspend(world.context, "dataset", "lake", "away", retry_us=world.clock.now_us() + 60 * SECOND)
    assert found(world, "suspended-for-now").severity == "info"


def test_a_draft_that_was_left_is_deleted_and_no_other_plan(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    with world.catalog.begin() as conn:
        for number, state in ((1, "draft"), (2, "saved")):
            row = {"id": number, "state": state, "made_us": world.clock.now_us(), "policies": "[]"}
            conn.execute(sa.insert(plans).values(row))
            item = {"plan_id": number, "object_id": 1, "policy": "p", "version": 1, "identity": "", "size": 1}
            item |= {"stored_bytes": 1, "after_bytes": 1, "tier_id": 1, "codec": "zstd", "grace_us": 0, "reason": ""}
            conn.execute(sa.insert(plan_items).values(item))
    world.days(0.9)
    assert findings(world) == []
    assert mend(world.context).drafts == 0
    world.days(0.2)
    assert found(world, "draft-left").subject == "plan:1"
    assert mend(world.context).drafts == 1
    assert mend(world.context).drafts == 0
    assert findings(world) == []
    with world.catalog.read() as conn:
        assert conn.execute(sa.select(plans.c.id)).scalars().all() == [2]
        assert conn.execute(sa.select(plan_items.c.plan_id)).scalars().all() == [2]
