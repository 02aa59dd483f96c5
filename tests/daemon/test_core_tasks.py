"""Recurring work: each due time makes one run, whoever dies in the middle of it, and whatever the clock does."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog.schema_daemon import daemons
from storaged.catalog.tasks import TRIES, Run
from storaged.clock import SECOND
from storaged.testing import FakeClock
from tests.daemon.farm import DAY, HOUR, LEASE_S, MIDNIGHT_US, Daemon, Farm

SCAN = "scan:lake"
HOUR_US, DAY_US = HOUR * SECOND, DAY * SECOND


def awake(farm: Farm) -> Daemon:
    """A daemon that leads and has done what is done at once."""
    daemon = farm.daemon()
    daemon.turns()
    assert daemon.problem is None
    assert daemon.leading
    return daemon


def ends(farm: Farm, task: str = SCAN) -> list[tuple[str, int, int]]:
    """State, due time in hours after the start, and tries of every run of a task."""
    return [(r.state, (r.due_us - MIDNIGHT_US) // HOUR_US, r.tries) for r in farm.runs(task)]


def test_scans_run_at_once_and_everything_else_at_its_time(farm: Farm) -> None:
    farm.policy()
    daemon = farm.daemon()
    daemon.wakes()
    assert daemon.does_tasks() == [SCAN]
    assert sorted(farm.tasks()) == ["doctor", "plan:move", "retention", SCAN, "survey", "sweep", "verify"]
    farm.clock.advance(2 * HOUR)
    assert sorted(daemon.turns()) == ["plan:move", SCAN, "survey", "sweep"]


@pytest.mark.on_both
def test_the_next_due_time_and_the_lease_stand_before_a_run_begins(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    run = daemon.take()
    assert run is not None
    row = farm.task(SCAN)
    assert row.due_us == MIDNIGHT_US + HOUR_US
    assert (row.lease, row.lease_until_us, row.run_id) == (run.lease, MIDNIGHT_US + LEASE_S * SECOND, run.id)
    assert [(r.state, r.finished_us) for r in farm.runs()] == [("running", None)]
    assert daemon.take() is None, "nobody runs it a second time"


@pytest.mark.on_both
def test_a_run_whose_daemon_died_is_taken_over_when_its_lease_lapses_and_not_before(farm: Farm) -> None:
    dead = farm.daemon()
    dead.wakes()
    assert dead.take() is not None
    heir = farm.daemon()
    farm.clock.advance(LEASE_S - 1)
    heir.wakes()
    assert not heir.leading
    assert heir.take() is None
    farm.clock.advance(2)
    heir.wakes()
    assert heir.leading
    assert heir.does_tasks() == [SCAN]
    assert ends(farm) == [("done", 0, 2)]
    assert farm.task(SCAN).due_us == MIDNIGHT_US + HOUR_US, "the next due time is not skipped"


def test_a_run_that_kills_its_daemons_is_given_up_and_its_next_due_time_is_a_new_start(farm: Farm) -> None:
    for _ in range(TRIES):
        dead = farm.daemon()
        dead.wakes()
        assert dead.take() is not None
        farm.clock.advance(LEASE_S + 1)
    daemon = farm.daemon()
    assert daemon.turns() == []
    assert ends(farm) == [("abandoned", 0, TRIES)]
    assert farm.runs(SCAN)[0].message == f"its daemon died {TRIES} times"
    farm.clock.advance(HOUR)
    assert SCAN in daemon.turns()
    assert ends(farm)[1:] == [("done", 1, 1)]
    assert farm.task(SCAN).failures == 0


def test_however_many_due_times_were_missed_they_make_one_run(farm: Farm) -> None:
    daemon = awake(farm)
    farm.clock.advance(10.5 * HOUR)
    assert daemon.turns().count(SCAN) == 1
    assert ends(farm) == [("done", 0, 1), ("done", 1, 1)]
    assert farm.task(SCAN).due_us == MIDNIGHT_US + 11 * HOUR_US


@pytest.mark.on_sqlite
def test_a_task_that_fails_is_tried_later_each_time_and_never_beyond_its_due_time(farm: Farm) -> None:
    farm.write("a.csv", "b.csv")
    daemon = awake(farm)
    (farm.place / "lake").rename(farm.place / "gone")
    tried = []
    for minute in range(1, 121):
        farm.clock.set(60)
        if SCAN in daemon.turns():
            tried.append(minute)
    assert tried == [60, 61, 63, 67, 75, 91, 120]
    assert {r.state for r in farm.runs(SCAN)[1:]} == {"failed"}
    assert all(r.message for r in farm.runs(SCAN)[1:])
    (farm.place / "gone").rename(farm.place / "lake")
    farm.clock.set(HOUR)
    assert SCAN in daemon.turns()
    assert farm.task(SCAN).failures == 0


def test_the_lead_passes_when_its_holder_is_silent_and_is_not_shared(farm: Farm) -> None:
    first, second = farm.daemon(), farm.daemon()
    first.wakes()
    second.wakes()
    assert (first.leading, second.leading) == (True, False)
    for _ in range(10):
        farm.clock.advance(LEASE_S - 1)
        first.wakes()
        second.wakes()
    assert (first.leading, second.leading) == (True, False)
    farm.clock.advance(LEASE_S + 1)
    second.wakes()
    first.wakes()
    assert (first.leading, second.leading) == (False, True)
    assert first.heard.said("lead") == ["leads", "leads no more"]
    assert second.does_tasks() == [SCAN]


def test_a_leader_that_leaves_in_good_order_is_followed_at_once(farm: Farm) -> None:
    first, second = farm.daemon(), farm.daemon()
    first.wakes()
    second.wakes()
    first.drain()
    second.beat()
    assert second.leading
    first.beat()
    assert not first.leading, "who drains does not lead again"
    assert first.take() is None
    first.depart()
    second.beat()
    assert second.daemons == 1


def test_a_daemon_that_was_stopped_gives_its_runs_back_to_be_done_at_once(farm: Farm) -> None:
    first, second = farm.daemon(), farm.daemon()
    first.wakes()
    run = first.take()
    assert run is not None
    first.drain()
    first.abandon()
    first.depart()
    assert ends(farm) == [("abandoned", 0, 1)]
    assert second.turns() == [SCAN]
    first.run(run)  # its thread did not notice, and comes to its end later
    assert [state for state, _, _ in ends(farm)] == ["abandoned", "done"]
    assert first.heard.words[-1].startswith(f"task {SCAN} lost"), "what it says of it is not that it is done"


class Meanwhile(FakeClock):
    """Something happens while somebody looks at this clock for the first time."""

    def __init__(self, clock: FakeClock, what: Callable[[], object]) -> None:
        super().__init__(clock.now_us())
        self._what = [what]

    def now_us(self) -> int:
        if self._what:
            self._what.pop()()
        return super().now_us()


def test_a_stop_knows_of_a_run_that_is_just_being_taken(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    at: list[tuple[int, int]] = []

    def stop() -> None:
        daemon.drain()
        at.append(daemon.at)

    stopping = threading.Thread(target=stop)

    def meanwhile() -> None:
        stopping.start()
        stopping.join(0.5)  # it shall not get through before the run is known

    daemon.clock = Meanwhile(farm.clock, meanwhile)
    run = daemon.take()
    stopping.join()
    assert run is not None
    assert at == [(0, 1)]
    daemon.abandon()
    daemon.depart()
    assert ends(farm) == [("abandoned", 0, 1)]


def test_a_daemon_that_has_left_shows_no_further_sign_of_life(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    leaving = threading.Thread(target=daemon.depart)

    def meanwhile() -> None:
        leaving.start()
        leaving.join(0.5)  # it shall not get through before this one is written

    daemon.clock = Meanwhile(farm.clock, meanwhile)
    daemon.beat()
    leaving.join()
    assert farm.count(daemons) == 0
    daemon.beat()
    assert farm.count(daemons) == 0


def test_a_run_counts_as_long_as_its_end_is_not_written(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    run = daemon.take()
    assert run is not None
    at: list[tuple[int, int]] = []
    looked = [(r.state, daemon.at) for r in farm.runs(SCAN)]
    assert looked == [("running", (0, 1))]

    def written(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE runs"):
            at.append(daemon.at)

    sa.event.listen(farm.catalog.engine, "before_cursor_execute", written)
    daemon.run(run)
    sa.event.remove(farm.catalog.engine, "before_cursor_execute", written)
    assert at == [(0, 1)]
    assert daemon.at == (0, 0)


def test_a_sign_of_life_that_finds_a_run_over_does_not_forget_the_next_one(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    first = daemon.take()
    assert first is not None
    began: list[Run] = []
    once = [first]

    def before(*_: object) -> None:
        if once:
            daemon.run(once.pop())
            farm.clock.advance(HOUR)
            began.extend(iter(daemon.take, None))

    sa.event.listen(farm.catalog.engine, "checkout", before)
    daemon.beat()
    sa.event.remove(farm.catalog.engine, "checkout", before)
    assert SCAN in [run.task for run in began]
    assert daemon.at == (0, len(began))
    for run in began:
        daemon.run(run)
    assert [state for state, _, _ in ends(farm)] == ["done", "done"]


def test_a_clock_put_forward_by_a_day_makes_one_run_and_no_second_leader(farm: Farm) -> None:
    daemon = awake(farm)
    farm.clock.set(DAY)
    assert daemon.turns().count(SCAN) == 1
    assert daemon.turns() == []


def test_a_clock_put_back_by_a_day_neither_loops_nor_stops_anything_for_a_day(farm: Farm) -> None:
    daemon = awake(farm)
    farm.clock.set(-DAY)
    assert daemon.turns() == []
    assert daemon.leading
    farm.clock.set(HOUR)
    assert daemon.turns().count(SCAN) == 1
    assert farm.task(SCAN).due_us == MIDNIGHT_US - DAY_US + 2 * HOUR_US


def test_leases_taken_before_the_clock_was_put_back_hold_nobody_up(farm: Farm) -> None:
    dead = farm.daemon()
    dead.wakes()
    assert dead.take() is not None
    farm.clock.set(-DAY)
    heir = farm.daemon()
    assert heir.turns() == [SCAN]
    assert ends(farm) == [("done", 0, 2)]


def test_a_daemon_that_slept_does_not_begin_a_task_that_it_is_still_at(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    run = daemon.take()
    assert run is not None
    for seconds in (2 * HOUR, -DAY):  # the machine was suspended, or its clock was set, before the next sign of life
        farm.clock.set(seconds)
        assert SCAN not in daemon.does_tasks()
    daemon.beat()
    daemon.run(run)
    assert ends(farm) == [("done", 0, 1)]


def test_a_run_that_was_taken_over_ends_only_once(farm: Farm) -> None:
    slow = farm.daemon()
    slow.wakes()
    first = slow.take()
    assert first is not None
    farm.clock.advance(LEASE_S + 1)
    heir = farm.daemon()
    heir.wakes()
    second = heir.take()
    assert second is not None
    assert (second.id, second.tries) == (first.id, 2)
    slow.run(first)
    assert ends(farm) == [("running", 0, 2)], "it is the heir's to end"
    heir.run(second)
    assert ends(farm) == [("done", 0, 2)]


def test_a_run_that_another_took_over_is_not_told_as_done(farm: Farm) -> None:
    slow = farm.daemon()
    slow.wakes()
    run = slow.take()
    assert run is not None
    farm.clock.advance(LEASE_S + 1)
    assert farm.daemon().turns() == [SCAN]
    slow.run(run)
    assert slow.heard.said(f"task {SCAN} done") == []


def test_a_run_goes_on_when_another_run_of_its_task_has_left_the_same_daemon(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.wakes()
    old = daemon.take()
    assert old is not None
    farm.clock.advance(LEASE_S + 1)
    other = farm.daemon()
    other.wakes()
    assert other.take() is not None
    farm.clock.advance(LEASE_S + 1)
    daemon.beat()  # it learns that the old one is lost, and leads again
    new = daemon.take()
    assert new is not None
    daemon.run(old)
    farm.clock.advance(LEASE_S - 1)
    daemon.beat()
    farm.clock.advance(LEASE_S - 1)
    assert farm.task(SCAN).lease_until_us > farm.clock.now_us(), "the new run has kept its lease"


def test_a_new_schedule_holds_from_now_on(farm: Farm) -> None:
    daemon = awake(farm)
    farm.configure(daemon='scan: "30 * * * *"')
    assert daemon.reload()
    assert farm.tasks()[SCAN] == "30 * * * *"
    farm.clock.advance(29 * 60)
    assert daemon.turns() == []
    farm.clock.advance(60)
    assert daemon.turns() == [SCAN]


def test_a_task_that_is_not_configured_any_more_ends_its_run_and_goes(farm: Farm) -> None:
    farm.policy()
    daemon = awake(farm)
    farm.clock.advance(2 * HOUR)
    daemon.wakes()
    taken = list(iter(daemon.take, None))
    (farm.place / "policies/move.yaml").unlink()
    assert daemon.reload()
    assert "plan:move" not in farm.tasks()
    daemon.beat()
    for run in taken:
        daemon.run(run)
    assert [r.state for r in farm.runs("plan:move")] == ["failed"]
    assert "is not configured" in farm.runs("plan:move")[0].message
    assert daemon.heard.said("fault") == []


def test_a_run_of_a_removed_task_whose_daemon_died_does_not_stand_as_running_for_ever(farm: Farm) -> None:
    farm.policy(schedule="* * * * *")
    dead = awake(farm)
    farm.clock.advance(60)
    dead.wakes()
    assert [run.task for run in iter(dead.take, None)] == ["plan:move"]
    (farm.place / "policies/move.yaml").unlink()
    farm.clock.advance(LEASE_S + 1)
    heir = farm.daemon()
    heir.turns()
    assert [(r.state, bool(r.message)) for r in farm.runs("plan:move")] == [("abandoned", True)]
