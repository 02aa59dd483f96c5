"""Daily counts into the catalog's rollups, and each touched object's heat anew from its rollups; set by set.

Counts of names that no scan has found yet wait in `access_waiting` for the one that finds them. Temporary tables carry
what is new: `new_names`, `touched` by object, `new_waiting` by name, `new_scores` the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.schema import access_waiting
from storaged.clock import DAY
from storaged.heat import DAYS, YEAR, decay_rate, recent

WAITING_DAYS: Final = 100  # what no scan found by then is not there any more
LARGEST_BYTES: Final = 2**55  # per object, day and batch: absurd lines must not overflow the catalog's integers
UNKNOWN_TOLD: Final = 10
_ROWS: Final = 10_000  # held as Python values at a time
_FETCHED: Final = 100_000  # rows of integers read at a time
_MOST_BYTES: Final = 2**62  # where a day's bytes stop growing, rather than overflow

_TABLES: Final = {
    "new_names": "n integer, dataset_id integer, name text",
    "touched": "object_id bigint, day integer, reads bigint, read_bytes bigint, writes bigint, last_us bigint",
    "new_waiting": "n integer, day integer, reads bigint, read_bytes bigint, whole_reads bigint, writes bigint,"
    " last_us bigint",
    "new_scores": "object_id bigint, last_us bigint, heat_reads double precision, heat_bytes double precision,"
    " heat_recent double precision, year_reads double precision, year_bytes double precision,"
    " days_reads double precision, days_bytes double precision, day_reads double precision, day_bytes double precision",
}
_FOUND: Final = """
    SELECT c.n, o.id, o.size FROM new_names c JOIN objects o ON o.dataset_id = c.dataset_id AND o.name = c.name
"""
_WAIT: Final = f"""
    INSERT INTO access_waiting (dataset_id, name, day, reads, read_bytes, whole_reads, writes, last_us)
    SELECT c.dataset_id, c.name, w.day, w.reads, w.read_bytes, w.whole_reads, w.writes, w.last_us
    FROM new_waiting w JOIN new_names c ON c.n = w.n WHERE true
    ON CONFLICT (dataset_id, name, day) DO UPDATE SET
        reads = access_waiting.reads + excluded.reads,
        read_bytes = CASE WHEN access_waiting.read_bytes + excluded.read_bytes > {_MOST_BYTES} THEN {_MOST_BYTES}
            ELSE access_waiting.read_bytes + excluded.read_bytes END,
        whole_reads = access_waiting.whole_reads + excluded.whole_reads,
        writes = access_waiting.writes + excluded.writes,
        last_us = CASE WHEN excluded.last_us > access_waiting.last_us THEN excluded.last_us
            ELSE access_waiting.last_us END
"""  # noqa: S608  a number
_UNKNOWN: Final = f"""
    SELECT DISTINCT d.name, c.name FROM new_waiting w JOIN new_names c ON c.n = w.n
    JOIN datasets d ON d.id = c.dataset_id ORDER BY d.name, c.name LIMIT {UNKNOWN_TOLD}
"""  # noqa: S608  a number
_WAITED: Final = f"""
    INSERT INTO touched
    SELECT o.id, w.day, w.reads, w.read_bytes + CASE WHEN w.whole_reads > {LARGEST_BYTES} / (o.size + 1)
        THEN {LARGEST_BYTES} ELSE w.whole_reads * o.size END, w.writes, w.last_us
    FROM access_waiting w JOIN objects o ON o.dataset_id = w.dataset_id AND o.name = w.name
"""  # noqa: S608  numbers
_WAIT_NO_MORE: Final = """
    DELETE FROM access_waiting WHERE (dataset_id, name) IN
        (SELECT o.dataset_id, o.name FROM objects o WHERE o.id IN (SELECT object_id FROM touched))
"""
# WHERE is there for SQLite, which would take ON CONFLICT for the ON of a join.
_ROLL_UP: Final = f"""
    INSERT INTO access (object_id, day, reads, read_bytes, writes, last_us)
    SELECT object_id, day, reads, read_bytes, writes, last_us FROM touched WHERE true ORDER BY object_id, day
    ON CONFLICT (object_id, day) DO UPDATE SET
        reads = access.reads + excluded.reads,
        read_bytes = CASE WHEN access.read_bytes + excluded.read_bytes > {_MOST_BYTES} THEN {_MOST_BYTES}
            ELSE access.read_bytes + excluded.read_bytes END,
        writes = access.writes + excluded.writes,
        last_us = CASE WHEN excluded.last_us > access.last_us THEN excluded.last_us ELSE access.last_us END
