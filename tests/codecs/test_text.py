"""Delimited text as Parquet files of typed columns: what every codec must do, and what only texts have."""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import io
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storaged.codecs.parquet import block
from storaged.codecs.parquet.codec import Parquet
from storaged.errors import NotTaken, VerificationFailed
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, BytesContent, BytesReader, encoded
from tests.codecs.text_files import text_of

CODEC = Parquet()


class TestText(CheckedCodecContract):
    codec = Parquet()
    sampled = 2 * MIB
    endless = ("tests.codecs.text_files", "Lines")
    memory = 500 * MIB  # two blocks of a text, each several times: its fields, its columns, its text again

    def taken(self, data: bytes) -> bytes:
        return text_of(data)


def back(content: bytes, **options: Any) -> pa.Table:
    """The table of a text, which comes back from it in odd ranges."""
    _, blob = encoded(CODEC, content, **options)
    opened = CODEC.open(BytesReader(blob))
    assert opened.size == len(content)
    parts, at = [], 0
    while at < opened.size:
        parts.append(opened.read_at(at, 100_003))
        at += len(parts[-1])
    assert b"".join(parts) == content
    found = pq.read_table(io.BytesIO(blob))
    assert duckdb.read_parquet(io.BytesIO(blob)).aggregate("count(*)").fetchall() == [(found.num_rows,)]
    return found


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


# -- odd and bad input -------------------------------------------------------------------------------------------------

GOOD = b"".join(b"%d,word %d,%d.25\n" % (n, n % 9, n) for n in range(2_000))


def odd(name: str) -> bytes:
    lines = GOOD.splitlines(keepends=True)
    head = b"a,b,c\n"
    match name:
        case "ragged":
            return head + b"".join([*lines[:50], b"1,2\n", *lines[50:90], b"1,2,3,4\n", *lines[90:]])
        case "blank":
            return head + b"".join([*lines[:50], b"\n", *lines[50:90], b"\r\n", b"\n", *lines[90:], b"\n"])
        case "mixed line ends":
            return head + b"".join([*lines[:50], *(li[:-1] + b"\r\n" for li in lines[50:80]), *lines[80:]])
        case "a CR alone":
            return head + b"".join([*lines[:50], b"1,a\rb,2.25\n", *lines[50:]])
        case "NULs":
            return head + b"".join([*lines[:50], b"1,a\0b,2.25\n", *lines[50:]])
        case "invalid UTF-8":
            return head + b"".join([*lines[:50], b"1,a\xffb,2.25\n", *lines[50:]])
        case "a stray quote":
            return head + b"".join([*lines[:50], b'1,5" wide,2.25\n', *lines[50:]])
        case "two stray quotes":
            return head + b"".join([*lines[:50], b'1,5" by 6",2.25\n', *lines[50:]])
        case "needless quotes":
            return head + b"".join([*lines[:50], b'1,"word",2.25\n', b'"2",b,"2.25"\n', *lines[50:]])
        case "comments":
            return b"# made by hand\n\n" + head + b"".join([*lines[:50], b"# a note\n", *lines[50:]])
        case "no line end at the end":
            return head + GOOD[:-1]
        case "a CR at the end":
            return head + GOOD[:-1] + b"\r"
        case "an open quote at the end":
            return head + GOOD + b'1,"word'
        case "a BOM in the middle":
            return head + b"".join([*lines[:50], b"\xef\xbb\xbf1,2,3.25\n", *lines[50:]])
        case "two headers":
            return head + b"".join([*lines[:50], head, *lines[50:]])
        case _:
            raise ValueError(name)


@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("ragged", 2_000, 2),
        ("blank", 2_000, 4),
        ("mixed line ends", 2_000, 30),
        ("a CR alone", 2_000, 1),
        ("NULs", 2_001, 0),
        ("invalid UTF-8", 2_001, 0),
        ("two stray quotes", 2_001, 1),
        ("needless quotes", 2_002, 2),
        ("comments", 2_000, 1),
        ("no line end at the end", 2_000, 0),
        ("a BOM in the middle", 2_001, 0),
        ("two headers", 2_001, 0),
    ],
)
def test_odd_lines_are_kept_and_the_others_are_rows(name: str, rows: int, kept: int) -> None:
    content = odd(name)
    found = back(content)
    assert found.num_rows == rows
    assert kept_of(content) == kept


@pytest.mark.parametrize("name", ["a stray quote", "a CR at the end", "an open quote at the end"])
def test_what_is_broken_comes_back_or_is_refused_with_a_reason(name: str) -> None:
    content = odd(name)
    assert CODEC.sample(BytesContent(content), level=None).why_not
    with contextlib.suppress(NotTaken):
        assert back(content).num_rows >= 2_000


