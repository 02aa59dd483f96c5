"""What may be spent: hard limits per calendar month (UTC), for each policy and for all together.

A part of a plan is charged whole before its first object comes into the queue, and a job before each further try, in
the transaction that looks whether it fits (storaged.catalog.ledger). So no number of daemons and people can together
charge more than a limit. What people ask for by themselves (restage, eject, undo, warm) is not charged.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from storaged.catalog import ledger, queue, turns
from storaged.catalog.ledger import Needed
from storaged.catalog.queue import ClaimedJob
from storaged.catalog.schema import plans
from storaged.catalog.schema_money import ledger as parts
from storaged.clock import from_datetime, iso, to_datetime
from storaged.config.settings import Settings
from storaged.errors import OverSpending, RefusedByGuard
from storaged.prices.amount import PICODOLLAR, ZERO, configured, usd
from storaged.work.context import Context

if TYPE_CHECKING:
    from storaged.decide.money import PlanMoney
    from storaged.decide.policy import LoadedPolicy

PICODOLLARS: Final = 10**12  # in a USD


@dataclass(frozen=True, slots=True)
class Spent:
    """What is charged to a month, in USD: in all and by policy. `limit`: for all policies together."""

    month: str
    total: Decimal
    limit: Decimal | None
    policies: Mapping[str, Decimal]


def spent(context: Context, month: str | None = None) -> Spent:
    """What is charged to a UTC month (None: this one), less what was paid back."""
    month = month or ledger.month_of(context.now_us())
    limit = context.settings.max_spend_per_month
    with context.catalog.read() as conn:
        policies = {name: dollars(amount) for name, amount in ledger.spent_by_policy(conn, month).items()}
    return Spent(month, sum(policies.values(), ZERO), dollars(picodollars(limit)) if limit else None, policies)


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit of one month: of a policy, or of all (None). In picodollars."""

    policy: str | None
    limit: int

    def __str__(self) -> str:
        whose = "all policies together" if self.policy is None else f"policy {self.policy}"
        return f"{whose} may spend {usd(dollars(self.limit))} a month"


def picodollars(money: str) -> int:
    """An amount as configurations have it (`50 USD`), in picodollars; at most what the ledger can hold."""
    return min(int(configured(money) * PICODOLLARS), ledger.LARGEST)


def dollars(amount: int) -> Decimal:
    """Picodollars in USD."""
    return amount * PICODOLLAR


def next_month_us(us: int) -> int:
    """When the UTC calendar month of an instant is over: microseconds since 1970."""
    day = to_datetime(us).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return from_datetime((day + dt.timedelta(days=31)).replace(day=1))


def charge_plan(context: Context, plan_id: int, policies: Iterable[LoadedPolicy]) -> None:
    """Charge every part of a plan that is about to be applied, or none. What was charged before a crash is not again.

    Raises OverSpending where a part does not fit whole, or where nobody knows what it costs although a limit holds;
    RefusedByGuard where the plan is gone, or a policy whose limits would hold.
    """
    from storaged.decide.planner import limits_of  # here: whoever runs jobs plans nothing
    from storaged.decide.summary import Summary

    settings, now_us = context.settings, context.now_us()
    limits = {p.name: limits_of(p.policy, settings.limits) for p in policies}
    with context.catalog.begin() as conn:
        ledger.serialised(conn)
        ledger.settle_abandoned(conn, now_us=now_us)
        mine = sa.select(plans.c.state, plans.c.summary).where(plans.c.id == plan_id).with_for_update(read=True)
        plan = conn.execute(mine).one_or_none()
        if plan is None or plan.state != "saved":
            raise over_already(plan_id)
        expected = {p.name: p.money for p in Summary.from_json(plan.summary).policies}
        known = ledger.known(conn, plan_id)
        for needed in ledger.parts_of(conn, plan_id):
            if needed.policy in known:
                continue
            if needed.policy not in limits:
                raise RefusedByGuard(
                    f"plan {plan_id} is not applied: there is no policy {needed.policy} any more, whose limits hold",
                    hint="make a new plan",
                )
            own = limits[needed.policy]
            monthly = None if own.max_spend_per_month is None else picodollars(own.max_spend_per_month)
            caps = list(_caps(settings, needed.policy, monthly))
            _refuse_unknown(needed, limited=bool(caps) or own.max_spend is not None)
            if over := _over(conn, caps, needed.amount, now_us):
                raise OverSpending(
                    f"plan {plan_id} is not applied: {over}",
                    hint="apply it then, raise `max_spend_per_month`, or make a smaller plan with `limits.max_spend`",
                )
            ledger.open_part(
                conn,
                plan_id,
                needed,
                expected=_told(expected.get(needed.policy)),
                monthly_limit=monthly,
                actor=context.actor,
                now_us=now_us,
            )


