"""Blobs that have another identity than the catalog holds and proved right all the same: the catalog takes it over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Change, Held
from storaged.catalog.schema import blobs
from storaged.work.context import Context

PROVED: Final = "prove"  # the word in journal and audit


def unrecorded(context: Context, held: Held) -> dict[str, str]:
    """Of the object's blobs those that proved right under another identity than the catalog's, and that identity."""
    found = {b.id: context.proven[b.id] for b in held.blobs.values() if b.id in context.proven}
    return {i: now for i, now in found.items() if now != held.blobs[i].identity}


def record(context: Context, held: Iterable[Held]) -> dict[int, Held]:
    """Write these identities into catalog and journal, where the object is still as it was read. Returns those objects
    as they are now, by id."""
    wanted = {h.id: h for h in held if unrecorded(context, h)}
    if not wanted:
        return {}
    with context.catalog.begin() as conn:
        now = placements.load(conn, wanted, lock=True)
        same = [h for i, h in now.items() if h.version == wanted[i].version and h.fact_id is None]
        for h in same:
            for blob, identity in unrecorded(context, h).items():
                conn.execute(sa.update(blobs).where(blobs.c.id == blob).values(identity=identity))
        changes = [Change(h, h.placement, PROVED) for h in same]
        placements.change(
            conn,
            changes,
            now_us=context.now_us(),
            why=context.why("its bytes are what was proven, its identity another"),
        )
    context.journal.flush()
    with context.catalog.read() as conn:
        return placements.load(conn, [h.id for h in same])
