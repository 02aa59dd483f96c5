"""JSON lines: one object per line.

    {"ts": "2026-03-01T12:00:00Z", "op": "GET", "url": "s3://bucket/events/a.csv", "bytes": 4096}
    {"ts": 1772366400, "op": "read", "dataset": "events", "object": "a.csv", "count": 3}

`ts` is ISO 8601 (UTC where it names no zone), as web servers write it (10/Oct/2026:13:55:36 +0200), or a number of
seconds, milli-, micro- or nanoseconds since 1970. `bytes` is
what the line's reads moved together (default: the whole object, `count` times), `count` defaults to 1. Optional are
`agent` (the program) and `requester` (who asked). Lines that are equal, byte for byte, in several files of one source
are one line: where several servers log, each should name itself in its lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import xxhash

from storaged.work.ingest.base import LARGEST_MOVED, LogFormat

KEYS: Final = ("ts", "url", "dataset", "object", "op", "bytes", "count", "agent", "requester")
STATUS: Final = "status"  # of the answer to a request; looked at only where a source says under which key it is
_STRUCT: Final = ", ".join(f'"{key}": "VARCHAR"' for key in KEYS)

_PARSED: Final = f"""
    SELECT i, line, CAST(NULL AS VARCHAR) AS status, unnest(TRY(json_transform(line, '{{{_STRUCT}}}')))
    FROM lines WHERE line NOT IN (e'\\n', e'\\r\\n')
"""  # noqa: S608  our own names


def _select(parsed: str, key: Mapping[str, str]) -> str:
    """`parsed` is a SELECT of `i`, `line`, and one text by the name of each of KEYS and STATUS. `key`: what messages
    call these."""

    def says(text: str) -> str:
        return "'" + text.format(**key).replace("'", "''") + "'"

    # A number under 10^11 is in seconds (until the year 5138), then in milliseconds (from 1973 on), and so forth.
    # TIMESTAMPTZ, because DuckDB's cast to TIMESTAMP drops "+02:00" without a word.
    return f"""
    WITH parsed AS ({parsed}), typed AS (
        SELECT *, coalesce(TRY_CAST(ts AS TIMESTAMPTZ), try_strptime(ts, '%d/%b/%Y:%H:%M:%S %z')) AS instant,
            CASE WHEN instant IS NULL THEN TRY_CAST(ts AS DOUBLE) END AS number,
            TRY_CAST(bytes AS BIGINT) AS moved,
            CASE WHEN "count" IS NULL THEN 1 ELSE TRY_CAST("count" AS BIGINT) END AS times
        FROM parsed
    )
    SELECT i, line,
        CASE
            WHEN isfinite(instant) THEN epoch_us(instant)
            WHEN number BETWEEN 0 AND 1e11 THEN CAST(number * 1e6 AS BIGINT)
            WHEN number BETWEEN 1e11 AND 1e14 THEN CAST(number * 1e3 AS BIGINT)
            WHEN number BETWEEN 1e14 AND 1e17 THEN CAST(number AS BIGINT)
            WHEN number BETWEEN 1e17 AND 1e20 THEN CAST(number / 1e3 AS BIGINT)
        END AS at_us,
        CASE
            WHEN coalesce(ts, op) IS NULL AND TRY(json_type(line)) IS DISTINCT FROM 'OBJECT'
                THEN 'it is no JSON object'
            WHEN ts IS NULL THEN {says("it has no `{ts}`")}
            WHEN at_us IS NULL THEN {says("its `{ts}` is no time")}
            WHEN op IS NULL THEN {says("it has no `{op}`")}
            WHEN bytes IS NOT NULL AND coalesce(moved NOT BETWEEN 0 AND {LARGEST_MOVED}, true)
                THEN {says("its `{bytes}` is no number of bytes")}
            WHEN coalesce(times NOT BETWEEN 1 AND 2147483648, true)
                THEN {says("its `{count}` is no number of reads")}
        END AS wrong,
        url, dataset, object,
        CASE
            WHEN left(status, 1) <> '2' THEN 'failed'
            WHEN lower(op) IN ('read', 'get', 'getobject', 'open') THEN 'read'
            WHEN lower(op) IN ('write', 'put', 'putobject', 'create') THEN 'write'
            ELSE lower(op)
        END AS op,
        moved AS nbytes, times AS "count", agent, requester
    FROM typed
"""  # noqa: S608  our own text, and quoted names


def _log(name: str, parsed: str, key: Mapping[str, str]) -> LogFormat:
    nowhere = "it has neither `{url}` nor `{dataset}` and `{object}`".format(**key)
    return LogFormat(name, _select(parsed, key), nowhere=nowhere)


def mapped(keys: Mapping[str, str], prefix: str | None) -> LogFormat:
    """The same for lines whose keys are called otherwise. `keys`: theirs by ours, with dots between those of objects
    within objects. `prefix` stands before each `url` that is none itself, of which what follows a ? is left out."""
    key = {name: name for name in KEYS} | dict(keys)
    paths = {name: _paths(path) for name, path in key.items()}
    columns = ", ".join(_column(name, paths) for name in (*KEYS, STATUS))
    listed = ", ".join(_quoted(path) for two in paths.values() for path in two)
    url = _whole(prefix) if prefix else "url"
    parsed = f"""
        SELECT * REPLACE ({url} AS url) FROM (
            SELECT i, line, {columns} FROM (
                SELECT i, line, TRY(json_extract_string(line, [{listed}])) AS found
                FROM lines WHERE line NOT IN (e'\\n', e'\\r\\n')))
    """  # noqa: S608  quoted paths
    digest = xxhash.xxh3_64_hexdigest(repr((sorted(keys.items()), prefix)).encode())
    return replace(_log("jsonl", parsed, key), mapping=f"-{digest}")


def _paths(key: str) -> tuple[str, str]:
    """Where a key is: under its whole name, or with its parts within one another."""
    return f'$."{key}"', "".join(["$", *(f'."{part}"' for part in key.split("."))])


def _column(name: str, paths: Mapping[str, tuple[str, str]]) -> str:
    if name not in paths:
        return f"CAST(NULL AS VARCHAR) AS {name}"
    at = 2 * list(paths).index(name) + 1
    return f'coalesce(found[{at}], found[{at + 1}]) AS "{name}"'


def _whole(prefix: str) -> str:
    before = _quoted(prefix if prefix.endswith("/") else f"{prefix}/")
    return f"CASE WHEN contains(url, '://') THEN url ELSE {before} || ltrim(split_part(url, '?', 1), '/') END"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


JSONL: Final = _log("jsonl", _PARSED, {name: name for name in KEYS})
