"""Ingest: the lines of a source's logs that no ingest counted yet become counts, heat and coverage."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
import xxhash
from numpy.typing import NDArray

from storaged.catalog.engine import Catalog
from storaged.catalog.rollups import Counted, count_waiting, roll_up
from storaged.catalog.schema import datasets
from storaged.clock import SECOND
from storaged.errors import StoreError
from storaged.stores.base import Stat, Store
from storaged.stores.registry import open_store
from storaged.work.ingest import counted_lines, coverage
from storaged.work.ingest.base import SAMPLES, IngestReport, LogSource, Malformed, MalformedKind
from storaged.work.ingest.events import Events, open_events
from storaged.work.ingest.fetch import StoredLogs, place
from storaged.work.ingest.garbled import garbled_at
from storaged.work.ingest.known import KnownLogs, ReadLog, is_text, local_logs
from storaged.work.ingest.lines import BLOCK_BYTES, Block, Numbering, UnreadableLogError, read_blocks
from storaged.work.ingest.registry import reading

BATCH_LINES: Final = 2_000_000  # new lines per transaction, at least
BATCH_NAMES: Final = 100_000  # about as many names per transaction, at most, and those of one group more
_CHUNK_LINES: Final = 8_192  # DuckDB gives each chunk to one thread
_IN_THE_MIDST_US: Final = 60 * SECOND  # so long a writer may be in the midst of a line, whatever the log's lag is
_GROUP: Final = 8  # blocks that are parsed at a time: each query has its price


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
    counts in one transaction, and `progress` is called after it. A log that is as it was is not read. One that cannot
    be read to its end is reported, what was read of it counts, and the coverage stays; so it does where there is no log
    at all (our own spool may be empty). It ends where a log is garbled (`garbled_at`). Logs in a store are read through
    `opener`. `block_bytes`: the ledger knows blocks of text, so with another number everything is read again. Raises
    UsageError for an unknown format, and as `Catalog.begin`.
    """
    log = reading(source)
    with catalog.read() as conn:
        rows = conn.execute(sa.select(datasets.c.id, datasets.c.name, datasets.c.root))
        roots = {number: (name, root) for number, name, root in rows}
    report = IngestReport(source.name)
    if not roots:
        report.problems.append("no dataset is in the catalog yet, and what is read now would count for none")
        return report
    known = KnownLogs(catalog, source.name, xxhash.xxh3_64_hexdigest(f"{log.select}\0{source.max_malformed}".encode()))
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=state_dir) as name:
        directory = Path(name)
        where = place(source.path)
        if where:
            logs = _stored(StoredLogs(known, opener(where[0]), where[1]), report, directory)
        else:
            lag_us = log.lag_us if source.lag_us is None else source.lag_us
            rests_us = None if log.own else now_us - max(lag_us, _IN_THE_MIDST_US)
            logs = _local(known, source.path, report, rests_us)
        blocks = _Blocks(catalog, source.name, log.mapping, logs, report, block_bytes)
        with (
            open_events(log, source, roots, directory, longest=catalog.longest_name) as events,
            _ahead(blocks.groups()) as groups,
        ):
            batch = _Batch(catalog, source, known, events, report, now_us)
            for group in groups:
                batch.take(group)
                if batch.lines >= batch_lines or batch.many_names():
                    batch.count(half_life_us)
                    progress(report)
            batch.count(half_life_us)
            progress(report)
    report.lines += known.lines
    report.duplicate += known.lines
    report.garbled = [read.trouble(path) for path, read in known.garbled]
    if not known.listed and not log.own and not report.problems:
        report.problems.append(f"{source.path}: there is no such file")
    heard = [now_us, *(read.heard_us for _, read in known.garbled)]
    with catalog.begin() as conn:
        counted_lines.lock(conn)
        count_waiting(conn, half_life_us, now_us=now_us)
        if not report.problems:
            heard_us = None if None in heard else min(us for us in heard if us is not None)
            report.coverage = coverage.extend(conn, source, log, now_us=now_us, heard_us=heard_us)
            counted_lines.forget(conn, source.name, known.gone, now_us=now_us)
    return report


