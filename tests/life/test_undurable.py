"""An old copy of the catalog that did what it never told: a reconcile takes it back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import outbox
from storaged.model import RawState
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.recover.backup import backup
from storaged.work.recover.rebuild import reconcile
from storaged.work.recover.undurable import take_back
from storaged.work.rewrite.pointers import hold_objects, remove_objects
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.stage import NAME, OLD, Stage, a_stage
from tests.life.world import PLAIN


def waiting(lake: Stage) -> int:
    with lake.catalog.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one())


def a_swap(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    lake.dies(lake.work, "write_note")


def a_move_of_what_was_moved(lake: Stage) -> None:
    lake.released()
    lake.enqueue([NAME], "warm", PLAIN)
    lake.dies(lake.work, "write_note")


def an_undo(lake: Stage) -> None:
    lake.moved()
    lake.dies(lambda context: lake.undo(f"lake/{NAME}", context), "write_note")


def a_removal_that_was_asked_for(lake: Stage) -> None:
    lake.released()
    lake.dies(lambda context: remove_objects(context, targets.pages(context, f"lake/{NAME}")), "write_note")


def a_hold(lake: Stage) -> None:
    lake.moved()
    lake.dies(lambda context: hold_objects(context, targets.pages(context, f"lake/{NAME}"), "court"), "write_note")


CHANGES = [a_swap, a_move_of_what_was_moved, an_undo, a_removal_that_was_asked_for, a_hold]


# MUST 8
@pytest.mark.parametrize("change", CHANGES)
def test_an_old_copy_takes_back_what_it_never_told(change: Callable[[Stage], None], lake: Stage) -> None:
    change(lake)
    assert waiting(lake) == 1
    copy = lake.databases.copy(lake.catalog)
    lake.is_rebuilt()
    as_rebuilt = lake.seen(NAME).placement
    lake.sweep()
    lake.takes_over(copy())
    assert reconcile(lake.context).taken_back == 1
    lake.rescan()
    assert waiting(lake) == 0
    now = lake.seen(NAME).placement
    assert (now.raw.state, now.raw.identity) == (as_rebuilt.raw.state, as_rebuilt.raw.identity)
    assert [(r.blob, r.state) for r in now.replicas] == [(r.blob, r.state) for r in as_rebuilt.replicas]
    assert lake.look() == OLD
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert lake.look() == OLD
    assert lake.unknown_blobs() == []


def test_what_the_journal_has_is_not_taken_back(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    lake.dies(lake.work, "write_note")
    copy = lake.databases.copy(lake.catalog)
    lake.context.journal.flush()  # it went on, after the copy was made
    lake.days(8)
    assert lake.sweep().sources == 1
    lake.takes_over(copy())
    assert reconcile(lake.context).taken_back == 0
    lake.rescan()
    assert lake.seen(NAME).placement.raw.state in (RawState.RELEASING, RawState.RELEASED)
    assert lake.look() == OLD


def test_a_crash_anywhere_while_it_is_taken_back_loses_nothing(
    dialect: str, clock: FakeClock, moments: range, request: pytest.FixtureRequest
) -> None:
    crashes = 0
    for n in moments:
        with a_stage(dialect, clock, request) as lake:
            a_swap(lake)
            copy = lake.databases.copy(lake.catalog)
            lake.is_rebuilt()
            lake.sweep()
            lake.takes_over(copy())
            effects = Effects(stop_after=n)
            context = lake.new_context(
                catalog=CrashingCatalog(lake.catalog, effects),
                wrap=lambda store, e=effects: CrashingStore(store, e),
            )
            try:
                reconcile(context)
            except Crash:
                crashes += 1
                reconcile(lake.context)
            lake.rescan()
            assert lake.look() == OLD
            if not effects.dead:
                break
    assert crashes * moments.step + moments.start > 4


def test_a_hold_of_what_was_never_moved_is_kept_and_told_again(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.dies(lambda context: hold_objects(context, targets.pages(context, f"lake/{NAME}"), "court"), "write_note")
    assert take_back(lake.context) == 1
    assert lake.seen(NAME).placement.hold == "court"
    lake.context.journal.flush()
    lake.is_rebuilt()
    assert lake.seen(NAME).placement.hold == "court"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_backup_holds_nothing_that_the_journal_does_not_have(lake: Stage) -> None:
    a_swap(lake)
    assert waiting(lake) == 1
    backup(lake.context, "hot", None)
    assert waiting(lake) == 0
