"""Plans and explanations in money, as text for people and as JSON for programs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.cli.lake import POLICY, Lake

BOOK = """\
provider: local
title: ours
gb: 1073741824
sources: {bill: {text: invoice, date: 2026-01-31}}
regions:
  cellar:
    source: bill
    egress: {internet: 0, regions: 0}
    classes:
      fast:
        storage_class: STANDARD
        storage: [{per_gb: 1.00}]
        requests: {put: 1, get: 1, list: 0, transition_in: 0}
      slow:
        storage_class: STANDARD
        storage: [{per_gb: 0.10}]
        requests: {put: 1, get: 1, list: 0, transition_in: 0}
        retrieval: {standard: {per_gb: 0.01}}
        unverified: [retrieval]
"""


@pytest.fixture
def priced(lake: Lake) -> Lake:
    """A scanned lake whose tiers hot and cold have prices."""
    (lake.place / "prices").mkdir()
    (lake.place / "prices" / "ours.yaml").write_text(BOOK)
    text = lake.config.read_text()
    text = text.replace("hot: {rank: 0,", "hot: {rank: 0, prices: local/cellar/fast,")
    lake.config.write_text(text.replace("cold: {rank: 2,", "cold: {rank: 2, prices: local/cellar/slow,"))
    return lake.fill()


def adds_up(amount: dict[str, str]) -> bool:
    """Whether the kinds are the total, to the last digit."""
    kinds = {kind: Decimal(value) for kind, value in amount.items()}
    return kinds.pop("total") == sum(kinds.values())


def test_a_plan_tells_its_money(priced: Lake) -> None:
    """By kind, with payback and a year's saving; with what it rests on and what of that nobody verified."""
    told = priced.good("plan").out
    assert " once, $" in told
    assert " a month, pays back in " in told
    assert "once: requests $0.02, proof $" in told
    assert "GB = 2^30 bytes" in told
    assert "local/cellar/fast (2026-01-31)" in told
    assert "not verified in local/cellar/slow: retrieval" in told
    found = priced.good("plan", "show", "1", "--json").json
    money = found["policies"][0]["money"]
    assert found["money"] == money
    assert all(adds_up(money[name]) for name in ("one_time", "monthly_before", "monthly_after"))
    assert (money["unpriced"], money["unread"]) == (0, 6)
    before, after = (Decimal(money[name]["total"]) for name in ("monthly_before", "monthly_after"))
    once = Decimal(money["one_time"]["total"])
    assert Decimal(money["saving_12_months"]) == 12 * (before - after) - once
    assert abs(Decimal(money["payback_months"]) - once / (before - after)) < Decimal("0.00001")
    rows = found["objects"]
    assert abs(sum(Decimal(row["spend"]) for row in rows) - once) < Decimal("1e-10")
    assert abs(sum(Decimal(row["saving"]) for row in rows) - (before - after)) < Decimal("1e-10")
    assert "a month" in priced.good("plan", "show", "1").out


def test_what_does_not_pay_is_held_back_with_the_figures(priced: Lake) -> None:
    """In the plan, in its rows, and where one object is explained."""
    priced.policy(POLICY + "require: {payback_within: 10d}\n")
    told = priced.good("plan").out
    assert "nothing to do" in told
    assert "held back: 6 objects" in told
    assert "it does not pay back in time (require)" in told
    part = priced.good("plan", "show", "1", "--json").json["policies"][0]
    assert part["money"] is None
    assert adds_up(part["held_money"]["require"]["one_time"])
    assert "require" in priced.good("plan", "show", "1", "--held").out
    told = priced.good("explain", "lake/2026/01.csv").out
    assert "and `require` wants that within 10d" in told
    assert "once: requests $" in told
    (policy,) = priced.good("explain", "lake/2026/01.csv", "--json").json["policies"]
    assert adds_up(policy["money"]["monthly_before"])
    assert policy["outcome"].startswith("held back: pays back in ")


def test_max_spend_stops_where_the_money_is_spent(priced: Lake) -> None:
    """Also from storaged.yaml, of policies that do not set their own."""
    once = Decimal(priced.good("plan", "--json").json["money"]["one_time"]["total"])
    limit = (once / 2).quantize(Decimal("0.01"))
    priced.config.write_text(priced.config.read_text() + f"limits: {{max_spend: {limit} USD}}\n")
    found = priced.good("plan", "--json").json
    assert 0 < found["actions"] < 6
    assert Decimal(found["money"]["one_time"]["total"]) <= limit
    assert found["policies"][0]["held"]["max_spend"]["objects"] == 6 - found["actions"]


def test_prices_that_no_book_has_are_a_mistake_of_the_configuration(priced: Lake) -> None:
    """By file and line, with what may have been meant."""
    priced.config.write_text(priced.config.read_text().replace("local/cellar/slow", "local/cellar/slo"))
    answer = priced.ctl("plan")
    assert answer.code == 2
    assert "no price book knows `local/cellar/slo`" in answer.err
    assert "local/cellar/slow" in answer.err