@dataclass(eq=False, slots=True)
class _Log:
    """A log on its way."""

    shown: str
    path: str
    identity: str
    finished: bool = False  # nobody will end its last line
    unended: bool = False  # its last line was left out, as it has no end yet
    numbering: Numbering = field(default_factory=Numbering)
    passed: Block | None = None  # the block before, if it was known
    lines: int = 0
    last_us: int | None = None  # time of the last event that was understood, of those that were read
    garbled: ReadLog | None = None


def _local(known: KnownLogs, path: str, report: IngestReport, rests_us: int | None) -> Iterator[_Log]:
    """`rests_us`: nobody will end the last line of what was not written to since then; None: nobody would have to."""

    def rests(stat: Stat) -> bool:
        return rests_us is not None and stat.mtime_us <= rests_us

    for stat in known.unread(local_logs(path, report.passed), rests):
        yield _Log(stat.key, stat.key, stat.identity, finished=rests(stat))


def _stored(stored: StoredLogs, report: IngestReport, directory: Path) -> Iterator[_Log]:
    try:
        for one in stored.fetched(directory):
            if one.problem:
                report.problems.append(one.problem)
            else:
                yield _Log(one.key, str(one.copy), one.identity, finished=True)
    except StoreError as error:
        report.problems.append(error.message)


@dataclass(frozen=True, slots=True)
class _New:
    """Lines that are not known to be counted."""

    log: _Log
    block: Block
    digest: str
    text: pa.Array
    hashes: NDArray[np.uint64]


@dataclass(slots=True)
class _Group:
    """Some blocks of one or many logs."""

    new: list[_New] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # digests of blocks that are known
    ended: list[_Log] = field(default_factory=list)  # logs that have no more blocks
    lines: int = 0  # of blocks that are known


