"""Whose file is it? What an attempt of ours that was never committed left at an original key is no object, and what it
gave another storage class there is no new generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog.placements import Held, chunks
from storaged.catalog.schema import blobs, objects
from storaged.errors import ObjectNotFound
from storaged.model import BlobState, Placement, RawState
from storaged.stores.base import Stat, Store
from storaged.stores.origins import left_by, tells_of
from storaged.work.context import Context


def is_leftover(context: Context, dataset: str, key: str, found: Stat) -> bool:
    """Whether the key holds what an uncommitted attempt wrote there, untouched since.

    A user's copy or rename of what we once wrote back, and what a user wrote into, is the user's (docs/adr/0004).
    """
    try:
        told = context.root(dataset).origin(key)
    except ObjectNotFound:
        return False
    if told is None or not tells_of(told, dataset, key):
        return False
    if told.size != found.size or not left_by(told.attempt, told, found):
        return False
    with context.catalog.read() as conn:
        query = sa.select(blobs.c.state).where(blobs.c.id == told.attempt, blobs.c.tier_id.is_(None))
        return conn.execute(query).scalar() in _UNCOMMITTED


@dataclass(frozen=True, slots=True)
class Intent:
    """What an attempt that was never recorded meant to do in place: give what has this identity, and this checksum of
    the store's, another storage class."""

    identity: str
    checksum: str
    storage_class: str


def transitions_of(conn: sa.Connection, held: Iterable[Held]) -> dict[int, list[Intent]]:
    """The transitions that were begun and never recorded, by object id."""
    found: dict[int, list[Intent]] = {}
    for part in chunks([h.id for h in held if h.placement.raw.state is RawState.CURRENT]):
        query = (
            sa.select(objects.c.id, blobs.c.identity, blobs.c.digest, blobs.c.storage_class)
            .join(objects, sa.and_(objects.c.dataset_id == blobs.c.dataset_id, objects.c.name == blobs.c.key))
            .where(objects.c.id.in_(part), blobs.c.tier_id.is_(None), blobs.c.storage_class != "")
            .where(blobs.c.state.in_(_UNCOMMITTED))
        )
        for row in conn.execute(query):
            found.setdefault(row.id, []).append(Intent(row.identity, row.digest, row.storage_class))
    return found


def is_transition(store: Store, p: Placement, found: Stat, intents: Sequence[Intent]) -> bool:
    """Whether what stands at the original key now is what stood there before, in another storage class, by our doing.

    Without a checksum of all its bytes by the store itself nobody can tell: then it counts as its user's.
    """
    meant = [
        i for i in intents if i.identity == p.raw.identity and i.checksum and i.storage_class == found.storage_class
    ]
    if not meant or found.size != p.size:
        return False
    return store.checksum(p.name) in {i.checksum for i in meant}


_UNCOMMITTED: Final = (BlobState.STAGED.value, BlobState.TOMBSTONE.value)
