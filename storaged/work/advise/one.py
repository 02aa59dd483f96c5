"""Advice on one object: what each codec would make of it, what that comes to, and which one to take."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from storaged.catalog import placements
from storaged.catalog.schema import objects
from storaged.codecs.registry import Sampled, choose
from storaged.decide.money import PlanMoney
from storaged.errors import UsageError
from storaged.model import IDENTITY, PACK
from storaged.work.advise.texts import loaded
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.money.plans import money_of_some
from storaged.work.plan.functions import give_functions
from storaged.work.plan.make import gather
from storaged.work.scan.partitions import format_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A codec for one object. `stored_bytes`: expected, with what a blob holds besides. `why_not`: why it is not taken,
    in words; empty: it is. `money`: of storing it so where it is; None: it is not known, or nothing would change."""

    codec: str
    stored_bytes: int
    why_not: str
    money: PlanMoney | None


@dataclass(frozen=True, slots=True)
class ObjectAdvice:
    """An object as it is, what it could be, and the choice. `form`: how it is stored now."""

    dataset: str
    name: str
    size: int
    format: str
    form: str
    stored_bytes: int
    candidates: tuple[Candidate, ...]
    choice: str
    why: str


def advise_object(context: Context, dataset: str, name: str) -> ObjectAdvice:
    """Raises UsageError for an object that there is not, and what reading it raises."""
    with context.catalog.read() as conn:
        seen = placements.find(conn, dataset, name)
    if seen is None or not seen.placement.exists:
        raise UsageError(f"the catalog has no object {name!r} in {dataset!r}", hint="names are relative to the root")
    p, replica = seen.placement, seen.placement.current
    with open_current(context, seen) as content:
        found = choose(content)
    form = IDENTITY.name if replica is None else seen.blobs[replica.blob].codec
    held = p.size if replica is None else seen.blobs[replica.blob].share(replica)
    target = json.dumps(dataset)
    texts = {
        Path(f"{codec}.yaml"): f"name: {codec}\ntarget: {{dataset: {target}}}\n"
        f"when: {{age_over: 0}}\nto: {{codec: {codec}}}\n"
        for codec in found.tried
    }
    policies = {one.name: one for one in loaded(texts, context.settings)}
    inputs = gather(context.catalog, context.settings, policies.values(), context.now_us(), {})
    kind = format_of(name)
    candidates = []
    for codec, told in found.tried.items():
        money = None
        if not _why_not(codec, told) and form not in (codec, PACK):
            mine = replace(inputs, ratios={(dataset, kind, codec): told.sample.ratio})
            with context.catalog.read() as conn:
                give_functions(conn)
                money = money_of_some(conn, policies[codec].policy, mine, objects.c.id == seen.id)
        candidates.append(Candidate(codec, round(told.sample.ratio * p.size), _why_not(codec, told), money))
    return ObjectAdvice(dataset, name, p.size, kind, form, held, tuple(candidates), found.spec.name, found.why)


def _why_not(codec: str, told: Sampled) -> str:
    if told.spec.name == codec:
        return told.why if not told.sample.taken else ""
    return f"{told.passed}: {told.spec.name} would take it" if told.sample.taken else told.why
