"""Reading by name: what the catalog shows of datasets and objects, and their content wherever it is.

Nothing is written but the spool of accesses. Folders are no more than beginnings of names: a listing asks for ranges of
names and jumps over what lies below a folder, so it costs what it shows, not what the dataset holds.
"""

from __future__ import annotations

import logging
import os
import shlex
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.engine import open_catalog
from storaged.catalog.placements import Seen
from storaged.catalog.schema import datasets, objects, tiers
from storaged.clock import SystemClock
from storaged.codecs.registry import form
from storaged.config.secrets import catalog_url
from storaged.config.settings import load_settings
from storaged.errors import ObjectCold, ObjectNotFound, SourceChanged, StoragedError
from storaged.model import IDENTITY, AccessEvent
from storaged.opened import OpenObject, Shown
from storaged.placement import fallback
from storaged.stores.base import Stat
from storaged.work.content import Slice, open_blob, open_replica
from storaged.work.context import Context
from storaged.work.ingest.reads import Spool
from storaged.work.location import current
from storaged.work.packs import OpenPacks
from storaged.work.proof import not_as_proven
from storaged.work.scan.leftovers import is_leftover

T = TypeVar("T")
Found = tuple[Shown, Seen]  # an object as it is shown, and where it is

FEW: Final = 50  # rows asked for at once where most lie below folders that are jumped over
MANY: Final = 10_000  # rows asked for at once where each is shown

_log = logging.getLogger(__name__)


