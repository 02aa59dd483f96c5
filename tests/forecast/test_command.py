"""storagectl learn: what it says, as text and as JSON, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import open_catalog
from storaged.catalog.schema_models import models
from storaged.clock import DAY, SystemClock
from storaged.config.settings import load_settings
from tests.cli.lake import Lake
from tests.forecast.made import cooling, fill, made


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with 130 days behind it, in which all cools for good."""
    lake = Lake(tmp_path)
    lake.fill("a.csv")
    with open_catalog(load_settings(lake.config).catalog) as catalog, catalog.begin() as conn:
        fill(conn, made(cooling(5), 200, 130), dataset="lake", end_day=SystemClock().now_us() // DAY, first_id=100)
    return lake


def test_a_lesson_is_told_kept_listed_and_taken_back(lake: Lake) -> None:
    tried = lake.good("learn", "--dry-run", "--report")
    assert "it would be kept: its deviance is" in tried.out
    assert "by tenths of the forecasts" in tried.out
    assert "half-life-14d" in tried.out
    assert "fewer than two tiers have prices" in tried.err
    assert "no version is in use" in lake.good("learn", "--list").out
    assert "kept as version 1, in use from now on" in lake.good("learn").out
    assert "not kept, and what was in use stays so" in lake.good("learn").out
    listed = lake.good("learn", "--list", "--json").json["versions"]
    assert [(one["version"], one["in_use"], one["half_life_days"]) for one in listed] == [(1, True, 30)]
    assert "no version is in use" in lake.good("learn", "--use", "none").out
    assert "version 1 is in use" in lake.good("learn", "--use", "1").out
    lake.configure(more="half_life: 7d\n")
    assert "is of another half-life than heat is now: nothing is decided by it" in lake.good("learn", "--list").err


def test_json_has_all_figures(lake: Lake) -> None:
    told = lake.good("learn", "--json").json
    assert told["version"] == 1
    assert told["horizons"] == [30, 90]
    assert told["objects"] == 201
    names = [one["name"] for one in told["forecasts"]]
    assert names == ["learnt", "last-month", "mean-of-age"]
    assert len(told["forecasts"][0]["deciles"]) == 10
    assert 0 < told["forecasts"][0]["deviance"] < told["forecasts"][1]["deviance"]


def test_a_report_is_drawn(lake: Lake, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        lake.good("learn", "--dry-run", "--plot", str(tmp_path / name))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert "as forecast" in (tmp_path / "one.svg").read_text()


@dataclasses.dataclass(frozen=True)
class _Refused:
    options: tuple[str, ...]
    words: str


@pytest.mark.parametrize(
    "asked",
    [
        _Refused(("--cut", "yesterday"), "is no date"),
        _Refused(("--cut", "1999-01-01"), "the cut leaves no days"),
        _Refused(("--history", "a week"), "--history"),
        _Refused(("--history", "9999d"), "not of 9999"),
        _Refused(("--use", "latest"), "is no version"),
        _Refused(("--use", "7"), "no version 7 is kept"),
        _Refused(("--list", "--report"), "stand alone"),
        _Refused(("--plot", "report.txt"), "no file that can be drawn to"),
    ],
    ids=lambda asked: " ".join(asked.options),
)
def test_what_cannot_be_is_refused(lake: Lake, asked: _Refused) -> None:
    found = lake.ctl("learn", *asked.options)
    assert found.code == 2
    assert asked.words in found.err


def test_a_newer_model_in_use_is_said_not_to_be_read(lake: Lake) -> None:
    lake.good("learn")
    with open_catalog(load_settings(lake.config).catalog) as catalog, catalog.begin() as conn:
        newer = sa.func.replace(models.c.text, '"format": 2', '"format": 3')
        conn.execute(sa.update(models).values(text=newer))
    found = lake.ctl("learn", "--use", "1")
    assert found.code == 10
    assert "newer version of storaged" in found.err
    assert "it is not compared" in lake.good("learn").err
