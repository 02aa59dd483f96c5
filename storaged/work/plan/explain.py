"""Why an object moves or stays: ask the catalog what each policy makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from storaged.catalog import collections, references
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import tier_ids
from storaged.catalog.schema import access, blobs, datasets, objects, replicas, tiers
from storaged.config.settings import Settings
from storaged.decide.explain import (
    Explanation,
    PartOf,
    Subject,
    as_whole,
    conclude,
    other_target,
    question,
    told,
    unplannable,
)
from storaged.decide.guards import CURRENT, TABLES
from storaged.decide.planner import in_order
from storaged.decide.policy import LoadedPolicy
from storaged.decide.selection import Inputs, Selection
from storaged.errors import UsageError
from storaged.model import PACK, Mode, ReplicaState
from storaged.work.money.plans import money_of_some
from storaged.work.plan.choice import chosen_for
from storaged.work.plan.functions import give_functions
from storaged.work.plan.make import Choices, gather, unknown_tiers

TOLD: Final = 3  # files with references that are named


def explain(
    catalog: Catalog,
    settings: Settings,
    policies: Iterable[LoadedPolicy],
    dataset: str,
    name: str,
    now_us: int,
    *,
    choices: Choices = MappingProxyType({}),
    refused: Mapping[str, str] = MappingProxyType({}),
    money: bool = True,
) -> Explanation:
    """What a plan made at `now_us` would say of the object, policy by policy, limits aside. `choices`: see `make_plan`;
    `refused`: see `storaged.work.plan.sample.refusals`.

    `money`: with what each policy's move comes to, which takes most of the time. Raises UsageError for an object that
    the catalog never saw.
    """
    given = list(policies)
    ordered = [*in_order(given), *(p for p in given if p.policy.mode is Mode.DISABLED)]
    with catalog.read() as conn:
        known = tier_ids(conn)
    plannable = [p for p in ordered if not unknown_tiers(p, known)]
    inputs = replace(gather(catalog, settings, plannable, now_us, {}), choices=choices)
    with catalog.read() as conn:
        give_functions(conn)
        subject = _subject(conn, dataset, name)
        going: sa.ColumnElement[bool] = sa.true()
        stay = 0
        if subject.pack and money:
            going = _going(ordered, inputs)
            stay = _staying(conn, subject, going)
        found = []
        for asked in ordered:
            elsewhere = other_target(asked, subject)
            if elsewhere is None and asked not in plannable:
                elsewhere = unplannable(asked, unknown_tiers(asked, known))
            if elsewhere is not None:
                found.append(elsewhere)
                continue
            choice = chosen_for(conn, asked.policy, inputs, subject) if asked.policy.to.chooses else None
            policy = asked if choice is None else replace(asked, policy=choice.policy)
            answer = conn.execute(question(policy, inputs, subject)).one()
            part_of = as_whole(policy.policy, subject)
            within = collections.inside(conn, subject.dataset_id, part_of.prefix) if part_of else None
            which = objects.c.id == subject.id if within is None else _all_of(subject.dataset_id, within)
            along = None if choice else going
            amounts = money_of_some(conn, policy.policy, inputs, which, along) if money else None
            one = told(policy, inputs, subject, answer, amounts, refused)
            if one.money is not None and choice is None:
                one = replace(one, stay=stay)
            found.append(one if choice is None else one.choosing(choice.told, moves=choice.moves))
    return conclude(subject, found)


def _going(policies: Iterable[LoadedPolicy], inputs: Inputs) -> sa.ColumnElement[bool]:
    """Whether a plan of these policies would move an object, over TABLES, limits aside. What the choice of a tier does
    with others is not asked."""
    found: list[sa.ColumnElement[bool]] = [sa.false()]
    for p in in_order(policies):
        if not p.policy.to.chooses and not p.policy.to.in_place:
            selection = Selection(p.policy, inputs.about(p.policy))
            found.append(sa.and_(selection.takes(), selection.guard().is_(None)))
    return sa.or_(*found)


def _staying(conn: sa.Connection, subject: Subject, going: sa.ColumnElement[bool]) -> int:
    """How many others stay in an object's pack."""
    mine = sa.select(replicas.c.blob_id).where(
        replicas.c.object_id == subject.id, replicas.c.state == ReplicaState.CURRENT.value
    )
    goes = sa.func.coalesce(going, sa.false())
    others = sa.and_(CURRENT.c.blob_id == mine.scalar_subquery(), objects.c.id != subject.id, sa.not_(goes))
    return int(conn.execute(sa.select(sa.func.count()).select_from(TABLES).where(others)).scalar_one())


