"""A mint per test, on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from tests.daemon.farm import MIDNIGHT_US, Sundial
from tests.ledger.mint import Mint


@pytest.fixture
def new_mint(tmp_path: Path, catalog: Catalog) -> Iterator[Callable[..., Mint]]:
    """Makes the test's mint; options as Mint takes them."""
    made: list[Mint] = []

    def make(**options: object) -> Mint:
        place = tmp_path / "mint"
        place.mkdir()
        made.append(Mint(place, catalog, Sundial(MIDNIGHT_US), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for mint in made:
        mint.close()


@pytest.fixture
def mint(new_mint: Callable[..., Mint]) -> Mint:
    """One without limits, at midnight of 22 September 2026."""
    return new_mint()
