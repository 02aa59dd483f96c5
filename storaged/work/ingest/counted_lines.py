"""Which lines of a source's logs were counted, known by their content. Moved in one transaction with the counts.

For each minute of the events' own times the ledger holds a 32-bit hash of each line that was counted. So a line counts
once, in whatever files and order it comes: renamed, compressed, grown, cut, merged and sorted logs change nothing. A
line that occurs n times in one log counts n times (`lines.Numbering`): of several copies the fullest one counts. One
new line in 2^32 / (lines of its minute) is taken for a counted one.

Whole blocks of text (and, in stores, whole files) that were counted are remembered too, only so that they are not read
again. What is older than KEPT_US is forgotten, all but that it is: a line from before then is late, and never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.schema import log_blocks, log_files, log_lines, log_sources
from storaged.clock import DAY, SECOND

MINUTE: Final = 60 * SECOND
KEPT_US: Final = 100 * DAY  # logs arrive hours late, seldom days: this is for copies of logs that turn up again
_AT_ONCE: Final = 1_000  # values per query
_HASH: Final = np.uint64(0xFFFFFFFF)
_SHIFT: Final = np.uint64(32)

_SAW_BLOCK: Final = sa.text(
    "INSERT INTO log_blocks (source, digest, seen_us) VALUES (:source, :digest, :seen_us)"
    " ON CONFLICT (source, digest) DO UPDATE SET seen_us = excluded.seen_us"
)
_SAW_FILE: Final = sa.text(
    "INSERT INTO log_files (source, key, identity, read_us) VALUES (:source, :key, :identity, :read_us)"
    " ON CONFLICT (source, key) DO UPDATE SET identity = excluded.identity, read_us = excluded.read_us"
)
_WRITE_LINES: Final = sa.text(
    "INSERT INTO log_lines (source, minute, hashes) VALUES (:source, :minute, :hashes)"
    " ON CONFLICT (source, minute) DO UPDATE SET hashes = excluded.hashes"
)


def lock(conn: sa.Connection) -> None:
    """Let no other ingest count meanwhile. Must be the transaction's first statement.

    SQLite's write transactions exclude each other anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("LOCK TABLE log_sources IN SHARE ROW EXCLUSIVE MODE")


class Memory(NamedTuple):
    """What the ledger knows of a source as a whole. All in microseconds."""

    begun_us: int  # when it was first ingested
    from_us: int | None  # its first event
    kept_from_us: int  # lines of earlier events are forgotten


def memory(conn: sa.Connection, source: str, *, now_us: int) -> Memory:
    """What is known of this source, which begins now if nothing is. In a transaction that began with `lock`."""
    query = sa.select(log_sources.c.begun_us, log_sources.c.from_us, log_sources.c.kept_from_us).where(
        log_sources.c.source == source
    )
    found = conn.execute(query).one_or_none()
    if found is None:
        conn.execute(sa.insert(log_sources).values(source=source, begun_us=now_us, kept_from_us=0))
        return Memory(now_us, None, 0)
    return Memory(*found)


def known_blocks(conn: sa.Connection, source: str, digests: Sequence[str]) -> set[str]:
    column = log_blocks.c.digest
    found: set[str] = set()
    for n in range(0, len(digests), _AT_ONCE):
        query = sa.select(column).where(log_blocks.c.source == source, column.in_(digests[n : n + _AT_ONCE]))
        found.update(conn.execute(query).scalars())
    return found


def saw_blocks(conn: sa.Connection, source: str, digests: Iterable[str], *, now_us: int) -> None:
    """Remember blocks whose lines are all in the ledger, or that they are still there."""
    rows = [{"source": source, "digest": digest, "seen_us": now_us} for digest in digests]
    if rows:
        conn.execute(_SAW_BLOCK, rows)


def saw_files(conn: sa.Connection, source: str, files: Iterable[tuple[str, str]], *, now_us: int) -> None:
    """Remember files of a store, by key and identity, that were counted to their ends."""
    rows = [{"source": source, "key": key, "identity": identity, "read_us": now_us} for key, identity in files]
    if rows:
        conn.execute(_SAW_FILE, rows)


