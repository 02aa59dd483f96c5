"""What one line of a log means, and what becomes of lines that mean nothing."""

from __future__ import annotations

import gzip
import json

import pytest

from storaged.clock import DAY, to_datetime
from storaged.errors import UsageError
from storaged.work.ingest import FORMATS, LogSource
from storaged.work.ingest import lines as lines_module
from tests.heat.logs import NOW_US, SIZE, add_objects, event, rollups, run, seed, write

TODAY = NOW_US // DAY


@pytest.fixture
def dialect():
    """What lines say is the same whatever database counts it; test_ingest_replay.py counts in both."""
    return "sqlite"


@pytest.fixture
def logs(tmp_path):
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def one(catalog, logs, line, **more):
    """Ingest one line; the report."""
    seed(catalog)
    write(logs / "a.jsonl", [line if line.endswith("\n") else line + "\n"])
    return run(catalog, logs, **more)


@pytest.mark.parametrize(
    ("ts", "day"),
    [
        ("2026-05-25T23:30:00", "2026-05-25"),
        ("2026-05-25T23:30:00Z", "2026-05-25"),
        ("2026-05-25 23:30:00.123456+00:00", "2026-05-25"),
        ("2026-05-25T23:30:00-02:00", "2026-05-26"),
        ("2026-05-26T01:00:00+0200", "2026-05-25"),
        (1779751800, "2026-05-25"),
        (1779751800.25, "2026-05-25"),
        (1779751800123, "2026-05-25"),
        ("1779751800", "2026-05-25"),
    ],
)
def test_times_are_iso_or_seconds_or_milliseconds_and_utc_unless_they_name_a_zone(catalog, logs, ts, day):
    one(catalog, logs, event(0, ts=ts))
    ((_, found),) = rollups(catalog)
    assert to_datetime(found * DAY).isoformat()[:10] == day


@pytest.mark.parametrize(
    ("op", "reads", "writes"),
    [("read", 1, 0), ("GET", 1, 0), ("get", 1, 0), ("GetObject", 1, 0), ("write", 0, 1), ("PUT", 0, 1)],
)
def test_operations_are_reads_or_writes(catalog, logs, op, reads, writes):
    assert one(catalog, logs, event(0, op=op)).counted == 1
    ((found, moved, written),) = rollups(catalog).values()
    assert (found, moved, written) == (reads, 100 * reads, writes)


def test_an_operation_that_is_neither_is_ignored_and_counted_as_such(catalog, logs):
    report = one(catalog, logs, event(0, op="HEAD") + "\n" + event(1))
    assert (report.lines, report.ignored, report.counted) == (3, 2, 1)


@pytest.mark.parametrize(
    ("more", "reads", "moved"),
    [
        ({"bytes": 5}, 1, 5),
        ({"bytes": 0}, 1, 0),
        ({"bytes": None}, 1, SIZE),
        ({"bytes": None, "count": 3}, 3, 3 * SIZE),
        ({"bytes": 7, "count": 3}, 3, 7),
        ({"bytes": "12", "count": "2"}, 2, 12),
    ],
)
def test_bytes_are_of_all_reads_of_the_line_and_by_default_the_whole_object_each(catalog, logs, more, reads, moved):
    one(catalog, logs, event(0, **more))
    assert list(rollups(catalog).values()) == [(reads, moved, 0)]


