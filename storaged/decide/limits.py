"""What a policy's `require` and limits hold back of what it selected: statements over a plan's own rows, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects, plan_items
from storaged.config.settings import Limits
from storaged.decide import sql
from storaged.decide.money import MONTH_US
from storaged.decide.rooms import Room, below_low, coldest, over_capacity
from storaged.prices.amount import configured

if TYPE_CHECKING:
    from storaged.decide.policy import Policy

REQUIREMENTS: Final[Mapping[str, str]] = {
    "no-prices": "no prices are known of its tiers, so that neither `require` nor a limit of spending can be judged",
    "require": "it does not pay back in time (require)",
}
LIMITS: Final[Mapping[str, str]] = {
    "max_percent": "more than max_percent of the target's objects: the whole policy is held back",
    "max_spend": "over max_spend",
    "max_objects": "over max_objects",
    "max_bytes": "over max_bytes",
}
NANO: Final = 10**9  # sums of spending are in billionths of a USD, so that billions of objects fit into 64 bits
PICO_IN_NANO: Final = 1_000
BEST: Final = 1e300
_EMPTIES: Final = plan_items.c.left_saving.is_not(None)  # the pack that it comes out of goes


def needs_prices(policy: Policy, limits: Limits, *, spending_limit: bool) -> bool:
    """Whether nothing may be done without knowing what it costs. `spending_limit`: of all."""
    limited = limits.max_spend is not None or limits.max_spend_per_month is not None
    return limited or spending_limit or policy.require is not None


@dataclass(frozen=True, slots=True)
class Units:
    """What is taken or left of a policy, each as one row that reads as an action's: `of`, how many objects it is, and
    the actions (ids of objects) of some of these rows."""

    of: sa.FromClause
    number: ColumnElement[int]
    members: Callable[[sa.Select[Any]], sa.Select[Any]]


def unpriced(policy: Policy, plan_id: int, units: Units | None = None) -> sa.Update:
    """Hold back of what no price is known. `units`: not each action by itself."""
    item = plan_items if units is None else units.of
    unknown = sa.or_(item.c.spend.is_(None), item.c.saving.is_(None))
    return _which(policy, plan_id, units, unknown).values(held="no-prices")


def unpaid(policy: Policy, plan_id: int, within_us: int, units: Units | None = None) -> sa.Update:
    """Hold back what does not pay back. What empties a pack does so together. `units`: not each action by itself."""
    item = plan_items if units is None else units.of
    unpaid_of = sa.not_(pays_back(item.c.spend, item.c.saving, within_us))
    if units is None:
        mine = (*_acting_of(policy, plan_id, plan_items), _EMPTIES)
        spend, saving = (sa.func.sum(sql.real(column)) for column in (item.c.spend, item.c.saving))
        lost = sa.not_(pays_back(spend, saving, within_us))
        packs = sa.select(plan_items.c.leaves).where(*mine).group_by(plan_items.c.leaves).having(lost)
        unpaid_of = sa.case((_EMPTIES, plan_items.c.leaves.in_(packs)), else_=unpaid_of)
    return _which(policy, plan_id, units, unpaid_of).values(held="require")


def cuts(
    policy: Policy,
    limits: Limits,
    looked_at: ColumnElement[int],
    plan_id: int,
    *,
    rooms: Mapping[int, Room],
    units: Units | None = None,
) -> Iterator[sa.Update]:
    """Hold back what there is no room for or need not leave its tier, then what exceeds the limits: all of it, or what
    saves least (of a policy that empties a tier: what is hottest). A limit of spending is not looked at for packs.
    `looked_at`: how many objects the policy looks at; `rooms`: tiers with a capacity, by id. `units`: not each action
    by itself."""
    item = plan_items.alias("item") if units is None else units.of
    number = sa.literal(1, sa.Integer()) if units is None else units.number
    acting = _acting_of(policy, plan_id, item)
    order = coldest(item) if policy.drains else _order(item, plan_id, policy.name)

    def hold(over: sa.Select[Any], why: str) -> sa.Update:
        those = over if units is None else units.members(over)
        return _acting(policy, plan_id).where(plan_items.c.object_id.in_(those)).values(held=why)

    for over in over_capacity(rooms, plan_id, policy.name, order, item):
        yield hold(over, "max_capacity")
    for over in below_low(rooms, plan_id, policy.name, order, item) if policy.drains else ():
        yield hold(over, "max_drain")
    if limits.max_percent is not None:
        one = plan_items.alias("one")
        count = sa.select(sa.func.count()).select_from(one).where(*_acting_of(policy, plan_id, one))
        actions = count.scalar_subquery()
        too_many = actions * sql.FINENESS > looked_at * round(limits.max_percent * sql.FINENESS)
        yield _acting(policy, plan_id).where(too_many).values(held="max_percent")
    listed = sa.join(item, objects, objects.c.id == item.c.object_id)

    def beyond(amount: ColumnElement[int], limit: int) -> sa.Select[Any]:
        """The objects that do not fit. One that is too large by itself must not keep all others waiting behind it."""
        fits = amount <= limit
        so_far = sa.func.sum(sa.case((fits, amount), else_=0)).over(order_by=order, rows=(None, 0))
        columns = (item.c.object_id, fits.label("fits"), so_far.label("so_far"))
        summed = sa.select(*columns).select_from(listed).where(*acting).subquery()
        return sa.select(summed.c.object_id).where(sa.or_(sa.not_(summed.c.fits), summed.c.so_far > limit))

    if limits.max_spend is not None and policy.to.packing is None:
        over = beyond((item.c.spend + PICO_IN_NANO - 1) // PICO_IN_NANO, nano(limits.max_spend))
        yield hold(over, "max_spend")
    if limits.max_objects is not None:
        yield hold(beyond(number, limits.max_objects), "max_objects")
    if limits.max_bytes is not None:
        yield hold(beyond(item.c.stored_bytes, limits.max_bytes), "max_bytes")


def _acting(policy: Policy, plan_id: int) -> sa.Update:
    return sa.update(plan_items).where(*_acting_of(policy, plan_id, plan_items))


def _acting_of(policy: Policy, plan_id: int, item: sa.FromClause) -> tuple[ColumnElement[bool], ...]:
    return item.c.plan_id == plan_id, item.c.policy == policy.name, item.c.held.is_(None)


def _which(policy: Policy, plan_id: int, units: Units | None, which: ColumnElement[bool]) -> sa.Update:
    """Those actions of which it is true."""
    if units is None:
        return _acting(policy, plan_id).where(which)
    item = units.of
    found = sa.select(item.c.object_id).where(*_acting_of(policy, plan_id, item), which)
    return _acting(policy, plan_id).where(plan_items.c.object_id.in_(units.members(found)))


def pays_back(spend: ColumnElement[Any], saving: ColumnElement[Any], within_us: int) -> ColumnElement[bool]:
    """Whether a monthly saving makes up for a one-time cost within this time. What costs nothing must cost no more."""
    in_time = sql.real(spend) * MONTH_US <= sql.real(saving) * within_us
    return sa.case((spend <= 0, saving >= 0), else_=sa.and_(saving > 0, in_time))


def _order(item: sa.FromClause, plan_id: int, policy: str) -> tuple[ColumnElement[Any], ...]:
    """What saves most for its cost comes first, and what costs nothing before that. Where not all prices of the
    policy's objects are known: the largest saving in bytes. Objects have one order by name, on whatever database."""
    other = plan_items.alias("other")
    unknown = (
        sa.select(other.c.object_id)
        .where(other.c.plan_id == plan_id, other.c.policy == policy, other.c.held.is_(None))
        .where(sa.or_(other.c.spend.is_(None), other.c.saving.is_(None)))
        .exists()
    )
    per_dollar = sa.case(
        (item.c.spend > 0, sql.real(item.c.saving) / sql.real(item.c.spend)),
        (item.c.saving >= 0, sa.literal(BEST, sa.Double())),
        else_=sa.literal(-BEST, sa.Double()),
    )
    return (
        sa.case((unknown, 0.0), else_=per_dollar).desc(),
        sa.case((unknown, 0), else_=item.c.saving).desc(),
        (item.c.stored_bytes - item.c.after_bytes).desc(),
        objects.c.name,
        objects.c.dataset_id,
    )


def nano(money: str) -> int:
    """An amount as policies have it (`50 USD`), in billionths."""
    return min(int(configured(money) * NANO), 2**63 - 1)
