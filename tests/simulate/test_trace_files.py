"""Traces from files: whatever the form, the same arrays; and what cannot be is said in plain words."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from storaged.errors import UsageError
from storaged.testing.servers import MotoServer
from storaged.work.money.trace import read_trace

DAY = 86_400
ROWS: list[dict[str, Any]] = [
    {"ts": 3 * DAY + 5, "object_id": "b", "op": "read", "size_bytes": None, "count": 2, "bytes": None},
    {"ts": 1 * DAY + 9, "object_id": "a", "op": "write", "size_bytes": 100, "count": 7, "bytes": 9999},
    {"ts": 3 * DAY - 1, "object_id": "a", "op": "read", "size_bytes": 400, "count": 3, "bytes": 50},
    {"ts": 2 * DAY, "object_id": "a", "op": "read", "size_bytes": 300, "count": None, "bytes": None},
    {"ts": 5 * DAY, "object_id": "b", "op": "write", "size_bytes": 1 << 40, "count": 1, "bytes": None},
    {"ts": 4 * DAY, "object_id": "b", "op": "read", "size_bytes": 5, "count": 0, "bytes": 10},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path) if path.suffix == ".parquet" else pacsv.write_csv(table, path)
    return str(path)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "a 'q' [*].csv", "a[1]?.parquet"])
def test_a_trace_is_added_up_by_object_and_day(tmp_path: Path, name: str) -> None:
    """Sizes are the largest known, a count left out is 1, bytes left out are whole reads, writes only create."""
    trace = read_trace(write(tmp_path / name, ROWS))
    assert trace.days == 5
    assert trace.created.tolist() == [0, 2]
    assert trace.sizes.tolist() == [400, 1 << 40]
    assert trace.starts.tolist() == [0, 1, 2]
    assert trace.read_day.tolist() == [1, 2]
    assert trace.reads.tolist() == [4, 2]
    assert trace.read_bytes.tolist() == [50 + 400, 2 << 40]


def test_count_and_bytes_may_be_missing_and_ids_be_numbers(tmp_path: Path) -> None:
    rows = [{"ts": 0.5, "object_id": n, "op": "read", "size_bytes": 10 * n} for n in (1, 2, 2)]
    trace = read_trace(write(tmp_path / "t.parquet", rows))
    assert (trace.days, trace.reads.tolist(), trace.read_bytes.tolist()) == (1, [1, 2], [10, 40])


def test_ids_are_text_in_csv_whatever_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ts,object_id,op,size_bytes\n0,01,read,1\n0,1,read,1\n")
    assert read_trace(str(path)).objects == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"op": "GET"}, "`op` of 1 of 6 rows cannot be, such as 'GET'"),
        ({"op": None}, "`op` of 1 of 6 rows cannot be, such as nothing"),
        ({"object_id": None}, "`object_id` of 1"),
        ({"ts": None}, "`ts` of 1"),
        ({"size_bytes": -1}, "`size_bytes` of 1 of 6 rows cannot be, such as '-1'"),
        ({"count": -2}, "`count` of 1"),
        ({"bytes": -2}, "`bytes` of 1"),
        ({"ts": 1_790_000_000_000}, "`ts` is in seconds"),
    ],
)
@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_values_that_cannot_be_are_counted_with_an_example(
    tmp_path: Path, name: str, change: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / name, [ROWS[0] | change, *ROWS[1:]])
    with pytest.raises(UsageError) as caught:
        read_trace(str(path))
    assert words in f"{caught.value.message} ({caught.value.hint})"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("ts,object_id,op,size_bytes\n", "is empty"),
        ("ts,object_id,size_bytes\n0,a,1\n", "has no column op"),
        ("ts,object_id,op,size_bytes\n0,a,read,\n0,b,read,1\n", "size of 1 of its objects, such as 'a'"),
        ("ts,object_id,op,size_bytes\nyesterday,a,read,1\n", "`ts` of 1 of 1 rows cannot be, such as 'yesterday'"),
        ("ts,object_id,op,size_bytes,count\n0,a,read,1,many\n", "`count` of 1 of 1 rows"),
        ("ts,object_id,op,size_bytes\n0,a,read,9000000000000000000\n", "`size_bytes` of 1"),
    ],
)
def test_files_that_are_no_traces_are_told_from_those_that_are(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_trace(str(path))
    assert words in caught.value.message


def test_a_missing_file_a_directory_and_a_broken_one_are_errors_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"PAR1 and no more")
    for name in ("nowhere", "", "broken"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_trace(str(tmp_path / name))


@pytest.fixture
def aws(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server as other programs find theirs: by variables."""
    for name, value in {"ENDPOINT_URL": moto.endpoint, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_trace_may_lie_in_a_bucket_or_behind_another_url(
    tmp_path: Path, aws: None, s3_user: Any, bucket: str, name: str
) -> None:
    path = write(tmp_path / name, ROWS)
    s3_user.upload_file(path, bucket, f"traces/{name}")
    wanted = read_trace(path).read_bytes.tolist()
    for url in (f"s3://{bucket}/traces/{name}", f"file://{path}"):
        assert read_trace(url).read_bytes.tolist() == wanted


def test_what_no_url_leads_to_is_an_error_of_the_user(aws: None, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "nothing is there"
    for url, why in {
        f"s3://{bucket}/nowhere.csv": nowhere,
        "s3://no-such-bucket/t.csv": nowhere,
        "file:///nowhere": nowhere,
        "smoke://signals/t.csv": "Protocol not known",
    }.items():
        with pytest.raises(UsageError, match=f"the trace {url} cannot be read: {why}") as caught:
            read_trace(url)
        assert ("AWS_PROFILE" in str(caught.value.hint)) is url.startswith("s3://")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match="nobody"):
        read_trace(f"s3://{bucket}/t.csv")


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", [ROWS[1] | {"ts": dt.time(12, 30)}])
    with pytest.raises(UsageError, match=r"column ts .* has the type TIME"):
        read_trace(str(path))


def _told(times: list[object], directory: Path) -> tuple[list[int], list[str]]:
    """On which days a trace with these times has reads, and what is said of it."""
    said: list[str] = []
    if all(isinstance(time, str) for time in times):
        path = directory / "t.csv"
        path.write_text("ts,object_id,op,size_bytes\n" + "".join(f"{time},a,read,1\n" for time in times))
    else:
        rows = [{"ts": time, "object_id": "a", "op": "read", "size_bytes": 1, "count": 1, "bytes": 1} for time in times]
        write(path := directory / "t.parquet", rows)
    trace = read_trace(str(path), on_note=said.append)
    return trace.read_day.tolist(), said


def test_instants_may_be_as_iso_8601_writes_them(tmp_path: Path) -> None:
    """With an offset it counts, without one it is UTC; columns of instants need no text; seconds may stand beside."""
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    texts = ["2026-01-01T00:00:00Z", "2026-01-02 01:30:00+02:00", "2026-01-02", "2026-01-03T23:59:59.999999"]
    assert _told([*texts, "2026-01-03T23:30:00-0100", str(int(day.timestamp()) + 5 * 86400)], tmp_path) == (
        [0, 1, 2, 3, 5],
        [],
    )
    assert _told([day, day + dt.timedelta(days=4, seconds=-1)], tmp_path) == ([0, 3], [])
    assert _told([day.date(), day.date() + dt.timedelta(days=2)], tmp_path) == ([0, 2], [])
    assert _told([time.replace(tzinfo=None) for time in (day, day + dt.timedelta(days=1))], tmp_path) == ([0, 1], [])


@pytest.mark.parametrize(("unit", "name"), [(10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")])
def test_smaller_units_are_noticed_and_said(tmp_path: Path, unit: int, name: str) -> None:
    """As numbers and as text; what could be seconds is taken as that, and what spans a century is refused."""
    times = [1_790_000_000 * unit, (1_790_000_000 + 3 * 86400) * unit]
    for some in (times, list(map(str, times))):
        days, (said,) = _told(list(some), tmp_path)
        assert days == [0, 3]
        assert f"in {name}: taken as that" in said
    with pytest.raises(UsageError) as caught:
        _told([0, 40_000 * 86400], tmp_path)
    assert "milliseconds?" in str(caught.value.hint)


def test_names_tell_formats_where_they_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{n},{name},read,1" for n, name in enumerate(("a.csv", "b.CSV.gz", "x/c.parquet", "7", "d.csv"))]
    path.write_text("ts,object_id,op,size_bytes\n" + "\n".join(rows) + "\n")
    trace = read_trace(str(path), formats=True)
    assert trace.format is not None
    names = sorted(("a.csv", "b.CSV.gz", "x/c.parquet", "7", "d.csv"))
    kinds = ["", "csv", "csv", "csv", "parquet"]
    assert dict(zip(names, [trace.formats[n] for n in trace.format], strict=True)) == dict(
        zip(names, kinds, strict=True)
    )
    assert read_trace(str(path)).format is None
