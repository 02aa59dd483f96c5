"""Apply a saved plan: jobs for exactly its list, at the versions it was made for. What changed since is skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog import ledger
from storaged.catalog.queue import NewItem
from storaged.catalog.schema import datasets, objects, plan_items, plans, tiers
from storaged.catalog.suspensions import suspended
from storaged.decide.guards import AT_THE_QUEUE, Move, held_back
from storaged.decide.policy import LoadedPolicy
from storaged.errors import RefusedByGuard, UsageError
from storaged.model import CodecSpec, JobKind
from storaged.work.context import Context
from storaged.work.money.spending import charge_plan
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches

PAGE: Final = 5_000


def apply_plan(context: Context, plan_id: int, policies: Iterable[LoadedPolicy]) -> Enqueued:
    """Charge a plan and enqueue its actions. Repeating it after a crash enqueues what is missing, charged once.

    `policies` say what may be spent. Raises UsageError for no such plan; RefusedByGuard for one that was applied,
    discarded or never finished, and for one with a policy that is suspended; OverSpending if it does not fit whole.
    """
    context.ready()
    with context.catalog.read() as conn:
        state = conn.execute(sa.select(plans.c.state).where(plans.c.id == plan_id)).scalar()
        if state is None:
            raise UsageError(f"there is no plan {plan_id}", hint="`storagectl plan list` shows them")
        if state != "saved":
            raise RefusedByGuard(f"plan {plan_id} is {state}; only a saved plan can be applied")
        stopped = {s.name: s.reason for s in suspended(conn) if s.kind == "policy"}
        groups = conn.execute(
            sa.select(datasets.c.name, plan_items.c.policy)
            .select_from(plan_items)
            .join(objects, objects.c.id == plan_items.c.object_id)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None))
            .distinct()
            .order_by(datasets.c.name, plan_items.c.policy)
        ).all()
    for name in sorted({policy for _, policy in groups} & set(stopped)):
        raise RefusedByGuard(
            f"policy {name} is suspended: {stopped[name]}", hint=f"`storagectl resume policy:{name}` lets it go on"
        )
    charge_plan(context, plan_id, policies)
    result = Enqueued()
    for dataset, policy in groups:
        items = _items(context, plan_id, dataset, policy, result)
        enqueue_batches(
            context,
            JobKind.REWRITE,
            dataset,
            items,
            reason=f"policy {policy}",
            plan_id=plan_id,
            policy=policy,
            result=result,
        )
    with context.catalog.begin() as conn:
        mine = sa.and_(plans.c.id == plan_id, plans.c.state == "saved")
        if conn.execute(sa.update(plans).where(mine).values(state="applied")).rowcount:
            ledger.settle(conn, plan_id, now_us=context.now_us())
    return result


def _items(context: Context, plan_id: int, dataset: str, policy: str, result: Enqueued) -> Iterator[NewItem]:
    """What of a plan may still be done. What has changed since is left to its job, which says so."""
    after = 0
    query = (
        sa.select(
            plan_items,
            objects.c.name,
            objects.c.version.label("now"),
            tiers.c.name.label("tier"),
            tiers.c.storage_class,
        )
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .join(tiers, tiers.c.id == plan_items.c.tier_id)
        .where(
            plan_items.c.plan_id == plan_id,
            plan_items.c.policy == policy,
            plan_items.c.held.is_(None),
            datasets.c.name == dataset,
        )
        .order_by(plan_items.c.object_id)
        .limit(PAGE)
    )
    while True:
        with context.catalog.read() as conn:
            rows = conn.execute(query.where(plan_items.c.object_id > after)).all()
            moves = {r.object_id: Move(r.tier_id, r.in_place, r.apart) for r in rows if r.version == r.now}
            kept = held_back(conn, moves, context.guards_now(), asked=AT_THE_QUEUE)
        result.left_out += [(f"{dataset}/{r.name}", kept[r.object_id]) for r in rows if r.object_id in kept]
        for r in rows:
            if r.object_id in kept:
                continue
            yield NewItem(
                r.object_id,
                r.version,
                r.size,
                None if r.in_place else r.tier,
                CodecSpec(r.codec, r.level),
                r.grace_us,
                frozenset(json.loads(r.allow_loss)),
                f"{dataset}/{r.name}",
                r.storage_class if r.in_place else None,
                r.purge,
                r.after_bytes,
                r.apart,
            )
        if len(rows) < PAGE:
            return
        after = rows[-1].object_id
