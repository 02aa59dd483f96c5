"""Lines to events to daily counts, in DuckDB, in bounded memory. The catalog itself is never opened here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storaged.catalog.rollups import LARGEST_BYTES
from storaged.clock import DAY
from storaged.work.ingest.base import SAMPLES, LogFormat, LogSource

MEMORY: Final = "128MB"  # DuckDB's own, beyond it spills to the state directory
THREADS: Final = 4  # at most: each needs its share of that, and the lines come from one
EARLIEST_US: Final = 10_957 * DAY  # 2000-01-01; logs of object stores are younger
AGENT: Final = "storaged/"  # how the user agent of our own requests begins
SHOWN: Final = 120  # characters of a malformed line
COUNTS: Final = ("n", "day", "lines", "reads", "read_bytes", "whole_reads", "writes", "last_us")
_ROWS: Final = 10_000  # turned into Python values at a time

_EVENTS: Final = (
    "i BIGINT, at_us BIGINT, url VARCHAR, dataset VARCHAR, object VARCHAR, read BOOLEAN, nbytes BIGINT, count BIGINT,"
    " reason VARCHAR, kind UTINYINT, shown VARCHAR"
)
_KINDS: Final = ("event", "malformed", "excluded", "ignored")
_EVENT, _MALFORMED, _EXCLUDED, _IGNORED = range(4)

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
        self,
        connection: duckdb.DuckDBPyConnection,
        log: LogFormat,
        roots: Mapping[int, tuple[str, str]],
        exclude_requesters: tuple[str, ...],
        longest: int,
    ) -> None:
        """`roots`: by dataset id, the dataset's name and root. `longest`: bytes of a name that an object may have."""
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
        self._dataset_of_place = f"CASE {cases} END" if cases else "CAST(NULL AS INTEGER)"
        ours = [] if log.own else [f"starts_with(agent, '{AGENT}')"]
        ours += [f"requester GLOB {_quoted(glob)}" for glob in exclude_requesters]
        self._ours = " OR ".join(ours) or "false"
        self._longest = longest
        self._decoded = "url"
        for _ in range(log.encoded):
            self._decoded = f"url_decode({self._decoded})"
        self.clear()

    def read(self, lines: pa.Table, *, now_us: int) -> None:
        """Take in lines: a table of `i`, their numbers, and `line`."""
        self._connection.register("lines", lines)
        self._connection.execute(
            f"""
            INSERT INTO events
            SELECT i, at_us, url, dataset, object, op = 'read', nbytes, "count",
                CASE
                    WHEN wrong IS NOT NULL THEN wrong
                    WHEN at_us < {EARLIEST_US} THEN 'its time is before 2000'
                    WHEN at_us > {now_us + DAY} THEN 'its time lies in the future'
                    WHEN {self._ours} OR op NOT IN ('read', 'write') THEN NULL
                    WHEN url IS NULL AND (dataset IS NULL OR object IS NULL) THEN {_quoted(self._log.nowhere)}
                END AS reason,
                CASE
                    WHEN reason IS NOT NULL THEN {_MALFORMED}
                    WHEN {self._ours} THEN {_EXCLUDED}
                    WHEN op NOT IN ('read', 'write') THEN {_IGNORED}
                    ELSE {_EVENT}
                END AS kind,
                CASE WHEN reason IS NOT NULL THEN left(line, {SHOWN}) END
            FROM ({self._log.select})
            """  # noqa: S608  our own text and numbers, and quoted globs
        )
        self._connection.unregister("lines")

    def clear(self) -> None:
        """Begin a new batch."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE events ({_EVENTS})")

    def times(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of the lines that are events, and the events' times (microseconds)."""
        query = "SELECT i, at_us FROM events WHERE kind = ?"
        told = self._connection.execute(query, [_EVENT]).fetchnumpy()
        return told["i"], told["at_us"]

    def names_about(self) -> int:
        """How many different things were read or written, within some percent."""
        query = f"SELECT approx_count_distinct(coalesce(url, object)) FROM events WHERE kind = {_EVENT}"  # noqa: S608
        return int(self._connection.execute(query).fetchall()[0][0])

    def malformed(self) -> NDArray[np.int64]:
        """The numbers of malformed lines, in order."""
        query = f"SELECT i FROM events WHERE kind = {_MALFORMED} ORDER BY i"  # noqa: S608
        return self._connection.execute(query).fetchnumpy()["i"]

    def reason(self, number: int) -> str:
        """Why this line is malformed."""
        query = "SELECT reason FROM events WHERE i = ?"
        return str(self._connection.execute(query, [number]).fetchall()[0][0])

    def reasons(self) -> list[tuple[str, int, int, str]]:
        """Why lines are malformed: for each reason how many, and of the first of them its number and how it begins."""
        query = f"""
            SELECT reason, count(*), min(i), arg_min(shown, i) FROM events WHERE kind = {_MALFORMED}
            GROUP BY reason ORDER BY min(i)
        """  # noqa: S608
        return self._connection.execute(query).fetchall()

    def samples(self) -> list[tuple[int, str, str]]:
        """The first few malformed lines: their numbers, how they begin, and why they are malformed."""
        query = f"SELECT i, shown, reason FROM events WHERE kind = {_MALFORMED} ORDER BY i LIMIT {SAMPLES}"  # noqa: S608
        return self._connection.execute(query).fetchall()

    def leave_out(self, numbers: NDArray[np.int64]) -> None:
        """Forget these lines: they count no more."""
        if len(numbers):
            gone = pa.table({"i": numbers})
            self._connection.register("gone", gone)
            self._connection.execute("DELETE FROM events WHERE i IN (SELECT i FROM gone)")
            self._connection.unregister("gone")

    def kinds(self) -> dict[str, int]:
        """How many lines of the batch are of which kind: event, malformed, excluded, ignored."""
        found = self._connection.execute("SELECT kind, count(*) FROM events GROUP BY kind").fetchall()
        return {_KINDS[kind]: lines for kind, lines in found}

    def count(self) -> None:
        """Add up the events by object and day, for `names`, `counts` and `nowhere`."""
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE counts AS
            WITH grouped AS (
                SELECT url, dataset, object, at_us // {DAY} AS day, count(*) AS lines,
                    sum("count") FILTER (read) AS reads,
                    sum(nbytes) FILTER (read) AS read_bytes,
                    sum("count") FILTER (read AND nbytes IS NULL) AS whole_reads,
                    sum("count") FILTER (NOT read) AS writes,
                    max(at_us) FILTER (read) AS last_us
                FROM events WHERE kind = {_EVENT} GROUP BY ALL
            ), decoded AS (
                SELECT *, CASE WHEN contains(url, '%') THEN TRY({self._decoded}) ELSE url END AS decoded FROM grouped
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
            SELECT CASE WHEN NOT contains(name, chr(0)) AND strlen(name) <= {self._longest} THEN dataset_id END
                    AS dataset_id,
                coalesce(name, url, concat_ws('/', dataset, object)) AS name, CAST(day AS INTEGER) AS day,
                sum(lines) AS lines, coalesce(sum(reads), 0) AS reads,
                least(coalesce(sum(read_bytes), 0), {LARGEST_BYTES}) AS read_bytes,
                coalesce(sum(whole_reads), 0) AS whole_reads, coalesce(sum(writes), 0) AS writes,
                coalesce(max(last_us), 0) AS last_us
            FROM named GROUP BY ALL
            """  # noqa: S608  our own text, numbers and quoted roots
        )
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE names AS SELECT row_number() OVER () - 1 AS n, * FROM"
            " (SELECT DISTINCT dataset_id, name FROM counts WHERE dataset_id IS NOT NULL ORDER BY dataset_id, name)"
        )

    def names(self) -> Iterator[tuple[int, int, str]]:
        """The objects that were counted: numbers from 0 on, dataset ids and names."""
        for batch in self._connection.sql("SELECT * FROM names ORDER BY n").to_arrow_reader(_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def counts(self) -> dict[str, NDArray[np.int64]]:
        """By number of the object `n` and `day`: lines, reads, read_bytes, whole_reads, writes, last_us.

        Bytes are those that lines tell of; a whole read tells none. The last read (microseconds) is 0 without any.
        """
        columns = ", ".join(f"CAST({name} AS BIGINT) AS {name}" for name in COUNTS)
        query = f"SELECT {columns} FROM counts JOIN names USING (dataset_id, name) ORDER BY n, day"  # noqa: S608
        return self._connection.execute(query).fetchnumpy()

    def nowhere(self) -> list[str]:
        """The first few urls and names that are in no dataset."""
        query = f"SELECT DISTINCT name FROM counts WHERE dataset_id IS NULL ORDER BY name LIMIT {SAMPLES}"  # noqa: S608
        return [name for (name,) in self._connection.execute(query).fetchall()]


@contextmanager
def open_events(
    log: LogFormat, source: LogSource, roots: Mapping[int, tuple[str, str]], directory: Path, *, longest: int
) -> Iterator[Events]:
    """An Events whose memory is bounded; what does not fit goes to files in `directory` that end with it. `longest`:
    bytes of a name that an object may have."""
    with tempfile.TemporaryDirectory(prefix="spill-", dir=directory) as spill:
        settings: dict[str, Any] = {
            "memory_limit": MEMORY,
            "threads": min(THREADS, os.cpu_count() or 1),
            "temp_directory": spill,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,  # nothing is fetched
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'")  # of instants that name no zone
            yield Events(connection, log, roots, source.exclude_requesters, longest)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
