"""Which logs of a source were read to their ends and are as they were: a listing tells, and nothing is read again."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from glob import glob
from itertools import islice
from stat import S_ISDIR, S_ISREG
from typing import Final

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import log_files
from storaged.clock import iso
from storaged.stores.base import Stat
from storaged.stores.local_walk import identity_of, kind_of, printable

_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # or a link that leads nowhere
_LISTED: Final = 1_000  # logs that are compared with the catalog at a time


@dataclass(frozen=True, slots=True)
class ReadLog:
    """What is recorded of a log that was read to its end: its identity as it was opened, and how many lines it had.

    `garbled`: too many of its lines were malformed, why the first of them was; `line`: which one that is. They were
    understood up to `heard_us` (microseconds; None: not even that is known), read in the way of which `reading` is the
    digest. `unended`: its last line had no end yet and was left out.
    """

    identity: str
    lines: int = 0
    garbled: str = ""
    line: int = 0
    heard_us: int | None = None
    reading: str = ""
    unended: bool = False

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parsed(cls, text: str) -> ReadLog:
        """What `str` made; or the identity alone, which is all that earlier versions recorded."""
        return cls(**json.loads(text)) if text.startswith("{") else cls(text)

    def trouble(self, key: str) -> str:
        """What is wrong with this log, in words; it is garbled."""
        since = f" after {iso(self.heard_us)}" if self.heard_us is not None else ""
        return f"{key}: too many lines are malformed{since}, the first one is line {self.line:,}: {self.garbled}"


class KnownLogs:
    """What the catalog knows of a source's logs, beside what there is. `reading`: digest of how lines are read."""

    def __init__(self, catalog: Catalog, source: str, reading: str) -> None:
        self._catalog = catalog
        self._source = source
        self._reading = reading
        self.listed = 0
        self.lines = 0  # of those that are as they were
        self.garbled: list[tuple[str, ReadLog]] = []  # of those too
        self.gone: list[str] = []  # read once, and not there any more; complete once `unread` has come to its end

    def unheard(self, identity: str, heard_us: int | None, line: int, reason: str) -> ReadLog:
        """What is to be recorded of a log of which too much was malformed from this line on."""
        return ReadLog(identity, garbled=reason, line=line, heard_us=heard_us, reading=self._reading)

    def unread(self, listed: Iterable[Stat], rests: Callable[[Stat], bool] = lambda _: False) -> Iterator[Stat]:
        """Those of the logs, which are in order of keys, that are to be read. `rests`: whether nobody will end the last
        line of a log any more."""
        logs = iter(listed)
        after = ""
        while True:
            some = list(islice(logs, _LISTED))
            self.listed += len(some)
            last = next((stat.key for stat in reversed(some) if is_text(stat.key)), after if some else None)
            read = self._read(after, last)
            for stat in some:
                found = read.pop(stat.key, None)
                if found is None or found.identity != stat.identity or found.reading not in ("", self._reading):
                    yield stat
                    continue
                if found.unended and rests(stat):
                    yield stat
                    continue
                self.lines += found.lines
                if found.garbled:
                    self.garbled.append((stat.key, found))
            self.gone += sorted(read)
            if last is None:
                return
            after = last

    def _read(self, after: str, last: str | None) -> dict[str, ReadLog]:
        """By key, what was read of the keys after `after` up to `last`."""
        query = sa.select(log_files.c.key, log_files.c.identity).where(
            log_files.c.source == self._source, log_files.c.key > after
        )
        if last is not None:
            query = query.where(log_files.c.key <= last)
        with self._catalog.read() as conn:
            return {row.key: ReadLog.parsed(row.identity) for row in conn.execute(query)}


def garbled_logs(conn: sa.Connection) -> Iterator[tuple[str, str, ReadLog]]:
    """The logs of all sources of which too many lines were malformed when they were read last: source, key, what is
    recorded."""
    told = log_files.c.identity.like('{%"heard_us":%') & log_files.c.identity.not_like('%"garbled": ""%')
    query = sa.select(log_files.c.source, log_files.c.key, log_files.c.identity).where(told)
    for row in conn.execute(query.order_by(log_files.c.source, log_files.c.key)):
        yield row.source, row.key, ReadLog.parsed(row.identity)


def is_text(key: str) -> bool:
    """Whether the catalog can hold it: a path may be of any bytes."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def local_logs(path: str, passed: list[str]) -> Iterator[Stat]:
    """The regular files that a glob names, in order: not a directory; nor a pipe, which would never end. `passed` gets
    what is neither file nor directory, and what it is."""
    for found in sorted(glob(path, recursive=True)):
        try:
            told = os.stat(found)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            continue
        if S_ISREG(told.st_mode):
            yield Stat(found, told.st_size, identity_of(told), told.st_mtime_ns // 1_000)
        elif not S_ISDIR(told.st_mode):
            passed.append(f"{printable(found)} is a {kind_of(told.st_mode)}: it is not read")
