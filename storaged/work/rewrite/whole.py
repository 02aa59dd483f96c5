"""Collections that are moved whole: all objects of a job are one, and are moved together or left as they are.

A part that was changed, held, removed or added since the plan drops all of it, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.catalog.schema import datasets, job_items, objects
from storaged.catalog.schema_collections import collections
from storaged.decide.kinds import shown
from storaged.errors import StoragedError
from storaged.model import ItemState
from storaged.work.rewrite.folded import Folded, outcomes

NONE_ANY_MORE: Final = "it is no collection any more, or a part of another one"


class NotWhole(StoragedError):
    """Takes a swap back of which a part is not as it was planned."""


def until_of(conn: sa.Connection, claimed: ClaimedJob) -> str | None:
    """Before which key a job's collection ends; None: it is none any more."""
    c = collections.c
    query = sa.select(c.until).join(datasets, datasets.c.id == c.dataset_id)
    return conn.execute(query.where(datasets.c.name == claimed.dataset, c.prefix == claimed.whole)).scalar()


def membership(conn: sa.Connection, claimed: ClaimedJob) -> str:
    """Why a job's objects are not all of its collection, as the catalog has it; empty: they are."""
    o, until = objects.c, until_of(conn, claimed)
    if until is None:
        return NONE_ANY_MORE
    there = (
        sa.select(sa.func.count())
        .join(datasets, datasets.c.id == o.dataset_id)
        .where(datasets.c.name == claimed.dataset, o.name >= claimed.whole, o.name < until, o.removed_us.is_(None))
    )
    asked = sa.select(sa.func.count()).where(job_items.c.job_id == claimed.id)
    now, then = conn.execute(there).scalar_one(), conn.execute(asked).scalar_one()
    if now == then:
        return ""
    return f"it has {now:,} object{'' if now == 1 else 's'} now, and had {then:,} when that was planned"


def together(claimed: ClaimedJob, everyone: Iterable[tuple[int, str]], met: Folded[ItemOutcome]) -> Folded[ItemOutcome]:
    """What becomes of all objects of a job (by id and name), of which something was met that keeps some from being
    moved. What may pass is waited for by all of them; else each is left as it is, whatever was met of it."""
    final = waits = None
    latest = 0
    for o in met:
        if o.again or o.not_before_us is not None:
            waits, latest = waits or o, max(latest, o.not_before_us or 0)
        elif o.state is not ItemState.DONE:
            final = final or o
    blamed = final or waits
    told = {o.object_id: o for o in met}
    if blamed is None:
        return met
    note = f"{shown(str(claimed.whole))} moves whole or not at all: {blamed.name}: {blamed.note}"
    found = outcomes()
    for number, name in everyone:
        o = told.get(number) or ItemOutcome(number, name, ItemState.SKIPPED, note)
        if final:
            gone = o.state is ItemState.PENDING or (o.again and o is not blamed)
            found.add(o._replace(state=ItemState.SKIPPED if gone else o.state, again=False, not_before_us=None))
        elif blamed.again:
            found.add(o if o.again else o._replace(again=True, not_before_us=None))
        else:
            found.add(o._replace(state=ItemState.PENDING, not_before_us=latest))
    return found


def require_moved(found: Iterable[ItemOutcome]) -> None:
    """Raises NotWhole where one of these parts, which were all staged, is not moved."""
    for o in found:
        if o.state is not ItemState.DONE:
            raise NotWhole(f"{o.name}: {o.note}")


def require_whole(conn: sa.Connection, claimed: ClaimedJob, moved: int) -> None:
    """Raises NotWhole unless, in this very transaction, all of a job's objects are moved and are all of its collection.
    `moved`: how many were."""
    if moved < claimed.objects:
        raise NotWhole("a part of it was not written")
    if why := membership(conn, claimed):
        raise NotWhole(why)


def left_as_it_is(claimed: ClaimedJob, everyone: Iterable[tuple[int, str]], why: str) -> Iterator[ItemOutcome]:
    """All of it is left as it is."""
    note = f"{shown(str(claimed.whole))} moves whole or not at all: {why}"
    return (ItemOutcome(number, name, ItemState.SKIPPED, note) for number, name in everyone)
