"""What a sweep would look at: superseded places whose grace is over, and what discarded attempts left."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from storaged.catalog.allocated import TAKEN
from storaged.catalog.attempts import TOMBSTONE
from storaged.catalog.blobs import SHARE
from storaged.catalog.schema import blobs, objects, replicas
from storaged.catalog.schema_attempts import attempts
from storaged.model import RawState, ReplicaState
from storaged.work.context import Context


def due(context: Context) -> dict[str, int]:
    """What a sweep would look at now, from the catalog alone. Bytes are stored bytes, of a pack the shares that are
    due: it is deleted when nobody is left in it."""
    now = context.now_us()

    def over(state: Any, until: Any, kind: type[RawState] | type[ReplicaState]) -> Any:
        ended = sa.and_(state == kind.SUPERSEDED.value, until <= now)
        return sa.or_(state == kind.RELEASING.value, ended)

    def counted(size: sa.ColumnElement[int]) -> tuple[Any, Any]:
        return sa.func.count(), sa.func.coalesce(sa.func.sum(size), 0)

    sources = sa.select(*counted(TAKEN)).where(over(objects.c.raw_state, objects.c.raw_until_us, RawState))
    old = (
        sa.select(sa.func.count(blobs.c.id.distinct()), sa.func.coalesce(sa.func.sum(SHARE), 0))
        .select_from(replicas)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .where(over(replicas.c.state, replicas.c.until_us, ReplicaState))
    )
    dead = sa.select(sa.func.count()).select_from(attempts).where(TOMBSTONE)
    with context.catalog.read() as conn:
        source = conn.execute(sources).one()
        blob = conn.execute(old).one()
        tombstones = conn.execute(dead).scalar_one()
    return {
        "sources": source[0],
        "source_bytes": int(source[1]),
        "blobs": blob[0],
        "blob_bytes": int(blob[1]),
        "tombstones": tombstones,
    }
