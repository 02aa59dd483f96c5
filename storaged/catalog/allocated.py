"""What originals take where their store bills that and not their size. Only a look at the file tells, so rows have it
from scans, and lose it with the identity that it was told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog import each
from storaged.catalog.among import among
from storaged.catalog.editions import ANOTHER, ORIGINAL_BYTES
from storaged.catalog.schema import objects
from storaged.model import RawState

TAKEN: Final = sa.func.coalesce(objects.c.raw_allocated, ORIGINAL_BYTES)  # by what is at an original key
LESS: Final = objects.c.raw_allocated.is_not(sa.null())  # in the index's own words, that SQLite takes it
MORE: Final = ((ANOTHER, ORIGINAL_BYTES - objects.c.size), (LESS, objects.c.raw_allocated - ORIGINAL_BYTES))
"""What originals take more than their objects' sizes: of which, and how much. By one condition each, which an index
has, for of both at once every object would be looked at; where both hold, the sum of them is TAKEN less the size."""
_CURRENT: Final = objects.c.raw_state == RawState.CURRENT.value


class Allocated(NamedTuple):
    """Bytes that what has this identity takes; None: its size."""

    identity: str
    bytes: int | None


def note(conn: sa.Connection, found: Mapping[int, Allocated]) -> None:
    """What the originals of objects take, of those that still have the identity that was looked at."""
    told = sa.bindparam("b_bytes", type_=sa.BigInteger())
    stored = sa.case((_CURRENT, sa.func.coalesce(told, objects.c.size)), else_=objects.c.stored_bytes)
    mine = sa.and_(objects.c.id == sa.bindparam("b_id"), objects.c.raw_identity == sa.bindparam("b_identity"))
    rows = [{"b_id": number, "b_identity": one.identity, "b_bytes": one.bytes} for number, one in found.items()]
    each.execute(conn, sa.update(objects).where(mine).values(raw_allocated=told, stored_bytes=stored), rows)


def at_home(conn: sa.Connection, ids: Sequence[int]) -> None:
    """Of these, those whose original is the current place take again what it takes."""
    if ids:
        mine = sa.and_(among(objects.c.id, ids), LESS, _CURRENT)
        conn.execute(sa.update(objects).where(mine).values(stored_bytes=objects.c.raw_allocated))
