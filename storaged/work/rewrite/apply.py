"""Apply a saved plan: jobs for exactly its list, at the versions it was made for, one for each pack and for
each collection that moves whole. What changed since is skipped."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import ledger
from storaged.catalog.among import among
from storaged.catalog.items import InPlace, IntoPack, NewItem, To, ToTier, encodes
from storaged.catalog.placements import chunks
from storaged.catalog.schema import datasets, objects, plan_items, plans, tiers
from storaged.catalog.suspensions import suspended
from storaged.decide.guards import AT_THE_QUEUE, Move, held_back
from storaged.decide.kinds import shown
from storaged.decide.policy import LoadedPolicy
from storaged.errors import RefusedByGuard, UsageError
from storaged.model import CodecSpec, Fidelity, JobKind
from storaged.work.context import Context
from storaged.work.money.spending import charge_plan
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches, enqueue_pack, enqueue_whole, folded

PAGE: Final = 5_000


def unclaimed(context: Context, policies: Iterable[LoadedPolicy]) -> list[str]:
    """The datasets that these policies move objects out of and whose roots carry no claim: their originals stay beside
    what was made of them, and are paid for, until a person claims them."""
    with context.catalog.read() as conn:
        found = list(
            conn.execute(sa.select(datasets.c.name).where(~datasets.c.claimed).order_by(datasets.c.name)).scalars()
        )
    leave = [p.policy.target for p in policies if not p.policy.to.in_place]
    return [name for name in found if name in context.datasets and any(target.takes(name) for target in leave)]


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
        part = _Part(context, plan_id, dataset, policy, result)
        enqueue_batches(
            context,
            JobKind.REWRITE,
            dataset,
            part.alone(),
            reason=f"policy {policy}",
            plan_id=plan_id,
            policy=policy,
            result=result,
        )
        for pack, members in part.packs():
            enqueue_pack(
                context,
                dataset,
                members,
                pack=pack,
                reason=f"policy {policy}",
                plan_id=plan_id,
                policy=policy,
                result=result,
            )
        for prefix, parts in part.wholes():
            enqueue_whole(
                context,
                dataset,
                parts,
                whole=prefix,
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


@dataclass(frozen=True, slots=True)
class _Part:
    """One policy's actions on one dataset that may still be done. What has changed since is left to its job, which says
    so; what a guard holds by now goes into `result`."""

    context: Context
    plan_id: int
    dataset: str
    policy: str
    result: Enqueued

    def alone(self) -> Iterator[NewItem]:
        """Those that become blobs of their own, or change where they are."""
        after = 0
        while True:
            singly = (plan_items.c.pack.is_(None), plan_items.c.whole.is_(None))
            rows, items = self._read(plan_items.c.object_id > after, *singly, limit=PAGE)
            yield from items
            if len(rows) < PAGE:
                return
            after = rows[-1].object_id

    def packs(self) -> Iterator[tuple[str, Iterator[NewItem]]]:
        """Packs by name and tier, each with all its members."""
        for (pack, _), ids in sorted(self._members(plan_items.c.pack).items()):
            yield pack, self._of(ids)

    def wholes(self) -> Iterator[tuple[str, Iterable[NewItem]]]:
        """Collections that move whole, by prefix, each with all its parts: not one of which a guard holds a part."""
        left_out = self.result.left_out
        for (prefix, _), ids in sorted(self._members(plan_items.c.whole).items()):
            before = len(left_out)
            parts = folded(self._of(ids))
            if len(left_out) > before:
                name, why = left_out[before]
                note = f"{shown(prefix)} moves whole or not at all: {name}: {why}"
                left_out += [(i.name, note) for i in parts]
            else:
                yield prefix, parts

    def _of(self, ids: array[int]) -> Iterator[NewItem]:
        for part in chunks(ids):
            yield from self._read(among(plan_items.c.object_id, part))[1]

    def _members(self, by: sa.Column[Any]) -> dict[tuple[str, int], array[int]]:
        """The objects by such a value and tier: read once for all of them, for a plan has no index of these."""
        found: dict[tuple[str, int], array[int]] = {}
        after = 0
        query = (
            sa.select(plan_items.c.object_id, by.label("value"), plan_items.c.tier_id)
            .join(objects, objects.c.id == plan_items.c.object_id)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .where(*self._mine(), by.is_not(None))
            .order_by(plan_items.c.object_id)
            .limit(PAGE)
        )
        while True:
            with self.context.catalog.read() as conn:
                rows = conn.execute(query.where(plan_items.c.object_id > after)).all()
            for row in rows:
                found.setdefault((row.value, row.tier_id), array("q")).append(row.object_id)
            if len(rows) < PAGE:
                return found
            after = rows[-1].object_id

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            plan_items.c.plan_id == self.plan_id,
            plan_items.c.policy == self.policy,
            plan_items.c.held.is_(None),
            datasets.c.name == self.dataset,
        )

    def _read(
        self, *which: sa.ColumnElement[bool], limit: int | None = None
    ) -> tuple[Sequence[sa.Row[Any]], list[NewItem]]:
        """Rows of the plan in the order of their objects, and what is to become of those that no guard holds."""
        columns = (objects.c.name, objects.c.version.label("now"), tiers.c.name.label("tier"), tiers.c.storage_class)
        query = (
            sa.select(plan_items, *columns)
            .join(objects, objects.c.id == plan_items.c.object_id)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .join(tiers, tiers.c.id == plan_items.c.tier_id)
            .where(*self._mine(), *which)
            .order_by(plan_items.c.object_id)
            .limit(limit)
        )
        with self.context.catalog.read() as conn:
            rows = conn.execute(query).all()
            moves = {
                r.object_id: Move(r.tier_id, r.in_place, r.apart or r.whole is not None, encodes(_to(r)))
                for r in rows
                if r.version == r.now
            }
            kept = held_back(conn, moves, self.context.guards_now(), asked=AT_THE_QUEUE)
        names = {r.object_id: f"{self.dataset}/{r.name}" for r in rows}
        self.result.left_out += [(names[r.object_id], kept[r.object_id]) for r in rows if r.object_id in kept]
        return rows, [
            NewItem(r.object_id, r.version, r.size, _to(r), name=names[r.object_id], expected=r.after_bytes)
            for r in rows
            if r.object_id not in kept
        ]


def _to(row: Any) -> To:
    """What a row of a plan asks for."""
    return _of_columns(*_told(row))


_told = attrgetter(
    *("in_place", "storage_class", "grace_us", "apart", "codec", "level", "fidelity", "reencode", "allow_loss"),
    *("pack", "tier", "purge"),
)


@lru_cache(maxsize=64)  # those of a policy are alike
def _of_columns(
    in_place: bool,
    storage_class: str,
    grace_us: int,
    apart: bool,
    codec: str,
    level: int | None,
    fidelity: str,
    reencode: bool,
    allow_loss: str,
    pack: str | None,
    tier: str,
    purge: bool,
) -> To:
    if in_place:
        return InPlace(storage_class, grace_us, apart)
    spec, loss = CodecSpec(codec, level, Fidelity(fidelity), reencode), frozenset(json.loads(allow_loss))
    moved = ToTier if pack is None else IntoPack
    return moved(tier, spec, grace_us, loss, purge, apart)
