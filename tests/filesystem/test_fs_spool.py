"""Every read is counted once, with the bytes that reached its reader."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import access, objects
from storaged.clock import SystemClock
from storaged.work.ingest.reads import ingest_spool
from tests.filesystem.lake import FORMS, Lake
from tests.life.world import text

MIB = 1 << 20


@pytest.mark.parametrize("form", FORMS)
def test_a_closed_file_is_one_read_of_the_bytes_that_were_delivered(lake: Lake, form: str) -> None:
    lake.add({"a.csv": text("a", 2 * MIB)}, form)
    with lake.fs.open("lake/a.csv") as file:
        file.read(10)
        file.seek(MIB)
        file.read(20)
        file.readinto(bytearray(5))
        assert lake.spooled() == []
    file.close()
    assert lake.spooled() == [("lake/a.csv", 35)]


def test_a_file_that_is_dropped_without_a_close_is_counted_at_once(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789"})
    gc.disable()
    try:
        lake.fs.open("lake/a.csv").read(3)
        assert lake.spooled() == [("lake/a.csv", 3)]
    finally:
        gc.enable()


def test_a_file_that_nobody_closes_is_counted_when_the_process_ends(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789"})
    lake.fs.close()
    code = (
        "import sys; from storaged.filesystem import StoragedFileSystem as F\n"
        "fs = F(sys.argv[1]); fs.cat_file('lake/a.csv', 0, 1); file = fs.open('lake/a.csv'); file.read(3)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(lake.config)], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert sorted(lake.spooled()) == [("lake/a.csv", 1), ("lake/a.csv", 3)]


def test_lines_count_what_they_hold(lake: Lake) -> None:
    content = text("a", 100_000)
    lake.add({"a.csv": content})
    with lake.fs.open("lake/a.csv") as file:
        line = next(file)
    with lake.fs.open("lake/a.csv", "r") as file:
        assert len(list(file)) > 100
    assert lake.spooled() == [("lake/a.csv", len(line)), ("lake/a.csv", len(content))]


def test_one_call_is_one_read_of_each_object(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789", "b.csv": b"x", "empty": b""})
    lake.fs.cat_file("lake/a.csv", 2, 5)
    lake.fs.cat_ranges(["lake/a.csv", "lake/b.csv", "lake/a.csv"], [0, 0, 5], [2, 1, 9])
    lake.fs.cat(["lake/b.csv", "lake/empty"])
    assert sorted(lake.spooled()) == [
        ("lake/a.csv", 3), ("lake/a.csv", 6), ("lake/b.csv", 1), ("lake/b.csv", 1), ("lake/empty", 0),
    ]  # fmt: skip


def test_looking_and_failing_are_no_reads(lake: Lake) -> None:
    lake.add({"a.csv": b"a"})
    lake.fs.info("lake/a.csv")
    lake.fs.ls("lake")
    with pytest.raises(FileNotFoundError):
        lake.fs.cat_file("lake/b.csv")
    assert lake.spooled() == []


def test_reads_reach_the_catalog_through_an_ingest(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789"}, "zstd")
    before = SystemClock().now_us()
    for end in (4, 5):
        lake.fs.cat_file("lake/a.csv", 0, end)
    lake.fs.close()
    now = SystemClock().now_us()
    report = ingest_spool(lake.catalog, lake.settings.state_dir, now_us=now, half_life_us=lake.settings.half_life)
    assert (report.counted, report.malformed, report.unknown) == (2, 0, 0)
    with lake.catalog.read() as conn:
        counts = conn.execute(sa.select(sa.func.sum(access.c.reads), sa.func.sum(access.c.read_bytes))).one()
        last = conn.execute(sa.select(objects.c.last_read_us)).scalar_one()
    assert tuple(counts) == (2, 9)
    assert before <= last <= now


def test_a_spool_that_cannot_be_written_breaks_no_read_and_is_told_once(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    lake.add({"a.csv": b"0123456789"})
    (lake.place / "state" / "spool").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert lake.fs.cat_file("lake/a.csv") == b"0123456789"
    assert [r.levelname for r in caplog.records if "not counted" in r.message] == ["WARNING"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_counts_in_a_file_of_its_own(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789"})
    lake.fs.cat_file("lake/a.csv", 0, 1)
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        try:
            lake.fs.cat_file("lake/a.csv", 0, 2)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    lake.fs.cat_file("lake/a.csv", 0, 3)
    assert sorted(lake.spooled()) == [("lake/a.csv", n) for n in (1, 2, 3)]
    assert len(list((lake.place / "state" / "spool").glob("*.jsonl"))) == 2
