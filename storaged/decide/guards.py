"""What keeps an object as it is, whatever a policy or a person wants: one rule, asked at every door.

A plan asks it of all objects; apply asks it again of what an old plan lists, restage of what a person names, and a
worker of what it is about to move. So the rule is an expression over the catalog's rows, and `held_back` is the same
expression asked of some objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog import collections, references
from storaged.catalog.among import among
from storaged.catalog.placements import chunks
from storaged.catalog.schema import blobs, datasets, job_items, objects, replicas, tiers
from storaged.decide.kinds import DENSE, shown, what_is
from storaged.model import IDENTITY, Dataset, ItemState, RawState, Readers, ReplicaState
from storaged.stores.locks import Versioning, locked_words

GUARDS: Final[Mapping[str, str]] = {  # in this order: an object has the first that holds it
    "collection": "part of what is one thing to the program that wrote it",
    "dense": "part of what its program compresses or encrypts itself, so it goes into no pack and gets no codec",
    "referred": "references name its path, and where in its bytes something is",
    "unread": "references that cannot be read may name its path",
    "hold": "a legal hold",
    "readers": "readers: raw, programs read the original paths",
    "pin": "pinned to another tier",
    "locked": "locked: the store would not delete the original, so nothing would be freed",
    "unconditional": "its root's store deletes neither on condition nor by version id, so nothing would be freed",
    "stuck": "its original could not be deleted, so nothing would be freed",
    "moved": "not at its original key any more, so nothing can be changed in place",
    "versions": "its root keeps versions: a change in place would leave the bytes in the old class",
    "transitions": "its root's store does not change storage classes on condition",
    "damaged": "damaged: `storagectl verify` found other bytes than recorded",
    "fact": "a change that was seen waits for the journal",
    "settling": "its last move is in grace: `storagectl sweep` ends that when it is over",
    "busy": "a job has it",
    "quiet": "modified too recently (quiet_for)",
}
AT_THE_QUEUE: Final = frozenset(GUARDS) - {"busy"}  # a job is made: whoever makes it asks for others of the same object
AT_WORK: Final = frozenset({"collection", "dense", "referred", "unread", "hold", "readers", "pin", "locked", "damaged"})
"""What may have come to hold an object since its job was made, although the object's row has the same version."""

AT_ITS_KEY: Final = objects.c.raw_state == RawState.CURRENT.value

CURRENT: Final = replicas.alias("current_replica")
TABLES: Final = (  # an object, its dataset, and the blob of its current replica
    objects.join(datasets, datasets.c.id == objects.c.dataset_id)
    .outerjoin(CURRENT, sa.and_(CURRENT.c.object_id == objects.c.id, CURRENT.c.state == ReplicaState.CURRENT.value))
    .outerjoin(blobs, blobs.c.id == CURRENT.c.blob_id)
)


@dataclass(frozen=True, slots=True)
class Now:
    """When it is asked, and what the configuration says by now beside what the catalog has of it.

    `quiet_for_us`: how old what its user wrote must be. `configured`: datasets by name.
    """

    at_us: int
    quiet_for_us: int
    configured: Mapping[str, Dataset] = field(default_factory=dict)


def rules(
    now: Now, *, tier: ColumnElement[int], in_place: bool, apart: bool = False, encoded: bool = False
) -> dict[str, ColumnElement[bool]]:
    """For each of GUARDS whether it holds an object (over `TABLES`) that shall go to a tier, or with `in_place` get
    that tier's storage class where it is; with `apart` it may be a part of a collection, with `encoded` it shall be
    stored in another form. NULL counts as false."""
    settling = (RawState.SUPERSEDED.value, RawState.RELEASING.value)
    kept = sa.select(replicas.c.object_id).where(
        replicas.c.object_id == objects.c.id,
        replicas.c.state != ReplicaState.CURRENT.value,
        sa.not_(replicas.c.overwritten),  # it may be kept for a year, and has nothing to do with what is there now
    )
    live = sa.select(job_items.c.object_id).where(
        job_items.c.object_id == objects.c.id, job_items.c.state == ItemState.PENDING.value
    )
    where_it_is = sa.true() if in_place else sa.false()
    plain = objects.c.codec == IDENTITY.name
    held = [name for name, dataset in now.configured.items() if dataset.hold]
    raw = [name for name, dataset in now.configured.items() if dataset.readers is Readers.RAW]
    return {
        "collection": sa.false() if apart else collections.of_object("kind").is_not(None),
        "dense": sa.and_(plain, collections.of_kinds(DENSE)) if encoded else sa.false(),
        "referred": sa.and_(references.names_object(), sa.not_(where_it_is)),
        "unread": sa.and_(references.may_name_object(), sa.not_(where_it_is)),
        "hold": sa.or_(datasets.c.hold.is_not(None), objects.c.hold.is_not(None), *_named(held)),
        "readers": sa.and_(sa.or_(datasets.c.readers == Readers.RAW.value, *_named(raw)), sa.not_(where_it_is)),
        "pin": sa.or_(*(pin != tier for pin in _pins(now))),
        "locked": locked(now.at_us),
        "unconditional": sa.and_(AT_ITS_KEY, sa.not_(datasets.c.conditional), sa.not_(where_it_is)),
        "stuck": sa.and_(AT_ITS_KEY, objects.c.stuck.is_not(None), sa.not_(where_it_is)),
        "moved": sa.and_(where_it_is, sa.not_(AT_ITS_KEY)),
        "versions": sa.and_(where_it_is, datasets.c.versioning != Versioning.OFF.value),
        "transitions": sa.and_(where_it_is, sa.not_(datasets.c.transitions)),
        "damaged": sa.case(
            (objects.c.raw_state == RawState.CURRENT.value, objects.c.damaged.is_not(None)),
            else_=CURRENT.c.damaged.is_not(None),
        ),
        "fact": objects.c.fact_id.is_not(None),
        "settling": sa.or_(objects.c.raw_state.in_(settling), _exists(kept)),
        "busy": _exists(live),
        "quiet": objects.c.mtime_us > now.at_us - now.quiet_for_us,
    }