def meant(conn: sa.Connection, dataset: str, name: str) -> tuple[str | None, str]:
    """The prefix of the collection that a name means, and its first part that is there; None and the name, where that
    is an object's, or nothing's."""
    here = sa.select(objects.c.id).join(datasets, datasets.c.id == objects.c.dataset_id)
    known = conn.execute(here.where(datasets.c.name == dataset, objects.c.name == name)).first() is not None
    return (None if known else collections.named(conn, dataset, name)) or (None, name)


def _subject(conn: sa.Connection, dataset: str, name: str) -> Subject:
    """The object of this name, or the first part of the collection of this name that is there."""
    reads = sa.select(sa.func.sum(access.c.reads)).where(access.c.object_id == objects.c.id).scalar_subquery()
    current = sa.and_(replicas.c.object_id == objects.c.id, replicas.c.state == ReplicaState.CURRENT.value)
    pack = (
        sa.select(blobs.c.key)
        .join(replicas, replicas.c.blob_id == blobs.c.id)
        .where(current, blobs.c.codec == PACK)
        .scalar_subquery()
    )
    query = (
        sa.select(objects, tiers.c.name.label("tier"), reads.label("reads"), pack.label("pack"))
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .outerjoin(tiers, tiers.c.id == objects.c.tier_id)
        .where(datasets.c.name == dataset)
    )
    asked, part = meant(conn, dataset, name)
    row = conn.execute(query.where(objects.c.name == part)).one_or_none()
    if row is None:
        raise UsageError(f"the catalog has no object {name!r} in {dataset!r}", hint="names are relative to the root")
    tier = None if row.removed_us is not None else row.tier
    not_taken = row.not_taken or "" if row.no_gain == row.generation else ""
    reads_known = int(row.reads or 0)
    return Subject(
        row.id,
        row.dataset_id,
        dataset,
        row.name,
        row.size,
        tier,
        row.codec,
        reads_known,
        row.raw_class,
        not_taken,
        row.pack or "",
        row.edition,
        row.format,
        _part_of(conn, row.id, row.dataset_id, asked),
        *_referrers(conn, row.id),
    )


def _referrers(conn: sa.Connection, object_id: int) -> tuple[tuple[str, ...], int]:
    names, number = references.of_object(conn, object_id, TOLD)
    return tuple(names), number


def _all_of(dataset_id: int, within: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(objects.c.dataset_id == dataset_id, within, objects.c.removed_us.is_(None))


def _part_of(conn: sa.Connection, object_id: int, dataset_id: int, asked: str | None) -> PartOf | None:
    """The collection that an object is in, if any. `asked`: the prefix of one that was asked for."""
    of_it = sa.select(collections.of_object("prefix").label("prefix"), collections.of_object("kind").label("kind"))
    prefix, kind = conn.execute(of_it.select_from(objects).where(objects.c.id == object_id)).one()
    within = None if prefix is None else collections.inside(conn, dataset_id, prefix)
    if within is None:
        return None
    sums = (
        sa.func.count().label("number"),
        sa.func.coalesce(sa.func.sum(objects.c.size), 0).label("size"),
        sa.func.max(objects.c.created_us).label("written"),
        sa.func.max(objects.c.last_read_us).label("read"),
    )
    query = sa.select(tiers.c.name, *sums).join(tiers, tiers.c.id == objects.c.tier_id)
    rows = conn.execute(query.where(_all_of(dataset_id, within)).group_by(tiers.c.name).order_by(tiers.c.name)).all()
    read = max((r.read for r in rows if r.read is not None), default=None)
    written = max((r.written for r in rows), default=None)
    sizes = sum(int(r.number) for r in rows), sum(int(r.size) for r in rows)
    return PartOf(prefix, kind, *sizes, written, read, tuple(r.name for r in rows), asked=asked == prefix)
