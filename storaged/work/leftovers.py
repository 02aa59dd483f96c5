"""Whose file is it? What an attempt of ours that was never committed left at an original key is no object."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog.schema import blobs
from storaged.errors import ObjectNotFound
from storaged.model import BlobState
from storaged.stores.base import Stat
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
        return conn.execute(query).scalar() in (BlobState.STAGED.value, BlobState.TOMBSTONE.value)
