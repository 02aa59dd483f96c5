"""Recurring work goes by the configuration as it is: new schedules, other days, what is configured no more."""

from __future__ import annotations

import pytest

from storaged.work.plan.policies import changes_of, runs_of
from tests.daemon.farm import DAY, HOUR, LEASE_S, Farm, awake

SCAN = "scan:lake"


def test_a_new_schedule_holds_from_now_on(farm: Farm) -> None:
    daemon = awake(farm)
    farm.configure(daemon='scan: "30 * * * *"')
    assert daemon.reload()
    assert farm.tasks()[SCAN] == "30 * * * *"
    farm.clock.advance(29 * 60)
    assert daemon.turns() == []
    farm.clock.advance(60)
    assert daemon.turns() == [SCAN]


def test_what_chooses_by_the_week_is_planned_for_what_comes_back_on_other_days(farm: Farm) -> None:
    """A plan that no daemon was there for is made up for by the next one."""
    farm.configure(cold=", prices: aws/us-east-1/glacier-ir")
    farm.policy(schedule="0 2 * * mon", tier="auto", mode="dry-run")
    daemon = awake(farm)
    farm.clock.advance(2 * HOUR)  # a Tuesday
    said = []
    for days in (1, 1, 4, 1, 1, 6, 1):  # until Wednesday, Thursday, Monday, Tuesday, Wednesday, Tuesday, Wednesday
        daemon.turns()
        said.append(farm.runs("plan:move")[-1].message.partition(":")[0].partition(",")[0])
        farm.clock.advance(days * DAY)
    back = "its schedule has no plan for today"
    assert said == [back, back, back, "plan 1", back, back, "plan 2"]


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


@pytest.mark.on_both
def test_a_policys_texts_and_what_ran_by_each_are_kept(farm: Farm) -> None:
    farm.write("a.csv", "b.csv")
    farm.policy()
    daemon = awake(farm)
    farm.clock.advance(2 * HOUR)
    daemon.turns()
    farm.policy(schedule="30 * * * *")
    assert daemon.reload()
    newest, first = changes_of(farm.context(), "move")
    assert ("30 * * * *" in newest.body, "30 * * * *" in first.body) == (True, False)
    [run] = runs_of(farm.context(), "move")
    assert (run.state, run.done, run.failed, run.pending, run.packs) == ("applied", 2, 0, 0, 0)
    assert 0 < run.after_bytes < run.before_bytes == 2 * 4_000