class CatalogReader:
    """Reads what one catalog knows. Safe for threads; a forked child opens one of its own.

    A path is a dataset, a slash and an object's name; the longest dataset name that fits wins. Names are exact:
    "n/dir" and "n/dir/" are two objects. A folder's path is without its last slash, so what is under "a//" is in the
    folder "a/", which is in the folder "a". Catalog errors come out as they are, all methods that take a path may raise
    them.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.pid = os.getpid()
        self.packs = OpenPacks(context)
        self._spool = Spool(context.settings.state_dir)
        self._spool_fails = False
        self._heir: CatalogReader | None = None  # of a forked child
        _readers.add(self)
        weakref.finalize(self, context.catalog.close)

    def close(self) -> None:
        """Give the catalog's connections, packs and the spool's file back. What is asked afterwards opens them."""
        self.packs.close()
        self.context.catalog.close()
        self._spool.close()

    # -- names -------------------------------------------------------------------------------------------------------

    def split(self, path: str) -> tuple[str, str] | None:
        """(dataset, name) of a path, the name empty for the dataset itself; None if no dataset fits."""
        if "\0" in path or path.encode(errors="ignore").decode() != path:
            return None  # no name of an object, and no database takes it as a text
        dataset = path
        while dataset not in self.context.datasets:
            dataset, slash, _ = dataset.rpartition("/")
            if not slash:
                return None
        return dataset, path[len(dataset) + 1 :]

    def look(self, path: str) -> Shown:
        """The object as it would be read now. What is at its original key is looked at there: its user may have
        written it since the last scan. Raises ObjectNotFound, StoreError."""

        def see(shown: Shown, seen: Seen) -> Shown:
            if seen.placement.current is not None:
                return shown
            return self._as_it_is(shown, seen, self.context.root(shown.dataset).head(shown.name))

        return self._seen(path, see)

    def is_folder(self, path: str) -> bool:
        """Whether a dataset or an object lies below the path (or it is a dataset)."""
        if path == "" or path in self.context.datasets or self._datasets_below(path):
            return True
        at = self._below(path)
        return at is not None and bool(self._rows(*at, _from(at[1]), 1))

    def children(self, path: str) -> Iterator[Shown | str]:
        """The objects directly below a path, and as text the paths of the folders there. Removed objects are not
        shown, nor what a dataset of a longer name hides."""
        below = f"{path}/" if path else ""
        nested = {below + d[len(below) :].partition("/")[0] for d in self._datasets_below(path)}
        yield from sorted(nested)
        at = self._below(path)
        if at is None:
            return
        dataset, prefix = at
        start, jump, limit = _from(prefix), "", FEW
        while True:
            rows = self._rows(dataset, prefix, start, limit)
            shown = 0
            for row in rows:
                if row.name < jump:  # below a folder that was shown
                    continue
                shown += 1
                child, slash, _ = row.name[len(prefix) :].partition("/")
                if slash:
                    jump = f"{prefix}{child}0"  # "0" comes right after "/"
                    start = _from(jump)
                else:
                    start = objects.c.name > row.name
                if below + child in nested:
                    continue
                yield below + child if slash else _shown(dataset, row)
            if len(rows) < limit:
                return
            limit = MANY if shown > limit // 2 else FEW

    def under(self, path: str) -> Iterator[Shown]:
        """Every object below a path, however deep, dataset by dataset in order of names."""
        at = self._below(path)
        parts = [at] if at else []
        parts += [(dataset, "") for dataset in sorted(self._datasets_below(path))]
        for dataset, prefix in parts:
            nested = bool(self._datasets_below(dataset))
            start = _from(prefix)
            while rows := self._rows(dataset, prefix, start, MANY):
                for row in rows:
                    if not nested or self.split(f"{dataset}/{row.name}") == (dataset, row.name):
                        yield _shown(dataset, row)
                start = objects.c.name > rows[-1].name

    def _below(self, path: str) -> tuple[str, str] | None:
        """(dataset, what names begin with) of what is in a folder; None if no dataset fits."""
        at = self.split(path)
        if at is None:
            return None
        return at[0], "" if path == at[0] else f"{at[1]}/"

    def _datasets_below(self, path: str) -> list[str]:
        below = f"{path}/" if path else ""
        return [d for d in self.context.datasets if d.startswith(below)]

    def _rows(self, dataset: str, prefix: str, start: sa.ColumnElement[bool], limit: int) -> list[Any]:
        """Rows of a dataset whose names begin with `prefix`, in order, in a transaction of their own."""
        query = _SHOWN.where(_of(dataset), start).order_by(objects.c.name).limit(limit)
        if prefix:
            query = query.where(objects.c.name < f"{prefix[:-1]}0")
        with self.context.catalog.read() as conn:
            return list(conn.execute(query))

    # -- content -----------------------------------------------------------------------------------------------------

    def open(self, path: str, found: Found | None = None) -> OpenObject:
        """The object's content. If its user wrote it since the last scan, that is what is read, whole, under the
        identity it has now. `found`: what `find` told of it a moment ago. Raises ObjectNotFound, ObjectCold,
        StoreError; VerificationFailed if its blob is lost."""

        def see(shown: Shown, seen: Seen) -> OpenObject:
            if seen.placement.current is not None:
                return self._opened(shown, self.packs.current(seen), afresh=self._afresh)
            try:
                reader = self.context.root(shown.dataset).open(shown.name)
            except ObjectNotFound:
                kept = fallback(seen.placement)
                if kept is None:
                    raise
                if kept.edition != seen.placement.edition:
                    shown = shown._replace(size=kept.length, digest=kept.digest)
                return self._opened(shown, open_replica(self.context, seen, kept))
            try:
                present = self._as_it_is(shown, seen, reader.stat)
            except StoragedError:
                reader.close()
                raise
            return self._opened(present, Slice(reader, form(IDENTITY.name).open(reader), 0, present.size))

        return self._seen(path, see, found)

    def _opened(self, shown: Shown, content: Slice, *, afresh: Callable[[Shown], Slice] | None = None) -> OpenObject:
        return OpenObject(shown, content, again=self._afresh, closed=self.count, afresh=afresh)

    def _afresh(self, shown: Shown) -> Slice:
        """`open_again` in this process."""
        return self.of_this_process().open_again(shown)

    def of_this_process(self) -> CatalogReader:
        """This reader; in a forked child one of its own."""
        if self.pid == os.getpid():
            return self
        if self._heir is None or self._heir.pid != os.getpid():
            self._heir = open_reader(self.context.settings.file)
        return self._heir

    def open_blob(self, path: str, generation: int) -> OpenObject:
        """The blob that holds this generation of an object, as it is stored, where that is a table (Codec.table). It is
        not followed to another place. Raises SourceChanged where it is no longer so, and as `open` does.
        """

        def see(shown: Shown, seen: Seen) -> OpenObject | Shown:
            blob = current(seen).blob
            if blob is None or not form(blob.codec).table or shown.generation != generation:
                return shown
            reader = open_blob(self.context, blob)
            stored = shown._replace(size=reader.stat.size, codec=IDENTITY.name)
            whole = Slice(reader, form(IDENTITY.name).open(reader), 0, stored.size)
            return OpenObject(stored, whole, again=_moved, closed=self.count)

        found = self._seen(path, see)
        return found if isinstance(found, OpenObject) else _moved(found)

    def open_again(self, shown: Shown) -> Slice:
        """The same content at the place where it is now. Raises SourceChanged if that is none, else as `open` does."""

        def see(now: Shown, seen: Seen) -> Slice | None:
            same = (now.generation, now.size, now.mtime_us) == (shown.generation, shown.size, shown.mtime_us)
            if not same or (shown.digest and now.digest != shown.digest):
                return None
            return self.packs.current(seen)

        found = self._seen(shown.path, see)
        if found is None:
            how = "was written by its user, or reads as another file of the same table,"
            raise SourceChanged(f"{shown.path!r} {how} since it was opened", key=shown.name, hint="open it anew")
        return found

    def count(self, shown: Shown, delivered: int) -> None:
        """Spool one read of an object that gave so many bytes to its reader. A spool that fails fails no read: it is
        logged, the first time."""
        if self.pid != os.getpid():
            self.of_this_process().count(shown, delivered)
            return
        try:
            self._spool.append(AccessEvent(shown.dataset, shown.name, self.context.now_us(), "read", delivered))
        except OSError as error:
            if not self._spool_fails:
                self._spool_fails = True
                _log.warning("reads are not counted: the spool cannot be written: %s", error)

    def _seen(self, path: str, see: Callable[[Shown, Seen], T], found: Found | None = None) -> T:
        """`see` the object at its current place; again if that place changed since its row was read."""
        while True:
            shown, seen = found or self._find(path)
            found = None
            try:
                return see(shown, seen)
            except ObjectCold as error:
                error.hint = f"`storagectl warm {shlex.quote(path)}` asks for a readable copy"
                raise
            except (ObjectNotFound, SourceChanged) as error:
                if self._find(path)[1].version != seen.version:
                    continue
                here = current(seen)
                if here.blob is None:
                    self.context.see_root(here.place.name)  # a mount point without its disk shows nothing either
                    raise
                self.context.see_tier(here.place.name)
                raise not_as_proven(self.context, seen, path) from error

    def find(self, paths: Iterable[str]) -> dict[str, Found]:
        """The objects at these paths as the catalog has them now, without those that it does not know."""
        named: defaultdict[str, list[str]] = defaultdict(list)
        for path in dict.fromkeys(paths):
            dataset, name = self.split(path) or ("", "")
            if name:
                named[dataset].append(name)
        found: dict[str, Found] = {}
        for dataset, names in named.items():
            for some in placements.chunks(names):
                with self.context.catalog.read() as conn:
                    rows = conn.execute(_NAMED, {"dataset": dataset, "names": some}).all()
                    seen = placements.load(conn, [row.id for row in rows])
                found |= {s.path: (s, seen[row.id]) for row in rows if (s := _shown(dataset, row)) and row.id in seen}
        return found

    def _find(self, path: str) -> Found:
        at = self.split(path)
        if at is None or not at[1]:
            hint = "`storagectl ls` lists the datasets"
            raise ObjectNotFound(f"{path!r} is no object of a dataset", key=path, hint=hint)
        found = self.find([path]).get(path)
        if found is None:
            hint = f"`storagectl scan {at[0]}` finds what is new"
            raise ObjectNotFound(f"dataset {at[0]!r} has no object {at[1]!r}", key=at[1], hint=hint)
        return found

    def _as_it_is(self, shown: Shown, seen: Seen, stat: Stat) -> Shown:
        """What a scan would make of what is at the original key. Raises ObjectNotFound where it would say: absent."""
        if stat.identity == seen.placement.raw.identity:
            return shown
        self.context.see_root(shown.dataset)  # before what is there counts as its user's change
        if is_leftover(self.context, shown.dataset, shown.name, stat):
            raise ObjectNotFound(f"{shown.path!r} was deleted by its user", key=shown.name)
        if self.context.root(shown.dataset).alike(seen.placement.raw.identity, stat.identity):
            return shown._replace(digest="")
        return shown._replace(
            size=stat.size,
            mtime_us=stat.mtime_us,
            created_us=stat.mtime_us,
            generation=shown.generation + 1,
            digest="",
            stored_bytes=stat.size,
        )


def _moved(shown: Shown) -> NoReturn:
    raise SourceChanged(
        f"{shown.path!r} is no longer stored as it was when its form was looked at",
        key=shown.name,
        hint="look again: make the dataset anew, or ask once more",
    )


def open_reader(config: Path) -> CatalogReader:
    """A reader of the catalog that a storaged.yaml names. Raises ConfigError, UsageError, CatalogError."""
    settings = load_settings(config)
    catalog = open_catalog(catalog_url(settings, os.environ), read_only=True)
    context = Context(settings, catalog, SystemClock(), actor="reader")
    context.budgets.clear()  # they hold daemons back, never who waits for bytes
    return CatalogReader(context)


_readers: Final[weakref.WeakSet[CatalogReader]] = weakref.WeakSet()


def _close_idle_connections() -> None:
    for reader in list(_readers):
        reader.context.catalog.engine.dispose()


# A child must not inherit an open SQLite file, not even to open it anew (https://sqlite.org/howtocorrupt.html 2.6).
os.register_at_fork(before=_close_idle_connections)

_TIER: Final = sa.select(tiers.c.name).where(tiers.c.id == objects.c.tier_id).scalar_subquery()
_SHOWN: Final = sa.select(
    objects.c.id,
    objects.c.name,
    objects.c.size,
    objects.c.mtime_us,
    objects.c.created_us,
    objects.c.generation,
    objects.c.digest,
    _TIER.label("tier"),
    objects.c.codec,
    objects.c.stored_bytes,
).where(objects.c.tier_id.is_not(None))  # None: removed


_NAMED: Final = _SHOWN.where(
    objects.c.dataset_id
    == sa.select(datasets.c.id).where(datasets.c.name == sa.bindparam("dataset")).scalar_subquery(),
    objects.c.name.in_(sa.bindparam("names", expanding=True)),
)


def _of(dataset: str) -> sa.ColumnElement[bool]:
    found = sa.select(datasets.c.id).where(datasets.c.name == dataset).scalar_subquery()
    return objects.c.dataset_id == found


def _from(name: str) -> sa.ColumnElement[bool]:
    return objects.c.name >= name


def _shown(dataset: str, row: Any) -> Shown:
    return Shown(dataset, *row[1:])
