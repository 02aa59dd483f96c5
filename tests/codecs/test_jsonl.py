"""Lines of JSON objects as Parquet files of typed columns: what every codec must do, and what only they have."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from storaged.codecs.parquet import block
from storaged.codecs.parquet.codec import Parquet
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, BytesReader, encoded
from tests.codecs.jsonl_files import lines_of
from tests.codecs.text_files import back
from tests.laws import LONG

CODEC = Parquet()


class TestJsonLines(CheckedCodecContract):
    codec = Parquet()
    sampled = 2 * MIB
    endless = ("tests.codecs.jsonl_files", "Lines")
    much = (512 if LONG else 160) * MIB
    memory = 440 * MIB  # two blocks of a text, each several times: its tokens, its columns, its text again

    def taken(self, data: bytes) -> bytes:
        return lines_of(data)


def text(rows: list[Any], **how: Any) -> bytes:
    return b"".join(json.dumps(row, **how).encode() + b"\n" for row in rows)


def kept_of(content: bytes) -> int:
    """How many lines a blob keeps as they are."""
    _, blob = encoded(CODEC, content)
    return int(block.read(BytesReader(blob)).told["kept"])


ROWS = [
    {
        "n": n,
        "ratio": n / 7,
        "words": f'a "word" é/ <{n % 9}>',
        "at": f"2026-01-01T00:00:{n % 60:02}Z",
        "of": {"x": n % 5, "none": None},
        "list": [1, {"b": n % 2}],
        "even": n % 2 == 0,
    }
    for n in range(3_000)
]
TYPES = {
    "n": "int16",
    "ratio": "double",
    "words": "string",
    "at": "timestamp[ms, tz=UTC]",
    "of": "struct<x: int8, none: string>",
    "list": "string",
    "even": "bool",
}

# -- what becomes of values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"ensure_ascii": False},
        {"separators": (",", ":")},
        {"ensure_ascii": False, "separators": (",", ":")},
        {"separators": (" , ", " : ")},
    ],
)
def test_what_pythons_json_writes_is_the_table_that_one_expects(how: dict[str, Any]) -> None:
    content = text(ROWS, **how)
    for whole in (content, b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content[:-1]):
        found = back(whole)
        assert {field.name: str(field.type) for field in found.schema} == TYPES
        assert kept_of(whole) == 0
        assert found["n"].to_pylist() == [row["n"] for row in ROWS]
        assert found["ratio"].to_pylist() == [row["ratio"] for row in ROWS]
        assert found["words"].to_pylist() == [row["words"] for row in ROWS]
        assert found["of"].to_pylist() == [row["of"] for row in ROWS]
        assert [json.loads(value) for value in found["list"].to_pylist()] == [row["list"] for row in ROWS]
        assert found["at"][1].as_py() == datetime.datetime(2026, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-1", "127"], "int8"),
        (["9223372036854775807", "1"], "int64"),
        (["9223372036854775808", "1"], "string"),
        (["1", "2.5"], "double"),
        (["1.0", "2.5", "1e-07", "1e+16"], "double"),
        (["1.50", "2.25"], "decimal128(3, 2)"),
        (["1.50", "2.5"], "string"),
        (["1E5", "1e5"], "string"),
        (["-0", "1"], "double"),
        (["true", "false"], "bool"),
        (["true", "1"], "string"),
        (['"a"', "1"], "string"),
        (['"a"', '""'], "string"),
        (['"1"', '"2"'], "string"),
        (['"true"', '"false"'], "string"),
        (['"null"', "null"], "string"),
        (['"2026-11-28"', "null"], "date32[day]"),
        (['"2026-11-28"', '"x"'], "string"),
        (["[]", "[1, 2]"], "string"),
        (["{}", "null"], "string"),
    ],
)
def test_a_column_is_typed_where_its_values_are_written_the_same_way_again(values: list[str], kind: str) -> None:
    content = "".join(f'{{"id": "x{n}", "v": {values[n % len(values)]}}}\n' for n in range(50)).encode()
    found = back(content)
    column = {field.name: str(field.type) for field in found.schema}["v"]
    assert column == kind
    assert kept_of(content) == 0


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (r'"\u00e9"', "é"),
        (r'"\u00E9"', None),
        (r'"a\/b"', "a/b"),
        (r'"a/b"', "a/b"),
        (r'"\u003cb\u003e"', "<b>"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\ud83d"', None),
        (r'"\n\t\\\"\b\f\r"', '\n\t\\"\b\f\r'),
        (r'"\u0000"', "\0"),
        (r'"\u001f"', "\x1f"),
        ('"\x7fé"', "\x7fé"),
        (r'"\x"', None),
    ],
)
def test_escapes_are_taken_away_where_they_can_be_made_again(one: str, value: str | None) -> None:
    """Where not, the column holds JSON text."""
    content = f'{{"n": 1, "v": {one}}}\n'.encode() * 30
    assert back(content)["v"].to_pylist() == [one if value is None else value] * 30
    assert kept_of(content) == 0


def test_no_value_is_lost_to_a_kind_that_was_guessed_too_early() -> None:
    """Other values after 20 MiB."""
    rows: list[dict[str, Any]] = [{"a": n, "b": n % 97, "c": "2026-11-28", "d": "word"} for n in range(400_000)]
    rows[390_000] = {"a": 390_000, "b": 17.25, "c": "never", "d": ["no", "word"]}
    content = text(rows)
    assert len(content) > 18 * MIB
    found = back(content)
    assert [str(field.type) for field in found.schema] == ["int32", "double", "string", "string"]
    assert found.slice(390_000, 1).to_pylist() == [{"a": 390_000, "b": 17.25, "c": "never", "d": '["no", "word"]'}]
    assert found.slice(1, 1)["d"].to_pylist() == ['"word"']


def test_null_and_a_key_that_is_not_there_come_back_as_two_things() -> None:
    found = back(b'{"a": 1, "b": null}\n{"a": 2}\n{"b": 3, "a": null}\n' * 40)
    assert found.slice(0, 3).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": None}, {"a": None, "b": 3}]


def test_an_object_that_is_null_or_not_there_is_a_null_struct() -> None:
    found = back(b'{"n": 1, "a": {"x": 1, "y": {"z": 2}}}\n{"n": 2, "a": null}\n{"n": 3}\n' * 40)
    assert found.slice(0, 3).to_pylist() == [
        {"n": 1, "a": {"x": 1, "y": '{"z": 2}'}},
        {"n": 2, "a": None},
        {"n": 3, "a": None},
    ]


def test_what_is_now_an_object_and_now_another_thing_has_columns_of_both() -> None:
    found = back(b'{"a": {"x": 1}}\n{"a": null}\n{"a": {}}\n{"a": 5}\n' * 40)
    assert found.slice(0, 4).to_pylist() == [
        {"a.x": 1, "a": None},
        {"a.x": None, "a": None},
        {"a.x": None, "a": "{}"},
        {"a.x": None, "a": "5"},
    ]


def test_keys_that_come_twice_have_a_column_each() -> None:
    found = back(b'{"a": 1, "a": 2, "": 3, "a.b": 4, "a": {"b": 5}}\n' * 40)
    assert found.slice(0, 1).to_pylist() == [{"a": 1, "a_1": 2, "column2": 3, "a.b": 4, "a.b_1": 5}]


def test_objects_with_keys_of_their_own_stay_json_text() -> None:
    """As those that map names to something."""
    content = text([{"n": n, "of": {f"key{n}": n, "x": 1}} for n in range(2_000)])
    found = back(content)
    assert found.column_names == ["n", "of"]
    assert json.loads(found["of"][7].as_py()) == {"key7": 7, "x": 1}


# -- how programs write them -------------------------------------------------------------------------------------------


def test_what_pandas_writes_comes_back() -> None:
    frame = pd.DataFrame([{k: v for k, v in row.items() if k not in ("of", "list")} for row in ROWS])
    frame["when"] = pd.date_range("2026-01-01", periods=len(frame), freq="h")
    content = frame.to_json(orient="records", lines=True, date_format="iso").encode()
    found = back(content)
    assert found["words"].to_pylist() == [row["words"] for row in ROWS]
    assert str(found.schema.field("when").type).startswith("timestamp[ms")
    assert kept_of(content) == 0


def test_what_duckdb_writes_is_what_it_reads_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with duckdb.connect() as db:
        db.execute(
            "COPY (SELECT range AS n, range / 7 AS f, 'w' || range % 5 AS w, DATE '2026-01-01' + range::INT % 90 AS d, "
            "{'x': range % 3, 'y': CASE WHEN range % 3 = 0 THEN NULL ELSE 'é' END} AS o, [1, 2] AS l, "
            f"range % 2 = 0 AS b FROM range(5000)) TO '{path}' (FORMAT json)"
        )
        content = path.read_bytes()
        blob = tmp_path / "a.jsonl.parquet"
        blob.write_bytes(encoded(CODEC, content)[1])
        back(content)
        theirs = db.execute(f"SELECT n, f, w, d, o.x, o.y, l::JSON::VARCHAR, b FROM read_json('{path}')").fetchall()
        ours = db.execute(f"SELECT n, f, w, d, o.x, o.y, l, b FROM read_parquet('{blob}')").fetchall()
    assert ours == theirs
    frame = pd.read_parquet(io.BytesIO(blob.read_bytes()))
    assert frame["n"].tolist() == list(range(5000))


LOGS = {
    "structlog": lambda n: {
        "event": f"request {n % 5}",
        "level": ("info", "error")[n % 7 == 0],
        "timestamp": f"2026-11-28T10:00:{n % 60:02}.{n:06}Z",
        **({"exception": 'Traceback:\n  File "a.py", line 1\n'} if n % 7 == 0 else {}),
    },
    "cloudtrail": lambda n: {
        "eventVersion": "1.09",
        "userIdentity": {"type": "IAMUser", "accountId": f"{n % 3:012}", "sessionContext": {"a": {"b": n}}},
        "eventTime": f"2026-11-28T10:00:{n % 60:02}Z",
        "requestParameters": {"bucketName": f"bucket-{n % 4}"} if n % 3 else None,
        "responseElements": None,
        "resources": [{"ARN": f"arn:aws:s3:::bucket-{n % 4}/key/{n}"}],
        "readOnly": n % 2 == 0,
    },
    "nginx": lambda n: {
        "time": f"2026-11-28T10:00:{n % 60:02}+00:00",
        "request": f'GET /a/{n}?q="x" HTTP/1.1',
        "status": "200",
        "body_bytes_sent": n * 17,
        "request_time": f"{n / 1000:.3f}",
    },
}


@pytest.mark.parametrize("name", LOGS)
def test_logs_come_back_with_each_line_a_row(name: str) -> None:
    rows = [LOGS[name](n) for n in range(2_000)]
    content = text(rows)
    found = back(content)
    assert found.num_rows == 2_000
    assert kept_of(content) == 0
    first = next(iter(rows[0]))
    assert found.column(0).slice(1, 1).to_pylist() == [rows[1][first]] or found.column_names[0] != first
