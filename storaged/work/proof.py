"""Blobs that have another identity than the catalog holds and proved right all the same: the catalog takes it over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from storaged.catalog import changes, placements
from storaged.catalog.placements import Change, Seen
from storaged.catalog.schema import blobs
from storaged.work.context import Context

PROVED: Final = "prove"  # the word in journal and audit


def unrecorded(context: Context, seen: Seen) -> dict[str, str]:
    """Of the object's blobs those that proved right under another identity than the catalog's, and that identity."""
    found = {b.id: context.proven[b.id] for b in seen.blobs.values() if b.id in context.proven}
    return {i: now for i, now in found.items() if now != seen.blobs[i].identity}


def record(context: Context, seen: Iterable[Seen]) -> dict[int, Seen]:
    """Write these identities into catalog and journal, where the object is still as it was read. Returns those objects
    as they are now, by id."""
    wanted = {h.id: h for h in seen if unrecorded(context, h)}
    if not wanted:
        return {}
    with context.catalog.begin() as conn:
        made = changes.Page(conn, wanted.values()).judge(lambda h: Change(h, h.placement, PROVED))
        for c in made:
            for blob, identity in unrecorded(context, c.seen).items():
                conn.execute(sa.update(blobs).where(blobs.c.id == blob).values(identity=identity))
        why = context.why("its bytes are what was proven, its identity another")
        changes.record(conn, made, now_us=context.now_us(), why=why)
    context.journal.flush()
    with context.catalog.read() as conn:
        return placements.load(conn, [c.seen.id for c in made])
