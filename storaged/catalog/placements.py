"""Placements in the catalog: read them, change them under guard, and put each change into the outbox.

Two ways lead to a change. `change` applies it now and tells the journal later (swap, undo, release intents): its entry
waits in the outbox, and nothing is deleted before that entry is durable. `propose` is for *facts* (adoption, removal,
write-back of a moved object): the change is applied only when its entry is durable, and until then the object is
locked against every other change. What makes entries true, for facts and for replay, is storaged.catalog.replay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa

from storaged.catalog import allocated, columns, each, moves
from storaged.catalog.among import IDS, TEXTS, among
from storaged.catalog.blobs import told as blobs_told
from storaged.catalog.entries import Entry, Lines
from storaged.catalog.homes import homes
from storaged.catalog.schema import audit, blobs, datasets, objects, outbox, replicas, tiers
from storaged.clock import iso, new_ids
from storaged.errors import CatalogError
from storaged.model import IDENTITY, Blob, Placement, Raw, RawState, Replica, ReplicaState, share

CHUNK: Final = 1_000  # ids in one IN list; SQLite and Postgres both take far more

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """One object as its row stood when it was read."""

    id: int
    version: int
    dataset_id: int
    placement: Placement
    fact_id: str | None  # a fact waits for the journal: no other change may be made
    no_gain: int | None
    blobs: Mapping[str, Blob]  # of its replicas
    locks: bool = False  # its root can lock objects

    @property
    def path(self) -> str:
        return f"{self.placement.dataset}/{self.placement.name}"


@dataclass(frozen=True, slots=True)
class Change:
    """A placement that shall replace the one that was read."""

    seen: Seen
    placement: Placement
    kind: str  # swap, undo, release-source, ...: the word in journal and audit
    said: str = ""  # what the audit shall keep of it beside that
    blob: Entry | None = None  # that an attempt becomes by it


@dataclass(frozen=True, slots=True)
class Why:
    """Who does it and for which job and plan; goes into journal and audit."""

    actor: str
    reason: str = ""
    job_id: int | None = None
    plan_id: int | None = None


def load(conn: sa.Connection, ids: Iterable[int], *, lock: bool = False) -> dict[int, Seen]:
    """The objects with these ids. `lock` keeps their rows (in id order) until the transaction ends."""
    wanted = sorted(set(ids))
    found: dict[int, Seen] = {}
    for part in chunks(wanted):
        rows = conn.execute(_LOCKED if lock else _OBJECTS, {"ids": part}).all()
        made: dict[int, tuple[Replica, ...]] = {}
        for number, blob, offset, length, generation, state, *more in conn.execute(_REPLICAS, {"ids": part}):
            until_us, damaged, *rest = more
            one = Replica(blob, offset, length, generation, _REPLICA_STATES[state], until_us, damaged or "", *rest)
            made[number] = (*made.get(number, ()), one)
        of = load_blobs(conn, {r.blob for theirs in made.values() for r in theirs})
        # Taken apart by place: by name it takes as long again.
        for number, version, dataset_id, fact_id, no_gain, locks, raw_state, damaged, metadata, *more in rows:
            identity, attempt, until_us, storage_class, raw_edition, raw_size, raw_digest, *more = more
            dataset, name, generation, size, mtime_us, created_us, digest, hold, pin, removed_us, edition = more
            raw = Raw(
                *(_RAW_STATES[raw_state], identity, attempt, until_us, storage_class, damaged or ""),
                *(raw_edition, raw_size, raw_digest),
            )
            theirs = made.get(number, ())
            beside = {} if metadata == "{}" else json.loads(metadata)
            placement = Placement(
                *(dataset, name, generation, size, mtime_us, created_us, raw, digest, theirs),
                *(hold, pin, removed_us, beside, edition),
            )
            found[number] = Seen(
                *(number, version, dataset_id, placement, fact_id, no_gain, {r.blob: of[r.blob] for r in theirs}, locks)
            )
    return found


def find(conn: sa.Connection, dataset: str, name: str) -> Seen | None:
    """The object of this name, or None if the catalog never saw it."""
    found = conn.execute(
        sa.select(objects.c.id).join(datasets).where(datasets.c.name == dataset, objects.c.name == name)
    ).scalar()
    return None if found is None else load(conn, [found])[found]


def load_blobs(conn: sa.Connection, ids: Iterable[str]) -> dict[str, Blob]:
    """The blobs with these ids: each once, however many objects are in it."""
    found: dict[str, Blob] = {}
    for part in chunks(sorted(ids)):
        for number, key, codec, size, identity, digest, seek, packed, tier, dataset in conn.execute(
            _BLOBS, {"ids": part}
        ).all():
            found[number] = Blob(number, dataset or "", tier, key, codec, size, identity, digest, bytes(seek), packed)
    return found


_RAW_STATES: Final = {state.value: state for state in RawState}  # a fifth of the time of RawState(...)
_REPLICA_STATES: Final = {state.value: state for state in ReplicaState}

# Made once: to make one takes longer than to run it.
_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", type_=IDS)
_BLOB_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", type_=TEXTS)
_TIERS: Final = sa.select(tiers.c.id, tiers.c.name)
_DATASETS: Final = sa.select(datasets.c.name, datasets.c.id)
_o: Final = objects.c
_OBJECTS: Final = (
    sa.select(
        *(_o.id, _o.version, _o.dataset_id, _o.fact_id, _o.no_gain, datasets.c.locks),
        *(_o.raw_state, _o.damaged, _o.metadata, _o.raw_identity, _o.raw_attempt, _o.raw_until_us, _o.raw_class),
        *(_o.raw_edition, _o.raw_size, _o.raw_digest),
        *(datasets.c.name, _o.name, _o.generation, _o.size, _o.mtime_us, _o.created_us, _o.digest, _o.hold),
        *(tiers.c.name, _o.removed_us, _o.edition),
    )
    .join(datasets, datasets.c.id == objects.c.dataset_id)
    .outerjoin(tiers, tiers.c.id == objects.c.pin_tier_id)
    .where(among(objects.c.id, _IDS))
    .order_by(objects.c.id)
)
_LOCKED: Final = _OBJECTS.with_for_update(of=objects)
_r: Final = replicas.c
_REPLICAS: Final = (
    sa.select(
        *(_r.object_id, _r.blob_id, _r.offset, _r.length, _r.generation, _r.state, _r.until_us, _r.damaged),
        *(_r.overwritten, _r.edition, _r.digest, _r.packed_before),
    )
    .where(among(replicas.c.object_id, _IDS))
    .order_by(replicas.c.object_id, replicas.c.blob_id)
)
_BLOBS: Final = (
    sa.select(
        blobs.c.id,
        blobs.c.key,
        blobs.c.codec,
        blobs.c.size,
        blobs.c.identity,
        blobs.c.digest,
        blobs.c.index.label("seek"),  # rows have a method of the column's name
        blobs.c.packed_bytes,
        tiers.c.name.label("tier"),
        datasets.c.name.label("dataset"),
    )
    .outerjoin(tiers, tiers.c.id == blobs.c.tier_id)
    .outerjoin(datasets, datasets.c.id == blobs.c.dataset_id)
    .where(among(blobs.c.id, _BLOB_IDS))
)


def change(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Apply changes that were judged on rows locked in this very transaction, and put their entries into the outbox.

    Raises CatalogError (and so rolls everything back) if a row is not as it was read or waits for a fact.
    """
    if not changes:
        return
    moves.note(conn, [c.seen.id for c in changes if c.kind in moves.MOVES], now_us=now_us)
    write(conn, [_row(c) for c in changes])
    tell(conn, changes, now_us=now_us, why=why, fact=False)


