"""The journal: numbered, create-only entries on the hottest tier. Order in the journal is order in the catalog.

A batch of outbox entries becomes one numbered note (J1), and only then the catalog moves its number, pops the entries
and applies their facts (J2). Between the two anybody may crash: the next process finds the number taken by entries
that wait in its own outbox, and goes on with J2. Entries that this catalog never saw mean that an old copy of it was
restored: nothing may be done before `storagectl catalog reconcile`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from storaged.catalog import facts
from storaged.catalog.engine import Catalog
from storaged.catalog.entries import Entry
from storaged.catalog.facts import Identity
from storaged.errors import AlreadyExists, CatalogBehind, CatalogError, ForeignClaim
from storaged.stores.base import Store
from storaged.work import claims

_DAMAGED: Final = "bring it back from a copy of the tier: nothing is rebuilt from a journal with a hole"
BATCH: Final = 5_000  # entries in one note, about 1 KB each


@dataclass(frozen=True, slots=True)
class Note:
    """One numbered entry of the journal: a batch of placements, and the epoch of the catalog that wrote it."""

    number: int
    epoch: int
    entries: list[Entry]


class Journal:
    """The journal of one catalog, on one store."""

    def __init__(self, catalog: Catalog, store: Store, who: Identity) -> None:
        self._catalog = catalog
        self._store = store
        self._who = who

    def _name(self, number: int) -> str:
        return f"{prefix(self._who.catalog)}{number:012d}.jsonl"

    def read(self, number: int) -> Note | None:
        """What stands under this number, or None where the journal ends.

        Raises ForeignClaim for another catalog's, CatalogError for what is not as it was written.
        """
        data = self._store.read_note(self._name(number))
        if data is None:
            return None
        where = f"journal entry {number} on {self._store.url}"
        try:
            head, *entries = [json.loads(line) for line in data.decode("ascii").splitlines()]
            epoch, whose = int(head["epoch"]), head["catalog"]
            whole = (head["number"], head["entries"]) == (number, len(entries)) and data.endswith(b"\n")
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(f"{where} is damaged", hint=_DAMAGED) from error
        if whose != self._who.catalog:
            raise ForeignClaim(f"{where} is of catalog {whose}, this one is {self._who.catalog}")
        if not whole:
            raise CatalogError(f"{where} is not as it was written", hint=_DAMAGED)
        return Note(number, epoch, entries)

    def check_head(self) -> None:
        """Nothing may be done unless this catalog has seen the whole journal: finish what a crash left between J1 and
        J2. Raises CatalogBehind if the journal knows more than this catalog, or less."""
        while True:
            with self._catalog.read() as conn:
                number = facts.journal_number(conn)
            if number and self._store.read_note(self._name(number - 1)) is None:
                raise CatalogBehind(
                    f"journal entry {number - 1} is not on {self._store.url}, where this catalog wrote it",
                    hint="put the journal back (.storaged/journal there): a rebuild without it loses what was moved",
                )
            found = self.read(number)
            if found is None:
                return
            self._accept(found)

    def flush(self) -> int:
        """Make every entry that waits durable, and apply the facts among them. Returns how many were written.

        Raises ForeignClaim if the catalog was rebuilt elsewhere meanwhile, CatalogBehind as `check_head` does.
        """
        written = 0
        while True:
            with self._catalog.read() as conn:
                number = facts.journal_number(conn)
                entries = facts.waiting(conn, BATCH)
            if not entries:
                return written
            claims.check(self._store, self._who)
            if not self._write(number, entries):
                self.check_head()
                continue
            with self._catalog.begin() as conn:
                facts.advance(conn, number, entries)
            written += len(entries)

    def replay(self, progress: Callable[[int], None]) -> int:
        """Apply every note that this catalog never saw, in order, and open our epoch behind them, so that what an
        older epoch still writes counts no more. Returns the number of entries."""
        done = 0
        while True:
            with self._catalog.read() as conn:
                number, epoch = facts.journal_number(conn), int(facts.get(conn, "journal_epoch") or 0)
            found = self.read(number)
            if found is None:
                if epoch == self._who.epoch:
                    return done
                self._write(number, [])
                continue
            dead = found.epoch < epoch  # written by a catalog that had been replaced
            with self._catalog.begin() as conn:
                facts.advance(conn, number, [] if dead else found.entries)
                facts.put(conn, "journal_epoch", str(max(epoch, found.epoch)))
            done += 0 if dead else len(found.entries)
            progress(done)

    def _write(self, number: int, entries: list[Entry]) -> bool:
        """J1. False if the number is taken."""
        who = self._who
        head = {"catalog": who.catalog, "epoch": who.epoch, "number": number, "entries": len(entries)}
        lines = [json.dumps(e, ensure_ascii=True, separators=(",", ":")) for e in (head, *entries)]
        try:
            self._store.write_note(self._name(number), ("\n".join(lines) + "\n").encode(), create_only=True)
        except AlreadyExists:
            return False
        return True

    def _accept(self, found: Note) -> None:
        with self._catalog.begin() as conn:
            if facts.journal_number(conn, lock=True) != found.number:  # the outbox must be read at that number
                return  # another process was faster
            if found.epoch < self._who.epoch:  # a catalog that we replaced wrote it
                facts.advance(conn, found.number, [])
                return
            ours = facts.in_outbox(conn, [e["id"] for e in found.entries])
            if found.epoch > self._who.epoch or len(ours) != len(found.entries):
                raise CatalogBehind(
                    f"this catalog never saw the journal from number {found.number} on: an old copy of it was restored",
                    hint="run `storagectl catalog reconcile`",
                )
            facts.advance(conn, found.number, found.entries)


def prefix(catalog_id: str) -> str:
    """Where a catalog's journal notes are."""
    return f"journal/{catalog_id}/"
