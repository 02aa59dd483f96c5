"""`tier: auto` from the first log to the undo, by commands alone: learn, plan, explain, apply, savings, undo."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from storaged.clock import DAY, SECOND, SystemClock, iso
from tests.cli.lake import Lake
from tests.ledger.mint import BOOK

DAYS = 500
IDLE, BUSY = [f"idle/{n:02}.bin" for n in range(40)], [f"busy/{n:02}.bin" for n in range(40)]
SIZE = 4_000
POLICY = """\
name: cheapest
target: {dataset: lake}
to: {tier: auto}
mode: dry-run
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Forty files of $4 a month in hot and $1 in cold, where reading one costs $2. Half of them are read on most days,
    half were in the first month alone; the logs of 500 days tell."""
    place = tmp_path / "place"
    place.mkdir()
    lake = Lake(place)
    for name in ("prices", "logs"):
        (place / name).mkdir()
    (place / "prices/own.yaml").write_text(BOOK.replace("PUT", "0"))
    lake.config.write_text(
        f"""\
catalog: "sqlite:///catalog.db"
grace: 7d
price_books: prices
tiers:
  hot: {{rank: 0, url: "file://{place}/hot", prices: own/here/hot}}
  cold: {{rank: 1, url: "file://{place}/cold", prices: own/here/cold}}
datasets:
  lake: {{root: "file://{lake.root}", readers: storaged}}
heat:
  - {{name: reads, format: jsonl, path: "logs/*.jsonl", lag: 0s, since: SINCE}}
"""
    )
    since = iso(SystemClock().now_us() // DAY * DAY - DAYS * DAY)
    lake.config.write_text(lake.config.read_text().replace("SINCE", since))
    lake.policy(POLICY)
    lake.write(*IDLE, *BUSY, rows=1)
    written_s = SystemClock().now_us() // SECOND - (DAYS + 1) * DAY // SECOND
    for name in (*IDLE, *BUSY):
        (lake.root / name).write_bytes(name.encode().ljust(SIZE))
        os.utime(lake.root / name, (written_s, written_s))
    write_logs(lake)
    lake.make_catalog()
    return lake


def write_logs(lake: Lake) -> None:
    chance, today = random.Random(7), SystemClock().now_us() // DAY * DAY
    with (lake.place / "logs/reads.jsonl").open("w") as out:
        for ago in range(DAYS, 0, -1):
            for name in (*IDLE, *BUSY):
                if chance.random() < (0.12 if name in BUSY else 0.2 if ago > DAYS - 60 else 0):
                    told = {"ts": iso(today - ago * DAY + 3600 * 10**6), "op": "GET", "bytes": SIZE}
                    out.write(json.dumps(told | {"url": f"file://{lake.root}/{name}"}) + "\n")


def test_it_learns_decides_pays_and_can_be_taken_back(lake: Lake) -> None:
    """What nobody reads any more goes, what is read now and then stays; the ledger expects the plan's dollars."""
    lake.good("scan")
    lake.good("ingest")
    ignorant = lake.good("plan", "--json").json
    assert ignorant["actions"] == 0
    assert "lake: nothing was learnt of its past yet" in ignorant["policies"][0]["notes"][0]
    assert "kept as version 1" in lake.good("learn").out

    plan = lake.good("plan", "--why", "--json").json
    number = str(plan["plan"])
    rows = lake.good("plan", "show", number, "--limit", "0", "--json").json["objects"]
    assert {row["name"] for row in rows} == set(IDLE)
    decided = "if it goes on as remembered, saves $"  # what is foretold has next to no weight
    assert all(row["tier"] == "cold" and decided in row["reason"] for row in rows)
    steps = {step["key"]: step["left"] for step in plan["policies"][0]["funnel"]}
    assert steps == {"target": 80, "foretold": 80, "worth": 40}

    told = lake.good("explain", "lake/busy/00.bin", "--json").json["policies"][0]
    stays, goes = told["choice"]["alternatives"]
    assert (stays["tier"], stays["stays"], stays["chosen"], goes["tier"]) == ("hot", True, True, "cold")
    assert float(stays["total"]) < float(goes["total"])
    assert [step["tier"] for step in told["choice"]["evenly"]] == ["cold", "hot"]  # never read, it would be in cold
    said = lake.good("explain", "lake/idle/00.bin").out
    assert "cheapest decides: would go to cold" in said
    assert "version 1 of the forecast model" in said

    lake.good("apply", number, "--yes")
    tiers = "SELECT tier, count(*) AS n FROM v_objects GROUP BY tier ORDER BY tier"
    assert [row["n"] for row in lake.good("sql", "--json", tiers).json] == [40, 40]
    assert lake.good("cat", "lake/idle/07.bin").out == IDLE[7].ljust(SIZE)
    (part,) = lake.good("savings", "--json").json["plans"]
    assert part["expected"]["monthly_before"] == plan["money"]["monthly_before"]
    assert part["expected"]["one_time"] == plan["money"]["one_time"]

    assert lake.good("plan", "--json").json["actions"] == 0
    assert "undone: 40 objects" in lake.ctl("undo", "lake", "--yes").out  # the others are where they were
    assert [row["n"] for row in lake.good("sql", "--json", tiers).json] == [80]
    assert all((lake.root / name).read_bytes() == name.encode().ljust(SIZE) for name in (*IDLE, *BUSY))
