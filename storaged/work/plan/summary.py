"""Sum up what a plan's statements selected: objects, bytes, money, and what a person should know besides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog import collections
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import access, datasets, objects, plan_items
from storaged.catalog.schema_totals import object_totals
from storaged.clock import iso
from storaged.config.quantities import format_duration
from storaged.decide import sql
from storaged.decide.choice.candidates import candidates
from storaged.decide.choice.outlook import by_reason, staying
from storaged.decide.conditions.size import limit_words
from storaged.decide.kinds import shown
from storaged.decide.limits import LIMITS, PICO_IN_NANO, nano
from storaged.decide.money import PlanMoney, Volumes
from storaged.decide.planner import limits_of
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.decide.rooms import ROOMS
from storaged.decide.selection import Inputs, Selection, refused
from storaged.decide.sentence import sentence
from storaged.decide.summary import PolicySummary, Summary, Tally
from storaged.model import AUTO, IDENTITY, Fidelity, RawState
from storaged.stores.locks import Versioning
from storaged.work.money.plans import PlanPart, basis, parts_of, pays_as_packs
from storaged.work.plan.rows import By

CUTTING: Final = frozenset({**ROOMS, **LIMITS}) - {"max_percent"}  # limits that take some and leave some


def sum_up(
    catalog: Catalog,
    policies: Sequence[LoadedPolicy],
    inputs: Inputs,
    plan_id: int,
    not_taken: Mapping[tuple[str, str, str], str],
    tallies: Mapping[By, Tally],
) -> Summary:
    """The summary of a plan's rows, policy by policy. `not_taken`: what samples were not taken and why, in words, by
    (dataset, format, codec)."""
    held_by = {held for _, held in tallies}
    with catalog.read() as conn:
        raw_reads = _raw_reads(conn, plan_id) if "readers" in held_by else {}
        unknown = _unknown_ratios(conn, policies, inputs, plan_id)
        versions = _in_versioned_roots(conn, plan_id)
        waits = {p.name: tuple(_waits(conn, p, inputs, plan_id, tallies)) for p in policies}
        apart = _taken_apart(conn, plan_id) if any(p.policy.collections == "ignore" for p in policies) else {}
        whole = _whole(conn, plan_id) if any(p.policy.collections == "whole" for p in policies) else {}
        too_large = {p.name: tuple(_too_large(conn, p.policy, inputs, plan_id, held_by)) for p in policies}
        refused = _not_taken(conn, not_taken, plan_id)
        parts = parts_of(conn, [p for p in policies if any(name == p.name for name, _ in tallies)], inputs, plan_id)
        packs = _packs(conn, plan_id) if any(p.policy.to.packing is not None for p in policies) else {}
    volumes = Volumes() if inputs.prices is None else inputs.prices.volumes()
    summaries = []
    for p in policies:
        found = {held: tally for (name, held), tally in sorted(tallies.items(), key=str) if name == p.name}
        money, packed = _priced(p.policy, parts[p.name], found, volumes) if p.name in parts else ({}, {})
        summaries.append(
            PolicySummary(
                p.name,
                p.policy.mode.value,
                sentence(p.policy),
                actions=found.get(None, Tally()),
                held={held: tally for held, tally in found.items() if held is not None},
                raw_reads=raw_reads.get(p.name, 0),
                unknown_ratio=unknown.get(p.name, 0),
                stop_on_error_rate=limits_of(p.policy, inputs.limits).stop_on_error_rate,
                notes=(
                    *_notes(p, versions.get(p.name, 0), apart.get(p.name, 0), whole.get(p.name, (0, 0))),
                    *too_large.get(p.name, ()),
                    *_left_alone(p.policy, inputs),
                    *_choice(p.policy, inputs),
                    *_order(p.policy, found, money),
                    *waits[p.name],
                    *refused.get(p.name, ()),
                    *_stay(parts.get(p.name)),
                ),
                money=money.get(None),
                held_money={held: amounts for held, amounts in money.items() if held is not None},
                packed=packed,
                packs=packs.get(p.name, 0),
                tables=_tables(p.policy, inputs) if None in found else "",
            )
        )
    return Summary(tuple(summaries), tuple(basis(parts.values())))


def _tables(policy: Policy, inputs: Inputs) -> str:
    """What becomes of the bytes of tables, where the policy lets them become other files; empty: nothing does."""
    if policy.to.fidelity is not Fidelity.TABLE:
        return ""
    kept = format_duration(inputs.grace_us if policy.keep_source is None else policy.keep_source)
    anew = ", with other encodings where these are smaller" if policy.to.codec and policy.to.codec.reencode else ""
    made = f"tables become other files of the same table{anew}"
    return f"{made}: their old bytes are kept for {kept}, for `undo`, and then go"


HeldBy = str | None  # what holds objects back; None: nothing, they are actions


def _priced(
    policy: Policy, part: PlanPart, found: Iterable[HeldBy], volumes: Volumes
) -> tuple[dict[HeldBy, PlanMoney], dict[str, PlanMoney]]:
    """What the objects come to, and what they would as packs where only then they pay back. What the actions move
    counts for the policies after this one: on top of which volume their objects are stored."""
    priced: dict[HeldBy, PlanMoney] = {}
    packed: dict[str, PlanMoney] = {}
    for held in found:
        money = part.money(held, volumes.copy())
        if money is None:
            continue
        priced[held] = money
        if held in (None, "require"):
            together = pays_as_packs(part, held, policy, money, volumes.copy())
            if together is not None:
                packed[held or ""] = together
    part.money(None, volumes)
    return priced, packed


def _order(policy: Policy, found: Mapping[HeldBy, Tally], money: Mapping[HeldBy, PlanMoney]) -> Iterator[str]:
    """By what the limits took what they took."""
    looked_at = [held for held in found if held is None or held in CUTTING]
    if any(held in CUTTING for held in looked_at) and policy.drains:
        yield "limits: the coldest first"
    elif any(held in CUTTING for held in looked_at):
        known = all(held in money and not money[held].unpriced for held in looked_at)
        yield f"limits: the largest saving {'per dollar' if known else 'in bytes'} first"


def _raw_reads(conn: sa.Connection, plan_id: int) -> dict[str, int]:
    """By policy, the reads seen of the objects that `readers` holds."""
    query = (
        sa.select(plan_items.c.policy, sa.func.sum(access.c.reads))
        .join(access, access.c.object_id == plan_items.c.object_id)
        .where(plan_items.c.plan_id == plan_id, plan_items.c.held == "readers")
        .group_by(plan_items.c.policy)
    )
    return {policy: int(count) for policy, count in conn.execute(query)}


def _waits(
    conn: sa.Connection, loaded: LoadedPolicy, inputs: Inputs, plan_id: int, tallies: Mapping[By, Tally]
) -> Iterator[str]:
    """Until when waits what only time holds back: what rests, and what its user dated ahead."""
    selection = Selection(loaded.policy, inputs)
    ahead = objects.c.mtime_us > inputs.evidence.now_us
    rests = inputs.rests.until(loaded.policy.rest, tier=plan_items.c.tier_id, codec=plan_items.c.codec)
    for held, until, where, words in (
        ("rest", rests, sa.true(), "rests"),
        ("quiet", selection.young_until(), ahead, "dated ahead of now"),
    ):
        if (loaded.name, held) not in tallies:
            continue
        mine = (plan_items.c.plan_id == plan_id, plan_items.c.policy == loaded.name, plan_items.c.held == held)
        query = sa.select(sa.func.count(), sa.func.max(until)).select_from(
            sa.join(plan_items, objects, objects.c.id == plan_items.c.object_id)
        )
        count, last = conn.execute(query.where(*mine, where)).one()
        if count:
            yield f"{words}: {count:,} object{'' if count == 1 else 's'}, the last of them until {iso(last)}"


def _stay(part: PlanPart | None) -> Iterator[str]:
    """In how many of the packs that actions come out of others stay."""
    if part is not None and part.stay:
        packs = "pack" if part.left == 1 else "packs"
        yield f"comes out of {part.left:,} {packs}; others stay in {part.stay:,} of them: billed as before"


def _in_versioned_roots(conn: sa.Connection, plan_id: int) -> dict[str, int]:
    """By policy, how many sources its actions will release in roots that keep versions."""
    if not conn.execute(sa.select(sa.exists().where(datasets.c.versioning != Versioning.OFF.value))).scalar_one():
        return {}
    query = (
        sa.select(plan_items.c.policy, sa.func.count().label("sources"))
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None))
        .where(objects.c.raw_state == RawState.CURRENT.value, datasets.c.versioning != Versioning.OFF.value)
        .group_by(plan_items.c.policy)
    )
    return {row.policy: row.sources for row in conn.execute(query)}


def _taken_apart(conn: sa.Connection, plan_id: int) -> dict[str, int]:
    """By policy, how many of its actions move a part of a collection by itself."""
    query = (
        sa.select(plan_items.c.policy, sa.func.count().label("parts"))
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None), plan_items.c.apart)
        .where(collections.of_object("kind").is_not(None))
        .group_by(plan_items.c.policy)
    )
    return {row.policy: row.parts for row in conn.execute(query)}


def _whole(conn: sa.Connection, plan_id: int) -> dict[str, tuple[int, int]]:
    """By policy, how many collections its actions move whole, and how many objects these are."""
    wholes = (
        sa.select(plan_items.c.policy, sa.func.count().label("objects"))
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None), plan_items.c.whole.is_not(None))
        .group_by(plan_items.c.policy, objects.c.dataset_id, plan_items.c.whole)
        .subquery()
    )
    query = sa.select(wholes.c.policy, sa.func.count(), sa.func.sum(wholes.c.objects)).group_by(wholes.c.policy)
    return {policy: (count, int(number)) for policy, count, number in conn.execute(query)}


def _too_large(
    conn: sa.Connection, policy: Policy, inputs: Inputs, plan_id: int, held_by: Collection[str | None]
) -> Iterator[str]:
    """The limits that are smaller than a collection that the policy would move whole, which they never let through."""
    if policy.collections != "whole":
        return
    limits, item = limits_of(policy, inputs.limits), plan_items.c
    spend = sa.func.sum((item.spend + PICO_IN_NANO - 1) // PICO_IN_NANO)
    given: list[tuple[str, str, int, ColumnElement[Any]]] = []
    if limits.max_objects is not None:
        given.append(("max_objects", f"{limits.max_objects:,}", limits.max_objects, sa.func.count()))
    if limits.max_bytes is not None:
        stored = sa.func.sum(item.stored_bytes)
        given.append(("max_bytes", limit_words(limits.max_bytes), limits.max_bytes, stored))
    if limits.max_spend is not None:
        given.append(("max_spend", limits.max_spend, nano(limits.max_spend), spend))
    for name, said, most, amount in given:
        if name not in held_by:
            continue
        query = (
            sa.select(datasets.c.name, item.whole)
            .select_from(plan_items)
            .join(objects, objects.c.id == item.object_id)
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .where(item.plan_id == plan_id, item.policy == policy.name, item.held == name, item.whole.is_not(None))
            .group_by(datasets.c.name, item.whole)
            .having(amount > most)
            .order_by(datasets.c.name, item.whole)
        )
        found = conn.execute(query).all()
        if found:
            dataset, prefix = found[0]
            more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
            yield f"{name}: {said}: all of {dataset}: {shown(prefix)}{more} is more than that, so it never moves"


def _notes(loaded: LoadedPolicy, in_versioned_roots: int, apart: int, whole: tuple[int, int]) -> Iterator[str]:
    """What else a person should know before applying a policy's part."""
    if whole[0]:
        yield f"collections that move whole: {whole[0]:,}, of {whole[1]:,} objects: each of them is moved whole or not"
    if apart:
        yield f"parts of collections: {apart:,}: each is moved by itself (collections: ignore)"
    if in_versioned_roots and loaded.policy.purge_noncurrent:
        yield f"objects whose root keeps versions: {in_versioned_roots:,}: a release deletes all their versions"
    elif in_versioned_roots:
        yield (
            f"objects whose root keeps versions: {in_versioned_roots:,}: a release frees the current version only; "
            "older ones stay (purge_noncurrent: true deletes them too)"
        )


