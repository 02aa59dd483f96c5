"""`storagectl forecast`: what it says, as text, as JSON and drawn, and what it says of what it cannot know."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import datasets, objects, scans
from storaged.clock import DAY, SystemClock
from storaged.config.settings import load_settings
from storaged.work.money.arrivals import WEEK_US
from tests.cli.lake import Lake
from tests.cost.conftest import BOOK

WEEKS = 60


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A KiB came each week for 60 weeks, at 0.02 per KiB and month."""
    place = tmp_path / "place"
    (place / "prices").mkdir(parents=True)
    (place / "prices/here.yaml").write_text(BOOK)
    lake = Lake(place)
    capacity = "capacity: {size: 100KiB, high: 80%, low: 70%}"
    text = lake.config.read_text().replace('/hot"}', f'/hot", prices: here/home/standard, {capacity}}}')
    text += f'  other: {{root: "file://{place}/other", tier: warm}}\n'
    lake.config.write_text(text)
    (place / "other").mkdir()
    lake.good("catalog", "create")
    for week in range(WEEKS + 1):
        lake.write(f"{week:02}.bin")
        (lake.root / f"{week:02}.bin").write_bytes(bytes(1024))
    lake.good("scan", "lake")
    now = SystemClock().now_us()
    changed(lake, sa.update(scans).values(finished_us=now - 40 * WEEK_US))
    changed(lake, sa.update(datasets).where(datasets.c.name == "lake").values(scanned_us=now))
    for week in range(WEEKS + 1):
        at = now - week * WEEK_US - WEEK_US // 2
        changed(lake, sa.update(objects).where(objects.c.name == f"{week:02}.bin").values(created_us=at))
    return lake


def changed(lake: Lake, *statements: sa.Executable) -> None:
    with open_catalog(load_settings(lake.config).catalog) as catalog, catalog.begin() as conn:
        for statement in statements:
            conn.execute(statement)


def test_the_tables_have_what_there_is_then_and_the_marks(lake: Lake) -> None:
    words = [line.split() for line in lake.good("forecast", "--backtest").out.splitlines()]
    month = ["12", "113", "113.2", "KiB"]
    assert month in [line[:4] for line in words]
    [now] = [line for line in words if line[:2] == ["lake", "hot"]]
    assert now[2:6] == ["61.0", "KiB", "113.2", "KiB"]
    assert "$1.11" in now  # 50 KiB at 0.02, 11 at 0.01
    marks = {line[1]: line[2:6] for line in words if line[:1] == ["hot"] and line[1] in ("high", "capacity")}
    assert marks == {"high": ["80.0", "KiB", "61.0", "KiB"], "capacity": ["100.0", "KiB", "61.0", "KiB"]}
    assert ["4", "6", "100%"] in words


def test_month_0_of_the_json_is_what_cost_says(lake: Lake) -> None:
    told, cost = lake.good("forecast", "--json").json, lake.good("cost", "--json").json
    assert told["all"][0]["monthly"]["expected"] == cost["total"]["monthly"]["total"]
    assert told["all"][0]["bytes"]["expected"] == cost["total"]["bytes"]
    assert told["no_prices"] == cost["no_prices"]
    assert [len(its["months"]) for its in (*told["places"], *told["tiers"])] == [13, 13]
    assert Decimal(told["all"][12]["monthly"]["expected"]) > Decimal(told["all"][0]["monthly"]["expected"])
    assert [(mark["mark"], mark["expected"] is None) for mark in told["marks"]] == [
        ("high", False),
        ("capacity", False),
    ]


def test_a_plan_is_told_beside_and_changes_no_figure(lake: Lake) -> None:
    lake.write("2026/01.csv")
    lake.good("scan", "lake")
    before = lake.good("forecast", "--json").json
    assert "no plan of one that there is now" in lake.good("forecast").out
    lake.good("plan")
    after = lake.good("forecast", "--json").json
    [plan] = after["plans"]
    assert (plan["policy"], plan["plan"], plan["state"], plan["objects"]) == ("shrink", 1, "saved", 1)
    assert plan["bytes_after"] <= plan["bytes_now"]
    assert after["all"] == before["all"]
    assert "policy shrink: plan 1 of " in lake.good("forecast").out
    (lake.place / "policies/policy.yaml").unlink()
    assert lake.good("forecast", "--json").json["plans"] == []  # of a policy that there is no more


