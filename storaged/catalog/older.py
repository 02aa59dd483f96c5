"""Older generations that were overwritten at a released key and are kept, in numbers (docs/adr/0023)."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import replicas
from storaged.model import ReplicaState

KEPT: Final = sa.and_(replicas.c.overwritten, replicas.c.state == ReplicaState.SUPERSEDED.value)


def counted(conn: sa.Connection) -> tuple[int, int, int | None]:
    """How many are kept, bytes of content, and until when the first is."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(replicas.c.length), 0))
    row = conn.execute(query.add_columns(sa.func.min(replicas.c.until_us)).where(KEPT)).one()
    return row[0], int(row[1]), row[2]