def _row(c: Change) -> Row:
    return Row(c.seen.id, c.seen.version, c.seen.dataset_id, c.placement, c.seen.placement)


def quietly(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Apply changes that the stores themselves tell again after a loss of the catalog: no journal entry."""
    if not changes:
        return
    write(conn, [_row(c) for c in changes])
    _note(conn, changes, now_us=now_us, why=why)


def propose(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Put facts into the outbox and lock their objects; they are applied when durable. Same guards as `change`."""
    if not changes:
        return
    moves.note(conn, [c.seen.id for c in changes if c.kind in moves.MOVES], now_us=now_us)
    ids = tell(conn, changes, now_us=now_us, why=why, fact=True)
    done = conn.execute(
        sa.update(objects)
        .where(
            objects.c.id == sa.bindparam("b_id"),
            objects.c.version == sa.bindparam("b_version"),
            objects.c.fact_id.is_(None),
        )
        .values(fact_id=sa.bindparam("b_fact")),
        [{"b_id": c.seen.id, "b_version": c.seen.version, "b_fact": i} for c, i in zip(changes, ids, strict=True)],
    )
    all_or_nothing(done.rowcount, len(changes))


def lock(conn: sa.Connection, until_us: Mapping[int, int | None]) -> None:
    """Note until when the store refuses to delete the original keys of these objects; None: it does not refuse."""
    rows = [{"b_id": object_id, "b_until": until} for object_id, until in until_us.items()]
    if rows:
        conn.execute(
            sa.update(objects)
            .where(objects.c.id == sa.bindparam("b_id"))
            .values(locked_until_us=sa.bindparam("b_until")),
            rows,
        )


def note_stuck(conn: sa.Connection, why: Mapping[int, str]) -> None:
    """Note why the store would not delete the original keys of these objects; empty: nothing speaks against it."""
    rows = [{"b_id": object_id, "b_why": reason or None} for object_id, reason in why.items()]
    if rows:
        conn.execute(
            sa.update(objects).where(objects.c.id == sa.bindparam("b_id")).values(stuck=sa.bindparam("b_why")), rows
        )


def chunks(items: Sequence[T]) -> list[Sequence[T]]:
    """Parts that fit in one IN list."""
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]


