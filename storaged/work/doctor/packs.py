"""Packs of which little is somebody's any more, and those in which something is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, datasets, objects, replicas, tiers
from storaged.model import BlobState, ReplicaState
from storaged.work.context import Context
from storaged.work.doctor.base import PAGE, Finding, FindingKind, Severity

EXAMPLES: Final = 3  # names of what is damaged in a pack
LITTLE: Final = 0.5  # share of a pack's content that is somebody's, below which it is told
MUCH: Final = 0.1  # share of what all packs of a tier take: nobody's part of such packs is told from there on

SPARSE_PACKS = FindingKind(
    "sparse-packs",
    Severity.INFO,
    "Packs hold little that is still somebody's. The rest is paid for until the last of their objects has left.",
    "A policy with `codec: pack` that selects what is left packs it anew (`repack_below`), if nothing has to stay; "
    "`storagectl sql` names them, asked to SELECT * FROM v_packs ORDER BY live_share.",
)
DAMAGED_PACK = FindingKind(
    "damaged-pack",
    Severity.ERROR,
    "Objects in a pack did not read as they were written when they were last verified. Nothing that these replace is "
    "released. The others in it are not concerned.",
    "`storagectl undo {object}`, and so the others, while their originals are kept; else bring the pack back from a "
    "copy of the tier, then `storagectl verify {dataset}`. `storagectl sql` names all, asked to SELECT object, damaged "
    "FROM v_objects WHERE damaged IS NOT NULL; what is right `storagectl eject {dataset}` brings back.",
)


def damaged(context: Context) -> Iterator[Finding]:
    """What verify found, pack by pack."""
    wrong = sa.and_(replicas.c.damaged.is_not(None), replicas.c.state == ReplicaState.CURRENT.value)
    current = replicas.c.state == ReplicaState.CURRENT.value
    counts = (sa.func.count().filter(held).label(name) for name, held in (("wrong", wrong), ("of", current)))
    query = (
        sa.select(blobs.c.id, blobs.c.key, tiers.c.name, *counts)
        .select_from(replicas)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .where(blobs.c.packed_bytes > 0, blobs.c.id.in_(sa.select(replicas.c.blob_id).where(wrong)))
        .group_by(blobs.c.id, blobs.c.key, tiers.c.name)
        .order_by(blobs.c.id)
        .limit(PAGE)
    )
    such = (
        sa.select(datasets.c.name.label("dataset"), objects.c.name, replicas.c.damaged)
        .select_from(replicas)
        .join(objects, objects.c.id == replicas.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(wrong)
        .order_by(objects.c.name)
        .limit(EXAMPLES)
    )
    after = ""
    while True:
        with context.catalog.read() as conn:
            packs = conn.execute(query.where(blobs.c.id > after)).all()
            examples = {p.id: conn.execute(such.where(replicas.c.blob_id == p.id)).all() for p in packs}
        for p in packs:
            if not (first := examples[p.id]):
                continue
            names = ", ".join(f"{e.dataset}/{e.name}" for e in first) + (", …" if p.wrong > len(first) else "")
            says = f"{p.wrong:,} of its {p.of:,} objects: {names}; the first: {first[0].damaged}"
            of, dataset = f"{first[0].dataset}/{first[0].name}", first[0].dataset
            yield DAMAGED_PACK.found(f"{p.name}:{p.key}", says, object=of, dataset=dataset)
        if len(packs) < PAGE:
            return
        after = packs[-1].id


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


KINDS: Final = (SPARSE_PACKS, DAMAGED_PACK)
