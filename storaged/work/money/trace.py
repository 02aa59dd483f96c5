"""Traces of accesses from files, Parquet or CSV, by DuckDB; what lies elsewhere, as in a bucket, is copied first."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from storaged.decide.simulate.trace import Days, Trace
from storaged.errors import UsageError
from storaged.work.scan.partitions import format_of

COLUMNS: Final = ("ts", "object_id", "op", "size_bytes")
OPTIONAL: Final = ("count", "bytes")
LONGEST_DAYS: Final = 36_525  # a century, as of any duration
_NAMES: Final = 100_000  # read at a time
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://")
_PIECE: Final = 8 << 20  # bytes
_MEMORY: Final = "768MiB"
_FORM: Final = f"a trace has the columns {', '.join(COLUMNS)}, and may have {' and '.join(OPTIONAL)}"
_INTEGERS: Final = frozenset(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE"))
_NUMBERS: Final = _INTEGERS | {"INTEGER", "UINTEGER", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR"}
_TIMES: Final = frozenset({"DATE", *(f"TIMESTAMP{kind}" for kind in ("", "_S", "_MS", "_NS", " WITH TIME ZONE"))})
# A cast to TIMESTAMP takes no notice of an offset, and one to the other without an offset asks for the session's zone.
_ISO: Final = """
    CASE WHEN regexp_matches(ts, ':.*(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)$') THEN epoch_us(TRY_CAST(ts AS TIMESTAMPTZ))
    ELSE epoch_us(TRY_CAST(ts AS TIMESTAMP)) END / 1e6
"""
_UNITS: Final = ((1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds"))
_THIS_AGE: Final = (1e9, 1e10)  # seconds: from 2001 to 2286

_TYPED: Final = """
    CREATE VIEW typed AS SELECT
        TRY_CAST(floor({seconds} / 86400) AS BIGINT) AS day,
        CAST(object_id AS VARCHAR) AS object,
        CAST(op AS VARCHAR) AS op,
        TRY_CAST(size_bytes AS BIGINT) AS size,
        CASE WHEN {count} IS NULL THEN 1 ELSE TRY_CAST({count} AS BIGINT) END AS reads,
        TRY_CAST({bytes} AS BIGINT) AS read_bytes,
        CAST(ts AS VARCHAR) AS told_ts, CAST(size_bytes AS VARCHAR) AS told_size,
        CAST({count} AS VARCHAR) AS told_count, CAST({bytes} AS VARCHAR) AS told_bytes
    FROM told
"""
_LARGEST: Final = 1 << 62  # bytes
_WRONG: Final = (  # column, as it was told, when it is wrong, what is wanted
    ("ts", "told_ts", "day IS NULL", "seconds, or instants as ISO 8601 writes them"),
    ("object_id", "object", "object IS NULL", "a text or a number"),
    ("op", "op", "op IS NULL OR op NOT IN ('read', 'write')", "read or write"),
    ("size_bytes", "told_size", f"told_size IS NOT NULL AND (size BETWEEN 0 AND {_LARGEST}) IS NOT TRUE", "bytes"),
    ("count", "told_count", "(reads >= 0) IS NOT TRUE", "a number of accesses"),
    ("bytes", "told_bytes", f"told_bytes IS NOT NULL AND (read_bytes BETWEEN 0 AND {_LARGEST}) IS NOT TRUE", "bytes"),
)
_OBJECTS: Final = """
    CREATE TABLE known AS SELECT row_number() OVER (ORDER BY created, object) - 1 AS number, * FROM (
        SELECT object, min(day) AS created, max(size) AS size FROM typed GROUP BY object)
"""
_READS: Final = """
    SELECT number, day, CAST(sum(reads) AS BIGINT) AS reads,
        CAST(sum(coalesce(read_bytes, CAST(reads AS HUGEINT) * known.size)) AS BIGINT) AS read_bytes
    FROM typed JOIN known USING (object) WHERE op = 'read' AND reads > 0 GROUP BY ALL ORDER BY number, day
"""


def read_trace(where: str, *, formats: bool = False, on_note: Callable[[str], None] = lambda _: None) -> Trace:
    """A trace from a file, or from what a URL of fsspec names, such as s3://bucket/reads.parquet.

    Columns ts, object_id, op (read or write), size_bytes, and where they are there count (null: 1) and bytes (null:
    count times size). Rows may come in any order. `ts` is in seconds, or instants, as such or as ISO 8601 writes them
    (UTC where there is no offset); what can only be other units of these is taken as that, and told to `on_note`.
    `formats`: whether the objects' names tell their formats.

    Raises UsageError for what is no such file, or has values that cannot be.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = _fetched(where, Path(folder, "trace")) if _URL.match(where) else Path(where)
        try:
            with path.open("rb") as stream:
                parquet = stream.read(4) == b"PAR1"
        except OSError as error:
            raise UsageError(f"the trace {where} cannot be read: {error.strerror}") from error
        try:
            with duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder}) as db:
                db.execute("SET enable_progress_bar = false")  # it would print to stdout where Python has no script
                if parquet:
                    told = db.read_parquet(_no_pattern(path))
                else:
                    told = db.read_csv(_no_pattern(path), header=True, sep=",", all_varchar=True)
                told.create_view("told")
                return _read(db, where, formats, on_note)
        except duckdb.Error as error:
            said = str(error).strip().split("\n", 1)[0]
            hint = "it must be Parquet, or CSV with a header and commas"
            raise UsageError(f"the trace {where} cannot be read: {said}", hint=hint) from error


