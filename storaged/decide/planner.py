"""From policies to a plan: pure, and set-based. What comes out are statements that fill a plan's own rows, no more.

Active policies are tried first, in the order of their files, then those in dry run, so that a dry run never shadows
an active policy. The first policy that matches an object decides about it: its row is an action, or is *held* by a
guard, by what `require` asks of its money, by the room in its tiers or by a limit, in this order; `held` names it. A
held object never counts against a limit. What becomes packs is judged by its packs (storaged.decide.packs).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog import collections
from storaged.catalog.inserts import into
from storaged.catalog.schema import blobs, objects, plan_items
from storaged.config.settings import Limits
from storaged.decide.choice.candidates import candidates
from storaged.decide.choice.choosing import Choosing
from storaged.decide.guards import words
from storaged.decide.leaving import FROM_PACK, Leaving
from storaged.decide.limits import LIMITS, REQUIREMENTS, cuts, needs_prices, unpaid, unpriced
from storaged.decide.packs import PACKS, STAYS, Packs
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.decide.rest import REST
from storaged.decide.rooms import ROOMS
from storaged.decide.selection import AT_ITS_KEY, GUARDS, NO_TEXT, PLACED, TABLES, Inputs, Selection
from storaged.decide.spend import Costs
from storaged.decide.whole import WHOLE, Wholes, together
from storaged.model import Fidelity, Mode

HELD: Final[Mapping[str, str]] = {**GUARDS, **REST, **PACKS, **PLACED, **WHOLE, **REQUIREMENTS, **ROOMS, **LIMITS}


def why_held(code: str) -> str:
    """What holds objects back, in words."""
    head, _, of_part = code.partition(":")
    if head in GUARDS:
        return words(code)
    return f"{HELD[head]}: {why_held(of_part)}" if of_part else HELD[head]


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """The statements of one policy, to be run in order in one transaction."""

    name: str
    statements: tuple[sa.Executable, ...]


def in_order(policies: Iterable[LoadedPolicy]) -> list[LoadedPolicy]:
    """The order in which policies are tried: active, then dry-run. Disabled ones are left out."""
    given = list(policies)
    return [p for mode in (Mode.ACTIVE, Mode.DRY_RUN) for p in given if p.policy.mode is mode]


def compile_plan(
    policies: Iterable[LoadedPolicy], inputs: Inputs, plan_id: int, dialect: str, *, shares: bool = True
) -> tuple[CompiledPolicy, ...]:
    """The statements that fill plan `plan_id`, policy by policy. `dialect`: sqlite or postgresql. `shares`: whether
    rows tell their shares of what their packs cost; sums are the same without."""
    found = []
    for p in in_order(policies):
        selection = Selection(p.policy, inputs.about(p.policy))
        costs = costs_of(p.policy, selection.inputs)
        statements = (*_inserts(selection, plan_id, dialect, costs), *_held(selection, plan_id, costs, shares=shares))
        found.append(CompiledPolicy(p.name, statements))
    return tuple(found)


def _held(selection: Selection, plan_id: int, costs: Costs | None, *, shares: bool) -> Iterator[sa.Update]:
    """Hold back what does not pay back, and what is over what there is room for or over the limits."""
    policy, inputs = selection.policy, selection.inputs
    limits = limits_of(policy, inputs.limits)
    counted = tuple(left_of(inputs, plan_id))
    yield from counted
    units = together(policy, plan_id) if policy.collections == "whole" else None
    if needs_prices(policy, limits, spending_limit=inputs.spending_limit):
        yield unpriced(policy, plan_id, units)
    over = tuple(cuts(policy, limits, selection.looked_at(), plan_id, rooms=inputs.rooms, units=units))
    if policy.to.packing is not None:
        packs = Packs(
            plan_id, policy, policy.to.packing, *((None, None) if costs is None else (costs.packs, costs.reads))
        )
        yield packs.whole()
        yield from packs.made()
        if counted and policy.require is not None:  # what it held stays in the pack that others leave
            yield from (*counted, *packs.judged_again())
        if over:
            yield from (*over, packs.whole(), *packs.made_again({STAYS, *LIMITS, *ROOMS}))
        if shares or limits.max_spend is not None:
            yield from packs.shared()
        if limits.max_spend is not None:
            yield packs.beyond(limits.max_spend)
    else:
        if policy.require is not None:
            yield unpaid(policy, plan_id, policy.require.payback_within, units)
        if policy.to.chooses and counted:
            yield from (_for_nothing(policy, inputs, plan_id), *counted)
        yield from over
    yield from counted


def _for_nothing(policy: Policy, inputs: Inputs, plan_id: int) -> sa.Update:
    """Hold back what a choice takes to colder tiers out of packs that others stay in: each object was chosen for as if
    all of its pack went along, and as long as anybody stays it is billed whole."""
    ranks = inputs.rests.ranks
    here, there = (
        sa.case(*((column == number, rank) for number, rank in ranks.items()))
        for column in (objects.c.tier_id, plan_items.c.tier_id)
    )
    item = plan_items.c
    mine = (item.plan_id == plan_id, item.policy == policy.name, item.held.is_(None))
    stays = sa.and_(item.left_spend.is_not(None), item.left_saving.is_(None))
    colder = sa.select(objects.c.id).where(objects.c.id == item.object_id, there > here).exists()
    return sa.update(plan_items).where(*mine, stays, colder).values(held=STAYS)


def _inserts(selection: Selection, plan_id: int, dialect: str, costs: Costs | None) -> Iterator[sa.Executable]:
    """Add every object that the policy matches, and no policy before it, to the plan."""
    policy, inputs = selection.policy, selection.inputs
    if policy.to.chooses:
        yield from _chosen(policy, inputs, plan_id, dialect)
        return
    row = _row(selection, plan_id)
    matched = [selection.takes()]
    if policy.collections == "whole":
        wholes = Wholes(selection, plan_id)
        yield wholes.taken_over()
        yield _insert(row | wholes.told(), wholes.tables(), (sa.true(),), dialect, costs)
        matched.append(collections.of_object("prefix").is_(None))
    yield _insert(row, TABLES, matched, dialect, costs)


def _chosen(policy: Policy, inputs: Inputs, plan_id: int, dialect: str) -> Iterator[sa.Insert]:
    """The same of a policy that chooses: every object that is better off in another place, as if that were named."""
    given = candidates(policy, inputs)
    choosing = Choosing(policy, inputs, given)
    if not choosing.possible:
        return
    chosen = choosing.chosen
    rows: list[sa.Select[Any]] = []
    names: list[str] = []
    for number, one in enumerate(given):
        row = _row(one.selection, plan_id) | {plan_items.c.reason: choosing.reason(one)}
        mine = sa.and_(chosen.c.object_id == objects.c.id, chosen.c.candidate == number)
        names, found = _found(row, TABLES.join(chosen, mine), (sa.true(),), one.costs)
        rows.append(found)
    yield _into(sa.union_all(*rows), names, dialect)


def _row(selection: Selection, plan_id: int) -> dict[sa.Column[Any], ColumnElement[Any]]:
    """What the plan has of an object."""
    policy, inputs = selection.policy, selection.inputs
    level = policy.to.codec.level if policy.to.codec else None
    grace = policy.keep_source if policy.keep_source is not None else inputs.grace_us
    fidelity = sa.literal(policy.to.fidelity.value, sa.Text())
    reencode = sa.true() if policy.to.codec is not None and policy.to.codec.reencode else sa.false()
    return {
        plan_items.c.plan_id: sa.literal(plan_id, sa.BigInteger()),
        plan_items.c.object_id: objects.c.id,
        plan_items.c.policy: sa.literal(policy.name, sa.Text()),
        plan_items.c.version: objects.c.version,
        plan_items.c.identity: sa.case(
            (AT_ITS_KEY, objects.c.raw_identity), else_=sa.func.coalesce(blobs.c.identity, NO_TEXT)
        ),
        plan_items.c.size: objects.c.size,
        plan_items.c.stored_bytes: selection.stored_bytes(),
        plan_items.c.after_bytes: selection.after_bytes(),
        plan_items.c.tier_id: selection.tier(),
        plan_items.c.codec: selection.codec(),
        plan_items.c.level: selection.as_it_is(sa.null(), sa.literal(level, sa.Integer())),
        plan_items.c.grace_us: sa.literal(grace, sa.BigInteger()),
        plan_items.c.allow_loss: sa.literal(json.dumps(sorted(policy.allow_loss)), sa.Text()),
        plan_items.c.reason: selection.reason(),
        plan_items.c.held: selection.guard(),
        plan_items.c.in_place: sa.true() if policy.to.in_place else sa.false(),
        plan_items.c.purge: sa.true() if policy.purge_noncurrent else sa.false(),
        plan_items.c.apart: sa.true() if policy.collections == "ignore" else sa.false(),
        plan_items.c.fidelity: selection.as_it_is(sa.literal(Fidelity.BYTES.value, sa.Text()), fidelity),
        plan_items.c.reencode: selection.as_it_is(sa.false(), reencode),
        plan_items.c.leaves: FROM_PACK,
    }


def _insert(
    row: Mapping[sa.Column[Any], ColumnElement[Any]],
    tables: sa.Join,
    matched: Sequence[ColumnElement[bool]],
    dialect: str,
    costs: Costs | None,
) -> sa.Insert:
    """Add these objects to the plan, unless they are in it."""
    names, found = _found(row, tables, matched, costs)
    return _into(found, names, dialect)


def _found(
    row: Mapping[sa.Column[Any], ColumnElement[Any]],
    tables: sa.Join,
    matched: Sequence[ColumnElement[bool]],
    costs: Costs | None,
) -> tuple[list[str], sa.Select[Any]]:
    """These objects as rows of a plan, and the names of the columns."""
    names = [column.name for column in row]
    if costs is None:
        return names, sa.select(*row.values()).select_from(tables).where(*matched)
    names += [plan_items.c.spend.name, plan_items.c.saving.name]
    return names, costs.priced(tables, row.values(), matched)


def _into(found: sa.SelectBase, names: Sequence[str], dialect: str) -> sa.Insert:
    # Not NOT EXISTS: Postgres would look at the rows that this very statement has added, again for each.
    rows = into(plan_items, dialect).from_select(names, found, include_defaults=False)
    return rows.on_conflict_do_nothing()


def costs_of(policy: Policy, inputs: Inputs) -> Costs | None:
    """What the policy's moves cost; None where no prices are known of where they go to or come from, or where each has
    a place of its own (storaged.decide.choice.candidates)."""
    if inputs.prices is None or policy.to.chooses:
        return None
    costs = Costs(Selection(policy, inputs), inputs.prices)
    return costs if costs.stretches else None


def left_of(inputs: Inputs, plan_id: int) -> Iterator[sa.Update]:
    """Tell every action of a plan what it has of the pack that it comes out of, by who acts now."""
    if inputs.prices is not None:
        yield from Leaving(inputs.prices, replace(inputs.evidence, asked=None)).counted(plan_id)


def limits_of(policy: Policy, limits: Limits) -> Limits:
    """The policy's own limits, and storaged.yaml's where it sets none."""
    return limits.model_copy(update=policy.limits.model_dump(exclude_none=True))
