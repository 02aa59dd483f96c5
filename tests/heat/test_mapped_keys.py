"""JSON lines of other programs, read by a mapping of their keys."""

from __future__ import annotations

import json

import pytest

from storaged.clock import DAY, to_datetime
from storaged.config.settings import load_settings
from storaged.errors import ConfigError
from storaged.work.ingest import LogSource
from tests.heat.logs import NAMES, NOW_US, event, rollups, run, seed, write

GATEWAY = {"ts": "time", "url": "path", "op": "method", "bytes": "sent", "status": "status"}
NESTED = {"ts": "ts", "url": "request.uri", "op": "request.method", "bytes": "size", "agent": "request.headers.ua"}
TIMES = "2026-05-25T12:00:00Z"


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


def ingest(catalog, logs, keys, *lines, prefix="s3://bucket"):
    write(logs / "a.log", (json.dumps(line) + "\n" if isinstance(line, dict) else line for line in lines))
    source = LogSource("reads", "jsonl", str(logs / "*"), lag_us=0, keys=keys, url_prefix=prefix)
    return run(catalog, logs, source=source)


def asked(n=0, **more):
    told = {"time": TIMES, "method": "GET", "path": f"/events/{NAMES[n]}", "sent": 5, "status": 200, "n": n}
    return {key: value for key, value in (told | more).items() if value is not None}


def test_a_gateways_own_keys_are_understood(catalog, logs):
    report = ingest(catalog, logs, GATEWAY, asked(0), asked(1, method="PUT"), asked(2, method="HEAD"))
    assert (report.counted, report.ignored, report.malformed, report.garbled) == (2, 1, 0, [])
    day = 20_598
    assert rollups(catalog) == {(NAMES[0], day): (1, 5, 0), (NAMES[1], day): (0, 0, 1)}
    assert to_datetime(day * DAY).isoformat()[:10] == TIMES[:10]


def test_keys_within_one_another_and_keys_with_dots_in_them(catalog, logs):
    lines = [
        {"ts": 1779710400.5, "request": {"method": "GET", "uri": f"/events/{NAMES[0]}?versionId=1"}, "size": 7},
        {"ts": 1779710401, "request.method": "GET", "request.uri": f"/events/{NAMES[0]}", "size": 8},
        {"ts": 1779710402, "request": {"method": "GET", "uri": "/events/x", "headers": {"ua": "storaged/1"}}},
    ]
    report = ingest(catalog, logs, NESTED, *lines)
    assert (report.counted, report.excluded, report.malformed) == (2, 1, 0)
    assert list(rollups(catalog).values()) == [(2, 15, 0)]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/events/part-0.csv", "s3://bucket"),
        ("events/part-0.csv", "s3://bucket"),
        ("/events/part-0.csv", "s3://bucket/"),
        ("/part-0.csv", "s3://bucket/events"),
        ("/bucket/events/part-0.csv", "s3://"),
        ("/events/part%2D0.csv?list-type=2&x=/", "s3://bucket"),
        ("s3://bucket/events/part-0.csv", "s3://elsewhere"),
        ("s3://bucket/events/part-0.csv", None),
    ],
)
def test_a_path_becomes_a_url(catalog, logs, path, prefix):
    assert ingest(catalog, logs, GATEWAY, asked(path=path), prefix=prefix).counted == 1


@pytest.mark.parametrize("status", [404, "403", 304, 500, 301, "-"])
def test_a_request_that_failed_is_no_read(catalog, logs, status):
    report = ingest(catalog, logs, GATEWAY, asked(0, status=status), asked(1, status=206), asked(2, status=None))
    assert (report.counted, report.ignored) == (2, 1)


@pytest.mark.parametrize(
    "ts",
    [
        *(1779710400, "1779710400", 1779710400.0, 1779710400000, 1779710400000000, 1779710400000000000),
        *("25/May/2026:14:00:00 +0200", "2026-05-25T12:00:00.000000000Z", "2026-05-25 12:00:00"),
    ],
)
def test_times_as_gateways_write_them(catalog, logs, ts):
    assert ingest(catalog, logs, GATEWAY, asked(time=ts)).counted == 1
    ((_, day),) = rollups(catalog)
    assert day == 20_598


# MUST 10
def test_the_missing_key_is_called_as_it_is_written(catalog, logs):
    lines = [asked(0), asked(1, time=None), asked(2, method=None), asked(3, path=None), asked(4, sent="x"), "GET /\n"]
    report = ingest(catalog, logs, GATEWAY, *lines)
    assert {kind.reason: kind.first.line for kind in report.malformed_kinds} == {
        "it has no `time`": 2,
        "it has no `method`": 3,
        "it has neither `path` nor `dataset` and `object`": 4,
        "its `sent` is no number of bytes": 5,
        "it is no JSON object": 6,
    }
    assert "it has no `time`" in report.garbled[0]


def test_dataset_and_object_may_be_called_otherwise(catalog, logs):
    keys = {"dataset": "bucket name", "object": "it's", "ts": "t", "op": "o"}
    line = {"t": TIMES, "o": "read", "bucket name": "events", "it's": NAMES[3]}
    assert ingest(catalog, logs, keys, line, prefix=None).counted == 1


def test_a_mapping_that_comes_later_reads_what_was_there(catalog, logs):
    lines = [asked(n) for n in range(20)]
    path = write(logs / "a.log", (json.dumps(line) + "\n" for line in lines))
    report = run(catalog, logs, source=LogSource("reads", "jsonl", str(path), lag_us=0))
    assert (report.malformed, len(report.garbled), report.coverage) == (20, 1, {})
    report = ingest(catalog, logs, GATEWAY, *lines)
    assert (report.counted, report.garbled) == (20, [])
    assert report.coverage["events"][1] == NOW_US


def test_lines_without_a_mapping_know_no_status(catalog, logs):
    write(logs / "a.log", [event(0, status=404)])
    assert run(catalog, logs).counted == 1


CONFIG = """\
catalog: sqlite:///catalog.db
tiers: {{hot: {{rank: 0, url: file:///srv/hot}}}}
heat:
  - {{name: gateway, format: {format}, path: logs/*, {more}}}
"""


def test_the_mapping_is_configured(tmp_path):
    file = tmp_path / "storaged.yaml"
    more = "keys: {ts: time, url: request.uri, op: request.method}, url_prefix: s3://bucket, max_malformed: 1%"
    file.write_text(CONFIG.format(format="jsonl", more=more))
    (source,) = load_settings(file).heat
    assert source.keys == {"ts": "time", "url": "request.uri", "op": "request.method"}
    assert (source.url_prefix, source.max_malformed) == ("s3://bucket", 0.01)


@pytest.mark.parametrize(
    ("form", "more", "says"),
    [
        ("s3-access", "keys: {ts: time}", "keys and url_prefix are for jsonl"),
        ("s3-access", "url_prefix: s3://bucket", "keys and url_prefix are for jsonl"),
        ("jsonl", "keys: {time: ts}", "time"),
        ("jsonl", "keys: {ts: ''}", "is no key"),
        ("jsonl", "keys: {ts: a..b}", "is no key"),
        ("jsonl", "keys: {ts: 'a\"b'}", "is no key"),
        ("jsonl", "url_prefix: bucket", "is no begin of a URL"),
        ("jsonl", "url_prefix: 's3://bucket?x'", "is no begin of a URL"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path, form, more, says):
    file = tmp_path / "storaged.yaml"
    file.write_text(CONFIG.format(format=form, more=more))
    with pytest.raises(ConfigError) as refused:
        load_settings(file)
    assert says in str(refused.value.problems)
