"""`storagectl sql`: any question, no change, and the answer in four formats without holding it all."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.schema import meta
from storaged.catalog.sql import BATCH_ROWS, FORMATS, run_sql, write_rows
from storaged.errors import CatalogMissing, UsageError

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i, i * 2 AS double FROM n"

WRITES = [
    "INSERT INTO meta VALUES ('a', '1')",
    "UPDATE meta SET value = '9'",
    "DELETE FROM meta",
    "DROP TABLE audit",
    "CREATE TABLE mine (x integer)",
    "CREATE TEMPORARY TABLE mine (x integer)",
    "-- only a comment before it\nDELETE FROM meta",
    "/* SELECT */ DELETE FROM meta",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "SELECT 1; DELETE FROM meta",
]
SQLITE_WRITES = [
    "WITH x AS (SELECT 1) INSERT INTO meta SELECT 'a', '1' FROM x",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "PRAGMA writable_schema = ON",
    "ATTACH DATABASE '{path}.other' AS other",
    "VACUUM INTO '{path}.other'",
    "SELECT load_extension('{path}')",
]
POSTGRES_WRITES = [
    "WITH x AS (INSERT INTO meta VALUES ('a', '1') RETURNING key) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM meta",
    "SELECT key INTO mine FROM meta",
    "SELECT nextval('audit_id_seq')",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SET TRANSACTION READ WRITE",
    "COPY meta TO '{path}.other'",
    "COPY (SELECT 1) TO PROGRAM 'touch {path}.other'",
]


def ask(url: str, query: str, **options: Any) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    with run_sql(url, query, **options) as answer:
        return answer.columns, [tuple(row) for row in answer.rows]


def written(columns: list[str], rows: list[tuple[Any, ...]], form: str) -> bytes:
    out = io.BytesIO()
    assert write_rows(columns, rows, form, out) == len(rows)
    return out.getvalue()


def test_a_question_is_answered_with_its_columns(catalog_url: str) -> None:
    assert ask(catalog_url, "SELECT key, 1 AS one FROM meta ORDER BY key LIMIT 1") == (
        ("key", "one"),
        [("catalog_id", 1)],
    )
    assert ask(catalog_url, "\n-- why\n/* so */ SELECT count(*) AS n FROM v_objects") == (("n",), [(0,)])
    assert ask(catalog_url, "VALUES (1), (2)")[1] == [(1,), (2,)]
    assert len(ask(catalog_url, "EXPLAIN SELECT * FROM v_objects")[1]) > 0


def test_an_answer_without_rows_still_has_its_columns(catalog_url: str) -> None:
    assert ask(catalog_url, "SELECT key, value FROM meta WHERE key = 'none'") == (("key", "value"), [])


def test_what_looks_like_a_placeholder_is_text(catalog_url: str) -> None:
    assert ask(catalog_url, "SELECT '100 %s %(x)s :y ?' AS x")[1] == [("100 %s %(x)s :y ?",)]


def test_many_rows_come_one_after_another(catalog_url: str) -> None:
    with run_sql(catalog_url, COUNT.format(30_000)) as answer:
        assert sum(double for _, double in answer.rows) == 30_000 * 30_001


@pytest.mark.parametrize("statement", WRITES)
def test_no_statement_changes_the_catalog(catalog_url: str, statement: str) -> None:
    with open_catalog(catalog_url) as catalog:
        before = contents(catalog)
        with pytest.raises(UsageError) as caught:
            ask(catalog_url, statement)
        assert caught.value.hint
        assert contents(catalog) == before


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statement", SQLITE_WRITES)
def test_no_way_round_sqlites_guard_was_found(catalog_url: str, statement: str) -> None:
    path = Path(str(sa.make_url(catalog_url).database))
    refuse(catalog_url, statement.format(path=path))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
@pytest.mark.parametrize("statement", POSTGRES_WRITES)
def test_no_way_round_postgres_guard_was_found(catalog_url: str, statement: str, tmp_path: Any) -> None:
    refuse(catalog_url, statement.format(path=tmp_path / "catalog.db"))
    assert list(tmp_path.iterdir()) == []


def refuse(url: str, statement: str) -> None:
    with open_catalog(url) as catalog:
        before = contents(catalog)
        with pytest.raises(UsageError):
            ask(url, statement)
        assert contents(catalog) == before


def contents(catalog: Catalog) -> object:
    with catalog.read() as connection:
        return sorted(sa.inspect(connection).get_table_names()), sorted(map(tuple, connection.execute(sa.select(meta))))


def test_the_place_of_a_mistake_is_its_line_and_column(catalog_url: str) -> None:
    with pytest.raises(UsageError, match=r"\(line 2, column 8\)"):
        ask(catalog_url, "SELECT key\n  FORM x meta")


def test_an_unknown_table_is_answered_with_the_views(catalog_url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(catalog_url, "SELECT * FROM v_object")
    assert "v_objects" in str(caught.value.hint)


def test_an_unknown_column_is_answered_with_those_that_the_view_has(catalog_url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(catalog_url, "SELECT foo FROM v_jobs")
    assert str(caught.value.hint).startswith("v_jobs has ")


@pytest.mark.parametrize("query", ["", "  \n", "-- nothing"])
def test_no_question_is_a_mistake(catalog_url: str, query: str) -> None:
    with pytest.raises(UsageError, match="no SQL"):
        ask(catalog_url, query)


def test_a_catalog_that_is_not_there_is_named_as_everywhere(empty_url: str) -> None:
    with pytest.raises(CatalogMissing):
        ask(empty_url, "SELECT 1")


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_a_long_question_ends_when_its_time_is_over(catalog_url: str) -> None:
    with pytest.raises(UsageError, match="took longer"):
        ask(catalog_url, "SELECT pg_sleep(60)", timeout_s=0.1)


def test_a_writer_is_not_held_up_once_the_answer_is_read(catalog_url: str) -> None:
    ask(catalog_url, "SELECT * FROM meta")
    with open_catalog(catalog_url, wait_s=0.1) as other, other.begin() as connection:
        connection.execute(meta.insert().values(key="a", value="1"))


ROWS = [(1, "a,b", None, 1.5), (2, 'say "x"\nüñ', None, 2.0), (3, None, None, None)]
NAMES = ["id", "text", "nothing", "number"]


def test_csv_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(written(NAMES, ROWS, "csv").decode(), newline="")))
    assert rows == [NAMES, ["1", "a,b", "", "1.5"], ["2", 'say "x"\nüñ', "", "2.0"], ["3", "", "", ""]]


def test_json_and_jsonl_read_back() -> None:
    expected = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    assert json.loads(written(NAMES, ROWS, "json")) == expected
    assert [json.loads(line) for line in written(NAMES, ROWS, "jsonl").decode().splitlines()] == expected


def test_parquet_reads_back_with_a_column_of_nulls_as_text() -> None:
    table = pq.read_table(io.BytesIO(written(NAMES, ROWS, "parquet")))
    assert table.to_pylist() == [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    assert table.schema.types == [pa.int64(), pa.string(), pa.string(), pa.float64()]


@pytest.mark.parametrize("form", FORMATS)
def test_an_answer_without_rows_is_a_valid_file(form: str) -> None:
    content = written(["a", "b"], [], form)
    match form:
        case "csv":
            assert content == b"a,b\n"
        case "json":
            assert json.loads(content) == []
        case "jsonl":
            assert content == b""
        case _:
            assert pq.read_table(io.BytesIO(content)).column_names == ["a", "b"]


@pytest.mark.parametrize("form", FORMATS)
def test_values_of_every_kind_can_be_written(form: str) -> None:
    when = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
    row = (Decimal("3"), Decimal("1.5"), when, b"\x00\xff", True, float("nan"), [1, 2], 2**62)
    content = written(list("abcdefgh"), [row], form)
    if form == "jsonl":
        assert json.loads(content) == {
            "a": 3,
            "b": 1.5,
            "c": "2026-11-23T12:00:00Z",
            "d": "00ff",
            "e": True,
            "f": None,
            "g": [1, 2],
            "h": 2**62,
        }
    if form == "csv":
        assert (
            content.decode().splitlines()[1] == '3,1.5,2026-11-23T12:00:00Z,00ff,True,nan,"[1, 2]",4611686018427387904'
        )
    if form == "parquet":
        (read,) = pq.read_table(io.BytesIO(content)).to_pylist()
        assert (read["a"], read["b"], read["c"], read["d"], read["h"]) == (3.0, 1.5, when, b"\x00\xff", 2**62)


def test_parquet_takes_a_column_of_mixed_types_as_text() -> None:
    table = pq.read_table(io.BytesIO(written(["x"], [(1,), ("two",), (None,), (b"\x03",)], "parquet")))
    assert table.column("x").to_pylist() == ["1", "two", None, "03"]


def test_parquet_names_the_column_whose_type_changes_later() -> None:
    rows: list[tuple[Any, ...]] = [(i,) for i in range(BATCH_ROWS)] + [("text",)]
    with pytest.raises(UsageError, match=f"column x is int64 .* after row {BATCH_ROWS}"):
        write_rows(["x"], rows, "parquet", io.BytesIO())


def test_parquet_writes_late_values_of_a_column_that_began_with_nulls() -> None:
    rows: list[tuple[Any, ...]] = [(None,)] * BATCH_ROWS + [(7,)]
    table = pq.read_table(io.BytesIO(written(["x"], rows, "parquet")))
    assert table.column("x").to_pylist()[-1] == "7"


def test_an_unknown_format_is_named_with_those_known() -> None:
    with pytest.raises(UsageError, match="xlsx") as caught:
        write_rows(["a"], [], "xlsx", io.BytesIO())
    assert "parquet" in str(caught.value.hint)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_are_never_held_all_at_once(form: str) -> None:
    held = most = 0

    class Out(io.BytesIO):
        def write(self, data: Any) -> int:
            nonlocal held, most
            most, held = max(most, held), 0
            return super().write(data)

    def rows() -> Iterator[tuple[int]]:
        nonlocal held
        for i in range(10 * BATCH_ROWS):
            held += 1
            yield (i,)

    assert write_rows(["x"], rows(), form, Out()) == 10 * BATCH_ROWS
    assert 0 < most <= BATCH_ROWS
