"""How many examples a law of the catalog needs."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

from storaged.catalog.engine import Catalog

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`


def examples(catalog: Catalog, number: int, **other: Any) -> settings:
    """So many; a quarter of them on Postgres, whose SQL the first few meet."""
    all_of_them = LONG or catalog.dialect == "sqlite"
    return settings(max_examples=number if all_of_them else max(number // 4, 1), **other)