def paged(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The same of what need not be held all at once: parts of so many, in their order."""
    part: list[T] = []
    for one in items:
        part.append(one)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def tier_ids(conn: sa.Connection) -> dict[str, int]:
    """The catalog's numbers of the tiers, by name."""
    return {row.name: row.id for row in conn.execute(_TIERS)}


def dataset_ids(conn: sa.Connection) -> dict[str, int]:
    """The catalog's numbers of the datasets, by name."""
    return {row.name: row.id for row in conn.execute(_DATASETS)}


def all_or_nothing(touched: int, wanted: int) -> None:
    """Raises CatalogError, and so rolls everything back, where not all rows were changed that were to be."""
    if touched != wanted:
        raise CatalogError(f"{wanted - touched} of {wanted} objects changed under this transaction; nothing was done")


class Row(NamedTuple):
    """What an object's row becomes. `was`: the placement that it holds at `version`; None: whatever it was."""

    id: int
    version: int
    dataset_id: int
    placement: Placement
    was: Placement | None = None


def write(conn: sa.Connection, rows: Sequence[Row]) -> None:
    """Placements into objects and replicas. The only writer of placements but for `together`, which is held to the same
    rows. Raises CatalogError (and so rolls everything back) as `change` does."""
    moved = [r for r in rows if r.was is None or r.was.replicas != r.placement.replicas]
    for part in chunks([r.id for r in moved]):
        conn.execute(sa.delete(replicas).where(among(replicas.c.object_id, part)))
    each.execute(conn, sa.insert(replicas), columns.of_replicas((row.id, row.placement) for row in moved))
    where = _current_blobs(conn, {now.blob for r in rows if (now := r.placement.current)})
    home = homes(conn)
    known = tier_ids(conn)
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for object_id, version, dataset_id, p, was in rows:
        told = columns.told(p, known, was)
        if not columns.stays(p, was):
            told |= _current_place(p, where, home(dataset_id, p.raw.storage_class))
        told |= {"b_id": object_id, "b_version": version, "version": version + 1}
        alike.setdefault(tuple(told), []).append(told)
    for names, values in alike.items():
        done = each.execute(
            conn,
            sa.update(objects)
            .where(
                objects.c.id == sa.bindparam("b_id"),
                objects.c.version == sa.bindparam("b_version"),
                objects.c.fact_id.is_(None),
            )
            .values({k: sa.bindparam(k) for k in names if not k.startswith("b_")}),
            values,
        )
        all_or_nothing(done, len(values))
    home_again = [r.id for r in rows if r.placement.current is None and not columns.stays(r.placement, r.was)]
    for part in chunks(home_again):
        allocated.at_home(conn, part)


def make(conn: sa.Connection, new: Sequence[tuple[int, Placement]]) -> None:
    """Rows of (dataset id, placement) that are not there yet, and their replicas."""
    where = _current_blobs(conn, {now.blob for _, p in new if (now := p.current)})
    home, known = homes(conn), tier_ids(conn)
    rows = [
        {"dataset_id": dataset_id, "name": p.name}
        | columns.told(p, known, None)
        | _current_place(p, where, home(dataset_id, p.raw.storage_class))
        for dataset_id, p in new
    ]
    each.execute(conn, sa.insert(objects), rows)
    by_name = {(dataset_id, p.name): p for dataset_id, p in new if p.replicas}
    named = sa.select(objects.c.id, objects.c.name)
    made = [
        (number, by_name[dataset_id, name])
        for dataset_id, those in groupby(sorted(by_name), key=itemgetter(0))
        for part in chunks([name for _, name in those])
        for number, name in conn.execute(named.where(objects.c.dataset_id == dataset_id, among(objects.c.name, part)))
    ]
    each.execute(conn, sa.insert(replicas), columns.of_replicas(made))


def _current_place(p: Placement, where: Mapping[str, Any], home: int) -> dict[str, Any]:
    """Tier, codec and stored bytes. `where`: of the blobs (see `_current_blobs`); `home`: the tier of its root."""
    if p.current is None:
        return {"tier_id": home if p.exists else None, "codec": IDENTITY.name, "stored_bytes": p.size}
    blob = where[p.current.blob]
    stored = share(blob.size, blob.packed_bytes, p.current.length, p.current.packed_before)
    return {"tier_id": blob.tier_id if p.exists else None, "codec": blob.codec, "stored_bytes": stored}


def _current_blobs(conn: sa.Connection, ids: Collection[str]) -> dict[str, Any]:
    """Of blobs what the rows of objects in them repeat: tier, codec, and what gives their share."""
    found: dict[str, Any] = {}
    for part in chunks(sorted(ids)):
        query = sa.select(blobs.c.id, blobs.c.tier_id, blobs.c.codec, blobs.c.size, blobs.c.packed_bytes)
        found |= {row.id: row for row in conn.execute(query.where(among(blobs.c.id, part)))}
    return found


def tell(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why, fact: bool) -> list[str]:
    """The changes' entries into the outbox, and their audit rows. Returns the entries' ids."""
    stored: dict[str, Entry] = {c.blob["id"]: c.blob for c in changes if c.blob}
    stored |= blobs_told(conn, {r.blob for c in changes for r in c.placement.replicas})
    said = {f.name: getattr(why, f.name) for f in fields(why) if getattr(why, f.name)}
    rows, lines = [], Lines(iso(now_us), now_us, said, stored)
    for c, number in zip(changes, new_ids(len(changes)), strict=True):
        line = lines.line(number, c.kind, c.placement)
        rows.append({"id": number, "object_id": c.seen.id, "fact": fact, "entry": line})
    each.execute(conn, sa.insert(outbox), rows)
    _note(conn, changes, now_us=now_us, why=why)
    return [str(row["id"]) for row in rows]


def _note(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    each.execute(
        conn,
        sa.insert(audit),
        [
            {
                "at_us": now_us,
                "kind": c.kind,
                "dataset": (p := c.placement).dataset,
                "object": p.name,
                "job_id": why.job_id,
                "plan_id": why.plan_id,
                "actor": why.actor,
                "detail": _detail(
                    why.reason, p.generation, c.seen.placement.raw.storage_class, p.raw.storage_class, c.said
                ),
            }
            for c in changes
        ],
    )


@lru_cache(maxsize=64)  # those of a page are mostly alike
def _detail(reason: str, generation: int, before: str, after: str, said: str) -> str:
    """What the audit keeps of a change beside its columns. `classes`: storage class before and after, if it changed."""
    classes = {"classes": [before, after]} if before != after else {}
    return json.dumps({"reason": reason, "generation": generation, **classes, **({"said": said} if said else {})})