def kept_of(content: bytes) -> int:
    """How many lines a blob keeps as they are."""
    _, blob = encoded(CODEC, content)
    return int(block.read(BytesReader(blob)).told["kept"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "hold no end of a line"),
        (b"one line", "hold no end of a line"),
        (b"a,b\r1,2\r3,4\r", "CR alone"),
        (b"words without any of them\n" * 100, "no fields"),
        (b'{"a": 1, "b": 2}\n' * 100, "JSON"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"".join(b"x" + b"," * (n * 7 % 13) + b"\n" for n in range(500)), "fields"),
        (bytes(range(256)) * 100, ""),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    found = CODEC.sample(BytesContent(content), level=None)
    assert not found.taken
    assert found.instead is not None
    assert reason in found.reason
    with pytest.raises(NotTaken, match="no table"):
        encoded(CODEC, content)


def test_many_columns_come_back() -> None:
    names = ",".join(f"c{n}" for n in range(10_000))
    rows = "".join(",".join(str((n * m) % 977) for m in range(10_000)) + "\n" for n in range(300))
    found = back(f"{names}\n{rows}".encode())
    assert (found.num_rows, found.num_columns) == (300, 10_000)
    assert found["c5"].to_pylist() == [n * 5 % 977 for n in range(300)]


def test_a_line_without_an_end_in_the_middle_is_refused() -> None:
    content = b"a,b\n" + b"1,2\n" * 500_000 + b'3,"' + b"x" * (40 * MIB)
    with pytest.raises(NotTaken, match="longer than"):
        encoded(CODEC, content)


def test_quoted_lines_at_the_borders_of_blocks_come_back() -> None:
    row = b'%d,"first\nsecond ""quoted""\r\nthird, and more of it %d"\n'
    content = b"a,b\n" + b"".join(row % (n, n) for n in range(400_000))
    assert len(content) > 20 * MIB
    found = back(content)
    assert found.num_rows == 400_000
    assert kept_of(content) == 0


# -- laws --------------------------------------------------------------------------------------------------------------

_law = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_fields = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda n: str(n).encode()),
    st.floats(allow_nan=False).map(lambda f: repr(f).encode()),
    st.dates().map(lambda d: d.isoformat().encode()),
    st.datetimes().map(lambda d: d.isoformat().encode()),
    st.decimals(places=2, allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6).map(
        lambda d: str(d).encode()
    ),
    st.sampled_from([b"", b'""', b"NA", b"true", b"false", b"007", b"-0", b"nan", b'"a, b"', b'"a""b"', b'"x\ny"']),
    st.text(st.characters(exclude_characters='\n\r,"', exclude_categories=("Cs",)), max_size=9).map(str.encode),
    st.binary(max_size=4),
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Tables of columns that are mostly of one kind each."""
    width = draw(st.integers(2, 5))
    kinds = [draw(st.sampled_from([*range(7), None])) for _ in range(width)]
    strategies = [_fields if kind is None else _fields.original_strategies[kind] for kind in kinds]
    rows = draw(st.lists(st.tuples(*strategies), max_size=12))
    times = draw(st.sampled_from([1, 30]))
    delimiter = draw(st.sampled_from([b",", b";", b"\t", b"|"]))
    ending = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = [delimiter.join(row) + ending for row in rows] * times
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([b"\n", b"#\n", b"\r", b'"', b"a,b\n"])))
    head = draw(
        st.sampled_from([b"", b"\xef\xbb\xbf", delimiter.join(b"abcde"[n : n + 1] for n in range(width)) + ending])
    )
    whole = head + b"".join(lines)
    return whole[: len(whole) - draw(st.integers(0, 3))]


@_law
@given(content=st.one_of(texts(), st.binary(max_size=60), st.text('ab,"\n\r1.;\t', max_size=60).map(str.encode)))
def test_any_text_comes_back_or_is_refused(content: bytes) -> None:
    found = CODEC.sample(BytesContent(content), level=None)
    try:
        _, blob = encoded(CODEC, content)
    except NotTaken:
        assert found.reason
        return
    opened = CODEC.open(BytesReader(blob))
    assert opened.read_at(0, len(content)) == content
    assert opened.read_at(3, 7) == content[3:10]
    pq.read_table(io.BytesIO(blob))


@_law
@given(content=texts(), at=st.data())
def test_a_damaged_blob_never_reads_as_another_text(content: bytes, at: st.DataObject) -> None:
    try:
        _, blob = encoded(CODEC, content)
    except NotTaken:
        return
    damaged = bytearray(blob)
    for _ in range(at.draw(st.integers(1, 3), label="damages")):
        damaged[at.draw(st.integers(0, len(blob) - 1), label="where")] ^= at.draw(st.integers(1, 255), label="bits")
    try:
        assert CODEC.open(BytesReader(bytes(damaged))).read_at(0, len(content)) == content
    except VerificationFailed:
        return
