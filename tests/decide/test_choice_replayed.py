"""`tier: auto` in plans and in simulations: one decider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects
from storaged.decide.forecast.taught import TaughtTerm
from storaged.decide.simulate.auto.costs import Reads
from storaged.decide.simulate.choice import Chooser, TierOptions
from storaged.decide.simulate.tariff import Tariff
from storaged.decide.simulate.trace import ReadsByDay
from storaged.prices.load import load_prices
from storaged.prices.tiers import tier_prices
from storaged.work.money.past import read_past
from tests.decide.choosing import learnt, model, scatter
from tests.decide.pricing import planned, priced_settings
from tests.decide.test_choice import BREAK_EVEN, ONLY, TEXT, WEIGHTS


@pytest.mark.on_sqlite
def test_a_simulation_chooses_what_the_plan_does_but_for_what_only_a_plan_knows_of_a_move(
    catalog: Catalog, tmp_path: Path
) -> None:
    """Requests of the copy are no part of a simulation's bill: few choices are that close."""
    settings = priced_settings(tmp_path / "storaged.yaml")
    places, days = ("hot", "rare"), 300  # nothing is read back from what is made there
    prices = tier_prices(settings, load_prices(None))
    tariff = Tariff.of([prices[name] for name in places])
    options = TierOptions(((0, 0), (1, 1)), 180.0, (0, 1))
    same, moved, all_ = 0, 0, 0
    for seed, weights in enumerate((ONLY, {BREAK_EVEN: 1.0}, *WEIGHTS[3:])):
        things = scatter(catalog, settings, seed, days)
        told = model(weights, shape=0.05)
        learnt(catalog, told)
        text = TEXT.replace("auto", f"auto, among: [{', '.join(places)}]") + "keep_source: 0d\n"
        _, rows = planned(catalog, settings, tmp_path, text)
        past = read_past(catalog, days)
        with catalog.read() as conn:
            name_of = {row.id: row.name for row in conn.execute(sa.select(objects.c.id, objects.c.name))}
        chooser = Chooser.of(past.trace, tariff, told.half_life_us, [TaughtTerm(0, told, days, {}, told.weights)])
        by_day = ReadsByDay.of(past.trace)
        for day in range(days):
            on = by_day.rows[by_day.on(day)]
            counts, nbytes = past.trace.reads[on].astype(float), past.trace.read_bytes[on].astype(float)
            chooser.see(day, Reads(by_day.objects[by_day.on(day)], counts, nbytes))
        names = [name_of[number] for number in past.ids.tolist()]
        some = np.array([n for n, name in enumerate(names) if things[name].tier in places])
        here = np.array([places.index(things[names[n]].tier) for n in some], np.int8)
        kept = np.array([things[names[n]].age for n in some], np.int32)
        free = [np.ones(len(some), bool)] * len(places)
        everywhere = np.zeros(len(names), np.int8)
        everywhere[some] = here
        chosen = chooser.choose(days - 1, some, options, here, kept, free, chooser.waves(everywhere))
        for n, at, to in zip(some, here, chosen, strict=True):
            row = rows.get(names[n])
            same += places[to] == (places[at] if row is None else row.tier)
            moved += bool(to != at)
            all_ += 1
    assert moved > 10
    assert all_ - same <= all_ / 50, f"{same} of {all_}"