def guard(
    now: Now,
    *,
    tier: ColumnElement[int],
    in_place: bool,
    apart: bool = False,
    encoded: bool = False,
    asked: Collection[str] = GUARDS.keys(),
) -> ColumnElement[str]:
    """Which guard holds an object back, of a collection with its kind: `collection:zarr`; NULL: none of those that are
    asked."""
    holds = rules(now, tier=tier, in_place=in_place, apart=apart, encoded=encoded)
    told: dict[str, ColumnElement[str]] = {code: sa.literal(code, sa.Text()) for code in GUARDS}
    told["collection"] = sa.literal("collection:", sa.Text()).concat(collections.of_object("kind"))
    return sa.case(*((holds[code], told[code]) for code in GUARDS if code in asked))


@dataclass(frozen=True, slots=True)
class Move:
    """What shall become of an object: the number of the tier that it shall go to, or whose class it shall get. `apart`:
    also where it is a part of a collection. `encoded`: in another form."""

    tier_id: int
    in_place: bool = False
    apart: bool = False
    encoded: bool = False


def held_back(
    conn: sa.Connection, moves: Mapping[int, Move], now: Now, *, asked: Collection[str] = GUARDS.keys()
) -> dict[int, str]:
    """Of these objects (by id) those that a guard holds back, and why in words."""
    found: dict[int, str] = {}
    for move in sorted(set(moves.values()), key=lambda m: (m.tier_id, m.in_place, m.apart, m.encoded)):
        tier = sa.literal(move.tier_id, sa.Integer())
        how = {"in_place": move.in_place, "apart": move.apart, "encoded": move.encoded}
        code = guard(now, tier=tier, **how, asked=asked)
        query = sa.select(
            objects.c.id, datasets.c.name, objects.c.locked_until_us, objects.c.hold, code.label("code")
        ).add_columns(
            *(datasets.c.hold.label("all_of_it"), collections.of_object("prefix").label("prefix"), objects.c.stuck),
            references.first_of_object().label("referrer"),
        )
        for part in chunks([number for number, one in moves.items() if one == move]):
            rows = conn.execute(query.select_from(TABLES).where(among(objects.c.id, part), code.is_not(None)))
            for row in rows:
                dataset = now.configured.get(row.name)
                hold = row.hold or row.all_of_it or (dataset.hold if dataset else "")
                known = {"locked_until_us": row.locked_until_us, "hold": hold, "prefix": row.prefix, "stuck": row.stuck}
                found[row.id] = words(row.code, **known, referrer=row.referrer)
    return found


def words(
    code: str,
    *,
    locked_until_us: int | None = None,
    hold: str | None = None,
    prefix: str | None = None,
    stuck: str | None = None,
    referrer: str | None = None,
) -> str:
    """What a guard says, with until when something is locked, why it is on hold or could not be deleted, where its
    collection is, or which file names it, where that is known."""
    code, _, kind = code.partition(":")
    if kind:
        where = "" if prefix is None else f" ({shown(prefix)})"
        return f"part of {what_is(kind)}{where}, which is one thing"
    if code == "referred" and referrer:
        return f"{referrer} names its path, and where in its bytes something is"
    if code == "unread" and referrer:
        return f"{referrer} holds references, cannot be read, and may name its path"
    if code == "stuck" and stuck:
        return f"{GUARDS[code]}: {stuck}"
    if code == "locked" and locked_until_us is not None:
        return f"{locked_words(locked_until_us)}: nothing would be freed"
    if code == "hold" and hold:
        return f"{GUARDS[code]}: {hold}"
    return GUARDS[code]


def locked(at_us: int) -> ColumnElement[bool]:
    """Whether the store refuses to delete the original then. NULL counts as false."""
    return sa.and_(AT_ITS_KEY, objects.c.locked_until_us > at_us)


def _pins(now: Now) -> Iterable[ColumnElement[Any]]:
    """The tiers that an object is fixed to: its own, else its dataset's, as the catalog has it and as configured."""
    yield sa.func.coalesce(objects.c.pin_tier_id, datasets.c.pin_tier_id)
    for name, dataset in now.configured.items():
        if dataset.pin:
            number = sa.select(tiers.c.id).where(tiers.c.name == dataset.pin).scalar_subquery()
            yield sa.case((sa.and_(datasets.c.name == name, objects.c.pin_tier_id.is_(None)), number))


def _named(names: Collection[str]) -> Iterable[ColumnElement[bool]]:
    if names:
        yield datasets.c.name.in_(sorted(names))


def _exists(query: sa.Select[Any]) -> ColumnElement[bool]:
    return query.correlate(objects).exists()
