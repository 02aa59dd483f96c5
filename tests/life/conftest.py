"""A fresh world per test, on SQLite and on Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog, open_catalog
from storaged.testing import FakeClock
from tests.life.world import World


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, clock: FakeClock) -> World:
    place = tmp_path / "world"
    place.mkdir()
    return World(place, catalog, clock)


@pytest.fixture
def new_catalog(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Catalog]]:
    """Makes further fresh catalogs of the same kind; each is closed by the test or at its end."""
    opened: list[Catalog] = []

    def make() -> Catalog:
        n = len(opened)
        if dialect == "sqlite":
            path = tmp_path / f"catalog{n}.db"
            shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
            url = f"sqlite:///{path}"
        else:
            server = request.getfixturevalue("postgres")
            url = server.url(server.make_database("migrated"))
        opened.append(open_catalog(url, wait_s=10))
        return opened[-1]

    yield make
    for catalog in opened:
        catalog.close()
