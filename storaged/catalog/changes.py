"""From a look at objects to their change: the one way, for all that moves a pointer.

Between the reading of a row and its change anything may happen. So the rows are locked first; those that are not as
they were read, or wait for a fact, are left out; of each of the others the new placement is asked for, on the row as it
is now (Stale: there is none); then all are written, and each is told as its kind of change is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Change, Seen, Why
from storaged.placement import Stale

OTHERS: Final = "it is being changed by somebody else; try again"

FACTS: Final = frozenset(  # kinds that the journal must have first
    ("adopt", "derive", "eject", "released-after-all", "remove")
)
TOLD_BY_STORES: Final = frozenset(  # kinds that it never gets
    ("blob-released", "reclass", "replica-released", "source-released", "touch")
)
TOLD_AFTERWARDS: Final = frozenset(  # kinds that wait for the journal and are true at once
    (
        *("damaged", "drop", "healed", "hold", "keep", "let-go", "pin", "prove", "release-blob", "release-source"),
        *("swap", "transition", "undo"),
    )
)


class AsRead(Protocol):
    """An object at the version that it was read at."""

    @property
    def id(self) -> int: ...

    @property
    def version(self) -> int: ...


class Page:
    """Objects that were read before, their rows locked until the transaction of `conn` ends.

    `any_version`: they may have changed since, as far as the change itself allows it. `refused` has those that `judge`
    left out, by id, and why.
    """

    def __init__(self, conn: sa.Connection, read: Iterable[AsRead], *, any_version: bool = False) -> None:
        self._read = {h.id: h for h in read}
        self._now = placements.load(conn, self._read, lock=True)
        self._any_version = any_version
        self.refused: dict[int, str] = {}

    def name(self, number: int) -> str:
        """What an object is called now; empty: the catalog has no such object any more."""
        now = self._now.get(number)
        return "" if now is None else now.placement.name

    def judge(self, change: Callable[[Seen], Change], *, otherwise: str = OTHERS) -> list[Change]:
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

    Facts wait in the outbox and become true when the journal has them. So does whatever makes a name read as another
    edition of the generation, since somebody may have read it then (docs/adr/0034). What the stores tell again after a
    loss is not told; an object without any replica is told whole by its root (docs/adr/0003). Raises CatalogError as
    `placements.change` does, ValueError for a kind that is listed nowhere above.
    """
    unknown = {c.kind for c in changes} - FACTS - TOLD_BY_STORES - TOLD_AFTERWARDS
    if unknown:
        raise ValueError(f"nobody says who is told of {', '.join(sorted(unknown))}")
    facts = [c for c in changes if _is_fact(c)]
    others = [c for c in changes if not _is_fact(c)]
    told = [c for c in others if c.kind in TOLD_AFTERWARDS]
    quiet = [c for c in others if c.kind not in TOLD_AFTERWARDS]
    placements.change(conn, told, now_us=now_us, why=why)
    placements.quietly(conn, quiet, now_us=now_us, why=why)
    placements.propose(conn, facts, now_us=now_us, why=why)


def _is_fact(c: Change) -> bool:
    was, new = c.seen.placement, c.placement
    another = was.generation == new.generation and was.edition != new.edition
    return another or (c.kind in FACTS and bool(was.replicas))
