"""Plans in money: per object and in all, held back where it does not pay, on every database."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import metadata
from storaged.clock import DAY
from storaged.config.settings import Settings, load_settings
from storaged.decide.summary import Summary
from storaged.errors import ConfigError
from storaged.prices.amount import KINDS
from storaged.testing import FakeClock
from storaged.work.plan.explain import explain
from storaged.work.plan.make import Plan, load_plan, make_plan, plan_rows
from tests.decide.conftest import GOLDEN, Golden
from tests.decide.pricing import MONTH, PICO, by_hand, planned, policy, priced_settings
from tests.decide.seeding import MIB, NOW, Seeder, policies, register, seed
from tests.laws import examples

EXPLAINED = [
    ("events/web", "never-read.csv"),
    ("events/web", "barely-read.json"),
    ("events/web", "compressed-in-warm.csv"),
    ("events/web", "held.csv"),
    ("s3/plain", "old.csv"),
    ("s3/plain", "one-zone.csv"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return priced_settings(tmp_path / "storaged.yaml")


@pytest.fixture
def empty(catalog: Catalog, settings: Settings) -> Catalog:
    """A catalog that knows the tiers and datasets, and no objects."""
    register(catalog, settings)
    return catalog


def parts(plan: Plan) -> Iterator[Any]:
    """All the money that a plan tells of."""
    for part in plan.summary.policies:
        yield from (m for m in (part.money, *part.held_money.values(), *part.packed.values()) if m is not None)


def test_a_plan_in_money_is_what_the_golden_file_says(
    catalog: Catalog, settings: Settings, tmp_path: Path, golden: Golden
) -> None:
    """Rows, sums by kind, what is held back and why, explanations: as a person read and accepted them."""
    seed(catalog, settings)
    text = (GOLDEN / "money" / "plan.yaml").read_text("utf-8")
    loaded = policies(tmp_path / "p", settings, text)
    plan = make_plan(catalog, settings, loaded, FakeClock())
    rows = sorted(
        (asdict(r) for r in plan_rows(catalog, plan.id)), key=lambda r: (r["policy"], r["dataset"], r["name"])
    )
    keys = ("policy", "dataset", "name", "stored_bytes", "after_bytes", "held", "spend", "saving")
    lines = ",\n".join(json.dumps({key: row[key] for key in keys}, ensure_ascii=False) for row in rows)
    golden.check("money/plan.json", f"[\n{lines}\n]\n")
    told = [str(explain(catalog, settings, loaded, dataset, name, NOW)) for dataset, name in EXPLAINED]
    golden.check("money/plan.txt", "\n\n".join([str(plan), *told]) + "\n")


def test_the_summary_comes_back_from_the_catalog_as_it_was(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Decimals and all: what is applied next month is what was looked at."""
    seed(catalog, settings)
    plan, _ = planned(catalog, settings, tmp_path, policy("{tier: cold}", "require: {payback_within: 90d}\n"))
    assert plan.summary.policies[0].money is not None
    assert plan.summary.policies[0].held_money
    assert load_plan(catalog, plan.id) == plan
    assert Summary.from_json(plan.summary.to_json()) == plan.summary


SIZES = (0, 1, 100_000, 128 << 10, MIB, 4 * MIB, 4 * MIB + 1, 8 * MIB)
TARGETS = {"rare": "standard-ia", "cold": "glacier-ir"}


