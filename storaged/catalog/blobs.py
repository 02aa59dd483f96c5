"""What is asked of blobs in SQL, whatever is in them: one object, or in a pack many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, replicas
from storaged.model import BlobState, ReplicaState

UNUSED: Final = ~sa.exists().where(replicas.c.blob_id == blobs.c.id)  # nobody has anything in it

# What of a blob's stored bytes counts as a replica's: `storaged.model.share` over columns. Whole numbers below 2^63,
# as a pack and what is in it are below 2^31 times 2^32 bytes.
SHARE: Final = sa.case(
    (blobs.c.packed_bytes > 0, blobs.c.size * replicas.c.length / blobs.c.packed_bytes), else_=blobs.c.size
)

_NEEDED: Final = sa.exists().where(replicas.c.blob_id == blobs.c.id, replicas.c.state != ReplicaState.RELEASING.value)


def lock(conn: sa.Connection, ids: Iterable[str]) -> None:
    """Keep the rows of these blobs until the transaction ends."""
    conn.execute(sa.select(blobs.c.id).where(blobs.c.id.in_(list(ids))).order_by(blobs.c.id).with_for_update()).all()


def live(conn: sa.Connection, ids: Iterable[str]) -> set[str]:
    """Those of these blobs that are not being released, kept so until the transaction ends."""
    of = sa.and_(blobs.c.id.in_(list(ids)), blobs.c.state == BlobState.LIVE.value)
    return set(conn.execute(sa.select(blobs.c.id).where(of).order_by(blobs.c.id).with_for_update()).scalars())


def releasing(conn: sa.Connection, ids: Iterable[str]) -> None:
    """The keys of these blobs may be deleted from here on."""
    conn.execute(sa.update(blobs).where(blobs.c.id.in_(list(ids))).values(state=BlobState.RELEASING.value))


def as_replicas_tell(conn: sa.Connection, ids: Iterable[str]) -> None:
    """The states of these blobs, by what is in them: releasing where every replica is, else live."""
    told = sa.case((_NEEDED, BlobState.LIVE.value), else_=BlobState.RELEASING.value)
    conn.execute(sa.update(blobs).where(blobs.c.id.in_(list(ids))).values(state=told))
