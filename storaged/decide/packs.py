"""Packs of a plan: which actions become one together, and what of them pays. Statements over the plan's own rows.

Packs are made of what the limits leave, so that a limit is reached whatever packs hold. But what does not pay back must
not count against a limit, and whether it does only its pack tells: so packs are made and judged before the limits, and
again of what is left. A pack's own cost is shared among its members by what each stores, so that shares add up to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import blobs, objects, plan_items
from storaged.codecs.pack import NAME_BYTES, PART_BYTES
from storaged.decide import sql
from storaged.decide.guards import CURRENT
from storaged.decide.limits import BEST, PICO_IN_NANO, nano, pays_back
from storaged.decide.packcosts import PackCosts
from storaged.decide.packing import Grouping, PackSpec
from storaged.decide.packreads import PackReads
from storaged.decide.policy import Policy
from storaged.model import ReplicaState

STAYS: Final = "stays"
PACKS: Final[Mapping[str, str]] = {
    "packed": "it is in a pack; a policy that moves it says in which form (codec)",
    "ungrouped": "its partition does not tell what `group_by` names",
    "unpackable": "a tar does not give it back under its name: that has `.`, `..` or an empty part in it, a part of "
    f"over {PART_BYTES} bytes, or over {NAME_BYTES:,} in all",
    "alone": "there is nothing to pack it with",
    STAYS: "others stay in its pack, so that nothing of that would be freed",
}
_DIGITS: Final = 4  # of a pack's number, at least
_ONE: Final[ColumnElement[int]] = sa.literal(1, sa.BigInteger())


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs of one policy in one plan. `costs`, `reads`: None where no prices are known."""

    plan_id: int
    policy: Policy
    packing: PackSpec
    costs: PackCosts | None
    reads: PackReads | None

    def made(self) -> Iterator[sa.Update]:
        """Give every action its pack; hold back what is alone in its group or does not pay back."""
        yield from self._made(sa.true())

    def made_again(self, limits: Collection[str]) -> Iterator[sa.Update]:
        """The same of what is left where some of these limits held anything back: what is held has no pack then."""
        mine = (plan_items.c.plan_id == self.plan_id, plan_items.c.policy == self.policy.name)
        cut = sa.select(plan_items.c.object_id).where(*mine, plan_items.c.held.in_(sorted(limits))).exists()
        yield from self._read_together(cut, undone=True)
        packed = sa.and_(plan_items.c.held.is_not(None), plan_items.c.pack.is_not(None))
        yield sa.update(plan_items).where(*mine, packed, cut).values(pack=None)
        yield from self._made(cut)

    def _made(self, if_so: ColumnElement[bool]) -> Iterator[sa.Update]:
        numbered = self._numbered(self._grouped(if_so))
        yield self._set(numbered, pack=numbered.c.pack, held=numbered.c.held)
        yield from self._read_together(if_so)
        yield from self._judged(if_so)

    def _read_together(self, if_so: ColumnElement[bool], *, undone: bool = False) -> Iterator[sa.Update]:
        """What members cost less once, as they are read with their neighbours in the packs that they have now."""
        if self.reads:
            found = self.reads.amounts(self.plan_id, self.policy.name, if_so)
            yield self._set(found, spend=plan_items.c.spend + (-found.c.once if undone else found.c.once))

    def judged_again(self) -> Iterator[sa.Update]:
        """Hold back the packs that do not pay back, where any of their members come out of packs."""
        leave = sa.select(plan_items.c.leaves).where(
            plan_items.c.plan_id == self.plan_id, plan_items.c.leaves.is_not(None)
        )
        yield from self._judged(leave.exists())

    def _judged(self, if_so: ColumnElement[bool]) -> Iterator[sa.Update]:
        if self.policy.require is not None and self.costs is not None:
            members = self._members(if_so, parts=False)
            once, saved = self.costs.of(members.c.tier_id, members.c.stored)
            within = self.policy.require.payback_within
            pays = pays_back(members.c.spends + once, members.c.savings + saved, within)
            yield self._hold("require", sa.select(members.c.object_id).where(sa.not_(pays)))

    def whole(self) -> sa.Update:
        """Hold back what is in packs that would be made anew, unless everything goes that is somebody's there."""
        item, listed, mine = self._acting()
        current = sa.and_(CURRENT.c.object_id == item.c.object_id, CURRENT.c.state == ReplicaState.CURRENT.value)
        inside = listed.join(CURRENT, current).join(
            blobs, sa.and_(blobs.c.id == CURRENT.c.blob_id, blobs.c.tier_id == item.c.tier_id)
        )
        going = sa.func.sum(CURRENT.c.length).over(partition_by=blobs.c.id)
        columns = (item.c.object_id, going.label("going"), blobs.c.live_bytes)
        found = sa.select(*columns).select_from(inside).where(*mine, blobs.c.packed_bytes > 0).subquery()
        return self._hold(STAYS, sa.select(found.c.object_id).where(found.c.going < found.c.live_bytes))

    def shared(self) -> Iterator[sa.Update]:
        """Add to what each action costs and saves its share of what its pack costs and saves."""
        if self.costs is None:
            return
        members = self._members()
        once, saved = self.costs.of(members.c.tier_id, members.c.stored)
        columns = (_share(once, members).label("spend"), _share(saved, members).label("saving"))
        shares = sa.select(members.c.object_id, *columns).cte("shares").prefix_with("MATERIALIZED")
        spend, saving = plan_items.c.spend + shares.c.spend, plan_items.c.saving + shares.c.saving
        yield self._set(shares, spend=spend, saving=saving)

    def beyond(self, max_spend: str) -> sa.Update:
        """Hold back whole packs over a limit of spending: of those that fit in it, what saves most per dollar stays."""
        members = self._members()
        spend, saving = members.c.spends, members.c.savings
        per_dollar = sa.case((spend > 0, saving / spend), (saving >= 0, BEST), else_=-BEST)
        place = (members.c.dataset_id, members.c.tier_id, members.c.pack)
        amount = sql.whole(sql.real(spend / PICO_IN_NANO) + 0.5)
        columns = (*place, amount.label("amount"), per_dollar.label("per_dollar"), saving.label("saving"))
        packs = sa.select(*columns).where(members.c.number == 1).subquery()
        fits = packs.c.amount <= nano(max_spend)
        order = (packs.c.per_dollar.desc(), packs.c.saving.desc(), packs.c.pack, packs.c.dataset_id, packs.c.tier_id)
        so_far = sa.func.sum(sa.case((fits, packs.c.amount), else_=0)).over(order_by=order, rows=(None, 0))
        named = (packs.c.dataset_id, packs.c.tier_id, packs.c.pack)
        summed = sa.select(*named, fits.label("fits"), so_far.label("so_far")).subquery()
        same = sa.and_(*(members.c[name] == summed.c[name] for name in ("dataset_id", "tier_id", "pack")))
        over = sa.or_(sa.not_(summed.c.fits), summed.c.so_far > nano(max_spend))
        return self._hold("max_spend", sa.select(members.c.object_id).join(summed, same).where(over))

    # -- what they are made of ----------------------------------------------------------------------------------------

    def _hold(self, why: str, ids: sa.Select[Any]) -> sa.Update:
        mine = (plan_items.c.plan_id == self.plan_id, plan_items.c.object_id.in_(ids))
        return sa.update(plan_items).where(*mine).values(held=why)

    def _set(self, found: sa.CTE, **values: ColumnElement[Any]) -> sa.Update:
        mine = (plan_items.c.plan_id == self.plan_id, plan_items.c.object_id == found.c.object_id)
        return sa.update(plan_items).where(*mine).values(values)

    def _acting(self) -> tuple[sa.FromClause, sa.Join, tuple[ColumnElement[bool], ...]]:
        item = plan_items.alias("item")
        mine = (item.c.plan_id == self.plan_id, item.c.policy == self.policy.name, item.c.held.is_(None))
        return item, sa.join(item, objects, objects.c.id == item.c.object_id), mine

    def _grouped(self, if_so: ColumnElement[bool]) -> sa.CTE:
        """The actions, each with its group's label."""
        item, listed, mine = self._acting()
        of_group = (self.policy.group_by or Grouping()).label().label("label")
        columns = (item.c.object_id, item.c.tier_id, item.c.size, objects.c.dataset_id, objects.c.name, of_group)
        return sa.select(*columns).select_from(listed).where(*mine, if_so).cte("grouped").prefix_with("MATERIALIZED")

    def _numbered(self, grouped: sa.CTE) -> sa.CTE:
        """The pack of each action, or what holds it back. A group's content in the order of names is cut into as many
        parts as there are targets in it, all of one size: an object belongs to the part in which it begins. Parts have
        more than one, as even the largest object is at most a quarter of a target (`MEMBERS`)."""
        g = grouped.c
        group = (g.dataset_id, g.tier_id, g.label)
        total = sql.big(sa.func.sum(g.size).over(partition_by=group))
        until = sql.big(sa.func.sum(g.size).over(partition_by=group, order_by=g.name, rows=(None, 0)))
        held = sa.case((sa.func.count().over(partition_by=group) == 1, sa.literal("alone", sa.Text())))
        columns = (total.label("total"), (until - g.size).label("before"), held.label("held"))
        begun = sa.select(g.object_id, g.label, *columns).subquery()
        bins = sql.larger(sql.parts(begun.c.total, self.packing.target), _ONE)
        cut = sa.select(*begun.c, bins.label("bins")).subquery()
        number = cut.c.before // sql.larger(sql.parts(cut.c.total, cut.c.bins), _ONE)
        last = cut.c.bins - 1  # what has no bytes may begin at the end of all
        padded = sql.padded(sa.case((number > last, last), else_=number) + 1, _DIGITS)
        named = sa.case((cut.c.label == "", padded), else_=sql.words(cut.c.label, "/", padded))
        pack = sa.case((cut.c.held.is_(None), named)).label("pack")
        return sa.select(cut.c.object_id, cut.c.held, pack).cte("numbered").prefix_with("MATERIALIZED")

    def _members(self, if_so: ColumnElement[bool] | None = None, *, parts: bool = True) -> sa.CTE:
        """The actions that have a pack, each with what its pack comes to, and with its part of that unless `parts` is
        false, for that takes as long again: its weight is what it stores, `before` and `until` those of the members up
        to it."""
        item, listed, mine = self._acting()
        pack = (objects.c.dataset_id, item.c.tier_id, item.c.pack)
        weight = sql.larger(item.c.after_bytes, _ONE)
        until = sql.real(sa.func.sum(weight).over(partition_by=pack, order_by=objects.c.name, rows=(None, 0)))
        columns: dict[str, ColumnElement[Any]] = {
            "object_id": item.c.object_id,
            "dataset_id": objects.c.dataset_id,
            "tier_id": item.c.tier_id,
            "pack": item.c.pack,
            "stored": sql.big(sa.func.sum(item.c.after_bytes).over(partition_by=pack)),
            "spends": sa.func.sum(sql.real(item.c.spend)).over(partition_by=pack),
            "savings": sa.func.sum(sql.real(item.c.saving)).over(partition_by=pack),
        }
        if parts:
            columns |= {
                "number": sa.func.row_number().over(partition_by=pack, order_by=objects.c.name),
                "weights": sql.real(sa.func.sum(weight).over(partition_by=pack)),
                "until": until,
                "before": until - sql.real(weight),
            }
        found = sa.select(*(column.label(name) for name, column in columns.items())).select_from(listed)
        found = found.where(*mine, item.c.pack.is_not(None), sa.true() if if_so is None else if_so)
        return found.cte("members").prefix_with("MATERIALIZED")


def _share(amount: ColumnElement[float], members: sa.CTE) -> ColumnElement[int]:
    """What of a pack's amount is a member's, in whole numbers that add up to it."""
    until, before = (sql.whole(amount * (members.c[name] / members.c.weights)) for name in ("until", "before"))
    return until - before
