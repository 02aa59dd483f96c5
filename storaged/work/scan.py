"""Scan: a merge of two sorted streams, the root's listing and the catalog's rows.

Keys that are only in the listing are new, rows that are only in the catalog have vanished (if their content was at the
original key), and rows whose identity differs have changed. Unchanged objects cost no write. The listing only names
suspects: each suspect is looked at again after its row was read, and the change is applied only to a row of that
version, so a listing that is older than a rewrite, a release or a write-back never undoes it.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.bulk import insert_objects
from storaged.catalog.placements import Change, Held
from storaged.catalog.schema import blobs, datasets, objects, scans
from storaged.errors import ObjectNotFound, RootEmpty, StoreError
from storaged.model import BlobState, Placement, RawState
from storaged.placement import adopt, remove
from storaged.stores.base import Skipped, Stat, Store
from storaged.stores.origins import tells_of
from storaged.work.context import Context
from storaged.work.leftovers import is_leftover

PAGE: Final = 50_000  # rows and keys dealt with at once; bounds memory
SUSPECTS: Final = 1_000
SAMPLES: Final = 20  # skipped names kept for the report
MAX_VANISHED: Final = 0.5  # share of a dataset's objects; more at once must be confirmed
TABLES: Final = {  # a directory of this name makes its parent a table of this format (DESIGN: refused whole)
    "_delta_log/": "delta",
    ".hoodie/": "hudi",
}


@dataclass(slots=True)
class Scanned:
    """What a scan saw and recorded."""

    dataset: str
    seen: int = 0
    bytes: int = 0
    added: int = 0
    changed: int = 0
    vanished: int = 0
    reappeared: int = 0
    unchanged: int = 0
    skipped: int = 0
    skipped_samples: list[Skipped] = field(default_factory=list)
    table_format: str | None = None
    resumed_after: str = ""


def scan(
    context: Context,
    name: str,
    *,
    confirm_empty: bool = False,
    resume: bool = True,
    progress: Callable[[Scanned, int], None] = lambda _scanned, _expected: None,
) -> Scanned:
    """Bring the catalog up to date with a dataset's root. `progress` gets the counts so far and how many objects the
    last scan saw. Raises RootEmpty where a root that had objects shows none, or far fewer, unless `confirm_empty`.
    """
    context.ready()
    context.journal.flush()
    return _Scan(context, name, confirm_empty, progress).run(resume=resume)


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
        self.partition = partition_reader(self.dataset.partitions)
        with context.catalog.read() as conn:
            self.dataset_id = context.dataset_id(conn, name)
            self.tier_id = int(
                conn.execute(sa.select(datasets.c.tier_id).where(datasets.c.id == self.dataset_id)).scalar_one()
            )
            self.expected = conn.execute(
                sa.select(sa.func.count()).where(
                    objects.c.dataset_id == self.dataset_id,
                    objects.c.raw_state.in_([RawState.CURRENT.value, RawState.SUPERSEDED.value]),
                )
            ).scalar_one()

    def run(self, *, resume: bool) -> Scanned:
        scan_id, after = self._open_row(resume)
        self.result.resumed_after = after
        try:
            listing = self.store.list(after=after)
            first = next(listing, None)
        except StoreError as error:
            if not self.expected:
                raise
            raise RootEmpty(
                f"the root of dataset {self.dataset.name!r} cannot be listed: {error.message}",
                hint="is it mounted? Nothing was changed",
            ) from error
        if first is None and not after and self.expected and not self.confirm_empty:
            raise RootEmpty(
                f"the root {self.dataset.root} shows no objects; the catalog has {self.expected}",
                hint="is it mounted? If they were all deleted on purpose, scan again with --confirm-empty",
            )
        with tempfile.TemporaryFile("w+") as vanished:
            lost = self._merge(
                scan_id, after, first, listing, lambda ids: vanished.write("".join(f"{i}\n" for i in ids))
            )
            if lost > MAX_VANISHED * self.expected and lost > SAMPLES and not self.confirm_empty:
                raise RootEmpty(
                    f"{lost} of {self.expected} objects of dataset {self.dataset.name!r} are gone from its root",
                    hint="is all of it mounted? If they were deleted on purpose, scan again with --confirm-empty",
                )
            vanished.seek(0)
            page: list[int] = []
            for line in vanished:
                page.append(int(line))
                if len(page) == SUSPECTS:
                    self._look_again(page)
                    page = []
            self._look_again(page)
        self._close_row(scan_id)
        return self.result

    # -- the merge ---------------------------------------------------------------------------------------------

    def _merge(
        self,
        scan_id: int,
        after: str,
        first: Stat | Skipped | None,
        listing: Iterator[Stat | Skipped],
        lose: Callable[[Sequence[int]], object],
    ) -> int:
        """Page by page of the listing against the rows of the same key range. Returns how many seem to be gone."""
        lost, low, page = 0, after, [first, *islice(listing, PAGE)] if first is not None else []
        while len(page) > PAGE:  # the page's last key bounds it; what lies behind the end of the listing comes last
            stats = self._stats(page)
            if stats:
                lost += self._page(stats, low, stats[-1].key, lose)
                low = stats[-1].key
            self._mark(scan_id, low)
            page = list(islice(listing, PAGE + 1))
        lost += self._page(self._stats(page), low, None, lose)
        self._mark(scan_id, low)
        return lost

    def _stats(self, page: Sequence[Stat | Skipped]) -> list[Stat]:
        """The objects of a page; what cannot be one is counted and sampled."""
        stats = [entry for entry in page if isinstance(entry, Stat)]
        if len(stats) < len(page):
            for entry in page:
                if isinstance(entry, Skipped):
                    self._skip(entry)
        return stats

    def _skip(self, entry: Skipped) -> None:
        self.result.skipped += 1
        if len(self.result.skipped_samples) < SAMPLES:
            self.result.skipped_samples.append(entry)

    def _page(self, page: Sequence[Stat], low: str, high: str | None, lose: Callable[[Sequence[int]], object]) -> int:
        """Compare a page with the rows after `low` and up to `high` (None: to the end)."""
        self.result.seen += len(page)
        self.result.bytes += sum([s.size for s in page])
        if self._as_known(page, low, high):
            self.result.unchanged += len(page)
            return 0
        rows = {row.name: row for row in self._rows(low, high)}
        new: list[Stat] = []
        suspects: list[int] = []
        for stat in page:
            row = rows.pop(stat.key, None)
            if row is None:
                new.append(stat)
            elif row.raw_identity == stat.identity and row.raw_state in _AT_ROOT:
                self.result.unchanged += 1
            else:
                suspects.append(row.id)
        gone = [row.id for row in rows.values() if row.raw_state in _AT_ROOT]
        self._add(new)
        for start in range(0, len(suspects), SUSPECTS):
            self._look_again(suspects[start : start + SUSPECTS])
        lose(gone)
        return len(gone)

    def _as_known(self, page: Sequence[Stat], low: str, high: str | None) -> bool:
        """Whether the catalog holds just these keys with these identities: the common case, told by one compare."""
        query = self._between(sa.select(objects.c.name, objects.c.raw_identity), low, high)
        query = query.where(objects.c.raw_state.in_(_AT_ROOT)).limit(len(page) + 1)
        with self.context.catalog.read() as conn:
            found = conn.execute(query)
            known = (
                found.cursor.fetchall() if found.cursor else []
            )  # the driver's tuples: rows compare three times slower
        return known == [(s.key, s.identity) for s in page]

    def _between(self, query: sa.Select[Any], low: str, high: str | None) -> sa.Select[Any]:
        query = query.where(objects.c.dataset_id == self.dataset_id, objects.c.name > low).order_by(objects.c.name)
        return query if high is None else query.where(objects.c.name <= high)

    def _rows(self, low: str, high: str | None) -> Iterator[Any]:
        """Rows of (id, name, raw_state, raw_identity) in key order, in short read transactions."""
        columns = sa.select(objects.c.id, objects.c.name, objects.c.raw_state, objects.c.raw_identity)
        while True:
            with self.context.catalog.read() as conn:
                rows = conn.execute(self._between(columns, low, high).limit(PAGE)).all()
            yield from rows
            if len(rows) < PAGE:
                return
            low = rows[-1].name

    # -- what differs ------------------------------------------------------------------------------------------

    def _add(self, stats: Sequence[Stat]) -> None:
        """Keys that the catalog never saw. What an uncommitted attempt of ours put there is no object."""
        ours = self._attempted()
        fresh = [s for s in stats if s.key not in ours or not self._is_leftover(s)]
        if not fresh:
            return
        self._notice_table([s.key for s in fresh])
        table = pa.table(
            {
                "name": [s.key for s in fresh],
                "size": pa.array([s.size for s in fresh], pa.int64()),
                "mtime_us": pa.array([s.mtime_us for s in fresh], pa.int64()),
                "created_us": pa.array([s.mtime_us for s in fresh], pa.int64()),
                "format": [format_of(s.key) for s in fresh],
                "partition": pa.array([self.partition(s.key) for s in fresh], pa.string()),
                "raw_identity": [s.identity for s in fresh],
            }
        )
        self.result.added += insert_objects(
            self.context.catalog,
            self.dataset_id,
            self.tier_id,
            table,
            staging=self.context.settings.state_dir,
        )

    def _attempted(self) -> set[str]:
        """Original keys that an attempt of ours which was never committed may have written."""
        dead = [BlobState.STAGED.value, BlobState.TOMBSTONE.value]
        at_root = sa.and_(blobs.c.dataset_id == self.dataset_id, blobs.c.tier_id.is_(None))
        with self.context.catalog.read() as conn:
            return set(conn.execute(sa.select(blobs.c.key).where(at_root, blobs.c.state.in_(dead))).scalars())

    def _is_leftover(self, stat: Stat) -> bool:
        return is_leftover(self.context, self.dataset.name, stat.key, stat)

    def _look_again(self, ids: Sequence[int]) -> None:
        """Remember the rows, then look at their keys, then record what differs in rows still as remembered."""
        if not ids:
            return
        with self.context.catalog.read() as conn:
            held = placements.load(conn, ids)
        self._record([(h, what) for h in held.values() if h.fact_id is None and (what := self._judge(h)) is not None])

    def _record(self, judged: Sequence[tuple[Held, tuple[str, Placement]]]) -> None:
        """Apply what a look at the keys meant to rows that are still as they were remembered before the look."""
        if not judged:
            return
        now = self.context.now_us()
        with self.context.catalog.begin() as conn:
            found = placements.load(conn, [h.id for h, _ in judged], lock=True)
            facts: list[Change] = []
            told_by_the_root: list[Change] = []
            for h, (kind, placement) in judged:
                it = found[h.id]
                if it.version != h.version or it.fact_id is not None:
                    continue
                known_elsewhere = bool(it.placement.replicas)
                (facts if known_elsewhere else told_by_the_root).append(Change(it, placement, kind))
                self._count(kind, it)
            why = self.context.why("scan")
            placements.propose(conn, facts, now_us=now, why=why)
            # An object without any replica is told whole by its root: a rebuild sees the same (docs/adr/0003).
            placements.quietly(conn, told_by_the_root, now_us=now, why=why)
        self.context.journal.flush()

    def _judge(self, held: Held) -> tuple[str, Placement] | None:
        """The protocol's table: what a look at the key means for the object."""
        p = held.placement
        now = self.context.now_us()
        until = now + self.context.settings.grace
        try:
            stat: Stat | None = self.store.head(p.name)
        except ObjectNotFound:
            stat = None
        except StoreError as error:  # behind a directory that cannot be entered, or no file any more: unknown, not gone
            self._skip(Skipped(p.name, error.message))
            return None
        if stat is not None and p.raw.state in _SHOWN and stat.identity == p.raw.identity:
            return None
        if stat is not None and not self._is_leftover(stat):
            told = self.store.origin(p.name)
            attempt = told.attempt if told and tells_of(told, p.dataset, p.name) else ""
            self._notice_table([p.name])
            new = adopt(
                p, identity=stat.identity, attempt=attempt, size=stat.size, mtime_us=stat.mtime_us, until_us=until
            )
            return "adopt", new
        if p.raw.state in (RawState.CURRENT, RawState.SUPERSEDED):
            return "remove", remove(p, now_us=now, until_us=until)
        return None

    def _count(self, kind: str, held: Held) -> None:
        if kind == "remove":
            self.result.vanished += 1
        elif held.placement.removed_us is not None:
            self.result.reappeared += 1
        else:
            self.result.changed += 1

    def _notice_table(self, keys: Sequence[str]) -> None:
        """A prefix that belongs to a table format: the dataset is refused whole (until something knows better)."""
        folders = {key[: key.rfind("/") + 1] for key in keys}
        marks = {kind for mark, kind in TABLES.items() if any(f"/{mark}" in f"/{folder}" for folder in folders)}
        if any(key.endswith(".metadata.json") and "/metadata/" in f"/{key}" for key in keys):
            marks.add("iceberg")
        if marks and self.result.table_format is None:
            self.result.table_format = min(marks)

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
        with self.context.catalog.begin() as conn:
            conn.execute(
                sa.update(scans)
                .where(scans.c.id == scan_id)
                .values(
                    finished_us=now,
                    seen=r.seen,
                    added=r.added,
                    changed=r.changed,
                    vanished=r.vanished,
                    reappeared=r.reappeared,
                    skipped=r.skipped,
                )
            )
            values: dict[str, object] = {"scanned_us": now}
            if r.table_format:
                values["table_format"] = r.table_format
            conn.execute(sa.update(datasets).where(datasets.c.id == self.dataset_id).values(values))
        self.progress(r, self.expected)


