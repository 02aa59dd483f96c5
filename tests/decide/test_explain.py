"""`explain`: the plan's own answer, asked about one object."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets, objects
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.errors import UsageError
from storaged.testing import FakeClock
from storaged.work.explain import explain
from storaged.work.plan import make_plan, plan_rows
from tests.decide.conftest import GOLDEN
from tests.decide.seeding import NOW, policies
from tests.decide.test_golden_plans import CASES


@pytest.mark.parametrize("case", CASES)
def test_explain_agrees_with_the_plan_about_every_object(
    case: str, seeded: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Who decides and which guard holds it; limits are the plan's own."""
    loaded = policies(tmp_path / "p", settings, (GOLDEN / "plans" / f"{case}.yaml").read_text("utf-8"))
    plan = make_plan(seeded, settings, loaded, FakeClock())
    planned = {(row.dataset, row.name): row for row in plan_rows(seeded, plan.id)}
    with seeded.read() as conn:
        query = sa.select(datasets.c.name, objects.c.name).join(datasets, datasets.c.id == objects.c.dataset_id)
        names = [tuple(row) for row in conn.execute(query)]
    assert len(names) > 30
    for dataset, name in names:
        found = explain(seeded, settings, loaded, dataset, name, NOW)
        row = planned.get((dataset, name))
        assert found.decides == (row.policy if row else None), name
        if row is not None:
            guard = next(policy.guard for policy in found.policies if policy.name == row.policy)
            assert guard == (None if (row.held or "").startswith("max_") else row.held)


def test_explain_says_when_a_condition_will_hold(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """And at that time, with logs up to it, it does."""
    text = "name: p\ntarget: {dataset: events/web}\nwhen: {age_over: 10d, size_over: 1}\nto: {tier: cold}\n"
    loaded = policies(tmp_path / "p", settings, text)
    (told,) = explain(seeded, settings, loaded, "events/web", "new.csv", NOW).policies
    age = told.conditions[0]
    assert (age.key, age.holds, age.holds_from_us) == ("age_over", False, NOW + 7 * DAY)
    assert "holds from 2026-09-28" in str(age)
    assert explain(seeded, settings, loaded, "events/web", "new.csv", NOW + 7 * DAY).decides == "p"
    assert explain(seeded, settings, loaded, "events/web", "new.csv", NOW + 7 * DAY - 1).decides is None


def test_an_object_that_the_catalog_never_saw_is_named(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Not explained away as selected by nothing."""
    with pytest.raises(UsageError, match=r"no object 'x\.csv' in 'events/web'"):
        explain(seeded, settings, (), "events/web", "x.csv", NOW)