def scatter(catalog: Catalog, settings: Settings, seed_: int, covered_days: int = 40) -> dict[str, dict[str, int]]:
    """Forty plain objects at their original keys; by name: size, age in days, reads of all of it in the month."""
    chance = random.Random(seed_)
    with catalog.begin() as conn:
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("meta", "tiers", "datasets"):
                conn.execute(sa.delete(table))
    register(catalog, settings)
    known: dict[str, dict[str, int]] = {}
    with catalog.begin() as conn:
        s = Seeder(conn)
        if covered_days:
            s.cover("events/web", NOW // DAY * DAY - covered_days * DAY, NOW // DAY * DAY)
        for number in range(40):
            one = {
                "size": chance.choice(SIZES),
                "age": chance.choice([2, 20, 85, 400]),
                "reads": chance.choice([0, 0, 1, 3]),
            }
            days = dict.fromkeys(chance.sample(range(1, 30), one["reads"]), 1)
            name = f"{number:02}.csv"
            s.object("events/web", name, size=one["size"], age=one["age"] * DAY, reads=days)
            known[name] = one
    return known


def test_require_holds_exactly_what_does_not_pay_back_in_time(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """By another computation, in decimals, object by object; and the sums are those of the objects, by kinds that add
    up to their totals."""

    @examples(catalog, 16, derandomize=True)
    @given(
        seed_=st.integers(0, 2**32),
        tier=st.sampled_from(sorted(TARGETS)),
        within=st.integers(1, 800),
        grace=st.integers(0, 40),
        covered=st.sampled_from([0, 30, 40]),
    )
    def law(seed_: int, tier: str, within: int, grace: int, covered: int) -> None:
        known = scatter(catalog, settings, seed_, covered)
        more = f"require: {{payback_within: {within}d}}\nkeep_source: {grace}d\n"
        plan, rows = planned(catalog, settings, tmp_path, policy(f"{{tier: {tier}}}", more))
        assert rows
        for name, row in rows.items():
            one = known[name]
            spend, saving = by_hand(
                "standard",
                TARGETS[tier],
                one["size"],
                age_days=one["age"],
                grace_days=grace,
                reads=one["reads"] if covered else 0,
                month_days=Decimal(30),
                read_back=tier == "cold",
            )
            assert row.spend is not None
            assert row.saving is not None
            assert abs(row.spend - spend * PICO) <= 1
            assert abs(row.saving - saving * PICO) <= 1
            pays = saving > 0 and spend / saving * MONTH <= within
            assert row.held == (None if pays else "require")
        part = plan.summary.policies[0]
        for held, money in {None: part.money, **part.held_money}.items():
            if money is None:
                continue
            mine = [row for row in rows.values() if row.held == held]
            assert abs(sum(r.spend or 0 for r in mine) - money.one_time.total * PICO) <= len(mine)
            assert abs(sum(r.saving or 0 for r in mine) - money.monthly_saving * PICO) <= len(mine) + 2
            assert money.unread == (0 if covered else len(mine))
        for money in parts(plan):
            for amount in (money.one_time, money.before, money.after):
                told = amount.as_json()
                assert Decimal(told.pop("total")) == sum(map(Decimal, told.values())) == amount.total
                assert set(told) == set(KINDS)

    law()


def test_without_prices_nothing_is_said_to_be_free(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Neither in rows nor in sums; `require` and `max_spend` hold it back, and say why."""
    with empty.begin() as conn:
        s = Seeder(conn)
        s.object("events/web", "a.csv")
        s.object("events/web", "b.csv", tier="warm", raw_class="STANDARD")
    plan, rows = planned(empty, settings, tmp_path, policy("{tier: warm}", target="events/web, tier: hot"))
    assert (rows["a.csv"].spend, rows["a.csv"].saving, plan.summary.money) == (None, None, None)
    assert "no prices" in str(plan)
    assert "$" not in str(plan)
    plan, rows = planned(empty, settings, tmp_path, policy("{tier: cold}"))
    assert rows["a.csv"].spend is not None
    assert rows["b.csv"].spend is None
    assert plan.summary.policies[0].money is not None
    assert plan.summary.policies[0].money.unpriced == 1
    assert "no prices: 1 object not in these figures" in str(plan)
    for more in ("limits: {max_spend: 5 USD}\n", "require: {payback_within: 9000d}\n"):
        _, rows = planned(empty, settings, tmp_path, policy("{tier: cold}", more))
        assert {name: row.held for name, row in rows.items()} == {"a.csv": None, "b.csv": "no-prices"}


def test_prices_that_do_not_hold_together_stop_the_plan(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """By file and line; a plan without its money would be taken for one that costs nothing."""
    file = tmp_path / "other.yaml"
    file.write_text(settings.file.read_text().replace("aws/us-east-1/glacier-ir", "aws/us-east-1/glacier-it"))
    with pytest.raises(ConfigError) as error:
        planned(empty, load_settings(file), tmp_path, policy("{tier: cold}"))
    assert "glacier-it" in str(error.value.problems[0])


@pytest.mark.parametrize("limit", ["0.00 USD", "0.01 USD", "0.03 USD", "0.17 USD", "999999999999 USD"])
def test_max_spend_takes_the_best_for_its_cost_and_keeps_within_it(
    limit: str, catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """What is left out saves no more per dollar than what is taken, unless it would not fit by itself."""
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        for number, size in enumerate([10, 10**6, 10**8, 10**9, 5 * 10**9, 10**10]):
            s.object("events/web", f"{number}.csv", size=size)
    _, rows = planned(catalog, settings, tmp_path, policy("{tier: cold}", f"limits: {{max_spend: {limit}}}\n"))
    most = Decimal(limit.split()[0]) * PICO
    taken = [row for row in rows.values() if row.held is None]
    assert {row.held for row in rows.values()} <= {None, "max_spend"}
    assert sum(row.spend or 0 for row in taken) <= most
    worst = min((Decimal(row.saving or 0) / (row.spend or 1) for row in taken), default=Decimal("inf"))
    for row in rows.values():
        if row.held:
            assert Decimal(row.saving or 0) / (row.spend or 1) <= worst or (row.spend or 0) > most
    assert len(taken) == {"0.00 USD": 0, "999999999999 USD": 6}.get(limit, len(taken))


def test_limits_go_by_dollars_where_all_prices_are_known_and_say_so(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """The read one is larger, and would save less than nothing; without prices its size is all that counts."""
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - 60 * DAY, NOW // DAY * DAY)
        s.object("events/web", "idle.csv", size=MIB)
        s.object("events/web", "read.csv", size=9 * MIB, reads={1: 50})
        s.object("logs/raw", "idle.csv", size=MIB, tier="warm")
    text = policy("{tier: cold}", "limits: {max_objects: 1}\n")
    plan, rows = planned(catalog, settings, tmp_path, text)
    assert (rows["idle.csv"].held, rows["read.csv"].held) == (None, "max_objects")
    assert "limits: the largest saving per dollar first" in str(plan)
    with catalog.begin() as conn:
        Seeder(conn).ids = itertools.count(9)
        conn.execute(sa.text("UPDATE objects SET tier_id = 2 WHERE dataset_id <> 0"))
    plan, rows = planned(catalog, settings, tmp_path, text.replace("tier: cold", "tier: cold, codec: zstd"))
    assert "limits: the largest saving in bytes first" in str(plan)


def test_costing_nothing_comes_first(empty: Catalog, tmp_path: Path) -> None:
    """On disks of one's own requests and retrieval are free: with no grace a move costs nothing."""
    settings = disks(tmp_path)
    register(empty, settings)
    with empty.begin() as conn:
        s = Seeder(conn)
        for number, size in enumerate([MIB, 5 * MIB, 3 * MIB]):
            s.object("events/web", f"{number}.csv", size=size)
    more = "keep_source: 0d\nlimits: {max_objects: 2, max_spend: 0 USD}\nrequire: {payback_within: 1d}\n"
    plan, rows = planned(empty, settings, tmp_path, policy("{tier: warm}", more))
    assert [rows[f"{n}.csv"].spend for n in range(3)] == [0, 0, 0]
    assert [rows[f"{n}.csv"].held for n in range(3)] == ["max_objects", None, None]
    assert "pays back at once" in str(plan)


def disks(tmp_path: Path) -> Settings:
    """Tiers on two kinds of disks, in a price book of the user's own."""
    classes = "".join(
        f"""
      {name}:
        storage_class: STANDARD
        storage: [{{per_gb: {price}}}]
        requests: {{put: 0, get: 0, list: 0, transition_in: 0}}"""
        for name, price in (("fast", "0.1"), ("slow", "0.01"))
    )
    book = f"""provider: local
title: ours
gb: 1000000000
sources: {{bill: {{text: invoice, date: 2026-01-31}}}}
regions:
  cellar:
    source: bill
    egress: {{internet: 0, regions: 0}}
    classes:{classes}
"""
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "own.yaml").write_text(book)
    file = tmp_path / "disks.yaml"
    text = (tmp_path / "storaged.yaml").read_text().replace("{rank: 1, ", "{rank: 1, prices: local/cellar/slow, ")
    file.write_text(
        text.replace("hot: {rank: 0, prices: aws/us-east-1/standard", "hot: {rank: 0, prices: local/cellar/fast")
    )
    return load_settings(file)


def test_a_price_book_of_decimal_gigabytes_is_not_said_to_be_binary(empty: Catalog, tmp_path: Path) -> None:
    """What a GB is stands beside the money only where it is true of all of it."""
    priced_settings(tmp_path / "storaged.yaml")
    settings = disks(tmp_path)
    register(empty, settings)
    with empty.begin() as conn:
        Seeder(conn).object("events/web", "a.csv", size=10**9)
    plan, _ = planned(empty, settings, tmp_path, policy("{tier: warm}"))
    assert plan.summary.money is not None
    assert plan.summary.money.before.storage == Decimal("0.1")
    assert plan.summary.money.after.storage == Decimal("0.01")
    assert "2^30" not in str(plan)
    assert "GB = 10^9 bytes" in str(plan)


def test_what_no_store_could_hold_does_not_break_a_plan(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """The largest number that a row can hold is more picodollars than one can."""
    with empty.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - 60 * DAY, NOW // DAY * DAY)
        s.object("events/web", "a.csv", size=2**62)
        s.object("events/web", "b.csv", size=1, reads={1: 2**60})
    more = "limits: {max_spend: 5 USD}\nrequire: {payback_within: 90d}\n"
    plan, rows = planned(empty, settings, tmp_path, policy("{tier: cold, codec: zstd}", more))
    assert (rows["a.csv"].spend, rows["a.csv"].saving) == (9 * 10**18, 9 * 10**18)
    assert (rows["b.csv"].saving or 0) < 0
    assert plan.summary.actions == 0


def test_explain_says_what_the_plan_says(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """The same money, and the same reason to be held back, for every object of the seeded catalog."""
    seed(catalog, settings)
    text = policy("{tier: cold, codec: zstd}", "require: {payback_within: 60d}\n", target="'*'")
    plan, rows = planned(catalog, settings, tmp_path, text)
    assert {"require", "no-prices", None} <= {row.held for row in rows.values()}
    loaded = policies(tmp_path / "p", settings, text)
    for row in plan_rows(catalog, plan.id):
        told = explain(catalog, settings, loaded, row.dataset, row.name, NOW)
        (found,) = told.policies
        assert (found.money is None) == (row.spend is None)
        if found.money is not None:
            assert abs(found.money.one_time.total * PICO - (row.spend or 0)) <= 1
            assert abs(found.money.monthly_saving * PICO - (row.saving or 0)) <= 2
        assert ("`require` wants that within 60d" in told.outcome) == (row.held == "require")
        assert ("no prices are known" in told.outcome) == (row.held == "no-prices")
