"""What the objects of the catalog have that policies can name."""

from __future__ import annotations

import json
from collections.abc import Iterable

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets, objects, tiers
from storaged.catalog.schema_totals import object_totals
from storaged.decide.known import MOST_PARTITIONS, KnownDataset, policy_atoms
from storaged.decide.policy import LoadedPolicy


def known_datasets(catalog: Catalog, policies: Iterable[LoadedPolicy]) -> dict[str, KnownDataset]:
    """The datasets that have objects, by name, and what these have. Partitions are read where a policy names some."""
    keyed = [p for p in policies if any(a.column.startswith("partition.") for _, a in policy_atoms(p.policy))]
    held = object_totals.c
    kinds = (
        sa.select(held.dataset_id, tiers.c.name.label("tier"), held.format)
        .join(tiers, tiers.c.id == held.tier_id)
        .where(held.removed == 0)
        .group_by(held.dataset_id, tiers.c.name, held.format)
        .having(sa.func.sum(held.objects) > 0)
    )
    with catalog.read() as conn:
        found = conn.execute(kinds).all()
        known = {}
        for row in conn.execute(sa.select(datasets.c.id, datasets.c.name, datasets.c.owner, datasets.c.tags)):
            mine = [(tier, kind) for number, tier, kind in found if number == row.id]
            if not mine:
                continue
            wanted = any(p.policy.target.takes(row.name) for p in keyed)
            known[row.name] = KnownDataset(
                frozenset(tier for tier, _ in mine),
                frozenset(kind for _, kind in mine),
                row.owner,
                json.loads(row.tags),
                _partitions(conn, row.id) if wanted else {},
            )
    return known


def _partitions(conn: sa.Connection, dataset_id: int) -> dict[str, frozenset[str]] | None:
    """The values of a dataset's partitions, by key; None: there are too many."""
    here = (objects.c.dataset_id == dataset_id, objects.c.removed_us.is_(None), objects.c.partition.is_not(None))
    query = sa.select(objects.c.partition).distinct().where(*here).limit(MOST_PARTITIONS + 1)
    told = list(conn.execute(query).scalars())
    if len(told) > MOST_PARTITIONS:
        return None
    values: dict[str, set[str]] = {}
    for text in told:
        for key, value in json.loads(text).items():
            values.setdefault(key, set()).add(value)
    return {key: frozenset(found) for key, found in values.items()}
