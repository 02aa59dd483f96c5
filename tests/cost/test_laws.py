"""What holds for every bill: it is what each object alone says, and however it is cut, the parts add up."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import access, blobs, heat_coverage, objects, replicas
from storaged.clock import DAY
from storaged.prices.amount import KINDS
from storaged.prices.formulas import allotted
from storaged.work.money.chargeback import SCHEMA, export
from storaged.work.money.cost import grouped, make_bill
from storaged.work.money.cuts import CUTS
from tests.cost.conftest import GB, Priced
from tests.laws import tries

PICODOLLAR = Decimal("1e-12")
MONTH = Decimal("30.4375")
BYS = ("dataset", "tier", "owner", "tag:team", "kind", "class")

sums = st.decimals(0, 10**9, places=12)
weights = st.lists(st.integers(0, 10**15), min_size=1, max_size=20)
thing = st.fixed_dictionaries(
    {
        "dataset": st.sampled_from([1, 2]),
        "size": st.integers(0, 40 * GB),
        "age": st.integers(0, 200),  # days
        "raw": st.sampled_from(["current", "superseded", "releasing", "released", "absent"]),
        "class": st.sampled_from(["STANDARD", "RARE", "DEEP", "MOVING", "UNHEARD_OF"]),
        "replica": st.sampled_from([None, "current", "superseded"]),
        "tier": st.sampled_from([1, 2, 3]),
        "reads": st.integers(0, 50),
        "read_ago": st.integers(0, 120),
        "writes": st.integers(0, 3),
    }
)


@given(total=sums, shares=weights)
def test_what_is_shared_out_adds_up_exactly_and_is_in_proportion(total: Decimal, shares: list[int]) -> None:
    if not any(shares):
        total = Decimal(0)
    parts = allotted(total, shares)
    assert sum(parts) == total
    for part, share in zip(parts, shares, strict=True):
        assert part >= 0
        assert abs(part - total * share / max(1, sum(shares))) <= PICODOLLAR


@pytest.fixture
def seeded(world: Priced) -> Priced:
    """A world whose tiers and datasets are known: lake and web, with nothing in them."""
    world.charge({"hot": "here/home/standard", "cold": "here/home/moving"})
    world.context.register()
    return world


@tries(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    things=st.lists(thing, max_size=8),
    covered=st.dictionaries(st.sampled_from([1, 2]), st.integers(0, 120)),
    cut=st.sampled_from([*CUTS[:-1], "partition:dt"]),
)
def test_the_bill_is_what_every_object_alone_says_and_adds_up_by_everything(
    seeded: Priced, tmp_path: Path, things: list[dict[str, Any]], covered: dict[int, int], cut: str
) -> None:
    now = seeded.clock.now_us()
    seed(seeded.catalog, things, covered, now)
    bill = seeded.bill
    expected = brute_force(things, covered, now)
    assert bill.total.storage.quantize(Decimal("1e-9")) == expected["storage"].quantize(Decimal("1e-9"))
    for kind in ("requests", "retrieval", "monitoring", "overhead"):  # each part is rounded once
        assert abs(getattr(bill.total, kind) - expected[kind]) < PICODOLLAR * 20, kind
    assert abs(bill.leaving_today - expected["leaving"]) < PICODOLLAR * 20
    assert sum(getattr(bill.total, kind) for kind in KINDS) == bill.total.total
    finer = make_bill(seeded.context, cut)
    assert (finer.total, finer.leaving_today, finer.unpriced) == (bill.total, bill.leaving_today, bill.unpriced)
    for by in (*BYS, cut):
        lines = grouped(finer if by == cut else bill, by)
        assert sum(line.cost.total for line in lines) == bill.total.total, by
        assert sum(line.grace.total for line in lines) == sum(p.cost.total for p in bill.parts if p.in_grace and p.cost)
        if by != "kind":
            assert sum(line.places for line in lines) == sum(p.places for p in bill.parts)
            assert sum(line.objects for line in lines) == sum(p.objects for p in bill.parts if not p.in_grace)
    assert exported(bill, tmp_path / "bill.parquet") == bill.total.total


def exported(bill: Any, file: Path) -> Decimal:
    import pyarrow.parquet as pq

    export(bill, file)
    return sum((usd for usd in pq.read_table(file, schema=SCHEMA)["usd"].to_pylist() if usd), Decimal(0))


def sound(told: dict[str, Any]) -> dict[str, Any]:
    """A thing as the catalog could hold it: at most one current place."""
    if told["raw"] in ("superseded", "releasing", "released"):
        return {**told, "replica": "current"}
    return {**told, "replica": "superseded"} if told["replica"] else told


def seed(catalog: Catalog, things: list[dict[str, Any]], covered: dict[int, int], now: int) -> None:
    with catalog.begin() as conn:
        for table in (heat_coverage, access, replicas, blobs, objects):
            conn.execute(sa.delete(table))
        ids = dict(enumerate(sorted(conn.execute(sa.text("SELECT id FROM datasets")).scalars()), 1))
        by_name = {row.name: row.id for row in conn.execute(sa.text("SELECT name, id FROM tiers"))}
        by_number = {1: by_name["hot"], 2: by_name["warm"], 3: by_name["cold"]}
        for dataset, days in covered.items():
            row = {"source": "log", "dataset_id": ids[dataset], "from_us": now - days * DAY, "until_us": now}
            conn.execute(sa.insert(heat_coverage).values(row))
        for number, told in enumerate(map(sound, things), 1):
            exists = told["raw"] != "absent"
            tier = by_number[told["tier"]] if told["replica"] == "current" else by_name["hot"]
            row = {
                "id": number,
                "dataset_id": ids[told["dataset"]],
                "name": f"object {number}",
                "format": ("csv", "json", "")[number % 3],
                "partition": (None, '{"dt": "1"}', '{"dt": "2"}')[number % 3],
                "size": told["size"],
                "stored_bytes": told["size"],
                "mtime_us": now - told["age"] * DAY,
                "created_us": now - told["age"] * DAY,
                "raw_state": told["raw"],
                "raw_class": told["class"],
                "tier_id": tier if exists else None,
                "last_read_us": now - told["read_ago"] * DAY if told["reads"] else None,
            }
            conn.execute(sa.insert(objects).values(row))
            if told["reads"] or told["writes"]:
                day = {"day": now // DAY - told["read_ago"], "last_us": now}
                counts = {"reads": told["reads"], "read_bytes": told["reads"] * told["size"], "writes": told["writes"]}
                conn.execute(sa.insert(access).values(object_id=number, **day, **counts))
            if told["replica"]:
                blob = {
                    "id": f"{number:032x}",
                    "dataset_id": ids[told["dataset"]],
                    "tier_id": by_number[told["tier"]],
                    "key": f"key {number}",
                    "state": "live",
                    "size": told["size"],
                    "created_us": now - told["age"] * DAY,
                }
                conn.execute(sa.insert(blobs).values(blob))
                part = {"object_id": number, "blob_id": blob["id"], "length": told["size"], "generation": 1}
                conn.execute(sa.insert(replicas).values(part | {"state": told["replica"]}))


# The book of conftest.py once more, written out: per GB, GET, PUT, retrieval per GB and per read, minima.
RATES = {
    "STANDARD": {"get": "0.0004", "put": "0.005"},
    "RARE": {"gb": "0.01", "get": "0.001", "put": "0.01", "per_gb": "0.03", "days": 30, "least": 4096},
    "DEEP": {"gb": "0.001", "get": "0.0004", "put": "0.05", "per_gb": "0.02", "per_read": "0.1", "days": 180},
    "MOVING": {"get": "0.0004", "put": "0.005"},
}


def brute_force(things: list[dict[str, Any]], covered: dict[int, int], now: int) -> dict[str, Decimal]:
    """Each object by itself, in plain words; only volume steps look at all of Standard together."""
    cost = dict.fromkeys(("storage", "requests", "retrieval", "monitoring", "overhead", "leaving"), Decimal(0))
    at_standard = Decimal(0)
    midnight = now % DAY
    for told in map(sound, things):
        days = covered.get(told["dataset"], 0)
        for name, of_users in copies(told):
            rate = RATES[name]
            size = max(told["size"], rate.get("least", 0))
            gigabytes = Decimal(size) / GB
            left = max(0, rate.get("days", 0) - told["age"])
            per_month = gigabytes * Decimal(rate.get("gb", "0"))
            if name == "STANDARD":
                at_standard += gigabytes
            if name == "DEEP":
                cost["overhead"] += 2 * Decimal("0.001") + Decimal("0.02")
                per_month += 2 * Decimal("0.001") + Decimal("0.02")
            if name == "MOVING":
                idle = min(told["age"], days, told["read_ago"] if told["reads"] else 10**6)
                idle = idle if of_users and told["size"] >= 2048 else 0
                price = "0.004" if idle >= 90 else "0.012" if idle >= 30 else "0.02"
                cost["storage"] += gigabytes * Decimal(price)
                cost["monitoring"] += Decimal("0.0025") if told["size"] >= 2048 else 0
            elif name != "STANDARD":
                cost["storage"] += gigabytes * Decimal(rate["gb"])
            cost["leaving"] += left * per_month / MONTH
        if days < 1 or told["raw"] == "absent" or told["read_ago"] > min(30, days):
            continue
        whole = min(days * DAY, 30 * DAY + midnight)
        month = MONTH * DAY / whole
        now_in = place(told)
        if now_in in RATES:
            rate = RATES[now_in]
            cost["requests"] += told["reads"] * Decimal(rate["get"]) * month
            read = Decimal(told["reads"] * told["size"]) / GB * Decimal(rate.get("per_gb", "0"))
            cost["retrieval"] += (read + told["reads"] * Decimal(rate.get("per_read", "0"))) * month
        if told["class"] in RATES:
            cost["requests"] += told["writes"] * Decimal(RATES[told["class"]]["put"]) * month
    cost["storage"] += min(at_standard, Decimal(50)) * Decimal("0.02")
    cost["storage"] += max(at_standard - 50, Decimal(0)) * Decimal("0.01")
    return cost


def copies(told: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The classes in which an object is stored, and whether readers read it there, or could: not our old copies."""
    if told["raw"] in ("current", "superseded", "releasing") and told["class"] in RATES:
        yield told["class"], True
    if told["replica"] and told["tier"] != 2:
        yield {1: "STANDARD", 3: "MOVING"}[told["tier"]], told["replica"] == "current"


def place(told: dict[str, Any]) -> str:
    """The class of the current place; empty where its prices are not known."""
    if told["raw"] == "current":
        return str(told["class"])
    return {1: "STANDARD", 2: "", 3: "MOVING"}[told["tier"]] if told["replica"] == "current" else ""
