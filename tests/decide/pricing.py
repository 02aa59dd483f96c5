"""Prices of round figures, the seeded catalog's configuration with them, and what a move costs, worked out anew."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings, load_settings
from storaged.testing import FakeClock
from storaged.work.plan.make import Plan, PlanRow, make_plan, plan_rows
from tests.decide.seeding import SETTINGS, policies

# A second, independent reading of the price list: figures as anybody sees them, not as the program holds them.
GB = Decimal(1 << 30)
MONTH = Decimal("30.4375")
PICO = 10**12
LIST: dict[str, dict[str, Any]] = {  # USD: storage per GB-month, per request, retrieval per GB; minimum size and days
    "standard": {"storage": "0.023", "put": "0.000005", "get": "0.0000004", "retrieval": "0", "size": 0, "days": 0},
    "standard-ia": {
        "storage": "0.0125",
        "put": "0.00001",
        "get": "0.000001",
        "retrieval": "0.01",
        "size": 128 << 10,
        "days": 30,
    },
    "glacier-ir": {
        "storage": "0.004",
        "put": "0.00002",
        "get": "0.00001",
        "retrieval": "0.03",
        "size": 128 << 10,
        "days": 90,
    },
}
TIERS = {"hot": "standard", "standard": "standard", "rare": "standard-ia", "cold": "glacier-ir", "deep": "deep-archive"}


def priced_settings(file: Path, more: str = "") -> Settings:
    """The seeded catalog's configuration; tier `warm` is the only one without prices."""
    text = SETTINGS.replace("url: memory://cold}", "url: memory://cold, storage_class: GLACIER_IR}")
    for tier, prices in TIERS.items():
        text = re.sub(rf"(  {tier}: \{{rank: \d, )", rf"\1prices: aws/us-east-1/{prices}, ", text)
    file.write_text(text + more)
    return load_settings(file)


def by_hand(
    source: str,
    target: str,
    size: int,
    *,
    age_days: int,
    grace_days: int,
    reads: int = 0,
    month_days: Decimal = MONTH,
    read_back: bool = True,
) -> tuple[Decimal, Decimal]:
    """What a plain object of at most 8 MiB at its original key costs once when it is moved, and saves per month: USD.

    Its reads are of all of it, `reads` of them in `month_days`. Worked out from `LIST` and nothing else."""
    a, b = LIST[source], LIST[target]
    billed = max(size, a["size"])
    gets = -(-size // (4 << 20))
    once = gets * Decimal(a["get"]) + Decimal(b["put"])
    once += 4 * Decimal(a["get"]) + 2 * Decimal(b["get"])  # looks
    if read_back:  # what is not on S3 tells no checksum
        once += gets * Decimal(b["get"]) + size / GB * Decimal(b["retrieval"])
    once += size / GB * Decimal(a["retrieval"])
    keep = billed / GB * Decimal(a["storage"])
    once += keep * grace_days / MONTH
    once += keep * max(0, a["days"] - age_days - grace_days) / MONTH
    monthly = reads * MONTH / month_days
    before = keep + monthly * (Decimal(a["get"]) + size / GB * Decimal(a["retrieval"]))
    after = max(size, b["size"]) / GB * Decimal(b["storage"])
    after += monthly * (Decimal(b["get"]) + size / GB * Decimal(b["retrieval"]))
    return once, before - after


def planned(catalog: Catalog, settings: Settings, tmp_path: Path, text: str) -> tuple[Plan, dict[str, PlanRow]]:
    """A plan by these policies, and its rows by the objects' names."""
    plan = make_plan(catalog, settings, policies(tmp_path / "p", settings, text), FakeClock())
    return plan, {row.name: row for row in plan_rows(catalog, plan.id)}


def policy(to: str, more: str = "", when: str = "age_over: 1d", target: str = "events/web") -> str:
    """A policy's text."""
    return f"name: p\ntarget: {{dataset: {target}}}\nwhen: {{{when}}}\nto: {to}\n{more}"