def _left_alone(policy: Policy, inputs: Inputs) -> Iterator[str]:
    """The kinds that a policy whose codec samples choose leaves as they are, and why."""
    if policy.to.codec is None or policy.to.codec.name != AUTO:
        return
    for (dataset, kind), choice in sorted(inputs.choices.items()):
        if policy.target.takes(dataset) and choice.codec == IDENTITY.name:
            yield f"left alone: {f'{dataset}, {kind}' if kind else dataset}: {choice.why}"


def _choice(policy: Policy, inputs: Inputs) -> Iterator[str]:
    """Of a policy that chooses tiers, where it sends nothing, and what it leaves where it is, and why."""
    if not policy.to.chooses:
        return
    for tier, why in candidates(policy, inputs.about(policy)).left_out:
        yield f"nothing is sent to {tier}: {why}"
    for why, names in by_reason(staying(policy, inputs)):
        yield f"stays where it is: {', '.join(names)}: {why}"


def _not_taken(
    conn: sa.Connection, not_taken: Mapping[tuple[str, str, str], str], plan_id: int
) -> dict[str, list[str]]:
    """By policy, what was not taken of the samples of its actions' kinds, and why."""
    found: dict[str, list[str]] = {}
    if not not_taken:
        return found
    groups = (plan_items.c.policy, datasets.c.name, objects.c.format, plan_items.c.codec)
    query = (
        sa.select(*groups)
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None))
        .group_by(*groups)
        .order_by(*groups)
    )
    for policy, dataset, kind, codec in conn.execute(query):
        if (words := not_taken.get((dataset, kind, codec))) is not None:
            of = f"{dataset}, {kind}" if kind else dataset
            found.setdefault(policy, []).append(f"samples that are not taken: {of}: {words}")
    return found


