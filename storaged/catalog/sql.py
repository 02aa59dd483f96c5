"""One question in SQL to the catalog, read-only in the database itself, and its answer written out row by row."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from storaged.catalog.drivers import explain, postgres_error
from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.views import VIEWS
from storaged.errors import UsageError

if TYPE_CHECKING:  # each takes longer than most questions, and Parquet or Postgres is asked for by few of them
    import psycopg
    import pyarrow as pa

Row = Sequence[Any]

FORMATS: Final = ("csv", "json", "jsonl", "parquet")
BATCH_ROWS: Final = 5_000  # held in memory at a time

_READ_ONLY: Final = "only one SELECT, WITH, VALUES or EXPLAIN is run: the catalog is opened for reading only"
_STATEMENTS: Final = ("SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW", "PRAGMA")
_LEADING: Final = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", re.DOTALL)
_PRAGMAS: Final = frozenset(  # of SQLite: those that only tell
    ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list")
)


# A blank before it does not keep every spreadsheet from it; the wide ones of East Asian input count as well.
_FORMULA: Final = re.compile(r"[\s\x00-\x20\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n\x00]")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+([.,][0-9]+)?([eE][-+]?[0-9]+)?")
_READER: Final = "pg_read_all_data"  # of Postgres itself, since 14
_POWERS: Final = f"""
    SELECT session_user,
        (SELECT count(*) FROM pg_roles
            WHERE rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
            AND pg_has_role(session_user, oid, 'MEMBER'))
        + (SELECT count(*) FROM pg_proc
            WHERE pronamespace = 'pg_catalog'::regnamespace
            AND proname IN
                ('pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'pg_stat_file', 'lo_import', 'lo_export')
            AND has_function_privilege(session_user, oid, 'EXECUTE')),
        pg_has_role(session_user, '{_READER}', 'MEMBER')"""  # noqa: S608  (a superuser is a member of every role)
_SAME_SCHEMAS: Final = """
    SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), true)
    FROM unnest(current_schemas(false)) WITH ORDINALITY AS s(name, place)"""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The columns of a result and its rows, which are read as they are asked for. `files`: the server's role that may
    get at its files, so that a question may too; None: it may not."""

    columns: tuple[str, ...]
    rows: Iterator[Row]
    files: str | None = None


@contextmanager
def run_sql(catalog_url: str, query: str, *, timeout_s: float | None = None) -> Iterator[QueryResult]:
    """Ask the catalog one question in its own SQL; the rows can be read inside the block.

    The catalog is opened for reading only and a statement that would write is refused by the database. Where the
    server's role may get at files there, the question is asked as one that may only read tables, if that can be had; a
    question that is made for it can undo that, so `Answer.files` tells of it. `timeout_s` ends a long statement
    (Postgres only). While rows are read from SQLite a writer's commit waits, so read swiftly.
    Raises UsageError for SQL that is wrong or would write, CatalogError and its kin as `open_catalog` does.
    """
    found = _LEADING.match(query)
    word = found[1].upper() if found else ""
    if word not in _STATEMENTS:
        raise UsageError(
            f"this is no question: it begins with {word}" if word else "there is no SQL to run",
            hint=_READ_ONLY,
        )
    with open_catalog(catalog_url, read_only=True) as catalog, _explained(query, catalog.url):
        ask = _ask_sqlite if catalog.dialect == "sqlite" else _ask_postgres
        with ask(catalog, query, timeout_s) as answer:
            yield answer


@contextmanager
def _ask_sqlite(catalog: Catalog, query: str, _timeout_s: float | None) -> Iterator[QueryResult]:
    with closing(catalog.engine.raw_connection()) as pooled:
        connection: Any = pooled.driver_connection
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_authorize)
        try:
            with closing(connection.execute(query)) as cursor:
                yield QueryResult(tuple(column[0] for column in cursor.description), cursor)
        finally:
            connection.set_authorizer(None)


def _authorize(action: int, first: str | None, second: str | None, _database: str | None, _view: str | None) -> int:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":  # how SQLite declares json_each and its like
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


