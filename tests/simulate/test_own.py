"""`storagectl simulate` with the tiers and policies of storaged.yaml: what they would have cost, form by form."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.cli.app import run
from storaged.clock import DAY
from storaged.decide.conditions.time import AgeOver, IdleFor
from storaged.decide.policy import Target
from storaged.decide.simulate.rules import NOWHERE, Rule, RuleSet
from storaged.decide.simulate.run import Listing, simulate
from storaged.decide.simulate.trace import Trace
from storaged.prices.book import DAYS_PER_MONTH
from tests.cli.lake import Lake
from tests.laws import tries
from tests.simulate import slow
from tests.simulate.conftest import AWS, BOOK, GB, made_up, things_of

CONFIG = """\
catalog: sqlite:///catalog.db
tiers:
  hot: {rank: 0, url: "s3://tiers/hot", prices: aws/us-east-1/standard}
  warm: {rank: 1, url: "s3://tiers/warm", storage_class: STANDARD_IA, prices: aws/us-east-1/standard-ia}
  cold: {rank: 2, url: "s3://tiers/cold", storage_class: GLACIER_IR, prices: aws/us-east-1/glacier-ir}
  free: {rank: 3, url: "file:///srv/free"}
datasets:
  lake: {root: "s3://lake", readers: storaged}
