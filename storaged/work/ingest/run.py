"""Ingest: the lines of a source's logs that no ingest counted yet become counts, heat and coverage."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets
from storaged.errors import StoreError, UsageError
from storaged.stores.base import Store
from storaged.stores.registry import open_store
from storaged.work.ingest import coverage, ledger
from storaged.work.ingest.base import SAMPLES, IngestReport, LogSource, Malformed
from storaged.work.ingest.events import Events, open_events
from storaged.work.ingest.fetch import StoredLogs, place
from storaged.work.ingest.lines import BLOCK_BYTES, Block, Numbering, UnreadableLogError, read_blocks
from storaged.work.ingest.registry import FORMATS
from storaged.work.ingest.rollups import Counted, count_waiting, roll_up

BATCH_LINES: Final = 2_000_000  # new lines per transaction, at least
_CHUNK_LINES: Final = 8_192  # DuckDB gives each chunk to one thread
_GROUP: Final = 16  # blocks that are parsed at a time: each query has its price


def ingest(
    catalog: Catalog,
    source: LogSource,
    *,
    now_us: int,
    half_life_us: int,
    state_dir: Path,
    opener: Callable[[str], Store] = open_store,
    progress: Callable[[IngestReport], None] = lambda report: None,
    block_bytes: int = BLOCK_BYTES,
    batch_lines: int = BATCH_LINES,
) -> IngestReport:
    """Count what is new in a source's logs, and extend its coverage to `now_us` less its lag.

    Safe to repeat, to interrupt and to run twice at once: each batch of about `batch_lines` moves the ledger and the
    counts in one transaction, and `progress` is called after it. A log that cannot be read to its end is reported,
    what was read of it counts, and the coverage stays; so it does where there is no log at all (our own spool may be
    empty). Logs in a store are read through `opener`. `block_bytes`: the ledger knows blocks of text, so with another
    number everything is read again. Raises UsageError for an unknown format, and as `Catalog.begin`.
    """
    log = FORMATS.get(source.format)
    if log is None:
        raise UsageError(f"there is no log format {source.format!r}", hint=f"formats are: {', '.join(sorted(FORMATS))}")
    with catalog.read() as conn:
        rows = conn.execute(sa.select(datasets.c.id, datasets.c.name, datasets.c.root))
        roots = {number: (name, root) for number, name, root in rows}
    report = IngestReport(source.name)
    if not roots:
        report.problems.append("no dataset is in the catalog yet, and what is read now would count for none")
        return report
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=state_dir) as name:
        directory = Path(name)
        where = place(source.path)
        stored = StoredLogs(catalog, source.name, opener(where[0]), where[1]) if where else None
        logs = _stored(stored, report, directory) if stored else _local(source.path)
        blocks = _Blocks(catalog, source.name, logs, report, block_bytes)
        with open_events(log, source, roots, directory) as events, _ahead(blocks.groups()) as groups:
            batch = _Batch(catalog, source.name, events, report, now_us)
            for group in groups:
                batch.take(group)
                if batch.lines >= batch_lines:
                    batch.count(half_life_us)
                    progress(report)
            batch.count(half_life_us)
            progress(report)
    if not (stored.listed if stored else report.files) and not log.own and not report.problems:
        report.problems.append(f"{source.path}: there is no such file")
    with catalog.begin() as conn:
        ledger.lock(conn)
        count_waiting(conn, half_life_us, now_us=now_us)
        if not report.problems:
            report.coverage = coverage.extend(conn, source, log, now_us=now_us)
            ledger.forget(conn, source.name, stored.gone if stored else [], now_us=now_us)
    return report


@dataclass(eq=False, slots=True)
class _Log:
    """A log on its way."""

    shown: str
    path: str
    key: str = ""  # in a store
    identity: str = ""
    numbering: Numbering = field(default_factory=Numbering)
    passed: Block | None = None  # the block before, if it was known


def _local(path: str) -> Iterator[_Log]:
    for found in sorted(glob(path, recursive=True)):
        if Path(found).is_file():  # not a directory; or a pipe, which would never end
            yield _Log(found, found)


def _stored(stored: StoredLogs, report: IngestReport, directory: Path) -> Iterator[_Log]:
    try:
        for one in stored.fetched(directory):
            if one.problem:
                report.problems.append(one.problem)
            else:
                yield _Log(one.key, str(one.copy), one.key, one.identity)
    except StoreError as error:
        report.problems.append(error.message)


@dataclass(frozen=True, slots=True)
class _New:
    """Lines that are not known to be counted."""

    log: _Log
    block: Block
    text: pa.Array
    hashes: NDArray[np.uint64]


@dataclass(slots=True)
class _Group:
    """Some blocks of one or many logs."""

    new: list[_New] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # digests of all blocks
    ended: list[_Log] = field(default_factory=list)  # logs of a store that have no more blocks
    lines: int = 0  # of blocks that are known


class _Blocks:
    """All logs as groups of blocks: some of a large one, or many small ones."""

    def __init__(
        self, catalog: Catalog, source: str, logs: Iterator[_Log], report: IngestReport, block_bytes: int
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._logs = logs
        self._report = report
        self._block_bytes = block_bytes

    def groups(self) -> Iterator[_Group]:
        """In order. What a log ends with is in one group with its end."""
        held: list[tuple[_Log, Block]] = []
        ended: list[_Log] = []
        size = 0
        for log in self._logs:
            self._report.files += 1
            try:
                for block in read_blocks(log.path, self._block_bytes, finished=bool(log.key)):
                    if held and size + block.size > _GROUP * self._block_bytes:
                        yield self._group(held, ended)
                        held, ended, size = [], [], 0
                    held.append((log, block))
                    size += block.size
            except UnreadableLogError as error:
                self._report.problems.append(str(error).replace(log.path, log.shown))
            else:
                ended.append(log)
        yield self._group(held, ended)

    def _group(self, held: list[tuple[_Log, Block]], ended: list[_Log]) -> _Group:
        group = _Group(seen=[block.digest for _, block in held], ended=[log for log in ended if log.key])
        with self._catalog.read() as conn:
            known = ledger.known_blocks(conn, self._source, group.seen)
        for log, block in held:
            if block.digest in known:
                log.passed = block
                group.lines += block.lines
                continue
            if log.passed:
                log.numbering.numbered(log.passed.hashes())
                log.passed = None
            group.new.append(_New(log, block, block.text(), log.numbering.numbered(block.hashes())))
        return group


@contextmanager
def _ahead(groups: Iterator[_Group]) -> Iterator[Iterator[_Group]]:
    """The same, each made ready while the one before is worked on."""

    def ready() -> Iterator[_Group]:
        coming = pool.submit(next, groups, None)
        while (group := coming.result()) is not None:
            coming = pool.submit(next, groups, None)
            yield group

    with ThreadPoolExecutor(1) as pool:
        yield ready()


class _Batch:
    """Lines on their way into the catalog: parsed, and to be counted in one transaction."""

    def __init__(self, catalog: Catalog, source: str, events: Events, report: IngestReport, now_us: int) -> None:
        self._catalog = catalog
        self._source = source
        self._events = events
        self._report = report
        self._now_us = now_us
        self._start()

    def _start(self) -> None:
        self.lines = 0
        self._new: list[tuple[int, _Log, int]] = []  # number of the first line of a block in the batch, log, in the log
        self._hashes: list[NDArray[np.uint64]] = []
        self._seen: set[str] = set()
        self._ended: list[_Log] = []

    def take(self, group: _Group) -> None:
        """Parse the lines of these blocks."""
        self._seen.update(group.seen)
        self._ended += group.ended
        self._report.lines += group.lines
        self._report.duplicate += group.lines
        if not group.new:
            return
        first, texts = self.lines, []
        for new in group.new:
            self._new.append((self.lines, new.log, new.block.first_line))
            self._hashes.append(new.hashes)
            texts += [new.text.slice(n, _CHUNK_LINES) for n in range(0, len(new.text), _CHUNK_LINES)]
            self.lines += new.block.lines
        self._report.lines += self.lines - first
        numbers = np.arange(first, self.lines)
        table = pa.table({"i": numbers, "line": pa.chunked_array(texts, pa.string())})
        self._events.read(table, now_us=self._now_us)

    def count(self, half_life_us: int) -> None:
        """Move the ledger and the counts, together; then begin anew."""
        if self._seen or self._ended:
            hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)
            numbers, times = self._events.times()
            counted = Counted(0, ())
            with self._catalog.begin() as conn:
                ledger.lock(conn)
                covered, late = ledger.settle(conn, self._source, hashes[numbers], times, now_us=self._now_us)
                self._events.leave_out(numbers[covered | late])
                kinds = self._events.kinds()
                if kinds.get("event"):
                    self._events.count()
                    counted = roll_up(conn, self._events.names(), self._events.counts(), half_life_us)
                ledger.saw_blocks(conn, self._source, self._seen, now_us=self._now_us)
                ended = [(log.key, log.identity) for log in self._ended]
                ledger.saw_files(conn, self._source, ended, now_us=self._now_us)
            self._tell(int(covered.sum()), int(late.sum()), kinds, counted)
        self._events.clear()
        self._start()

    def _tell(self, duplicate: int, late: int, kinds: dict[str, int], counted: Counted) -> None:
        report, unknown = self._report, kinds.get("event", 0) - counted.lines
        report.duplicate += duplicate
        report.late += late
        report.counted += counted.lines
        report.unknown += unknown
        report.malformed += kinds.get("malformed", 0)
        report.excluded += kinds.get("excluded", 0)
        # The rest: what the format takes for no event, and what is neither a read nor a write.
        report.ignored += self.lines - duplicate - late - sum(kinds.values()) + kinds.get("ignored", 0)
        if kinds.get("malformed"):
            samples = [self._malformed(line, shown) for line, shown in self._events.malformed()]
            report.malformed_samples = (report.malformed_samples + samples)[:SAMPLES]
        if unknown:
            report.unknown_samples = [*report.unknown_samples, *counted.unknown, *self._events.nowhere()][:SAMPLES]

    def _malformed(self, line: int, shown: str) -> Malformed:
        first, log, before = self._new[bisect_right(self._new, line, key=lambda new: new[0]) - 1]
        return Malformed(log.shown, before + line - first + 1, repr(shown.rstrip())[1:-1])
