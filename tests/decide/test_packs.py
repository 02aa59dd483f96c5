"""Packs of a plan: what goes together, what is held back, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings
from storaged.testing import FakeClock
from storaged.work.plan.make import Plan, PlanRow, make_plan, plan_rows
from tests.decide.seeding import MIB, policies

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
