"""A collection that a policy moves whole: all of it at once, or nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import members
from storaged.catalog.items import Item
from storaged.catalog.schema import job_items, objects, replicas
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.errors import StoreError
from storaged.model import RawState
from storaged.testing import Faults, FaultyStore
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.rewrite import as_one, collections, swap, whole, worker
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.enqueue import Enqueued
from storaged.work.rewrite.pointers import Changed, hold_objects, undo_job
from tests.life.stage import Stage
from tests.life.world import text

POLICY = """
name: whole
target: {dataset: lake, tier: hot}
when: {age_over: 1d}
to: {tier: warm}
mode: active
collections: whole
"""
CHUNKS = ("array.zarr/c/0/0", "array.zarr/c/0/1")
ARRAY = ("array.zarr/zarr.json", *CHUNKS)


pytestmark = pytest.mark.usefixtures("layout")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("layout", ["local"])


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested where their statements are."""
    return "sqlite"


def policies(lake: Stage, text: str = POLICY) -> PolicySet:
    (lake.place / "policies" / "p.yaml").write_text(text)
    return load_policies(lake.place / "policies", lake.settings)


def planned(lake: Stage, text: str = POLICY) -> Plan:
    return make_plan(lake.catalog, lake.context.settings, policies(lake, text), lake.clock)


def held(lake: Stage, plan: Plan) -> dict[str, str | None]:
    return {row.name: row.held for row in plan_rows(lake.catalog, plan.id)}


def an_array(lake: Stage, *others: str) -> None:
    lake.write("array.zarr/zarr.json", b"{}")
    for name in (*CHUNKS, *others):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)


def applied(lake: Stage) -> Enqueued:
    return apply_plan(lake.context, planned(lake).id, policies(lake))


def where(lake: Stage) -> dict[str, str]:
    """The tier of each part by now; empty: at its root."""
    with lake.catalog.read() as conn:
        query = sa.select(objects.c.name, objects.c.raw_state).where(objects.c.removed_us.is_(None))
        at_root = {row.name: row.raw_state == RawState.CURRENT.value for row in conn.execute(query)}
    return {name: "" if at_root[name] else "warm" for name in ARRAY if name in at_root}


# MUST 11
def test_all_of_it_goes_in_one_job_and_reads_as_before(lake: Stage) -> None:
    an_array(lake, "plain.csv")
    plan = planned(lake)
    assert held(lake, plan) == dict.fromkeys((*ARRAY, "plain.csv"))
    assert "collections that move whole: 1, of 3 objects" in str(plan.summary)
    assert len(apply_plan(lake.context, plan.id, policies(lake)).jobs) == 2  # the array, and what is beside it
    assert lake.work().done == 4
    assert where(lake) == dict.fromkeys(ARRAY, "warm")
    assert {lake.read(name) for name in CHUNKS} == {text(name) for name in CHUNKS}
    lake.days(8)
    assert lake.sweep().sources == 4
    lake.rescan()
    assert held(lake, planned(lake)) == {}
    lake.eject()
    lake.rescan()
    assert {name: lake.raw(name) for name in CHUNKS} == {name: text(name) for name in CHUNKS}


def a_chunk_written(lake: Stage) -> None:
    lake.write(CHUNKS[1], text("other"))


def a_chunk_more(lake: Stage) -> None:
    lake.write("array.zarr/c/0/2", text("more"))


def a_chunk_gone(lake: Stage) -> None:
    lake.delete(CHUNKS[0])


def a_group_around(lake: Stage) -> None:
    lake.write("zarr.json", b"{}")


def a_chunk_held(lake: Stage, name: str = CHUNKS[0]) -> None:
    hold_objects(lake.context, [[lake.seen(name)]], "a trial")


def nothing_of_it_moved(lake: Stage) -> None:
    """What was staged of it is cleared away by the next sweep."""
    assert set(where(lake).values()) == {""}
    with lake.catalog.read() as conn:
        query = sa.select(objects.c.name).join(replicas, replicas.c.object_id == objects.c.id)
        assert all("plain" in name for name in conn.execute(query).scalars())


MEANWHILE: dict[Callable[[Stage], None], tuple[str, str]] = {  # what is said of it unscanned, and scanned
    a_chunk_written: ("array.zarr/c/0/1 was changed since the last scan", "c/0/1: changed since it was planned"),
    a_chunk_more: ("array.zarr/c/0/2 is new since the last scan", "it has 4 objects now, and had 3 when that"),
    a_chunk_gone: ("array.zarr/c/0/0 was deleted since the last scan", "c/0/0: changed since it was planned"),
    a_group_around: ("it is no collection any more, or a part of another one",) * 2,
    a_chunk_held: ("c/0/0: changed since it was planned",) * 2,
}


