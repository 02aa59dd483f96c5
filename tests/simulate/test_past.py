"""The catalog's own past as a trace: no more than heat sources tell of, and all of that."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import access, datasets, heat_coverage, objects, tiers
from storaged.clock import DAY
from storaged.errors import UsageError
from storaged.work.money.past import Past, read_past
from tests.cli.lake import Lake

FIRST = 20_000  # days since 1970


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Datasets 1 `web` and 2 `app`, known for 50 days and 45, `late` for 10, and `stale`, whose log ended long ago."""
    with catalog.begin() as conn:
        conn.execute(sa.insert(tiers).values(id=1, name="hot", rank=0, url="memory://hot", storage_class="STANDARD"))
        for number, name in enumerate(("web", "app", "late", "stale", "unknown"), 1):
            row = {"id": number, "name": name, "root": f"memory://{name}", "tier_id": 1, "registered_us": 0}
            conn.execute(sa.insert(datasets).values(row))
        windows = {1: (0, 50), 2: (5, 49), 3: (40, 50), 4: (0, 20)}
        for number, (begin, end) in windows.items():
            span = {"from_us": (FIRST + begin) * DAY, "until_us": (FIRST + end) * DAY + DAY // 2}
            conn.execute(sa.insert(heat_coverage).values(source="log", dataset_id=number, **span))
        common = {"mtime_us": 0, "stored_bytes": 1, "tier_id": 1, "removed_us": None}
        rows = [
            {"id": 7, "dataset_id": 1, "name": "old", "size": 70, "created_us": 0},
            {"id": 8, "dataset_id": 2, "name": "new", "size": 80, "created_us": (FIRST + 30) * DAY + 5},
            {"id": 9, "dataset_id": 1, "name": "anew", "size": 90, "created_us": (FIRST + 40) * DAY},
            {"id": 10, "dataset_id": 1, "name": "gone", "size": 1, "created_us": 0, "removed_us": 1, "tier_id": None},
            {"id": 11, "dataset_id": 1, "name": "future", "size": 1, "created_us": (FIRST + 49) * DAY},
            {"id": 12, "dataset_id": 3, "name": "of late", "size": 1, "created_us": 0},
        ]
        conn.execute(sa.insert(objects), [common | row for row in rows])
        reads = [(7, 18, 1), (7, 19, 2), (7, 48, 3), (7, 49, 9), (8, 31, 4), (9, 35, 5), (10, 30, 6), (12, 45, 7)]
        counted = [
            {"object_id": i, "day": FIRST + d, "reads": n, "read_bytes": 10 * n, "writes": 0, "last_us": 0}
            for i, d, n in [*reads, (8, 32, 0)]
        ]
        conn.execute(sa.insert(access), counted)
    return catalog


def test_the_last_days_that_all_recent_logs_tell_of_become_a_trace(filled: Catalog) -> None:
    """30 days before day 49, where the log of `app` ends: days 19 to 48."""
    past = read_past(filled, 30)
    trace = past.trace
    assert (past.first_day, trace.days) == (FIRST + 19, 30)
    assert trace.sizes.tolist() == [70, 80, 90]
    assert trace.created.tolist() == [0, 11, 16]  # what is older, creation, and a read before the newest generation
    assert trace.read_day.tolist() == [0, 29, 12, 16]
    assert trace.reads.tolist() == [2, 3, 4, 5]
    assert trace.read_bytes.tolist() == [20, 30, 40, 50]
    assert trace.starts.tolist() == [0, 2, 3, 4]
    assert trace.dataset is not None
    assert [trace.datasets[n] for n in trace.dataset] == ["web", "app", "web"]
    assert past.older == 1


def test_datasets_that_are_not_known_of_all_of_it_are_left_out_by_name(filled: Catalog) -> None:
    assert read_past(filled, 30).left_out == ("late", "stale", "unknown")
    past: Past = read_past(filled, 46)
    assert past.left_out == ("app", "late", "stale", "unknown")
    assert past.trace.days == 46


def test_more_than_the_logs_tell_is_refused_with_what_they_do(filled: Catalog) -> None:
    with pytest.raises(UsageError) as caught:
        read_past(filled, 50)
    assert caught.value.hint == "--history 49d"
    assert read_past(filled, 49).trace.days == 49


def test_a_catalog_without_logs_or_objects_has_no_past(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="no heat source"):
        read_past(catalog, 1)
    with catalog.begin() as conn:
        conn.execute(sa.insert(tiers).values(id=1, name="hot", rank=0, url="memory://hot", storage_class="STANDARD"))
        row = {"id": 1, "name": "web", "root": "memory://web", "tier_id": 1, "registered_us": 0}
        conn.execute(sa.insert(datasets).values(row))
        span = {"from_us": FIRST * DAY, "until_us": (FIRST + 9) * DAY}
        conn.execute(sa.insert(heat_coverage).values(source="log", dataset_id=1, **span))
    with pytest.raises(UsageError, match="no objects"):
        read_past(catalog, 1)


def test_the_command_replays_what_was_ingested(tmp_path: Path) -> None:
    """One read on each of the last nine days, of which the last four whole ones are a simulation."""
    now = dt.datetime.now(dt.UTC)
    log = {"name": "log", "format": "jsonl", "path": f"{tmp_path}/*.jsonl", "since": "2026-01-01T00:00:00Z"}
    lake = Lake(tmp_path)
    lake.configure(more=f"half_life: 10d\nheat: [{json.dumps(log)}]\n")
    lake.fill("a.csv")
    days = [(now - dt.timedelta(days=n)).strftime("%Y-%m-%dT00:00:01Z") for n in range(1, 10)]
    lines = [{"ts": day, "op": "GET", "url": f"file://{lake.root}/a.csv", "bytes": 10} for day in days]
    (tmp_path / "access.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lake.good("ingest")
    tiers = ("--tiers", "aws/us-east-1/standard,aws/us-east-1/glacier")
    told = lake.good("simulate", "--history", "4d", *tiers, "--json").json
    assert (told["days"], told["objects"]) == (4, 1)
    assert told["first_day"][:10] in [day[:10] for day in days[3:5]]
    assert float(told["policies"]["stay"]["requests"]) == pytest.approx(4 * 0.0004 / 1000)
    assert "older than the first day" in " ".join(told["notes"])
    first = dt.date.fromisoformat(told["first_day"][:10])
    (tmp_path / "cool.yaml").write_text(
        'name: cool\ntarget: {dataset: "*", tier: hot}\nwhen: {idle_for: 1d}\nto: {tier: warm}\n'
    )
    policy = str(tmp_path / "cool.yaml")
    judged = lake.good("evaluate", policy, "--history", "4d", *tiers, "--json").json
    assert (judged["warm_up_days"], judged["judged_days"]) == (1, 3)
    assert float(judged["policies"]["stay"]["requests"]) == pytest.approx(3 * 0.0004 / 1000)
    assert judged["policies"]["cool"]["worst_week"]["date"] == str(first + dt.timedelta(days=1))
    tuned = lake.good("tune", policy, "--history", "4d", *tiers, "--tune-on", "2d", "--json").json
    assert (tuned["tuned_on_days"], tuned["held_out_days"], tuned["worth_it"]) == (2, 2, False)
    refused = lake.ctl("simulate", "--history", "36500d", *tiers)
    assert refused.code == 2
    assert "hint: --history " in refused.err
