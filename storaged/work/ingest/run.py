"""Ingest: the lines of a source's logs that no ingest counted yet become counts, heat and coverage."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from operator import attrgetter
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets
from storaged.errors import UsageError
from storaged.work.ingest import coverage, ledger
from storaged.work.ingest.base import SAMPLES, IngestReport, LogSource, Malformed
from storaged.work.ingest.events import Events, open_events
from storaged.work.ingest.ledger import LogFile, NewPiece
from storaged.work.ingest.lines import BLOCK_BYTES, Block, UnreadableLogError, read_blocks
from storaged.work.ingest.registry import FORMATS
from storaged.work.ingest.rollups import Counted, roll_up

BATCH_LINES: Final = 2_000_000  # new lines per transaction, at least
_SHOWN: Final = 120  # characters of a malformed line
_CHUNK_LINES: Final = 50_000  # DuckDB gives each chunk to one thread


def ingest(
    catalog: Catalog,
    source: LogSource,
    *,
    now_us: int,
    half_life_us: int,
    state_dir: Path,
    progress: Callable[[IngestReport], None] = lambda report: None,
    block_bytes: int = BLOCK_BYTES,
    batch_lines: int = BATCH_LINES,
) -> IngestReport:
    """Count what is new in a source's files, and extend its coverage to `now_us` less its lag.

    Safe to repeat, to interrupt and to run twice at once: each batch of about `batch_lines` moves the ledger and the
    counts in one transaction, and `progress` is called after it. A file that cannot be read to its end is reported,
    what was read of it counts, and the coverage stays; so it does where the glob finds no file (our own spool may be
    empty). `block_bytes` of text are read at a time. Raises UsageError for an unknown format, and as `Catalog.begin`.
    """
    log = FORMATS.get(source.format)
    if log is None:
        raise UsageError(f"there is no log format {source.format!r}", hint=f"formats are: {', '.join(sorted(FORMATS))}")
    with catalog.read() as conn:
        rows = conn.execute(sa.select(datasets.c.id, datasets.c.name, datasets.c.root))
        roots = {number: (name, root) for number, name, root in rows}
    report = IngestReport(source.name)
    with open_events(log, roots, state_dir) as events:
        batch = _Batch(catalog, source, events, report, now_us)
        for blocks in _read(source, report, block_bytes):
            batch.take(blocks)
            if batch.lines >= batch_lines:
                batch.count(half_life_us)
                progress(report)
        batch.count(half_life_us)
        progress(report)
    if not report.files and not log.own:
        report.problems.append(f"{source.path}: there is no such file")
    if not report.problems:
        with catalog.begin() as conn:
            ledger.lock(conn)
            report.coverage = coverage.extend(conn, source, log, now_us=now_us)
    return report


def _read(source: LogSource, report: IngestReport, block_bytes: int) -> Iterator[list[tuple[LogFile, Block]]]:
    """The blocks of all files; of small files many at once, up to `block_bytes` of text."""
    blocks: list[tuple[LogFile, Block]] = []
    held = 0
    for path in sorted(glob(source.path, recursive=True)):
        if not Path(path).is_file():
            continue  # a directory; or a pipe, which would never end
        file = LogFile(path)
        report.files += 1
        try:
            for block in read_blocks(path, block_bytes):
                if blocks and held + len(block.data) > block_bytes:
                    yield blocks
                    blocks, held = [], 0
                blocks.append((file, block))
                held += len(block.data)
        except UnreadableLogError as error:
            report.problems.append(str(error))
    if blocks:
        yield blocks


class _Batch:
    """Lines on their way into the catalog: parsed, and to be counted in one transaction."""

    def __init__(self, catalog: Catalog, source: LogSource, events: Events, report: IngestReport, now_us: int) -> None:
        self._catalog = catalog
        self._source = source
        self._events = events
        self._report = report
        self._now_us = now_us
        self._start()

    def _start(self) -> None:
        self.lines = 0
        self._fresh: list[NewPiece] = []
        self._digests: set[str] = set()
        self._malformed: dict[int, Malformed] = {}

    def take(self, blocks: Sequence[tuple[LogFile, Block]]) -> None:
        """Parse what of these blocks is not in the ledger."""
        found = [(block, list(ledger.pieces(block, file))) for file, block in blocks]
        pieces = [piece for _, some in found for piece in some]
        with self._catalog.read() as conn:
            counted = ledger.known(conn, self._source.name, [p.digest for p in pieces]) | self._digests
        texts: list[pa.Array] = []
        first = self.lines
        fresh: list[NewPiece] = []
        for block, some in found:
            new = [p for p in some if p.digest not in counted]
            counted.update(p.digest for p in new)
            fresh += new
            texts += _texts(block, new)
            for piece in new:
                piece.offset = self.lines
                self.lines += len(piece.lines)
            self._report.lines += len(block.ends)
            self._report.duplicate += len(block.ends) - sum(len(p.lines) for p in new)
        if not fresh:
            return
        text = pa.chunked_array(texts, pa.string())
        numbers, times, malformed = self._events.read(text, first, now_us=self._now_us)
        _tell_times(fresh, numbers, times)
        for line in malformed:
            piece = fresh[bisect_right(fresh, line, key=attrgetter("offset")) - 1]
            shown = text[line - first].as_py()[:_SHOWN].rstrip()
            self._malformed[line] = Malformed(piece.file.path, piece.line + line - piece.offset, repr(shown)[1:-1])
        self._fresh += fresh
        self._digests.update(p.digest for p in fresh)

    def count(self, half_life_us: int) -> None:
        """Move the ledger and the counts, together; then begin anew."""
        if self._fresh:
            counted = Counted(0, ())
            with self._catalog.begin() as conn:
                ledger.lock(conn)
                covered = ledger.settle(conn, self._source.name, self._fresh, now_us=self._now_us)
                self._events.leave_out(covered)
                kinds = self._events.kinds()
                if kinds.get("event"):
                    self._events.count()
                    counted = roll_up(conn, self._events.counts(), half_life_us)
            self._tell(covered, kinds, counted)
        self._events.clear()
        self._start()

    def _tell(self, covered: NDArray[np.bool_], kinds: dict[str, int], counted: Counted) -> None:
        report, unknown = self._report, kinds.get("event", 0) - counted.lines
        report.duplicate += int(covered.sum())
        report.counted += counted.lines
        report.unknown += unknown
        report.malformed += kinds.get("malformed", 0)
        report.excluded += kinds.get("excluded", 0)
        # The rest: what the format takes for no event, and what is neither a read nor a write.
        report.ignored += self.lines - int(covered.sum()) - sum(kinds.values()) + kinds.get("ignored", 0)
        samples = [sample for line, sample in self._malformed.items() if not covered[line]]
        report.malformed_samples = (report.malformed_samples + samples)[:SAMPLES]
        if unknown:
            report.unknown_samples = [*report.unknown_samples, *counted.unknown, *self._events.nowhere()][:SAMPLES]


def _texts(block: Block, pieces: Sequence[NewPiece]) -> Iterator[pa.Array]:
    """The lines of these pieces of a block, one after the other, over the block's memory."""
    if not pieces:
        return
    text = block.text()
    first = length = 0
    for piece in pieces:
        start = piece.line - block.first_line - 1
        if start != first + length or length >= _CHUNK_LINES:
            if length:
                yield text.slice(first, length)
            first, length = start, 0
        length += len(piece.lines)
    yield text.slice(first, length)


def _tell_times(fresh: Sequence[NewPiece], numbers: NDArray[np.int64], times: NDArray[np.int64]) -> None:
    """Give each piece the times of its first and last event."""
    owner = np.searchsorted([p.offset for p in fresh], numbers, side="right") - 1
    first = np.full(len(fresh), np.iinfo(np.int64).max)
    last = np.full(len(fresh), np.iinfo(np.int64).min)
    np.minimum.at(first, owner, times)
    np.maximum.at(last, owner, times)
    for n in np.unique(owner).tolist():
        fresh[n].from_us, fresh[n].to_us = int(first[n]), int(last[n])
