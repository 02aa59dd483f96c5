"""Suspend and resume, and say so in the audit. What is suspended stands in storaged.catalog.suspensions."""

from __future__ import annotations

import json

import sqlalchemy as sa

from storaged.catalog import suspensions
from storaged.catalog.schema import audit
from storaged.catalog.suspensions import Kind, Suspension
from storaged.work.context import Context


def suspend(
    context: Context, kind: Kind, name: str, reason: str, *, retry_us: int | None = None, writes: bool = False
) -> Suspension:
    """Stop all that touches a policy, tier or dataset. `retry_us`: the instant at which it is tried again; None: a
    person resumes it. `writes`: of a tier, only what would be written there."""
    now = context.now_us()
    what = Suspension(kind, name, reason, now, context.actor, retry_us, writes)
    with context.catalog.begin() as conn:
        if suspensions.suspend(conn, what):
            _note(context, conn, "suspend", kind, name, reason)
    return what


def resume(context: Context, kind: Kind, name: str, reason: str = "", *, tried: bool = False) -> bool:
    """Let what was suspended go on. Whether it was suspended. `tried`: it was found well, which ends no suspension that
    waits for a person."""
    with context.catalog.begin() as conn:
        found = suspensions.resume(conn, kind, name, tried=tried)
        if found:
            _note(context, conn, "resume", kind, name, reason)
    return found


def resumed_us(context: Context, kind: Kind, name: str) -> int:
    """When it was last resumed; 0: never."""
    mine = sa.and_(audit.c.kind == "resume", audit.c.object == f"{kind}:{name}")
    with context.catalog.read() as conn:
        return int(conn.execute(sa.select(sa.func.max(audit.c.at_us)).where(mine)).scalar() or 0)


def _note(context: Context, conn: sa.Connection, what: str, kind: str, name: str, reason: str) -> None:
    row = {"at_us": context.now_us(), "kind": what, "object": f"{kind}:{name}", "actor": context.actor}
    conn.execute(sa.insert(audit).values(row | {"detail": json.dumps({"reason": reason} if reason else {})}))
