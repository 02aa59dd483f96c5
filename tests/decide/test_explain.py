"""`explain`: the plan's own answer, asked about one object."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets, objects
from storaged.clock import DAY
from storaged.config.settings import Settings, load_settings
from storaged.errors import UsageError
from storaged.testing import FakeClock
from storaged.work.plan.explain import explain
from storaged.work.plan.make import make_plan, plan_rows
from tests.decide.conftest import GOLDEN
from tests.decide.seeding import NOW, SETTINGS, policies
from tests.decide.test_golden_plans import CASES


# What the others' conditions and guards ask of Postgres is in the plans that the golden files tell.
@pytest.mark.parametrize(
    "case", [case if case == "limits" else pytest.param(case, marks=pytest.mark.on_sqlite) for case in CASES]
)
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
            assert guard == (None if (row.held or "").startswith(("max_", "alone")) else row.held)


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


@pytest.mark.on_sqlite
def test_where_its_tier_has_no_room_that_is_said(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """A plan tells what fits beside what else is in it."""
    full = SETTINGS.replace("memory://cold}", "memory://cold, capacity: {size: 1KiB, high: 90%, low: 50%}}")
    (tmp_path / "full.yaml").write_text(full)
    text = "name: p\ntarget: {dataset: events/web}\nwhen: {size_over: 1}\nto: {tier: cold}\n"
    loaded = policies(tmp_path / "p", settings, text)
    told = [
        explain(seeded, known, loaded, "events/web", "new.csv", NOW).outcome
        for known in (settings, load_settings(tmp_path / "full.yaml"))
    ]
    fits = "if it fits: cold has room for 0 Bytes, and a plan holds back what is more"
    assert told == ["p decides: would go to cold", f"{told[0]}, {fits}"]


def test_an_object_that_the_catalog_never_saw_is_named(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Not explained away as selected by nothing."""
    with pytest.raises(UsageError, match=r"no object 'x\.csv' in 'events/web'"):
        explain(seeded, settings, (), "events/web", "x.csv", NOW)


WHY = "zstd does not take it: it is encrypted"


def test_why_a_codec_did_not_take_an_object_is_said(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """In explain, in the plan's reason where it moves all the same, and no more once its user wrote anew."""
    with seeded.begin() as conn:
        conn.execute(sa.update(objects).where(objects.c.no_gain == 1).values(not_taken=WHY))
    text = "name: {0}\ntarget: {{dataset: events/web}}\nwhen: {{size_over: 0}}\nto: {{{1}codec: zstd}}\n"
    stays = policies(tmp_path / "s", settings, text.format("stays", ""))
    moves = policies(tmp_path / "m", settings, text.format("moves", "tier: cold, "))
    found = explain(seeded, settings, stays, "events/web", "no-gain.csv", NOW)
    assert found.policies[0].outcome == f"nothing to do: {WHY}"
    assert found.subject.not_taken == WHY
    assert str(found).splitlines()[1] == WHY
    later = explain(seeded, settings, stays, "events/web", "no-gain-of-an-old-generation.csv", NOW)
    assert later.subject.not_taken == ""
    assert (later.policies[0].outcome, WHY in str(later)) == ("would be stored as zstd", False)
    there = explain(seeded, settings, stays, "events/web", "compressed.csv", NOW)
    assert there.policies[0].outcome == "nothing to do: it is there already"
    plan = make_plan(seeded, settings, moves, FakeClock())
    reasons = {row.name: row.reason for row in plan_rows(seeded, plan.id)}
    assert reasons["no-gain.csv"].endswith(f"; {WHY}")
    assert [name for name, reason in reasons.items() if WHY in reason] == ["no-gain.csv"]


@pytest.mark.parametrize(
    ("codec", "again"),
    [
        ("zstd", False),
        ("{zstd: {level: 9}}", False),
        ("{zstd: {level: 19}}", True),
        ("parquet", True),
        ("parquet, fidelity: table", False),
        ("{parquet: {reencode: true}}, fidelity: table", True),
    ],
)
def test_what_one_codec_did_not_take_is_asked_of_another_and_at_another_level(
    seeded: Catalog, settings: Settings, tmp_path: Path, codec: str, again: bool
) -> None:
    text = f"name: p\ntarget: {{dataset: events/web}}\nwhen: {{size_over: 0}}\nto: {{codec: {codec}}}\n"
    loaded = policies(tmp_path / "p", settings, text)
    found = explain(seeded, settings, loaded, "events/web", "no-gain.csv", NOW)
    assert found.policies[0].outcome.startswith("would be stored" if again else "nothing to do")
    plan = make_plan(seeded, settings, loaded, FakeClock())
    assert ("no-gain.csv" in {row.name for row in plan_rows(seeded, plan.id)}) == again


def test_an_object_that_an_older_version_did_not_compress_is_told_without_a_reason(
    seeded: Catalog, settings: Settings, tmp_path: Path
) -> None:
    text = "name: p\ntarget: {dataset: events/web}\nwhen: {size_over: 0}\nto: {codec: zstd}\n"
    loaded = policies(tmp_path / "p", settings, text)
    found = explain(seeded, settings, loaded, "events/web", "no-gain.csv", NOW)
    assert found.policies[0].outcome == "nothing to do: compressing it does not pay"
