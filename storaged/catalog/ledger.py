"""The ledger: money is charged before it may be spent, in the transaction that looks whether it fits.

A plan's *part* (one policy's objects) is charged whole when it is applied. What never comes into the queue, or is not
tried, is paid back; a further try is charged again. So at any time the charges of a part that is settled add up to
`spend × charged` over its items, and when its jobs are over `charged` is the number of tries that were made.

Limits hold across processes: whoever charges takes `serialised` first. On SQLite a write transaction is alone anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.placements import chunks
from storaged.catalog.schema import blobs, job_items, objects, plan_items, plans, replicas
from storaged.catalog.schema_money import charges, ledger, ledger_items
from storaged.clock import to_datetime
from storaged.model import ItemState, RawState, ReplicaState

LARGEST: Final = 2**63 - 1  # picodollars that a column holds: nine million dollars
_LOCK_KEY: Final = 0x4C45_4447_4552  # "LEDGER": any constant, for Postgres' advisory lock
_MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class Needed:
    """What a part of a plan comes to: its actions, what they are expected to cost once (picodollars), and how many of
    them have no prices."""

    policy: str
    objects: int
    amount: int
    unpriced: int


def month_of(us: int) -> str:
    """The UTC calendar month of an instant, such as 2026-11."""
    return to_datetime(us).strftime("%Y-%m")


def serialised(conn: sa.Connection) -> None:
    """From here to its end, no other transaction of this catalog charges anything."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))


def spent(conn: sa.Connection, month: str, policy: str | None = None) -> int:
    """What is charged to a month for a policy (None: for all), less what was paid back; picodollars."""
    mine = charges.c.month == month
    return total(conn, charges.c.amount, mine if policy is None else sa.and_(mine, charges.c.policy == policy))


def spent_by_policy(conn: sa.Connection, month: str) -> dict[str, int]:
    """The same for each policy that anything was charged for in a month, by its name."""
    names = sa.select(charges.c.policy).where(charges.c.month == month).distinct().order_by(charges.c.policy)
    return {name: spent(conn, month, name) for name in conn.execute(names).scalars().all()}


