"""Lines that cannot be read: what is covered ends where they are more than a few, and each kind is shown with its
reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.schema import heat_coverage
from storaged.clock import DAY, SECOND
from storaged.work.ingest import LogSource
from storaged.work.ingest import lines as lines_module
from storaged.work.ingest.garbled import STRETCH, garbled_at
from storaged.work.ingest.known import ReadLog
from tests.heat.logs import NOW_US, event, expected, rollups, run, seed, write
from tests.heat.test_ingest_lines import MALFORMED

HOUR = 3600 * SECOND
FIRST = NOW_US - 10 * DAY  # time of event(0)
SPACING = 600 * SECOND
OTHER = '{"time": 1, "op": "GET"}\n'  # of a program that calls it otherwise


@pytest.fixture
def dialect():
    """What lines say is the same whatever database counts it; test_ingest_replay.py counts in both."""
    return "sqlite"


@pytest.fixture
def logs(catalog, tmp_path):
    seed(catalog)
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def source(logs, **more):
    settings = {"lag_us": 0, "since_us": FIRST - DAY}
    return LogSource("reads", "jsonl", str(logs / "*"), **(settings | more))


def until(catalog):
    with catalog.read() as conn:
        return conn.execute(sa.select(heat_coverage.c.until_us)).scalar_one_or_none()


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the files that were opened."""
    seen: list[str] = []
    opened = lines_module._opened

    def noted(path):
        seen.append(Path(path).name)
        return opened(path)

    monkeypatch.setattr(lines_module, "_opened", noted)
    return seen


# -- coverage ------------------------------------------------------------------------------------------------------


# MUST 10
def test_coverage_ends_where_the_lines_are_another_programs(catalog, logs):
    write(logs / "a.jsonl", [event(n) for n in range(50)] + [OTHER] * 50)
    report = run(catalog, logs, source=source(logs))
    assert (report.counted, report.malformed) == (50, 50)
    assert until(catalog) == FIRST + 49 * SPACING
    assert report.garbled == [
        f"{logs / 'a.jsonl'}: too many lines are malformed after 2026-05-17T08:10:00Z, the first one is line 51:"
        " it has no `ts`"
    ]


def test_the_lag_is_taken_off_where_the_log_was_understood(catalog, logs):
    write(logs / "a.jsonl", [event(0), event(100), OTHER])
    run(catalog, logs, source=source(logs, lag_us=5 * HOUR))
    assert until(catalog) == FIRST + 100 * SPACING - 5 * HOUR


def test_a_few_malformed_lines_end_nothing(catalog, logs):
    lines = [event(n) for n in range(95)]
    write(logs / "a.jsonl", [*lines[:30], *[OTHER] * 5, *lines[30:]])
    report = run(catalog, logs, source=source(logs))
    assert (report.malformed, report.garbled) == (5, [])
    assert until(catalog) == NOW_US


@pytest.mark.parametrize(("share", "covered"), [(0.0, False), (0.09, False), (0.1, True), (1.0, True)])
def test_how_many_is_a_setting(catalog, logs, share, covered):
    write(logs / "a.jsonl", [event(n) for n in range(9)] + [OTHER])
    run(catalog, logs, source=source(logs, max_malformed=share))
    assert until(catalog) == (NOW_US if covered else FIRST + 8 * SPACING)


