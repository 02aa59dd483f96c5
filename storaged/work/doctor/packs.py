"""Packs of which little is somebody's any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, tiers
from storaged.model import BlobState
from storaged.work.context import Context
from storaged.work.doctor.base import Finding, FindingKind, Severity

LITTLE: Final = 0.5  # share of a pack's content that is somebody's, below which it is told
MUCH: Final = 0.1  # share of what all packs of a tier take: nobody's part of such packs is told from there on

SPARSE_PACKS = FindingKind(
    "sparse-packs",
    Severity.INFO,
    "Packs hold little that is still somebody's. The rest is paid for until the last of their objects has left.",
    "A policy with `codec: pack` that selects what is left packs it anew (`repack_below`), if nothing has to stay; "
    "`storagectl sql` names them, asked to SELECT * FROM v_packs ORDER BY live_share.",
)


def sparse(context: Context) -> Iterator[Finding]:
    """By tier, where it is much beside all that its packs take."""
    b = blobs.c
    little = b.live_bytes < LITTLE * b.packed_bytes
    nobodys = sa.case((little, b.size * (1.0 - 1.0 * b.live_bytes / b.packed_bytes)), else_=0.0)
    query = (
        sa.select(
            tiers.c.name,
            sa.func.count().label("packs"),
            sa.func.count().filter(little).label("sparse"),
            sa.func.sum(b.size).label("stored"),
            sa.func.sum(nobodys).label("nobodys"),
        )
        .join(tiers, tiers.c.id == b.tier_id)
        .where(b.packed_bytes > 0, b.state == BlobState.LIVE.value)
        .group_by(tiers.c.name)
        .order_by(tiers.c.name)
    )
    with context.catalog.read() as conn:
        rows = conn.execute(query).all()
    for row in rows:
        if row.nobodys and row.nobodys >= MUCH * int(row.stored):
            yield SPARSE_PACKS.found(
                f"tier:{row.name}",
                f"{row.sparse:,} of {row.packs:,} packs hold less than half of what was packed; "
                f"{round(row.nobodys):,} of {int(row.stored):,} bytes are nobody's",
            )


KINDS: Final = (SPARSE_PACKS,)
