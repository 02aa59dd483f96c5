"""What the tests of watching share."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.work.context import Context
from tests.watching.scene import seeded


@pytest.fixture
def scene(catalog: Catalog, tmp_path: Path) -> Context:
    """A catalog with one of everything, on SQLite and on Postgres."""
    return seeded(catalog, tmp_path)
