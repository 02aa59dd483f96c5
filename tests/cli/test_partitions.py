"""Partitions as Hive writes them, from a scan to a plan, and for objects that are known already."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from tests.cli.lake import Lake

NAMES = (
    "dt=2024-01-31 10%3A30/a.csv",
    "dt=2026-01-31/b.csv",
    "dt=__HIVE_DEFAULT_PARTITION__/c.csv",
    "other/d.csv",
)
POLICY = """\
name: by-date
target: {dataset: lake}
when: {partition: {dt: "%s"}}
to: {tier: cold, codec: zstd}
"""


def partitioned(lake: Lake, pattern: str | None) -> None:
    text = lake.config.read_text().replace("readers: storaged,", "readers: storaged")
    text = text.replace("readers: storaged", f'readers: storaged, partitions: "{pattern}"') if pattern else text
    lake.config.write_text(text)


def known(lake: Lake) -> dict[str, dict[str, str] | None]:
    rows = lake.good("sql", "SELECT name, partition FROM objects", "--format", "json").json
    return {row["name"]: row["partition"] and json.loads(row["partition"]) for row in rows}


VALUES = {NAMES[0]: {"dt": "2024-01-31 10:30"}, NAMES[1]: {"dt": "2026-01-31"}, NAMES[2]: None, NAMES[3]: None}


# MUST 10
def test_no_value_is_neither_older_nor_younger_than_a_date(lake: Lake) -> None:
    partitioned(lake, "dt={dt}")
    lake.fill(*NAMES)
    assert known(lake) == VALUES
    for comparison, names in (
        (">2025-01-01", [NAMES[1]]),
        ("<2025-01-01", [NAMES[0]]),
        ("2024-01-31 10:30", [NAMES[0]]),
    ):
        lake.policy(POLICY % comparison)
        planned = lake.good("plan").out
        assert [name for name in NAMES if name in planned] == names, comparison


def test_a_pattern_that_comes_later_is_read_from_the_names_that_are_known(lake: Lake) -> None:
    """Of objects that are not at their root any more, too."""
    lake.released(*NAMES)
    assert set(known(lake).values()) == {None}
    partitioned(lake, "dt={dt}")
    lake.good("scan")
    assert known(lake) == VALUES
    lake.configure()
    lake.good("scan")
    assert set(known(lake).values()) == {None}


def test_what_was_read_by_the_same_pattern_is_not_read_again(lake: Lake) -> None:
    partitioned(lake, "dt={dt}")
    lake.fill(*NAMES)
    told = {"dt": "told by nobody"}
    with closing(sqlite3.connect(lake.place / "catalog.db")) as catalog, catalog:
        catalog.execute("UPDATE objects SET partition = ? WHERE name = ?", (json.dumps(told), NAMES[0]))
        catalog.execute("UPDATE objects SET partition = NULL WHERE name = ?", (NAMES[1],))  # as after a rebuild
    lake.good("scan")
    assert known(lake) == VALUES | {NAMES[0]: told}
    partitioned(lake, None)
    lake.configure()
    lake.good("scan")
    assert set(known(lake).values()) == {None}
    partitioned(lake, "dt={dt}")
    lake.good("scan")
    assert known(lake) == VALUES


def test_formats_that_an_earlier_version_read_are_read_anew_once(lake: Lake) -> None:
    """It knew no extension of more than ten letters: weights had no format."""
    lake.fill("model.safetensors", "b.csv")

    def formats() -> dict[str, str]:
        return {
            row["name"]: row["format"] for row in lake.good("sql", "SELECT name, format FROM objects", "--json").json
        }

    whole = {"model.safetensors": "safetensors", "b.csv": "csv"}
    assert formats() == whole
    for mark, then in (("2:None", whole), (None, {**whole, "model.safetensors": ""})):
        with closing(sqlite3.connect(lake.place / "catalog.db")) as catalog, catalog:
            catalog.execute("UPDATE objects SET format = '' WHERE name = 'model.safetensors'")
            if mark:
                catalog.execute("UPDATE meta SET value = ? WHERE key LIKE '%partitions%'", (mark,))
        lake.good("scan")
        assert formats() == then
        totals = "SELECT format, sum(objects) AS n FROM object_totals GROUP BY format HAVING sum(objects) > 0"
        found = {row["format"]: row["n"] for row in lake.good("sql", totals, "--json").json}
        assert found == dict.fromkeys(then.values(), 1)
