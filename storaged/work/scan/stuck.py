"""Originals that their store would not delete: seen before they are moved, told while they wait, looked at again.

A move of such an object would copy it and free nothing. What can be seen without trying (another disk below the root,
a directory that we may not write, a file that is immutable) is noted with its object, and a guard keeps it where it is.
What only the delete itself showed waits as `superseded` or `releasing`; `undo` leads back from both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog.allocated import TAKEN
from storaged.catalog.among import among
from storaged.catalog.items import Item, tier_of
from storaged.catalog.placements import Seen, chunks, load, note_stuck
from storaged.catalog.schema import datasets, objects
from storaged.decide.guards import words
from storaged.errors import PlaceAway, StoragedError, Transient
from storaged.model import RawState
from storaged.work.context import Context

PAGE: Final = 1_000
CANNOT: Final = "cannot be released: "  # before the reason
WAITING: Final = (RawState.SUPERSEDED.value, RawState.RELEASING.value)


@dataclass(frozen=True, slots=True)
class Stuck:
    """Originals of a dataset that could not be deleted for one reason. `waiting`: they were moved all the same, and
    their release waits; else they stay where they are. `example`: the first of them by name."""

    dataset: str
    waiting: bool
    why: str
    example: str
    objects: int
    bytes: int


def look(context: Context, seen: Iterable[Seen], *, ask: bool = False) -> dict[int, str]:
    """Of these objects those whose original key could not be deleted now, by id, and why; that is noted. `ask`: see
    `Store.undeletable`. Of a place that does not answer nothing is said: whoever acts there meets that himself."""
    by_dataset: dict[str, list[Seen]] = {}
    for h in seen:
        by_dataset.setdefault(h.placement.dataset, []).append(h)
    found: dict[int, str] = {}
    for dataset, theirs in by_dataset.items():
        with contextlib.suppress(StoragedError):
            told = context.root(dataset).undeletable([h.placement.name for h in theirs], ask=ask)
            found |= {h.id: told.get(h.placement.name, "") for h in theirs}
    note(context, found)
    return {number: why for number, why in found.items() if why}


def leaving(context: Context, items: Iterable[Item]) -> dict[int, str]:
    """Of the objects of a job that leave their original keys those that cannot, by id, and what the guard says."""
    gone = [i.seen for i in items if tier_of(i.to) and i.seen.placement.raw.state is RawState.CURRENT]
    return {number: words("stuck", stuck=why) for number, why in look(context, gone).items()}


def note(context: Context, why: Mapping[int, str]) -> None:
    """Note why each of these objects could not be deleted at its original key; empty: it could."""
    known: dict[int, str] = {}
    with context.catalog.read() as conn:
        for part in chunks(sorted(why)):
            mine = sa.and_(among(objects.c.id, part), objects.c.stuck.is_not(None))
            query = sa.select(objects.c.id, objects.c.stuck).where(mine)
            known |= {row.id: row.stuck for row in conn.execute(query)}
    new = {number: reason for number, reason in why.items() if known.get(number, "") != reason}
    if new:
        with context.catalog.begin() as conn:
            note_stuck(conn, new)


def lasting(error: StoragedError) -> bool:
    """Whether a delete that failed so would fail again, as far as anybody can tell."""
    return not isinstance(error, (Transient, PlaceAway))


def in_words(error: StoragedError) -> str:
    """What a store said, and what it said helps."""
    return f"{error.message}: {error.hint}" if error.hint else error.message


def look_at_new(context: Context, dataset_id: int, dataset: str, names: Sequence[str]) -> None:
    """Note which of these objects, new to the catalog, could not be deleted. One of each directory is looked at, and
    all of those directories that are no better."""
    root = context.root(dataset)
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name.rpartition("/")[0], name)
    found: Mapping[str, str] = {}
    with contextlib.suppress(StoragedError):
        wrong = {name.rpartition("/")[0] for name in root.undeletable(list(first.values()))}
        found = root.undeletable([n for n in names if n.rpartition("/")[0] in wrong]) if wrong else {}
    if not found:
        return
    with context.catalog.begin() as conn:
        for part in chunks(sorted(found)):
            query = sa.select(objects.c.id, objects.c.name)
            query = query.where(objects.c.dataset_id == dataset_id, objects.c.name.in_(part))
            note_stuck(conn, {row.id: found[row.name] for row in conn.execute(query)})


def look_again(context: Context, dataset_id: int) -> None:
    """Look at all objects of a dataset that are at their original keys and could not be deleted when last looked at."""
    after = 0
    here = sa.and_(objects.c.dataset_id == dataset_id, objects.c.stuck.is_not(None))
    query = sa.select(objects.c.id).where(here, objects.c.raw_state == RawState.CURRENT.value)
    while True:
        with context.catalog.read() as conn:
            ids = list(conn.execute(query.where(objects.c.id > after).order_by(objects.c.id).limit(PAGE)).scalars())
            seen = load(conn, ids)
        look(context, seen.values(), ask=True)
        if len(ids) < PAGE:
            return
        after = ids[-1]


def told(context: Context) -> Iterator[Stuck]:
    """What could not be deleted, by dataset and reason. What has been released since, or written anew, is not."""
    waiting = objects.c.raw_state.in_(WAITING)
    query = (
        sa.select(
            datasets.c.name,
            waiting.label("waiting"),
            objects.c.stuck,
            sa.func.min(objects.c.name).label("example"),
            sa.func.count().label("objects"),
            sa.func.sum(TAKEN).label("bytes"),
        )
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(objects.c.stuck.is_not(None), objects.c.raw_state.in_((*WAITING, RawState.CURRENT.value)))
        .group_by(datasets.c.name, waiting, objects.c.stuck)
        .order_by(datasets.c.name, waiting, objects.c.stuck)
    )
    with context.catalog.read() as conn:
        rows = conn.execute(query).all()
    for row in rows:
        yield Stuck(row.name, bool(row.waiting), row.stuck, row.example, row.objects, int(row.bytes))