def _fetched(url: str, copy: Path) -> Path:
    """A copy of it, which DuckDB reads several times. Raises UsageError."""
    import fsspec
    from botocore.exceptions import BotoCoreError  # of s3fs, where it finds no credentials, or no server

    try:
        with fsspec.open(url, "rb", compression=None, skip_instance_cache=True) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, _PIECE)
    except (OSError, ValueError, ImportError, BotoCoreError) as error:
        hint = "credentials, region and endpoint are looked for as other programs do: AWS_PROFILE, AWS_ENDPOINT_URL"
        why = "nothing is there" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        told = hint if url.startswith("s3://") else None
        raise UsageError(f"the trace {url} cannot be read: {why}", hint=told) from error
    return copy


def _no_pattern(path: Path) -> str:
    """A path in which DuckDB sees no wildcards."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def _read(db: duckdb.DuckDBPyConnection, where: str, formats: bool, on_note: Callable[[str], None]) -> Trace:
    types = {name: str(kind).split("(")[0] for name, kind, *_ in db.execute("DESCRIBE told").fetchall()}
    missing = [name for name in COLUMNS if name not in types]
    if missing:
        raise UsageError(f"the trace {where} has no column {', '.join(missing)}", hint=_FORM)
    for name in ("ts", "size_bytes", *OPTIONAL):
        if types.get(name, "VARCHAR") not in (_NUMBERS | _TIMES if name == "ts" else _NUMBERS):
            hint = "seconds are wanted, or instants" if name == "ts" else "a number is wanted"
            raise UsageError(f"the column {name} of {where} has the type {types[name]}", hint=hint)
    optional = {name: f'"{name}"' if name in types else "CAST(NULL AS BIGINT)" for name in OPTIONAL}
    seconds = _seconds(db, where, types["ts"], on_note)
    db.execute(_TYPED.format(seconds=seconds, **optional))
    first, last = _checked(db, where)
    db.execute(_OBJECTS)
    unknown, example = db.execute("SELECT count(*), min(object) FROM known WHERE size IS NULL").fetchall()[0]
    if unknown:
        message = f"{where} does not tell the size of {unknown:,} of its objects, such as {example!r}"
        raise UsageError(message, hint="each object needs `size_bytes` in at least one row")
    known = db.execute("SELECT created, size FROM known ORDER BY number").fetchnumpy()
    named, of_format = _formats(db) if formats else ((), None)
    rows = db.execute(_READS).fetchnumpy()
    return Trace(
        days=last - first + 1,
        created=(known["created"] - first).astype(np.int32),
        sizes=known["size"].astype(np.int64),
        starts=np.searchsorted(rows["number"], np.arange(len(known["created"]) + 1)),
        read_day=(rows["day"] - first).astype(np.int32),
        reads=rows["reads"].astype(np.int64, copy=False),
        read_bytes=rows["read_bytes"].astype(np.int64, copy=False),
        formats=named,
        format=of_format,
    )


def _seconds(db: duckdb.DuckDBPyConnection, where: str, kind: str, on_note: Callable[[str], None]) -> str:
    """What makes seconds of `ts`: of instants themselves, of numbers, or of either as text."""
    if kind in _TIMES:
        return "epoch_us(ts) / 1e6"
    number = "TRY_CAST(ts AS DOUBLE)"
    # DuckDB 2.0 lets its CSV reader do a TRY_CAST that is all that is asked of a column, and that raises.
    least, most, _ = db.view("told").aggregate(f"min({number}), max({number}), any_value(ts)").fetchall()[0]
    begin, end = _THIS_AGE
    unit, name = next(
        ((u, n) for u, n in _UNITS if least is not None and begin * u <= least and most < end * u), (1, "seconds")
    )
    if unit > 1:
        on_note(f"`ts` of {where} is in {name}: taken as that")
    return f"coalesce({number} / {unit}, {_ISO})" if kind == "VARCHAR" else f"{number} / {unit}"


def _formats(db: duckdb.DuckDBPyConnection) -> tuple[tuple[str, ...], Days]:
    """The formats that the objects' names tell, and by object which of these."""
    numbers: dict[str, int] = {}
    rows = db.execute("SELECT object FROM known ORDER BY number")
    found = np.zeros(0, np.int32)
    while names := rows.fetchmany(_NAMES):
        some = [numbers.setdefault(format_of(name), len(numbers)) for (name,) in names]
        found = np.concatenate((found, np.array(some, np.int32)))
    return tuple(numbers), found


def _checked(db: duckdb.DuckDBPyConnection, where: str) -> tuple[int, int]:
    """The first and the last day (since 1970). Raises UsageError."""
    counts = ", ".join(f"count_if({test})" for _, _, test, _ in _WRONG)
    typed = db.view("typed")
    total, first, last, *wrong = typed.aggregate(f"count(*), min(day), max(day), {counts}").fetchall()[0]
    if not total:
        raise UsageError(f"the trace {where} is empty", hint=_FORM)
    for number, (column, told, test, wanted) in zip(wrong, _WRONG, strict=True):
        if number:
            found = typed.filter(test).aggregate(f"min({told})").fetchall()[0][0]
            value = "nothing" if found is None else repr(found)
            message = f"{where}: `{column}` of {number:,} of {total:,} rows cannot be, such as {value}"
            raise UsageError(message, hint=f"wanted: {wanted}")
    if last - first >= LONGEST_DAYS:
        message = f"the trace {where} spans {last - first + 1:,} days"
        raise UsageError(message, hint="`ts` is in seconds; a century is the most: are these milliseconds?")
    return int(first), int(last)