_AT_ROOT: Final = (RawState.CURRENT.value, RawState.SUPERSEDED.value)
_SHOWN: Final = (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING)


def rescan_key(context: Context, dataset: str, name: str) -> None:
    """Look at one key and record what its user did to it. For whoever found it not to be what the catalog holds."""
    one = _Scan(context, dataset, False, lambda _scanned, _expected: None)
    with context.catalog.read() as conn:
        held = placements.find(conn, dataset, name)
    if held is not None:
        one._look_again([held.id])


def format_of(key: str) -> str:
    """The format that a name tells: its last extension in lower case, before a compression suffix; "" for none."""
    parts = key[key.rfind("/") + 1 :].lower().split(".")
    if len(parts) > 2 and parts[-1] in ("gz", "zst", "bz2", "xz", "lz4"):
        parts.pop()
    return parts[-1] if len(parts) > 1 and parts[-1].isalnum() and len(parts[-1]) <= 10 else ""


def partition_reader(pattern: str | None) -> Callable[[str], str | None]:
    """A function from a key to its partition values as a JSON object, for a pattern such as dt={dt}/hour={hour}."""
    if pattern is None:
        return lambda _key: None
    parts = re.split(r"\{(\w+)\}", pattern)
    text = "".join(f"(?P<{part}>[^/]*)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    matcher = re.compile(rf"(?:^|/){text}(?=/)")

    @lru_cache(maxsize=1_000)  # keys come in order: one folder's values once
    def of_folder(folder: str) -> str | None:
        found = matcher.search(folder)
        return json.dumps(found.groupdict(), sort_keys=True) if found else None

    return lambda key: of_folder(key[: key.rfind("/") + 1])
