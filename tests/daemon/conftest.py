"""A farm per test, on SQLite and on Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from tests.daemon.farm import MIDNIGHT_US, Farm, Sundial
from tests.daemon.site import Site


@pytest.fixture
def new_farm(tmp_path: Path, catalog: Catalog) -> Iterator[Callable[..., Farm]]:
    """Makes a farm; options as Farm takes them."""
    made: list[Farm] = []

    def make(**options: object) -> Farm:
        place = tmp_path / f"farm{len(made)}"
        place.mkdir()
        made.append(Farm(place, catalog, Sundial(MIDNIGHT_US), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for farm in made:
        farm.close()


@pytest.fixture
def farm(new_farm: Callable[..., Farm]) -> Farm:
    """One with the dataset `lake`, at midnight."""
    return new_farm()


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[Site]:
    """One on SQLite for real processes."""
    shutil.copyfile(sqlite_template, tmp_path / "catalog.db")
    made = Site(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    yield made
    made.close()
