"""/plans: what waits for somebody to apply it, row by row."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import datasets, objects, plan_items, plans, tiers
from storaged.daemon.pages.view import LOOKED_AT, ROWS, Page, Query, View, number
from storaged.decide.summary import Summary, money_words
from storaged.work.plan.make import load_plan

WAITING: Final = 20  # plans on the page


def planned(view: View, query: Query) -> Page:
    chosen = number(query, "plan")
    return _waiting(view) if chosen is None else _rows(view, query, chosen)


def _waiting(view: View) -> Page:
    saved = sa.select(plans).where(plans.c.state == "saved").order_by(plans.c.id.desc()).limit(WAITING)
    with view.context.catalog.read() as conn:
        rows = conn.execute(saved).all()
    found = [(row, Summary.from_json(row.summary)) for row in rows]
    return Page("plans.html", "Plans", {"plans": [p for p in found if p[1].actions], "money_words": money_words})


def _rows(view: View, query: Query, chosen: int) -> Page:
    """The objects of a plan, from behind the id `after` on, of at most LOOKED_AT rows: where few of these are held
    back, a page may have fewer, or none, and still a next one."""
    plan, after, held = load_plan(view.context.catalog, chosen), number(query, "after") or 0, "held" in query
    columns = ("object_id", "policy", "stored_bytes", "after_bytes", "codec", "reason", "held")
    near = (
        sa.select(plan_items)
        .where(plan_items.c.plan_id == chosen, plan_items.c.object_id > after)
        .order_by(plan_items.c.object_id)
        .limit(LOOKED_AT)
    ).subquery()
    mine = (
        sa.select(
            *(near.c[name] for name in columns),
            datasets.c.name.label("dataset"),
            objects.c.name,
            tiers.c.name.label("tier"),
        )
        .join(objects, objects.c.id == near.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .join(tiers, tiers.c.id == near.c.tier_id)
        .where(near.c.held.is_not(None) if held else near.c.held.is_(None))
        .order_by(near.c.object_id)
        .limit(ROWS)
    )
    with view.context.catalog.read() as conn:
        rows = conn.execute(mine).all()
        count, last = conn.execute(sa.select(sa.func.count(), sa.func.max(near.c.object_id)).select_from(near)).one()
    following = rows[-1].object_id if len(rows) == ROWS else last if count == LOOKED_AT else None
    values = {"plan": plan, "rows": rows, "held": held, "next": following, "lines": list(plan.summary.lines())}
    return Page("plan.html", f"Plan {chosen}", values)
