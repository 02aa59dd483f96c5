"""What commands tell counts what is there, and says how much they leave out."""

from __future__ import annotations

import os
from pathlib import Path

from storaged.cli.running import SHOWN, told_once
from tests.cli.lake import Lake, typed


def test_status_counts_no_blob_that_was_discarded(lake: Lake) -> None:
    lake.policy("name: all\ntarget: {dataset: lake}\nwhen: {size_over: 1KiB}\nto: {tier: cold}\ncollections: whole\n")
    lake.fill("a.zarr/zarr.json", "a.zarr/c/0", "a.zarr/c/1")
    lake.good("plan")
    lake.write("a.zarr/c/2")
    assert lake.good("apply", "1", "--yes", "--json").json["skipped"] == 3
    assert [t["blobs"] for t in lake.good("status", "--json").json["tiers"]] == [0, 0, 0]


def test_what_was_left_as_it_is_says_how_much_is_not_listed(lake: Lake) -> None:
    lake.fill(*(f"{number}.csv" for number in range(SHOWN + 3)))
    refused = lake.ctl("undo", "lake").out
    assert f"and {SHOWN + 2} others" in refused
    assert refused.count("there is nothing to undo") == 1, "the same is said once"
    assert "others" not in lake.ctl("undo", "lake/1.csv").out
    assert "more" not in lake.ctl("undo", "lake/1.csv").out
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    assert "and 3 more: --json lists them" in lake.good("undo", "lake", "--dry-run").out


def test_what_is_said_of_few_or_is_not_the_same_is_said_of_each() -> None:
    few = [(name, "skipped", "young") for name in "abc"]
    assert told_once(few) == few
    assert told_once([*few, ("d", "failed", "young"), ("e", "skipped", "young")]) == [
        ("a", "skipped", "young"),
        ("and 3 others", "skipped", "the same"),
        ("d", "failed", "young"),
    ]


def test_where_nothing_is_proposed_quickstart_puts_no_policies_anywhere(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake/noise.bin").write_bytes(os.urandom(100_000))
    answer = typed(tmp_path / "here.yaml", "quickstart", str(tmp_path / "lake"))
    assert answer.code == 0, answer
    assert "nothing was moved" in answer.out
    assert "--write" not in answer.out


def test_nothing_is_told_about_what_is_left_of_a_library_at_the_end(lake: Lake) -> None:
    lake.fill("1.csv")
    for asked in ("ls", "verify"):
        done = lake.start("--quiet", asked, "lake")
        out, err = done.communicate(timeout=120)
        assert (done.returncode, err.decode()) == (0, ""), out