"""
DAYS = 61
STANDARD, RARE, INSTANT = AWS


class Place:
    """A directory with storaged.yaml, a trace and policies."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "storaged.yaml").write_text(CONFIG)
        (place / "policies").mkdir()

    def trace(self, *rows: tuple[int, str, int]) -> None:
        """Reads: day, name, size; the last day has one of something without content."""
        lines = [f"{day * 86400},{name},{'read' if size else 'write'},{size}" for day, name, size in rows]
        end = f"{(DAYS - 1) * 86400},end,write,0"
        (self.place / "trace.csv").write_text("\n".join(("ts,object_id,op,size_bytes", *lines, end)) + "\n")

    def policy(self, text: str, name: str = "policies/p.yaml") -> None:
        (self.place / name).write_text(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)
    return Place(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = run(["simulate", "--trace", "trace.csv", *words, "--json"])
    out = capsys.readouterr()
    assert code == 0, out
    return json.loads(out.out)


def rate(prices: Any, gb_days: Fraction) -> Fraction:
    """What so many GB-days of storage cost."""
    return Fraction(prices.storage[0].per_gb) * gb_days / Fraction(DAYS_PER_MONTH)


def test_in_place_it_is_what_the_same_classes_come_to(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy of storaged.yaml that changes classes, beside the same in a file for --tiers."""
    sizes = (3 * GB, 200_000, 50 * GB, 1_000)
    place.trace(*((day, f"{n}.csv", size) for n, size in enumerate(sizes) for day in (0, n, 7 * n)))
    rule = '{{name: {0}, target: {{dataset: "*", tier: {1}}}, when: {{idle_for: {2}d}}, to: {{tier: {3}{4}}}}}'
    steps = (("a", "hot", 9, "warm"), ("b", "warm", 30, "cold"))
    own = [rule.format(*step, ", in_place: true") for step in steps]
    place.policy("policies:\n" + "".join(f"  - {line}\n" for line in own))
    mine = told(capsys)
    given = [rule.format(*step, "").replace("cold", "cold") for step in steps]
    place.policy("policies:\n" + "".join(f"  - {line}\n" for line in given), "policies.yaml")
    classes = ",".join(prices.id for prices in AWS)
    theirs = told(capsys, "--tiers", classes, "--policy", "policies.yaml")
    assert mine["policies"] == theirs["policies"]
    assert mine["policies"]["policies"]["moves"] > 3
    assert mine["tiers"] == theirs["tiers"]
    assert "the tier free has no prices, and is not part of it" in mine["notes"]


def test_codecs_store_what_their_ratio_says(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten days as it is, then a quarter of it in another tier: storage, a PUT, and the bytes of reads to the cent."""
    place.trace(
        (0, "a.csv", 100 * GB), (40, "a.csv", 100 * GB), (0, "b.parquet", 100 * GB), (40, "b.parquet", 100 * GB)
    )
    place.policy('name: p\ntarget: {dataset: "*"}\nwhen: {age_over: 10d, format: csv}\nto: {tier: warm, codec: zstd}\n')
    found = told(capsys, "--ratio", "zstd=0.25")
    mine = found["policies"]["policies"]
    storage = rate(STANDARD, Fraction(100 * (10 + DAYS))) + rate(RARE, Fraction(25 * (DAYS - 10)))
    assert abs(Fraction(mine["storage"]) - storage) < Fraction(1, 10**9)
    assert Fraction(mine["transition"]) == Fraction(RARE.put)
    assert Fraction(mine["retrieval"]) == 25 * Fraction(RARE.retrieval["standard"].per_gb)
    assert mine["moves"] == 1
    assert Fraction(found["policies"]["optimum"]["total"]) <= Fraction(mine["total"])
    assert "zstd: 0.25 of the content is stored, as --ratio says" in found["notes"]
    unknown = told(capsys)
    assert any("zstd: no ratio is known of 3 objects" in note for note in unknown["notes"])
    assert Fraction(unknown["policies"]["policies"]["storage"]) > storage


def test_policies_of_one_line_ask_each_for_itself(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.trace((0, "a.csv", GB), (0, "b.parquet", GB))
    rule = '{{name: {0}, target: {{dataset: "*"}}, when: {{age_over: 9d, format: {0}}}, to: {{tier: warm}}}}'
    place.policy(f"policies: [{', '.join(map(rule.format, ('csv', 'parquet', 'json')))}]\n")
    assert told(capsys)["policies"]["policies"]["moves"] == 2


def test_packs_pay_by_bytes_and_what_is_large_stays(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Small objects share a PUT and no minimum size; `codec` left out afterwards leaves a pack alone."""
    place.trace(*((0, f"{n}.json", 1_000) for n in range(64)), (0, "large.json", 3 * GB))
    packs = '{name: p, target: {dataset: "*"}, when: {age_over: 10d}, to: {tier: warm, codec: {pack: {target: 1MiB}}}}'
    later = '{name: q, target: {dataset: "*", tier: warm}, when: {age_over: 20d}, to: {tier: cold}}'
    place.policy(f"policies:\n  - {packs}\n  - {later}\n")
    found = told(capsys, "--ratio", "pack=1")
    mine = found["policies"]["policies"]
    small = Fraction(64_000, GB)
    storage = rate(STANDARD, 10 * small + 3 * DAYS) + rate(RARE, (DAYS - 10) * small)
    assert abs(Fraction(mine["storage"]) - storage) < Fraction(1, 10**9)
    assert mine["moves"] == 64
    assert Fraction(mine["transition"]) < Fraction(RARE.put)
    assert any("packs are full" in note for note in found["notes"])


@st.composite
def shelves(draw: st.DrawFn) -> tuple[Listing, Trace, list[RuleSet]]:
    """Up to three places with prices that have nothing to do with each other, what objects take in each, where they
    begin, and rules that lead anywhere."""
    count, days = draw(st.integers(2, 3)), draw(st.integers(2, 9))
    prices = [draw(made_up(f"tier-{n}")) for n in range(count)]
    fees = tuple(Decimal(draw(st.integers(0, 9))) / 1000 for _ in prices)
    things = draw(st.lists(things_of(days), min_size=1, max_size=3))
    bare = slow.trace_of(things, days)
    shares = [draw(st.sampled_from([1.0, 0.5, 0.1])) for _ in prices]
    stored = tuple((bare.sizes * share).astype(np.int64) for share in shares)
    plain = draw(st.integers(1, count))
    home = np.array([draw(st.integers(0, plain - 1)) for _ in things], np.int8)
    mask = np.array([draw(st.booleans()) for _ in things])
    target = Target(dataset=("*",))
    sets = [
        RuleSet(
            f"set-{n}",
            tuple(
                Rule(
                    target,
                    (draw(st.sampled_from([AgeOver, IdleFor]))(draw(st.integers(1, 5)) * DAY),),
                    tuple(draw(st.integers(NOWHERE, count - 1)) for _ in prices),
                    draw(st.sampled_from([None, 0])),
                    draw(st.sampled_from([None, None, 30 * DAY])),
                )
                for _ in range(draw(st.integers(1, 2)))
            ),
        )
        for n in range(2)
    ]
    listing = Listing(tuple(prices), fees, plain, tuple(range(count)))
    return listing, replace(bare, stored=stored, home=home, masks=(mask,)), sets


@given(shelves())
@tries(60)
def test_nothing_costs_less_than_the_optimum_whatever_the_forms(
    shelf: tuple[Listing, Trace, list[RuleSet]],
) -> None:
    """Over places of any size, from any beginning, with and without `require`; and what does not move costs the same
    whoever leaves it there."""
    listing, trace, sets = shelf
    found = {o.name: o for o in simulate(trace, listing, BOOK, sets, half_life_us=30 * DAY)}
    best = found["optimum"].amount.total
    for name in ("stay", "auto", "set-0", "set-1"):
        if name not in found:
            continue  # one tier
        assert best <= found[name].amount.total + Decimal("1e-11"), name
        if not found[name].moves:
            assert found[name].amount == found["stay"].amount


def test_require_keeps_back_what_does_not_pay(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A small object would cost its PUT and the minimum size; a large one pays back soon."""
    place.trace((0, "small.csv", 1_000), (0, "large.csv", GB))
    rule = 'name: p\ntarget: {dataset: "*"}\nwhen: {age_over: 5d, size_over: 1B}\nto: {tier: warm}\n'
    place.policy(rule)
    assert told(capsys)["policies"]["policies"]["moves"] == 2
    place.policy(rule + "require: {payback_within: 30d}\n")
    assert told(capsys)["policies"]["policies"]["moves"] == 1
    place.policy(rule + "require: {payback_within: 10m}\n")
    assert told(capsys)["policies"]["policies"]["moves"] == 0
    place.trace((0, "small.csv", 1_000), *((day, "large.csv", GB) for day in range(20)))
    place.policy(rule + "require: {payback_within: 30d}\n")
    assert told(capsys)["policies"]["policies"]["moves"] == 1, "it is read every day, until it is not"


def test_a_pack_pays_back_as_a_whole_or_not_at_all(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """An object of one byte saves nothing by itself; in a pack with large ones it goes with them. Another pack, of
    nothing but such, does not pay."""
    rule = (
        'name: p\ntarget: {dataset: "*"}\nwhen: {size_under: 2MB}\nto: {codec: {pack: {target: 4MiB, largest: 25%}}}\n'
    )
    large = [(0, f"{n}.csv", 1_000_000) for n in range(7)]
    place.trace(*large, (0, "8.csv", 1), *((1, f"9{n}.csv", 1) for n in range(5)))
    place.policy(rule)
    assert told(capsys, "--ratio", "pack=0.2")["policies"]["policies"]["moves"] == 13
    place.policy(rule + "require: {payback_within: 365d}\n")
    assert told(capsys, "--ratio", "pack=0.2")["policies"]["policies"]["moves"] == 8
    place.policy(rule + "require: {payback_within: 1d}\n")
    assert told(capsys, "--ratio", "pack=0.2")["policies"]["policies"]["moves"] == 0


def test_what_rests_does_not_go_back(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two policies that pull at the same object one waits for the minimum duration of the class, or as it says."""
    place.trace((0, "a.csv", GB))
    down = '{name: down, target: {dataset: "*", tier: hot}, when: {age_over: 5d}, to: {tier: warm}}'
    up = '{name: up, target: {dataset: "*", tier: warm}, when: {age_over: 5d}, to: {tier: hot}REST}'
    text = f"policies:\n  - {down}\n  - {up}\n"
    moves = {}
    for rest in ("", ", rest: 0s", ", rest: 2d"):
        place.policy(text.replace("REST", rest))
        found = told(capsys)
        moves[rest] = found["policies"]["policies"]["moves"]
        assert not any("go back within" in note for note in found["notes"])
    # Down on day 5; up after 30 days, at once, or after 2; down again after 7 days, the `rest` of storaged.yaml.
    assert moves == {
        "": len([5, 35, 42]),
        ", rest: 0s": len(range(5, 61, 8)) * 2,
        ", rest: 2d": len(range(5, 61, 9)) * 2 - 1,
    }


def test_what_cannot_be_replayed_is_said_by_name(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Of storaged.yaml's policies those are left out; a file that was named is refused by line."""
    place.trace((0, "a.csv", GB))
    good = '{name: good, target: {dataset: "*"}, when: {age_over: 5d}, to: {tier: warm}}'
    tags = '{name: tagged, target: {dataset: "*"}, when: {tags: {a: b}}, to: {tier: warm}}'
    where = '{name: where, target: {dataset: "*"}, where: "size > 1", to: {tier: warm}}'
    free = '{name: free, target: {dataset: "*"}, when: {age_over: 1d}, to: {tier: free}}'
    text = "policies:\n" + "".join(f"  - {line}\n" for line in (good, tags, where, free))
    place.policy(text)
    found = told(capsys)
    assert found["left_out"] == {
        "tagged": "`tags` cannot be known in a simulation of a trace",
        "where": "`where` cannot be known in a simulation of a trace",
        "free": "the tier free has no prices",
    }
    assert found["policies"]["policies"]["moves"] == 1
    place.policy(text, "mine.yaml")
    assert run(["simulate", "--trace", "trace.csv", "--policy", "mine.yaml", "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["error"]["problems"]
    assert [p["line"] for p in problems] == [3, 4, 5]
    place.policy(f"policies:\n  - {good}\n", "mine.yaml")
    assert told(capsys, "--policy", "mine.yaml")["policies"]["mine"]["moves"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ratio", "zstd"), "--ratio zstd is no codec and share"),
        (("--ratio", "gzip=0.5"), "no codec and share"),
        (("--ratio", "zstd=0.5", "--tiers", "aws/us-east-1/standard"), "with --tiers there are no codecs"),
        (("--policy", "stay.yaml"), "the name stay is taken"),
    ],
)
def test_mistakes(place: Place, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    place.trace((0, "a.csv", GB))
    assert run(["simulate", "--trace", "trace.csv", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_catalogs_past_knows_formats_tags_partitions_and_samples(tmp_path: Path) -> None:
    """What never changes is asked of the objects; ratios are those of samples; another tier's root begins there."""
    now = dt.datetime.now(dt.UTC)
    lake = Lake(tmp_path)
    log = {"name": "log", "format": "jsonl", "path": f"{tmp_path}/*.jsonl", "since": "2026-01-01T00:00:00Z"}
    lake.configure(more=f"heat: [{json.dumps(log)}]\n")
    text = lake.config.read_text().replace(
        "readers: storaged}", 'readers: storaged, tier: warm, tags: {a: b}, partitions: "{year}"}'
    )
    for tier, name in (("hot", "standard"), ("warm", "standard-ia"), ("cold", "glacier-ir")):
        text = text.replace(f"  {tier}: {{", f"  {tier}: {{prices: aws/us-east-1/{name}, ")
    lake.config.write_text(text)
    lake.fill("2026/01.csv", "b.csv", "c.txt")
    days = [(now - dt.timedelta(days=n)).strftime("%Y-%m-%dT00:00:01Z") for n in range(1, 10)]
    lines = [{"ts": day, "op": "GET", "url": f"file://{lake.root}/b.csv", "bytes": 10} for day in days]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lake.good("ingest")
    rules = {
        "formats": "when: {age_over: 1d, format: csv}",
        "tags": "when: {age_over: 1d, tags: {a: b}}",
        "others": "when: {age_over: 1d, tags: {a: c}}",
        "partitions": "when: {age_over: 1d, partition: {year: '2026'}}",
        "names": "when: {age_over: 1d}\nwhere: \"name LIKE '%.txt' AND size > 0\"",
    }
    for name, rule in rules.items():
        (tmp_path / f"{name}.yaml").write_text(
            f"name: p\ntarget: {{dataset: lake}}\n{rule}\nto: {{tier: cold, codec: zstd}}\n"
        )
    files = [word for name in rules for word in ("--policy", str(tmp_path / f"{name}.yaml"))]
    found = lake.good("simulate", "--history", "5d", *files, "--json").json
    moves = {name: found["policies"][name]["moves"] for name in rules}
    assert moves == {"formats": 2, "tags": 3, "others": 0, "partitions": 1, "names": 1}
    assert any(note.startswith("zstd: 0.") and "by samples" in note for note in found["notes"])
    assert "lifecycle-30-90" not in found["policies"]
    (tmp_path / "moving.yaml").write_text(
        "name: p\ntarget: {dataset: lake}\nwhere: tier = 'hot' AND reads_per_day > 1\nto: {tier: cold}\n"
    )
    refused = lake.ctl("simulate", "--history", "5d", "--policy", str(tmp_path / "moving.yaml"))
    assert refused.code == 2
    assert "`reads_per_day, tier` in `where` changes from day to day" in refused.err
    auto = "name: p\ntarget: {dataset: lake}\nwhen: {age_over: 1d}\nto: {tier: cold, codec: auto}\n"
    (tmp_path / "sampled.yaml").write_text(auto)
    command = ("simulate", "--history", "5d", "--policy", str(tmp_path / "sampled.yaml"))
    told = lake.good(*command, "--json").json
    [note] = [note for note in told["notes"] if "by samples `auto` is" in note]
    assert note == "p: by samples `auto` is zstd for csv of lake, txt of lake"
    (tmp_path / "named.yaml").write_text(auto.replace("auto", "zstd"))
    named = lake.good("simulate", "--history", "5d", "--policy", str(tmp_path / "named.yaml"), "--json").json
    assert told["policies"]["sampled"] == named["policies"]["named"]
    assert told["policies"]["sampled"]["moves"] == 3
    refused = lake.ctl(*command, "--no-sample")
    assert (refused.code, "what `auto` takes is known by samples" in refused.err) == (2, True)
    together = lake.good("simulate", "--history", "5d", "--json").json
    assert together["left_out"] == {}
    assert together["policies"]["policies"]["moves"] == 2  # both csv