def _packs(conn: sa.Connection, plan_id: int) -> dict[str, int]:
    """How many packs the actions become, by policy."""
    packs = (
        sa.select(plan_items.c.policy)
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .where(plan_items.c.plan_id == plan_id, plan_items.c.held.is_(None), plan_items.c.pack.is_not(None))
        .group_by(plan_items.c.policy, objects.c.dataset_id, plan_items.c.tier_id, plan_items.c.pack)
        .subquery()
    )
    query = sa.select(packs.c.policy, sa.func.count().label("packs")).group_by(packs.c.policy)
    return {row.policy: row.packs for row in conn.execute(query)}


def _unknown_ratios(
    conn: sa.Connection, policies: Iterable[LoadedPolicy], inputs: Inputs, plan_id: int
) -> dict[str, int]:
    """Actions by policy whose size in their new codec is not known, so that the plan counts all of it."""
    found: dict[str, int] = {}
    kinds = _unknown_kinds(conn, policies, inputs)
    if not kinds:
        return found
    of_kinds = (sa.and_(objects.c.dataset_id == number, objects.c.format.in_(names)) for number, names in kinds.items())
    groups = (plan_items.c.policy, datasets.c.name, objects.c.format, plan_items.c.codec)
    at = sa.func.coalesce(sql.words(":", plan_items.c.level), "")
    fidelity = plan_items.c.fidelity
    survives = sa.case((fidelity == Fidelity.BYTES.value, ""), else_=sql.words("+", fidelity))
    anew = sa.case((plan_items.c.reencode, "+reencode"), else_="")
    query = (
        sa.select(*groups, sa.func.count())
        .select_from(plan_items)
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(
            plan_items.c.plan_id == plan_id,
            plan_items.c.held.is_(None),
            sa.or_(*of_kinds),
            plan_items.c.codec.not_in([IDENTITY.name, objects.c.codec]),
            sa.not_(refused(sql.words(" ", plan_items.c.codec, at, survives, anew, " "))),
        )
        .group_by(*groups)
    )
    for policy, dataset, kind, codec, count in conn.execute(query):
        if (dataset, kind, codec) not in inputs.ratios:
            found[policy] = found.get(policy, 0) + count
    return found


