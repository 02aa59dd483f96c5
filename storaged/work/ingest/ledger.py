"""Which lines of which log were counted, known by content. One ingest at a time moves it, together with the counts.

A log is cut into pieces: its segments (see lines.py), of which the first may lack its beginning (the file began within
it) and the last its end. A piece whose digest is in the ledger is counted. A line that occurs n times in one log counts
n times: the n-th equal piece of a file has a digest of its own, so of several copies the fullest one counts.

Pieces that lack an end are compared line by line (32-bit hashes) with the pieces that overlap them in time, wherever
both could be parts of one segment; only lines that no such piece holds are new. A piece found whole within a newer one
is replaced by it, so a growing log leaves one trailing piece, not one per ingest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import sqlalchemy as sa
import xxhash
from numpy.typing import NDArray

from storaged.catalog.schema import log_segments
from storaged.clock import SECOND
from storaged.work.ingest.lines import Block

_AT_ONCE: Final = 1_000  # digests per query
_GAP_US: Final = 3600 * SECOND  # of time between pieces for which one query is made rather than two


@dataclass(eq=False, slots=True)
class LogFile:
    """What one file has shown so far in this ingest."""

    path: str
    seen: Counter[bytes] = field(default_factory=Counter)  # equal pieces so far
    claimed: set[str] = field(default_factory=set)  # digests in the ledger that are pieces of this very file


@dataclass(eq=False, slots=True, kw_only=True)
class Piece:
    """A run of lines. `before` None: it may lack its beginning; `end` None: it may lack its end."""

    digest: str
    before: int | None  # hash of the line before it
    end: int | None  # hash of its last line, if that is a boundary
    lines: NDArray[np.uint32]
    from_us: int | None = None  # of its events; None: no line of it tells a time
    to_us: int | None = None

    @property
    def open(self) -> bool:
        return self.before is None or self.end is None


@dataclass(eq=False, slots=True, kw_only=True)
class NewPiece(Piece):
    """A piece of a file that is being ingested."""

    file: LogFile
    line: int  # number of its first line in the file, from 1
    offset: int = 0  # its first line among all lines that go to the ledger at once


def pieces(block: Block, file: LogFile) -> Iterator[NewPiece]:
    """The pieces of a block, each with its digest, which counts equal ones within the file. To be taken in order."""
    short = (block.hashes & np.uint64(0xFFFFFFFF)).astype("<u4")
    signed = block.hashes.view(np.int64)  # as the catalog's columns are
    before = block.before
    last = len(block.bounds) - 2
    for n in range(last + 1):
        low, high = int(block.bounds[n]), int(block.bounds[n + 1])
        content = xxhash.xxh3_128_digest(block.hashes[low:high].astype("<u8").tobytes())
        occurrence = file.seen[content]
        file.seen[content] += 1
        end = int(signed[high - 1]) if n < last or block.closed else None
        digest = xxhash.xxh3_128_hexdigest(content + occurrence.to_bytes(8, "little"))
        file.claimed.add(digest)
        yield NewPiece(
            digest=digest,
            before=before,
            end=end,
            lines=short[low:high],
            file=file,
            line=block.first_line + low + 1,
        )
        before = end


def lock(conn: sa.Connection) -> None:
    """Let no other ingest count meanwhile. Must be the transaction's first statement.

    SQLite's write transactions exclude each other anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("LOCK TABLE log_segments IN SHARE ROW EXCLUSIVE MODE")


def known(conn: sa.Connection, source: str, digests: Sequence[str]) -> set[str]:
    """Which of these pieces were counted."""
    column = log_segments.c.digest
    found: set[str] = set()
    for n in range(0, len(digests), _AT_ONCE):
        query = sa.select(column).where(log_segments.c.source == source, column.in_(digests[n : n + _AT_ONCE]))
        found.update(conn.execute(query).scalars())
    return found


def settle(conn: sa.Connection, source: str, fresh: Sequence[NewPiece], *, now_us: int) -> NDArray[np.bool_]:
    """Write pieces into the ledger; returns which of their lines (numbered by `Piece.offset`) were counted already.

    In a transaction that began with `lock`, and in which the caller counts the other lines.
    """
    covered = np.zeros(sum(len(p.lines) for p in fresh), np.bool_)
    counted = known(conn, source, [p.digest for p in fresh])  # by an ingest that came first since the caller looked
    others = _Others(_candidates(conn, source, fresh), room=len(fresh))
    many_files = len({id(p.file) for p in fresh}) > 1
    insert: dict[str, NewPiece] = {}
    delete: set[str] = set()
    for piece in fresh:
        lines = covered[piece.offset : piece.offset + len(piece.lines)]
        if piece.digest in counted:
            lines[:] = True
            continue
        held = False
        for other in others.beside(piece):
            common = _common(piece, other)
            if common is None:
                continue
            low, high = common
            lines[low:high] = True
            piece.file.claimed.add(other.digest)
            if high - low == len(piece.lines):
                held = True  # wholly within the other one
                break
            if high - low == len(other.lines):  # the other is wholly within this one, which replaces it
                insert.pop(other.digest, None)
                delete.add(other.digest)
        if not held:
            insert[piece.digest] = piece
            if many_files:
                others.add(piece)
    _write(conn, source, list(insert.values()), sorted(delete), now_us)
    return covered


