"""Cases of what moves cost whose figures anybody can work out with a price list, on every database."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import audit
from storaged.clock import DAY
from storaged.config.settings import Settings, load_settings
from storaged.prices.load import load_prices
from tests.decide.pricing import GB, LIST, MONTH, PICO, by_hand, planned, policy, priced_settings
from tests.decide.seeding import MIB, NOW, Seeder, register


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return priced_settings(tmp_path / "storaged.yaml")


@pytest.fixture
def empty(catalog: Catalog, settings: Settings) -> Catalog:
    """A catalog that knows the tiers and datasets, and no objects."""
    register(catalog, settings)
    return catalog


def test_figures_of_one_object_by_hand(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """1 GiB in Standard to Glacier Instant, read twice in the 30 days that the logs tell of; every kind."""
    with empty.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - 60 * DAY, NOW // DAY * DAY)
        s.object("events/web", "a.csv", size=1 << 30, reads={3: 1, 20: 1})
    plan, _ = planned(empty, settings, tmp_path, policy("{tier: cold}"))
    money = plan.summary.policies[0].money
    assert money is not None
    get, put = Decimal("0.0000004"), Decimal("0.00002")
    once, after = money.one_time, money.after
    assert once.requests == 256 * get + (1 + 128 + 1) * put + Decimal(
        "0.000005"
    )  # begin, parts, end; a note in Standard
    assert once.proof == 4 * get + 2 * Decimal("0.00001") + 2 * get + 256 * Decimal("0.00001") + Decimal("0.03")
    assert once.grace == (Decimal("0.023") * 7 / MONTH).quantize(Decimal("1e-12"))
    assert (once.retrieval, once.egress, once.cpu, once.early_deletion, once.transition) == (0, 0, 0, 0, 0)
    assert (money.before.storage, after.storage) == (Decimal("0.023"), Decimal("0.004"))
    assert money.before.requests == (2 * get * MONTH / 30).quantize(Decimal("1e-12"))
    assert after.requests == (2 * Decimal("0.00001") * MONTH / 30).quantize(Decimal("1e-12"))
    assert after.retrieval == (2 * Decimal("0.03") * MONTH / 30).quantize(Decimal("1e-12"))
    assert money.payback_months is None
    assert money.saving_12_months == 12 * money.monthly_saving - once.total


def test_a_class_that_no_book_has_is_not_guessed(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """An original key in another class than its tier's has that class's prices, or none."""
    with empty.begin() as conn:
        s = Seeder(conn)
        s.object("s3/plain", "ia.csv", tier="standard", raw_class="STANDARD_IA", size=MIB)
        s.object("s3/plain", "snow.csv", tier="standard", raw_class="SNOW", size=MIB)
        conn.execute(sa.text("UPDATE datasets SET readers = 'storaged'"))
    _, rows = planned(empty, settings, tmp_path, policy("{tier: cold}", target="s3/plain"))
    spend, saving = by_hand("standard-ia", "glacier-ir", MIB, age_days=400, grace_days=7)
    assert rows["ia.csv"].spend == round(spend * PICO)
    assert rows["ia.csv"].saving == round(saving * PICO)
    assert (rows["snow.csv"].spend, rows["snow.csv"].saving) == (None, None)


def test_large_volumes_cost_less_and_policies_come_one_after_the_other(
    empty: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """60 TiB in Standard, of which 50 TiB cost 0.023 and the rest 0.022: what leaves first is the cheaper part."""
    with empty.begin() as conn:
        s = Seeder(conn)
        for number in range(60):
            s.object("events/web", f"{number:02}.csv", size=1 << 40)
    text = """
policies:
  - name: first
    target: {dataset: events/web}
    when: {age_over: 1d}
    where: name < '08'
    to: {tier: rare}
  - name: second
    target: {dataset: events/web}
    when: {age_over: 1d}
    where: name < '20'
    to: {tier: rare}
