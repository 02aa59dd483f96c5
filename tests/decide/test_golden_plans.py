"""Policies × seeded objects → plans, against files that a person has read; the same on every database."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings
from storaged.decide.sentence import sentence
from storaged.testing import FakeClock
from storaged.work.plan.explain import explain
from storaged.work.plan.make import make_plan, plan_rows
from tests.decide.conftest import GOLDEN, Golden
from tests.decide.seeding import NOW, policies

CASES = sorted(path.stem for path in (GOLDEN / "plans").glob("*.yaml"))
EXPLAINED = {
    "guards": [("logs/raw", "old.log"), ("unseen", "nobody-knows.csv"), ("events/web", "new.csv")],
    "first-match": [("events/web", "barely-read.json"), ("events/web", "removed.csv"), ("logs/raw", "old.log")],
    "limits": [("events/app", "dt=2025-01-31/hour=05/part.parquet"), ("events/web", "compressed.csv")],
    "s3": [
        ("s3/plain", "old.csv"),
        ("s3/plain", "rare-already.csv"),
        ("s3/plain", "moved.csv"),
        ("s3/versions", "locked.csv"),
        ("s3/versions", "legal-hold.csv"),
        ("s3/careless", "old.csv"),
    ],
    "packs": [
        ("events/app", "dt=2025-01-31/hour=05/part.parquet"),
        ("events/web", "barely-read.json"),
        ("events/web", "tiny.json"),
    ],
    "reads": [("events/web", "read-yesterday.csv"), ("events/web", "tiny.json")],
}


@pytest.mark.on_both
@pytest.mark.parametrize("case", CASES)
def test_a_plan_is_what_the_golden_file_says(
    case: str, seeded: Catalog, settings: Settings, tmp_path: Path, golden: Golden
) -> None:
    """Rows, reasons, guards, limits, summary and explanations are as a person read and accepted them."""
    text = (GOLDEN / "plans" / f"{case}.yaml").read_text("utf-8")
    loaded = policies(tmp_path / "policies", settings, text)
    plan = make_plan(seeded, settings, loaded, FakeClock())
    rows = sorted(
        (asdict(row) for row in plan_rows(seeded, plan.id)), key=lambda r: (r["policy"], r["dataset"], r["name"])
    )
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    golden.check(f"plans/{case}.json", f"[\n{lines}\n]\n")
    sentences = "\n".join(f"{p.name}: {sentence(p.policy)}" for p in loaded)
    told = [str(explain(seeded, settings, loaded, dataset, name, NOW)) for dataset, name in EXPLAINED[case]]
    golden.check(f"plans/{case}.txt", "\n\n".join([sentences, str(plan), *told]) + "\n")
