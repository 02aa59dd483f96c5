"""A stage whose catalog is at a place of its own, to be lost there and restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storaged.catalog.engine import open_catalog
from storaged.stores.base import Store
from storaged.testing import FakeClock
from storaged.work.recover import backup
from storaged.work.recover.backup import Backup, Made
from storaged.work.recover.rebuild import reconcile
from storaged.work.recover.restore import Restored, choose, find, restore
from storaged.work.scan.run import scan
from tests import memory
from tests.life.databases import databases
from tests.life.places import NewPlaces
from tests.life.stage import Stage


class Vault(Stage):
    """A stage with backups in its tier `cold`."""

    @property
    def cold(self) -> Store:
        return self.context.tier("cold")

    @property
    def url(self) -> str:
        """Of the catalog, to open or restore it."""
        return self.catalog.engine.url.render_as_string(hide_password=False)

    def back_up(self, keep: int | None = None) -> Made:
        return backup.backup(self.context, "cold", keep)

    def found(self) -> list[Backup]:
        """What somebody finds who has no catalog any more."""
        found = find({name: self.context.tier(name) for name in self.context.tiers})
        assert found.problems == []
        return found.backups

    def names(self) -> list[str]:
        return [b.name for b in self.found()]

    def notes(self) -> list[str]:
        return list(self.cold.list_notes("backup/"))

    def lose(self) -> None:
        """The catalog's file is gone; the database is dropped, and made again without a table."""
        self.catalog.close()
        database = str(self.catalog.engine.url.database)
        if self.databases.dialect == "sqlite":
            Path(database).unlink()
        else:
            self.databases.empty(database)

    def restore(self, name: str | None = None, **options: bool) -> Restored:
        tiers = {name: self.context.tier(name) for name in self.context.tiers}
        return restore(self.settings, self.url, choose(find(tiers), name), tiers, self.clock, **options)

    def reopen(self) -> None:
        self.takes_over(open_catalog(self.url, wait_s=10))
        self.databases.keep(self.catalog)

    def come_back(self) -> None:
        """Open what was restored and bring it up to its journal."""
        self.reopen()
        reconcile(self.context)
        scan(self.context, "lake", confirm_empty=True)


@contextmanager
def a_vault(dialect: str, clock: FakeClock, request: Any) -> Iterator[Vault]:
    """A vault on this kind of database, in memory."""
    new_places: NewPlaces = request.getfixturevalue("new_places")
    with memory.directory() as place, databases(dialect, place, request) as made:
        vault = Vault(place, made.make(), clock, more="workers: {threads: 1}\n", new_places=new_places)
        vault.databases = made
        yield vault
