"""Apply a saved plan: jobs for exactly its list, at the versions it was made for. What changed since is skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from storaged.catalog import control
from storaged.catalog.queue import Claimed, NewItem
from storaged.catalog.schema import datasets, job_items, objects, plan_items, plans, tiers
from storaged.catalog.schema import jobs as job_table
from storaged.catalog.schema import policies as policy_texts
from storaged.decide.policy import LoadedPolicy
from storaged.errors import RefusedByGuard, UsageError
from storaged.model import CodecSpec, ItemState, JobKind, JobState
from storaged.work.context import Context
from storaged.work.plan import Plan
from storaged.work.returns import Enqueued, enqueue_batches

PAGE: Final = 5_000


def apply_plan(context: Context, plan_id: int, policies: Iterable[LoadedPolicy] = ()) -> Enqueued:
    """Enqueue a plan's actions. Repeating after a crash enqueues what is missing. `policies`, as they are loaded now,
    are recorded in the catalog.

    Raises UsageError for no such plan, RefusedByGuard for one that was applied, discarded or never finished.
    """
    context.ready()
    with context.catalog.read() as conn:
        state = conn.execute(sa.select(plans.c.state).where(plans.c.id == plan_id)).scalar()
        if state is None:
            raise UsageError(f"there is no plan {plan_id}", hint="`storagectl plan list` shows them")
        if state != "saved":
            raise RefusedByGuard(f"plan {plan_id} is {state}; only a saved plan can be applied")
        groups = conn.execute(
            sa.select(datasets.c.name, plan_items.c.policy)
            .select_from(plan_items)
            .join(objects, objects.c.id == plan_items.c.object_id)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None))
            .distinct()
            .order_by(datasets.c.name, plan_items.c.policy)
        ).all()
    result = Enqueued()
    for dataset, policy in groups:
        items = _items(context, plan_id, dataset, policy)
        enqueue_batches(
            context,
            JobKind.REWRITE,
            dataset,
            items,
            reason=f"policy {policy}",
            plan_id=plan_id,
            result=result,
        )
    with context.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(plans.c.id == plan_id).values(state="applied"))
        for loaded in policies:
            _record(conn, loaded, context.now_us())
    return result


def _record(conn: sa.Connection, loaded: LoadedPolicy, now_us: int) -> None:
    """What a policy said when something was done by it: a new row only where its text is new."""
    known = sa.select(policy_texts.c.id).where(
        policy_texts.c.name == loaded.name, policy_texts.c.digest == loaded.digest
    )
    if conn.execute(known).first() is None:
        conn.execute(
            sa.insert(policy_texts).values(
                name=loaded.name, file=loaded.file, digest=loaded.digest, body=loaded.text, loaded_us=now_us
            )
        )


class Brake:
    """Stops the rest of a policy's jobs when more of its planned objects fail than its `stop_on_error_rate` allows."""

    def __init__(self, context: Context, plan: Plan, jobs: Sequence[int]) -> None:
        self._context = context
        self._jobs = jobs
        self._allowed = {
            f"policy {p.name}": p.stop_on_error_rate * p.actions.objects
            for p in plan.summary.policies
            if p.stop_on_error_rate is not None
        }

    def look(self, claimed: Claimed) -> str | None:
        """After each job: None, or what was stopped and why. Other policies' jobs go on."""
        allowed = self._allowed.get(claimed.reason)
        if allowed is None:
            return None
        mine = sa.and_(job_table.c.id.in_(self._jobs), job_table.c.reason == claimed.reason)
        failures = (
            sa.select(sa.func.count())
            .select_from(job_items)
            .join(job_table, job_table.c.id == job_items.c.job_id)
            .where(mine, job_items.c.state == ItemState.FAILED.value)
        )
        waiting = sa.select(job_table.c.id).where(mine, job_table.c.state == JobState.QUEUED.value)
        with self._context.catalog.begin() as conn:
            failed = conn.execute(failures).scalar_one()
            if failed <= allowed:
                return None
            rest = list(conn.execute(waiting).scalars())
            for job_id in rest:
                control.cancel(conn, job_id, now_us=self._context.now_us(), reason="stopped: stop_on_error_rate")
        del self._allowed[claimed.reason]
        return (
            f"{claimed.reason}: objects failed: {failed}, more than its stop_on_error_rate allows; "
            f"jobs cancelled: {len(rest)}"
        )


def _items(context: Context, plan_id: int, dataset: str, policy: str) -> Iterator[NewItem]:
    after = 0
    query = (
        sa.select(plan_items, objects.c.name, tiers.c.name.label("tier"), tiers.c.storage_class)
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
        for r in rows:
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
            )
        if len(rows) < PAGE:
            return
        after = rows[-1].object_id
