"""How many examples a law needs: all of them in `make campaign`, fewer where a commit waits for it."""

from __future__ import annotations

import os
from typing import Any, Final

from hypothesis import settings

from storaged.catalog.engine import Catalog

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`
FEW: Final = 6  # that every law meets


def at_once(number: int) -> int:
    """How many of so many are tried here and now."""
    return number if LONG else min(number, max(number // 4, FEW))


def tries(number: int, **other: Any) -> settings:
    """So many in a campaign; a quarter of them elsewhere."""
    return settings(max_examples=at_once(number), **other)


def examples(catalog: Catalog, number: int, **other: Any) -> settings:
    """The same; a quarter of them on Postgres, whose SQL the first few meet."""
    all_of_them = LONG or catalog.dialect == "sqlite"
    return settings(max_examples=at_once(number) if all_of_them else max(at_once(number) // 4, 1), **other)