def test_a_log_of_which_nothing_was_understood_extends_nothing(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    run(catalog, logs, source=source(logs), now_us=NOW_US - DAY)
    write(logs / "b.jsonl", [OTHER] * 3)
    for _ in range(2):
        report = run(catalog, logs, source=source(logs))
        assert report.coverage == {"events": (FIRST - DAY, NOW_US - DAY)}
        assert len(report.garbled) == 1


def test_a_large_log_that_changes_its_form_at_its_end_is_noticed(catalog, logs):
    write(logs / "a.jsonl", [event(n % 1_400, bytes=n) for n in range(20_000)] + [OTHER] * 60)
    run(catalog, logs, source=source(logs, since_us=FIRST), block_bytes=100_000)
    assert until(catalog) < NOW_US


def test_the_window_never_shrinks_and_goes_on_once_the_log_is_gone(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    run(catalog, logs, source=source(logs), now_us=NOW_US)
    write(logs / "b.jsonl", [event(1), OTHER])
    run(catalog, logs, source=source(logs), now_us=NOW_US + DAY)
    assert until(catalog) == NOW_US
    (logs / "b.jsonl").unlink()
    run(catalog, logs, source=source(logs), now_us=NOW_US + 2 * DAY)
    assert until(catalog) == NOW_US + 2 * DAY


# MUST 10
def test_a_garbled_log_is_remembered_as_such_and_not_read_again(catalog, logs, read):
    write(logs / "a.jsonl", [event(0), OTHER])
    first = run(catalog, logs, source=source(logs))
    read.clear()
    again = run(catalog, logs, source=source(logs))
    assert read == []
    assert again.garbled == first.garbled
    assert until(catalog) == FIRST
    run(catalog, logs, source=source(logs, max_malformed=0.5))
    assert read == ["a.jsonl"], "it is read in another way now"
    assert until(catalog) == NOW_US


def test_lines_of_a_garbled_log_count_once_though_it_is_read_again(catalog, logs):
    lines = [event(n) for n in range(20)]
    write(logs / "a.jsonl", [*lines, *[OTHER] * 20])
    run(catalog, logs, source=source(logs))
    write(logs / "a.jsonl", [*lines, *[OTHER] * 20, event(20)])
    report = run(catalog, logs, source=source(logs))
    assert (report.counted, report.duplicate, report.malformed) == (1, 20, 20)
    assert rollups(catalog) == expected([*lines, event(20)])


# MUST 10
@given(st.sets(st.integers(0, 2_999)), st.integers(1, 3_000), st.floats(0, 1))
def test_a_stretch_is_found_wherever_one_is(places, lines, share):
    malformed = np.array(sorted(place for place in places if place < lines), np.int64)
    found = garbled_at(malformed, lines, share)
    stretch = min(lines, STRETCH)
    marked = np.zeros(lines + 1, np.int64)
    marked[malformed + 1] = 1
    sums = marked.cumsum()
    most = (sums[stretch:] - sums[: lines + 1 - stretch]).max()
    assert (found is not None) == (most > int(share * stretch))


# -- reasons -------------------------------------------------------------------------------------------------------

REASONS = {
    "no JSON": "it is no JSON object",
    "cut short": "it is no JSON object",
    "two values": "it is no JSON object",
    "no object": "it is no JSON object",
    "text": "it is no JSON object",
    "NUL": "it is no JSON object",
    "NUL in JSON": "it is no JSON object",
    "not UTF-8": "it is no JSON object",
    "quotes": "it is no JSON object",
    "very long": "it is no JSON object",
    "no time": "it has no `ts`",
    "no such time": "its `ts` is no time",
    "infinity": "its `ts` is no time",
    "NaN": "its `ts` is no time",
    "a time before such logs": "its time is before 2000",
    "the future": "its time lies in the future",
    "no operation": "it has no `op`",
    "nowhere": "it has neither `url` nor `dataset` and `object`",
    "a dataset without object": "it has neither `url` nor `dataset` and `object`",
    "bytes that are none": "its `bytes` is no number of bytes",
    "negative bytes": "its `bytes` is no number of bytes",
    "absurd bytes": "its `bytes` is no number of bytes",
    "no count": "its `count` is no number of reads",
    "a count that is none": "its `count` is no number of reads",
    "absurd count": "its `count` is no number of reads",
}


def test_each_kind_is_counted_and_shown_with_its_reason(catalog, logs):
    assert REASONS.keys() == MALFORMED.keys()
    (logs / "a.log").write_bytes(b"".join(MALFORMED.values()))
    report = run(catalog, logs)
    wanted: dict[str, int] = {}
    for reason in REASONS.values():
        wanted[reason] = wanted.get(reason, 0) + 1
    assert {kind.reason: kind.lines for kind in report.malformed_kinds} == wanted
    places = {name: n + 1 for n, name in enumerate(MALFORMED)}
    for kind in report.malformed_kinds:
        first = next(name for name, reason in REASONS.items() if reason == kind.reason)
        assert (kind.first.line, kind.first.reason) == (places[first], kind.reason)


# -- logs that did not change ---------------------------------------------------------------------------------------


def test_a_log_that_did_not_change_is_not_opened(catalog, logs, read):
    lines = [event(n) for n in range(100)]
    write(logs / "a.jsonl", lines[:60])
    write(logs / "b.jsonl", lines[60:])
    run(catalog, logs)
    read.clear()
    report = run(catalog, logs, now_us=NOW_US + DAY)
    assert read == []
    assert (report.files, report.lines, report.duplicate, report.problems) == (0, 100, 100, [])
    assert report.coverage["events"] == (FIRST, NOW_US + DAY - HOUR)
    with (logs / "b.jsonl").open("a") as file:
        file.write(event(100))
    report = run(catalog, logs)
    assert read == ["b.jsonl"]
    assert (report.counted, report.duplicate) == (1, 100)


@pytest.mark.parametrize("change", ["touched", "replaced", "renamed", "cut"])
def test_what_may_have_changed_is_opened(catalog, logs, read, change):
    path = write(logs / "a.jsonl", [event(0), event(1)])
    run(catalog, logs)
    read.clear()
    if change == "touched":
        os.utime(path, ns=(1, 1))
    elif change == "replaced":
        told = path.stat()
        write(logs / "new", [event(2), event(3)])
        (logs / "new").rename(path)
        os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    elif change == "renamed":
        path.rename(logs / "b.jsonl")
    else:
        os.truncate(path, 0)
    report = run(catalog, logs)
    assert len(read) == 1
    assert report.counted == (2 if change == "replaced" else 0)


def test_an_unfinished_line_is_read_once_it_is_finished(catalog, logs, read):
    whole = event(0) + event(1)
    (logs / "a.jsonl").write_text(whole[:-10])
    run(catalog, logs)
    run(catalog, logs)
    assert len(read) == 1
    (logs / "a.jsonl").write_text(whole)
    assert run(catalog, logs).counted == 1


def test_a_path_that_is_no_text_is_read_each_time(catalog, logs, read):
    path = os.fsencode(logs) + b"/\xff.jsonl"
    Path(os.fsdecode(path)).write_text(event(0))
    write(logs / "a.jsonl", [event(1)])
    for counted in (2, 0):
        report = run(catalog, logs)
        assert (report.counted, report.problems) == (counted, [])
    assert len(read) == 3


def test_what_earlier_versions_recorded_is_understood():
    assert ReadLog.parsed("etag:1") == ReadLog("etag:1")
    read = ReadLog("a", 3, "it has no `ts`", 2, 17, "digest")
    assert ReadLog.parsed(str(read)) == read
