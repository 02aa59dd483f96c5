"""Stop a process after every n-th effect: a commit of the catalog, or a change of a store.

After the stop nothing that process does has any effect, as after SIGKILL: its uploads are not aborted, its threads
change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.stores.base import Store
from storaged.testing import Crash, Faults, FaultyStore

__all__ = ["Crash", "CrashingCatalog", "CrashingStore", "Effects"]

_CHANGES: Final = frozenset(
    {"create", "commit", "copy", "delete", "delete_attempt", "transition", "warm", "write_note", "delete_note"}
)


class Effects:
    """Counts effects and ends the process right after number `stop_after` (None: never)."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.log: list[str] = []
        self.faults = Faults(after=self._called)

    @property
    def dead(self) -> bool:
        """Whether the process is gone."""
        return self.faults.crashed

    def before(self) -> None:
        """Called before an effect: the dead have none."""
        if self.dead:
            raise Crash

    def happened(self, what: str) -> None:
        """Called after an effect."""
        self.log.append(what)
        if self.stop_after is not None and len(self.log) >= self.stop_after:
            self.faults.crashed = True
            raise Crash

    def _called(self, method: str, key: str) -> None:
        if method in _CHANGES:
            self.happened(f"{method} {key}")


class CrashingCatalog(Catalog):
    """A catalog whose every commit is an effect."""

    def __init__(self, catalog: Catalog, effects: Effects) -> None:
        self.__dict__.update(catalog.__dict__)
        self.effects = effects

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self.effects.before()
        with super().begin() as conn:
            yield conn
        self.effects.happened("commit")


class CrashingStore(FaultyStore):
    """A store whose every change is an effect."""

    def __init__(self, store: Store, effects: Effects) -> None:
        super().__init__(store, effects.faults)
