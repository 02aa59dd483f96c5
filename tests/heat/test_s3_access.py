"""Server access logs of S3: every field, every odd line, and what counts as a read."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.clock import DAY, to_datetime
from storaged.work.ingest import FORMATS, LogSource
from storaged.work.ingest.s3_access import FIELDS, LATER_FIELDS, OPERATIONS, SUCCEEDED, fields
from tests.heat.logs import NOW_US, SIZE, add_objects, rollups, run, seed
from tests.laws import tries

DOCS = Path(__file__).parents[2] / "docs" / "access-logs.md"
ROLE = "arn:aws:sts::123456789012:assumed-role/etl/i-0345"
WHEN = f"{to_datetime(NOW_US - DAY):%d/%b/%Y:%H:%M:%S} +0000"
DEFAULTS = {
    "bucket_owner": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be",
    "bucket": "bucket",
    "time": WHEN,
    "remote_ip": "192.0.2.3",
    "requester": ROLE,
    "request_id": "3E57427F33A59F07",
    "operation": "REST.GET.OBJECT",
    "key": "events/part-0.csv",
    "request_uri": '"GET /events/part-0.csv?x-id=GetObject HTTP/1.1"',
    "http_status": "200",
    "error_code": "-",
    "bytes_sent": "113",
    "object_size": "4096",
    "total_time": "27",
    "turn_around_time": "13",
    "referer": '"-"',
    "user_agent": '"Boto3/1.26.90 Python/3.10.6"',
    "version_id": "3HL4kqtJvjVBH40Nrjfkd",
    "host_id": "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234=",
    "signature_version": "SigV4",
    "cipher_suite": "ECDHE-RSA-AES128-GCM-SHA256",
    "authentication_type": "AuthHeader",
    "host_header": "bucket.s3.us-west-1.amazonaws.com",
    "tls_version": "TLSv1.2",
    "access_point_arn": "arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP",
    "acl_required": "Yes",
    "source_region": "us-east-1",
}


@pytest.fixture
def dialect():
    """What lines say is the same whatever database counts it; test_ingest_replay.py counts in both."""
    return "sqlite"


def record(**told: str) -> str:
    """A line as S3 writes it."""
    values = DEFAULTS | told
    values["time"] = f"[{values['time']}]"
    return " ".join(values.values()) + "\n"


COPIED = (  # as S3 logs the source of a copy
    f"79a5 bucket [{WHEN}] 85.113.244.146 {ROLE} 71F7D2AAA93B0A05 REST.COPY.OBJECT_GET events/part-0.csv"
    " - 200 - - 13538337 - - - - -\n"
)
CEPH = (
    f'testid bucket [{WHEN}] - testid 9e36.4179.70 REST.GET.OBJECT events/part-0.csv "GET /b/p HTTP/1.1" 200 - - 512'
    " - 4ms - - - - - - - localhost - -\n"
)
CEPH_WITH_AGENT = CEPH.replace("4ms - -", '4ms - "curl/8"')
LIFECYCLE = f"79a5 bucket [{WHEN}] - AmazonS3 71F7 S3.EXPIRE.OBJECT events/part-0.csv - - - - 13538337 - - - - - -\n"
DELETED = (
    f"79a5 bucket [{WHEN}] 192.0.2.3 {ROLE} 71F7 BATCH.DELETE.OBJECT events/part-0.csv - 204 - - 178 - - - - -"
    " h= SigV4 c AuthHeader h TLSv1.2 - -\n"
)


@pytest.fixture
def ingested(catalog, tmp_path):
    """A function that ingests lines of s3-access."""
    seed(catalog)
    directory = tmp_path / "logs"
    directory.mkdir()

    def work(*lines, **more):
        (directory / "log").write_bytes(b"".join(x if isinstance(x, bytes) else x.encode() for x in lines))
        return run(catalog, directory, source=LogSource("s3", "s3-access", str(directory / "*"), **more))

    return work


def parsed(*lines):
    """All fields of each line, as the format's own SQL takes them apart."""
    with duckdb.connect() as connection:
        connection.register("lines", pa.table({"i": range(len(lines)), "line": [x.rstrip("\n") for x in lines]}))
        rows = connection.execute(f"SELECT {fields('line', *FIELDS, 'later')} FROM lines ORDER BY i").fetchall()
    told = []
    for (row,) in rows:
        later = row.pop("later").split(" ")
        told.append(row | dict(zip(LATER_FIELDS, later, strict=False)))
    return told


def test_every_documented_field_is_read(catalog, ingested):
    assert [*FIELDS, *LATER_FIELDS] == list(DEFAULTS)
    assert parsed(record()) == [DEFAULTS]


