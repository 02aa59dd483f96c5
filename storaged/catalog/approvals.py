"""Approvals in the catalog: that somebody wants exactly this plan applied, or discarded, and what came of it. Of each
plan the last word stands; only one that was refused may be followed by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from storaged.catalog.inserts import into
from storaged.catalog.schema_approvals import approvals

Verb = Literal["apply", "discard"]
Ended = Literal["done", "refused"]


@dataclass(frozen=True, slots=True)
class Approval:
    """`hash`: of the plan that `approver` saw. `state`: waiting, done or refused, with what came of it in `note`."""

    plan_id: int
    verb: Verb
    hash: str
    approver: str
    asked_us: int
    state: str = "waiting"
    ended_us: int | None = None
    note: str = ""


def ask(conn: sa.Connection, wanted: Approval) -> bool:
    """Note an approval. False: one of this plan waits or is done."""
    values = {name: getattr(wanted, name) for name in Approval.__slots__}
    row = into(approvals, conn.dialect.name).values(values)
    again = row.on_conflict_do_update(
        index_elements=["plan_id"], set_=values, where=approvals.c.state == "refused"
    ).returning(approvals.c.plan_id)
    return conn.execute(again).first() is not None


def of_plan(conn: sa.Connection, plan_id: int) -> Approval | None:
    """The last word on a plan."""
    row = conn.execute(sa.select(approvals).where(approvals.c.plan_id == plan_id)).one_or_none()
    return None if row is None else Approval(**row._mapping)


def waiting(conn: sa.Connection) -> list[Approval]:
    """Those that nothing came of yet, the oldest first."""
    query = sa.select(approvals).where(sa.text("state = 'waiting'"))  # the index's words, that SQLite takes it
    return [Approval(**row._mapping) for row in conn.execute(query.order_by(approvals.c.asked_us))]


def end(conn: sa.Connection, wanted: Approval, state: Ended, note: str, now_us: int) -> bool:
    """Note what came of an approval. False: another process did, or it is another one by now."""
    same = sa.and_(approvals.c.asked_us == wanted.asked_us, approvals.c.approver == wanted.approver)
    mine = sa.and_(approvals.c.plan_id == wanted.plan_id, approvals.c.state == "waiting", same)
    values = {"state": state, "note": note, "ended_us": now_us}
    return bool(conn.execute(sa.update(approvals).where(mine).values(values)).rowcount)
