"""Unknown is not cold: what a source is believed to cover, and when that is left as it is."""

from __future__ import annotations

import gzip
import os

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import datasets, heat_coverage
from storaged.clock import DAY, SECOND
from storaged.work.ingest import LogSource
from tests.heat.logs import NOW_US, event, run, seed, write

HOUR = 3600 * SECOND
FIRST = NOW_US - 10 * DAY  # time of event(0)


@pytest.fixture
def logs(catalog, tmp_path):
    seed(catalog, {"events": "s3://bucket/events", "events/raw": "s3://bucket/raw", "models": "s3://bucket/models"})
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def stored(catalog):
    query = sa.select(heat_coverage.c.dataset_id, heat_coverage.c.from_us, heat_coverage.c.until_us)
    with catalog.read() as conn:
        return {number: (low, high) for number, low, high in conn.execute(query)}


def test_coverage_reaches_from_the_first_event_to_now_less_the_lag(catalog, logs):
    write(logs / "a.jsonl", [event(3), event(0), event(5)])
    report = run(catalog, logs)
    window = FIRST, NOW_US - HOUR
    assert report.coverage == {"events": window, "events/raw": window, "models": window}
    assert stored(catalog) == {1: window, 2: window, 3: window}


def test_coverage_begins_where_the_source_says_that_it_is_complete(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    source = LogSource("reads", "jsonl", str(logs / "*"), lag_us=2 * HOUR, since_us=NOW_US - 3 * DAY)
    assert run(catalog, logs, source=source).coverage["events"] == (NOW_US - 3 * DAY, NOW_US - 2 * HOUR)


def test_coverage_grows_and_never_shrinks(catalog, logs):
    write(logs / "a.jsonl", [event(5)])
    run(catalog, logs)
    write(logs / "b.jsonl", [event(0)])
    assert run(catalog, logs, now_us=NOW_US + DAY).coverage["events"] == (FIRST, NOW_US + DAY - HOUR)
    assert run(catalog, logs, now_us=NOW_US).coverage["events"] == (FIRST, NOW_US + DAY - HOUR)


def test_a_source_covers_only_the_datasets_that_it_can_tell_of(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    source = LogSource("reads", "jsonl", str(logs / "*"), datasets=("events/*", "models"))
    assert set(run(catalog, logs, source=source).coverage) == {"events/raw", "models"}


def test_a_glob_without_files_extends_nothing_and_is_a_problem(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    run(catalog, logs)
    (logs / "a.jsonl").unlink()
    (logs / "directory").mkdir()
    report = run(catalog, logs, now_us=NOW_US + DAY)
    assert report.coverage == {}
    assert "no such file" in report.problems[0]
    assert stored(catalog)[1] == (FIRST, NOW_US - HOUR)


def test_a_file_cut_short_in_its_compression_counts_what_it_has_and_extends_nothing(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    (logs / "b.gz").write_bytes(gzip.compress(event(1).encode())[:-9])
    report = run(catalog, logs)
    assert report.counted == 1
    assert report.coverage == {}
    assert report.problems[0].startswith(str(logs / "b.gz"))
    assert stored(catalog) == {}


def test_a_log_that_is_no_regular_file_is_passed_by_and_named(catalog, logs):
    os.mkfifo(logs / "pipe")
    (logs / "folder").mkdir()
    write(logs / "a.jsonl", [event(0)])
    report = run(catalog, logs)
    assert report.files == 1
    assert report.passed == [f"{logs}/pipe is a named pipe: it is not read"]


def test_a_log_without_an_event_covers_nothing(catalog, logs):
    write(logs / "a.jsonl", ["malformed\n"])
    assert run(catalog, logs).coverage == {}


def test_an_empty_log_of_a_source_that_is_known_to_be_complete_covers(catalog, logs):
    write(logs / "a.jsonl", [])
    source = LogSource("reads", "jsonl", str(logs / "*"), since_us=FIRST)
    assert run(catalog, logs, source=source).coverage["events"] == (FIRST, NOW_US - HOUR)


def test_a_dataset_that_is_registered_after_its_logs_were_read_is_covered_from_then_on(catalog, logs):
    write(logs / "a.jsonl", [event(0)])
    run(catalog, logs)
    with catalog.begin() as conn:
        registered = NOW_US + DAY
        values = {"id": 9, "name": "new", "root": "s3://bucket/new", "tier_id": 1, "registered_us": registered}
        conn.execute(sa.insert(datasets).values(**values))
    assert "new" not in run(catalog, logs, now_us=NOW_US + DAY).coverage
    coverage = run(catalog, logs, now_us=NOW_US + 2 * DAY).coverage
    assert coverage["new"] == (registered, NOW_US + 2 * DAY - HOUR)
    assert coverage["events"][0] == FIRST


def test_nothing_is_read_before_a_dataset_is_in_the_catalog(catalog, tmp_path):
    (tmp_path / "logs").mkdir()
    write(tmp_path / "logs" / "a.jsonl", [event(0)])
    report = run(catalog, tmp_path / "logs")
    assert (report.lines, len(report.problems)) == (0, 1)
    seed(catalog)
    assert run(catalog, tmp_path / "logs").counted == 1


# MUST 10
@pytest.mark.parametrize("form", ["plain", "gzip"])
def test_a_last_line_that_nobody_ends_counts_once_its_log_was_left_alone_for_the_lag(catalog, logs, form):
    path = logs / "a.jsonl"
    whole = (event(0) + event(1).removesuffix("\n")).encode()
    path.write_bytes(gzip.compress(whole) if form == "gzip" else whole)
    os.utime(path, (NOW_US / SECOND, NOW_US / SECOND))
    for age_us, counted in ((0, 1), (3_599 * SECOND, 0), (3_600 * SECOND, 1), (7_200 * SECOND, 0)):
        assert run(catalog, logs, now_us=NOW_US + age_us).counted == counted
