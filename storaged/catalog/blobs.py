"""What is asked of blobs in SQL, whatever is in them: one object, or in a pack many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.entries import Entry
from storaged.catalog.schema import blobs, replicas, tiers
from storaged.model import BlobState, ReplicaState

UNUSED: Final = ~sa.exists().where(replicas.c.blob_id == blobs.c.id)  # nobody has anything in it

_DIGIT: Final = 1 << 20


def share_of(
    size: sa.ColumnElement[int],
    packed_bytes: sa.ColumnElement[int],
    length: sa.ColumnElement[int],
    before: sa.ColumnElement[int] | None = None,
) -> sa.ColumnElement[int]:
    """`storaged.model.share` over columns, where bytes of packs, stored and of content, are at most 2^41, and a member
    is within its pack: in two digits, so that no product outgrows 64 bits."""

    def upto(content: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        above, left = size // packed_bytes * content, size % packed_bytes
        high, low = left * (content // _DIGIT), left * (content % _DIGIT)
        return above + high // packed_bytes * _DIGIT + (high % packed_bytes * _DIGIT + low) // packed_bytes

    shared = upto(length) if before is None else upto(before + length) - upto(before)
    return sa.case((packed_bytes > 0, shared), else_=size)


SHARE: Final = share_of(  # of a blob, what counts as a replica's
    blobs.c.size, blobs.c.packed_bytes, replicas.c.length, replicas.c.packed_before
)

_NEEDED: Final = sa.exists().where(replicas.c.blob_id == blobs.c.id, replicas.c.state != ReplicaState.RELEASING.value)


def lock(conn: sa.Connection, ids: Iterable[str]) -> set[str]:
    """Keep the rows of these blobs until the transaction ends. Returns those that are not being released."""
    query = sa.select(blobs.c.id, blobs.c.state).where(blobs.c.id.in_(list(ids))).order_by(blobs.c.id)
    return {row.id for row in conn.execute(query.with_for_update()) if row.state == BlobState.LIVE.value}


def told(conn: sa.Connection, ids: Iterable[str]) -> dict[str, Entry]:
    """These blobs as an entry of the journal states them."""
    found: dict[str, Entry] = {}
    query = sa.select(blobs, tiers.c.name.label("tier")).outerjoin(tiers, tiers.c.id == blobs.c.tier_id)
    for b in conn.execute(query.where(among(blobs.c.id, sorted(ids)))):
        found[b.id] = {
            "id": b.id, "tier": b.tier, "key": b.key, "codec": b.codec,
            "size": b.size, "identity": b.identity, "digest": b.digest, "storage_class": b.storage_class,
        }  # fmt: skip
        if b.packed_bytes:
            found[b.id]["packed_bytes"] = b.packed_bytes
    return found


def releasing(conn: sa.Connection, ids: Iterable[str]) -> None:
    """The keys of these blobs may be deleted from here on."""
    conn.execute(sa.update(blobs).where(blobs.c.id.in_(list(ids))).values(state=BlobState.RELEASING.value))


def as_replicas_tell(conn: sa.Connection, ids: Iterable[str]) -> None:
    """The states of these blobs, by what is in them: releasing where every replica is, else live. And how much of a
    pack is somebody's."""
    told = sa.case((_NEEDED, BlobState.LIVE.value), else_=BlobState.RELEASING.value)
    theirs = sa.select(sa.func.coalesce(sa.func.sum(replicas.c.length), 0)).where(replicas.c.blob_id == blobs.c.id)
    left = sa.case((blobs.c.packed_bytes > 0, theirs.scalar_subquery()), else_=0)
    conn.execute(sa.update(blobs).where(among(blobs.c.id, ids)).values(state=told, live_bytes=left))


def add_live(conn: sa.Connection, lengths: Mapping[str, int]) -> None:
    """So much more of these packs is somebody's; below 0: less. The caller keeps their rows."""
    if lengths:
        mine = sa.and_(blobs.c.id == sa.bindparam("b_id"), blobs.c.packed_bytes > 0)
        conn.execute(
            sa.update(blobs).where(mine).values(live_bytes=blobs.c.live_bytes + sa.bindparam("b_bytes")),
            [{"b_id": blob_id, "b_bytes": nbytes} for blob_id, nbytes in sorted(lengths.items())],
        )
