"""/plans: what waits for somebody to apply it, row by row."""

from __future__ import annotations

import json
from typing import Final

import sqlalchemy as sa

from storaged.catalog import approvals
from storaged.catalog.approvals import Approval
from storaged.catalog.schema import datasets, objects, plan_items, plans, tiers
from storaged.daemon.pages.view import LOOKED_AT, ROWS, Query, View, WebPage, number
from storaged.decide.summary import Summary, money_words
from storaged.work.plan.make import Plan, load_plan
from storaged.work.rewrite.approve import followed
from storaged.work.show.done import of_plan

WAITING: Final = 20  # plans on the page


def planned(view: View, query: Query) -> WebPage:
    chosen = number(query, "plan")
    return _waiting(view) if chosen is None else _rows(view, query, chosen)


def _waiting(view: View) -> WebPage:
    saved = sa.select(plans).where(plans.c.state == "saved").order_by(plans.c.id.desc()).limit(WAITING)
    with view.context.catalog.read() as conn:
        rows = conn.execute(saved).all()
        newer = followed(conn, {row.id: json.loads(row.policies) for row in rows})
    found = [(row, Summary.from_json(row.summary)) for row in rows]
    waiting = [(row, summary, newer.get(row.id)) for row, summary in found if summary.actions]
    values = {"plans": waiting, "money_words": money_words, "approves": view.approves}
    return WebPage("plans.html", "Plans", values)


def _rows(view: View, query: Query, chosen: int) -> WebPage:
    """The objects of a plan, from behind the id `after` on, of at most LOOKED_AT rows: where few of these are held
    back, a page may have fewer, or none, and still a next one."""
    plan, after, held = load_plan(view.context.catalog, chosen), number(query, "after") or 0, "held" in query
    columns = ("object_id", "policy", "stored_bytes", "after_bytes", "codec", "reason", "held")
    mine = sa.and_(plan_items.c.plan_id == chosen, plan_items.c.object_id > after)
    last = sa.select(plan_items.c.object_id).where(mine).order_by(plan_items.c.object_id).limit(1).offset(LOOKED_AT - 1)
    meant = (
        sa.select(
            *(plan_items.c[name] for name in columns),
            datasets.c.name.label("dataset"),
            objects.c.name,
            tiers.c.name.label("tier"),
        )
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .join(tiers, tiers.c.id == plan_items.c.tier_id)
        .where(mine, plan_items.c.held.is_not(None) if held else plan_items.c.held.is_(None))
        .order_by(plan_items.c.object_id)
        .limit(ROWS)
    )
    with view.context.catalog.read() as conn:
        said = approvals.of_plan(conn, chosen)
        newer = followed(conn, {plan.id: plan.policies}).get(plan.id)
        became = of_plan(conn, chosen)
        end = conn.execute(last).scalar()
        rows = conn.execute(meant if end is None else meant.where(plan_items.c.object_id <= end)).all()
    following = rows[-1].object_id if len(rows) == ROWS else end
    values = {"plan": plan, "rows": rows, "held": held, "next": following, "lines": list(plan.summary.lines())}
    may_be = may_be_decided(plan, said, newer)
    values |= {"said": said, "newer": newer, "became": became, "approves": view.approves and may_be}
    return WebPage("plan.html", f"Plan {chosen}", values)


def may_be_decided(plan: Plan, said: Approval | None, newer: int | None) -> bool:
    """Whether somebody could still say what becomes of a plan. `newer`: the plan that followed it."""
    return plan.state == "saved" and newer is None and (said is None or said.state == "refused")