"""  # noqa: S608  numbers
_ROLLUPS: Final = """
    SELECT object_id, day, reads, read_bytes, last_us FROM access
    WHERE reads > 0 AND object_id IN (SELECT object_id FROM touched)
    ORDER BY object_id, day
"""
_LOCK: Final = """
    SELECT count(*) FROM (
        SELECT id FROM objects WHERE id IN (SELECT object_id FROM touched) ORDER BY id FOR NO KEY UPDATE) locked
"""
_UPDATE: Final = """
    UPDATE objects SET last_read_us = n.last_us, heat_reads = n.heat_reads, heat_bytes = n.heat_bytes,
        heat_recent = n.heat_recent, year_reads = n.year_reads, year_bytes = n.year_bytes,
        days_reads = n.days_reads, days_bytes = n.days_bytes, day_reads = n.day_reads, day_bytes = n.day_bytes
    FROM new_scores n WHERE objects.id = n.object_id
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the counts: lines of known objects, and names of the first UNKNOWN_TOLD unknown ones."""

    lines: int
    unknown: tuple[str, ...]


def rescore(conn: sa.Connection, half_life_us: int) -> None:
    """Score every object that was ever read anew: the half-life is another one now."""
    _make_tables(conn)
    conn.exec_driver_sql("INSERT INTO touched SELECT DISTINCT object_id, 0, 0, 0, 0, 0 FROM access")
    _score(conn, half_life_us)
    _drop_tables(conn)


def roll_up(
    conn: sa.Connection,
    names: Iterable[tuple[int, int, str]],
    counts: Mapping[str, NDArray[np.int64]],
    half_life_us: int,
) -> Counted:
    """Add counts (as `Events.names` and `Events.counts` have them) to the rollups and score the touched objects anew.

    Those of names that the catalog does not have wait.
    """
    _make_tables(conn)
    _stage(conn, "new_names", names)
    ids = np.full(int(counts["n"].max(initial=-1)) + 1, -1)
    sizes = np.zeros_like(ids)
    with closing(_cursor(conn, "found")) as cursor:
        cursor.execute(_FOUND)
        for n, number, size in _fetched(cursor, 3):
            ids[n], sizes[n] = number, size
    known = ids[counts["n"]] >= 0
    if known.any():
        _touch(conn, ids, sizes, {column: values[known] for column, values in counts.items()})
        conn.exec_driver_sql(_ROLL_UP)
        _score(conn, half_life_us)
    unknown: tuple[str, ...] = ()
    if not known.all():
        columns = ("n", "day", "reads", "read_bytes", "whole_reads", "writes", "last_us")
        _stage(conn, "new_waiting", _rows(*(counts[column][~known] for column in columns)))
        conn.exec_driver_sql(_WAIT)
        unknown = tuple(f"{dataset}/{name}" for dataset, name in conn.exec_driver_sql(_UNKNOWN))
    _drop_tables(conn)
    return Counted(int(counts["lines"][known].sum()), unknown)


def count_waiting(conn: sa.Connection, half_life_us: int, *, now_us: int) -> None:
    """Count what waited for objects that a scan has found since, and drop what waited too long."""
    _make_tables(conn)
    if conn.exec_driver_sql(_WAITED).rowcount:
        conn.exec_driver_sql(_WAIT_NO_MORE)
        conn.exec_driver_sql(_ROLL_UP)
        _score(conn, half_life_us)
    _drop_tables(conn)
    conn.execute(sa.delete(access_waiting).where(access_waiting.c.day < now_us // DAY - WAITING_DAYS))


def _make_tables(conn: sa.Connection) -> None:
    for name, columns in _TABLES.items():
        conn.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns})")


def _drop_tables(conn: sa.Connection) -> None:
    for name in _TABLES:
        conn.exec_driver_sql(f"DROP TABLE {name}")


def _touch(
    conn: sa.Connection, ids: NDArray[np.int64], sizes: NDArray[np.int64], counts: Mapping[str, NDArray[np.int64]]
) -> None:
    """Stage the counts of known objects, whose ids and sizes these are by number of the name."""
    whole, size = counts["whole_reads"], sizes[counts["n"]]
    moved = np.where(whole > LARGEST_BYTES // (size + 1), LARGEST_BYTES, whole * size)
    _stage(
        conn,
        "touched",
        _rows(
            ids[counts["n"]],
            counts["day"],
            counts["reads"],
            counts["read_bytes"] + moved,
            counts["writes"],
            counts["last_us"],
        ),
    )


def _rows(*columns: NDArray[np.int64]) -> Iterator[tuple[Any, ...]]:
    for n in range(0, len(columns[0]), _ROWS):
        yield from zip(*(column[n : n + _ROWS].tolist() for column in columns), strict=True)


def _score(conn: sa.Connection, half_life_us: int) -> None:
    """Give the touched objects their heat, from all of their rollups."""
    if conn.dialect.name == "postgresql":  # in one order, so that no two transactions wait for each other
        conn.exec_driver_sql(_LOCK)
    _stage(conn, "new_scores", _scores(conn, half_life_us))
    conn.exec_driver_sql(_UPDATE)


def _stage(conn: sa.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" for _ in _TABLES[table].split(","))
    driver: Any = conn.connection.driver_connection
    iterator = iter(rows)
    while some := list(islice(iterator, _ROWS)):  # rows may come over this very connection: not within a COPY
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", some)  # noqa: S608  our own names
            continue
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in some:
                copy.write_row(row)


def _scores(conn: sa.Connection, half_life_us: int) -> Iterator[tuple[Any, ...]]:
    """Object id, last read and the heats of each touched object."""
    held = np.empty((5, 0), np.int64)
    with closing(_cursor(conn, "rollups")) as cursor:
        cursor.execute(_ROLLUPS)
        for values in _fetched(cursor, 5):
            held = np.concatenate((held, values), axis=1)
            whole = int(np.searchsorted(held[0], held[0, -1]))  # the last object may have more rows
            yield from _scored(held[:, :whole], half_life_us)
            held = held[:, whole:]
    yield from _scored(held, half_life_us)


def _cursor(conn: sa.Connection, name: str) -> Any:
    """The driver's own cursor: SQLAlchemy's rows would take most of the time. On Postgres it is read in parts."""
    driver: Any = conn.connection.driver_connection
    return driver.cursor() if conn.dialect.name == "sqlite" else driver.cursor(name)


def _fetched(cursor: Any, columns: int) -> Iterator[NDArray[np.int64]]:
    """The columns of a result of integers, some rows at a time."""
    while some := cursor.fetchmany(_FETCHED):
        yield np.fromiter(chain.from_iterable(some), np.int64, columns * len(some)).reshape(-1, columns).T


def _scored(rollups: NDArray[np.int64], half_life_us: int) -> Iterator[tuple[Any, ...]]:
    """`storaged.heat.score`, of many objects at once. Rows are object id, day, reads, bytes and last read, in order."""
    if not rollups.shape[1]:
        return
    ids, day, reads, nbytes, last_us = rollups
    starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    latest = np.maximum.reduceat(day, starts)
    slow, fast = decay_rate(half_life_us), decay_rate(recent(half_life_us))
    before = day - np.repeat(latest, np.diff(starts, append=len(ids)))
    heats = []
    of_year, of_days = decay_rate(YEAR), decay_rate(DAYS)
    scored = (
        (reads, slow, np.add),
        (nbytes, slow, np.add),
        (reads, fast, np.add),
        (reads, of_year, np.add),
        (nbytes, of_year, np.add),
        (reads, of_days, np.add),
        (nbytes, of_days, np.add),
        (reads, of_days, np.maximum),
        (nbytes, of_days, np.maximum),
    )
    for counts, decay, merged in scored:
        total = merged.reduceat(counts * np.exp(decay * before), starts)
        some = total > 0
        heat = np.full(len(starts), None, object)
        heat[some] = (decay * (latest[some] + 0.5) + np.log(total[some])).tolist()
        heats.append(heat.tolist())
    yield from zip(ids[starts].tolist(), np.maximum.reduceat(last_us, starts).tolist(), *heats, strict=True)