@contextmanager
def _ask_postgres(catalog: Catalog, query: str, timeout_s: float | None) -> Iterator[QueryResult]:
    with closing(catalog.engine.raw_connection()) as pooled:
        connection: Any = pooled.driver_connection
        connection.read_only = True
        if timeout_s is not None:
            connection.execute(f"SET statement_timeout = {max(1, round(timeout_s * 1000))}")
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            files = _step_down(cursor)
            rows = cursor.stream(query, size=1_000)  # the extended protocol: never two statements
            first = next(rows, None)
            if first is None:  # psycopg tells no columns then
                connection.pgconn.prepare(b"", query.encode())
                described = connection.pgconn.describe_prepared(b"")
                columns = tuple((described.fname(i) or b"").decode() for i in range(described.nfields))
            else:
                columns = tuple(column.name for column in cursor.description)
            with closing(rows):
                yield QueryResult(columns, chain([] if first is None else [first], rows), files)


def _step_down(cursor: psycopg.Cursor[Any]) -> str | None:
    """Ask as a role that reads tables and nothing else, where this one may do more. Who it is then; None: it may not.

    The schemas stay those of our own role: one may have its name.
    """
    who, powers, can = cursor.execute(_POWERS).fetchone() or ("", 0, False)
    if not powers:
        return None
    if can:
        cursor.execute(_SAME_SCHEMAS)
        cursor.execute(f"SET LOCAL ROLE {_READER}")
    return str(who)


@contextmanager
def _explained(query: str, url: str) -> Iterator[None]:
    """Name what is wrong with the query; what is wrong with the catalog is explained as everywhere."""
    try:
        yield
    except sqlite3.Error as error:
        raise _wrong_in_sqlite(query, error) or explain(error, url) or UsageError(str(error)) from error
    except postgres_error() as error:
        raise _wrong_in_postgres(query, error) or explain(error, url) or UsageError(str(error)) from error


def _wrong_in_sqlite(query: str, error: sqlite3.Error) -> UsageError | None:
    text = str(error)
    if any(words in text for words in ("not authorized", "prohibited", "readonly database")):
        return UsageError("the statement would do more than read", hint=_READ_ONLY)
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
        return None
    near = re.match(r'near "(.+)": syntax error', text, re.DOTALL)
    if near and query.count(near[1]) == 1:
        text += _position(query, query.index(near[1]))
    return UsageError(text, hint=_hint(text, query))


def _wrong_in_postgres(query: str, error: psycopg.Error) -> UsageError | None:
    text = error.diag.message_primary or str(error)
    if error.sqlstate == "25006":  # read_only_sql_transaction
        return UsageError(f"the statement would do more than read: {text}", hint=_READ_ONLY)
    if error.sqlstate == "57014":  # query_canceled
        return UsageError("the statement took longer than it may", hint="ask for less, or allow more time")
    if error.diag.statement_position:
        text += _position(query, int(error.diag.statement_position) - 1)
    elif (error.sqlstate or "")[:2] not in ("22", "42"):  # neither bad data nor bad SQL
        return None
    return UsageError(text, hint=error.diag.message_hint or _hint(text, query))


def _position(query: str, offset: int) -> str:
    before = query[:offset]
    return f" (line {before.count(chr(10)) + 1}, column {offset - (before.rfind(chr(10)) + 1) + 1})"


def _hint(text: str, query: str) -> str | None:
    if "no such column" in text or (text.startswith("column ") and "does not exist" in text):
        asked = [view for view in VIEWS if re.search(rf"\b{view}\b", query, re.IGNORECASE)]
        return "; ".join(f"{view} has {', '.join(name for name, _ in VIEWS[view][1])}" for view in asked) or None
    if "no such table" in text or ("relation" in text and "does not exist" in text):
        return f"the views are {', '.join(VIEWS)}"
    if "one statement" in text or "multiple commands" in text:
        return "ask one question at a time"
    return None


