"""A policy that lets tables become other files of the same table, from its plan to an undo."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.cli.lake import OLD, Lake
from tests.codecs.parquet_files import written

POLICY = """\
name: tables
target: {dataset: lake}
when: {size_over: 1KiB}
to: {tier: cold, codec: {parquet: {reencode: true}}, fidelity: table}
keep_source: 30d
"""


DIES_BEFORE_THE_JOURNAL_HAS_IT = """\
import os, signal
from storaged.work.journal import Journal

def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

Journal.flush = dies
from storaged.cli import main
main()
"""
TABLE = pa.table({"w": [f"{n * 7919 % 10_007} and some more words" for n in range(20_000)], "n": range(20_000)})
DATA = written(TABLE, compression="snappy", use_dictionary=False)


def filled(lake: Lake) -> Path:
    """The policy, and a table that it takes."""
    path = lake.root / "t.parquet"
    (lake.place / "policies" / "shrink.yaml").write_text(POLICY)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA)
    os.utime(path, (OLD, OLD))
    return path


def test_files_whose_places_a_summary_tells_stay_the_files_that_they_are(lake: Lake) -> None:
    """Dask, pyarrow and Spark read a table by its `_metadata`, at the very offsets that it names."""
    free = filled(lake)
    for name in ("t/k=1/a.parquet", "t/k=2/b.parquet", "other/c.parquet"):
        (lake.root / name).parent.mkdir(parents=True, exist_ok=True)
        (lake.root / name).write_bytes(free.read_bytes())
        os.utime(lake.root / name, (OLD, OLD))
    pq.write_metadata(pq.read_schema(free), lake.root / "t/_metadata")
    os.utime(lake.root / "t/_metadata", (OLD, OLD))
    lake.make_catalog()
    lake.good("scan")
    lake.good("plan")
    told = {row["name"]: row["held"] for row in lake.good("plan", "show", "1", "--held", "--json").json["objects"]}
    held = {name for name, why in told.items() if why == "summary"}
    assert {"t/k=1/a.parquet", "t/k=2/b.parquet"} <= held
    assert not {"other/c.parquet", "t.parquet"} & held
    assert "a `_metadata` in a folder above it" in lake.good("explain", "lake/t/k=1/a.parquet").out
    pq.write_metadata(pq.read_schema(free), lake.root / "other/_metadata")  # since it was planned
    lake.good("scan")
    answer = lake.good("apply", "1", "--yes", "--json").json
    assert (answer["done"], answer["skipped"], answer["failed"]) == (1, 1, 0)
    assert "other/_metadata tells where in its bytes" in str(answer["notes"])


# MUST 8
def test_a_process_that_is_killed_before_the_journal_has_the_new_file_has_shown_it_to_nobody(lake: Lake) -> None:
    """And the next one makes it true."""
    path = filled(lake)
    lake.make_catalog()
    lake.good("scan")
    lake.good("plan")
    lake.good("apply", "1", "--yes", "--no-wait")
    command = [sys.executable, "-c", DIES_BEFORE_THE_JOURNAL_HAS_IT, "--config", str(lake.config), "work"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert lake.good("locate", "lake/t.parquet", "--json").json["edition"] == ""
    lake.good("sweep", "--yes")
    told = lake.good("locate", "lake/t.parquet", "--json").json
    assert told["edition"]
    made = Path(next(p["url"] for p in told["places"] if p["state"] == "current").removeprefix("file://"))
    assert pq.read_table(io.BytesIO(made.read_bytes())).equals(TABLE)
    lake.good("undo", "lake/t.parquet")
    assert lake.good("locate", "lake/t.parquet", "--json").json["edition"] == ""
    assert path.read_bytes() == DATA


def test_a_plan_says_it_apply_asks_and_undo_brings_the_old_bytes_back(lake: Lake) -> None:
    path = filled(lake)
    lake.fill("a.csv")
    said = " ".join(lake.good("plan").out.split())
    assert "tables as other files of the same table, encoded anew" in said
    assert "other files of the same table, with other encodings where these are smaller: their old bytes" in said
    assert "their old bytes are kept for 30d, for `undo`, and then go" in said
    assert "cold as parquet (table, encoded anew)" in lake.good("plan", "show", "1").out
    lake.good("apply", "1", "--yes")
    done = " ".join(lake.good("job", "show", "2", "--json").out.split())
    assert "of 2 column chunks are encoded anew: 1 DELTA_BINARY_PACKED" in done
    told = lake.good("locate", "lake/t.parquet", "--json").json
    current, original = sorted(told["places"], key=lambda place: place["state"])
    assert (current["state"], current["codec"], original["state"]) == ("current", "identity", "superseded")
    assert told["edition"] == current["edition"] != original["edition"] == ""
    assert (current["length"], original["length"]) == (told["size"], len(DATA))
    made = Path(current["url"].removeprefix("file://")).read_bytes()
    assert pq.read_table(io.BytesIO(made)).equals(TABLE)
    assert lake.good("locate", "lake/a.csv", "--json").json["edition"] == ""
    again = lake.good("plan", "--json").json
    assert again["actions"] == 0
    assert "another file of the same table already" in lake.good("explain", "lake/t.parquet").out
    lake.good("undo", "lake/t.parquet")
    back = lake.good("locate", "lake/t.parquet", "--json").json
    assert (back["edition"], back["size"]) == ("", len(DATA))
    assert path.read_bytes() == DATA
