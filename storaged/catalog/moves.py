"""Where each object came from last: what must not go back at once is held by it (storaged.decide.rest).

The journal does not tell it: after the loss of a catalog nothing is known to have come from anywhere, so nothing rests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.schema import objects
from storaged.catalog.schema_moves import moves

MOVES: Final = frozenset({"swap", "derive", "eject", "transition", "undo"})  # kinds of changes
_CHUNK: Final = 500


def note(conn: sa.Connection, ids: Iterable[int], *, now_us: int) -> None:
    """These objects are about to be moved, in this transaction: they leave where their rows have them now."""
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        conn.execute(sa.delete(moves).where(among(moves.c.object_id, part)))
        left = sa.select(
            objects.c.id, sa.literal(now_us, sa.BigInteger()), objects.c.generation, objects.c.tier_id, objects.c.codec
        ).where(among(objects.c.id, part), objects.c.tier_id.is_not(None))
        names = [moves.c.object_id, moves.c.at_us, moves.c.generation, moves.c.tier_id, moves.c.codec]
        conn.execute(sa.insert(moves).from_select(names, left))
