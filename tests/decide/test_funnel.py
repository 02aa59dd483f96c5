"""Why a policy selects nothing: what is left of its target after each thing that it asks for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings
from storaged.decide.funnel import FunnelStep
from storaged.decide.summary import Summary
from storaged.testing import FakeClock
from storaged.work.plan.funnel import Counting
from storaged.work.plan.make import load_plan, make_plan
from tests.decide.conftest import Golden
from tests.decide.seeding import policies

NOTHING = """
policies:
  - {name: disk-is-raw, target: {dataset: logs/raw}, when: {age_over: 30d}, to: {tier: warm}}
  - {name: no-logs, target: {dataset: [unseen, logs/raw]}, when: {idle_for: 60d, size_over: 64MiB}, to: {tier: cold}}
  - {name: not-yet, target: {dataset: events/web}, when: {idle_for: 80d, age_over: 2000d}, to: {tier: cold}}
  - {name: too-small, target: {dataset: "events/*"}, when: {age_over: 1d, size_over: 2GiB}, to: {tier: cold}}
  - {name: too-large, target: {dataset: "events/*"}, when: {size_under: 1B, age_over: 1d}, where: "name = 'x'",
     to: {tier: cold}}
  - {name: hotter, target: {dataset: events/web}, when: {reads_above: 900/day}, to: {tier: cold}}
  - {name: colder, target: {dataset: "events/*"}, when: {reads_below: 1/month, format: xml}, to: {tier: cold}}
  - {name: nobody, target: {dataset: "events/*", tier: deep}, when: {age_over: 1d}, to: {tier: cold}}
  - {name: not-there, target: {dataset: nothing}, when: {age_over: 1d}, to: {tier: cold}}
  - {name: all, target: {dataset: "*"}, when: {age_over: 1d}, to: {tier: warm}}
  - {name: once-more, target: {dataset: events/app}, when: {age_over: 1d}, to: {tier: cold},
     limits: {max_objects: 1}}
  - {name: packs, target: {dataset: events/web}, when: {age_over: 1d}, to: {tier: warm, codec: pack}}
"""


def test_a_plan_says_what_is_left_after_each_thing_that_is_asked(
    seeded: Catalog, settings: Settings, golden: Golden, tmp_path: Path
) -> None:
    """The same on every database, and as saved; the last figure is that of the actions, and none is above the one
    before it."""
    loaded = policies(tmp_path / "p", settings, NOTHING)
    made = make_plan(seeded, settings, loaded, FakeClock(), why=Counting.ALWAYS)
    told = [line for part in made.summary.policies for line in (part.name, *part.lines())]
    golden.check("plans/funnel.txt", "".join(f"{line}\n" for line in told))
    assert load_plan(seeded, made.id).summary == made.summary
    for part in made.summary.policies:
        assert part.funnel[-1].left == part.actions.objects, part.name
        assert all(before.left >= after.left for before, after in pairwise(part.funnel)), part.name
        held = [step.key for step in part.funnel if step.key in part.held]
        assert set(held) == set(part.held), part.name


@pytest.mark.on_sqlite
def test_it_is_counted_where_nothing_is_done_or_a_person_asks(
    seeded: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """A plan that nobody looks at counts nothing."""
    loaded = policies(tmp_path / "p", settings, NOTHING)

    def counted(why: Counting) -> set[str]:
        made = make_plan(seeded, settings, loaded, FakeClock(), why=why)
        return {part.name for part in made.summary.policies if part.funnel}

    idle = {part.name for part in make_plan(seeded, settings, loaded, FakeClock()).summary.policies} - {"all"}
    assert (counted(Counting.NEVER), counted(Counting.IF_NOTHING)) == (set(), idle)
    assert counted(Counting.ALWAYS) == idle | {"all"}


def test_plans_of_before_have_no_funnel() -> None:
    """What an older version saved reads as it was."""
    old = '{"policies": [{"name": "a", "mode": "active", "sentence": "s"}]}'
    (part,) = Summary.from_json(old).policies
    assert part.funnel == ()
    assert FunnelStep("target", "in its target", 0).why == ""
