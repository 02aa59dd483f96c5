"""Statements are compiled once in a process of tests, rather than once for each of its thousands of catalogs."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

MOST = 5_000  # statements; beyond it those are forgotten that were not asked for longest


class Compiled(MutableMapping[Any, Any]):
    """SQLAlchemy's cache of compiled statements, whose keys begin with the engine's own dialect: here with what kind of
    dialect it is, so that all engines of a kind have one cache."""

    def __init__(self) -> None:
        self._kept: LRUCache[Any, Any] = LRUCache(MOST)

    def __getitem__(self, key: Any) -> Any:
        return self._kept[_kind(key)]

    def __setitem__(self, key: Any, compiled: Any) -> None:
        self._kept[_kind(key)] = compiled

    def __delitem__(self, key: Any) -> None:
        del self._kept[_kind(key)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def _kind(key: Any) -> Any:
    dialect, *rest = key
    return (type(dialect), dialect.server_version_info, *rest)


def share() -> None:
    """From here on all engines of this process have one cache of compiled statements."""
    compiled = Compiled()
    sa.event.listen(sa.Engine, "engine_connect", lambda conn: conn.execution_options(compiled_cache=compiled))