def write_rows(
    columns: Sequence[str],
    rows: Iterable[Row],
    form: str,
    out: BinaryIO,
    *,
    printable: Callable[[str], str] | None = None,
    spreadsheet: bool = False,
) -> int:
    """Write rows as csv, json (one list), jsonl (one object a line) or parquet; returns how many.

    `printable`: `out` is a terminal, and this escapes what could move its cursor (JSON is ASCII then). `spreadsheet`:
    in csv, text that a spreadsheet would take for a formula begins with an apostrophe, and all is quoted.

    Holds BATCH_ROWS rows at a time. Parquet takes each column's type from the first batch (nothing but NULL: text)
    and raises UsageError where a later row does not fit it, or for an unknown format.
    """
    writers: dict[str, Callable[[Sequence[str], Iterator[list[Row]], BinaryIO], int]] = {
        "csv": partial(_write_csv, printable=printable, spreadsheet=spreadsheet),
        "json": partial(_write_json, ascii_only=printable is not None),
        "jsonl": partial(_write_jsonl, ascii_only=printable is not None),
        "parquet": _write_parquet,
    }
    if form not in writers:
        raise UsageError(f"there is no format {form!r}", hint=f"one of {', '.join(FORMATS)}")
    return writers[form](columns, _batches(rows), out)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch


def _write_csv(
    columns: Sequence[str],
    batches: Iterator[list[Row]],
    out: BinaryIO,
    *,
    printable: Callable[[str], str] | None,
    spreadsheet: bool,
) -> int:
    def cell(value: Any) -> Any:
        text = _text(value)
        if spreadsheet and not isinstance(value, (int, float, Decimal)) and isinstance(text, str):
            text = no_formula(text)
        return printable(text) if printable and isinstance(text, str) else text

    count = 0
    buffer = io.StringIO()
    quoted = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    usual = quoted if spreadsheet else csv.writer(buffer, lineterminator="\n")

    def write(row: Iterable[Any]) -> None:
        cells = [cell(value) for value in row]
        broken = any(isinstance(text, str) and "\r" in text for text in cells)  # Python quotes no lone return
        (quoted if broken else usual).writerow(cells)

    write(columns)
    for batch in chain([[]], batches):  # the header even where there are no rows
        for row in batch:
            write(row)
        out.write(buffer.getvalue().encode())
        buffer.seek(0)
        buffer.truncate()
        count += len(batch)
    return count


def no_formula(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would take it for a formula. A mere number stays."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _write_jsonl(columns: Sequence[str], batches: Iterator[list[Row]], out: BinaryIO, *, ascii_only: bool) -> int:
    count = 0
    for batch in batches:
        out.write("".join(f"{_json(columns, row, ascii_only)}\n" for row in batch).encode())
        count += len(batch)
    return count


def _write_json(columns: Sequence[str], batches: Iterator[list[Row]], out: BinaryIO, *, ascii_only: bool) -> int:
    count = 0
    out.write(b"[")
    for batch in batches:
        out.write(("\n" if count == 0 else ",\n").encode())
        out.write(",\n".join(_json(columns, row, ascii_only) for row in batch).encode())
        count += len(batch)
    out.write(b"\n]\n" if count else b"]\n")
    return count


def _write_parquet(columns: Sequence[str], batches: Iterator[list[Row]], out: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(batches, [])
    schema = pa.schema([(name, _type([_cell(row[i]) for row in first])) for i, name in enumerate(columns)])
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in chain([first], batches):
            arrays = [_array(field, [_cell(row[i]) for row in batch], count) for i, field in enumerate(schema)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def _type(values: list[Any]) -> pa.DataType:
    import pyarrow as pa

    try:
        found = pa.array(values).type
    except pa.ArrowException:  # SQLite's columns may mix types
        return pa.string()
    return pa.string() if pa.types.is_null(found) else found


def _array(field: pa.Field, values: list[Any], before: int) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_string(field.type):
        values = [None if value is None else _text(value) for value in values]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError) as error:
        raise UsageError(
            f"column {field.name} is {field.type} in the first rows, and something else after row {before}",
            hint=f"write CAST({field.name} AS ...) in the query, or another format",
        ) from error


def _cell(value: Any) -> Any:
    """What Arrow takes: numeric as float64 (sums and averages of Postgres), the rest as it is."""
    return float(value) if isinstance(value, Decimal) else value


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=_text)
    return value if value is None else str(value)


def _json(columns: Sequence[str], row: Row, ascii_only: bool) -> str:
    return json.dumps(dict(zip(columns, map(_plain, row), strict=True)), default=_text, ensure_ascii=ascii_only)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN
