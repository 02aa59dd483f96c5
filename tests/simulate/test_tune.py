"""`tune`: what is searched, that nothing of the held-out days is seen, and that files stay as they are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from storaged.cli.app import run
from storaged.clock import DAY
from storaged.config.yaml import read_document, rewritten, written
from storaged.decide.simulate.rules import RuleSet, rules_of
from storaged.decide.simulate.run import Listing, replay
from storaged.decide.simulate.trace import Trace
from storaged.decide.simulate.tune import applied, sampled, thresholds, tune
from tests.simulate import slow
from tests.simulate.conftest import AWS, GB, random_things
from tests.simulate.slow import Thing

TIERS = "aws/us-east-1/standard,aws/us-east-1/standard-ia,aws/us-east-1/glacier-ir"
POLICY = """\
# What nobody has read for a while.
policies:
  - name: cool  # and stays cool
    target: {dataset: "*", tier: hot}
    when:
      idle_for: "2d"   # a guess
      size_over: 1KiB
    to: {tier: cold}
  - {name: back, target: {dataset: "*", tier: cold}, when: {reads_above: 4/week}, to: {tier: hot}}
"""


def rules(text: str, directory: Path) -> RuleSet:
    file = directory / "mine.yaml"
    file.write_text(text)
    return rules_of(read_document(file), "mine", AWS)


def cost_of(trace: Trace) -> Callable[[RuleSet], Decimal]:
    return lambda policy: replay(trace, Listing.of(AWS), policy, half_life_us=30 * DAY).amount.total


def weekly(until: int, days: int) -> Trace:
    """Read twice a fortnight until some day, and never after: what waits ten days does not move it in between."""
    return slow.trace_of([Thing(0, GB, dict.fromkeys(range(0, until, 8), (1, GB))) for _ in range(5)], days)


# -- the search -------------------------------------------------------------------------------------------------------


def test_it_finds_what_costs_least_of_what_is_tried(tmp_path: Path) -> None:
    """Against trying every pair of values: idle days and least size do not hinder each other here."""
    found = rules(POLICY.split("  - {name: back")[0], tmp_path)
    trace = weekly(120, 300)
    cost = cost_of(trace)
    knobs = thresholds(found, trace.days)
    assert [knob.path for knob in knobs] == [
        ("policies", 0, "when", "idle_for"),
        ("policies", 0, "when", "size_over"),
    ]
    told = tune(found, knobs, cost, 500)
    best = min(
        cost(applied(found, {knobs[0].path: idle, knobs[1].path: size}))
        for idle in knobs[0].tried
        for size in knobs[1].tried
    )
    assert cost(applied(found, told.setting)) == best < cost(found)
    assert 1 + len(knobs[0].tried) <= told.tried <= 1 + 3 * sum(len(knob.tried) for knob in knobs)


def test_what_is_best_already_is_left_alone(tmp_path: Path) -> None:
    found = rules(POLICY.replace('"2d"', "10d"), tmp_path)
    hot = slow.trace_of([Thing(0, GB, dict.fromkeys(range(200), (3, 3 * GB))) for _ in range(5)], 200)
    assert tune(found, thresholds(found, 200), cost_of(hot), 500).setting == {}


def test_it_stops_at_so_many_settings(tmp_path: Path) -> None:
    found = rules(POLICY, tmp_path)
    trace = weekly(120, 300)
    told = tune(found, thresholds(found, 300), cost_of(trace), 7)
    assert told.tried == 7
    assert cost_of(trace)(applied(found, told.setting)) <= cost_of(trace)(found)


def test_days_longer_than_the_past_are_not_tried(tmp_path: Path) -> None:
    assert thresholds(rules(POLICY, tmp_path), 20)[0].tried[-1] == "14d"


def test_of_a_large_trace_every_so_manieth_object_by_size_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = slow.trace_of(random_things(80, 100, seed=4), 100)
    assert sampled(trace) is trace
    monkeypatch.setattr("storaged.decide.simulate.tune._SEARCHED", 100 * 27)
    some = sampled(trace)
    assert some.objects == 27
    whole = {(int(c), int(s)) for c, s in zip(trace.created, trace.sizes, strict=True)}
    assert {(int(c), int(s)) for c, s in zip(some.created, some.sizes, strict=True)} <= whole
    assert len(some.read_day) == some.starts[-1] > 0


def test_parts_of_a_past_are_what_the_slow_rules_have_there(tmp_path: Path) -> None:
    things = random_things(40, 200, seed=9)
    cut = slow.trace_of(things, 200).until(120)
    early = [Thing(t.created, t.size, {d: r for d, r in t.reads.items() if d < 120}) for t in things if t.created < 120]
    same = slow.trace_of(early, 120)
    for name in ("created", "sizes", "starts", "read_day", "reads", "read_bytes"):
        assert getattr(cut, name).tolist() == getattr(same, name).tolist(), name
    assert cut.days == 120


# -- the file ---------------------------------------------------------------------------------------------------------


def test_all_else_in_the_file_is_as_it_was() -> None:
    changes = {("policies", 0, "when", "idle_for"): "30d", ("policies", 1, "when", "reads_above"): "2/month"}
    told = rewritten(POLICY, changes)
    assert told == POLICY.replace('"2d"', "30d").replace("4/week", "2/month")
    assert written(POLICY, ("policies", 0, "when", "idle_for")) == "2d"


@given(
    values=st.lists(st.integers(0, 999).map("{}d".format), min_size=3, max_size=3),
    other=st.dictionaries(st.integers(0, 2), st.integers(0, 999).map("{}d".format)),
    flow=st.booleans(),
)
def test_only_what_is_named_changes(values: list[str], other: dict[int, str], flow: bool) -> None:
    entries = [{"name": f"p{n}", "when": {"idle_for": value}} for n, value in enumerate(values)]
    text = "# é 🙂\n" + yaml.safe_dump({"policies": entries}, default_flow_style=flow) + "# the end"
    told = rewritten(text, {("policies", n, "when", "idle_for"): value for n, value in other.items()})
    assert told.startswith("# é 🙂\n")
    assert told.endswith("# the end")
    after = [entry["when"]["idle_for"] for entry in yaml.safe_load(told)["policies"]]
    assert after == [other.get(n, value) for n, value in enumerate(values)]


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)
    write(tmp_path / "trace.csv", hot_after=None)
    write(tmp_path / "turned.csv", hot_after=240)
    (tmp_path / "mine.yaml").write_text(POLICY)
    return tmp_path


def write(path: Path, hot_after: int | None) -> None:
    """Objects that are read every eighth day of their first four months; in one file from some day on daily."""
    rows = ["ts,object_id,op,size_bytes"]
    for n in range(12):
        born = 20 * n
        rows.append(f"{born * 86400},raw/{n},write,{GB}")
        days = [*range(born, min(born + 120, 360), 8), *(range(hot_after, 360) if hot_after else ())]
        rows += [f"{day * 86400},raw/{n},read,{GB}" for day in days if day >= born]
    path.write_text("\n".join([*rows, f"{359 * 86400},end,write,1"]) + "\n")


def ctl(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["tune", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_diff_makes_the_policy_that_was_judged(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--trace", "trace.csv", "--tiers", TIERS)
    code, out, _ = ctl(capsys, "mine.yaml", *words, "--json", "--output", "mine.diff")
    told = json.loads(out)
    assert code == 0
    assert told["worth_it"] is True
    assert (told["tuned_on_days"], told["held_out_days"]) == (240, 120)
    assert (place / "mine.yaml").read_text() == POLICY
    assert (place / "mine.diff").read_text() == told["diff"]
    subprocess.run(["git", "apply", "-p0", "mine.diff"], check=True)
    changed = (place / "mine.yaml").read_text()
    assert changed != POLICY
    assert "# a guess\n" in changed
    costs = told["costs"]
    for text, name in ((POLICY, "as_it_is"), (changed, "tuned")):
        (place / "other.yaml").write_text(text)
        run(["evaluate", "other.yaml", *words, "--warm-up", "240d", "--json"])
        assert json.loads(capsys.readouterr().out)["policies"]["other"]["total"] == costs[name]["held_out"]
    saved = Decimal(costs["as_it_is"]["held_out"]) - Decimal(costs["tuned"]["held_out"])
    assert saved == Decimal(told["held_out_saving"]) > 0
    assert 0 < told["weeks_cheaper"] <= told["weeks"] == 18
    assert [of["is"] for of in told["thresholds"]] == ["2d", "1KiB", "4/week"]


def test_it_prints_the_diff_last(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ctl(capsys, "mine.yaml", "--trace", "trace.csv", "--tiers", TIERS)
    assert (code, err) == (0, "")
    (place / "out").write_text(out)
    before, diff = out.split("\n--- mine.yaml\n")
    assert "settings tried on 240 days; judged on the 120 after them, of which nothing was known" in before
    assert "tuned, it saves $" in before
    assert diff.startswith("+++ mine.yaml\n@@ ")


def test_nothing_of_the_held_out_days_is_seen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to day 240 both pasts are the same: so is what is found, whatever it costs after that."""
    both = [
        json.loads(ctl(capsys, "mine.yaml", "--trace", name, "--tiers", TIERS, "--json")[1])
        for name in ("trace.csv", "turned.csv")
    ]
    assert both[0]["thresholds"] == both[1]["thresholds"]
    assert {n: c["tuned_on"] for n, c in both[0]["costs"].items()} == {
        n: c["tuned_on"] for n, c in both[1]["costs"].items()
    }
    assert both[0]["costs"]["tuned"]["held_out"] != both[1]["costs"]["tuned"]["held_out"]


