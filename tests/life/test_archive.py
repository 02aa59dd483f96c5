"""Archive classes in the life of a dataset: cold objects are asked for, followed, read, and never waited for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.catalog.items import Item, ToTier
from storaged.catalog.queue import ItemOutcome
from storaged.clock import DAY, SECOND, new_id
from storaged.errors import ObjectCold, PermissionDenied, StoreUnavailable, UsageError
from storaged.model import ItemState, JobState
from storaged.testing import FakeClock
from storaged.testing.faults import Crash, Fault, Faults, FaultyStore
from storaged.testing.servers import ENVIRONMENT
from storaged.work.context import Context
from storaged.work.release.strays import Strays, bury_strays
from storaged.work.rewrite.warm import State, Warming, ask
from storaged.work.rewrite.warming import SETTLED_US
from storaged.work.scan.run import scan
from tests.life.places import Lent
from tests.life.vault import Vault, content
from tests.life.world import PLAIN

HOUR = 3_600 * SECOND


def states(warming: Warming) -> dict[str, str]:
    return {copy.object: copy.state.value for copy in warming.copies}


@pytest.fixture
def vault(
    tmp_path: Path,
    catalog: Catalog,
    clock: FakeClock,
    lent: Lent,
    monkeypatch: pytest.MonkeyPatch,
) -> Vault:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Vault(tmp_path, catalog, clock, lent)


@pytest.mark.on_sqlite
def test_an_original_that_was_archived_is_asked_for_read_and_cold_again(vault: Vault) -> None:
    vault.put("a.csv")
    with pytest.raises(ObjectCold, match=r"GLACIER.*5 h \(Standard\)") as caught:
        vault.read("a.csv")
    assert caught.value.hint is not None
    assert "`storagectl warm lake/a.csv`" in caught.value.hint
    asked = vault.warm()
    assert states(asked) == {"lake/a.csv": "asked"}
    assert (asked.bytes, asked.ready_us) == (len(content("a.csv")), vault.clock.now_us() + 5 * HOUR)
    [row] = vault.rows()
    assert (row.state, row.blob_id, row.speed, row.days, row.actor) == ("warming", None, "Standard", 3, "test")
    assert (row.expected_us, row.until_us) == (asked.ready_us, None)

    vault.later(1)
    vault.refresh()
    assert vault.states() == ["warming"]
    with pytest.raises(ObjectCold):
        vault.read("a.csv")

    vault.arrive()
    assert vault.refresh().readable == 1
    [row] = vault.rows()
    assert (row.state, row.ready_us) == ("readable", vault.clock.now_us())
    assert row.until_us > vault.clock.now_us() + 2 * DAY
    assert vault.read("a.csv") == content("a.csv")

    vault.later(24 * 5)
    assert vault.refresh().expired == 1
    assert vault.states() == ["expired"]
    with pytest.raises(ObjectCold):
        vault.read("a.csv")


@pytest.mark.on_sqlite
def test_a_blob_in_an_archive_tier_is_asked_for_and_read(vault: Vault) -> None:
    vault.put("a.csv", storage_class="STANDARD")
    assert vault.move("a.csv", tier="deep").done == 1
    with pytest.raises(ObjectCold, match="DEEP_ARCHIVE"):
        vault.read("a.csv")
    assert vault.warm().ready_us == vault.clock.now_us() + 12 * HOUR
    [row] = vault.rows()
    assert row.blob_id == vault.seen("a.csv").placement.replicas[0].blob
    vault.arrive()
    vault.refresh()
    assert vault.read("a.csv") == content("a.csv")


@pytest.mark.on_sqlite
def test_what_is_readable_is_told_and_not_asked_for(vault: Vault) -> None:
    vault.put("a.csv", "b.csv", storage_class="STANDARD")
    vault.put("c.csv")
    vault.warm("lake/c.csv", days=5)
    vault.arrive()
    assert states(vault.warm(days=2)) == dict.fromkeys(("lake/a.csv", "lake/b.csv", "lake/c.csv"), "readable")
    assert vault.requests() == 1
    assert len(vault.rows()) == 1


@pytest.mark.on_sqlite
def test_a_copy_is_kept_longer_under_the_same_row(vault: Vault) -> None:
    vault.put("a.csv")
    vault.warm(days=1)
    vault.arrive()
    vault.refresh()
    [before] = vault.rows()
    assert states(vault.warm(days=9)) == {"lake/a.csv": "asked"}
    [after] = vault.rows()
    assert (after.id, after.state, after.days, after.ready_us) == (before.id, "readable", 9, before.ready_us)
    assert after.until_us > before.until_us + 7 * DAY


# MUST 7
@pytest.mark.parametrize("days_ahead", [-30, -3, 3, 30])
def test_a_copy_ends_by_the_stores_clock_and_not_by_ours(vault: Vault, days_ahead: int) -> None:
    vault.ahead_us = days_ahead * DAY
    vault.later(0)
    vault.put("a.csv")
    vault.warm(days=2)
    vault.arrive()
    assert vault.refresh().readable == 1
    assert states(vault.warm(days=1)) == {"lake/a.csv": "readable"}, "it is there for longer than that"
    assert states(vault.warm(days=4, dry_run=True)) == {"lake/a.csv": "asked"}
    assert vault.requests() == 1
    vault.later(36)
    vault.refresh()
    assert vault.states() == ["readable"]
    assert vault.read("a.csv") == content("a.csv")
    vault.later(36)
    assert vault.refresh().expired == 1, "it is looked for once a day, should the clock here be behind"
    assert states(vault.warm(days=1)) == {"lake/a.csv": "asked"}


def test_a_dry_run_tells_objects_bytes_and_when_and_asks_for_nothing(vault: Vault) -> None:
    vault.put("a.csv", "b.csv")
    told = vault.warm(dry_run=True, speed="Bulk")
    assert states(told) == {"lake/a.csv": "asked", "lake/b.csv": "asked"}
    assert (told.bytes, told.ready_us) == (2 * len(content("a.csv")), vault.clock.now_us() + 12 * HOUR)
    assert (vault.rows(), vault.requests()) == ([], 0)


@pytest.mark.on_sqlite
def test_asking_twice_makes_one_request_and_a_faster_one_is_made(vault: Vault) -> None:
    vault.put("a.csv")
    vault.warm()
    assert states(vault.warm()) == {"lake/a.csv": "under way"}
    assert states(vault.warm(speed="Bulk")) == {"lake/a.csv": "under way"}
    assert vault.requests() == 1
    assert states(vault.warm(speed="Expedited")) == {"lake/a.csv": "asked"}
    assert vault.requests() == 2
    [row] = vault.rows()
    assert (row.speed, row.expected_us) == ("Expedited", vault.clock.now_us() + 300 * SECOND)


def test_what_somebody_else_asked_for_is_followed(vault: Vault) -> None:
    vault.put("a.csv")
    vault.user.call("restore_object", Key="lake/a.csv", RestoreRequest={"Days": 1})
    assert states(vault.warm()) == {"lake/a.csv": "under way"}
    vault.arrive()
    vault.refresh()
    assert vault.states() == ["readable"]


def crashing(vault: Vault, *, late: bool) -> Context:
    """A process that dies around its first request: before it is made, or before its answer comes."""
    faults = Faults(Fault("warm", error=Crash(), late=late))
    return vault.new_context(lambda store: FaultyStore(store, faults))


def test_a_crash_before_the_request_leaves_a_row_under_which_it_is_made_again(vault: Vault) -> None:
    vault.put("a.csv")
    with pytest.raises(Crash):
        vault.warm(context=crashing(vault, late=False))
    assert (vault.states(), vault.requests()) == (["warming"], 0)
    vault.refresh()
    assert vault.states() == ["warming"], "its process may still be about to ask"
    [before] = vault.rows()
    assert states(vault.warm()) == {"lake/a.csv": "asked"}
    [after] = vault.rows()
    assert (after.id, vault.requests()) == (before.id, 1)


def test_a_request_that_was_never_made_is_told_after_a_while(vault: Vault) -> None:
    vault.put("a.csv")
    with pytest.raises(Crash):
        vault.warm(context=crashing(vault, late=False))
    vault.later(SETTLED_US / HOUR)
    assert vault.refresh().failed == 1
    [row] = vault.rows()
    assert (row.state, row.error) == ("failed", "the request did not reach the store: ask again")
    vault.warm()
    assert vault.states() == ["failed", "warming"]


def test_a_crash_after_the_request_loses_nothing(vault: Vault) -> None:
    vault.put("a.csv")
    with pytest.raises(Crash):
        vault.warm(context=crashing(vault, late=True))
    vault.later(1)
    assert states(vault.warm()) == {"lake/a.csv": "under way"}
    assert (vault.states(), vault.requests()) == (["warming"], 1)
    vault.arrive()
    vault.refresh()
    assert vault.states() == ["readable"]


@pytest.mark.on_both
def test_many_who_ask_at_once_make_one_live_row(vault: Vault) -> None:
    vault.put(*(f"{n}.csv" for n in range(5)))
    start = threading.Barrier(3)

    def run(_: int) -> Warming:
        start.wait()
        return vault.warm(context=vault.new_context())

    with ThreadPoolExecutor(3) as pool:
        assert [len(told.copies) for told in pool.map(run, range(3))] == [5, 5, 5]
    assert vault.states() == ["warming"] * 5


def test_a_refusal_is_told_and_its_row_is_over(vault: Vault) -> None:
    vault.put("a.csv", "b.csv")
    vault.moto.faults.add("AccessDenied", operation="RestoreObject", key="a.csv")
    told = vault.warm()
    assert states(told) == {"lake/a.csv": "left", "lake/b.csv": "asked"}
    assert "AccessDenied" in told.of(State.LEFT)[0].why
    assert sorted(vault.states()) == ["failed", "warming"]


def test_a_request_whose_answers_are_lost_is_not_given_up(vault: Vault) -> None:
    vault.put("a.csv")
    faults = Faults(Fault("warm", call=0, error=StoreUnavailable("no answer"), late=True))
    told = vault.warm(context=vault.new_context(lambda store: FaultyStore(store, faults)))
    assert states(told) == {"lake/a.csv": "left"}
    assert [(row.state, row.error) for row in vault.rows()] == [("warming", "no answer")]
    vault.refresh()
    assert [(row.state, row.error) for row in vault.rows()] == [("warming", None)]


def test_a_store_that_does_not_answer_a_look_leaves_the_row_as_it_was(vault: Vault) -> None:
    vault.put("a.csv")
    vault.warm()
    vault.moto.faults.add("AccessDenied", operation="HeadObject", times=1_000)
    looked = vault.refresh()
    assert [name for name, _ in looked.errors] == ["lake/a.csv"]
    assert vault.states() == ["warming"]


def test_what_the_user_wrote_meanwhile_is_not_asked_for(vault: Vault) -> None:
    vault.put("a.csv")
    vault.later(1)
    vault.user.call("put_object", Key="lake/a.csv", Body=b"the user's own", StorageClass="GLACIER")
    told = vault.warm()
    assert "not what the catalog holds" in told.of(State.LEFT)[0].why
    assert (vault.states(), vault.requests()) == (["failed"], 0)


def test_a_row_ends_where_its_object_goes_elsewhere_or_away(vault: Vault) -> None:
    vault.put("moved.csv", "gone.csv", "deleted.csv")
    vault.warm()
    vault.arrive()
    vault.refresh()
    assert vault.move("moved.csv", tier="deep").done == 1
    vault.user.call("delete_object", Key="lake/gone.csv")
    scan(vault.context, "lake")
    vault.user.call("delete_object", Key="lake/deleted.csv")
    vault.later(24 * 5)
    vault.refresh()
    ended = {row.object_id: (row.state, row.error) for row in vault.rows()}
    assert ended[vault.seen("moved.csv").id] == ("expired", "the object is elsewhere now")
    assert ended[vault.seen("gone.csv").id] == ("expired", "the object was removed")
    assert ended[vault.seen("deleted.csv").id][0] == "failed"
    assert states(vault.warm("lake/moved.csv")) == {"lake/moved.csv": "asked"}
    assert vault.warm("lake/gone.csv").copies == []
    assert "removed" in asked(vault, "gone.csv").note


@pytest.mark.on_sqlite
def test_a_speed_that_a_class_does_not_have_leaves_those_objects_out(vault: Vault) -> None:
    vault.put("a.csv")
    vault.put("b.csv", storage_class="DEEP_ARCHIVE")
    told = vault.warm(speed="Expedited")
    assert states(told) == {"lake/a.csv": "asked", "lake/b.csv": "left"}
    assert "DEEP_ARCHIVE" in told.of(State.LEFT)[0].why
    for wrong in ({"speed": "fast"}, {"days": 0}, {"days": 100_000}):
        with pytest.raises(UsageError):
            vault.warm(**wrong)


def test_an_object_that_was_archived_since_the_scan_is_asked_for_by_its_real_class(vault: Vault) -> None:
    vault.put("a.csv", storage_class="STANDARD")
    vault.user.call(
        "copy_object",
        Key="lake/a.csv",
        CopySource={"Bucket": vault.bucket, "Key": "lake/a.csv"},
        StorageClass="DEEP_ARCHIVE",
    )
    told = vault.warm(dry_run=True)
    assert told.ready_us == vault.clock.now_us() + 12 * HOUR
    assert told.copies[0].storage_class == "DEEP_ARCHIVE"


def asked(vault: Vault, name: str) -> ItemOutcome:
    """What becomes of an object that a job met cold."""
    item = Item(vault.seen(name), new_id(), ToTier("hot", PLAIN, 7 * DAY), "")
    [outcome] = ask(vault.context, [item], days=1, speed="Standard")
    return outcome


def test_a_job_asks_and_is_told_when_to_come_back(vault: Vault) -> None:
    vault.put("a.csv")
    now = vault.clock.now_us()
    assert asked(vault, "a.csv").not_before_us == now + 5 * HOUR
    vault.later(6)  # longer than it should take
    now = vault.clock.now_us()
    assert asked(vault, "a.csv").not_before_us == now + SETTLED_US
    assert vault.requests() == 1
    vault.arrive()
    assert asked(vault, "a.csv").not_before_us == now
    vault.put("b.csv")
    vault.moto.faults.add("AccessDenied", operation="RestoreObject")
    left = asked(vault, "b.csv")
    assert (left.state, "AccessDenied" in left.note) == (ItemState.FAILED, True)


@pytest.mark.on_sqlite
def test_a_job_that_meets_a_cold_object_asks_for_it_and_moves_it_when_it_is_there(vault: Vault) -> None:
    vault.put("a.csv")
    report = vault.move("a.csv", tier="hot")
    assert report.done == 0
    assert vault.states() == ["warming"]
    assert JobState.FAILED not in report.jobs.values()
    assert vault.work().jobs == {}, "it is not due before the copy should be there"
    vault.arrive()
    vault.later(13)
    assert vault.work().done == 1
    assert vault.read("a.csv") == content("a.csv")


def test_no_permission_to_look_is_told_by_the_object(vault: Vault) -> None:
    vault.put("a.csv")
    vault.moto.faults.add("AccessDenied", operation="HeadObject", key="lake/a.csv", times=1_000)
    with pytest.raises(PermissionDenied):
        vault.read("a.csv")
    [copy] = vault.warm().of(State.LEFT)
    assert copy.object == "lake/a.csv"
    assert vault.rows() == []


def test_what_somebody_archived_in_a_tier_is_left_alone_when_the_tiers_are_listed_for_strays(vault: Vault) -> None:
    vault.put("a.csv", storage_class="STANDARD")
    vault.user.call("put_object", Key="deep/theirs.zst", Body=b"x", StorageClass="GLACIER")
    assert bury_strays(vault.context) == Strays(unreadable=["deep:theirs.zst"])