# MUST 11
@pytest.mark.parametrize("change", MEANWHILE, ids=lambda change: change.__name__)
@pytest.mark.parametrize("scanned", [False, True])
def test_what_happens_to_a_part_drops_all_of_it_with_the_reason(
    change: Callable[[Stage], None], scanned: bool, lake: Stage
) -> None:
    an_array(lake, "plain.csv")
    assert len(applied(lake).jobs) == 2
    change(lake)
    if scanned:
        lake.rescan()
    report = lake.work()
    assert (report.done, report.failed) == (0 if change is a_group_around else 1, 0)
    nothing_of_it_moved(lake)
    with lake.catalog.read() as conn:
        query = sa.select(job_items.c.note).join(objects, objects.c.id == job_items.c.object_id)
        notes = list(conn.execute(query.where(objects.c.name.in_(ARRAY))).scalars())
    assert len(notes) == 3
    assert sum(MEANWHILE[change][scanned] in note for note in notes) >= 1, notes
    assert sum("moves whole or not at all" in note for note in notes) >= 2, notes


def test_shards_with_their_index_beside_them_are_one(lake: Stage) -> None:
    """Not all keys of such a collection begin with its prefix."""
    shards = [f"st/model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    names = (*shards, "st/model.safetensors.index.json")
    for name in (*names, "st/before.csv", "st/model/behind.csv"):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)
    assert len(applied(lake).jobs) == 2
    assert lake.work().done == 5
    assert len(lake.undo("lake/st/model-").done) == 3


# -- guards, each taken away once ----------------------------------------------------------------------------------

Take = pytest.MonkeyPatch
SWAP = 4  # the worker's fourth transaction, behind the claim, its note of what collections it saw, and its attempts


def writes(lake: Stage, name: str) -> Callable[[], None]:
    """The user writes this once all of it is staged, and a scan sees it."""

    def act() -> None:
        assert len(lake.stored("warm")) == len(ARRAY)
        lake.write(name, text("other"))
        lake.rescan()

    return act


def a_part_changed_after_it_was_copied_keeps_all_of_it(lake: Stage) -> None:
    done: list[str] = []

    def writes_once_all_are_copied(item: Item, _note: str) -> None:
        done.append(item.seen.placement.name)
        if len(done) == len(ARRAY):
            lake.write(CHUNKS[0], text("other"))

    with worker.Worker(lake.context) as at_work:
        at_work.run(on_item=writes_once_all_are_copied)
    assert len(done) == len(ARRAY)


def without_the_last_look(take: Take) -> None:
    take.setattr(collections, "as_scanned", lambda *_: None)


def a_part_that_a_scan_adopts_before_the_swap_keeps_all_of_it(lake: Stage) -> None:
    lake.meets(lake.work, "begin", writes(lake, CHUNKS[1]), nth=SWAP)


def without_all_at_the_swap(take: Take) -> None:
    for required in ("require_moved", "require_whole"):
        take.setattr(swap, required, lambda *_: None)


def a_part_that_is_new_at_the_swap_keeps_all_of_it(lake: Stage) -> None:
    lake.meets(lake.work, "begin", writes(lake, "array.zarr/c/0/2"), nth=SWAP)


def without_membership(take: Take) -> None:
    take.setattr(whole, "membership", lambda *_: "")


def a_part_that_changed_before_the_claim_keeps_all_of_it(lake: Stage) -> None:
    lake.write(CHUNKS[1], text("other"))
    lake.rescan()
    lake.work()


def with_a_claim_of_what_is_left(take: Take) -> None:
    honest = members._skip_stale

    def and_nothing_else(*given: Any) -> int:
        honest(*given)
        return 0

    take.setattr(members, "_skip_stale", and_nothing_else)
    without_the_last_look(take)


def a_part_that_cannot_be_read_keeps_all_of_it(lake: Stage) -> None:
    def shut(method: str, key: str) -> None:
        if (method, key) == ("open", ARRAY[0]):
            raise StoreError("it does not open", key=key)

    faults = Faults(before=shut)
    lake.work(lake.new_context(wrap=lambda store: FaultyStore(store, faults)))
    assert faults.calls("open") >= 1


def with_what_could_be_staged(take: Take) -> None:
    take.setattr(worker, "all_or_nothing", lambda _context, _claimed, _parts, staged, met: (staged, met))
    without_all_at_the_swap(take)


def a_folder_above_that_became_one_keeps_all_of_it(lake: Stage) -> None:
    lake.write("zarr.json", b"{}")
    lake.work()


def without_a_look_above(take: Take) -> None:
    take.setattr(collections, "look", lambda *_, **__: collections.LookedNow("", {}, None))


