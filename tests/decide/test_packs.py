"""Packs of a plan: what goes together, what is held back, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings
from storaged.testing import FakeClock
from storaged.work.plan.make import Plan, PlanRow, make_plan, plan_rows
from tests.decide.seeding import MIB, Seeder, policies, register

PACKED = """
name: packed
target: {dataset: "events/*"}
when: {age_over: 1d}
to: {tier: cold, codec: {pack: {target: TARGET, largest: 25%}}}
group_by: GROUPS
"""
TARGET = 4 * MIB


def planned(catalog: Catalog, settings: Settings, tmp_path: Path, text: str) -> tuple[Plan, list[PlanRow]]:
    loaded = policies(tmp_path / "p", settings, text.replace("TARGET", "4MiB"))
    plan = make_plan(catalog, settings, loaded, FakeClock())
    return plan, list(plan_rows(catalog, plan.id))


def members(rows: list[PlanRow]) -> dict[tuple[str, str], list[PlanRow]]:
    found: dict[tuple[str, str], list[PlanRow]] = defaultdict(list)
    for row in rows:
        if row.held is None:
            assert row.pack is not None
            found[row.dataset, row.pack].append(row)
    return found


def test_first(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        for n in range(40):
            s.object("events/web", f"a/b{n % 3}/{n:03}.csv", size=MIB // 2)
        s.object("events/web", "alone/x.csv", size=1)
    for groups in ("{depth: 2}", "{depth: 1}", "{every: 1d}"):
        plan, rows = planned(catalog, settings, tmp_path, PACKED.replace("GROUPS", groups))
        print(plan)
        for k, v in members(rows).items():
            print(k, len(v), sum(r.size for r in v))