def test_older_lines_lack_later_fields_and_newer_ones_have_more(ingested):
    line = record()
    shorter = [" ".join(line.split(" ")[:-n]) + "\n" for n in range(1, 10)]
    assert parsed(*shorter)[0]["acl_required"] == "Yes"
    assert "host_id" not in parsed(shorter[-1])[0] or not parsed(shorter[-1])[0]["host_id"]
    assert ingested(*shorter, line.replace("us-east-1", "us-east-1 more fields")).counted == 10


@pytest.mark.parametrize(
    "name", [name for name in DEFAULTS if name not in ("time", "operation", "http_status", "bytes_sent", "bucket")]
)
def test_any_field_may_be_unknown(ingested, name):
    report = ingested(record(**{name: "-"}))
    assert (report.counted, report.malformed) == ((0, 1) if name == "key" else (1, 0))


QUOTED = [
    {"user_agent": '"a "b" c"'},
    {"user_agent": '"odd"'},
    {"user_agent": '"""'},
    {"user_agent": '"a b"c"'},
    {"user_agent": '""'},
    {"referer": '"http://x/?q="a" b"'},
    {"referer": '"http://x/"a""', "user_agent": '"storage "d/"'},
    {"request_uri": '"GET /events/part-0.csv?q="a" HTTP/1.1"'},
    {"request_uri": '"GET /events/"200"-"5" HTTP/1.1"'},
    {"request_uri": '"-"'},
    {"request_uri": '"GET /events/part-0.csv"'},
    {"user_agent": '"\'; DROP TABLE objects; --"'},
    {"user_agent": '"Mozilla/5.0 (Ümläut) 🦆"'},
]


@pytest.mark.parametrize("odd", QUOTED)
def test_quotes_and_spaces_of_clients_shift_nothing(catalog, ingested, odd):
    ingested(record(**odd))
    assert list(rollups(catalog).values()) == [(1, 113, 0)]


text = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=30)
no_space = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@tries(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(agent=text, target=no_space)
def test_whatever_clients_write_the_fields_before_the_referer_are_read_right(agent, target):
    line = record(request_uri=f'"GET /{target} HTTP/1.1"', user_agent=f'"{agent}"')
    with duckdb.connect() as connection:
        connection.register("lines", pa.table({"i": [0], "line": [line]}))
        connection.execute("SET TimeZone = 'UTC'")
        query = f"SELECT at_us, url, op, nbytes FROM ({FORMATS['s3-access'].select})"
        assert connection.execute(query).fetchall() == [
            ((NOW_US - DAY) // 10**6 * 10**6, "s3://bucket/events/part-0.csv", "read", 113)
        ]


@tries(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(text, st.sampled_from([record(), CEPH, COPIED])), max_size=4), st.data())
def test_no_line_whatever_it_holds_raises(lines, data):
    cut = [line[: data.draw(st.integers(0, len(line)))] + data.draw(text) for line in lines]
    with duckdb.connect() as connection:
        connection.register("lines", pa.table({"i": range(len(cut)), "line": pa.array(cut, pa.string())}))
        assert len(connection.execute(FORMATS["s3-access"].select).fetchall()) <= len(cut)


def test_the_documented_table_is_what_counts():
    rows = re.findall(r"^\| `(\S+)` \| (read|write) \|$", DOCS.read_text(), re.MULTILINE)
    assert dict(rows) == OPERATIONS


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_that_succeed_count(catalog, ingested, operation):
    ingested(record(operation=operation))
    reads, _, writes = next(iter(rollups(catalog).values()))
    assert (reads, writes) == ((1, 0) if OPERATIONS[operation] == "read" else (0, 1))


IGNORED = [
    "REST.HEAD.OBJECT", "REST.PUT.PART", "REST.COPY.PART", "REST.DELETE.OBJECT", "REST.POST.RESTORE",
    "REST.GET.BUCKET", "REST.GET.OBJECT_TAGGING", "REST.POST.MULTI_OBJECT_DELETE", "REST.POST.UPLOADS",
]  # fmt: skip


@pytest.mark.parametrize("operation", IGNORED)
def test_other_operations_are_ignored(ingested, operation):
    assert ingested(record(operation=operation)).ignored == 1
    assert operation not in OPERATIONS


@pytest.mark.parametrize("line", [LIFECYCLE, DELETED, record(operation="REST.GET.BUCKET", key="-")])
def test_lifecycle_deletes_and_what_has_no_key_are_ignored(ingested, line):
    report = ingested(line)
    assert (report.ignored, report.malformed) == (1, 0)


@pytest.mark.parametrize("status", ["200", "206", "304", "307", "400", "403", "404", "412", "416", "500", "503", "-"])
def test_only_what_succeeded_counts(ingested, status):
    report = ingested(record(http_status=status))
    assert (report.counted, report.ignored) == ((1, 0) if status in SUCCEEDED else (0, 1))


@pytest.mark.parametrize(
    ("line", "moved"),
    [
        (record(http_status="206", bytes_sent="7"), 7),
        (record(http_status="206", bytes_sent="-"), 0),
        (record(bytes_sent="-"), SIZE),
        (record(bytes_sent="99999"), 99_999),
        (COPIED, SIZE),
        (record(operation="REST.COPY.PART_GET", bytes_sent="-"), 0),
        (CEPH, SIZE),
        (CEPH_WITH_AGENT, SIZE),
    ],
)
def test_ranged_reads_add_their_bytes_and_whole_ones_of_unknown_length_the_objects_size(catalog, ingested, line, moved):
    ingested(line)
    assert list(rollups(catalog).values()) == [(1, moved, 0)]


MALFORMED = {
    "cut short": record()[:150] + "\n",
    "cut in its status": record().split('1" 200')[0] + '1" 2\n',
    "no time": record(time="yesterday"),
    "no such day": record(time="31/Feb/2026:00:00:00 +0000"),
    "the future": record(time="31/Dec/2126:00:00:00 +0000"),
    "bytes that are none": record(bytes_sent="many"),
    "negative bytes": record(bytes_sent="-7"),
    "absurd bytes": record(bytes_sent="9" * 25),
    "status that is none": record(http_status="okay"),
    "JSON": '{"ts": 1}\n',
    "quotes": '"""""""\n',
    "NUL": "\0\n",
    "not UTF-8": b"\xff\xfe \xff\n",
    "very long": "x" * 3_000_000 + "\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_each_malformed_line_is_counted_and_shown_and_harms_no_other(ingested, name):
    report = ingested(record(), MALFORMED[name], record(request_id="other"))
    assert (report.counted, report.malformed) == (2, 1)
    assert report.malformed_samples[0].line == 2


def test_an_agent_that_is_no_utf8_harms_no_line(ingested):
    assert ingested(record().encode().replace(b"Boto3", b"\xff\xfe"), record(request_id="2")).counted == 2


def test_blank_lines_and_windows_line_ends_are_fine(catalog, ingested):
    ingested(record().replace("\n", "\r\n"), "\n", "\r\n", CEPH.replace("\n", "\r\n"))
    assert list(rollups(catalog).values()) == [(2, 113 + SIZE, 0)]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("events/a%2520b.csv", "a b.csv"),
        ("events/a%2Bb.csv", "a+b.csv"),
        ("events/a+b.csv", "a+b.csv"),
        ("events/100%252525.csv", "100%25.csv"),
        ("events/%25F0%259F%25A6%2586", "🦆"),
        ("events/dt%253D2026-01-01/x", "dt=2026-01-01/x"),
        ("events//x", "/x"),
        ("events/a%2522b", 'a"b'),
    ],
)
def test_keys_are_decoded_twice(catalog, ingested, key, name):
    with catalog.begin() as conn:
        add_objects(conn, 1, [name])
    ingested(record(key=key))
    assert [found for found, _ in rollups(catalog)] == [name]


