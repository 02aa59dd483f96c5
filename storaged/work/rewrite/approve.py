"""A plan that somebody approved in the browser: what they said is noted, then done by the daemon that leads.

It is exactly that plan or none: the same number and digest, saved still, the newest of its policies, and with the rows
and policies of which it was made.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import sqlalchemy as sa

from storaged.catalog import approvals, ledger
from storaged.catalog.approvals import Approval, Ended, Verb
from storaged.catalog.schema import audit, plans
from storaged.clock import SECOND
from storaged.decide.policy import LoadedPolicy
from storaged.errors import RefusedByGuard, UsageError
from storaged.work.context import Context
from storaged.work.plan.make import Plan, discard_plan, is_as_made, load_plan
from storaged.work.rewrite.apply import apply_plan

LATE_US: Final = 3_600 * SECOND  # what nobody began for so long is not done any more
_AGAIN: Final = "make a new plan: `storagectl plan`"


def approver_words(name: str) -> str:
    """An approver as the audit has it."""
    return f"approver:{name}"


def ask(context: Context, plan_id: int, digest: str, verb: Verb, approver: str) -> None:
    """Note that an approver wants a plan applied or discarded, which they saw with this digest, and write it into the
    audit. Raises UsageError for no such plan, RefusedByGuard for one that is not that plan any more."""
    plan = load_plan(context.catalog, plan_id)
    _require(context, plan, digest, verb)
    now_us = context.now_us()
    told = {"verb": verb, "hash": digest, "policies": plan.policies}
    row = {"at_us": now_us, "kind": "approve", "object": f"plan:{plan_id}", "plan_id": plan_id}
    with context.catalog.begin() as conn:
        if not approvals.ask(conn, Approval(plan_id, verb, digest, approver, now_us)):
            raise RefusedByGuard(f"somebody decided about plan {plan_id} already", hint=f"see plan {plan_id}")
        conn.execute(sa.insert(audit).values(row | {"actor": approver_words(approver), "detail": json.dumps(told)}))


def carry_out(context: Context, policies: Iterable[LoadedPolicy]) -> Iterator[tuple[Approval, Ended, str]]:
    """Do what was approved: each with its state and what came of it. What cannot be done now, because a place or the
    catalog is away, is raised, and waits for the next call."""
    with context.catalog.read() as conn:
        found = approvals.waiting(conn)
    given = list(policies)
    for wanted in found:
        theirs = copy.copy(context)
        theirs.actor = approver_words(wanted.approver)
        state: Ended = "done"
        try:
            note = _done(theirs, wanted, given)
        except (RefusedByGuard, UsageError) as error:
            state, note = "refused", error.message
        with context.catalog.begin() as conn:
            ended = approvals.end(conn, wanted, state, note, context.now_us())
        if ended:
            yield wanted, state, note


def _done(context: Context, wanted: Approval, policies: list[LoadedPolicy]) -> str:
    plan = load_plan(context.catalog, wanted.plan_id)
    with context.catalog.read() as conn:
        begun = bool(ledger.known(conn, plan.id))
    if begun and plan.state == "applied":  # by a daemon that died before it could note it
        return "applied"
    if wanted.verb == "discard" and plan.state == "discarded":
        return "discarded"
    if wanted.approver not in [one.name for one in context.settings.daemon.approvers]:
        raise RefusedByGuard(f"{wanted.approver} approves no plans any more")
    _require(context, plan, wanted.hash, wanted.verb)
    if wanted.verb == "discard":
        discard_plan(context.catalog, plan.id)
        return "discarded"
    if not begun:
        if wanted.asked_us + LATE_US < context.now_us():
            raise RefusedByGuard(f"nothing was done for {LATE_US // SECOND // 60} minutes after it was approved")
        if not is_as_made(context.catalog, context.settings, policies, plan):
            message = f"plan {plan.id} is not what its policies and rows are now"
            raise RefusedByGuard(message, hint=_AGAIN)
    made = apply_plan(context, plan.id, policies)
    left = f", {len(made.left_out):,} left out" if made.left_out else ""
    return f"{_count(made.objects, 'object')} queued in {_count(len(made.jobs), 'job')}{left}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _require(context: Context, plan: Plan, digest: str, verb: Verb) -> None:
    """That it is the plan that was shown, and may be decided about."""
    if plan.state != "saved":
        raise RefusedByGuard(f"plan {plan.id} is {plan.state}", hint=_AGAIN)
    if plan.hash != digest:
        raise RefusedByGuard(f"plan {plan.id} is not the one that was shown", hint="look at it again")
    if verb == "apply" and not plan.summary.actions:
        raise RefusedByGuard(f"plan {plan.id} has nothing to do")
    if verb == "apply":
        with context.catalog.read() as conn:
            newer = followed(conn, {plan.id: plan.policies})
        if newer:
            raise RefusedByGuard(
                f"plan {newer[plan.id]} is newer, and of the same policy", hint=f"look at plan {newer[plan.id]}"
            )


def followed(conn: sa.Connection, given: Mapping[int, Collection[str]]) -> dict[int, int]:
    """Of plans, by number with their policies, those that a newer one of such a policy followed, and the newest."""
    others = sa.select(plans.c.id, plans.c.policies).where(
        plans.c.id > min(given, default=0), plans.c.state.in_(("saved", "applied"))
    )
    newest: dict[str, int] = {}
    for row in conn.execute(others.order_by(plans.c.id)):
        newest |= dict.fromkeys(json.loads(row.policies), row.id)
    last = {plan: max((newest.get(name, 0) for name in names), default=0) for plan, names in given.items()}
    return {plan: other for plan, other in last.items() if other > plan}
