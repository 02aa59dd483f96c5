"""How full tiers may become: what a policy's actions would put over a tier's capacity is held back, and so is what a
policy that empties a tier would take below the tier's low mark. Statements over a plan's own rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects, plan_items
from storaged.decide import sql

ROOMS: Final[Mapping[str, str]] = {
    "max_capacity": "no room in the tier that it would go to (capacity)",
    "max_drain": "its tier comes down to its low mark without it (capacity.low)",
}
_NEVER: Final = -1e300  # colder than any score


@dataclass(frozen=True, slots=True)
class Room:
    """A tier with a capacity. Bytes; marks are shares of `size`. `promised`: what jobs are going to bring; `leaving`:
    what goes of itself once graces and jobs are over; `colder`: the ids of the tiers below it."""

    size: int
    high: float
    low: float
    stored: int
    promised: int
    leaving: int
    colder: frozenset[int]

    @property
    def full(self) -> float:
        """The share of its capacity that it stores: what was and is there, not only what is current."""
        return self.stored / self.size

    @property
    def free(self) -> int:
        """What may still be promised; below 0 where it is over."""
        return self.size - self.stored - self.promised

    @property
    def free_below_high(self) -> int:
        """The same for what comes back up: beyond the high mark it would be taken out again."""
        return self.free - (self.size - int(self.size * self.high))

    @property
    def above_low(self) -> int:
        """What must go for the tier to come down to its low mark."""
        return self.stored - self.leaving - int(self.size * self.low)


def coldest(item: sa.FromClause) -> tuple[ColumnElement[Any], ...]:
    """What was read least comes first, of that what was read or written longest ago. Needs `item` joined to objects."""
    touched = sql.larger(objects.c.mtime_us, sa.func.coalesce(objects.c.last_read_us, 0))
    return (
        sa.func.coalesce(objects.c.heat_reads, _NEVER),
        touched,
        (item.c.stored_bytes - item.c.after_bytes).desc(),
        objects.c.name,
        objects.c.dataset_id,
    )


def over_capacity(
    rooms: Mapping[int, Room], plan_id: int, policy: str, order: tuple[ColumnElement[Any], ...], item: sa.FromClause
) -> Iterator[sa.Select[Any]]:
    """By tier, the actions of a policy (ids of objects) for which there is no room there beside what is stored, what is
    promised, and what the policies before it take. Each must be run before the next is asked for."""
    for tier_id, room in sorted(rooms.items()):
        into = (item.c.plan_id == plan_id, item.c.held.is_(None), sa.not_(item.c.in_place), item.c.tier_id == tier_id)
        other, was = plan_items.alias("before"), objects.alias("was")
        taken = (
            sa.select(sa.func.coalesce(sa.func.sum(_takes(other, was)), 0))
            .select_from(sa.join(other, was, was.c.id == other.c.object_id))
            .where(other.c.plan_id == plan_id, other.c.held.is_(None), sa.not_(other.c.in_place))
            .where(other.c.tier_id == tier_id, other.c.policy != policy)
        )
        free = sa.case(
            (sql.in_ids(objects.c.tier_id, room.colder), sa.literal(room.free_below_high, sa.BigInteger())),
            else_=sa.literal(room.free, sa.BigInteger()),
        )
        listed = sa.join(item, objects, objects.c.id == item.c.object_id)
        amount = _takes(item, objects)
        limit = free - taken.scalar_subquery()
        fits = amount <= limit  # one that is too large by itself must not keep all others waiting behind it
        so_far = sa.func.sum(sa.case((fits, amount), else_=0)).over(order_by=order, rows=(None, 0))
        columns = {"object_id": item.c.object_id, "amount": amount, "fits": fits, "so_far": so_far, "room": limit}
        summed = (
            sa.select(*(column.label(name) for name, column in columns.items()))
            .select_from(listed)
            .where(*into, item.c.policy == policy)
            .subquery()
        )
        over = sa.or_(sa.not_(summed.c.fits), summed.c.so_far > summed.c.room)
        yield sa.select(summed.c.object_id).where(summed.c.amount > 0, over)


def below_low(
    rooms: Mapping[int, Room], plan_id: int, policy: str, order: tuple[ColumnElement[Any], ...], item: sa.FromClause
) -> Iterator[sa.Select[Any]]:
    """By tier, the actions of a policy (ids of objects) that need not leave it: with those before them in `order`, and
    those of the policies before it, the tier comes down to its low mark."""
    for tier_id, room in sorted(rooms.items()):
        other, was = plan_items.alias("before"), objects.alias("was")
        gone = (
            sa.select(sa.func.coalesce(sa.func.sum(_freed(other, tier_id)), 0))
            .select_from(sa.join(other, was, was.c.id == other.c.object_id))
            .where(other.c.plan_id == plan_id, other.c.held.is_(None), other.c.policy != policy)
            .where(was.c.tier_id == tier_id)
        )
        listed = sa.join(item, objects, objects.c.id == item.c.object_id)
        freed = _freed(item, tier_id)
        before = sa.func.sum(freed).over(order_by=order, rows=(None, 0)) - freed
        acting = (item.c.plan_id == plan_id, item.c.held.is_(None), item.c.policy == policy)
        summed = (
            sa.select(item.c.object_id, before.label("before"))
            .select_from(listed)
            .where(*acting, objects.c.tier_id == tier_id)
            .subquery()
        )
        enough = sa.literal(room.above_low, sa.BigInteger()) - gone.scalar_subquery()
        yield sa.select(summed.c.object_id).where(summed.c.before >= enough)


def _takes(item: sa.FromClause, was: sa.FromClause) -> ColumnElement[int]:
    """What an action takes of the tier that it goes to; within a tier what it grows by, for what it replaces goes."""
    grows = item.c.after_bytes - item.c.stored_bytes
    return sa.case((was.c.tier_id != item.c.tier_id, item.c.after_bytes), (grows > 0, grows), else_=0)


def _freed(item: sa.FromClause, tier_id: int) -> ColumnElement[int]:
    """What an action frees in the tier where its object is, once its grace is over."""
    stays = item.c.stored_bytes - item.c.after_bytes
    return sa.case((item.c.in_place, 0), (item.c.tier_id == tier_id, stays), else_=item.c.stored_bytes)