def total(conn: sa.Connection, column: sa.ColumnElement[Any], where: sa.ColumnElement[bool]) -> int:
    """The exact sum of whole numbers: in two halves, because SQLite's own sum ends at 2**63."""
    halves = sa.select(sa.func.sum(column // _MILLION), sa.func.sum(column % _MILLION)).where(where)
    high, low = conn.execute(halves).one()
    return int(high or 0) * _MILLION + int(low or 0)


def parts_of(conn: sa.Connection, plan_id: int) -> list[Needed]:
    """What each policy's part of a plan comes to, by its items."""
    acting = sa.and_(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None))
    counted = sa.select(plan_items.c.policy, sa.func.count(), sa.func.count(plan_items.c.spend)).where(acting)
    return [
        Needed(policy, n, total(conn, plan_items.c.spend, sa.and_(acting, plan_items.c.policy == policy)), n - priced)
        for policy, n, priced in conn.execute(counted.group_by(plan_items.c.policy).order_by(plan_items.c.policy)).all()
    ]


def known(conn: sa.Connection, plan_id: int) -> set[str]:
    """The policies whose parts of a plan are charged already."""
    return set(conn.execute(sa.select(ledger.c.policy).where(ledger.c.plan_id == plan_id)).scalars())


def open_part(
    conn: sa.Connection,
    plan_id: int,
    needed: Needed,
    *,
    expected: str | None,
    monthly_limit: int | None,
    actor: str,
    now_us: int,
) -> None:
    """Enter a part that is applied, and charge all of it. Whether it fits was looked at in this transaction."""
    month = month_of(now_us)
    part = {
        "plan_id": plan_id,
        "policy": needed.policy,
        "applied_us": now_us,
        "month": month,
        "actor": actor,
        "objects": needed.objects,
        "expected": expected,
        "monthly_limit": monthly_limit,
    }
    conn.execute(sa.insert(ledger).values(part))
    _charge(conn, "apply", needed.amount, month, plan_id=plan_id, policy=needed.policy, now_us=now_us)


def taken(conn: sa.Connection, plan_id: int, ids: Iterable[int]) -> set[int] | None:
    """Which of these objects came into the queue from this plan before; None: it is not to be applied any more.

    The plan stays to be applied until the transaction ends.
    """
    state = conn.execute(sa.select(plans.c.state).where(plans.c.id == plan_id).with_for_update(read=True)).scalar()
    if state != "saved":
        return None
    mine = ledger_items.c.plan_id == plan_id
    found = (
        conn.execute(sa.select(ledger_items.c.object_id).where(mine, among(ledger_items.c.object_id, part))).scalars()
        for part in chunks(list(ids))
    )
    return {object_id for part in found for object_id in part}


def enter(conn: sa.Connection, plan_id: int, job_id: int, ids: Sequence[int]) -> None:
    """Objects came into the queue from a plan: from where they are to move, and that one try of each is charged."""
    at_root = objects.c.raw_state == RawState.CURRENT.value
    current = sa.and_(replicas.c.object_id == objects.c.id, replicas.c.state == ReplicaState.CURRENT.value)
    pack = sa.and_(blobs.c.id == replicas.c.blob_id, blobs.c.packed_bytes > 0)
    values: dict[str, sa.ColumnElement[Any]] = {
        "plan_id": plan_items.c.plan_id,
        "object_id": plan_items.c.object_id,
        "policy": plan_items.c.policy,
        "job_id": sa.literal(job_id),
        "dataset_id": objects.c.dataset_id,
        "generation": objects.c.generation,
        "source_tier_id": objects.c.tier_id,
        "source_class": sa.case((at_root, objects.c.raw_class), else_=""),
        "tier_id": plan_items.c.tier_id,
        "storage_class": job_items.c.storage_class,
        "before_bytes": sa.case((blobs.c.id.is_(None), plan_items.c.stored_bytes), else_=objects.c.stored_bytes),
        "source_blob": blobs.c.id,
        "source_bytes": blobs.c.size,
        "size": objects.c.size,
        "spend": plan_items.c.spend,
        "charged": sa.literal(1),
        "tries": sa.literal(0),
        "month": ledger.c.month,
    }
    query = (
        sa.select(*values.values())
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(ledger, sa.and_(ledger.c.plan_id == plan_items.c.plan_id, ledger.c.policy == plan_items.c.policy))
        .join(job_items, sa.and_(job_items.c.job_id == job_id, job_items.c.object_id == plan_items.c.object_id))
        .outerjoin(replicas, current)
        .outerjoin(blobs, pack)
        .where(plan_items.c.plan_id == plan_id, objects.c.tier_id.is_not(None))
    )
    for part in chunks(ids):
        conn.execute(sa.insert(ledger_items).from_select([*values], query.where(among(plan_items.c.object_id, part))))


def settle(conn: sa.Connection, plan_id: int, *, now_us: int) -> None:
    """A plan's jobs are all in the queue, or will never be: pay back what was charged for objects without a job."""
    mine = sa.and_(ledger.c.plan_id == plan_id, ledger.c.settled_us.is_(None))
    for part in conn.execute(sa.select(ledger.c.policy, ledger.c.month).where(mine).with_for_update()).all():
        whole = sa.and_(charges.c.plan_id == plan_id, charges.c.policy == part.policy, charges.c.kind == "apply")
        queued = sa.and_(ledger_items.c.plan_id == plan_id, ledger_items.c.policy == part.policy)
        left = total(conn, charges.c.amount, whole) - total(conn, ledger_items.c.spend, queued)
        _charge(conn, "refund", -left, part.month, plan_id=plan_id, policy=part.policy, now_us=now_us)
    conn.execute(sa.update(ledger).where(mine).values(settled_us=now_us))


def settle_abandoned(conn: sa.Connection, *, now_us: int) -> None:
    """Pay back what was charged for plans that were discarded or forgotten before all their jobs were in the queue."""
    gone = (
        sa.select(ledger.c.plan_id)
        .outerjoin(plans, plans.c.id == ledger.c.plan_id)
        .where(ledger.c.settled_us.is_(None), sa.or_(plans.c.state.is_(None), plans.c.state != "saved"))
        .distinct()
    )
    for plan_id in conn.execute(gone).scalars().all():
        settle(conn, plan_id, now_us=now_us)


def unfinished(conn: sa.Connection, policy: str, actor: str) -> int | None:
    """The oldest plan with a part of this policy that somebody whose name starts so began to apply, and did not end."""
    query = (
        sa.select(ledger.c.plan_id)
        .join(plans, plans.c.id == ledger.c.plan_id)
        .where(ledger.c.policy == policy, ledger.c.settled_us.is_(None), plans.c.state == "saved")
        .where(ledger.c.actor.startswith(actor, autoescape=True))
        .order_by(ledger.c.plan_id)
        .limit(1)
    )
    return conn.execute(query).scalar()


def needed_again(conn: sa.Connection, job_id: int) -> int:
    """What this try of a job costs beyond what is charged for it: items that were tried before; picodollars."""
    return total(conn, ledger_items.c.spend, sa.and_(_pending(job_id), ledger_items.c.charged == ledger_items.c.tries))


def count_try(conn: sa.Connection, job_id: int, plan_id: int, policy: str, again: int, *, now_us: int) -> None:
    """A job is about to be tried: charge `again` for what was tried before. Whether it fits was looked at."""
    month = month_of(now_us)
    _charge(conn, "try", again, month, plan_id=plan_id, policy=policy, job_id=job_id, now_us=now_us)
    uncharged = sa.and_(_pending(job_id), ledger_items.c.charged == ledger_items.c.tries)
    conn.execute(sa.update(ledger_items).where(uncharged).values(charged=ledger_items.c.charged + 1, month=month))
    conn.execute(sa.update(ledger_items).where(_pending(job_id)).values(tries=ledger_items.c.tries + 1))


def tried(
    conn: sa.Connection, plan_id: int, job_id: int, *, done: Sequence[int], untried: Sequence[int], now_us: int
) -> None:
    """What became of a try at a plan's job: of these objects it was no try (skipped, or waiting until they can be
    read). What is paid back for it: see `pay_back`."""
    # By its plan each is looked up; by its job alone all of that are gone through, and for each page of a pack again.
    mine = sa.and_(ledger_items.c.plan_id == plan_id, ledger_items.c.job_id == job_id)
    for part in chunks(untried):
        query = sa.update(ledger_items).where(mine, among(ledger_items.c.object_id, part), ledger_items.c.tries > 0)
        conn.execute(query.values(tries=ledger_items.c.tries - 1))
    of = sa.and_(job_items.c.job_id == job_id, job_items.c.object_id == ledger_items.c.object_id)
    made = sa.case((job_items.c.storage_class.is_(None), job_items.c.attempt_id))
    values = {
        "done_us": now_us,
        "blob_id": sa.select(made).where(of).scalar_subquery(),
        "after_bytes": sa.select(job_items.c.after_bytes).where(of).scalar_subquery(),
    }
    for part in chunks(done):
        conn.execute(sa.update(ledger_items).where(mine, among(ledger_items.c.object_id, part)).values(values))


def no_try(conn: sa.Connection, job_id: int) -> None:
    """What a job was claimed for was not tried: it waits, its charge is for the next time."""
    counted = sa.and_(_pending(job_id), ledger_items.c.tries > 0, ledger_items.c.tries == ledger_items.c.charged)
    conn.execute(sa.update(ledger_items).where(counted).values(tries=ledger_items.c.tries - 1))


def pay_back(conn: sa.Connection, job_id: int, *, now_us: int) -> None:
    """What is charged for tries that will not be made: of items that are over. What waits keeps its charge."""
    over = sa.and_(
        ledger_items.c.job_id == job_id,
        ledger_items.c.charged > ledger_items.c.tries,
        ~_of_item(ItemState.PENDING),
    )
    months = sa.select(ledger_items.c.plan_id, ledger_items.c.policy, ledger_items.c.month).where(over).distinct()
    unmade = ledger_items.c.spend * (ledger_items.c.charged - ledger_items.c.tries)
    for plan_id, policy, month in conn.execute(months).all():
        amount = total(conn, unmade, sa.and_(over, ledger_items.c.month == month))
        _charge(conn, "refund", -amount, month, plan_id=plan_id, policy=policy, job_id=job_id, now_us=now_us)
    conn.execute(sa.update(ledger_items).where(over).values(charged=ledger_items.c.tries))


def _pending(job_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(ledger_items.c.job_id == job_id, _of_item(ItemState.PENDING))


def _of_item(state: ItemState) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        job_items.c.job_id == ledger_items.c.job_id,
        job_items.c.object_id == ledger_items.c.object_id,
        job_items.c.state == state.value,
    )


def _charge(
    conn: sa.Connection,
    kind: str,
    amount: int,
    month: str,
    *,
    plan_id: int,
    policy: str,
    now_us: int,
    job_id: int | None = None,
) -> None:
    if amount == 0:
        return
    row = {"plan_id": plan_id, "policy": policy, "job_id": job_id, "kind": kind, "amount": amount}
    conn.execute(sa.insert(charges).values(at_us=now_us, month=month, **row))
