"""What an ingest is told, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from storaged.clock import SECOND

SAMPLES: Final = 10  # of each kind of trouble that a report shows
MAX_MALFORMED: Final = 0.05
LARGEST_MOVED: Final = 2**50  # bytes; a line that tells of more is malformed


@dataclass(frozen=True, slots=True)
class LogFormat:
    """How DuckDB reads one kind of log.

    `select` is a SELECT over `lines(i BIGINT, line VARCHAR)` with the columns

        i, line  as given; a line without a row is no event at all (a blank line, a header)
        wrong    VARCHAR: why the line is malformed; NULL where it is not, and only then the others mean something
        at_us    BIGINT, microseconds since 1970 UTC
        url      VARCHAR of the object, percent-encoded `encoded` times over; or else
        dataset, object   VARCHAR names as in the catalog
        op       VARCHAR: read, write, or anything else, which is counted as ignored
        nbytes   BIGINT that the event moved in all; NULL means the whole object, `count` times
        count    BIGINT of reads or writes that the line stands for
        agent    VARCHAR of the program that asked, or NULL
        requester   VARCHAR of who asked, or NULL

    It must not raise, whatever a line holds. `own`: storaged's reader wrote it, so its agent is not an echo.
    `lag_us` is how late a line may reach such a log where the source says nothing. `nowhere` is why a line that names
    no object is malformed. `mapping` tells readings of the same format by other keys apart: it is of their source.
    """

    name: str
    select: str
    own: bool = False
    encoded: int = 1
    lag_us: int = 3600 * SECOND
    nowhere: str = "it names no object"
    mapping: str = ""


@dataclass(frozen=True, slots=True)
class LogSource:
    """One set of logs. `path` is a glob of local files or of keys below a store's URL.

    `datasets` are globs of the names of datasets that it can tell of (None: all). `lag_us`: an event is in the files at
    most this much later (None: as the format has it). `since_us`: from then on the logs are known complete.
    `exclude_requesters` are globs of requesters that are storaged itself. `max_malformed` is the share of a file's
    lines (0 to 1) up to which malformed ones do not end what the source covers. `keys` and `url_prefix` are for JSON
    lines of others (`jsonl.mapped`).
    """

    name: str
    format: str
    path: str
    lag_us: int | None = None
    since_us: int | None = None
    datasets: tuple[str, ...] | None = None
    exclude_requesters: tuple[str, ...] = ()
    max_malformed: float = MAX_MALFORMED
    keys: Mapping[str, str] = field(default_factory=dict)
    url_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that no event could be read from, and why. `line` counts from 1 in the (decompressed) file."""

    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(slots=True)
class MalformedKind:
    """How many lines are malformed for the same reason, and the first of them."""

    reason: str
    lines: int
    first: Malformed


@dataclass(slots=True)
class IngestReport:
    """What one ingest of one source saw. Each line is in exactly one of the counts below `lines`.

    `unknown` are events of objects (or places) that the catalog does not have: those in the root of a dataset wait for
    the scan that finds the object. `late` are events older than what the ledger remembers: they are never counted.
    `garbled` are the files of which so many lines are malformed that coverage ends there.
    `coverage` holds, by dataset, the window (from_us, until_us) that the catalog now believes this source covers.
    """

    source: str
    files: int = 0  # that were looked into
    lines: int = 0  # complete ones
    counted: int = 0
    duplicate: int = 0  # counted by an earlier ingest, or from another copy
    malformed: int = 0
    excluded: int = 0  # storaged's own requests in somebody else's log
    ignored: int = 0  # blank lines; neither a read nor a write
    unknown: int = 0
    late: int = 0
    malformed_samples: list[Malformed] = field(default_factory=list)
    malformed_kinds: list[MalformedKind] = field(default_factory=list)
    garbled: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)  # what a path names that is no file, such as a pipe
    unknown_samples: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # files that could not be read to their end: no coverage
    coverage: dict[str, tuple[int, int]] = field(default_factory=dict)
