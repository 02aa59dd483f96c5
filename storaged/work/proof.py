"""Blobs that have another identity than the catalog holds. One that proved right all the same the catalog takes over;
of another its readers are told what helps."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from storaged.catalog import changes, placements
from storaged.catalog.placements import Change, Seen
from storaged.catalog.schema import blobs, replicas
from storaged.errors import VerificationFailed
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


def not_as_proven(context: Context, seen: Seen, path: str) -> VerificationFailed:
    """What to say of an object whose blob is not as it was proven: by what verify found there so far, what helps."""
    name, replica = shlex.quote(path), seen.placement.current
    what, others = "is missing, or is not the one that we wrote", False
    packed = replica is not None and seen.blobs[replica.blob].packed_bytes > 0
    if replica is not None and packed:
        such = sa.exists().where(replicas.c.blob_id == replica.blob, replicas.c.damaged.is_not(None))
        with context.catalog.read() as conn:
            others = bool(conn.execute(sa.select(such)).scalar_one())
    if replica is not None and replica.damaged:
        what += f", and `storagectl verify` found it damaged there: {replica.damaged}"
        hint = f"`storagectl undo {name}` while its original is kept; else bring it back from a copy of the tier"
    elif others:  # that it was looked at with them is likely, and restaging looks once more
        what += "; `storagectl verify` found damage there, and none of this object"
        hint = f"`storagectl restage {name} --to-root` brings it back, if it is right"
    else:
        hint = f"`storagectl verify {name}` takes it over if it is right, and says what is damaged if not"
    return VerificationFailed(f"{path!r}: the {'pack' if packed else 'blob'} that holds its content {what}", hint=hint)
