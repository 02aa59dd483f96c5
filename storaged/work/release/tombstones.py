"""What discarded attempts left behind, cleared away until no late write can come any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.attempts import TOMBSTONE, takes_away
from storaged.catalog.schema import blobs, datasets, objects, tiers
from storaged.catalog.schema_attempts import attempts
from storaged.errors import ObjectNotFound, StoragedError, StoreError
from storaged.model import AttemptKind
from storaged.work.context import Context
from storaged.work.release.strays import bury_strays
from storaged.work.scan.leftovers import is_leftover
from storaged.work.scan.suspects import rescan_key

NO_BLOB: Final = ~sa.exists().where(blobs.c.id == attempts.c.id)  # of an attempt; a blob is deleted by its release only


@dataclass(slots=True)
class Swept:
    """What a sweep did. Bytes are what the stores got back."""

    sources: int = 0
    blobs: int = 0
    absent: int = 0  # of these: their key was gone already
    left: int = 0  # objects that left a pack in which others stay, so that nothing was freed
    tombstones: int = 0  # keys that were checked (and cleared) again
    forgotten: int = 0  # tombstones whose late window is over
    freed_bytes: int = 0
    folders: int = 0  # that releases left empty, and that were removed
    held_back: dict[str, int] = field(default_factory=dict)  # reason -> objects that were due and kept
    errors: list[str] = field(default_factory=list)

    def keep(self, reason: str) -> None:
        self.held_back[reason] = self.held_back.get(reason, 0) + 1


def clear_tombstones(context: Context, swept: Swept, progress: Callable[[str, int], None]) -> None:
    """Keys of discarded attempts: cleared at every sweep until no late put can come any more."""
    _list_again(context, swept)
    for name in (n for n in context.tiers if n not in context.away):
        try:
            context.tier(name).tidy()
        except StoragedError as error:
            swept.errors.append(f"{name}: {error.message}")
    committed = sa.exists().where(objects.c.raw_attempt == attempts.c.id)
    with context.catalog.read() as conn:
        rows = conn.execute(
            sa.select(
                attempts.c.id,
                attempts.c.key,
                attempts.c.kind,
                attempts.c.sign_us,
                tiers.c.name.label("tier"),
                datasets.c.name.label("dataset"),
            )
            .outerjoin(tiers, tiers.c.id == attempts.c.tier_id)
            .outerjoin(datasets, datasets.c.id == attempts.c.dataset_id)
            .where(TOMBSTONE, ~committed, NO_BLOB)
        ).all()
    over = []
    for row in rows:
        if row.tier in context.away or (row.tier is None and row.dataset in context.roots_away):
            continue
        try:
            match AttemptKind(row.kind):
                case AttemptKind.BLOB:
                    context.tier(row.tier).delete_attempt(row.key, attempt=row.id)
                case AttemptKind.RETURN:
                    _clear_at_root(context, row.dataset, row.key, row.id)
                case AttemptKind.TRANSITION:  # it wrote nothing; whose doing is what stands there now?
                    rescan_key(context, row.dataset, row.key)
        except StoragedError as error:
            swept.errors.append(f"{row.tier or row.dataset}:{row.key}: {error.message}")
            continue
        swept.tombstones += 1
        if row.sign_us + context.settings.late_put_window < context.now_us():
            over.append(row.id)
    progress("tombstones", len(rows))
    if over:
        with context.catalog.begin() as conn:
            conn.execute(sa.delete(attempts).where(attempts.c.id.in_(over), TOMBSTONE, NO_BLOB))
    swept.forgotten += len(over)


def _clear_at_root(context: Context, dataset: str, key: str, attempt: str) -> None:
    """Record what a discarded attempt may have left at an original key, or what its user made of that; then remove what
    is still just as that attempt left it, and its parts. Raises StoreError, also where removing it could remove what
    its user puts there at the same moment."""
    rescan_key(context, dataset, key)
    root = context.root(dataset)
    try:
        found = root.head(key)
        told = root.origin(key)
    except ObjectNotFound:
        root.delete_attempt(key, attempt=attempt)
        return
    if told is None or told.attempt != attempt:
        root.delete_attempt(key, attempt=attempt)
    elif not root.traits.releases:
        raise StoreError(
            f"a discarded write-back is there, and {root.url} cannot delete exactly that "
            f"({root.traits.lacking('delete_condition', 'delete_version')})",
            key=key,
            hint="it has the object's content; remove it yourself, if nobody else writes there",
        )
    elif is_leftover(context, dataset, key, found):
        with context.catalog.begin() as conn:  # its absence is our doing from here on
            takes_away(conn, attempt)
        root.delete(key, identity=found.identity)


def _list_again(context: Context, swept: Swept) -> None:
    """After a rebuild, blobs that nobody knows are looked for until one listing found the late window over."""
    now = context.now_us()
    with context.catalog.read() as conn:
        until = facts.get(conn, "relist_until_us")
    if until is None:
        return
    found = bury_strays(context)
    swept.errors += [f"{where}: a blob that may hold the only copy of something; left alone" for where in found.kept]
    swept.errors += [f"{where}: nobody knows what it is, as it cannot be read" for where in found.unreadable]
    if int(until) < now and not context.away:
        with context.catalog.begin() as conn:
            facts.drop(conn, "relist_until_us")
