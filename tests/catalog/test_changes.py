"""How changes are told, by their kind."""

from __future__ import annotations

from typing import cast

import pytest
import sqlalchemy as sa

from storaged.catalog import changes
from storaged.catalog.placements import Change, Seen, Why
from storaged.model import Placement


def test_a_kind_that_is_listed_nowhere_is_refused_before_anything_is_written() -> None:
    """Whoever invents one says whether the journal gets it, and when: a fact that is told late resurrects."""
    kinds = (changes.FACTS, changes.TOLD_BY_STORES, changes.TOLD_AFTERWARDS)
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))
    new = Change(cast("Seen", None), cast("Placement", None), "given-away")
    with pytest.raises(ValueError, match="given-away"):
        changes.record(cast("sa.Connection", None), [new], now_us=0, why=cast("Why", None))