class _Blocks:
    """All logs as groups of blocks: some of a large one, or many small ones."""

    def __init__(
        self,
        catalog: Catalog,
        source: str,
        mapping: str,
        logs: Iterator[_Log],
        report: IngestReport,
        block_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._mapping = mapping
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
                for block in self._read(log):
                    if held and size + block.size > _GROUP * self._block_bytes:
                        yield self._group(held, ended)
                        held, ended, size = [], [], 0
                    log.lines += block.lines
                    held.append((log, block))
                    size += block.size
            except UnreadableLogError as error:
                self._report.problems.append(str(error).replace(log.path, log.shown))
            else:
                ended.append(log)
        yield self._group(held, ended)

    def _read(self, log: _Log) -> Iterator[Block]:
        log.unended = yield from read_blocks(log.path, self._block_bytes, finished=log.finished)

    def _group(self, held: list[tuple[_Log, Block]], ended: list[_Log]) -> _Group:
        group = _Group(ended=list(ended))
        digests = [block.digest + self._mapping for _, block in held]
        with self._catalog.read() as conn:
            known = counted_lines.known_blocks(conn, self._source, digests)
        group.seen = sorted(known)
        for (log, block), digest in zip(held, digests, strict=True):
            if digest in known:
                log.passed = block
                group.lines += block.lines
                continue
            if log.passed:
                log.numbering.numbered(log.passed.hashes())
                log.passed = None
            group.new.append(_New(log, block, digest, block.text(), log.numbering.numbered(block.hashes())))
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A block of the batch: the number of its first line in the batch, and in its log; how many it has."""

    first: int
    log: _Log
    before: int
    lines: int
    digest: str


class _Batch:
    """Lines on their way into the catalog: parsed, and to be counted in one transaction."""

    def __init__(
        self,
        catalog: Catalog,
        source: LogSource,
        known: KnownLogs,
        events: Events,
        report: IngestReport,
        now_us: int,
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._known = known
        self._events = events
        self._report = report
        self._now_us = now_us
        self._start()

    def _start(self) -> None:
        self.lines = 0
        self._few_until = BATCH_NAMES
        self._parts: list[_Part] = []
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
            self._parts.append(_Part(self.lines, new.log, new.block.first_line, new.block.lines, new.digest))
            self._hashes.append(new.hashes)
            texts += [new.text.slice(n, _CHUNK_LINES) for n in range(0, len(new.text), _CHUNK_LINES)]
            self.lines += new.block.lines
        self._report.lines += self.lines - first
        numbers = np.arange(first, self.lines)
        table = pa.table({"i": numbers, "line": pa.chunked_array(texts, pa.string())})
        self._events.read(table, now_us=self._now_us)

    def many_names(self) -> bool:
        """Whether the lines are of so many names that what is held of each would take much memory."""
        if self.lines < self._few_until:
            return False
        names = self._events.names_about()
        self._few_until = self.lines + max(BATCH_NAMES - names, BATCH_NAMES // 4)  # each line has one name at most
        return names >= BATCH_NAMES

    def count(self, half_life_us: int) -> None:
        """Move the ledger and the counts, together; then begin anew."""
        if self._seen or self._parts or self._ended:
            name = self._source.name
            hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)
            numbers, times = self._events.times()
            self._understand(numbers, times)
            counted = Counted(0, ())
            with self._catalog.begin() as conn:
                counted_lines.lock(conn)
                covered, late = counted_lines.settle(conn, name, hashes[numbers], times, now_us=self._now_us)
                self._events.leave_out(numbers[covered | late])
                kinds = self._events.kinds()
                if kinds.get("event"):
                    self._events.count()
                    counted = roll_up(conn, self._events.names(), self._events.counts(), half_life_us)
                counted_lines.saw_blocks(conn, name, self._seen, now_us=self._now_us)
                counted_lines.saw_files(conn, name, self._read(), now_us=self._now_us)
            self._tell(int(covered.sum()), int(late.sum()), kinds, counted)
            self._known.garbled.extend((log.shown, log.garbled) for log in self._ended if log.garbled)
        self._events.clear()
        self._start()

    def _read(self) -> Iterator[tuple[str, str]]:
        for log in self._ended:
            read = replace(log.garbled or ReadLog(log.identity), lines=log.lines, unended=log.unended)
            if is_text(log.shown):
                yield log.shown, str(read)

    def _understand(self, numbers: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Find where logs are garbled. Such blocks are not remembered: they are read again once the log changes."""
        malformed = self._events.malformed()
        order = np.argsort(numbers)
        numbers, times = numbers[order], times[order]
        for part in self._parts:
            log, end = part.log, part.first + part.lines
            wrong = malformed[slice(*np.searchsorted(malformed, (part.first, end)))] - part.first
            place = garbled_at(wrong, part.lines, self._source.max_malformed)
            understood = numbers[: np.searchsorted(numbers, end if place is None else part.first + place)]
            if len(understood) and understood[-1] >= part.first:
                log.last_us = int(times[len(understood) - 1])
            if place is None:
                self._seen.add(part.digest)
            elif log.garbled is None:
                reason = self._events.reason(part.first + place)
                log.garbled = self._known.unheard(log.identity, log.last_us, part.before + place + 1, reason)

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
            samples = [self._malformed(*told) for told in self._events.samples()]
            report.malformed_samples = (report.malformed_samples + samples)[:SAMPLES]
            kinds_before = {kind.reason: kind for kind in report.malformed_kinds}
            for reason, lines, line, shown in self._events.reasons():
                if reason in kinds_before:
                    kinds_before[reason].lines += lines
                else:
                    report.malformed_kinds.append(MalformedKind(reason, lines, self._malformed(line, shown, reason)))
        if unknown:
            report.unknown_samples = [*report.unknown_samples, *counted.unknown, *self._events.nowhere()][:SAMPLES]

    def _malformed(self, line: int, shown: str, reason: str) -> Malformed:
        part = self._parts[bisect_right(self._parts, line, key=lambda part: part.first) - 1]
        return Malformed(part.log.shown, part.before + line - part.first + 1, repr(shown.rstrip())[1:-1], reason)
