"""`storagectl cost`: the same figures as a table, as JSON, as rows in a file, and as a drawing."""

from __future__ import annotations

import csv
import json
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.lake import Answer, Lake
from tests.cost.conftest import BOOK

DOLLAR = "team $5 $x_1$"  # no formula


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """10 KiB in tier hot at 0.02 per KiB and month, and 20 KiB in tier warm, which has no prices."""
    place = tmp_path / "place"
    (place / "prices").mkdir(parents=True)
    (place / "prices/here.yaml").write_text(BOOK)
    lake = Lake(place)
    text = lake.config.read_text()
    text = text.replace('/hot"}', '/hot", prices: here/home/standard}')
    text = text.replace("readers: storaged}", f"readers: storaged, owner: ann, tags: {{team: '{DOLLAR}'}}}}")
    text += f'  other: {{root: "file://{place}/other", tier: warm}}\n'
    lake.config.write_text(text)
    (place / "other").mkdir()
    (place / "other/b").write_bytes(bytes(20 * 1024))
    (place / "lake/a").write_bytes(bytes(10 * 1024))
    lake.good("catalog", "create")
    lake.good("scan")
    return lake


def words(answer: Answer) -> list[list[str]]:
    return [line.split() for line in answer.out.splitlines()]


def test_the_table_ends_with_the_total_and_what_it_rests_on(lake: Lake) -> None:
    answer = lake.good("cost")
    assert words(answer)[1:4] == [
        ["lake", "1", "10.0", "KiB", "$0.20", "?", "?", "$0.20", "+", "?"],
        ["other", "1", "20.0", "KiB", "-", "-", "-", "no", "prices"],
        ["total", "2", "30.0", "KiB", "$0.20", "?", "?", "$0.20", "+", "?"],
    ]
    for told in (
        "USD per month of 30.4375 days, at list prices; a GB is 2^10 bytes",
        "no prices: 1 object, 20.0 KiB of class STANDARD in tier warm",
        "no access log tells of a day of the last month of lake, other",
        "prices of here/home: ourselves (2026-11-23)",
    ):
        assert told in answer.out


def test_figures_without_a_source_are_named(lake: Lake) -> None:
    lake.config.write_text(lake.config.read_text().replace("here/home/standard", "here/home/rare"))
    assert "unverified (?) in here/home/rare: requests.get" in lake.good("cost").out


def test_json_has_every_kind_as_decimal_text_that_adds_up(lake: Lake) -> None:
    told = lake.good("cost", "--by", "tier", "--json").json
    hot, warm = told["groups"]
    assert (hot["name"], warm["name"]) == ("hot", "warm")
    assert hot["monthly"].pop("total") == "0.2"
    assert sum(map(Decimal, hot["monthly"].values())) == Decimal("0.2")
    assert warm["monthly"] is None
    assert warm["without_prices"] == {"objects": 1, "bytes": 20 * 1024}
    assert told["no_prices"] == [{"tier": "warm", "storage_class": "STANDARD", "objects": 1, "bytes": 20 * 1024}]
    assert told["reads_unknown"] == ["lake", "other"]
    assert told["gb_bytes"] == [1024]
    assert told["prices"][0]["id"] == "here/home/standard"


@pytest.mark.parametrize("by", ["dataset", "tier", "owner", "tag:team", "kind", "class"])
def test_every_grouping_has_a_table_with_the_same_total(lake: Lake, by: str) -> None:
    answer = lake.good("cost", "--by", by)
    assert words(answer)[0][0] == by
    assert next(line for line in words(answer) if line[:1] == ["total"])[-3:] == ["$0.20", "+", "?"] or by == "kind"
    assert lake.good("cost", "--by", by, "--json").json["total"]["monthly"]["total"] == "0.2"


def test_the_table_by_kind_has_a_line_for_each(lake: Lake) -> None:
    lake.good("plan")
    told = {line[0]: line[1:] for line in words(lake.good("cost", "--by", "kind")) if line}
    assert told["storage"] == ["$0.20", "$0.00"]
    assert told["requests"] == ["?", "$0.00"]
    assert told["overhead"] == ["$0.00", "$0.00"]
    assert told["total"] == ["$0.20", "+", "?", "$0.00"]