"""
    plan, rows = planned(empty, settings, tmp_path, text)
    first, second = (part.money for part in plan.summary.policies)
    assert first is not None
    assert second is not None
    assert first.before.storage == 8 * 1024 * Decimal("0.022")
    assert second.before.storage == 2 * 1024 * Decimal("0.022") + 10 * 1024 * Decimal("0.023")
    assert first.after.storage == 8 * 1024 * Decimal("0.0125")
    assert rows["00.csv"].saving == 1024 * Decimal("0.0095") * PICO  # at the margin
    assert plan.summary.money is not None
    assert plan.summary.money.before.storage == first.before.storage + second.before.storage


def test_it_is_their_number_that_costs(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """10,000 objects of 20,000 bytes to Glacier Instant: held back with both figures, alone and as packs."""
    row = "SELECT {n}, 1, 'o' || {n}, 20000, 0, 0, 'csv', 'id', {hot}, 20000 FROM {numbers}"
    columns = "id, dataset_id, name, size, mtime_us, created_us, format, raw_identity, tier_id, stored_bytes"
    with empty.begin() as conn:
        s = Seeder(conn)
        if empty.dialect == "sqlite":
            numbers = (
                "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10000) SELECT n FROM s)"
            )
        else:
            numbers = "generate_series(1, 10000) AS s(n)"
        conn.execute(
            sa.text(f"INSERT INTO objects ({columns}) " + row.format(n="n", hot=s.tiers["hot"], numbers=numbers))
        )
        name = str(conn.execute(sa.text("SELECT name FROM datasets WHERE id = 1")).scalar())
        conn.execute(sa.text("UPDATE datasets SET readers = 'storaged'"))
    more = "require: {payback_within: 10000d}\nkeep_source: 0d\n"
    plan, rows = planned(empty, settings, tmp_path, policy("{tier: rare}", more, target=name))
    part = plan.summary.policies[0]
    assert {r.held for r in rows.values()} == {"require"}
    alone, packed = part.held_money["require"], part.packed["require"]
    assert alone.payback_months is None  # 128 KiB are billed for each
    assert packed.payback_months is not None
    total = Decimal(10_000 * 20_000) / GB
    assert alone.after.storage == (10_000 * (128 << 10) / GB * Decimal("0.0125")).quantize(Decimal("1e-12"))
    assert packed.after.storage == (total * Decimal("0.0125")).quantize(Decimal("1e-12"))
    get, ia_get, ia_put = Decimal("0.0000004"), Decimal("0.000001"), Decimal("0.00001")
    assert alone.one_time.requests == 10_000 * (get + ia_put)
    packs, pieces = 1, -(-10_000 * 20_000 // (8 << 20))
    assert packed.one_time.requests == 10_000 * get + (2 * packs + pieces) * ia_put + packs * Decimal("0.000005")
    assert packed.one_time.proof == 10_000 * 4 * get + packs * (2 * ia_get + 2 * get)
    assert "as packs of 256.0 MiB they would pay" in str(plan)


def test_what_is_idle_in_intelligent_tiering_is_cheap_there_already(
    empty: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """By the days without a read where logs tell them, else at the price of what is read; small ones never sink."""
    with empty.begin() as conn:
        s = Seeder(conn)
        s.cover("s3/plain", NOW // DAY * DAY - 200 * DAY, NOW // DAY * DAY)
        own = {"tier": "standard", "raw_class": "INTELLIGENT_TIERING", "size": 1 << 30}
        s.object("s3/plain", "read.csv", reads={5: 1}, **own)
        s.object("s3/plain", "month.csv", reads={40: 1}, **own)
        s.object("s3/plain", "year.csv", **own)
        s.object("s3/plain", "small.csv", **own | {"size": 1000})
        s.object("s3/versions", "unknown.csv", **own)
        conn.execute(sa.text("UPDATE datasets SET readers = 'storaged'"))
    _, rows = planned(empty, settings, tmp_path, policy("{tier: cold}", target="'s3/*'", when="size_over: 0"))
    after, fee = Decimal("0.004"), Decimal("0.0000025")
    read = MONTH / 30 * (Decimal("0.0000004") - Decimal("0.00001") - Decimal("0.03"))
    assert rows["month.csv"].saving == (Decimal("0.0125") + fee - after) * PICO
    assert rows["year.csv"].saving == fee * PICO
    assert rows["unknown.csv"].saving == (Decimal("0.023") + fee - after) * PICO
    assert rows["read.csv"].saving == round((Decimal("0.023") + fee - after + read) * PICO)
    small = 1000 / GB * Decimal("0.023") - (128 << 10) / GB * after
    assert rows["small.csv"].saving == round(small * PICO)


def test_a_class_that_was_changed_last_week_is_left_too_early(
    empty: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """The age of the object is not the age in its class: what the audit tells counts, and no grace in place."""
    with empty.begin() as conn:
        s = Seeder(conn)
        s.object("s3/plain", "a.csv", tier="rare", raw_class="GLACIER_IR", size=1 << 30)
        s.object("s3/plain", "b.csv", tier="rare", raw_class="GLACIER_IR", size=1 << 30)
        row = {"at_us": NOW - 7 * DAY, "kind": "transition", "dataset": "s3/plain", "object": "b.csv", "actor": "test"}
        conn.execute(sa.insert(audit).values(row))
        conn.execute(sa.text("UPDATE datasets SET transitions = true"))
    plan, rows = planned(empty, settings, tmp_path, policy("{tier: rare, in_place: true}", target="s3/plain"))
    owed = (Decimal("0.004") * (90 - 7) / MONTH).quantize(Decimal("1e-12"))
    assert (rows["b.csv"].spend or 0) - (rows["a.csv"].spend or 0) == owed * PICO
    money = plan.summary.policies[0].money
    assert money is not None
    assert money.one_time.early_deletion == owed
    assert money.one_time.transition == 2 * Decimal("0.00001")
    assert money.one_time.retrieval == 2 * Decimal("0.03")
    assert (money.one_time.grace, money.one_time.requests) == (0, 0)


def test_leaving_an_archive_class_is_restored_first(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """By the cheapest speed, and its readable copy is kept in Standard for three days."""
    with empty.begin() as conn:
        s = Seeder(conn)
        number = s.object("events/web", "a.csv", tier="deep", raw_state="released", size=1 << 30, codec="identity")
        s.replica(number, "deep", codec="identity", storage_class="DEEP_ARCHIVE")
    plan, _ = planned(empty, settings, tmp_path, policy("{tier: rare}"))
    money = plan.summary.policies[0].money
    assert money is not None
    assert money.one_time.retrieval == Decimal("0.0025") + Decimal("0.000025")
    assert money.one_time.storage == (Decimal("0.023") * 3 / MONTH).quantize(Decimal("1e-12"))
    days = 180 - 50 - 7
    beside = 32768 / GB * Decimal("0.00099") + 8192 / GB * Decimal("0.023")
    owed = (Decimal("0.00099") + beside) * days / MONTH
    assert money.one_time.early_deletion == owed.quantize(Decimal("1e-12"))
    assert money.before.overhead == beside.quantize(Decimal("1e-12"))


def test_processor_time_and_leaving_a_region_cost_what_the_configuration_says(empty: Catalog, tmp_path: Path) -> None:
    """An hour of a core; USD 0.02 per GB to another region of the provider."""
    settings = priced_settings(tmp_path / "storaged.yaml", "cpu_hour: 0.36 USD\n")
    file = tmp_path / "storaged.yaml"
    file.write_text(file.read_text().replace("aws/us-east-1/glacier-ir", "aws/eu-central-1/glacier-ir"))
    settings = load_settings(file)
    register(empty, settings)
    with empty.begin() as conn:
        Seeder(conn).object("events/web", "a.csv", size=1 << 30)
    plan, _ = planned(empty, settings, tmp_path, policy("{tier: cold}"))
    money = plan.summary.policies[0].money
    assert money is not None
    assert money.one_time.egress == Decimal("0.02")
    assert money.one_time.cpu == (Decimal(1 << 30) / 360_000_000 / 3600 * Decimal("0.36")).quantize(Decimal("1e-12"))
    plan, _ = planned(empty, settings, tmp_path, policy("{tier: cold, codec: zstd}"))
    money = plan.summary.policies[0].money
    assert money is not None
    assert money.one_time.cpu == (Decimal(1 << 30) / 120_000_000 / 3600 * Decimal("0.36")).quantize(Decimal("1e-12"))


def test_the_list_of_this_file_is_that_of_the_price_book(settings: Settings) -> None:
    """Else the computation by hand would prove nothing."""
    for name, figures in LIST.items():
        prices = load_prices().classes[f"aws/us-east-1/{name}"]
        assert prices.storage[0].per_gb == Decimal(figures["storage"])
        assert (prices.put, prices.get) == (Decimal(figures["put"]), Decimal(figures["get"]))
        assert prices.retrieval["standard"].per_gb == Decimal(figures["retrieval"])
        assert (prices.minimum_bytes, prices.minimum_days) == (figures["size"], figures["days"])
