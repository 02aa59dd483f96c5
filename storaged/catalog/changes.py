"""From a look at objects to their change: the one way, for all that moves a pointer.

Between the reading of a row and its change anything may happen. So the rows are locked first; those that are not as
they were read, or wait for a fact, are left out; of each of the others the new placement is asked for, on the row as it
is now (Stale: there is none); then all are written, and each is told as its kind of change is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.items import Aim
from storaged.catalog.placements import Change, Held, Why
from storaged.placement import Stale

OTHERS: Final = "it is being changed by somebody else; try again"

FACTS: Final = frozenset({"adopt", "eject", "released-after-all", "remove"})  # kinds that the journal must have first
TOLD_BY_STORES: Final = frozenset(  # kinds that it never gets
    ("blob-released", "reclass", "replica-released", "source-released", "touch")
)


class Page:
    """Objects that were read before, their rows locked until the transaction of `conn` ends.

    `any_version`: they may have changed since, as far as the change itself allows it. `refused` has those that `judge`
    left out, by id, and why.
    """

    def __init__(self, conn: sa.Connection, read: Iterable[Held | Aim], *, any_version: bool = False) -> None:
        self._read = {h.id: h for h in read}
        self._now = placements.load(conn, self._read, lock=True)
        self._any_version = any_version
        self.refused: dict[int, str] = {}

    def name(self, number: int) -> str:
        """What an object is called now; empty: the catalog has no such object any more."""
        now = self._now.get(number)
        return "" if now is None else now.placement.name

    def judge(self, change: Callable[[Held], Change], *, otherwise: str = OTHERS) -> list[Change]:
        """The changes that `change` makes of these objects, in their order; it may raise Stale. `otherwise` is what is
        said of those that are not as they were read."""
        changes: list[Change] = []
        for read in self._read.values():
            now = self._now.get(read.id)
            if now is None or now.fact_id is not None or not (self._any_version or now.version == read.version):
                self.refused[read.id] = otherwise
                continue
            try:
                changes.append(change(now))
            except Stale as stale:
                self.refused[read.id] = stale.message
        return changes


def record(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Write changes that a Page of this very transaction made, and tell of each as its kind is told.

    Facts wait in the outbox and become true when the journal has them. What the stores tell again after a loss is not
    told; an object without any replica is told whole by its root (docs/adr/0003). Raises CatalogError as
    `placements.change` does.
    """
    facts = [c for c in changes if c.kind in FACTS and c.held.placement.replicas]
    quiet = [c for c in changes if c.kind in TOLD_BY_STORES or (c.kind in FACTS and not c.held.placement.replicas)]
    told = [c for c in changes if c.kind not in FACTS | TOLD_BY_STORES]
    placements.change(conn, told, now_us=now_us, why=why)
    placements.quietly(conn, quiet, now_us=now_us, why=why)
    placements.propose(conn, facts, now_us=now_us, why=why)
