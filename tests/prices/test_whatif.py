"""What a move would cost, worked out by hand; and what the command says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from storaged.cli.app import run
from storaged.decide.money import PACK_SIZE, Counts, MoveTerms, one_time, route_of
from storaged.decide.whatif import Question, answer, packed
from storaged.prices.amount import Amount
from storaged.prices.book import DAYS_PER_MONTH
from storaged.prices.load import load_prices

BOOK: Final = load_prices().classes
GB: Final = 2**30
MIB: Final = 2**20


def asked(objects: int, size: int, source: str, target: str, **more: Any) -> Question:
    return Question(objects, size, BOOK[source], BOOK[target], **more)


AWS: Final = "aws/us-east-1/"
GCS: Final = "gcs/us-central1/"


def test_two_billion_small_objects_cost_43_thousand_dollars_to_change_and_packs_do_not() -> None:
    """github.com/cal-itp/data-infra/issues/5431 (2026-07-16): 2.17 billion objects of 20 KB, Coldline: about $43k once,
    Archive: about $108k; the number of objects is what costs, so packing them first is what pays (#5727)."""
    coldline = asked(2_170_000_000, 20_000, GCS + "standard", GCS + "coldline")
    assert answer(coldline).one_time == Amount(transition=Decimal(43_400))
    assert answer(replace(coldline, target=BOOK[GCS + "archive"])).one_time.total == 108_500
    assert answer(coldline).first_year < 0
    in_packs = packed(coldline)
    assert in_packs == answer(replace(coldline, pack=PACK_SIZE))
    assert in_packs is not None
    assert in_packs.first_year > 0


def test_a_change_of_class_pays_the_transition_and_what_leaving_the_source_costs() -> None:
    found = answer(asked(1_000, GB, AWS + "glacier-ir", AWS + "standard", reads=Decimal(2)))
    assert found.one_time == Amount(transition=Decimal("0.005"), retrieval=1_000 * Decimal("0.03"))
    assert found.before == Amount(storage=Decimal(4), requests=2 * Decimal("0.01"), retrieval=Decimal(60))
    assert found.after == Amount(storage=Decimal(23), requests=2 * Decimal("0.0004"))


def test_leaving_an_archive_class_pays_a_restore_request_for_each_object() -> None:
    found = answer(asked(1_000, GB, AWS + "glacier", AWS + "standard-ia"))
    assert found.one_time == Amount(transition=Decimal("0.01"), retrieval=Decimal(10) + Decimal("0.05"))
    assert found.before.overhead == (32 * Decimal("0.0036") + 8 * Decimal("0.023")) * 1_000 / MIB


def test_a_move_to_another_region_is_read_sent_written_and_proven() -> None:
    found = answer(asked(1_000, GB, AWS + "standard-ia", "aws/eu-central-1/standard", grace_days=DAYS_PER_MONTH / 2))
    assert found.one_time == Amount(
        requests=Decimal("0.001") + Decimal("0.0054"),  # a GET each, and a PUT each
        retrieval=Decimal(10),
        egress=Decimal(20),
        proof=4 * Decimal("0.001") + 2 * Decimal("0.00043"),  # HEADs of each, and of each new one
        grace=Decimal("6.25"),  # half a month of the source
    )


def test_another_provider_is_reached_over_the_internet() -> None:
    found = answer(asked(1, 100 * GB, GCS + "standard", AWS + "standard"))
    assert found.one_time.egress == 12


@pytest.mark.parametrize("pack", [None, PACK_SIZE])
def test_once_it_costs_what_a_plan_would_count(pack: int | None) -> None:
    """One rule for requests, whoever asks. Parts of uploads aside: what-if counts one PUT for each new object."""
    question = asked(1_000_000, 30_000, AWS + "standard", "aws/eu-central-1/glacier-ir", pack=pack)
    new = question.new_objects
    counts = Counts(
        objects=10**6, size=3 * 10**10, stored=3 * 10**10, gets=10**6, after_objects=new, after=3 * 10**10, singles=new
    )
    route = route_of(question.source, question.target, load_prices(), in_place=False, at_key=True, reads_back=False)
    assert answer(question).one_time == one_time(route, counts, MoveTerms())


def test_packs_are_counted_by_what_is_stored_in_them_and_read_by_ranges() -> None:
    question = asked(
        1_000_000, 30_000, AWS + "standard", AWS + "glacier-ir", pack=100 * MIB, ratio=Decimal(3), reads=Decimal(1)
    )
    assert question.new_bytes == 10_000_000_000
    assert question.new_objects == 96  # 10^10 / (100 × 2^20) = 95.4
    found = answer(question)
    assert found.one_time.requests == 1_000_000 * Decimal("0.0000004") + 96 * Decimal("0.00002")
    assert found.after.requests == 1_000_000 * Decimal("0.00001")
    assert found.after.retrieval == Decimal(10_000_000_000) / GB * Decimal("0.03")
    assert found.after.storage == Decimal(10_000_000_000) / GB * Decimal("0.004")


def test_single_small_objects_are_billed_at_their_minimum_and_packs_at_their_size() -> None:
    small = asked(1_000_000, 1_024, AWS + "standard", AWS + "standard-ia")
    assert answer(small).after.storage == Decimal(1_000_000 * 131_072) / GB * Decimal("0.0125")
    assert answer(replace(small, pack=MIB)).after.storage == Decimal(1_000_000 * 1_024) / GB * Decimal("0.0125")


@pytest.mark.parametrize(
    ("reads", "per_gb"),
    [
        ("0", "0.004"),  # for good in the coldest automatic tier
        ("2", "0.023"),  # read every 15 days
        ("0.5", None),  # every 60.875 days: 30 of them frequent, the rest infrequent
    ],
)
def test_intelligent_tiering_is_reckoned_as_it_settles(reads: str, per_gb: str | None) -> None:
    expected = Decimal(per_gb or 0) or (30 * Decimal("0.023") + Decimal("30.875") * Decimal("0.0125")) / Decimal(
        "60.875"
    )
    found = answer(asked(1_000, GB, AWS + "standard", AWS + "intelligent-tiering", reads=Decimal(reads)))
    assert abs(found.after.storage - 1_000 * expected) < Decimal("1e-20")
    assert found.after.monitoring == Decimal("0.0025")


def test_what_is_too_small_to_be_monitored_stays_frequent() -> None:
    found = answer(asked(1_000_000, 100_000, AWS + "standard", AWS + "intelligent-tiering"))
    assert found.after == found.before


def test_packs_are_told_only_where_they_turn_a_loss_into_a_gain() -> None:
    assert packed(asked(1_000, GB, AWS + "standard", AWS + "glacier-ir")) is None  # pays as it is
    assert packed(asked(10**6, 10_000, AWS + "glacier-ir", AWS + "standard")) is None  # pays in no form
    assert packed(asked(10**6, 10_000, AWS + "standard", AWS + "glacier-ir", pack=PACK_SIZE)) is None  # they are packs
    assert packed(asked(10**6, 10_000, AWS + "standard", AWS + "glacier-ir")) is not None


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(words)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def _without_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)


