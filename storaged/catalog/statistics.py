"""What Postgres knows of its rows, by which it chooses how to join them.

Its autovacuum looks some time after many rows came; a plan made before that joins tables as if they were empty, and may
take hours. SQLite chooses by indexes alone.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects, replicas

MANY: Final = 10_000  # rows that came or changed at once; below that, what was known before serves


def learn(catalog: Catalog, rows: int) -> None:
    """Look at a sample of objects and replicas, where so many rows of them are new or changed."""
    if rows >= MANY and catalog.dialect == "postgresql":
        with catalog.begin() as conn:
            conn.execute(sa.text(f"ANALYZE {objects.name}, {replicas.name}"))