class _Others:
    """Pieces that may share lines with a new one: of the ledger, and of other files of the same batch."""

    def __init__(self, found: list[Piece], room: int) -> None:
        self._pieces = found
        self._from = np.full(len(found) + room, np.iinfo(np.int64).max)  # an unused place is near nothing
        self._to = np.full(len(found) + room, np.iinfo(np.int64).min)
        for n, piece in enumerate(found):
            self._from[n], self._to[n] = piece.from_us, piece.to_us

    def add(self, piece: Piece) -> None:
        if piece.from_us is not None:
            self._from[len(self._pieces)], self._to[len(self._pieces)] = piece.from_us, piece.to_us
            self._pieces.append(piece)

    def beside(self, piece: NewPiece) -> list[Piece]:
        """Those that overlap it in time, where one of the two lacks an end, and that are no part of its own file."""
        if piece.from_us is None or not self._pieces:
            return []
        near = np.flatnonzero((self._from <= piece.to_us) & (self._to >= piece.from_us))
        found = [self._pieces[n] for n in near]
        return [p for p in found if (p.open or piece.open) and p.digest not in piece.file.claimed]


def _common(new: Piece, old: Piece) -> tuple[int, int] | None:
    """The longest run of lines of `new` that is also in `old`, if both can be parts of one segment; as [low, high).

    One begins within the other only if it may lack its beginning. (Nor does it end within it unless it may lack its
    end: the boundary there would end the other too.)
    """
    here, there = new.lines, old.lines
    shifts: set[int] = set()  # the line of `new` at which `old` begins; negative: `new` begins within `old`
    if old.before is None:
        shifts.update(np.flatnonzero(here == there[0]).tolist())
    if new.before is None:
        shifts.update((-np.flatnonzero(there == here[0])).tolist())
    if old.before == new.before:
        shifts.add(0)
    runs = [(min(len(here), s + len(there)) - max(0, s), s) for s in shifts]
    for length, shift in sorted(runs, reverse=True):
        low = max(0, shift)
        if np.array_equal(here[low : low + length], there[low - shift : low - shift + length]):
            return low, low + length
    return None


def _candidates(conn: sa.Connection, source: str, fresh: Sequence[NewPiece]) -> list[Piece]:
    """Pieces of the ledger that may share lines with new ones: where one of the two lacks an end."""
    column = log_segments.c
    lacks = sa.or_(column.before_hash.is_(None), column.end_hash.is_(None))
    spans = [(span, lacks) for span in _spans(fresh, gap_us=None)]
    spans += [(span, sa.not_(lacks)) for span in _spans([p for p in fresh if p.open], gap_us=_GAP_US)]
    found: dict[str, Piece] = {}
    for (low, high), which in spans:
        query = sa.select(
            column.digest, column.before_hash, column.end_hash, column.lines, column.from_us, column.to_us
        ).where(column.source == source, column.from_us <= high, column.to_us >= low, which)
        for digest, before, end, lines, from_us, to_us in conn.execute(query):
            found[digest] = Piece(
                digest=digest,
                before=before,
                end=end,
                lines=np.frombuffer(lines, "<u4"),
                from_us=from_us,
                to_us=to_us,
            )
    return list(found.values())


def _spans(some: Sequence[NewPiece], gap_us: int | None) -> list[tuple[int, int]]:
    """The times of these pieces, as spans in order with more than `gap_us` between them; None: as one span."""
    spans: list[tuple[int, int]] = []
    for low, high in sorted((p.from_us, p.to_us) for p in some if p.from_us is not None and p.to_us is not None):
        if spans and (gap_us is None or low <= spans[-1][1] + gap_us):
            spans[-1] = spans[-1][0], max(spans[-1][1], high)
        else:
            spans.append((low, high))
    return spans


def _write(conn: sa.Connection, source: str, new: Sequence[Piece], replaced: Sequence[str], now_us: int) -> None:
    for n in range(0, len(replaced), _AT_ONCE):
        conn.execute(
            sa.delete(log_segments).where(
                log_segments.c.source == source, log_segments.c.digest.in_(replaced[n : n + _AT_ONCE])
            )
        )
    if new:
        conn.execute(
            sa.insert(log_segments),
            [
                {
                    "source": source,
                    "digest": p.digest,
                    "before_hash": p.before,
                    "end_hash": p.end,
                    "lines": p.lines.tobytes(),
                    "from_us": p.from_us,
                    "to_us": p.to_us,
                    "counted_us": now_us,
                }
                for p in new
            ],
        )
