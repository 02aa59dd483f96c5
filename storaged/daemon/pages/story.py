"""/object: one object's whole story: where it is, what each policy makes of it, and what was done to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Seen
from storaged.catalog.schema import audit
from storaged.daemon.pages.view import ROWS, Query, View, WebPage
from storaged.errors import UsageError
from storaged.model import RawState
from storaged.work import targets
from storaged.work.location import Location, of_replica, original
from storaged.work.plan.explain import explain


def story(view: View, query: Query) -> WebPage:
    target, context = query.get("name", ""), view.context
    if not target:
        return WebPage("object.html", "Object", {"seen": None, "target": ""})
    dataset, name = targets.split(context, target)
    if name is None:
        raise UsageError(f"{target!r} is a dataset", hint=f"name one object of it: {dataset}/OBJECT")
    done = (
        sa.select(audit.c.at_us, audit.c.kind, audit.c.actor, audit.c.job_id, audit.c.plan_id, audit.c.detail)
        .where(audit.c.object == name, audit.c.dataset == dataset)
        .order_by(audit.c.id.desc())
        .limit(ROWS)
    )
    with context.catalog.read() as conn:
        seen = placements.find(conn, dataset, name)
        history = conn.execute(done).all()
    if seen is None:
        raise UsageError(f"the catalog has no object {name!r} in {dataset!r}", hint="names are relative to the root")
    now_us, policies = context.now_us(), view.policies
    told = explain(context.catalog, context.settings, policies, dataset, name, now_us, money=False)
    values = {
        "target": target,
        "seen": seen,
        "places": list(_places(seen)),
        "told": told,
        "history": [(row, _detail(row.detail)) for row in history],
    }
    return WebPage("object.html", target, values)


def _places(seen: Seen) -> Iterator[dict[str, Any]]:
    p = seen.placement
    if p.raw.state not in (RawState.RELEASED, RawState.ABSENT):
        yield _place(original(p), p.raw.state.value, p.raw.until_us)
    for replica in p.replicas:
        yield _place(of_replica(seen, replica), replica.state.value, replica.until_us)


def _place(at: Location, state: str, until_us: int | None) -> dict[str, Any]:
    where = f"{at.place.name}, {'original' if at.blob is None else at.blob.codec}"
    return {"state": state, "where": where, "key": at.key, "bytes": at.bytes, "until_us": until_us}


def _detail(text: str) -> str:
    """What an entry of the audit says besides, in words."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in json.loads(text).items() if value)
