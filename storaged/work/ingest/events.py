"""Lines to events to daily counts, in DuckDB, in bounded memory. The catalog itself is never opened here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storaged.clock import DAY
from storaged.work.ingest.base import SAMPLES, LogFormat

MEMORY: Final = "512MB"  # DuckDB's own, beyond it spills to the state directory
EARLIEST_US: Final = 10_957 * DAY  # 2000-01-01; logs of object stores are younger
LARGEST_BYTES: Final = 2**55  # per object, day and batch: absurd lines must not overflow the catalog's integers
AGENT: Final = "storaged"  # how the user agent of our own requests begins
_ROWS: Final = 10_000  # turned into Python values at a time

_EVENTS: Final = (
    "i BIGINT, at_us BIGINT, url VARCHAR, dataset VARCHAR, object VARCHAR, op VARCHAR, nbytes BIGINT, count BIGINT,"
    " kind ENUM ('event', 'malformed', 'excluded', 'ignored')"
)

# file: URLs are paths to their roots; what file: and s3: URLs escape is written out, and what cannot be stays unknown.
_PLACE: Final = """
    CASE
        WHEN starts_with(url, 'file://') THEN substr(decoded, 8)
        WHEN starts_with(url, 's3://') THEN decoded
        ELSE url
    END
"""


class Events:
    """The events of the lines that were read since `clear`. Make it with `open_events`."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, log: LogFormat, roots: Mapping[int, tuple[str, str]]
    ) -> None:
        """`roots`: by dataset id, the dataset's name and root."""
        self._connection = connection
        self._log = log
        connection.execute("CREATE TEMP TABLE datasets (id INTEGER, name VARCHAR, prefix VARCHAR)")
        for number, (name, root) in roots.items():
            prefix = root.removeprefix("file://").rstrip("/") + "/"
            connection.execute("INSERT INTO datasets VALUES (?, ?, ?)", [number, name, prefix])
        longest_first = connection.execute("SELECT id, prefix FROM datasets ORDER BY length(prefix) DESC").fetchall()
        cases = " ".join(
            f"WHEN starts_with(place, {_quoted(prefix)}) THEN {number}" for number, prefix in longest_first
        )
        self.clear()
        self._dataset_of_place = f"CASE {cases} END" if cases else "CAST(NULL AS INTEGER)"

    def read(
        self, text: pa.ChunkedArray, first: int, *, now_us: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
        """Take in lines, numbered from `first` on.

        Returns the numbers of those that tell a time, the times (microseconds), and the first few malformed ones.
        """
        numbers = pa.array(np.arange(first, first + len(text)))
        lines = pa.table({"i": numbers, "line": text})
        self._connection.register("lines", lines)
        own = "false" if self._log.own else f"starts_with(agent, '{AGENT}')"
        self._connection.execute(
            f"""
            INSERT INTO events
            SELECT i, at_us, url, dataset, object, op, nbytes, "count",
                CASE
                    WHEN at_us IS NULL OR at_us NOT BETWEEN {EARLIEST_US} AND {now_us + DAY} THEN 'malformed'
                    WHEN op IS NULL OR "count" IS NULL THEN 'malformed'
                    WHEN url IS NULL AND (dataset IS NULL OR object IS NULL) THEN 'malformed'
                    WHEN {own} THEN 'excluded'
                    WHEN op NOT IN ('read', 'write') THEN 'ignored'
                    ELSE 'event'
                END AS kind
            FROM ({self._log.select})
            """  # noqa: S608  our own text and numbers
        )
        self._connection.unregister("lines")
        told = self._connection.execute(
            "SELECT i, at_us FROM events WHERE i >= ? AND kind <> 'malformed'", [first]
        ).fetchnumpy()
        malformed = self._connection.execute(
            f"SELECT i FROM events WHERE i >= ? AND kind = 'malformed' ORDER BY i LIMIT {SAMPLES}",  # noqa: S608
            [first],
        ).fetchall()
        return told["i"], told["at_us"], [number for (number,) in malformed]

    def clear(self) -> None:
        """Begin a new batch."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE events ({_EVENTS})")

    def leave_out(self, covered: NDArray[np.bool_]) -> None:
        """Forget the lines that were counted already."""
        if covered.any():
            gone = pa.table({"i": np.flatnonzero(covered)})
            self._connection.register("gone", gone)
            self._connection.execute("DELETE FROM events WHERE i IN (SELECT i FROM gone)")
            self._connection.unregister("gone")

    def kinds(self) -> dict[str, int]:
        """How many lines of the batch are of which kind: event, malformed, excluded, ignored."""
        return dict(self._connection.execute("SELECT kind, count(*) FROM events GROUP BY kind").fetchall())

    def count(self) -> None:
        """Add up the events by object and day, for `counts` and `nowhere`."""
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE counts AS
            WITH grouped AS (
                SELECT url, dataset, object, at_us // {DAY} AS day, count(*) AS lines,
                    sum("count") FILTER (op = 'read') AS reads,
                    sum(nbytes) FILTER (op = 'read') AS read_bytes,
                    sum("count") FILTER (op = 'read' AND nbytes IS NULL) AS whole_reads,
                    sum("count") FILTER (op = 'write') AS writes,
                    max(at_us) FILTER (op = 'read') AS last_us
                FROM events WHERE kind = 'event' GROUP BY ALL
            ), decoded AS (
                SELECT *, CASE WHEN contains(url, '%') THEN TRY(url_decode(url)) ELSE url END AS decoded FROM grouped
            ), found AS (
                SELECT p.*, n.id AS named_id, {_PLACE} AS place
                FROM decoded p LEFT JOIN datasets n ON n.name = p.dataset AND p.object IS NOT NULL
            ), placed AS (
                SELECT *, CASE WHEN named_id IS NULL THEN {self._dataset_of_place} END AS place_id FROM found
            ), named AS (
                SELECT f.*, coalesce(named_id, place_id) AS dataset_id,
                    CASE WHEN named_id IS NULL THEN substr(place, length(d.prefix) + 1) ELSE object END AS name
                FROM placed f LEFT JOIN datasets d ON d.id = f.place_id
            )
            SELECT
                CASE WHEN NOT contains(name, chr(0)) THEN dataset_id END AS dataset_id,
                coalesce(name, url, concat_ws('/', dataset, object)) AS name,
                CAST(day AS INTEGER) AS day,
                lines,
                CAST(coalesce(reads, 0) AS BIGINT) AS reads,
                CAST(least(coalesce(read_bytes, 0), {LARGEST_BYTES}) AS BIGINT) AS read_bytes,
                CAST(coalesce(whole_reads, 0) AS BIGINT) AS whole_reads,
                CAST(coalesce(writes, 0) AS BIGINT) AS writes,
                coalesce(last_us, 0) AS last_us
            FROM named
            """  # noqa: S608  our own text, numbers and quoted roots
        )

    def counts(self) -> Iterator[tuple[Any, ...]]:
        """Dataset id, object name, day, lines, reads, bytes read, whole reads, writes, last read; by object.

        Bytes are those that lines tell of; a whole read tells none. The last read (microseconds) is 0 without any.
        """
        query = "SELECT * FROM counts WHERE dataset_id IS NOT NULL ORDER BY dataset_id, name, day"
        for batch in self._connection.sql(query).to_arrow_reader(_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def nowhere(self) -> list[str]:
        """The first few urls and names that are in no dataset."""
        query = f"SELECT DISTINCT name FROM counts WHERE dataset_id IS NULL ORDER BY name LIMIT {SAMPLES}"  # noqa: S608
        return [name for (name,) in self._connection.execute(query).fetchall()]


@contextmanager
def open_events(log: LogFormat, roots: Mapping[int, tuple[str, str]], state_dir: Path) -> Iterator[Events]:
    """An Events whose memory is bounded; what does not fit goes to a directory in `state_dir` that ends with it."""
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=state_dir) as directory:
        settings: dict[str, Any] = {
            "memory_limit": MEMORY,
            "temp_directory": directory,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,  # nothing is fetched
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'")  # of instants that name no zone
            yield Events(connection, log, roots)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
