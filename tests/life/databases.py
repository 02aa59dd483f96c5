"""Catalogs to lose, to copy and to restore, of either kind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from storaged.catalog import facts
from storaged.catalog.engine import Catalog, open_catalog


class Databases:
    """Makes fresh catalogs, and copies of catalogs as they stand. Closes and removes them all at its end."""

    def __init__(self, dialect: str, place: Path, *, template: Path | None = None, server: Any = None) -> None:
        self.dialect = dialect
        self._place = place
        self._template = template
        self._server = server
        self._opened: list[Catalog] = []
        self._names: list[str] = []
        self._lent: list[str] = []

    def make(self) -> Catalog:
        """A fresh catalog."""
        return self._open(self._template if self.dialect == "sqlite" else "migrated")

    def heir(self, who: facts.Identity) -> Catalog:
        """A fresh catalog that takes over from a lost one."""
        catalog = self.make()
        with catalog.begin() as conn:
            facts.put(conn, "catalog_id", who.catalog)
            facts.put(conn, "epoch", str(who.epoch))
        return catalog

    def copy(self, catalog: Catalog) -> Callable[[], Catalog]:
        """Copy a catalog as it is now. The answer restores that copy, beside the catalog it was made of."""
        catalog.close()  # of its idle connections only; it opens new ones when it is used again
        if self.dialect == "sqlite":
            kept: Any = self._place / f"copy{len(self._names)}.db"
            shutil.copyfile(str(catalog.engine.url.database), kept)
            self._names.append(kept.name)
        else:
            kept = self._server.make_database(catalog.engine.url.database)
            self._names.append(kept)
        return lambda: self._open(kept)

    def _open(self, original: Any) -> Catalog:
        if self.dialect == "sqlite":
            path = self._place / f"catalog{len(self._opened)}.db"
            shutil.copyfile(original, path)
            url = f"sqlite:///{path}"
        elif original == "migrated":
            self._lent.append(self._server.lend())
            url = self._server.url(self._lent[-1])
        else:
            self._names.append(self._server.make_database(original))
            url = self._server.url(self._names[-1])
        self._opened.append(open_catalog(url, wait_s=10))
        return self._opened[-1]

    def empty(self, database: str) -> None:
        """Drop a database of the server and make it again, without a table."""
        self._server.execute(f"DROP DATABASE {database} WITH (FORCE)")
        self._server.execute(f"CREATE DATABASE {database} TEMPLATE template1")

    def keep(self, catalog: Catalog) -> None:
        """Close this one too."""
        self._opened.append(catalog)

    def close(self) -> None:
        for catalog in self._opened:
            catalog.close()
        for name in self._names:
            if self.dialect != "sqlite":
                self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for name in self._lent:
            self._server.take_back(name)


@contextlib.contextmanager
def databases(dialect: str, place: Path, request: Any) -> Iterator[Databases]:
    """Databases of this dialect, with what a test session has made for it already."""
    if dialect == "sqlite":
        made = Databases(dialect, place, template=request.getfixturevalue("sqlite_template"))
    else:
        made = Databases(dialect, place, server=request.getfixturevalue("postgres"))
    try:
        yield made
    finally:
        made.close()
