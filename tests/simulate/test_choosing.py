"""Policies with `tier: auto` in a simulation: they decide as a plan does, and know nothing of days to come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storaged.clock import DAY
from storaged.config.yaml import read_document
from storaged.decide.forecast.taught import teach
from storaged.decide.simulate.judge import judge
from storaged.decide.simulate.rules import RuleSet, follow, rules_of
from storaged.decide.simulate.run import Listing, SimulatedOutcome, simulate
from storaged.decide.simulate.stays import Stays
from storaged.decide.simulate.tariff import Tariff
from storaged.decide.simulate.trace import Trace
from storaged.errors import ConfigError
from tests.forecast.made import cooling, made, shuffled_after
from tests.simulate.conftest import AWS, BOOK

HALF_LIFE = 30 * DAY
TARIFF = Tariff.of(AWS)
DAYS, CUT = 260, 200


@pytest.fixture(scope="module")
def past() -> Trace:
    """Objects of 1 GiB that are hardly read after some days."""
    trace = made(cooling(5), 60, DAYS)
    return replace(trace, sizes=trace.sizes << 10, read_bytes=trace.read_bytes << 10)


def rules(tmp_path: Path, to: str) -> RuleSet:
    """A policy of three tiers."""
    file = tmp_path / "mine.yaml"
    file.write_text(f'name: mine\ntarget: {{dataset: "*"}}\nto: {{tier: auto{to}}}\n')
    return rules_of(read_document(file), "mine", AWS)


def followed(trace: Trace, given: RuleSet) -> Stays:
    terms = teach(trace, TARIFF, HALF_LIFE, [180.0])
    return follow(trace, given.rules, HALF_LIFE, TARIFF, given.back, terms)


def test_what_cools_for_good_leaves_once_enough_was_learnt_and_the_future_changes_nothing_before(
    past: Trace, tmp_path: Path
) -> None:
    chosen = rules(tmp_path, "")
    here = followed(past, chosen)
    moved = here.first[here.moved]
    assert len(moved) > 20
    assert moved.min() > 90, "it moved before anything was learnt"
    other = followed(shuffled_after(past, CUT), chosen)
    early = [[s.object[m], s.tier[m], s.first[m]] for s in (here, other) for m in [s.moved[s.first[s.moved] <= CUT]]]
    assert len(early[0][0])
    for ours, theirs in zip(*early, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_chooses_among_the_tiers_that_are_named_and_within_its_horizon(past: Trace, tmp_path: Path) -> None:
    named = followed(past, rules(tmp_path, ", among: [hot, warm]"))
    assert set(named.tier.tolist()) == {0, 1}
    short = rules(tmp_path, ", horizon: 60d").rules[0].options
    assert short is not None
    assert [lead[0] for lead in short.leads] == [0, 1], "Glacier Instant bills 90 days, more than the horizon"


def test_the_line_of_a_policy_that_chooses_is_no_fixed_one(past: Trace, tmp_path: Path) -> None:
    found = simulate(past, Listing.of(AWS), BOOK, [rules(tmp_path, "")], half_life_us=HALF_LIFE)
    by_name: dict[str, SimulatedOutcome] = {one.name: one for one in found}
    assert by_name["mine"].moves > 20
    assert by_name["mine"].amount.total < by_name["stay"].amount.total
    assert by_name["auto"].amount == by_name["mine"].amount, "the line of that name is another decider"
    assert {name for name, one in by_name.items() if not one.fixed} >= {"mine", "auto", "optimum"}
    assert judge(found).best not in ("mine", "auto", "optimum")


def test_a_tier_to_choose_that_is_not_there_is_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, ", among: [hot, lukewarm]")
    assert "there is no tier `lukewarm`" in caught.value.problems[0].message