def settle(
    conn: sa.Connection, source: str, hashes: NDArray[np.uint64], times: NDArray[np.int64], *, now_us: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Write the lines of events into the ledger. Returns which of them were counted already, and which are late.

    `times` are those of the events (microseconds). In a transaction that began with `lock`, and in which the caller
    counts the other lines.
    """
    state = memory(conn, source, now_us=now_us)
    late = times < state.kept_from_us
    keys = ((times // MINUTE).astype(np.uint64) << _SHIFT) | (hashes & _HASH)
    order = np.argsort(keys, kind="stable")
    order = order[~late[order]]
    ordered = keys[order]
    held = _held(conn, source, np.unique(ordered >> _SHIFT))
    counted = _within(ordered, held)
    counted[1:] |= ordered[1:] == ordered[:-1]
    covered = np.zeros(len(keys), np.bool_)
    covered[order] = counted
    new = ordered[~counted]
    if len(new):
        _write(conn, source, held, new)
        first = int(times[~(covered | late)].min())
        if state.from_us is None or first < state.from_us:
            conn.execute(sa.update(log_sources).where(log_sources.c.source == source).values(from_us=first))
    return covered, late


def _held(conn: sa.Connection, source: str, minutes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What the ledger holds of these minutes: minute and hash as one number, in order."""
    found: dict[int, bytes] = {}
    column = log_lines.c
    for n in range(0, len(minutes), _AT_ONCE):
        query = sa.select(column.minute, column.hashes).where(
            column.source == source, column.minute.in_(minutes[n : n + _AT_ONCE].tolist())
        )
        found.update((minute, hashes) for minute, hashes in conn.execute(query))
    parts = [np.frombuffer(found[m], "<u4").astype(np.uint64) | np.uint64(m << 32) for m in sorted(found)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _within(some: NDArray[np.uint64], held: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(held):
        return np.zeros(len(some), np.bool_)
    return np.equal(held[np.minimum(np.searchsorted(held, some), len(held) - 1)], some)


def _write(conn: sa.Connection, source: str, held: NDArray[np.uint64], new: NDArray[np.uint64]) -> None:
    """Put new lines beside those that the ledger holds of the same minutes."""
    beside = held[_within(held >> _SHIFT, np.unique(new >> _SHIFT))]
    keys = np.sort(np.concatenate((beside, new)))
    minutes = keys >> _SHIFT
    starts = np.flatnonzero(np.diff(minutes, prepend=np.uint64(0)))
    hashes = (keys & _HASH).astype("<u4")
    conn.execute(
        _WRITE_LINES,
        [
            {"source": source, "minute": int(minutes[low]), "hashes": hashes[low:high].tobytes()}
            for low, high in zip(starts.tolist(), [*starts[1:].tolist(), len(keys)], strict=True)
        ],
    )


def forget(conn: sa.Connection, source: str, gone: Sequence[str], *, now_us: int) -> None:
    """Drop what is older than KEPT_US, and `gone` files. Only once all logs were read to their ends, since older lines
    that come after it are late. In a transaction that began with `lock`."""
    kept_from_us = (now_us - KEPT_US) // MINUTE * MINUTE
    if kept_from_us > memory(conn, source, now_us=now_us).kept_from_us:
        old = log_lines.c.minute < kept_from_us // MINUTE
        if conn.execute(sa.delete(log_lines).where(log_lines.c.source == source, old)).rowcount:
            values = {"kept_from_us": kept_from_us}
            conn.execute(sa.update(log_sources).where(log_sources.c.source == source).values(values))
    conn.execute(sa.delete(log_blocks).where(log_blocks.c.source == source, log_blocks.c.seen_us < kept_from_us))
    for n in range(0, len(gone), _AT_ONCE):
        keys = log_files.c.key.in_(gone[n : n + _AT_ONCE])
        conn.execute(sa.delete(log_files).where(log_files.c.source == source, keys))
