"""JSON lines: one object per line.

    {"ts": "2026-03-01T12:00:00Z", "op": "GET", "url": "s3://bucket/events/a.csv", "bytes": 4096}
    {"ts": 1772366400, "op": "read", "dataset": "events", "object": "a.csv", "count": 3}

`ts` is ISO 8601 (UTC where it names no zone), or a number of seconds or milliseconds since 1970. `bytes` is
what the line's reads moved together (default: the whole object, `count` times), `count` defaults to 1. Optional are
`agent` (the program) and `requester` (who asked). Lines that are equal, byte for byte, in several files of one source
are one line: where several servers log, each should name itself in its lines.
"""

from __future__ import annotations

from typing import Final

from storaged.work.ingest.base import LARGEST_MOVED, LogFormat

# A number under 10^11 is in seconds (until the year 5138), else in milliseconds (from 1973 on).
# TIMESTAMPTZ, because DuckDB's cast to TIMESTAMP drops "+02:00" without a word.
SELECT: Final = f"""
    WITH parsed AS (
        SELECT i, line, unnest(TRY(json_transform(line, '{{
            "ts": "VARCHAR", "url": "VARCHAR", "dataset": "VARCHAR", "object": "VARCHAR", "op": "VARCHAR",
            "bytes": "VARCHAR", "count": "VARCHAR", "agent": "VARCHAR", "requester": "VARCHAR"}}')))
        FROM lines WHERE line NOT IN (e'\\n', e'\\r\\n')
    ), typed AS (
        SELECT *, TRY_CAST(ts AS TIMESTAMPTZ) AS instant,
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
        END AS at_us,
        CASE
            WHEN coalesce(ts, op) IS NULL AND TRY(json_type(line)) IS DISTINCT FROM 'OBJECT' THEN 'it is no JSON object'
            WHEN ts IS NULL THEN 'it has no `ts`'
            WHEN at_us IS NULL THEN 'its `ts` is no time'
            WHEN op IS NULL THEN 'it has no `op`'
            WHEN bytes IS NOT NULL AND coalesce(moved NOT BETWEEN 0 AND {LARGEST_MOVED}, true)
                THEN 'its `bytes` is no number of bytes'
            WHEN coalesce(times NOT BETWEEN 1 AND 2147483648, true) THEN 'its `count` is no number of reads'
        END AS wrong,
        url, dataset, object,
        CASE lower(op)
            WHEN 'read' THEN 'read' WHEN 'get' THEN 'read' WHEN 'getobject' THEN 'read' WHEN 'open' THEN 'read'
            WHEN 'write' THEN 'write' WHEN 'put' THEN 'write' WHEN 'putobject' THEN 'write' WHEN 'create' THEN 'write'
            ELSE lower(op)
        END AS op,
        moved AS nbytes, times AS "count", agent, requester
    FROM typed
"""  # noqa: S608  a number

NOWHERE: Final = "it has neither `url` nor `dataset` and `object`"
JSONL: Final = LogFormat("jsonl", SELECT, nowhere=NOWHERE)
