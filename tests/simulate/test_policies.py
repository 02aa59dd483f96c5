"""Policy files in a simulation: they act as they say, and what cannot be simulated is refused by file and line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storaged import heat
from storaged.clock import DAY
from storaged.config.yaml import read_document
from storaged.decide.conditions import CONDITIONS
from storaged.decide.simulate.rules import RuleSet, follow, rules_of
from storaged.decide.simulate.run import Listing, SimulatedOutcome, simulate
from storaged.decide.simulate.stays import Stays, turned_back
from storaged.decide.simulate.tariff import Tariff
from storaged.errors import ConfigError
from tests.simulate import slow
from tests.simulate.conftest import AWS, BOOK, GB, random_things, same
from tests.simulate.slow import Thing

HALF_LIFE = 30 * DAY
TARIFF = Tariff.of(AWS)
Load = Callable[[str], RuleSet]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Reads a policy file for three tiers."""

    def read(text: str) -> RuleSet:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return rules_of(read_document(path), "mine", AWS)

    return read


def policy(name: str, when: str, to: str, *, tier: str = "", more: str = "") -> str:
    target = f'{{dataset: "*"{tier and f", tier: {tier}"}}}'
    return f"  - {{name: {name}, target: {target}, when: {{{when}}}, to: {{tier: {to}}}{more}}}\n"


def replayed(rules: RuleSet, things: list[Thing], days: int) -> dict[str, SimulatedOutcome]:
    trace = slow.trace_of(things, days)
    return {o.name: o for o in simulate(trace, Listing.of(AWS), BOOK, [rules], half_life_us=HALF_LIFE)}


def path_of(rules: RuleSet, thing: Thing, days: int) -> list[int]:
    """The tier of one object by day."""
    stays: Stays = follow(slow.trace_of([thing], days), rules.rules, HALF_LIFE, TARIFF)
    return np.repeat(stays.tier, stays.last - stays.first + 1).tolist()


def test_a_file_that_says_what_a_baseline_does_costs_the_same(load: Load) -> None:
    things = random_things(60, 200, seed=5)
    ages = load("policies:\n" + policy("old", "age_over: 90d", "cold") + policy("older", "age_over: 30d", "warm"))
    found = replayed(ages, things, 200)
    assert found["mine"].amount == found["lifecycle-30-90"].amount
    assert found["mine"].moves == found["lifecycle-30-90"].moves > 0
    back = policy("back", "reads_above: 0.00001/year", "hot")  # of an object that is read: for ever after
    returning = load("policies:\n" + policy("a", "idle_for: 90d", "cold") + policy("b", "idle_for: 30d", "warm") + back)
    found = replayed(returning, things, 200)
    assert found["mine"].amount == found["idle-30-90-return"].amount
    assert found["mine"].moves == found["idle-30-90-return"].moves > 0


def test_without_a_rule_that_returns_nothing_does(load: Load) -> None:
    days = 200
    things = random_things(60, days, seed=6)
    rules = load(
        "policies:\n" + policy("a", "idle_for: 90d", "cold") + policy("b", "idle_for: 30d", "warm", tier="hot")
    )

    def choose(thing: Thing, day: int, tier: int) -> int:
        unread = thing.idle(day)
        return 2 if unread >= 90 else 1 if unread >= 30 and tier == 0 else tier

    same(replayed(rules, things, days)["mine"], slow.bill(things, days, AWS, choose))


def test_the_first_policy_that_matches_decides_even_if_the_object_is_there_already(load: Load) -> None:
    rules = load("policies:\n" + policy("a", "idle_for: 2d", "cold") + policy("b", "size_over: 1KiB", "warm"))
    assert path_of(rules, Thing(0, GB), 6) == [0, 1, 2, 2, 2, 2]


def test_a_disabled_policy_counts_for_nothing_and_dry_run_for_all(load: Load) -> None:
    off, on = policy("a", "age_over: 1d", "cold", more=", mode: disabled"), policy("b", "age_over: 3d", "warm")
    assert path_of(load("policies:\n" + off + on), Thing(0, GB), 5) == [0, 0, 0, 1, 1]
    with pytest.raises(ConfigError) as caught:
        load("policies:\n" + off)
    assert "disabled" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("when", "size", "moved"),
    [
        ("size_over: 1MiB", (1 << 20) + 1, True),
        ("size_over: 1MiB", 1 << 20, False),
        ("size_under: 1MiB", (1 << 20) - 1, True),
        ("size_under: 1MiB", 1 << 20, False),
    ],
)
def test_sizes_are_compared_as_everywhere(load: Load, when: str, size: int, moved: bool) -> None:
    assert (1 in path_of(load("policies:\n" + policy("a", when, "warm")), Thing(0, size), 3)) is moved


@pytest.mark.parametrize("when", ["idle_for: 36h", "age_over: 36h", "idle_for: 2d"])
def test_parts_of_days_count_as_days(load: Load, when: str) -> None:
    """36 hours have passed at the end of the second day, not of the first."""
    assert path_of(load("policies:\n" + policy("a", when, "warm")), Thing(0, GB), 4) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("reads_below: 2/month", lambda reads, share: reads < 2 / 30.4375),
        ("reads_above: 1/week", lambda reads, share: reads >= 1 / 7),
        ("read_share_below: 5%/month", lambda reads, share: share < 0.05 / 30.4375),
    ],
)
def test_rates_are_those_of_heat(load: Load, when: str, holds: Callable[[float, float], bool]) -> None:
    """A policy that moves between two tiers while it holds shows on which days it does; heat.py says when it must."""
    days, size = 120, 10 * GB
    thing = Thing(3, size, {5: (4, 3 * GB), 9: (1, 1000), 40: (20, 100 * GB), 41: (2, GB)})
    rules = load("policies:\n" + policy("a", when, "warm") + policy("b", "age_over: 1d", "hot"))
    expected = [0]
    for day in range(3, days - 1):
        counts = [[(at, row[n]) for at, row in thing.reads.items() if at <= day] for n in (0, 1)]
        reads, nbytes = (heat.rate(heat.score(c, HALF_LIFE), (day + 1) * DAY, HALF_LIFE) for c in counts)
        expected.append(1 if holds(reads, nbytes / size) else 0)
    assert {0, 1} == set(expected)
    assert path_of(rules, thing, days) == expected


