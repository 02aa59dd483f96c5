"""Scan: a merge of two sorted streams, the root's listing and the catalog's rows.

Keys that are only in the listing are new, rows that are only in the catalog have vanished (if their content was at the
original key), and rows whose identity differs have changed. Unchanged objects cost no write. The listing only names
suspects, each of which is looked at again (storaged.work.scan.suspects).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa

from storaged.catalog import allocated, collections, statistics, totals
from storaged.catalog.allocated import Allocated
from storaged.catalog.bulk import insert_objects
from storaged.catalog.homes import homes
from storaged.catalog.schema import datasets, objects, scans
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_totals import object_totals
from storaged.decide.finder import Finder
from storaged.decide.kinds import TABLES
from storaged.errors import RootEmpty, StoreError
from storaged.model import AttemptKind
from storaged.naming import is_marker
from storaged.stores.base import Skipped, Stat, Store
from storaged.stores.listed import Listed
from storaged.work import suspension
from storaged.work.context import Context
from storaged.work.scan import stuck
from storaged.work.scan.leftovers import left_visible, note_shown
from storaged.work.scan.named import PAGE, read_again
from storaged.work.scan.page import AT_ROOT, RootPage, between, pages, plain
from storaged.work.scan.partitions import format_of, partition_reader
from storaged.work.scan.references import References
from storaged.work.scan.suspects import SAMPLES, Scanned, Suspects, no_object

SUSPECTS: Final = 1_000
MAX_VANISHED: Final = 0.5  # share of a dataset's objects; more at once must be confirmed,
FEW: Final = 20  # unless they are no more than these

_taken = attrgetter("allocated")


def scan(
    context: Context,
    name: str,
    *,
    confirm_empty: bool = False,
    resume: bool = True,
    progress: Callable[[Scanned, int], None] = lambda _scanned, _expected: None,
) -> Scanned:
    """Bring the catalog up to date with a dataset's root. `progress` gets the counts so far and how many objects the
    last scan saw. Raises RootEmpty where a root that had objects shows none, or far fewer, unless `confirm_empty`;
    MarkerLost, OtherPlace where it does not carry the marker that it had. A good scan ends a suspension of the dataset
    that its root was the reason of.
    """
    context.ready()
    context.journal.flush()
    context.confirm_root(name)
    found = _Scan(context, name, confirm_empty, progress).run(resume=resume)
    suspension.resume(context, "dataset", name, "its root is there again", tried=True)
    return found


class _Scan:
    def __init__(
        self, context: Context, name: str, confirm_empty: bool, progress: Callable[[Scanned, int], None]
    ) -> None:
        self.context = context
        self.dataset = context.dataset(name)
        self.store: Store = context.root(name)
        self.confirm_empty = confirm_empty
        self.progress = progress
        self.result = Scanned(name)
        self.suspects = Suspects(context, name, self.result)
        self.finder = Finder()
        self.passed: set[str] = set()  # keys that were skipped, of those that rows were not compared with yet
        self.partition = partition_reader(self.dataset.partitions)
        with context.catalog.read() as conn:
            self.dataset_id = context.dataset_id(conn, name)
            self.home = homes(conn)
            self.known = conn.execute(sa.select(sa.func.coalesce(sa.func.max(objects.c.id), 0))).scalar_one()
        self.references = References(context, name, self.dataset_id)
        self.expected = self._expected()

    def run(self, *, resume: bool) -> Scanned:
        scan_id, after = self._open_row(resume)
        self.result.resumed_after = after
        try:
            self._look_at_the_place()
            listing = self.store.listed(after=after)
            first = [*islice(listing, 1)]
        except StoreError as error:
            if not self.expected:
                raise
            raise RootEmpty(
                f"the root of dataset {self.dataset.name!r} cannot be listed: {error.message}",
                hint="is it mounted? Nothing was changed",
            ) from error
        # Counted once more: what a sweep released since is not in the listing and was let go before that began.
        if not first and not after and not self.confirm_empty and (expected := self._expected()):
            raise RootEmpty(
                f"the root {self.dataset.root} shows no objects; the catalog has {expected}",
                hint="is it mounted? If they were all deleted on purpose, scan again with --confirm-empty",
            )
        with tempfile.TemporaryFile("w+") as vanished:
            lost = self._merge(
                scan_id, after, chain(first, listing), lambda ids: vanished.write("".join(f"{i}\n" for i in ids))
            )
            if lost > MAX_VANISHED * self.expected and lost > FEW and not self.confirm_empty:
                raise RootEmpty(
                    f"{lost} of {self.expected} objects of dataset {self.dataset.name!r} are gone from its root",
                    hint="is all of it mounted? If they were deleted on purpose, scan again with --confirm-empty",
                )
            vanished.seek(0)
            page: list[int] = []
            for line in vanished:
                page.append(int(line))
                if len(page) == SUSPECTS:
                    self.suspects.look_again(page)
                    page = []
            self.suspects.look_again(page)
        self.suspects.look_again(self._left())
        stuck.look_again(self.context, self.dataset_id)
        read_again(self.context, self.dataset, self.dataset_id, self.known)
        self._see_the_others(after)
        self._close_row(scan_id)
        return self.result

    def _expected(self) -> int:
        """How many objects the catalog has at the root."""
        held = object_totals.c
        number = sa.func.coalesce(sa.func.sum(held.objects), 0)
        query = sa.select(number).where(held.dataset_id == self.dataset_id, held.raw_state.in_(AT_ROOT))
        with self.context.catalog.read() as conn:
            return int(conn.execute(query).scalar_one())

    def _look_at_the_place(self) -> None:
        """Record what the root keeps from being deleted, and what its store can do. Raises StoreError."""
        found, traits = self.store.protection, self.store.traits
        values = {
            "versioning": found.versioning.value,
            "locks": found.locks,
            "conditional": traits.releases,
            "transitions": traits.transitions,
        }
        with self.context.catalog.begin() as conn:
            conn.execute(sa.update(datasets).where(datasets.c.id == self.dataset_id).values(values))

    # -- the merge ---------------------------------------------------------------------------------------------

    def _merge(
        self, scan_id: int, after: str, listing: Iterator[Listed | Skipped], lose: Callable[[Sequence[int]], object]
    ) -> int:
        """Page by page of the listing against the rows of the same key range. Returns how many seem to be gone."""
        lost, low = 0, after
        told = pages(listing, PAGE)
        page = self._objects(next(told))
        for following in told:  # the page's last key bounds it; what lies behind the end of the listing comes last
            if len(page):
                lost += self._page(page, low, page.last, lose)
                low = page.last
            self._mark(scan_id, low)
            page = self._objects(following)
        lost += self._page(page, low, None, lose)
        self._mark(scan_id, low)
        return lost

    def _objects(self, told: Sequence[Listed | Skipped]) -> RootPage:
        """The objects of a page; what cannot be one is counted and sampled."""
        kept: list[Listed] = []
        for one in told:
            if isinstance(one, Skipped):
                self._pass(one)
                self.finder.see([f"{one.key}/"])  # it may be a folder, of which only the name is known
            elif plain(one):
                kept.append(one)
            elif stats := [stat for stat in one if self._is_object(stat)]:
                kept.append(Listed.of(stats))
        return RootPage(kept)

    def _is_object(self, stat: Stat) -> bool:
        if is_marker(stat.key):
            self.result.skip(Skipped(stat.key, "storaged's own file, of another place or of a copy of one"))
            return False
        if passed := no_object(stat, self.context.catalog):
            self._pass(passed)
        return passed is None

    def _pass(self, entry: Skipped) -> None:
        """Something is at this key that is no object: what the catalog may have there is neither gone nor looked at."""
        self.result.skip(entry)
        self.passed.add(entry.key)

    def _page(self, listed: RootPage, low: str, high: str | None, lose: Callable[[Sequence[int]], object]) -> int:
        """Compare a page with the rows after `low` and up to `high` (None: to the end)."""
        self.result.seen += len(listed)
        self.result.bytes += listed.bytes
        for keys in listed.together():
            self.finder.see(keys)
        passed = {key for key in self.passed if high is None or key <= high}
        self.passed -= passed
        with self.context.catalog.read() as conn:
            wanted = self.references.wanted(listed.names)
            unlooked = listed.as_known(conn, self.dataset_id, low, high, counted=wanted)
        if unlooked is not None:
            if unlooked:
                self.references.see_unchanged(low, high)
            self.result.unchanged += len(listed)
            return 0
        page = listed.stats()
        self.references.see(page)
        rows = {row.name: row for row in self._rows(low, high)}
        new: list[Stat] = []
        suspects: list[int] = []
        taken: dict[int, Allocated] = {}
        for stat in page:
            row = rows.pop(stat.key, None)
            if row is None:
                new.append(stat)
            elif (row.raw_identity, row.raw_class) == (stat.identity, stat.storage_class) and row.raw_state in AT_ROOT:
                self.result.unchanged += 1
                if row.raw_allocated != stat.allocated:
                    taken[row.id] = Allocated(stat.identity, stat.allocated)
            else:
                suspects.append(row.id)
        gone = [row.id for row in rows.values() if row.raw_state in AT_ROOT and row.name not in passed]
        self._add(new)
        if taken:
            with self.context.catalog.begin() as conn:
                allocated.note(conn, taken)
        for start in range(0, len(suspects), SUSPECTS):
            self.suspects.look_again(suspects[start : start + SUSPECTS])
        lose(gone)
        return len(gone)

    def _rows(self, low: str, high: str | None) -> Iterator[Any]:
        """Rows of these columns in key order, in short read transactions."""
        o = objects.c
        columns = sa.select(o.id, o.name, o.raw_state, o.raw_identity, o.raw_class, o.raw_allocated)
        while True:
            with self.context.catalog.read() as conn:
                rows = conn.execute(between(columns, self.dataset_id, low, high).limit(PAGE)).all()
            yield from rows
            if len(rows) < PAGE:
                return
            low = rows[-1].name

    # -- what differs ------------------------------------------------------------------------------------------

    def _add(self, stats: Sequence[Stat]) -> None:
        """Keys that the catalog never saw. What an uncommitted attempt of ours put there is no object."""
        ours = self._attempted()
        fresh = [s for s in stats if s.key not in ours or not self.suspects.is_leftover(s)]
        if not fresh:
            return
        table = pa.table(
            {
                "name": [s.key for s in fresh],
                "size": pa.array([s.size for s in fresh], pa.int64()),
                "mtime_us": pa.array([s.mtime_us for s in fresh], pa.int64()),
                "created_us": pa.array([s.mtime_us for s in fresh], pa.int64()),
                "format": [format_of(s.key) for s in fresh],
                "partition": pa.array([self.partition(s.key) for s in fresh], pa.string()),
                "raw_identity": [s.identity for s in fresh],
                "raw_class": [s.storage_class for s in fresh],
                "tier_id": pa.array([self.home(self.dataset_id, s.storage_class) for s in fresh], pa.int64()),
                "locked_until_us": pa.array(self.suspects.locks([s.key for s in fresh]), pa.int64()),
                "raw_allocated": pa.array(map(_taken, fresh), pa.int64()),
            }
        )
        self.result.added += insert_objects(
            self.context.catalog,
            self.dataset_id,
            table,
            staging=self.context.settings.state_dir,
        )
        stuck.look_at_new(self.context, self.dataset_id, self.dataset.name, [s.key for s in fresh])

    def _attempted(self) -> set[str]:
        """Original keys that an attempt of ours which was never committed may have written."""
        mine = sa.and_(attempts.c.dataset_id == self.dataset_id, attempts.c.kind == AttemptKind.RETURN.value)
        with self.context.catalog.read() as conn:
            return set(conn.execute(sa.select(attempts.c.key).where(mine)).scalars())

    def _left(self) -> list[int]:
        """Objects that were put back and never recorded so: the listing knows nothing of those that are gone again."""
        note_shown(self.context, self.dataset.name)
        lease_us = self.context.settings.workers.lease
        with self.context.catalog.read() as conn:
            return left_visible(conn, self.dataset_id, now_us=self.context.now_us(), lease_us=lease_us)

    def _see_the_others(self, after: str) -> None:
        """What is not at its original key is a part of a collection all the same; and a scan that was resumed has not
        listed what comes before."""
        held = object_totals.c
        number = sa.select(sa.func.coalesce(sa.func.sum(held.objects), 0)).where(
            held.dataset_id == self.dataset_id, held.removed == 0, held.raw_state.not_in(AT_ROOT)
        )
        with self.context.catalog.read() as conn:
            if not after and not conn.execute(number).scalar_one():
                return
        o = objects.c
        elsewhere = sa.or_(o.raw_state.not_in(AT_ROOT), o.name <= after)
        query = sa.select(o.name).where(o.dataset_id == self.dataset_id, o.removed_us.is_(None), elsewhere)
        last = ""
        while True:
            with self.context.catalog.read() as conn:
                names = conn.execute(query.where(o.name > last).order_by(o.name).limit(PAGE)).scalars().all()
            self.finder.see(names)
            self.references.see_elsewhere(names)
            if len(names) < PAGE:
                return
            last = names[-1]

    # -- the scan's own row ------------------------------------------------------------------------------------

    def _open_row(self, resume: bool) -> tuple[int, str]:
        """A new scan, or the one that a crash left unfinished, with the key after which to go on."""
        with self.context.catalog.begin() as conn:
            last = conn.execute(
                sa.select(scans).where(scans.c.dataset_id == self.dataset_id).order_by(scans.c.id.desc()).limit(1)
            ).one_or_none()
            if resume and last is not None and last.finished_us is None and last.cursor:
                return last.id, last.cursor
            made = conn.execute(
                sa.insert(scans)
                .values(dataset_id=self.dataset_id, started_us=self.context.now_us())
                .returning(scans.c.id)
            )
            return made.scalar_one(), ""

    def _mark(self, scan_id: int, cursor: str) -> None:
        with self.context.catalog.begin() as conn:
            conn.execute(sa.update(scans).where(scans.c.id == scan_id).values(cursor=cursor, seen=self.result.seen))
        self.progress(self.result, self.expected)

    def _close_row(self, scan_id: int) -> None:
        r, now = self.result, self.context.now_us()
        found = self.finder.found()
        r.references, r.unread_references, r.not_looked_into = self.references.close()
        counts = ("seen", "added", "changed", "vanished", "reappeared", "skipped")
        with self.context.catalog.begin() as conn:
            totals.fold(conn)
            conn.execute(
                sa.update(scans)
                .where(scans.c.id == scan_id)
                .values(finished_us=now, **{name: getattr(r, name) for name in counts})
            )
            new = set(collections.replace(conn, self.dataset_id, found, now_us=now))
            conn.execute(sa.update(datasets).where(datasets.c.id == self.dataset_id).values(scanned_us=now))
        statistics.learn(self.context.catalog, r.added + r.changed + r.vanished + r.reappeared)
        r.collections, r.new_collections = len(found), [one for one in found if one.prefix in new][:SAMPLES]
        r.table_format = next((one.kind for one in found if one.kind in TABLES), None)
        self.progress(r, self.expected)
