"""A policy that lets tables become other files of the same table, from its plan to an undo."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.cli.lake import OLD, Lake
from tests.codecs.parquet_files import written

POLICY = """\
name: tables
target: {dataset: lake}
when: {size_over: 1KiB}
to: {tier: cold, codec: parquet, fidelity: table}
keep_source: 30d
"""


def test_a_plan_says_it_apply_asks_and_undo_brings_the_old_bytes_back(lake: Lake) -> None:
    table = pa.table({"w": [f"{n * 7919 % 10_007} and some more words" for n in range(20_000)]})
    data = written(table, compression="snappy", use_dictionary=False)
    path = lake.root / "t.parquet"
    (lake.place / "policies" / "shrink.yaml").write_text(POLICY)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (OLD, OLD))
    lake.fill("a.csv")
    said = " ".join(lake.good("plan").out.split())
    assert "tables as other files of the same table" in said
    assert "their old bytes are kept for 30d, for `undo`, and then go" in said
    assert "cold as parquet (table)" in lake.good("plan", "show", "1").out
    lake.good("apply", "1", "--yes")
    told = lake.good("locate", "lake/t.parquet", "--json").json
    current, original = sorted(told["places"], key=lambda place: place["state"])
    assert (current["state"], current["codec"], original["state"]) == ("current", "identity", "superseded")
    assert told["edition"] == current["edition"] != original["edition"] == ""
    assert (current["length"], original["length"]) == (told["size"], len(data))
    made = Path(current["url"].removeprefix("file://")).read_bytes()
    assert pq.read_table(io.BytesIO(made)).equals(table)
    assert lake.good("locate", "lake/a.csv", "--json").json["edition"] == ""
    again = lake.good("plan", "--json").json
    assert again["actions"] == 0
    assert "another file of the same table already" in lake.good("explain", "lake/t.parquet").out
    lake.good("undo", "lake/t.parquet")
    back = lake.good("locate", "lake/t.parquet", "--json").json
    assert (back["edition"], back["size"]) == ("", len(data))
    assert path.read_bytes() == data
