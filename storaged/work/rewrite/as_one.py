"""What was moved whole goes back whole: for one object of it, all that the same job moved."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.placements import Seen, load
from storaged.catalog.schema import datasets, job_items, jobs
from storaged.decide.kinds import shown
from storaged.model import ItemState
from storaged.work.context import Context

PAGE: Final = 2_000  # objects that are read together

Pages = Iterable[list[Seen]]


def as_one(context: Context, pages: Iterable[list[Seen]], whole: list[str]) -> Iterator[Pages]:
    """These objects, each page by itself; and behind them, as one, with those that were moved whole all of it, as far
    as it is as that move left it. `whole` is told of each of these."""
    moved: dict[int, None] = {}
    for page in pages:
        of_jobs = _moved_whole(context, page)
        moved |= dict.fromkeys(of_jobs.values())
        if others := [h for h in page if h.id not in of_jobs]:
            yield [others]
    for job_id in moved:
        yield _all_of(context, job_id, whole)


def _all_of(context: Context, job_id: int, whole: list[str]) -> Iterator[list[Seen]]:
    """What a job moved, as far as it is as that left it."""
    done = (job_items.c.job_id == job_id, job_items.c.state == ItemState.DONE.value)
    with context.catalog.read() as conn:
        query = sa.select(job_items.c.object_id).where(*done).order_by(job_items.c.object_id)
        ids = array("q", conn.execute(query).scalars())
    count = 0
    for part in (ids[at : at + PAGE] for at in range(0, len(ids), PAGE)):
        with context.catalog.read() as conn:
            seen = load(conn, part)
        of_it = [seen[number] for number in _moved_whole(context, seen.values(), job_id)]
        count += len(of_it)
        yield of_it
    whole.append(_words(context, job_id, count))


def _moved_whole(context: Context, page: Iterable[Seen], only: int | None = None) -> dict[int, int]:
    """Of these objects (by id) those that are where a job left them that moved all of a collection, and that job."""
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
    return {
        r.object_id: r.job_id
        for r in rows
        if (r.storage_class is None and blobs[r.object_id] == r.attempt_id)
        or (r.storage_class is not None and classes.get(r.object_id) == r.storage_class)
    }


def _words(context: Context, job_id: int, count: int) -> str:
    query = (sa.select(datasets.c.name, jobs.c.whole).join(datasets, datasets.c.id == jobs.c.dataset_id)).where(
        jobs.c.id == job_id
    )
    with context.catalog.read() as conn:
        dataset, prefix = conn.execute(query).one()
    number = f"{count:,} object{'' if count == 1 else 's'}"
    return f"{dataset}/{shown(prefix)} was moved whole, so undo is of all of it: {number}"
