"""Daily counts into the catalog's rollups, and each touched object's heat anew from its rollups; set by set.

Temporary tables carry what is new: `new_counts` by name, `touched` by object, `new_scores` the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.heat import decay_rate
from storaged.work.ingest.base import SAMPLES
from storaged.work.ingest.events import LARGEST_BYTES

_ROWS: Final = 10_000  # held as Python values at a time
_SCORED: Final = 100_000  # rollups read at a time
_MOST_BYTES: Final = 2**62  # where a day's bytes stop growing, rather than overflow

_TABLES: Final = {
    "new_counts": "dataset_id integer, name text, day integer, lines bigint, reads bigint, read_bytes bigint,"
    " whole_reads bigint, writes bigint, last_us bigint",
    "touched": "object_id bigint, day integer, lines bigint, reads bigint, read_bytes bigint,"
    " writes bigint, last_us bigint",
    "new_scores": "object_id bigint, last_us bigint, heat_reads double precision, heat_bytes double precision",
}
_TOUCH: Final = f"""
    INSERT INTO touched
    SELECT o.id, c.day, sum(c.lines), sum(c.reads),
        sum(c.read_bytes + CASE WHEN c.whole_reads > {LARGEST_BYTES} / (o.size + 1) THEN {LARGEST_BYTES}
            ELSE c.whole_reads * o.size END),
        sum(c.writes), max(c.last_us)
    FROM new_counts c JOIN objects o ON o.dataset_id = c.dataset_id AND o.name = c.name
    GROUP BY o.id, c.day
"""  # noqa: S608  numbers
_UNKNOWN: Final = f"""
    SELECT DISTINCT d.name, c.name
    FROM new_counts c JOIN datasets d ON d.id = c.dataset_id
    WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.dataset_id = c.dataset_id AND o.name = c.name)
    ORDER BY d.name, c.name LIMIT {SAMPLES}
"""  # noqa: S608  a number
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
    UPDATE objects SET last_read_us = n.last_us, heat_reads = n.heat_reads, heat_bytes = n.heat_bytes
    FROM new_scores n WHERE objects.id = n.object_id
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the counts: lines of known objects, and names of the first few unknown ones."""

    lines: int
    unknown: tuple[str, ...]


def rescore(conn: sa.Connection, half_life_us: int) -> None:
    """Score every object that was ever read anew: the half-life is another one now."""
    _make_tables(conn)
    conn.exec_driver_sql("INSERT INTO touched SELECT DISTINCT object_id, 0, 0, 0, 0, 0, 0 FROM access")
    _score(conn, half_life_us)
    _drop_tables(conn)


def roll_up(conn: sa.Connection, counts: Iterable[tuple[Any, ...]], half_life_us: int) -> Counted:
    """Add counts (as `Events.counts` has them) to the rollups and score the touched objects anew."""
    _make_tables(conn)
    _stage(conn, "new_counts", counts)
    conn.exec_driver_sql(_TOUCH)
    conn.exec_driver_sql(_ROLL_UP)
    _score(conn, half_life_us)
    lines = int(conn.exec_driver_sql("SELECT coalesce(sum(lines), 0) FROM touched").scalar_one())
    unknown: tuple[str, ...] = ()
    if lines < int(conn.exec_driver_sql("SELECT coalesce(sum(lines), 0) FROM new_counts").scalar_one()):
        unknown = tuple(f"{dataset}/{name}" for dataset, name in conn.exec_driver_sql(_UNKNOWN))
    _drop_tables(conn)
    return Counted(lines, unknown)


def _make_tables(conn: sa.Connection) -> None:
    for name, columns in _TABLES.items():
        conn.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns})")


def _drop_tables(conn: sa.Connection) -> None:
    for name in _TABLES:
        conn.exec_driver_sql(f"DROP TABLE {name}")


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
    """Object id, last read and both heats of each touched object."""
    driver: Any = conn.connection.driver_connection
    held = np.empty((5, 0), np.int64)
    # The driver's own cursor: SQLAlchemy's rows would take most of the time. On Postgres a named one, read in parts.
    with closing(driver.cursor() if conn.dialect.name == "sqlite" else driver.cursor("rollups")) as cursor:
        cursor.execute(_ROLLUPS)
        while some := cursor.fetchmany(_SCORED):
            values = np.fromiter(chain.from_iterable(some), np.int64, 5 * len(some))
            held = np.concatenate((held, values.reshape(-1, 5).T), axis=1)
            whole = int(np.searchsorted(held[0], held[0, -1]))  # the last object may have more rows
            yield from _scored(held[:, :whole], half_life_us)
            held = held[:, whole:]
    yield from _scored(held, half_life_us)


def _scored(rollups: NDArray[np.int64], half_life_us: int) -> Iterator[tuple[Any, ...]]:
    """`storaged.heat.score`, of many objects at once. Rows are object id, day, reads, bytes and last read, in order."""
    if not rollups.shape[1]:
        return
    ids, day, reads, nbytes, last_us = rollups
    starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    latest = np.maximum.reduceat(day, starts)
    decay = decay_rate(half_life_us)
    weight = np.exp(decay * (day - np.repeat(latest, np.diff(starts, append=len(ids)))))
    heats = []
    for counts in (reads, nbytes):
        total = np.add.reduceat(counts * weight, starts)
        some = total > 0
        heat = np.full(len(starts), None, object)
        heat[some] = (decay * (latest[some] + 0.5) + np.log(total[some])).tolist()
        heats.append(heat.tolist())
    yield from zip(ids[starts].tolist(), np.maximum.reduceat(last_us, starts).tolist(), *heats, strict=True)
