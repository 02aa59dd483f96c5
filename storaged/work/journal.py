"""The journal: numbered, create-only entries on the hottest tier. Order in the journal is order in the catalog.

A batch of outbox entries becomes one numbered note (J1), and only then the catalog moves its number, pops the entries
and applies their facts (J2). Between the two anybody may crash: the next process finds the number taken by entries
that wait in its own outbox, and goes on with J2. Entries that this catalog never saw mean that an old copy of it was
restored: nothing may be done before `storagectl catalog reconcile`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from storaged.catalog import facts
from storaged.catalog.engine import Catalog
from storaged.catalog.entries import Entry, line_of
from storaged.catalog.facts import Identity
from storaged.errors import (
    AlreadyExists,
    CatalogBehind,
    CatalogError,
    ForeignClaim,
    PermissionDenied,
    StoreFull,
    StoreUnavailable,
)
from storaged.stores.notes import Notes

_DAMAGED: Final = "bring it back from a copy of the tier, or move the file away: then the journal has a hole there"
_PUT_BACK: Final = (
    "put it back (.storaged/journal there): a rebuild without it loses what was moved; if it is lost for good, "
    "`storagectl catalog reconcile` tells anew what this catalog knows"
)
_SUFFIX: Final = ".jsonl"
_LOOKS: Final = 3  # at a journal that others write to meanwhile
BATCH: Final = 5_000  # entries in one note, about 1 KB each


@dataclass(frozen=True, slots=True)
class Note:
    """One numbered entry of the journal: a batch of placements, and the epoch of the catalog that wrote it."""

    number: int
    epoch: int
    entries: list[Entry]
    retold_from: int | None = None  # from that number up to this one, all is told anew that the journal ever told


@dataclass(slots=True)
class Replayed:
    """What a replay found. `holes`: runs of numbers that are missing and that nothing after them tells anew; `unseen`:
    those of them that this catalog had not seen before."""

    entries: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    unseen: list[tuple[int, int]] = field(default_factory=list)


class Journal:
    """The journal of one catalog, on one store."""

    def __init__(
        self, catalog: Catalog, store: Notes, who: Identity, confirm: Callable[[], object] = lambda: None
    ) -> None:
        """`confirm` raises unless what is at the store's URL now is the tier that holds the journal."""
        self._catalog = catalog
        self._store = store
        self._who = who
        self._confirm = confirm

    def _name(self, number: int) -> str:
        return f"{prefix(self._who.catalog)}{number:012d}{_SUFFIX}"

    def numbers(self) -> Iterator[int]:
        """The numbers of the entries that are there, in order."""
        begin = prefix(self._who.catalog)
        for name in self._store.list_notes(begin):
            number = name.removeprefix(begin).removesuffix(_SUFFIX)
            if number.isdecimal():
                yield int(number)

    def holes(self, first: int = 0, end: int | None = None) -> list[tuple[int, int]]:
        """(first, last) of each run of numbers that is missing from `first` on and before `end` (None: the last that is
        there)."""
        found: list[tuple[int, int]] = []
        wanted = first
        for number in self.numbers():
            if number < wanted or (end is not None and number >= end):
                continue
            if number > wanted:
                found.append((wanted, number - 1))
            wanted = number + 1
        if end is not None and wanted < end:
            found.append((wanted, end - 1))
        return found

    def check_whole(self) -> None:
        """Nothing is released unless a rebuild would know of it: every entry is there, from the one on with which this
        catalog began or was last rebuilt. Raises CatalogBehind."""
        with self._catalog.read() as conn:
            number, first = facts.journal_number(conn), int(facts.get(conn, "journal_from") or 0)
        if missing := self.holes(first, number):
            raise CatalogBehind(
                f"the journal on {self._store.url} has a hole: {told_holes(missing)}, which this catalog wrote there",
                hint=_PUT_BACK,
            )

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
            retold = None if head.get("retold_from") is None else int(head["retold_from"])
            whole = (head["number"], head["entries"]) == (number, len(entries)) and data.endswith(b"\n")
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(f"{where} is damaged", hint=_DAMAGED) from error
        if whose != self._who.catalog:
            raise ForeignClaim(f"{where} is of catalog {whose}, this one is {self._who.catalog}")
        if not whole:
            raise CatalogError(f"{where} is not as it was written", hint=_DAMAGED)
        return Note(number, epoch, entries, retold)

    def check_head(self) -> None:
        """Nothing may be done unless this catalog has seen the whole journal: finish what a crash left between J1 and
        J2. Raises CatalogBehind if the journal knows more than this catalog, or less."""
        while True:
            with self._catalog.read() as conn:
                number = facts.journal_number(conn)
            if number and self._store.read_note(self._name(number - 1)) is None:
                raise self._lost(number - 1)
            found = self.read(number)
            if found is None:
                return
            self._accept(found)

    def unseen(self) -> int | None:
        """The number of the first note that this catalog never saw, so that it is an old copy and may not act; None: it
        has seen all. Reads only. Raises CatalogError, ForeignClaim for a note that is damaged, StoreError."""
        for _ in range(_LOOKS):
            with self._catalog.read() as conn:
                number = facts.journal_number(conn)
            found = self.read(number)
            with self._catalog.read() as conn:
                waiting = facts.in_outbox(conn, [e["id"] for e in found.entries]) if found else {}
                moved = facts.journal_number(conn) != number
            if not moved:
                theirs = found is not None and found.epoch >= self._who.epoch and len(waiting) < len(found.entries)
                return number if theirs else None
        return None

    def flush(self, *, full: bool = False) -> int:
        """Make every entry that waits durable, and apply the facts among them; `full`: only as many as fill whole
        notes. Returns how many were written.

        Raises ForeignClaim if the catalog was rebuilt elsewhere meanwhile, CatalogBehind as `check_head` does.
        """
        written = 0
        while True:
            with self._catalog.read() as conn:
                if full and facts.journal_waiting(conn) < BATCH:
                    return written
                number = facts.journal_number(conn)
                waiting = facts.waiting(conn, BATCH)
            if not waiting:
                return written
            self._confirm()
            if number and self._store.read_note(self._name(number - 1)) is None:
                raise self._lost(number - 1)
            if not self._write(number, [line for _, line in waiting]):
                self.check_head()
                continue
            with self._catalog.begin() as conn:
                facts.advance_waiting(conn, number, waiting)
            written += len(waiting)

    def replay(self, progress: Callable[[int], None]) -> Replayed:
        """Apply every note that this catalog never saw, in order, and open our epoch behind them, so that what an
        older epoch still writes counts no more. Where numbers are missing, what lies after them is used all the same,
        and nothing is written in their place."""
        done = Replayed()
        with self._catalog.read() as conn:
            first = int(facts.get(conn, "journal_from") or 0)
            begun = facts.journal_number(conn)
        missing = self.holes(first, begun)
        while True:
            with self._catalog.read() as conn:
                number, epoch = facts.journal_number(conn), int(facts.get(conn, "journal_epoch") or 0)
            found = self.read(number)
            if found is None:
                beyond = next((n for n in self.numbers() if n > number), None)
                if beyond is not None:
                    missing.append((number, beyond - 1))
                    with self._catalog.begin() as conn:
                        facts.put(conn, "journal_number", str(beyond))
                    continue
                if epoch == self._who.epoch:
                    break
                self._write(number, [])
                continue
            dead = found.epoch < epoch  # written by a catalog that had been replaced
            with self._catalog.begin() as conn:
                facts.advance(conn, number, [] if dead else found.entries)
                facts.put(conn, "journal_epoch", str(max(epoch, found.epoch)))
                if found.retold_from is not None and not dead:
                    first = found.retold_from
                    facts.put(conn, "journal_from", str(first))
            done.entries += 0 if dead else len(found.entries)
            progress(done.entries)
        done.holes = [(low, high) for low, high in missing if high >= first]
        done.unseen = [(low, high) for low, high in done.holes if low >= begun]
        return done

    def has_holes(self) -> bool:
        """Whether any number before the last is missing, told anew or not: what it told of strays is lost."""
        with self._catalog.read() as conn:
            number = facts.journal_number(conn)
        return bool(self.holes(0, number))

    def close_gap(self, first: int) -> None:
        """Note that the entries from `first` on tell all that the journal ever told: what is missing before them is
        missed no more. Nobody else may act meanwhile."""
        with self._catalog.read() as conn:
            number = facts.journal_number(conn)
        self._confirm()
        if not self._write(number, [], retold_from=first):
            raise CatalogBehind(f"journal entry {number} was written by somebody else", hint="run this again")
        with self._catalog.begin() as conn:
            facts.advance(conn, number, [])
            facts.put(conn, "journal_from", str(first))

    def _lost(self, number: int) -> CatalogBehind:
        return CatalogBehind(
            f"journal entry {number} is not on {self._store.url}, where this catalog wrote it",
            hint=_PUT_BACK,
        )

    def _write(self, number: int, entries: list[str], *, retold_from: int | None = None) -> bool:
        """J1. False if the number is taken."""
        who = self._who
        head: Entry = {"catalog": who.catalog, "epoch": who.epoch, "number": number, "entries": len(entries)}
        if retold_from is not None:
            head["retold_from"] = retold_from
        lines = [line_of(head), *entries]
        try:
            self._store.write_note(self._name(number), ("\n".join(lines) + "\n").encode(), create_only=True)
        except AlreadyExists:
            return False
        except (PermissionDenied, StoreFull, StoreUnavailable) as error:  # nothing else tells which tier it is
            message = f"the journal on {self._store.url} takes no entry: {error.message}"
            raise type(error)(message, key=error.key, hint=error.hint) from error
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


def told_holes(missing: list[tuple[int, int]]) -> str:
    runs = [f"{first}" if first == last else f"{first} to {last}" for first, last in missing]
    return f"{'entry' if runs == [str(missing[0][0])] else 'entries'} {', '.join(runs)}"


def prefix(catalog_id: str) -> str:
    return f"journal/{catalog_id}/"
