"""The catalog is lost or an old copy of it restored: the journal, the tiers and the root tell the rest."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from storaged.catalog import facts
from storaged.errors import CatalogBehind, ForeignClaim, StoragedError
from storaged.testing import FakeClock
from storaged.work import claims, targets
from storaged.work.context import Context
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.pointers import hold_objects, pin_objects, remove_objects, undo_objects
from storaged.work.rewrite.returns import to_root
from storaged.work.rewrite.stage import stage
from storaged.work.rewrite.swap import swap
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.deaths import filled, nothing_is_lost
from tests.life.scenes import NAMES
from tests.life.stage import NAME, OLD, Stage, a_stage
from tests.life.world import PLAIN, noise, text

Step = Callable[[Stage], object]


def _staged(lake: Stage) -> None:
    """A worker dies when its blobs are written and nothing is swapped."""
    lake.enqueue(NAMES, "cold")
    lake.dies(lake.work, "head", len(NAMES))
    assert len(lake.stored("cold")) >= 2


def _moved(lake: Stage) -> None:
    lake.days(0.1)
    if not lake.stored("cold"):  # else the staged job is tried again
        lake.enqueue(NAMES, "cold")
    lake.work()


def _released(lake: Stage) -> None:
    lake.days(8)
    lake.sweep()
    assert all(lake.raw(n) is None for n in NAMES)


def _undone(lake: Stage) -> None:
    lake.undo("lake")


def _ejected(lake: Stage) -> None:
    lake.eject()


def _cleared(lake: Stage) -> None:
    lake.days(8)
    assert lake.sweep().blobs == len(NAMES)


SCENES: dict[str, tuple[Step, ...]] = {
    "moved": (_moved,),
    "half-way staged": (_staged,),
    "released": (_moved, _released),
    "undone": (_moved, _undone),
    "ejected": (_moved, _released, _ejected),
}


# MUST 8
@pytest.mark.parametrize(
    ("scene", "again"),
    [*((scene, "reconcile") for scene in SCENES), ("moved", "rebuild"), ("half-way staged", "rebuild")],
)
def test_a_crash_after_every_effect_of_a_rebuild_loses_nothing(
    scene: str, again: str, dialect: str, clock: FakeClock, moments: range, request: pytest.FixtureRequest
) -> None:
    crashes = 0
    for n in moments:
        with a_stage(dialect, clock, request) as lake:
            filled(lake, NAMES)
            for step in SCENES[scene]:
                step(lake)
            _lose(lake)
            effects = Effects(stop_after=n)
            try:
                _come_back(
                    lake.new_context(
                        catalog=CrashingCatalog(lake.catalog, effects),
                        wrap=lambda store, e=effects: CrashingStore(store, e),
                    )
                )
            except Crash:
                crashes += 1
            if again == "rebuild":
                _lose(lake)
            _come_back(lake.new_context())
            lake.context = lake.new_context()
            nothing_is_lost(lake, NAMES)
        if not effects.dead:
            break
    else:
        pytest.fail("the rebuild has no end")
    assert crashes * moments.step + moments.start > 8, effects.log


def _lose(lake: Stage) -> None:
    lake.takes_over(lake.databases.heir(lost_catalog(lake.context.tier("hot"))))


def _come_back(context: Context) -> None:
    reconcile(context)
    scan(context, "lake", confirm_empty=True)


LIFE: dict[str, Step] = {
    "before anything": lambda lake: None,
    "staged": _staged,
    "swapped": _moved,
    "released": _released,
    "ejected": _ejected,
}
COMMANDS: dict[str, Callable[[Context], object]] = {
    "scan": lambda c: scan(c, "lake"),
    "sweep": sweep,
    "work": lambda c: Worker(c).run(),
    "undo": lambda c: undo_objects(c, targets.pages(c, "lake")),
    "rm": lambda c: remove_objects(c, targets.pages(c, "lake")),
    "hold": lambda c: hold_objects(c, targets.pages(c, "lake"), "court"),
    "pin": lambda c: pin_objects(c, targets.pages(c, "lake"), "warm"),
    "eject": lambda c: to_root(c, targets.pages(c, "lake"), reason="test"),
}


# MUST 8
@pytest.mark.parametrize("point", LIFE)
def test_an_old_copy_does_nothing_until_it_is_reconciled_and_then_everything_reads_right(
    point: str, lake: Stage
) -> None:
    filled(lake, NAMES)
    restore = None
    for name, step in LIFE.items():
        step(lake)
        if name == point:
            restore = lake.databases.copy(lake.catalog)
    _cleared(lake)
    assert restore is not None
    lake.takes_over(restore())
    for command in COMMANDS.values():
        with pytest.raises(CatalogBehind, match="old copy"):
            command(lake.context)
    _come_back(lake.context)
    nothing_is_lost(lake, NAMES)


def test_the_catalog_that_an_old_copy_replaced_may_not_act_any_more(lake: Stage) -> None:
    lake.due()
    newest = lake.context
    lake.takes_over(lake.databases.copy(lake.catalog)())
    _come_back(lake.context)
    for command in COMMANDS.values():  # two that act would undo each other's work
        with pytest.raises(ForeignClaim, match="epoch"):
            command(newest)


# MUST 13
def test_the_lost_catalog_may_not_act_any_more_when_it_turns_up_again(lake: Stage) -> None:
    lake.moved()
    lost = lake.new_context()
    lake.is_rebuilt()
    for command in COMMANDS.values():
        with pytest.raises(ForeignClaim, match="epoch 2"):
            command(lake.new_context(catalog=lost.catalog))


# MUST 13
def test_a_second_catalog_is_refused_at_a_claimed_tier_and_root(lake: Stage) -> None:
    lake.moved()
    other = lake.new_context(catalog=lake.databases.make())
    with other.catalog.begin() as conn:
        facts.put(conn, "catalog_id", "f" * 32)
    for act in (other.register, other.ready, lambda: reconcile(other)):
        with pytest.raises(ForeignClaim, match="belongs to catalog"):
            act()
    assert claims.holder(lake.context.tier("cold")) == lake.context.identity
    assert claims.holder(lake.context.root("lake")) == lake.context.identity
    assert lake.look() == OLD


def _note_of(lake: Stage, number: int) -> str:
    return f"journal/{lake.context.identity.catalog}/{number:012d}.jsonl"


# MUST 8
@pytest.mark.parametrize(
    "harm",
    [
        "another catalog's",
        "empty",
        "another number's",
        "cut",
        "no text",
    ],
)
def test_a_journal_entry_that_is_not_what_was_written_is_refused(harm: str, lake: Stage) -> None:
    lake.moved()
    lake.days(8)
    lake.sweep()
    hot = lake.context.tier("hot")
    data = hot.read_note(_note_of(lake, 1))
    assert data is not None
    head, rest = data.split(b"\n", 1)
    told = json.loads(head)
    bad = {
        "another catalog's": json.dumps({**told, "catalog": "f" * 32}).encode() + b"\n" + rest,
        "another number's": json.dumps({**told, "number": 0}).encode() + b"\n" + rest,
        "cut": data[: len(data) // 2],
        "no text": b"\xff\xfe" + data,
        "empty": b"",
    }[harm]
    hot.write_note(_note_of(lake, 1), bad, create_only=False)
    _lose(lake)
    with pytest.raises(StoragedError, match="journal entry 1"):
        reconcile(lake.context)
    hot.write_note(_note_of(lake, 1), data, create_only=False)
    _come_back(lake.context)
    assert lake.look() == OLD


# MUST 8
def test_holds_and_pins_survive_the_loss_of_the_catalog(lake: Stage) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        lake.write(name, text(name))
    lake.scan()
    pin_objects(lake.context, targets.pages(lake.context, "lake/b.csv"), "warm")  # never moved
    lake.migrate("a.csv", "c.csv")
    hold_objects(lake.context, targets.pages(lake.context, "lake/a.csv"), "court")
    lake.is_rebuilt()
    assert lake.seen("a.csv").placement.hold == "court"
    assert lake.seen("b.csv").placement.pin == "warm"
    lake.days(8)
    swept = lake.sweep()
    assert (swept.sources, swept.held_back) == (1, {"held": 1})
    assert lake.raw("a.csv") == text("a.csv")
    assert lake.raw("c.csv") is None


def test_what_a_sleeper_of_the_lost_catalog_swaps_does_not_reach_the_journal(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    sleeper = lake.new_context(actor="sleeper")
    with Worker(sleeper, name="sleeper") as worker:
        claimed = worker.claim()
    assert claimed is not None
    staged = [stage(sleeper, item) for item in claimed.items]
    lake.is_rebuilt()
    lake.sweep()  # the blob that it staged is unknown to the journal
    swap(sleeper, claimed, staged, [])
    with pytest.raises(StoragedError):
        sleeper.journal.flush()
    lake.rescan()
    assert lake.look() == OLD


def test_a_journal_entry_that_lands_after_the_rebuild_changes_nothing(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    [late] = lake.dies(lake.work, "write_note", in_flight=True).under_way
    lake.is_rebuilt()
    lake.sweep()
    late.land()
    lake.rescan()
    assert lake.look() == OLD


def test_a_blob_that_lands_after_the_last_listing_is_found(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    [late] = lake.dies(lake.work, "upload", in_flight=True).under_way
    lake.is_rebuilt()
    lake.days(6)
    assert late.land()
    lake.days(2)  # nobody swept meanwhile, and now the window is over
    lake.sweep()
    assert lake.unknown_blobs() == []
    assert lake.stored("cold") == {}


# MUST 8
def test_a_rebuild_that_died_half_way_is_not_taken_for_done(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    lake.dies(lake.work, "head")
    assert len(lake.stored("cold")) == 1
    _lose(lake)
    lake.dies(reconcile, "list")
    with pytest.raises(CatalogBehind):
        sweep(lake.new_context())


def test_parts_of_a_dead_upload_are_cleared_away_though_the_catalog_is_lost(lake: Stage) -> None:
    lake.write_untold(NAME, noise(NAME, 9 << 20))  # more than one part where there are parts
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    lake.dies(lake.work, "upload")
    assert lake.leftovers()
    lake.is_rebuilt()
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert lake.leftovers() == []
