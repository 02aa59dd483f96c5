"""Blobs of ours that the catalog does not know: after a loss or an old copy, the tiers themselves tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.attempts import TOMBSTONE, known_ids, known_keys
from storaged.catalog.placements import dataset_ids, tier_ids
from storaged.catalog.schema import datasets, objects
from storaged.catalog.schema_attempts import attempts
from storaged.codecs.registry import FORMS
from storaged.errors import ObjectCold, ObjectNotFound, PermissionDenied, StoreError, VerificationFailed
from storaged.model import AttemptKind, AttemptState, Origin
from storaged.stores.base import Stat, Store
from storaged.stores.origins import tells_of
from storaged.work.context import Context

PAGE: Final = 1_000


@dataclass(slots=True)
class Strays:
    """What a search for strays came to. The lists have TIER:KEY of what was left alone."""

    buried: int = 0
    kept: list[str] = field(default_factory=list)  # blobs of ours that may hold the only copy of something
    unreadable: list[str] = field(default_factory=list)  # whoever put it there: what it is cannot be seen, or is torn


def bury_strays(context: Context) -> Strays:
    """List every tier; a blob of this catalog without a row becomes a tombstone whose late window starts now.

    Temporary parts of attempts without a row are treated the same, in tiers and roots. Things that do not say they
    are ours are left alone, and so are blobs whose object nothing else knows: they may hold the only copy of it. A pack
    that no entry of a whole journal speaks of holds nobody's, whatever it lists: no source was released for it. Where
    the journal has a hole any of them may, as the swap to it and the release of its source may have stood there.
    """
    result = Strays()
    hole = context.journal.has_holes()
    with context.catalog.read() as conn:
        numbers = tier_ids(conn)
    for name in (n for n in context.tiers if n in numbers):  # a new one has its row from the next scan on
        store = context.tier(name)
        page: list[str] = []
        for entry in store.list():
            if isinstance(entry, Stat):
                page.append(entry.key)
            if len(page) == PAGE:
                _bury_page(context, name, numbers[name], page, result, hole=hole)
                page = []
        _bury_page(context, name, numbers[name], page, result, hole=hole)
        result.buried += _bury(context, ((a, a, None) for a in store.attempts()), tier_id=numbers[name])
    for name in context.datasets:
        try:
            result.buried += _bury(context, ((a, a, name) for a in context.root(name).attempts()), tier_id=None)
        except StoreError:  # a root that is away: what is in it is found when it is back
            continue
    return result


def describe(store: Store, key: str) -> Origin | None:
    """What a stored thing says about itself, beside its bytes or inside them. Raises VerificationFailed where it is a
    damaged blob of ours that cannot say whose, StoreError where it cannot be read."""
    if (told := store.origin(key)) is not None:
        return told
    with store.open(key) as reader:
        for form in FORMS.values():
            if (told := form.describe(reader)) is not None:
                return told
    return None


def _bury_page(context: Context, tier: str, tier_id: int, keys: list[str], result: Strays, *, hole: bool) -> None:
    if not keys:
        return
    store = context.tier(tier)
    with context.catalog.read() as conn:
        known = known_keys(conn, tier_id, keys)
    found: list[tuple[str, str, str | None]] = []
    for key in keys:
        if key in known:
            continue
        try:
            told = describe(store, key)
        except ObjectNotFound:
            continue
        except (ObjectCold, PermissionDenied, VerificationFailed):
            result.unreadable.append(f"{tier}:{key}")
            continue
        if told is None or told.catalog != context.identity.catalog:
            continue
        if is_stray(context, told, hole=hole):
            found.append((told.attempt, key, told.dataset))
        else:
            result.kept.append(f"{tier}:{key}")
    result.buried += _bury(context, found, tier_id=tier_id)


def is_stray(context: Context, told: Origin, *, hole: bool) -> bool:
    """Whether a blob that the catalog has no row of, and that says this of itself, cannot be the only copy of anything.
    `hole`: the journal has one."""
    return not hole and (told.of_pack or _known_elsewhere(context, told))


def _known_elsewhere(context: Context, told: Origin) -> bool:
    """Whether catalog or root tell what became of the object that a stray blob is of."""
    with context.catalog.read() as conn:
        names = conn.execute(
            sa.select(objects.c.name)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .where(datasets.c.name == told.dataset, objects.c.name == told.object)
        ).first()
    if names is not None:
        return True
    if told.dataset not in context.datasets:
        return False
    try:
        return tells_of(told, told.dataset, told.object) and bool(context.root(told.dataset).head(told.object))
    except StoreError:
        return False


def _bury(context: Context, found: Iterable[tuple[str, str, str | None]], *, tier_id: int | None) -> int:
    """Tombstones for (attempt, key, dataset) in a tier (None: at a root) that the catalog has no row of; the key is the
    attempt's id where only parts of it are known. Returns how many are new."""
    told = {attempt: (key, dataset) for attempt, key, dataset in found}
    if not told:
        return 0
    now = context.now_us()
    with context.catalog.begin() as conn:
        ids = dataset_ids(conn)
        have = known_ids(conn, told)
        fresh: list[dict[str, Any]] = [
            {
                "id": attempt,
                "dataset_id": ids.get(str(dataset)),
                "tier_id": tier_id,
                "key": key,
                "kind": (AttemptKind.RETURN if tier_id is None else AttemptKind.BLOB).value,
                "state": AttemptState.TOMBSTONE.value,
                "note": "found in its store, unknown to catalog and journal",
                "created_us": now,
                "sign_us": now,
            }
            for attempt, (key, dataset) in told.items()
            if attempt not in have
        ]
        if fresh:
            conn.execute(sa.insert(attempts), fresh)
        for attempt in have:  # known by its parts only, until what they became turned up at its key
            parts_only = sa.and_(attempts.c.id == attempt, attempts.c.key == attempt)
            conn.execute(sa.update(attempts).where(parts_only, TOMBSTONE).values(key=told[attempt][0], sign_us=now))
    return len(fresh)