def _unknown_kinds(conn: sa.Connection, policies: Iterable[LoadedPolicy], inputs: Inputs) -> dict[int, list[str]]:
    """Formats by dataset of which there are objects, and a policy wants a codec for them whose ratio is not known."""
    wanted = [p.policy for p in policies if p.policy.to.codec is not None]
    found: dict[int, list[str]] = {}
    held = object_totals.c
    query = sa.select(held.dataset_id, datasets.c.name, held.format).distinct()
    query = query.join(datasets, datasets.c.id == held.dataset_id).where(held.removed == 0)
    for number, dataset, kind in conn.execute(query):
        codecs = {_codec_of(policy, inputs, dataset, kind) for policy in wanted if policy.target.takes(dataset)}
        if any((dataset, kind, codec) not in inputs.ratios for codec in codecs - {IDENTITY.name}):
            found.setdefault(number, []).append(kind)
    return found


def _codec_of(policy: Policy, inputs: Inputs, dataset: str, kind: str) -> str:
    """The codec that a policy wants for a kind; `identity` also where none is chosen for it."""
    codec = IDENTITY.name if policy.to.codec is None else policy.to.codec.name
    if codec != AUTO:
        return codec
    choice = inputs.choices.get((dataset, kind))
    return IDENTITY.name if choice is None else choice.codec
