"""What the newest plan of each policy would come to, read from its summary without the planner, which takes long to
load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.schema import plans

PLANS: Final = 100  # the newest ones, in which policies are looked for


@dataclass(frozen=True, slots=True)
class NewestPlan:
    """A policy's part of the newest plan that was saved or applied. Bytes are stored bytes of its actions, `once` is
    USD, `saving` USD per month; None: no price is known."""

    policy: str
    plan: int
    state: str
    made_us: int
    objects: int
    bytes_now: int
    bytes_after: int
    once: Decimal | None
    saving: Decimal | None


def newest_plans(conn: sa.Connection) -> dict[str, NewestPlan]:
    """By policy, in the order of their plans, the newest first."""
    made = sa.select(plans.c.id, plans.c.state, plans.c.made_us, plans.c.summary).where(
        plans.c.state.in_(("saved", "applied"))
    )
    found: dict[str, NewestPlan] = {}
    for row in conn.execute(made.order_by(plans.c.id.desc()).limit(PLANS)):
        for policy in json.loads(row.summary)["policies"]:
            name, actions = policy["name"], policy["actions"]
            if name not in found:
                sizes = (actions["objects"], actions["bytes_now"], actions["bytes_after"])
                found[name] = NewestPlan(name, row.id, row.state, row.made_us, *sizes, *_money(policy.get("money")))
    return found


def _money(told: Mapping[str, Any] | None) -> tuple[Decimal | None, Decimal | None]:
    """USD once, and USD saved per month, of a policy's part of a plan."""
    if told is None:
        return None, None
    once, before, after = (Decimal(told[when]["total"]) for when in ("one_time", "before", "after"))
    return once, before - after