def test_every_condition_is_simulated_or_refused_by_file_and_line(load: Load, tmp_path: Path) -> None:
    values = {
        "idle_for": "1d", "age_over": "1d", "reads_below": "1/day", "reads_above": "1/day",
        "read_share_below": "1%/day", "size_over": "1KiB", "size_under": "1KiB",
    }  # fmt: skip
    refused = {"format": "csv", "tags": "{a: b}", "partition": '{dt: "1"}', "tier_full_above": "80%"}
    assert values.keys() | refused.keys() == CONDITIONS.keys()
    for key, value in values.items():
        load("policies:\n" + policy("a", f"{key}: {value}", "warm"))
    for key, value in refused.items():
        with pytest.raises(ConfigError) as caught:
            load("# a comment\npolicies:\n" + policy("a", f"{key}: {value}", "warm"))
        (problem,) = caught.value.problems
        assert (problem.file, problem.line) == (str(tmp_path / "mine.yaml"), 3)
        assert f"`{key}`" in problem.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("to: {tier: archive}", "`archive` is the 4. of --tiers, which has 3 (name one of hot, warm, cold, or more"),
        ("to: {tier: glacier}", "there is no tier `glacier`"),
        ("to: {tier: warm, codec: zstd}", "no codecs (without --tiers"),
        ("to: {codec: identity}", "between tiers only"),
        ("require: {payback_within: 9d}\nto: {tier: warm}", "`require` cannot be simulated (without --tiers"),
        ("where: size > 5\nto: {tier: warm}", "`where` cannot be simulated"),
        ("target: {dataset: x, tier: warm}\nto: {tier: warm}", "would stay in warm"),
    ],
)
def test_what_cannot_be_simulated_is_refused(load: Load, text: str, words: str) -> None:
    target = "" if "target" in text else "target: {dataset: x}\n"
    with pytest.raises(ConfigError) as caught:
        load(f"name: a\n{target}when: {{idle_for: 1d}}\n{text}\n")
    assert [words in str(problem) for problem in caught.value.problems] == [True], caught.value.problems


def test_datasets_count_where_they_are_known(load: Load) -> None:
    things = [Thing(0, GB), Thing(0, GB)]
    trace = slow.trace_of(things, 3)
    rules = load('name: a\ntarget: {dataset: "logs/*"}\nwhen: {age_over: 1d}\nto: {tier: warm}\n').rules
    assert len(follow(trace, rules, HALF_LIFE, TARIFF).moved) == 2
    named = replace(trace, datasets=("logs/web", "events"), dataset=np.array([1, 0], np.int32))
    stays = follow(named, rules, HALF_LIFE, TARIFF)
    assert stays.object[stays.moved].tolist() == [1]


@pytest.mark.parametrize(
    ("tiers", "days", "rest_days", "back"),
    [
        ([0, 1, 0], [10, 2, 9], (7, 7, 7), 1),
        ([0, 1, 0], [10, 7, 9], (7, 7, 7), 0),
        ([0, 1, 0], [10, 7, 9], (7, 30, 7), 1),
        ([0, 1, 2], [10, 2, 9], (7, 7, 7), 0),
        ([0, 2, 1], [10, 2, 9], (7, 7, 7), 1),
        ([0, 1, 0, 1, 0], [1, 1, 1, 1, 1], (7, 7, 7), 3),
        ([0], [10], (7, 7, 7), 0),
        ([0, 1], [1, 1], (7, 7, 7), 0),
    ],
)
def test_moves_that_go_back_before_their_rest_is_over_are_counted(
    tiers: list[int], days: list[int], rest_days: tuple[int, ...], back: int
) -> None:
    """Of each object by itself: here two of the same kind stand side by side."""
    ends = np.cumsum(days) - 1
    first = np.concatenate(([0], ends[:-1] + 1))
    stays = Stays(
        np.repeat([0, 1], len(tiers)),
        np.array(tiers * 2, np.int8),
        np.tile(first, 2).astype(np.int32),
        np.tile(ends, 2).astype(np.int32),
    )
    assert turned_back(stays, rest_days, (0, 1, 2)) == 2 * back


def test_policies_that_move_to_and_fro_are_told(load: Load) -> None:
    """Read every other day: down when it was not read, up when it was."""
    things = [Thing(0, GB, dict.fromkeys(range(0, 60, 2), (5, GB)))]
    down, up = (
        policy("down", "idle_for: 1d", "warm", tier="hot"),
        policy("up", "reads_above: 1/day", "hot", tier="warm"),
    )
    rules = load("policies:\n" + down + up)
    trace = slow.trace_of(things, 60)
    outcomes = simulate(trace, Listing.of(AWS), BOOK, [rules], half_life_us=HALF_LIFE, rest_us=7 * DAY)
    found = {outcome.name: outcome for outcome in outcomes}
    assert found["mine"].back == found["mine"].moves - 1 > 10
    assert found["stay"].back == found["idle-30-90-return"].back == 0