MALFORMED = {
    "no JSON": b"GET /events/part-0.csv\n",
    "cut short": event(0)[:40].encode() + b"\n",
    "two values": event(0).strip().encode() * 2 + b"\n",
    "no object": b"[1, 2]\n",
    "text": b'"text"\n',
    "NUL": b"\x00\x00\n",
    "NUL in JSON": event(0).encode()[:-3] + b"\x00}\n",
    "not UTF-8": b"\xff\xfe{\n",
    "quotes": b'"""\n',
    "very long": b"x" * 3_000_000 + b"\n",
    "no time": event(0, ts=None).encode(),
    "no such time": event(0, ts="2026-13-45").encode(),
    "infinity": event(0, ts="infinity").encode(),
    "NaN": event(0, ts="nan").encode(),
    "a time before such logs": event(0, ts="1999-12-31T23:59:59Z").encode(),
    "the future": event(0, ts=(NOW_US + DAY) // 10**6 + 1).encode(),
    "no operation": event(0, op=None).encode(),
    "nowhere": event(0, url=None).encode(),
    "a dataset without object": event(0, url=None, dataset="events").encode(),
    "bytes that are none": event(0, bytes="many").encode(),
    "negative bytes": event(0, bytes=-1).encode(),
    "absurd bytes": event(0, bytes=2**62).encode(),
    "no count": event(0, count=0).encode(),
    "a count that is none": event(0, count=[1]).encode(),
    "absurd count": event(0, count=10**30).encode(),
}


@pytest.mark.parametrize("packed", [False, True])
def test_malformed_lines_are_counted_and_shown_and_never_stop_the_others(catalog, logs, packed):
    seed(catalog)
    data = b"".join(line + event(n).encode() for n, line in enumerate(MALFORMED.values()))
    path = logs / "a.log"
    path.write_bytes(gzip.compress(data) if packed else data)
    report = run(catalog, logs)
    assert (report.malformed, report.counted) == (len(MALFORMED), len(MALFORMED))
    assert [sample.line for sample in report.malformed_samples] == list(range(1, 20, 2))
    assert str(report.malformed_samples[0]) == f"{path}:1: GET /events/part-0.csv"
    assert all(sample.text.isprintable() for sample in report.malformed_samples)
    assert sum(reads for reads, _, _ in rollups(catalog).values()) == len(MALFORMED)


@pytest.mark.parametrize("name", MALFORMED)
def test_each_malformed_line_is_known_as_such(catalog, logs, name):
    seed(catalog)
    (logs / "a.log").write_bytes(MALFORMED[name])
    report = run(catalog, logs)
    assert (report.lines, report.malformed) == (1, 1)


def test_an_agent_that_is_no_utf8_harms_no_line(catalog, logs):
    seed(catalog)
    (logs / "a.log").write_bytes(event(0, agent="X").encode().replace(b'"X"', b'"\xff\xfe"') + event(1).encode())
    assert run(catalog, logs).counted == 2


def test_windows_line_ends_are_fine(catalog, logs):
    seed(catalog)
    (logs / "a.log").write_bytes(b"".join(event(n).encode().replace(b"\n", b"\r\n") + b"\r\n" for n in range(3)))
    report = run(catalog, logs)
    assert (report.counted, report.ignored) == (3, 3)


def test_our_own_requests_in_another_log_are_left_out(catalog, logs):
    assert one(catalog, logs, event(0, agent="storaged/1.0 s3fs") + event(1, agent="not storaged")).excluded == 1
    assert sum(reads for reads, _, _ in rollups(catalog).values()) == 1


def test_objects_that_the_catalog_does_not_have_are_counted_and_named(catalog, logs):
    lines = [
        event(0, url="s3://bucket/events/no-such.csv"),
        event(1, url="s3://elsewhere/events/part-0.csv"),
        event(2, url="s3://bucket/events%00/part-0.csv"),
        event(3, url="s3://bucket/events/%ff"),
        event(4, url=None, dataset="other", object="part-0.csv"),
        event(5, url="s3://bucket/events2/part-0.csv"),
        event(6),
    ]
    report = one(catalog, logs, "".join(lines))
    assert (report.unknown, report.counted) == (6, 1)
    assert len(report.unknown_samples) == 6
    assert report.unknown_samples[0] == "events/no-such.csv"


def test_urls_are_of_the_dataset_with_the_longest_root(catalog, logs):
    roots = {
        "all": "s3://bucket",
        "events": "s3://bucket/events",
        "local": "file:///srv/my data",
        "other": "memory://name",
        "odd": "s3://bucket/it's",
    }
    seed(catalog, roots)
    with catalog.begin() as conn:
        add_objects(conn, 1, ["a.csv"])
        add_objects(conn, 2, ["b c.csv", "Ä.csv"])
        add_objects(conn, 3, ["d%.csv"])
        add_objects(conn, 4, ["e%20.csv"])
        add_objects(conn, 5, ["f.csv"])
    urls = [
        "s3://bucket/a.csv",
        "s3://bucket/events/b%20c.csv",
        "s3://bucket/events/b c.csv",
        "s3://bucket/events/%C3%84.csv",
        "file:///srv/my%20data/d%25.csv",
        "/srv/my data/d%.csv",
        "memory://name/e%20.csv",
        "s3://bucket/it's/f.csv",
    ]
    write(logs / "a.jsonl", (event(0, url=url, count=n + 1) for n, url in enumerate(urls)))
    report = run(catalog, logs)
    assert (report.counted, report.unknown) == (8, 0)
    found = {name: reads for (name, _), (reads, _, _) in rollups(catalog).items()}
    assert found == {"a.csv": 1, "b c.csv": 2 + 3, "Ä.csv": 4, "d%.csv": 5 + 6, "e%20.csv": 7, "f.csv": 8}


def test_dataset_and_object_name_an_object_too(catalog, logs):
    assert one(catalog, logs, event(0, url=None, dataset="events", object="part-3.csv")).counted == 1
    assert [name for name, _ in rollups(catalog)] == ["part-3.csv"]


def test_counts_that_no_column_holds_stay_at_a_bound(catalog, logs):
    seed(catalog)
    write(logs / "a.jsonl", (event(n * 7, bytes=2**50, count=2**31, ts=1779751800 + n) for n in range(200)))
    run(catalog, logs)
    ((reads, moved, _),) = rollups(catalog).values()
    assert reads == 200 * 2**31
    assert 2**50 < moved < 2**62


def test_an_endless_line_is_no_log(catalog, logs, monkeypatch):
    monkeypatch.setattr(lines_module, "LONGEST_LINE", 10_000)
    seed(catalog)
    (logs / "a.log").write_bytes(b"x" * 20_001)
    report = run(catalog, logs, block_bytes=5_000)
    assert report.lines == 0
    assert "no log line" in report.problems[0]


def test_an_unknown_format_is_refused_with_the_known_ones(catalog, logs):
    with pytest.raises(UsageError) as refused:
        run(catalog, logs, source=LogSource("reads", "json", "x"))
    assert "jsonl" in str(refused.value.hint)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_registered_under_its_own_name(name):
    assert FORMATS[name].name == name


def test_the_documented_example_is_an_event(catalog, logs):
    seed(catalog)
    from storaged.work.ingest import jsonl

    examples = [line.strip() for line in jsonl.__doc__.splitlines() if line.strip().startswith("{")]
    assert len(examples) == 2
    assert all(json.loads(line) for line in examples)
    write(logs / "a.jsonl", (f"{line}\n" for line in examples))
    report = run(catalog, logs)
    assert (report.lines, report.unknown) == (2, 2)