def test_chargeback_rows_say_who_pays_for_what(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "bill.csv"
    answer = lake.good("cost", "--export", str(file), "--json")
    assert answer.json["export"] == {"file": str(file), "rows": 2}
    first, second = csv.DictReader(file.read_text().splitlines())
    assert first == {
        "month": answer.json["at"][:7],
        "dataset": "lake",
        "owner": "ann",
        "tags": json.dumps({"team": DOLLAR}),
        "tier": "hot",
        "storage_class": "STANDARD",
        "prices": "here/home/standard",
        "kind": "storage",
        "objects": "1",
        "bytes": "10240",
        "usd": "0.2",
        "in_grace_usd": "0",
    }
    assert (second["dataset"], second["prices"], second["usd"]) == ("other", "", "")


def test_parquet_has_money_as_decimals(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "bill.parquet"
    lake.good("cost", "--export", str(file))
    table = pq.read_table(file)
    assert table.schema.field("usd").type == pa.decimal128(38, 12)
    assert table["usd"].to_pylist() == [Decimal("0.2"), None]


@pytest.mark.parametrize(("name", "begins"), [("cost.svg", b"<?xml"), ("cost.png", b"\x89PNG")])
def test_a_drawing_has_a_bar_for_each_line(lake: Lake, tmp_path: Path, name: str, begins: bytes) -> None:
    file = tmp_path / name
    lake.good("cost", "--by", "tag:team", "--plot", str(file))
    drawn = file.read_bytes()
    assert drawn.startswith(begins)
    if file.suffix == ".svg":
        assert DOLLAR.encode() in drawn
        assert b"USD per month" in drawn
        lake.good("cost", "--by", "tag:team", "--plot", str(file))
        assert file.read_bytes() == drawn


def test_a_drawing_shows_the_dearest_and_all_others_as_one(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storaged.cli.cost._BARS", 1)
    lake.config.write_text(lake.config.read_text().replace('/warm"}', '/warm", prices: here/home/deep}'))
    lake.good("cost", "--plot", str(tmp_path / "cost.svg"))
    drawn = (tmp_path / "cost.svg").read_text()
    assert (">lake<" in drawn, ">other<" in drawn, ">1 other<" in drawn) == (True, False, True)


def test_nothing_that_has_prices_is_nothing_to_draw(lake: Lake, tmp_path: Path) -> None:
    lake.config.write_text(lake.config.read_text().replace(", prices: here/home/standard", ""))
    answer = lake.ctl("cost", "--plot", str(tmp_path / "cost.svg"))
    assert (answer.code, "nothing to draw" in answer.err) == (1, True)
    assert not (tmp_path / "cost.svg").exists()


def test_without_matplotlib_the_error_says_what_to_install(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = lake.ctl("cost", "--plot", str(tmp_path / "cost.svg"))
    assert answer.code == 1
    assert "pip install 'storaged[plot]'" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--by", "colour"), 2, "one of dataset, tier, owner"),
        (("--export", "bill.xlsx"), 2, ".csv or .parquet"),
        (("--plot", "cost.gif"), 2, ".svg or .png"),
        (("--export", "/nowhere/bill.csv"), 1, "/nowhere/bill.csv cannot be written"),
        (("--plot", "/nowhere/cost.svg"), 1, "/nowhere/cost.svg cannot be written"),
    ],
)
def test_mistakes_are_named(lake: Lake, arguments: tuple[str, ...], code: int, told: str) -> None:
    answer = lake.ctl("cost", *arguments)
    assert (answer.code, told in answer.err) == (code, True), answer


def test_nothing_is_changed_by_asking(lake: Lake) -> None:
    before = lake.state()
    lake.good("cost")
    assert lake.state() == before


def test_no_catalog_is_an_error_and_no_zero(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    assert Lake(tmp_path / "place").ctl("cost").code == 10
