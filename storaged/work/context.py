"""What every loop works with: configuration, catalog, clock, the opened stores and the journal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.engine import Catalog, parse_url
from storaged.catalog.facts import Identity
from storaged.catalog.placements import Why
from storaged.catalog.schema import datasets, tiers
from storaged.clock import Clock
from storaged.config.sections import BudgetSettings
from storaged.config.settings import Settings
from storaged.errors import CatalogBehind, MarkerLost, RefusedByGuard, StoreError, UsageError
from storaged.model import STANDARD, Dataset, Tier
from storaged.stores.access import Opening
from storaged.stores.base import Store, lacking
from storaged.stores.registry import open_store
from storaged.stores.throttled import Budget, Throttled
from storaged.stores.wrappers import Retrying
from storaged.work import claims
from storaged.work.journal import Journal

ALONE = "-daemon"  # ends the name of the file beside an SQLite catalog that its only daemon locks


class Context:
    """One process's view of the world. `wrap` is put around every store (tests inject faults there).

    `tolerant`: a tier that is not there does not stop what does not touch it; `away` has those that the last `ready`
    missed, and why. Never the one that holds the journal: without it nothing is done.
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
        return Journal(self.catalog, self.tier(name), self.identity)

    def _may_hold_the_journal(self, name: str) -> None:
        store = self.tier(name)
        if not store.traits.create_put:
            raise RefusedByGuard(
                f"tier {name!r} cannot hold the journal: {store.url} overwrites where only a new entry may be made "
                f"({lacking('create_put')})",
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
            raise UsageError(
                f"there is no dataset {name!r}", hint=f"datasets are: {', '.join(sorted(self.datasets)) or 'none yet'}"
            )
        return self.datasets[name]

    def root(self, dataset: str) -> Store:
        """The store of a dataset's root. Our own files are never listed there."""
        return self._store(self.dataset(dataset).root)

    def _store(self, url: str, storage_class: str = STANDARD, budget: Budget | None = None) -> Store:
        with self._lock:
            if url not in self._open:
                how = Opening(self._ours(), storage_class, self.settings.access(url))
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
        found = set()
        for path in paths:
            try:
                st = os.stat(path)
            except OSError:
                continue
            found.add((st.st_dev, st.st_ino))
        return frozenset(found)

    def register(self, *, reclaim: bool = False) -> None:
        """Claim the places of tiers and datasets and write both into the catalog. Raises ForeignClaim.

        A place that the catalog knows already must still carry our marker, unless `reclaim`: an unmounted tier looks
        just like an empty one. A root that is away or not ours to write stays unclaimed: nothing of it is released.
        """
        with self.catalog.read() as conn:
            known = set(conn.execute(sa.select(tiers.c.name)).scalars())
        home = self.journal_tier
        self._may_hold_the_journal(home)
        for name in self.tiers:
            with self._looking(name, home):
                if name in known and not reclaim:
                    claims.require(self.tier(name), self.identity)
                else:
                    claims.take(self.tier(name), self.identity, journal=name == home)
        for name in self.datasets:
            try:
                claims.take(self.root(name), self.identity)
            except StoreError:
                continue
        with self.catalog.begin() as conn:
            facts.register(conn, self.tiers, self.datasets, now_us=self.now_us())
            half_life = str(self.settings.half_life)
            if facts.get(conn, "half_life_us") not in (None, half_life):
                from storaged.work.ingest.rollups import rescore  # numpy is slow to import, and seldom needed here

                rescore(conn, self.settings.half_life)
            facts.put(conn, "half_life_us", half_life)
            facts.put(conn, "journal_tier", home)

    def ready(self) -> None:
        """Whether this process may act: every tier is ours and mounted (see `tolerant`), no root is another catalog's,
        and the catalog has seen the whole journal. Raises ForeignClaim, CatalogBehind."""
        with self.catalog.read() as conn:
            if facts.get(conn, "reconciling"):
                raise CatalogBehind(
                    "this catalog is being brought up to its journal, and that did not come to its end",
                    hint="run `storagectl catalog reconcile`",
                )
        home = self.journal_tier
        for tier in self.tiers:
            with self._looking(tier, home):
                claims.require(self.tier(tier), self.identity)
        for name in self.datasets:
            with suppress(StoreError):  # a root that is away stops what touches it, and nothing else
                claims.check(self.root(name), self.identity)
        self.journal.check_head()

    @contextmanager
    def _looking(self, tier: str, home: str) -> Iterator[None]:
        try:
            yield
        except (MarkerLost, StoreError) as error:
            if not self._tolerant or tier == home:
                raise
            self.away[tier] = error.message
        else:
            self.away.pop(tier, None)

    def owns_root(self, dataset: str) -> bool:
        """Whether our claim is on the dataset's root, so that its sources may be released."""
        return claims.check(self.root(dataset), self.identity)

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