MOVE: Final = ("cost", "what-if", "--objects", "2_170_000_000", "--size", "20KB")
COLDLINE: Final = ("--from", GCS + "standard", "--to", GCS + "coldline")


def test_the_command_answers_without_configuration_in_exact_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, *MOVE, *COLDLINE, "--json")
    answered = json.loads(out)
    assert code == 0
    assert set(answered) == {"one_time", "monthly_before", "monthly_after", "payback_months", "inputs"}
    assert answered["one_time"]["total"] == answered["one_time"]["transition"] == "43400"
    assert answered["payback_months"] == "67.108864"
    assert answered["inputs"]["objects"] == 2_170_000_000


def test_what_never_pays_back_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, *MOVE, "--from", GCS + "coldline", "--to", GCS + "standard", "--json")
    assert json.loads(out)["payback_months"] is None


def test_the_largest_question_is_still_told_to_the_picodollar(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cost", "what-if", "--objects", "1000000", "--size", "1PB", "--reads-per-month", "999.999")
    code, out, _ = told(capsys, *words, "--from", AWS + "glacier", "--to", "azure/eastus/archive", "--json")
    assert code == 0
    for name in ("one_time", "monthly_before", "monthly_after"):
        amount = json.loads(out)[name]
        assert Decimal(amount.pop("total")) == sum(map(Decimal, amount.values())) > 10**9


def test_the_text_tells_units_sources_doubts_and_what_packs_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, *MOVE, *COLDLINE)
    assert code == 0
    assert "transition  $43,400.00" in out
    assert "payback: 67.1 months; saved in 12 months: -$35,639.48" in out
    assert "the number of objects is what costs: in packs of 256MiB" in out
    assert "(--pack 256MiB)" in out
    assert "GB = 1,073,741,824 bytes" in out
    assert "(2026-09-20)" in out
    assert f"unverified (?) in {GCS}coldline: requests.get" in out


def test_a_class_that_moves_objects_by_itself_is_said_to_be_settled(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cost", "what-if", "--objects", "10", "--size", "1GiB", "--from", AWS + "standard")
    _, out, _ = told(capsys, *words, "--to", AWS + "intelligent-tiering", "--grace", "7")
    assert "never read, they are in archive-instant (from 90 days on)" in out
    assert "nothing is kept twice where a class changes in place" in out
    _, out, _ = told(capsys, *words, "--to", AWS + "intelligent-tiering", "--reads-per-month", "3")
    assert "in the long run, with reads spaced evenly" in out


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        (("--to", GCS + "coldlin"), "no price book knows", "did you mean `gcs/us-central1/coldline`?"),
        (("--to", GCS + "standard"), "they are in gcs/us-central1/standard already", "--pack"),
        (("--objects", "0"), "--objects '0' is not a number of objects", "write 1000000"),
        (("--objects", "many"), "--objects 'many' is not a number of objects", "write 1000000"),
        (("--size", "20 stones"), "--size: '20 stones' is not a size", "128KiB"),
        (("--size", "0"), "--size is 0 bytes", "20KiB"),
        (("--pack", "0"), "--pack is 0 bytes", "20KiB"),
        (("--codec-ratio", "0"), "--codec-ratio '0' is not a number", "more than 0"),
        (("--codec-ratio", "3:1"), "--codec-ratio '3:1' is not a number", "more than 0"),
        (("--reads-per-month", "-1"), "--reads-per-month '-1' is not a number", "0 or more"),
        (("--size", "7EiB"), "nobody has so much", "10^24 bytes"),
        (("--reads-per-month", "1000000"), "nobody has so much", "10^15 objects or reads"),
        (("--codec-ratio", "0.000000000001"), "nobody has so much", "10^24 bytes"),
        (("--grace", "7d"), "--grace '7d' is not a number", "0 or more"),
    ],
)
def test_what_cannot_be_asked_is_an_error_with_a_hint(
    capsys: pytest.CaptureFixture[str], changed: tuple[str, str], message: str, hint: str
) -> None:
    code, out, err = told(capsys, *MOVE, *COLDLINE, *changed)
    assert (code, out) == (2, "")
    assert message in err
    assert hint in err
