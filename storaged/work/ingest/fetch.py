"""Logs that are in stores: which are there and not yet counted, and a local copy of each for as long as it is read."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from storaged.errors import StoreError, UsageError
from storaged.stores.base import Stat, Store
from storaged.work.ingest.known import KnownLogs

THREADS: Final = 8  # logs are many and small: it is the way to the store that takes the time
LARGEST: Final = 512 << 20  # bytes of fetched logs on disk at a time, unless one alone has more
_PART: Final = 8 << 20
_WILD: Final = re.compile(r"[*?\[]")
_TOKEN: Final = re.compile(r"\*\*/|\*\*|\[[^\]]+\]|.", re.DOTALL)
_MEANS: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def place(path: str) -> tuple[str, str] | None:
    """The URL of the store and the glob of keys in it that a path like `s3://logs/prod/2026-*` names; None: it is no
    URL. Raises UsageError where the store itself is not named."""
    scheme, found, rest = path.partition("://")
    if not found:
        return None
    wild = _WILD.search(rest)
    base = rest[: rest.rfind("/", 0, wild.start() if wild else None) + 1]
    if not base:
        raise UsageError(f"{path!r} names no logs in a store", hint="such as s3://log-bucket/prefix/*")
    return f"{scheme}://{base.rstrip('/')}", rest[len(base) :]


def key_pattern(glob: str) -> re.Pattern[str]:
    """What a glob means for keys: `*` and `?` stand for what is in a segment, `**` for any segments, `[…]` for one of
    some characters."""
    return re.compile("".join(_meant(token) for token in _TOKEN.findall(glob)), re.DOTALL)


def _meant(token: str) -> str:
    if token in _MEANS:
        return _MEANS[token]
    if token.startswith("[") and token.endswith("]") and len(token) > 2:
        body = token[1:-1].replace("\\", "\\\\")
        return f"[^{body[1:]}]" if body.startswith("!") else f"[{body}]"
    return re.escape(token)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A log of a store and its local copy; or why there is none."""

    key: str
    identity: str
    copy: Path
    problem: str | None = None


class StoredLogs:
    """The logs that a glob names in a store."""

    def __init__(self, known: KnownLogs, store: Store, glob: str) -> None:
        self._known = known
        self._store = store
        self._glob = glob
        self._numbers = count()

    def fetched(self, directory: Path) -> Iterator[Fetched]:
        """A copy in `directory` of each log that was not read to its end yet, in order of keys. It is removed when the
        next one is asked for. Raises StoreError where the store cannot be listed."""
        waiting: deque[tuple[int, Future[Fetched]]] = deque()
        new = self._known.unread(self._listed())
        more = True
        with ThreadPoolExecutor(THREADS) as pool:
            while waiting or more:
                while more and len(waiting) < 2 * THREADS and sum(size for size, _ in waiting) < LARGEST:
                    stat = next(new, None)
                    more = stat is not None
                    if stat is not None:
                        waiting.append(
                            (stat.size, pool.submit(self._fetch, stat, directory / f"{next(self._numbers)}.log"))
                        )
                if waiting:
                    found = waiting.popleft()[1].result()
                    yield found
                    found.copy.unlink(missing_ok=True)

    def _fetch(self, stat: Stat, copy: Path) -> Fetched:
        try:
            with self._store.open(stat.key, identity=stat.identity) as reader, copy.open("wb") as file:
                for offset in range(0, stat.size, _PART):
                    file.write(reader.read_at(offset, _PART))
        except StoreError as error:
            return Fetched(stat.key, stat.identity, copy, f"{self._store.url}/{stat.key}: {error.message}")
        return Fetched(stat.key, stat.identity, copy)

    def _listed(self) -> Iterator[Stat]:
        wild = _WILD.search(self._glob)
        pattern = key_pattern(self._glob)
        prefix = self._glob[: wild.start()] if wild else self._glob
        for entry in self._store.list(prefix):
            if isinstance(entry, Stat) and pattern.fullmatch(entry.key):
                yield entry