def over_already(plan_id: int) -> RefusedByGuard:
    """For a plan that was saved when somebody began to apply it, and is no longer."""
    return RefusedByGuard(f"plan {plan_id} was discarded, or applied by somebody else meanwhile")


class _MustWaitError(Exception):
    """Takes a claim back whose try does not fit."""

    def __init__(self, job_id: int, why: str) -> None:
        super().__init__(why)
        self.job_id = job_id
        self.why = why


def claim(context: Context, worker: str, *, lease_us: int, only: Iterable[int] | None = None) -> ClaimedJob | None:
    """The next job, its try charged if it is a further one. One whose try does not fit waits for the next month."""
    wanted = None if only is None else list(only)
    while True:
        now_us = context.now_us()
        try:
            with context.catalog.begin() as conn:
                claimed = queue.claim(conn, worker, now_us=now_us, lease_us=lease_us, only=wanted)
                if claimed is not None:
                    _charge_try(conn, context.settings, claimed, now_us)
            return claimed
        except _MustWaitError as error:
            with context.catalog.begin() as conn:
                queue.give_up_leases(conn, now_us=now_us, lease_us=lease_us)
                turns.postpone(conn, error.job_id, next_month_us(now_us), error.why)


def _charge_try(conn: sa.Connection, settings: Settings, claimed: ClaimedJob, now_us: int) -> None:
    plan_id, policy = claimed.plan_id, claimed.policy
    if plan_id is None or policy is None:  # a person asked for it
        return
    ledger.pay_back(conn, claimed.id, now_us=now_us)  # for what was not as planned any more
    again = ledger.needed_again(conn, claimed.id)
    if again:
        ledger.serialised(conn)
        ledger.settle_abandoned(conn, now_us=now_us)
        mine = sa.and_(parts.c.plan_id == plan_id, parts.c.policy == policy)
        monthly = conn.execute(sa.select(parts.c.monthly_limit).where(mine)).scalar()
        if over := _over(conn, _caps(settings, policy, monthly), again, now_us):
            raise _MustWaitError(claimed.id, f"another try has to wait: {over}")
    ledger.count_try(conn, claimed.id, plan_id, policy, again, now_us=now_us)


def _caps(settings: Settings, policy: str, monthly: int | None) -> Iterator[Cap]:
    if monthly is not None:
        yield Cap(policy, monthly)
    if settings.max_spend_per_month is not None:
        yield Cap(None, picodollars(settings.max_spend_per_month))


def _over(conn: sa.Connection, caps: Iterable[Cap], amount: int, now_us: int) -> str | None:
    """Which limit does not let so much more be spent this month, in words; None: it fits."""
    month = ledger.month_of(now_us)
    for cap in caps:
        spent = ledger.spent(conn, month, cap.policy)
        if spent + amount > cap.limit:
            return (
                f"{cap}, {usd(dollars(spent))} is charged to {month} and this takes {usd(dollars(amount))}; "
                f"the month ends {iso(next_month_us(now_us))}"
            )
    return None


def _refuse_unknown(needed: Needed, *, limited: bool) -> None:
    if limited and needed.unpriced:
        raise OverSpending(
            f"policy {needed.policy} may spend so much and no more, and what {needed.unpriced:,} of its "
            f"{needed.objects:,} objects cost is not known",
            hint="say `prices:` of every tier in storaged.yaml, then plan again",
        )
    if needed.amount > ledger.LARGEST:
        raise OverSpending(
            f"policy {needed.policy} would spend {usd(dollars(needed.amount))} at once, more than the ledger holds",
            hint="make smaller plans: `limits: {max_objects: ...}`",
        )


def _told(money: PlanMoney | None) -> str | None:
    if money is None:
        return None
    amounts = {name: getattr(money, name).as_json() for name in ("one_time", "before", "after")}
    return json.dumps({**amounts, "unpriced": money.unpriced, "unread": money.unread})
