"""Which tier an original key counts as being in, by its dataset and its storage class."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import datasets, objects, tiers
from storaged.model import RawState, Tier
from storaged.placement import raw_tier

_TIERS: Final = sa.select(tiers)  # made once, as they are asked for every page of rows
_DATASETS: Final = sa.select(datasets.c.id, datasets.c.root, datasets.c.tier_id)


def homes(conn: sa.Connection) -> Callable[[int, str], int]:
    """The number of the tier, from the number of a dataset and a storage class (storaged.placement.raw_tier)."""
    known = {row.id: Tier(row.name, row.rank, row.url, row.storage_class) for row in conn.execute(_TIERS)}
    numbers: dict[str, int] = {tier.name: number for number, tier in known.items()}
    rows = {row.id: row for row in conn.execute(_DATASETS)}

    @cache
    def of(dataset_id: int, storage_class: str) -> int:
        row = rows[dataset_id]
        found = raw_tier(storage_class, home=known[row.tier_id], root=row.root, tiers=known.values())
        return numbers[found.name]

    return of


def settle(conn: sa.Connection, dataset_id: int) -> None:
    """Bring the rows of a dataset up to a configuration that names other tiers or classes than before."""
    of = homes(conn)
    mine = sa.and_(objects.c.dataset_id == dataset_id, objects.c.raw_state == RawState.CURRENT.value)
    for (storage_class,) in conn.execute(sa.select(objects.c.raw_class).where(mine).distinct()).all():
        tier_id = of(dataset_id, storage_class)
        moved = sa.and_(mine, objects.c.raw_class == storage_class, objects.c.tier_id != tier_id)
        conn.execute(sa.update(objects).where(moved).values(tier_id=tier_id))
