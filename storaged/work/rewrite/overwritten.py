"""What was overwritten at a released key and is kept: list it, read it, let it go or keep it on (docs/adr/0023).

A program that appends by raw path to an object that was moved (`>>`) finds no file there and makes a small new one.
That is a new generation like any other; but nobody who wrote it had the old content at hand, so it is kept until a
person says that it may go, or for `keep_overwritten`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from storaged.catalog.older import KEPT
from storaged.catalog.placements import Seen
from storaged.catalog.schema import blobs, datasets, objects, replicas, tiers
from storaged.errors import UsageError
from storaged.model import Placement, ReplicaState
from storaged.placement import keep_overwritten
from storaged.work.content import Slice, open_current, open_replica
from storaged.work.context import Context
from storaged.work.rewrite.pointers import Changed, change_objects

PAGE = 10_000


@dataclass(frozen=True, slots=True)
class KeptGeneration:
    """An older generation that is kept. Bytes of content; `now_bytes` of what is there now (None: nothing)."""

    object_id: int
    dataset: str
    name: str
    generation: int
    bytes: int
    now: int  # the generation that its user wrote over it
    now_bytes: int | None
    tier: str
    until_us: int


def kept(context: Context, names: Iterable[str] = ()) -> Iterator[KeptGeneration]:
    """Everything of the catalog that was overwritten at a released key and is kept; of these datasets if any are named.
    In the order of objects and their generations, in short read transactions."""
    wanted = list(names)
    after = (0, 0, "")
    query = (
        sa.select(replicas, objects, datasets.c.name.label("dataset"), tiers.c.name.label("tier"))
        .join(objects, objects.c.id == replicas.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .where(KEPT)
        .order_by(replicas.c.object_id, replicas.c.generation, replicas.c.blob_id)
        .limit(PAGE)
    )
    if wanted:
        query = query.where(datasets.c.name.in_(wanted))
    while True:
        key = sa.tuple_(replicas.c.object_id, replicas.c.generation, replicas.c.blob_id)
        with context.catalog.read() as conn:
            rows = conn.execute(query.where(key > sa.tuple_(*after))).mappings().all()
        for r in rows:
            there = r[objects.c.removed_us] is None
            yield KeptGeneration(
                r[objects.c.id],
                r["dataset"],
                r[objects.c.name],
                r[replicas.c.generation],
                r[replicas.c.length],
                r[objects.c.generation],
                r[objects.c.size] if there else None,
                r["tier"],
                r[replicas.c.until_us],
            )
        if len(rows) < PAGE:
            return
        last = rows[-1]
        after = (last[replicas.c.object_id], last[replicas.c.generation], last[replicas.c.blob_id])


def open_generation(context: Context, seen: Seen, generation: int) -> Slice:
    """The content of an older generation that is kept, or of the one that is current.

    Raises UsageError if that generation is not kept, and as `open_current` does.
    """
    p = seen.placement
    if p.exists and generation == p.generation:
        return open_current(context, seen)
    for replica in sorted(p.replicas, key=lambda r: not r.overwritten):  # that first which was current
        if replica.generation == generation and replica.state is ReplicaState.SUPERSEDED:
            return open_replica(context, seen, replica)
    have = sorted({r.generation for r in p.replicas} | ({p.generation} if p.exists else set()))
    raise UsageError(
        f"generation {generation} of {p.dataset}/{p.name} is not kept",
        hint=f"kept: {', '.join(map(str, have)) or 'none'}",
    )


def let_go(
    context: Context, pages: Iterable[list[Seen]], generation: int | None = None, *, dry_run: bool = False
) -> Changed:
    """Somebody confirms that what was overwritten may go: it does when the grace is over. Until then `keep` keeps it.

    `generation`: only that one. `dry_run`: as `change_objects` has it.
    """
    new = partial(_until, context.settings.grace, generation)
    return change_objects(context, pages, "let-go", new, dry_run=dry_run)


def keep(
    context: Context, pages: Iterable[list[Seen]], generation: int | None = None, *, dry_run: bool = False
) -> Changed:
    """Keep what was overwritten for `keep_overwritten` from now on, although it was let go. Otherwise as `let_go`."""
    new = partial(_until, context.settings.keep_overwritten, generation)
    return change_objects(context, pages, "keep", new, dry_run=dry_run)


def _until(after_us: int, generation: int | None, seen: Seen, now_us: int) -> Placement:
    return keep_overwritten(seen.placement, until_us=now_us + after_us, generation=generation)