def test_keys_that_ceph_leaves_as_they_are_may_have_spaces(catalog, ingested):
    with catalog.begin() as conn:
        add_objects(conn, 1, ["a b  c.csv"])
    ingested(CEPH.replace("part-0.csv", "a b  c.csv", 1))
    assert [found for found, _ in rollups(catalog)] == ["a b  c.csv"]


@pytest.mark.parametrize("zone", ["+0000", "+0200", "-0730"])
def test_times_are_of_the_lines_own_zone(catalog, ingested, zone):
    ingested(record(time=f"{to_datetime(NOW_US - 2 * DAY):%d/%b/%Y}:23:30:00 {zone}"))
    ((_, day),) = rollups(catalog)
    assert day == NOW_US // DAY - 2 + (zone == "-0730")


def test_our_own_agent_and_role_do_not_count(ingested):
    lines = [
        record(user_agent='"storaged/0.1 Boto3"'),
        record(user_agent='"storaged/0.1 "odd" Boto3"'),
        record(user_agent='"storagedish"', request_id="1"),
        record(requester="arn:aws:sts::123456789012:assumed-role/storaged/i-1"),
        record(requester="arn:aws:sts::999999999999:assumed-role/any/i-1"),
        COPIED.replace("assumed-role/etl", "assumed-role/storaged"),
        record(request_id="2"),
    ]
    ours = ("arn:aws:sts::*:assumed-role/storaged/*", "arn:aws:*::999999999999:*", "it's")
    report = ingested(*lines, exclude_requesters=ours)
    assert (report.excluded, report.counted) == (5, 2)


def test_events_may_be_a_day_late(ingested):
    earlier = f"{to_datetime(NOW_US - 3 * DAY):%d/%b/%Y:%H:%M:%S} +0000"
    assert ingested(record(time=earlier)).coverage["events"] == (NOW_US - 3 * DAY, NOW_US - DAY)
