"""Advice and `codec: auto` on either database: what there is, what is chosen, and no plan left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import plan_items, plans
from storaged.clock import DAY, SECOND
from storaged.decide.summary import Summary
from storaged.testing import FakeClock
from storaged.work.advise import run
from storaged.work.advise.look import UNKNOWN
from storaged.work.advise.run import advise
from storaged.work.plan.make import expect, make_plan, plan_rows
from storaged.work.plan.sample import sample_kinds
from tests.decide.seeding import policies
from tests.life.world import World

AUTO = "name: auto\ntarget: {dataset: lake}\nwhen: {size_over: 0}\nto: {codec: auto}\n"


def test_advice_counts_what_there_is_and_auto_chooses_as_it_does(
    tmp_path: Path, catalog: Catalog, clock: FakeClock
) -> None:
    world = World(tmp_path, catalog, clock)
    world.write("a.csv", b"1,2,3,four,five\n" * 20_000)
    world.write("b.csv", b"1,2,3,four,six\n" * 100)
    world.scan()
    clock.advance(40 * DAY // SECOND)
    told = advise(world.context, ["lake"], [])
    assert [(s.format, s.plain, s.size_from, s.age_days, s.idle_days, s.objects) for s in told.shelves] == [
        ("csv", True, 128 << 10, 30, UNKNOWN, 1),
        ("csv", True, 0, 30, UNKNOWN, 1),
    ]
    assert [(s.tier, s.objects, s.bytes, s.classes) for s in told.small] == [("hot", 1, 1_500, ())]
    assert [(p.policy.name, p.expected.actions.objects) for p in told.proposals] == [("advised-6-zstd", 2)]
    with catalog.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(plans)).scalar() == 0
        assert conn.execute(sa.select(sa.func.count()).select_from(plan_items)).scalar() == 0
    world.write("c.jpg", b"\xff\xd8\xff" + bytes(range(256)) * 100)
    world.scan()
    clock.advance(DAY // SECOND)
    auto = policies(tmp_path / "p", world.settings, AUTO)
    samples = sample_kinds(world.context, auto)
    assert {kind: choice.codec for kind, choice in samples.choices.items()} == {
        ("lake", "csv"): "zstd",
        ("lake", "jpg"): "identity",
    }
    plan = make_plan(catalog, world.settings, auto, clock, ratios=samples.ratios, choices=samples.choices)
    rows = list(plan_rows(catalog, plan.id))
    assert [(row.name, row.codec, row.tier) for row in rows] == [("a.csv", "zstd", "hot"), ("b.csv", "zstd", "hot")]
    assert all("; auto: zstd leaves " in row.reason and row.after_bytes < row.size / 10 for row in rows)


def test_of_many_objects_some_tell_whether_a_draft_is_worth_planning(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is proposed is planned for all of them: its figures are those of advice that looks at all from the start."""
    world = World(tmp_path, catalog, clock)
    for number in range(40):
        world.write(f"{number:02}.csv", b"1,2,3,four,five\n" * (100 + number))
    world.scan()
    clock.advance(40 * DAY // SECOND)
    whole = advise(world.context, ["lake"], [])
    assert whole.proposals
    looked_at: list[tuple[int, int]] = []

    def noted(*given: Any, every: int = 1, **more: Any) -> Summary:
        summary = expect(*given, every=every, **more)
        looked_at.append((every, sum(part.actions.objects for part in summary.policies)))
        return summary

    monkeypatch.setattr(run, "expect", noted)
    monkeypatch.setattr(run, "LOOKED_AT", 10)
    monkeypatch.setattr(run, "ENOUGH", 5)
    told = advise(world.context, ["lake"], [])
    assert looked_at == [(4, 10), (1, 40)]
    figures = [(p.draft, p.expected) for p in whole.proposals]
    assert [(p.draft, p.expected) for p in told.proposals] == figures
    monkeypatch.setattr(run, "ENOUGH", 11)
    looked_at.clear()
    assert [(p.draft, p.expected) for p in advise(world.context, ["lake"], []).proposals] == figures
    assert looked_at == [(4, 10), (1, 40), (1, 40)]
