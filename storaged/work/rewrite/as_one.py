"""What was moved whole goes back whole: for one object of it, all that the same job moved.

A part that its user wrote anew where its original was cannot go back, and keeps nothing: what its user wrote is
recorded as by a scan, stays, and is told. Whatever else keeps a part keeps all of it, before anything of it is touched.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.placements import Seen, load
from storaged.catalog.schema import datasets, job_items, jobs
from storaged.decide.kinds import shown
from storaged.model import ItemState, Placement, RawState
from storaged.work import places
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.scan.suspects import Scanned, Suspects

PAGE: Final = 2_000  # objects that are read together
ANEW: Final = "its user wrote it anew at its original key: that stays"

Pages = Iterable[list[Seen]]


@dataclass(slots=True)
class Unit:
    """Objects that are changed in one transaction. `words`: what was moved whole, and that all of it goes back; empty:
    each of them may be left. `stays` has, once `pages` were gone through, what that move left otherwise than it is now,
    and how it is."""

    pages: Pages
    job_id: int = 0
    words: str = ""
    stays: list[tuple[str, str]] = field(default_factory=list)


def as_one(context: Context, pages: Iterable[list[Seen]]) -> Iterator[Unit]:
    """These objects, each page by itself; and behind them, as one, with those that were moved whole all of it."""
    moved: dict[int, None] = {}
    told: set[int] = set()
    for page in pages:
        of_jobs, once = _moved_whole(context, page)
        moved |= dict.fromkeys(of_jobs.values())
        if others := [h for h in page if h.id not in of_jobs]:
            told |= {h.id for h in others if h.id in once}
            yield Unit([others])
    for job_id in moved:
        yield all_of(context, job_id, told)


def all_of(context: Context, job_id: int, told: Collection[int] = ()) -> Unit:
    """What a job moved whole. Of those in `told` somebody else tells how they are now."""
    done = (job_items.c.job_id == job_id, job_items.c.state == ItemState.DONE.value)
    with context.catalog.read() as conn:
        query = sa.select(job_items.c.object_id).where(*done).order_by(job_items.c.object_id)
        ids = array("q", conn.execute(query).scalars())
    unit = Unit((), job_id, _words(context, job_id, len(ids)))

    def parts() -> Iterator[list[Seen]]:
        for part in (ids[at : at + PAGE] for at in range(0, len(ids), PAGE)):
            with context.catalog.read() as conn:
                seen = load(conn, part)
            of_it, _ = _moved_whole(context, seen.values(), job_id)
            unit.stays += [
                (h.path, _as_it_is(h.placement)) for i, h in seen.items() if i not in of_it and i not in told
            ]
            yield [seen[number] for number in of_it]

    unit.pages = parts()
    return unit


def settled(context: Context, unit: Unit, ids: Sequence[int]) -> Iterator[list[Seen]]:
    """Record what users did to these parts where their originals were, as a scan does. Yields those that are as the
    move left them all the same; of the others `unit.stays` tells."""
    for part in (ids[at : at + PAGE] for at in range(0, len(ids), PAGE)):
        with context.catalog.read() as conn:
            [dataset] = {h.placement.dataset for h in load(conn, part).values()}
        here = Place("dataset", dataset)
        if here not in places.wrong(context, [here]):  # else what is there is somebody else's
            Suspects(context, dataset, Scanned(dataset)).look_again(part)
        with context.catalog.read() as conn:
            seen = load(conn, part)
        of_it, _ = _moved_whole(context, seen.values(), unit.job_id)
        unit.stays += [(h.path, _as_it_is(h.placement)) for i, h in seen.items() if i not in of_it]
        yield [seen[number] for number in of_it]


def _as_it_is(placement: Placement) -> str:
    """How a part is that is not as a move left it."""
    if not placement.exists:
        return "it was deleted since it was moved, and stays so"
    if placement.raw.state is RawState.CURRENT:
        return "it is at its original key already, as it was written or brought back since it was moved"
    return "it was moved again by itself, and stays there"


def _moved_whole(
    context: Context, page: Iterable[Seen], only: int | None = None
) -> tuple[dict[int, int], frozenset[int]]:
    """Of these objects (by id) those that are where a job left them that moved all of a collection, and that job; and
    those that any such job moved."""
    blobs = {h.id: h.placement.current.blob if h.placement.current else None for h in page}
    classes = {h.id: h.placement.raw.storage_class for h in page if h.placement.current is None}
    query = (
        sa.select(job_items.c.object_id, job_items.c.job_id, job_items.c.attempt_id, job_items.c.storage_class)
        .join(jobs, jobs.c.id == job_items.c.job_id)
        .where(jobs.c.whole.is_not(None), job_items.c.state == ItemState.DONE.value)
        .where(among(job_items.c.object_id, list(blobs)), sa.true() if only is None else jobs.c.id == only)
        .order_by(job_items.c.object_id, job_items.c.job_id)
    )
    with context.catalog.read() as conn:
        rows = conn.execute(query).all()
    left_so = {
        r.object_id: r.job_id
        for r in rows
        if (r.storage_class is None and blobs[r.object_id] == r.attempt_id)
        or (r.storage_class is not None and classes.get(r.object_id) == r.storage_class)
    }
    return left_so, frozenset(r.object_id for r in rows)


def _words(context: Context, job_id: int, count: int) -> str:
    query = (sa.select(datasets.c.name, jobs.c.whole).join(datasets, datasets.c.id == jobs.c.dataset_id)).where(
        jobs.c.id == job_id
    )
    with context.catalog.read() as conn:
        dataset, prefix = conn.execute(query).one()
    number = f"{count:,} object{'' if count == 1 else 's'}"
    return f"{dataset}/{shown(prefix)} was moved whole, so undo is of all of it: {number}"