def test_what_is_not_known_is_said(lake: Lake) -> None:
    for words in (("forecast",), ("forecast", "other")):
        assert "other: never scanned; nothing of it is known" in lake.good(*words).out
    now = SystemClock().now_us()
    changed(lake, sa.update(datasets).values(scanned_us=now - 30 * DAY))
    assert "lake: the last scan was 30 days ago; what came since is not known" in lake.good("forecast").out
    changed(lake, sa.update(datasets).values(scanned_us=now + 30 * DAY))
    assert "its last scan is in the future: a clock jumped" in lake.good("forecast").out
    changed(lake, sa.update(datasets).values(scanned_us=now), sa.update(scans).values(finished_us=now))
    out = lake.good("forecast", "--months", "24").out
    assert "lake: what was removed is known since" in out
    assert "lake: 60 weeks of history tell of 13 months ahead; after that it counts as it is then" in out
    late, anew = objects.c.name == "00.bin", objects.c.name == "01.bin"
    changed(lake, sa.update(objects).where(late).values(created_us=now + DAY))
    changed(lake, sa.update(objects).where(anew).values(generation=2))
    out = lake.good("forecast").out
    assert "lake: 1 object from the future, as file times say" in out
    assert "lake: 1 object written anew by users" in out
    changed(lake, sa.update(objects).values(created_us=now - WEEKS * WEEK_US))
    assert "lake: nothing came or went in 60 weeks; it is taken to stay so" in lake.good("forecast").out
    nine = objects.c.name.in_([f"{week:02}.bin" for week in range(9)])
    changed(lake, sa.update(objects).where(nine).values(created_us=now - 8 * WEEK_US - DAY))
    changed(lake, sa.delete(objects).where(objects.c.created_us < now - 9 * WEEK_US))
    out = lake.good("forecast").out
    assert "lake: little history, 8 weeks after the first objects came; nothing is forecast before there are 13" in out
    assert "KiB + ?" in out
    changed(lake, sa.update(objects).values(removed_us=now, tier_id=None, raw_state="absent"))
    assert "lake: holds nothing any more; nothing is forecast" in lake.good("forecast").out


def test_a_dataset_that_the_configuration_has_no_more_is_said(lake: Lake) -> None:
    text = lake.config.read_text().replace("  lake: {", "  pond: {").replace("/lake", "/pond")
    lake.config.write_text(text)
    (lake.place / "policies/policy.yaml").unlink()
    assert "lake: not in storaged.yaml any more: no scan looks at it" in lake.good("forecast").out


def test_a_catalog_that_was_never_scanned_says_so(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.good("catalog", "create")
    assert "lake: never scanned; nothing of it is known" in lake.good("forecast").out
    assert lake.good("forecast", "--json").json["all"][12]["bytes"]["expected"] == 0


def test_mistakes_are_refused(lake: Lake) -> None:
    for words, told in (
        (("forecast", "none"), "there is no dataset 'none'"),
        (("forecast", "--months", "25"), "less than or equal to 24"),
        (("forecast", "--plot", "a.txt"), "no file that can be drawn to"),
    ):
        answer = lake.ctl(*words)
        assert answer.code == 2
        assert told in answer.err


def test_it_is_drawn_and_the_same_figures_are_the_same_drawing(lake: Lake, tmp_path: Path) -> None:
    changed(lake, sa.update(datasets).values(scanned_us=SystemClock().now_us() - DAY))
    for name in ("one.svg", "two.svg"):
        lake.good("forecast", "--plot", str(tmp_path / name))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert "USD per month" in (tmp_path / "one.svg").read_text()
    lake.config.write_text(lake.config.read_text().replace("prices: here/home/standard, ", ""))
    lake.good("forecast", "--plot", str(tmp_path / "bytes.svg"))
    assert "USD per month" not in (tmp_path / "bytes.svg").read_text()
