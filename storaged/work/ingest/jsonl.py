"""JSON lines: one object per line.

    {"ts": "2026-03-01T12:00:00Z", "op": "GET", "url": "s3://bucket/events/a.csv", "bytes": 4096}
    {"ts": 1772366400, "op": "read", "dataset": "events", "object": "a.csv", "count": 3}

`ts` is ISO 8601 (UTC where it names no zone), or a number of seconds or milliseconds since 1970. `bytes` is
what the line's reads moved together (default: the whole object, `count` times), `count` defaults to 1, `agent` is
optional.
"""

from __future__ import annotations

from typing import Final

from storaged.work.ingest.base import LogFormat

# A number under 10^11 is in seconds (until the year 5138), else in milliseconds (from 1973 on).
# TIMESTAMPTZ, because DuckDB's cast to TIMESTAMP drops "+02:00" without a word.
SELECT: Final = """
    WITH parsed AS (
        SELECT i, unnest(json_transform(CASE WHEN json_valid(line) THEN line END, '{
            "ts": "VARCHAR", "url": "VARCHAR", "dataset": "VARCHAR", "object": "VARCHAR",
            "op": "VARCHAR", "bytes": "VARCHAR", "count": "VARCHAR", "agent": "VARCHAR"}'))
        FROM lines WHERE line NOT IN (e'\\n', e'\\r\\n')
    ), typed AS (
        SELECT *, TRY_CAST(ts AS TIMESTAMPTZ) AS instant, TRY_CAST(ts AS DOUBLE) AS number,
            TRY_CAST(bytes AS BIGINT) AS moved,
            CASE WHEN "count" IS NULL THEN 1 ELSE TRY_CAST("count" AS BIGINT) END AS times
        FROM parsed
    )
    SELECT i,
        CASE
            WHEN bytes IS NOT NULL AND (moved IS NULL OR moved NOT BETWEEN 0 AND 1125899906842624) THEN NULL
            WHEN times IS NULL OR times NOT BETWEEN 1 AND 2147483648 THEN NULL
            WHEN isfinite(instant) THEN epoch_us(instant)
            WHEN number BETWEEN 0 AND 1e11 THEN CAST(number * 1e6 AS BIGINT)
            WHEN number BETWEEN 1e11 AND 1e14 THEN CAST(number * 1e3 AS BIGINT)
        END AS at_us,
        url, dataset, object,
        CASE lower(op)
            WHEN 'read' THEN 'read' WHEN 'get' THEN 'read' WHEN 'getobject' THEN 'read' WHEN 'open' THEN 'read'
            WHEN 'write' THEN 'write' WHEN 'put' THEN 'write' WHEN 'putobject' THEN 'write' WHEN 'create' THEN 'write'
            ELSE lower(op)
        END AS op,
        moved AS nbytes, times AS "count", agent
    FROM typed
"""

JSONL: Final = LogFormat("jsonl", SELECT)
