"""Delimited text as Parquet files of typed columns: what every codec must do, and what only texts have."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import math
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from storaged.codecs.parquet.codec import Parquet
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, encoded
from tests.codecs.text_files import back, text_of
from tests.laws import LONG

CODEC = Parquet()


class TestText(CheckedCodecContract):
    codec = Parquet()
    sampled = 2 * MIB
    endless = ("tests.codecs.text_files", "Lines")
    much = (512 if LONG else 160) * MIB
    memory = 390 * MIB  # two blocks of a text, each several times: its fields, its columns, its text again

    def taken(self, data: bytes) -> bytes:
        return text_of(data)


def types_of(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}


# -- what becomes of values --------------------------------------------------------------------------------------------


def test_columns_have_the_types_that_one_expects() -> None:
    lines = [
        f"{n},{n * 1000},-{n}.50,{n / 8!r},2026-11-{n % 28 + 1:02},2026-11-{n % 28 + 1:02}T10:00:{n % 60:02}Z,"
        f"2026-11-01 10:00:00.{n:06},{('true', 'false')[n % 2]},word {n % 5},{n:05}\n"
        for n in range(1, 101)
    ]
    found = back(("a,b,c,d,e,f,g,h,i,zip\n" + "".join(lines)).encode())
    assert types_of(found) == {
        "a": "int8",
        "b": "int32",
        "c": "decimal128(5, 2)",
        "d": "double",
        "e": "date32[day]",
        "f": "timestamp[ms, tz=UTC]",
        "g": "timestamp[us]",
        "h": "bool",
        "i": "string",
        "zip": "string",
    }
    utc = datetime.UTC
    assert found.slice(2, 1).to_pylist() == [
        {
            "a": 3,
            "b": 3000,
            "c": decimal.Decimal("-3.50"),
            "d": 0.375,
            "e": datetime.date(2026, 11, 4),
            "f": datetime.datetime(2026, 11, 4, 10, 0, 3, tzinfo=utc),
            "g": datetime.datetime(2026, 11, 1, 10, 0, 0, 3, tzinfo=utc).replace(tzinfo=None),
            "h": False,
            "i": "word 3",
            "zip": "00003",
        }
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-1", "127"], "int8"),
        (["0", "128"], "int16"),
        (["9223372036854775807", "-9223372036854775807"], "int64"),
        (["9223372036854775808", "1"], "string"),
        (["1", "007"], "string"),
        (["1", "+5"], "string"),
        (["1", "-0"], "double"),
        (["1", " 5"], "string"),
        (["1", "0x1F"], "string"),
        (["1", "2.5"], "double"),
        (["1.0", "2.5", "-0.5"], "decimal128(2, 1)"),
        (["1.0", "2.55", "1e-07", "1e+16", "0.0001", "-0.0", "123456.0"], "double"),
        (["1.50", "2.5"], "string"),
        (["1e5", "1E5"], "string"),
        (["0.1234567890", "0.5000000000"], "string"),
        (["nan", "0.5"], "double"),
        (["2026-11-28", "2026-02-30"], "string"),
        (["2026-11-28", "0001-01-01", "9999-12-31"], "date32[day]"),
        (["01/02/2024", "03/04/2024"], "string"),
        (["12:30", "13:30"], "string"),
        (["2026-11-28 10:00:00", "2026-11-28T10:00:00"], "string"),
        (["2026-11-28 10:00", "2026-11-28 11:00"], "string"),
        (["true", "false"], "bool"),
        (["True", "False"], "bool"),
        (["true", "False"], "string"),
        (["t", "f"], "bool"),
        (["yes", "no"], "string"),
        (["é", "漢字"], "string"),
        (["", ""], "string"),
    ],
)
def test_a_column_is_typed_where_its_values_are_written_the_same_way_again(values: list[str], kind: str) -> None:
    found = back(b"id,v\n" + "".join(f"x{n},{values[n % len(values)]}\n" for n in range(50)).encode())
    assert types_of(found)["v"] == kind
    if kind == "string":
        assert found["v"].to_pylist() == [values[n % len(values)] or None for n in range(50)]


def test_no_value_is_lost_to_a_type_that_was_guessed_too_early() -> None:
    """A word after 40 MiB of numbers, and a number with digits behind the point."""
    rows = [f"{n},{n % 97},{n % 1000}\n" for n in range(3_000_000)]
    rows[2_900_000] = "2900000,n/a,17.25\n"
    found = back(("a,b,c\n" + "".join(rows)).encode())
    assert types_of(found) == {"a": "int32", "b": "string", "c": "double"}
    assert found.slice(2_900_000, 1).to_pylist() == [{"a": 2_900_000, "b": "n/a", "c": 17.25}]
    assert found["b"].null_count == found["c"].null_count == 0


def test_null_empty_and_empty_in_quotes_are_three_things() -> None:
    found = back(b"a,b,c\n" + b'1,x,"y"\n,,""\n3,"","z"\n' * 20)
    assert found.slice(0, 3).to_pylist() == [
        {"a": 1, "b": "x", "c": "y"},
        {"a": None, "b": None, "c": ""},
        {"a": 3, "b": "", "c": "z"},
    ]


@pytest.mark.parametrize("null", ["NA", "NULL", "\\N", "None", "-"])
def test_a_word_for_null_is_null(null: str) -> None:
    rows = "".join(f"{n},{null if n % 3 else n}\n" for n in range(200))
    found = back(f"a,b\n{rows}".encode())
    assert types_of(found) == {"a": "int16", "b": "int16"}
    assert found["b"].null_count == 133


def test_a_filter_misses_no_nan(tmp_path: Path) -> None:
    """Engines skip row groups, and drop filters, by statistics that leave NaN out."""
    text = b"n,x\n" + b"".join(b"%d,%s\n" % (n, b"nan" if n % 10 == 3 else b"%r" % (n / 7)) for n in range(1_000))
    blob = tmp_path / "blob.parquet"
    blob.write_bytes(encoded(CODEC, text)[1])
    x = ds.field("x")
    rows = [ds.dataset(blob).count_rows(filter=f) for f in (x <= 200, ~(x <= 200), pc.is_nan(x))]
    assert rows == [900, 100, 100]
    counted = "SELECT count(*) FILTER (isnan(x)), max(x) FROM read_parquet(?)"
    [(seen, most)] = duckdb.execute(counted, [str(blob)]).fetchall()
    assert (seen, math.isnan(most)) == (100, True)
    assert duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE x > 200", [str(blob)]).fetchall() == [(100,)]
    group = pq.read_metadata(blob).row_group(0)
    assert group.column(0).statistics.max == 999, "the other columns keep theirs"


# -- how texts are written ---------------------------------------------------------------------------------------------

ROWS: list[list[Any]] = [
    [n, n / 4, f"word {n % 7}", 'a "quoted" one' if n % 5 == 0 else "plain", "two\nlines" if n % 11 == 0 else "", None]
    for n in range(500)
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_what_pythons_csv_writes_comes_back(quoting: Any, delimiter: str, ending: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerow(["n", "f", "w", "q", "l", "e"])
    writer.writerows(ROWS)
    for bom in (b"", b"\xef\xbb\xbf"):
        found = back(bom + text.getvalue().encode())
        assert found.num_rows == len(ROWS)
        assert found.column_names == ["n", "f", "w", "q", "l", "e"]
        assert found["n"].to_pylist() == [row[0] for row in ROWS]
        assert found["q"].to_pylist() == [row[3] for row in ROWS]


def test_what_pandas_duckdb_and_pyarrow_write_comes_back() -> None:
    frame = pd.DataFrame(ROWS, columns=["n", "f", "w", "q", "l", "e"])
    frame["whole"] = pd.Series([None if n % 4 else n for n in range(len(frame))], dtype="float64")
    frame["when"] = pd.date_range("2026-01-01", periods=len(frame), freq="h")
    expected = [None if n % 4 else n for n in range(len(frame))]
    found = back(frame.to_csv(index=True).encode())
    assert found.column_names[:2] == ["column0", "n"]
    assert found["whole"].to_pylist() == expected
    assert str(found.schema.field("when").type) == "timestamp[ms]"
    table = pa.Table.from_pandas(frame)
    sink = io.BytesIO()
    pa.csv.write_csv(table.drop_columns("when"), sink)
    assert back(sink.getvalue())["whole"].to_pylist() == expected


@pytest.mark.parametrize("options", ["HEADER", "HEADER, DELIMITER ';'", "HEADER false", "HEADER, FORCE_QUOTE *"])
def test_what_duckdb_writes_comes_back(options: str, tmp_path: Any) -> None:
    path = tmp_path / "a.csv"
    with duckdb.connect() as db:
        db.execute(
            "COPY (SELECT range AS n, range / 7 AS f, 'w' || range % 5 AS w, DATE '2026-01-01' + range::INT % 90 AS d, "
            "CASE WHEN range % 3 = 0 THEN '' WHEN range % 3 = 1 THEN NULL ELSE 'a, b' END AS s, range % 2 = 0 AS b "
            f"FROM range(5000)) TO '{path}' ({options})"
        )
    found = back(path.read_bytes())
    assert found.num_rows == 5000
    assert [str(field.type) for field in found.schema] == ["int16", "double", "string", "date32[day]", "string", "bool"]
    assert found.column(4).slice(0, 3).to_pylist() == ["", None, "a, b"]


def test_names_are_those_of_the_header_made_unique() -> None:
    found = back(b"a,,a,b,,a_1\n" + b"1,2,3,4,5,6\n" * 100)
    assert found.column_names == ["a", "column1", "a_1", "b", "column4", "a_1_1"]
    assert back(b"1,2\n" * 100).column_names == ["column0", "column1"]
    assert back(b'"first, one",b\n' + b"1,2\n" * 100).column_names == ["first, one", "b"]