def test_where_staying_is_cheaper_still_there_is_no_diff(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Daily reads of everything: the later it leaves the better, and never would be best."""
    rows = ["ts,object_id,op,size_bytes"]
    for n in range(4):
        rows.append(f"0,raw/{n},write,{GB}")
        rows += [f"{day * 86400},raw/{n},read,{GB}" for day in range(3, 90, 3)]
    (place / "busy.csv").write_text("\n".join([*rows, f"{89 * 86400},end,write,1"]) + "\n")
    rules = (("down", "hot", "idle_for: 2d", "cold"), ("back", "cold", "reads_above: 1/year", "hot"))
    written = [
        f"  - {{name: {n}, target: {{dataset: '*', tier: {h}}}, when: {{{w}}}, to: {{tier: {t}}}}}"
        for n, h, w, t in rules
    ]
    (place / "rash.yaml").write_text("\n".join(["policies:", *written]) + "\n")
    words = ("rash.yaml", "--trace", "busy.csv", "--tiers", TIERS)
    told = json.loads(ctl(capsys, *words, "--settings", "3", "--json")[1])
    assert Decimal(told["held_out_saving"]) > 0
    assert Decimal(told["costs"]["tuned"]["held_out"]) > Decimal(told["costs"]["staying"]["held_out"])
    assert (told["worth_it"], told["diff"]) == (False, "")


def test_where_held_out_days_gain_nothing_it_says_leave_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cold objects that are all read for days after the cut: the sooner they left, the dearer."""
    rows = ["ts,object_id,op,size_bytes"]
    for n in range(4):
        rows.append(f"0,raw/{n},write,{GB}")
        rows += [f"{day * 86400},raw/{n},read,{GB}" for day in range(70, 100, 3)]
    (place / "late.csv").write_text("\n".join([*rows, f"{99 * 86400},end,write,1"]) + "\n")
    (place / "slow.yaml").write_text(
        'name: slow\ntarget: {dataset: "*", tier: hot}\nwhen: {idle_for: 90d}\nto: {tier: cold}\n'
    )
    code, out, _ = ctl(capsys, "slow.yaml", "--trace", "late.csv", "--tiers", TIERS, "--output", "slow.diff")
    assert code == 0
    assert "leave it: on held-out days the tuned setting costs $" in out
    assert not (place / "slow.diff").exists()
    told = json.loads(ctl(capsys, "slow.yaml", "--trace", "late.csv", "--tiers", TIERS, "--json")[1])
    assert (told["worth_it"], told["diff"]) == (False, "")
    assert Decimal(told["held_out_saving"]) < 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mine.yaml",), "one of --trace and --history is wanted"),
        (("none.yaml", "--trace", "trace.csv", "--tiers", TIERS), "none.yaml:1"),
        (("mine.yaml", "--trace", "trace.csv", "--tiers", TIERS, "--output", "./mine.yaml"), "is the policy itself"),
        (("mine.yaml", "--trace", "trace.csv", "--tiers", TIERS, "--output", "no/where"), "cannot be written"),
        (("mine.yaml", "--trace", "trace.csv", "--tiers", TIERS, "--tune-on", "0d"), "is not a number of days"),
        (("mine.yaml", "--trace", "trace.csv", "--tiers", TIERS, "--tune-on", "359d"), "none are left to judge"),
    ],
)
def test_mistakes_are_told_in_plain_words(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, _, err = ctl(capsys, *words)
    assert code == 2
    assert said in err
    assert (place / "mine.yaml").read_text() == POLICY


def test_a_policy_without_thresholds_has_nothing_to_tune(tmp_path: Path) -> None:
    found = rules(POLICY, tmp_path)
    bare = replace(found, rules=tuple(replace(rule, conditions=()) for rule in found.rules))
    assert thresholds(bare, 100) == ()
