"""What the catalog has of roots that lifecycle rules would work on."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets, objects, tiers
from storaged.decide.guards import AT_ITS_KEY, locked
from storaged.decide.lifecycle import RootFacts
from storaged.stores.locks import Versioning


def root_facts(catalog: Catalog, names: Iterable[str], tier: str, now_us: int) -> dict[str, RootFacts]:
    """Of those of these datasets that were scanned, by name. `tier`: whose pins do not count."""

    def number(holds: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((holds, 1), else_=0)), 0)

    wanted = sa.select(tiers.c.id).where(tiers.c.name == tier).scalar_subquery()
    columns = {
        "held": number(objects.c.hold.is_not(None)),
        "pinned": number(objects.c.pin_tier_id != wanted),
        "parts": number(collections.of_object("kind").is_not(None)),
        "locked": number(locked(now_us)),
    }
    per_class = (
        sa.select(objects.c.dataset_id, objects.c.raw_class, sa.func.count().label("objects"))
        .add_columns(*(column.label(name) for name, column in columns.items()))
        .where(objects.c.removed_us.is_(None), AT_ITS_KEY)
        .group_by(objects.c.dataset_id, objects.c.raw_class)
    )
    given = sa.select(datasets).where(datasets.c.name.in_(sorted(names)), datasets.c.scanned_us.is_not(None))
    with catalog.read() as conn:
        found = {}
        for row in conn.execute(given):
            rows = conn.execute(per_class.where(objects.c.dataset_id == row.id)).all()
            sums = {name: sum(int(getattr(one, name)) for one in rows) for name in columns}
            versioned = row.versioning != Versioning.OFF.value
            found[row.name] = RootFacts(versioned, {one.raw_class: one.objects for one in rows}, **sums)
    return found
