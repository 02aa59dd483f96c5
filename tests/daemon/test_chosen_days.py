"""On which days a daemon plans what a policy with `tier: auto` chooses."""

from __future__ import annotations

from tests.daemon.farm import DAY, HOUR, Farm


def test_what_chooses_by_the_week_is_planned_for_what_comes_back_on_other_days(farm: Farm) -> None:
    """A plan that no daemon was there for is made up for by the next one."""
    farm.configure(cold=", prices: aws/us-east-1/glacier-ir")
    farm.policy(schedule="0 2 * * mon", tier="auto", mode="dry-run")
    daemon = farm.daemon()
    daemon.turns()
    farm.clock.advance(2 * HOUR)  # a Tuesday
    said = []
    for days in (1, 1, 4, 1, 1, 6, 1):  # until Wednesday, Thursday, Monday, Tuesday, Wednesday, Tuesday, Wednesday
        daemon.turns()
        said.append(farm.runs("plan:move")[-1].message.partition(":")[0].partition(",")[0])
        farm.clock.advance(days * DAY)
    back = "its schedule has no plan for today"
    assert said == [back, back, back, "plan 1", back, back, "plan 2"]
