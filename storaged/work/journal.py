"""The journal: numbered, create-only entries on the hottest tier. Order in the journal is order in the catalog.

A batch of outbox entries becomes one numbered note (J1), and only then the catalog moves its number, pops the entries
and applies their facts (J2). Between the two anybody may crash: the next process finds the number taken by entries
that wait in its own outbox, and goes on with J2. Entries that this catalog never saw mean that an old copy of it was
restored: nothing may be done before `storagectl catalog reconcile`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from storaged.catalog import facts
from storaged.catalog.engine import Catalog
from storaged.catalog.facts import Identity
from storaged.catalog.placements import Entry
from storaged.errors import AlreadyExists, CatalogBehind, ForeignClaim
from storaged.stores.base import Store

BATCH: Final = 5_000  # entries in one note, about 1 KB each


class Journal:
    """The journal of one catalog, on one store."""

    def __init__(self, catalog: Catalog, store: Store, who: Identity) -> None:
        self._catalog = catalog
        self._store = store
        self._who = who

    def _name(self, number: int) -> str:
        return f"{prefix(self._who.catalog)}{number:012d}.jsonl"

    def read(self, number: int) -> list[Entry] | None:
        """The entries under this number, or None where the journal ends."""
        data = self._store.read_note(self._name(number))
        if data is None:
            return None
        lines = [json.loads(line) for line in data.splitlines()]
        if not lines or lines[0].get("catalog") != self._who.catalog:
            raise ForeignClaim(f"journal entry {number} on {self._store.url} is not of this catalog")
        return lines[1:]

    def entries(self, number: int = 0) -> Iterator[tuple[int, list[Entry]]]:
        """All notes from this number on."""
        while (found := self.read(number)) is not None:
            yield number, found
            number += 1

    def check_head(self) -> None:
        """Nothing may be done unless this catalog has seen the whole journal: finish what a crash left between J1 and
        J2. Raises CatalogBehind if the journal knows more than this catalog."""
        while True:
            with self._catalog.read() as conn:
                number = facts.journal_number(conn)
            found = self.read(number)
            if found is None:
                return
            self._accept(number, found)

    def flush(self) -> int:
        """Make every entry that waits durable, and apply the facts among them. Returns how many were written."""
        written = 0
        while True:
            with self._catalog.read() as conn:
                number = facts.journal_number(conn)
                entries = facts.waiting(conn, BATCH)
            if not entries:
                return written
            head = {"catalog": self._who.catalog, "epoch": self._who.epoch, "number": number}
            lines = [json.dumps(e, ensure_ascii=True, separators=(",", ":")) for e in (head, *entries)]
            try:
                self._store.write_note(self._name(number), ("\n".join(lines) + "\n").encode(), create_only=True)
            except AlreadyExists:
                self.check_head()
                continue
            with self._catalog.begin() as conn:
                facts.advance(conn, number, entries)
            written += len(entries)

    def _accept(self, number: int, found: list[Entry]) -> None:
        with self._catalog.begin() as conn:
            if facts.journal_number(conn) != number:
                return  # another process was faster
            ours = facts.in_outbox(conn, [e["id"] for e in found])
            if len(ours) != len(found):
                raise CatalogBehind(
                    f"this catalog never saw the journal from number {number} on: an old copy of it was restored",
                    hint="run `storagectl catalog reconcile`",
                )
            facts.advance(conn, number, found)


def prefix(catalog_id: str) -> str:
    """Where a catalog's journal notes are."""
    return f"journal/{catalog_id}/"