SCENES: dict[Callable[[Stage], None], Callable[[Take], None]] = {
    a_part_changed_after_it_was_copied_keeps_all_of_it: without_the_last_look,
    a_part_that_a_scan_adopts_before_the_swap_keeps_all_of_it: without_all_at_the_swap,
    a_part_that_is_new_at_the_swap_keeps_all_of_it: without_membership,
    a_part_that_changed_before_the_claim_keeps_all_of_it: with_a_claim_of_what_is_left,
    a_part_that_cannot_be_read_keeps_all_of_it: with_what_could_be_staged,
    a_folder_above_that_became_one_keeps_all_of_it: without_a_look_above,
}


# MUST 11
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nothing_of_it_is_moved(scene: Callable[[Stage], None], lake: Stage) -> None:
    an_array(lake)
    assert len(applied(lake).jobs) == 1
    scene(lake)
    nothing_of_it_moved(lake)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_part_of_it_is_moved_without_the_guard(
    scene: Callable[[Stage], None], lake: Stage, monkeypatch: Take
) -> None:
    an_array(lake)
    assert len(applied(lake).jobs) == 1
    SCENES[scene](monkeypatch)
    scene(lake)
    with pytest.raises(AssertionError):
        nothing_of_it_moved(lake)


# -- all of it goes back -------------------------------------------------------------------------------------------


def moved(lake: Stage) -> None:
    an_array(lake)
    assert len(applied(lake).jobs) == 1
    assert lake.work().done == 3


def told_of(changed: Changed) -> dict[str, str]:
    return {name.removeprefix("lake/"): why for name, why in changed.refused}


# MUST 11
@pytest.mark.parametrize("scanned", [False, True])
@pytest.mark.parametrize("by_job", [False, True])
def test_what_its_user_wrote_anew_stays_and_is_told_and_all_else_goes_back(
    scanned: bool, by_job: bool, lake: Stage
) -> None:
    moved(lake)
    lake.write(CHUNKS[1], text("other"))
    if scanned:
        lake.rescan()
    changed = undo_job(lake.context, [1]) if by_job else lake.undo(f"lake/{CHUNKS[0]}")
    assert sorted(changed.done) == [f"lake/{CHUNKS[0]}", "lake/array.zarr/zarr.json"]
    assert list(told_of(changed)) == [CHUNKS[1]]
    assert "at its original key already" in told_of(changed)[CHUNKS[1]]
    assert where(lake) == dict.fromkeys(ARRAY, "")  # no scan came by
    assert lake.read(CHUNKS[1]) == text("other")
    assert changed.whole == ["lake/array.zarr/ was moved whole, so undo is of all of it: 3 objects"]


def test_what_was_put_there_again_as_it_was_goes_back_with_the_others(lake: Stage) -> None:
    moved(lake)
    lake.days(1)
    lake.write(CHUNKS[1], text(CHUNKS[1]))
    assert len(lake.undo("lake/array.zarr").done) == 3


def an_original_is_gone(lake: Stage) -> Changed:
    lake.delete(CHUNKS[1])
    return lake.undo(f"lake/{CHUNKS[0]}")


def a_part_changes_while_all_go_back(lake: Stage) -> Changed:
    given: list[Changed] = []
    lake.meets(
        lambda context: given.append(lake.undo("lake/array.zarr", context)),
        "begin",
        lambda: a_chunk_held(lake, CHUNKS[1]),
    )
    return given[0]


BACK: dict[Callable[[Stage], Changed], str] = {
    an_original_is_gone: "what it would go back to is gone: scan, then look again",
    a_part_changes_while_all_go_back: "it is being changed by somebody else; try again",
}


def all_of_it_stays(lake: Stage, scene: Callable[[Stage], Changed]) -> None:
    moved(lake)
    changed = scene(lake)
    assert where(lake) == dict.fromkeys(ARRAY, "warm")
    assert (changed.done, told_of(changed)) == ([], {CHUNKS[1]: BACK[scene]})


# MUST 11
@pytest.mark.parametrize("scene", BACK, ids=lambda scene: scene.__name__)
def test_what_keeps_a_part_from_going_back_keeps_all_of_it(scene: Callable[[Stage], Changed], lake: Stage) -> None:
    all_of_it_stays(lake, scene)


@pytest.mark.parametrize("scene", BACK, ids=lambda scene: scene.__name__)
def test_some_of_it_goes_back_without_the_guard(
    scene: Callable[[Stage], Changed], lake: Stage, monkeypatch: Take
) -> None:
    monkeypatch.setattr(as_one, "_words", lambda *_: "")
    with pytest.raises(AssertionError):
        all_of_it_stays(lake, scene)
    assert set(where(lake).values()) == {"", "warm"}
