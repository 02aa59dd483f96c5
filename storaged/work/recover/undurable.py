"""What an old copy of the catalog did and never told: taken back, since nobody else knows of it (docs/adr/0023).

A change that waits in the outbox is true in this catalog alone. Another one may have been rebuilt meanwhile from a
journal without it, and have cleared away the blob that it points to. Nothing was released on its account, because no
release goes before its swap is durable: so what was before it is still there.
"""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog import attempts, facts, placements
from storaged.catalog.blobs import as_replicas_tell
from storaged.catalog.entries import Entry
from storaged.catalog.placements import Change, Seen
from storaged.catalog.replay import apply_entries
from storaged.catalog.schema import outbox
from storaged.model import RawState
from storaged.placement import at_root
from storaged.work.context import Context

TAKEN_BACK = "taken back: the journal never had it"


def take_back(context: Context) -> int:
    """Of a catalog that has replayed its journal to the end: objects of which the outbox has entries become what the
    journal says last, else what their root says (the scan looks at that next). How many.

    Where the journal has a hole, what the outbox has may be all that is left of it, and stays. So does a change of an
    object whose original is gone although no entry tells of it.
    """
    with context.catalog.read() as conn:
        ids = set(conn.execute(sa.select(outbox.c.object_id)).scalars())
        if not ids:
            return 0
        seen = placements.load(conn, ids)
        head = facts.journal_number(conn)
    told = _last_entries(context, {(h.placement.dataset, h.placement.name) for h in seen.values()}, head)
    if told is None:
        return 0
    entries, root = [], []
    for h in seen.values():
        entry = told.get((h.placement.dataset, h.placement.name))
        if entry is not None:
            entries.append(entry)
        elif h.placement.raw.state in (RawState.CURRENT, RawState.SUPERSEDED):
            root.append(h)
        else:
            ids.discard(h.id)
    now = context.now_us()
    with context.catalog.begin() as conn:
        for part in placements.chunks(sorted(ids)):
            conn.execute(sa.delete(outbox).where(outbox.c.object_id.in_(part)))
        apply_entries(conn, entries)
        changes, why = [_at_root(h) for h in root], context.why(TAKEN_BACK)
        asked = [c for c in changes if c.placement.hold or c.placement.pin or c.placement.damaged]
        placements.change(conn, asked, now_us=now, why=why)
        placements.quietly(conn, [c for c in changes if c not in asked], now_us=now, why=why)
        theirs = sorted({blob for h in root for blob in h.blobs})
        for part in placements.chunks(theirs):
            as_replicas_tell(conn, part)
        attempts.bury(conn, theirs, note=TAKEN_BACK, now_us=now)
    return len(entries) + len(root)


def _last_entries(context: Context, wanted: set[tuple[str, str]], head: int) -> dict[tuple[str, str], Entry] | None:
    """What the journal says last of each of these objects, by (dataset, name); None if it has a hole."""
    found: dict[tuple[str, str], Entry] = {}
    epoch = 0
    for number in range(head):
        note = context.journal.read(number)
        if note is None:
            return None
        if note.epoch < epoch:  # written by a catalog that had been replaced
            continue
        epoch = note.epoch
        for entry in note.entries:
            of = (entry["placement"]["dataset"], entry["placement"]["name"])
            if of in wanted:
                found[of] = entry
    return found


def _at_root(seen: Seen) -> Change:
    """As it was before anything of ours: at its original key. What a person asked for it is kept, and told again."""
    return Change(seen, at_root(seen.placement), "taken-back")
