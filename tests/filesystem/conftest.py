"""A lake per test, on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.testing import FakeClock
from tests.filesystem.lake import Lake


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog, catalog_url: str, clock: FakeClock) -> Iterator[Lake]:
    place = tmp_path / "world"
    place.mkdir()
    lake = Lake(place, catalog, clock, catalog_url)
    yield lake
    lake.close()
