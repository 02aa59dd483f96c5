"""Blobs of ours that the catalog does not know: after a loss or an old copy, the tiers themselves tell of them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, datasets, tiers
from storaged.codecs.registry import CODECS
from storaged.model import BlobState, Origin
from storaged.stores.base import Stat, Store
from storaged.work.context import Context

PAGE: Final = 1_000


def bury_strays(context: Context) -> int:
    """List every tier; a blob of this catalog without a row becomes a tombstone whose late window starts now.

    Things that do not say they are ours are left alone (`doctor` reports strangers). Returns how many were found.
    """
    found = 0
    for name in context.tiers:
        store = context.tier(name)
        page: list[str] = []
        for entry in store.list():
            if isinstance(entry, Stat):
                page.append(entry.key)
            if len(page) == PAGE:
                found += _bury(context, name, store, page)
                page = []
        found += _bury(context, name, store, page)
    return found


def describe(store: Store, key: str) -> Origin | None:
    """What a stored thing says about itself, beside its bytes or inside them."""
    if (told := store.origin(key)) is not None:
        return told
    with store.open(key) as reader:
        for codec in CODECS.values():
            if (told := codec.describe(reader)) is not None:
                return told
    return None


def _bury(context: Context, tier: str, store: Store, keys: list[str]) -> int:
    if not keys:
        return 0
    with context.catalog.read() as conn:
        tier_id = conn.execute(sa.select(tiers.c.id).where(tiers.c.name == tier)).scalar_one()
        known = set(
            conn.execute(sa.select(blobs.c.key).where(blobs.c.tier_id == tier_id, blobs.c.key.in_(keys))).scalars()
        )
    strays = [(k, told) for k in keys if k not in known and (told := describe(store, k)) is not None]
    ours = [(k, told) for k, told in strays if told.catalog == context.identity.catalog]
    if not ours:
        return 0
    now = context.now_us()
    with context.catalog.begin() as conn:
        ids = {row.name: row.id for row in conn.execute(sa.select(datasets.c.name, datasets.c.id))}
        have = set(conn.execute(sa.select(blobs.c.id).where(blobs.c.id.in_([t.attempt for _, t in ours]))).scalars())
        fresh = [(k, t) for k, t in ours if t.attempt not in have]
        if fresh:
            conn.execute(
                sa.insert(blobs),
                [
                    {
                        "id": told.attempt,
                        "dataset_id": ids.get(told.dataset),
                        "tier_id": tier_id,
                        "key": key,
                        "state": BlobState.TOMBSTONE.value,
                        "note": "found in the tier, unknown to catalog and journal",
                        "created_us": now,
                        "sign_us": now,
                    }
                    for key, told in fresh
                ],
            )
    return len(fresh)
