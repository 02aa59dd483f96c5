"""What every loop works with: configuration, catalog, clock, the opened stores and the journal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.engine import Catalog, parse_url
from storaged.catalog.facts import Identity
from storaged.catalog.placements import Why, tier_ids
from storaged.catalog.schema import blobs, datasets, tiers
from storaged.clock import Clock
from storaged.config.sections import BudgetSettings
from storaged.config.settings import Settings
from storaged.decide.guards import Now
from storaged.errors import (
    CatalogBehind,
    ForeignClaim,
    MarkerLost,
    ObjectNotFound,
    OtherPlace,
    PlaceAway,
    RefusedByGuard,
    StoreError,
    UsageError,
)
from storaged.heat import DAYS, RECENT, YEAR
from storaged.model import DEFAULT_CLASS, BlobState, Dataset, Tier
from storaged.mounts import doubles
from storaged.stores.access import Elsewhere, Opening
from storaged.stores.base import Store
from storaged.stores.registry import open_store
from storaged.stores.throttled import Budget, Throttled
from storaged.stores.wrappers import Retrying
from storaged.work import claims
from storaged.work.claims import Marker, Place
from storaged.work.journal import Journal

ALONE = "-daemon"  # ends the name of the file beside an SQLite catalog that its only daemon locks


class Context:
    """One process's view of the world. `wrap` is put around every store (tests inject faults there).

    `tolerant`: a tier that is not there does not stop what does not touch it; `away` has those that the last `ready`
    missed, and why. Never the one that holds the journal: without it nothing is done. `roots_away` has the datasets
    whose roots carried our marker once and do not show it: whatever is there now, it is not what the catalog knows.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        clock: Clock,
        *,
        actor: str,
        wrap: Callable[[Store], Store] = lambda store: store,
        tolerant: bool = False,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.clock = clock
        self.actor = actor
        self.tiers: dict[str, Tier] = dict(settings.tier_values)
        self.datasets: dict[str, Dataset] = dict(settings.dataset_values)
        self.away: dict[str, str] = {}
        self.roots_away: dict[str, str] = {}
        self.proven: dict[str, str] = {}  # blob id -> another identity than the catalog's, under which it proved right
        self._tolerant = tolerant
        self._wrap = wrap
        self.budgets: dict[str, Budget] = {  # by tier; all of each is ours until a share is set
            name: Budget(clock, tier.budget.bytes_per_second, tier.budget.requests_per_second)
            for name, tier in settings.tiers.items()
            if tier.budget != BudgetSettings()
        }
        self._open: dict[str, Store] = {}
        self._lock = threading.Lock()

    def now_us(self) -> int:
        return self.clock.now_us()

    def guards_now(self) -> Now:
        """For storaged.decide.guards: the time, and what the configuration says."""
        return Now(self.now_us(), self.settings.quiet_for, self.datasets)

    def why(self, reason: str = "", *, job_id: int | None = None, plan_id: int | None = None) -> Why:
        """Who acts, for journal and audit."""
        return Why(self.actor, reason, job_id, plan_id)

    @cached_property
    def identity(self) -> Identity:
        """Which catalog this is."""
        with self.catalog.read() as conn:
            return facts.identity(conn)

    def forget_identity(self) -> None:
        """Read the identity again: it was changed in the catalog."""
        for name in ("identity", "journal"):
            self.__dict__.pop(name, None)

    @cached_property
    def journal(self) -> Journal:
        """The journal, on the tier that was the hottest when the catalog was made. Raises RefusedByGuard."""
        name = self.journal_tier
        self._may_hold_the_journal(name)
        return Journal(self.catalog, self.tier(name), self.identity, lambda: self.confirm_tier(name))

    def _may_hold_the_journal(self, name: str) -> None:
        store = self.tier(name)
        if not store.traits.create_put:
            raise RefusedByGuard(
                f"tier {name!r} cannot hold the journal: {store.url} overwrites where only a new entry may be made "
                f"({store.traits.lacking('create_put')})",
                hint="rank 0 must be a place that creates on condition (If-None-Match), such as a local directory",
            )

    @property
    def journal_tier(self) -> str:
        """The tier that holds the journal. Raises UsageError if the configuration does not name it any more."""
        with self.catalog.read() as conn:
            name = facts.get(conn, "journal_tier") or self.settings.hottest
        if name not in self.tiers:
            raise UsageError(
                f"tier {name!r} holds the journal, and the configuration does not name it",
                hint="add it back to storaged.yaml with its old url",
            )
        return name

    def tier(self, name: str) -> Store:
        """The store of a tier. Raises UsageError for a name that the configuration does not have."""
        if name not in self.tiers:
            raise UsageError(f"there is no tier {name!r}", hint=f"tiers are: {', '.join(sorted(self.tiers))}")
        return self._store(self.tiers[name].url, self.tiers[name].storage_class, self.budgets.get(name))

    def dataset(self, name: str) -> Dataset:
        """A dataset by name. Raises UsageError for a name that the configuration does not have."""
        if name not in self.datasets:
            known = ", ".join(sorted(self.datasets)) or "none yet"
            raise UsageError(f"there is no dataset {name!r}", hint=f"datasets are: {known}")
        return self.datasets[name]

    def recorded_url(self, tier: str) -> str:
        """Where the catalog has a tier. Raises UsageError for one that it does not have."""
        with self.catalog.read() as conn:
            found = conn.execute(sa.select(tiers.c.url).where(tiers.c.name == tier)).scalar()
        if found is None:
            raise UsageError(f"the catalog has no tier {tier!r}", hint="`storagectl status` shows them")
        return str(found)

    def root(self, dataset: str) -> Store:
        """The store of a dataset's root. Our own files are never listed there."""
        return self._store(self.dataset(dataset).root)

    def store(self, place: Place) -> Store:
        """The store of a tier or a root. Raises UsageError for one that the configuration does not have."""
        return self.tier(place.name) if place.kind == "tier" else self.root(place.name)

    def _store(self, url: str, storage_class: str = DEFAULT_CLASS, budget: Budget | None = None) -> Store:
        with self._lock:
            if url not in self._open:
                how = Opening(
                    self._ours(),
                    storage_class,
                    self.settings.access(url),
                    self.settings.follows(url),
                    self.settings.bare(url),
                    lambda: self._elsewhere(url),
                )
                store = self._wrap(open_store(url, how))
                self._open[url] = Retrying(Throttled(store, budget) if budget else store, self.clock)
            return self._open[url]

    def _ours(self) -> frozenset[tuple[int, int]]:
        """Device and inode of the catalog's file and its journal files, the state directory and local tiers."""
        paths = [self.settings.state_dir]
        where = parse_url(self.settings.catalog)
        if where.get_backend_name() == "sqlite" and where.database:
            paths += [Path(where.database + end) for end in ("", "-journal", "-wal", "-shm", ALONE)]
        paths += [p for p in (local_path(t.url) for t in self.tiers.values()) if p]
        return _inodes(paths)

    def _elsewhere(self, url: str) -> Elsewhere:
        """What is seen in a local place and belongs to another one of ours, or is seen twice: mounts do it, and no path
        tells."""
        here = local_path(url)
        if here is None:
            return Elsewhere()
        roots = [path for path in (local_path(dataset.root) for dataset in self.datasets.values()) if path]
        places = [*roots, *(path for path in (local_path(tier.url) for tier in self.tiers.values()) if path)]
        return Elsewhere(_inodes(roots), doubles(str(here), [str(path) for path in places if path != here]))

    def elsewhere(self, dataset: str) -> Callable[[str], bool]:
        """A function that tells of keys of a dataset's root whether they are seen there and belong to another place, as
        mounts are now."""
        url = self.dataset(dataset).root
        top, known = local_path(url), self._elsewhere(url)

        @lru_cache(maxsize=1_000)
        def folder(key: str) -> bool:
            if not key or top is None:
                return False
            return folder(key.rpartition("/")[0]) or key in known.keys or bool(_inodes([top / key]) & known.inodes)

        return lambda key: folder(key.rpartition("/")[0])

    def register(self, *, claim_roots: bool = True) -> None:
        """Write tiers and datasets into the catalog, and claim the places of those that are new. Raises ForeignClaim,
        MarkerLost, OtherPlace.

        A place that the catalog knows already must still carry our marker: an unmounted tier or root looks just like an
        empty one. A root that is away or not ours to write when its dataset is new stays unclaimed: nothing of it is
        released until a person claims it. Not `claim_roots`: after a loss nobody knows which roots are new.
        """
        with self.catalog.read() as conn:
            known = tier_ids(conn)
            scanned = set(conn.execute(sa.select(datasets.c.name).where(datasets.c.scanned_us.is_not(None))).scalars())
        home = self.journal_tier
        self._may_hold_the_journal(home)
        for name in self.tiers:
            with self._looking(name, home):
                if name in known:
                    self.confirm_tier(name)
                else:
                    claims.take(self.tier(name), self.identity, Place("tier", name), journal=name == home)
        with self.catalog.begin() as conn:
            facts.register(conn, self.tiers, self.datasets, now_us=self.now_us())
        for name in self.datasets:
            try:
                if claim_roots and name not in scanned and not self._claimed(name):
                    claims.take(self.root(name), self.identity, Place("dataset", name))
                self.confirm_root(name)
            except (StoreError, ForeignClaim) as error:
                self.roots_away[name] = error.message
        with self.catalog.begin() as conn:
            half_life, beside = str(self.settings.half_life), f"{RECENT} {YEAR} {DAYS}"
            scored = facts.get(conn, "half_life_us")
            if scored is not None and (scored, facts.get(conn, "heat_recent")) != (half_life, beside):
                from storaged.catalog.rollups import rescore  # numpy is slow to import, and seldom needed here

                rescore(conn, self.settings.half_life)
            facts.put(conn, "half_life_us", half_life)
            facts.put(conn, "heat_recent", beside)
            facts.put(conn, "journal_tier", home)

    def ready(self) -> None:
        """Whether this process may act: every tier that the catalog knows is ours and mounted (see `tolerant`), and the
        catalog has seen all of the journal. What is wrong with a root's marker stops that dataset: its users may write
        there what they like. Raises ForeignClaim, CatalogBehind."""
        with self.catalog.read() as conn:
            known = tier_ids(conn)
            if facts.get(conn, "reconciling"):
                raise CatalogBehind(
                    "this catalog is being brought up to its journal, and that did not come to its end",
                    hint="run `storagectl catalog reconcile`",
                )
        home = self.journal_tier
        for tier in (t for t in self.tiers if t in known or t == home):  # nothing goes where no scan was yet
            with self._looking(tier, home):
                self.confirm_tier(tier)
        for name in self.datasets:
            try:
                self.confirm_root(name)
            except (StoreError, ForeignClaim) as error:
                self.roots_away[name] = error.message
        self.journal.check_head()

    def _not_moved(self, tier: str) -> None:
        """Raises OtherPlace where the tier was moved elsewhere than the configuration has it."""
        with self.catalog.read() as conn:
            moved = facts.get(conn, facts.moved_to(tier))
        if moved not in (None, self.tiers[tier].url):
            raise OtherPlace(
                f"tier:{tier} was moved to {moved}, and storaged.yaml has it at {self.tiers[tier].url}",
                hint=f"write `url: {moved}` there; if it is elsewhere now, run `storagectl tier move {tier} URL`",
            )

    def claim(self, place: Place) -> None:
        """Mark a place as what the configuration calls it, whatever name its marker has, or whether it has none: a
        person says that it is the right one. Raises ForeignClaim if it is another catalog's, StoreError."""
        if place.kind == "tier":
            self._not_moved(place.name)
            claims.rename(self.tier(place.name), self.identity, place, journal=place.name == self.journal_tier)
            return
        claims.rename(self.root(place.name), self.identity, place, journal=False)
        self._note_claimed(place.name)

    def confirm_tier(self, name: str) -> None:
        """What is at the tier's URL now is this tier, and what its store works on from here on. Asked before every
        batch of effects. Raises MarkerLost, OtherPlace, ForeignClaim, StoreError."""
        store, place = self.tier(name), Place("tier", name)
        self._not_moved(name)
        found = claims.require(store, self.identity, place)
        if found.owner.epoch == self.identity.epoch and found.place is not None:
            return
        if found.place is None:
            for other in self.tiers:  # an empty tier proves nothing: if any blob is missing, they may be exchanged
                if missing := self._first_missing(other):
                    raise OtherPlace(
                        f"{store.url} carries a marker without a name, and blob {missing!r} of tier {other!r} is not "
                        "where it should be",
                        hint=f"were tiers exchanged? If it is the right one, run `storagectl catalog claim {place}`",
                    )
        claims.take(store, self.identity, place, journal=found.journal)

    def _first_missing(self, tier: str) -> str:
        """A blob that the catalog has in a tier and that is not there; empty: the first one is, or there is none."""
        query = sa.select(blobs.c.key).join(tiers, tiers.c.id == blobs.c.tier_id)
        with self.catalog.read() as conn:
            key = conn.execute(
                query.where(tiers.c.name == tier, blobs.c.state == BlobState.LIVE.value).limit(1)
            ).scalar()
        if key is not None:
            try:
                self.tier(tier).head(key)
            except (ObjectNotFound, PlaceAway):
                return str(key)
        return ""

    def see_tier(self, name: str) -> None:
        """Like `confirm_tier`, and writes nothing, nowhere: for readers."""
        claims.require(self.tier(name), self.identity, Place("tier", name))

    def see_root(self, dataset: str) -> None:
        """Like `confirm_root`, and writes nothing, nowhere: for readers."""
        look = claims.require if self._claimed(dataset) else claims.confirm
        look(self.root(dataset), self.identity, Place("dataset", dataset))

    def confirm_root(self, dataset: str) -> bool:
        """What is at the dataset's root now is what the catalog knows, and what its store works on from here on. False:
        it never carried our marker, so nothing there may be released or written. Asked before every batch of effects.

        Raises MarkerLost where it carried one once, OtherPlace, ForeignClaim, StoreError.
        """
        store, place = self.root(dataset), Place("dataset", dataset)
        if not self._claimed(dataset):
            found = claims.confirm(store, self.identity, place)
            if found is None:
                self.roots_away.pop(dataset, None)
                return False
            self._note_claimed(dataset)
        else:
            found = claims.require(store, self.identity, place)
        self.roots_away.pop(dataset, None)
        if found != Marker(self.identity, found.journal, place):
            try:
                claims.take(store, self.identity, place)
            except StoreError:  # ours, and not to be written any more
                return False
        return True

    def _claimed(self, dataset: str) -> bool:
        with self.catalog.read() as conn:
            return bool(conn.execute(sa.select(datasets.c.claimed).where(datasets.c.name == dataset)).scalar())

    def _note_claimed(self, dataset: str) -> None:
        with self.catalog.begin() as conn:
            conn.execute(sa.update(datasets).where(datasets.c.name == dataset).values(claimed=True))

    @contextmanager
    def _looking(self, tier: str, home: str) -> Iterator[None]:
        try:
            yield
        except (MarkerLost, OtherPlace, StoreError) as error:
            if not self._tolerant or tier == home:
                raise
            self.away[tier] = error.message
        else:
            self.away.pop(tier, None)

    def dataset_id(self, conn: sa.Connection, name: str) -> int:
        """The catalog's number of a dataset. Raises UsageError if it was never scanned."""
        found = conn.execute(sa.select(datasets.c.id).where(datasets.c.name == name)).scalar()
        if found is None:
            self.dataset(name)
            raise UsageError(f"dataset {name!r} is not in the catalog yet", hint=f"run `storagectl scan {name}`")
        return int(found)


def local_path(url: str) -> Path | None:
    """The path of a file: URL, or None."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _inodes(paths: Iterable[str | Path]) -> frozenset[tuple[int, int]]:
    """Device and inode of each that there is."""
    found = set()
    for path in paths:
        with suppress(OSError):
            st = os.stat(path)
            found.add((st.st_dev, st.st_ino))
    return frozenset(found)
