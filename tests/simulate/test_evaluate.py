"""`evaluate`: the engine of `simulate` on held-out days, what each policy knows there, and what the command says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.cli.app import run
from storaged.clock import DAY
from storaged.config.yaml import read_document
from storaged.decide.simulate.judge import by_week, judge
from storaged.decide.simulate.rules import RuleSet, rules_of
from storaged.decide.simulate.run import Listing, SimulatedOutcome, simulate
from storaged.prices.book import ClassPrices
from tests.laws import tries
from tests.simulate import slow
from tests.simulate.conftest import ARCHIVES, AWS, AZURE, BOOK, GB, GCS, KINDS, made_up, random_things, same, things_of
from tests.simulate.slow import MONTH, Thing

TIERS = "aws/us-east-1/standard,aws/us-east-1/standard-ia,aws/us-east-1/glacier-ir"
GOLDEN = Path(__file__).parent / "golden"
DAYS, OPENS = 250, 90


def evaluated(
    things: list[Thing], tiers: list[ClassPrices], *rules: RuleSet, opens: int = OPENS, days: int = DAYS
) -> dict[str, SimulatedOutcome]:
    trace = replace(slow.trace_of(things, days), opens=opens)
    return {o.name: o for o in simulate(trace, Listing.of(tiers), BOOK, rules, half_life_us=30 * DAY)}


def idle_rule(tmp_path: Path) -> RuleSet:
    file = tmp_path / "mine.yaml"
    file.write_text('name: down\ntarget: {dataset: "*", tier: hot}\nwhen: {idle_for: 40d}\nto: {tier: cold}\n')
    return rules_of(read_document(file), "mine", AWS)


# -- against the slow rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiers", [AWS, ARCHIVES, GCS, AZURE, AWS[:2]], ids=["aws", "archives", "gcs", "azure", "two"])
def test_held_out_days_cost_what_the_slow_rules_say(tiers: list[ClassPrices]) -> None:
    things = random_things(60, DAYS, seed=len(tiers[1].id))
    found = evaluated(things, tiers)
    same(found["stay"], slow.bill(things, DAYS, tiers, lambda thing, day, tier: tier, OPENS))
    same(found["lifecycle-30-90"], slow.bill(things, DAYS, tiers, slow.lifecycle(len(tiers)), OPENS))
    same(found["idle-30-90-return"], slow.bill(things, DAYS, tiers, slow.idle(len(tiers)), OPENS))
    each = (slow.cost(thing, DAYS, tiers, slow.break_even(tiers, OPENS), OPENS) for thing in things)
    same(found["break-even"], sum(each, Counter()))


def test_the_optimum_is_that_of_the_held_out_days() -> None:
    things = random_things(6, 130, seed=21)
    best = sum(slow.cheapest_by_ages(thing, 130, AWS, 60) for thing in things)
    found = evaluated(things, AWS, opens=60, days=130)["optimum"]
    assert abs(Fraction(found.amount.total) - best) < Fraction(1, 10**12)


@pytest.mark.parametrize("opens", [0, 90])
def test_break_even_costs_what_the_slow_rules_say_where_it_moves_much(opens: int) -> None:
    """Objects that rest for months and are then read for days, over and over."""
    waves = [Thing(n, GB, {d: (1, GB) for d in range(n, 700) if d % 200 < 5}) for n in range(6)]
    each = (slow.cost(thing, 700, AWS, slow.break_even(AWS, opens), opens) for thing in waves)
    expected: Mapping[str, Fraction] = sum(each, Counter())
    assert expected["moves"] > 20
    same(evaluated(waves, AWS, opens=opens, days=700)["break-even"], expected)


def test_policy_files_see_the_days_before_and_move_nothing_on_them(tmp_path: Path) -> None:
    things = random_things(60, DAYS, seed=4)

    def choose(thing: Thing, day: int, tier: int) -> int:
        return 2 if tier == 0 and thing.idle(day) >= 40 else tier

    found = evaluated(things, AWS, idle_rule(tmp_path))["mine"]
    same(found, slow.bill(things, DAYS, AWS, choose, OPENS))
    old = slow.trace_of([Thing(0, GB), Thing(0, GB, {60: (1, GB)})], DAYS)
    stays = evaluated([Thing(0, GB), Thing(0, GB, {60: (1, GB)})], AWS, idle_rule(tmp_path))["mine"]
    assert old.objects == stays.moves == 2
    standard = (1 + 11) * Fraction("0.023")  # to the end of day 90, and of day 100
    cold = (159 + 149) * Fraction("0.004")
    assert abs(Fraction(stays.amount.storage) - (standard + cold) / MONTH) < Fraction(1, 10**12)


@pytest.mark.parametrize(
    ("tiers", "name", "fee_days"), [(AWS, "intelligent-tiering", MONTH), (GCS, "autoclass", Fraction(30))]
)
def test_a_class_that_moves_objects_by_itself_has_them_from_the_start(
    tiers: list[ClassPrices], name: str, fee_days: Fraction
) -> None:
    things = random_things(60, DAYS, seed=7)
    prices = BOOK.classes[f"{tiers[0].region}/{name}"]
    same(evaluated(things, tiers)[name], slow.moving_itself(things, DAYS, prices, fee_days, OPENS))


@given(data=st.data())
@tries(60)
def test_nothing_is_cheaper_than_the_optimum_of_the_held_out_days(data: st.DataObject) -> None:
    tiers = [data.draw(made_up(f"c{n}")) for n in range(3)]
    days, opens = 40, data.draw(st.integers(0, 38))
    things = [data.draw(things_of(days)) for _ in range(3)]
    found = evaluated([*things, Thing(0, GB)], tiers, opens=opens, days=days)
    best = found["optimum"].amount.total
    for name, outcome in found.items():
        assert outcome.amount.total >= best - Decimal("1e-12"), name
        kinds = sum((getattr(outcome.amount, kind) for kind in KINDS), Decimal(0))
        assert outcome.amount.total == kinds
        assert len(outcome.daily) == days - opens
        assert float(outcome.amount.total) == pytest.approx(float(outcome.daily.sum()), rel=1e-9, abs=1e-12)


# -- what is known ----------------------------------------------------------------------------------------------------


def test_the_first_days_are_learnt_from() -> None:
    """What is never read leaves in the first evening that counts; without days before it `auto` waits."""
    things = [Thing(0, GB, dict.fromkeys(range(DAYS), (1, GB))), *(Thing(0, GB) for _ in range(20))]
    learnt = evaluated(things, AWS)["auto"].daily
    assert learnt[1] < 0.5 * learnt[0]
    things[0] = Thing(0, GB, dict.fromkeys(range(DAYS - OPENS), (1, GB)))
    fresh = evaluated(things, AWS, days=DAYS - OPENS, opens=0)["auto"].daily
    assert fresh[1] == pytest.approx(fresh[0])


def test_the_future_changes_no_day_before_it() -> None:
    things = random_things(60, DAYS, seed=5)
    trace = replace(slow.trace_of(things, DAYS), opens=OPENS)
    chance = np.random.default_rng(8)
    late = np.flatnonzero(trace.read_day >= 150)
    other_bytes = trace.read_bytes.copy()
    other_bytes[late] = chance.permutation(other_bytes[late])
    both = [
        simulate(one, Listing.of(AWS), BOOK, half_life_us=DAY)
        for one in (trace, replace(trace, read_bytes=other_bytes))
    ]
    changed = set()
    for before, after in zip(*both, strict=True):
        if before.name != "optimum":
            assert before.daily[: 150 - OPENS] == pytest.approx(after.daily[: 150 - OPENS], rel=1e-12), before.name
            changed |= {before.name} if before.daily.tolist() != after.daily.tolist() else set()
    assert {"auto", "break-even"} <= changed


# -- judging ----------------------------------------------------------------------------------------------------------


def test_regret_is_beside_the_best_fixed_policy_and_the_worst_week_beside_staying() -> None:
    things = [Thing(0, GB), Thing(0, GB, dict.fromkeys(range(160, 164), (3, 3 * GB)))]
    found = list(evaluated(things, AWS).values())
    told = judge(found)
    by_name = {one.outcome.name: one for one in told.policies}
    totals = {name: one.outcome.amount.rounded().total for name, one in by_name.items()}
    fixed = totals.keys() - {"auto", "auto-intelligent-tiering", "optimum"}
    assert told.best == min(fixed, key=lambda name: totals[name])
    assert by_name[told.best].regret == 0
    assert by_name["stay"].regret == totals["stay"] - totals[told.best] > 0
    worst = by_name["lifecycle-30-90"].worst
    assert worst.first_day == (160 - OPENS) // 7 * 7
    stayed = by_name["stay"].outcome.daily
    assert worst.beside_staying == pytest.approx(
        float((by_name["lifecycle-30-90"].outcome.daily - stayed)[worst.first_day :][:7].sum())
    )
    assert sum(by_week(found[0])) == pytest.approx(float(found[0].daily.sum()))
    assert len(by_week(found[0])) == -(-(DAYS - OPENS) // 7)


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)
    rows = ["ts,object_id,op,size_bytes,count"]
    rows += [f"{day * 86400},raw/{n},write,{3 << 40},1" for n, day in enumerate((0, 50, 100, 250))]
    rows += [f"{day * 86400},model,read,{200 << 30},3" for day in range(0, 365, 14)]
    rows += [f"{day * 86400},raw/1,read,{3 << 40},1" for day in range(300, 304)]
    (tmp_path / "trace.csv").write_text("\n".join(rows) + f"\n{364 * 86400},model,read,{200 << 30},1\n")
    (tmp_path / "cool.yaml").write_text(
        'name: cool\ntarget: {dataset: "*", tier: hot}\nwhen: {idle_for: 45d}\nto: {tier: cold}\n'
    )
    return tmp_path


def ctl(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["evaluate", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_it_says_what_was_learnt_from_and_judged(
    place: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    code, out, err = ctl(capsys, "cool.yaml", "--trace", "trace.csv", "--tiers", TIERS, "--plot", "drawn.svg")
    assert (code, err) == (0, "drawn: drawn.svg\n")
    assert (place / "drawn.svg").read_bytes()[:4] == b"<?xm"
    path = GOLDEN / "evaluate.txt"
    out = out[: out.index("\nprices: ") + 1]
    if request.config.getoption("--update-golden"):
        path.write_text(out, "utf-8")
    assert out == path.read_text("utf-8")


def test_json_has_the_regret_and_the_worst_week_of_each(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cool.yaml", "--trace", "trace.csv", "--tiers", TIERS, "--warm-up", "200d", "--json")
    code, out, _ = ctl(capsys, *words)
    told = json.loads(out)
    assert code == 0
    assert (told["days"], told["warm_up_days"], told["judged_days"]) == (365, 200, 165)
    assert any("reads count as they were" in note for note in told["notes"])
    best = Decimal(told["policies"][told["best_in_hindsight"]]["total"])
    for amounts in told["policies"].values():
        assert set(amounts) == {"total", "moves", *KINDS, "of_optimum", "regret", "worst_week"}
        assert Decimal(amounts["regret"]) == Decimal(amounts["total"]) - best
        assert 200 <= amounts["worst_week"]["day"] < 365
        assert amounts["worst_week"]["date"] is None
    assert {"auto", "break-even", "cool", "intelligent-tiering", "optimum"} <= set(told["policies"])


def test_without_days_to_learn_from_it_says_what_simulate_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--trace", "trace.csv", "--tiers", TIERS, "--json")
    _, out, _ = ctl(capsys, "cool.yaml", *words, "--warm-up", "0d")
    ours = json.loads(out)["policies"]
    run(["simulate", *words, "--policy", "cool.yaml"])
    theirs = json.loads(capsys.readouterr().out)["policies"]
    assert {n: {k: of[k] for k in theirs[n]} for n, of in ours.items()} == theirs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one of --trace and --history is wanted"),
        (
            ("--trace", "trace.csv", "--tiers", TIERS, "--warm-up", "364d"),
            "of 365 days none are left to judge after the first 364",
        ),
        (("--trace", "trace.csv", "--tiers", TIERS, "--warm-up", "9"), "--warm-up: '9' is not a duration"),
        (("--trace", "trace.csv", "--tiers", TIERS, "--warm-up", "36h"), "--warm-up 36h is not a number of days"),
        (("auto.yaml", "--trace", "trace.csv", "--tiers", TIERS), "the name auto is taken"),
        (("break-even.yaml", "--trace", "trace.csv", "--tiers", TIERS), "the name break-even is taken"),
        (("--trace", "trace.csv", "--tiers", TIERS, "--plot", "drawn.bmp"), "drawn.bmp cannot be drawn"),
    ],
)
def test_mistakes_are_told_in_plain_words(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, out, err = ctl(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
