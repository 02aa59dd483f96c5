"""Placements in the catalog: read them, change them under guard, and put each change into the outbox.

Two ways lead to a change. `change` applies it now and tells the journal later (swap, undo, release intents): its entry
waits in the outbox, and nothing is deleted before that entry is durable. `propose` is for *facts* (adoption, removal,
write-back of a moved object): the change is applied only when its entry is durable, and until then the object is
locked against every other change. `apply_entry` is the one place that makes an entry true, for facts and for replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.schema import audit, blobs, datasets, objects, outbox, replicas, tiers
from storaged.clock import iso, new_id
from storaged.errors import CatalogError
from storaged.model import Blob, BlobState, Placement, Raw, RawState, Replica, ReplicaState

CHUNK: Final = 1_000  # ids in one IN list; SQLite and Postgres both take far more

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """One object as its row stood when it was read."""

    id: int
    version: int
    dataset_id: int
    placement: Placement
    fact_id: str | None  # a fact waits for the journal: no other change may be made
    no_gain: int | None
    blobs: Mapping[str, Blob]  # of its replicas


@dataclass(frozen=True, slots=True)
class Change:
    """A placement that shall replace the one that was read."""

    held: Held
    placement: Placement
    kind: str  # swap, undo, release-source, ...: the word in journal and audit


@dataclass(frozen=True, slots=True)
class Why:
    """Who does it and for which job and plan; goes into journal and audit."""

    actor: str
    reason: str = ""
    job_id: int | None = None
    plan_id: int | None = None


def load(conn: sa.Connection, ids: Iterable[int], *, lock: bool = False) -> dict[int, Held]:
    """The objects with these ids. `lock` keeps their rows (in id order) until the transaction ends."""
    wanted = sorted(set(ids))
    found: dict[int, Held] = {}
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        query = (
            sa.select(objects, datasets.c.name.label("dataset"), tiers.c.name.label("pin"))
            .join(datasets, datasets.c.id == objects.c.dataset_id)
            .outerjoin(tiers, tiers.c.id == objects.c.pin_tier_id)
            .where(objects.c.id.in_(part))
            .order_by(objects.c.id)
        )
        rows = conn.execute(query.with_for_update(of=objects) if lock else query).all()
        made: dict[int, list[Replica]] = {}
        theirs: dict[int, dict[str, Blob]] = {}
        for r in conn.execute(_replicas_of(part)):
            made.setdefault(r.object_id, []).append(
                Replica(r.blob_id, r.offset, r.length, ReplicaState(r.state), r.until_us)
            )
            theirs.setdefault(r.object_id, {})[r.blob_id] = _blob(r)
        for row in rows:
            placement = Placement(
                dataset=row.dataset,
                name=row.name,
                generation=row.generation,
                size=row.size,
                mtime_us=row.mtime_us,
                created_us=row.created_us,
                raw=Raw(RawState(row.raw_state), row.raw_identity, row.raw_attempt, row.raw_until_us),
                digest=row.digest,
                replicas=tuple(made.get(row.id, ())),
                hold=row.hold,
                pin=row.pin,
                removed_us=row.removed_us,
                metadata=json.loads(row.metadata),
            )
            found[row.id] = Held(
                row.id, row.version, row.dataset_id, placement, row.fact_id, row.no_gain, theirs.get(row.id, {})
            )
    return found


def find(conn: sa.Connection, dataset: str, name: str) -> Held | None:
    """The object of this name, or None if the catalog never saw it."""
    found = conn.execute(
        sa.select(objects.c.id).join(datasets).where(datasets.c.name == dataset, objects.c.name == name)
    ).scalar()
    return None if found is None else load(conn, [found])[found]


def _replicas_of(ids: Sequence[int]) -> sa.Select[Any]:
    return (
        sa.select(
            replicas.c.object_id,
            replicas.c.blob_id,
            replicas.c.offset,
            replicas.c.length,
            replicas.c.state,
            replicas.c.until_us,
            blobs.c.key,
            blobs.c.codec,
            blobs.c.size,
            blobs.c.identity,
            blobs.c.digest,
            blobs.c.index,
            tiers.c.name.label("tier"),
            datasets.c.name.label("dataset"),
        )
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .outerjoin(tiers, tiers.c.id == blobs.c.tier_id)
        .outerjoin(datasets, datasets.c.id == blobs.c.dataset_id)
        .where(replicas.c.object_id.in_(ids))
        .order_by(replicas.c.object_id, replicas.c.blob_id)
    )


def _blob(r: Any) -> Blob:
    return Blob(r.blob_id, r.dataset or "", r.tier, r.key, r.codec, r.size, r.identity, r.digest, bytes(r.index))


def change(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Apply changes that were judged on rows locked in this very transaction, and put their entries into the outbox.

    Raises CatalogError (and so rolls everything back) if a row is not as it was read or waits for a fact.
    """
    if not changes:
        return
    _write(conn, [(c.held.id, c.held.version, c.held.dataset_id, c.placement) for c in changes])
    _tell(conn, changes, now_us=now_us, why=why, fact=False)


def quietly(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Apply changes that the stores themselves tell again after a loss of the catalog: no journal entry."""
    if not changes:
        return
    _write(conn, [(c.held.id, c.held.version, c.held.dataset_id, c.placement) for c in changes])
    _note(conn, changes, now_us=now_us, why=why)


def propose(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    """Put facts into the outbox and lock their objects; they are applied when durable. Same guards as `change`."""
    if not changes:
        return
    ids = _tell(conn, changes, now_us=now_us, why=why, fact=True)
    done = conn.execute(
        sa.update(objects)
        .where(
            objects.c.id == sa.bindparam("b_id"),
            objects.c.version == sa.bindparam("b_version"),
            objects.c.fact_id.is_(None),
        )
        .values(fact_id=sa.bindparam("b_fact")),
        [{"b_id": c.held.id, "b_version": c.held.version, "b_fact": i} for c, i in zip(changes, ids, strict=True)],
    )
    _all_or_nothing(done.rowcount, len(changes))


def apply_entry(conn: sa.Connection, entry: Entry) -> None:
    """Make a journal entry true, whatever the catalog held: it states the whole placement. Raises CatalogError if its
    dataset or a tier is not known to this catalog."""
    placement = _placement(entry["placement"])
    dataset_id = conn.execute(sa.select(datasets.c.id).where(datasets.c.name == placement.dataset)).scalar()
    if dataset_id is None:
        raise CatalogError(
            f"the journal speaks of dataset {placement.dataset!r}, which the configuration does not name",
            hint="add it back to storaged.yaml with its old root",
        )
    listed = {b["id"]: b for b in entry["blobs"]}
    known = _tier_ids(conn)
    for replica in placement.replicas:
        _upsert_blob(conn, listed[replica.blob], known, dataset_id, replica, entry["at_us"])
    row = conn.execute(
        sa.select(objects.c.id, objects.c.version).where(
            objects.c.dataset_id == dataset_id, objects.c.name == placement.name
        )
    ).one_or_none()
    if row is None:
        object_id = conn.execute(
            sa.insert(objects)
            .values(
                dataset_id=dataset_id,
                name=placement.name,
                size=placement.size,
                mtime_us=placement.mtime_us,
                created_us=placement.created_us,
                stored_bytes=placement.size,
            )
            .returning(objects.c.id)
        ).scalar_one()
        version = 1
    else:
        object_id, version = row
    conn.execute(sa.update(objects).where(objects.c.id == object_id).values(fact_id=None))
    before = set(conn.execute(sa.select(replicas.c.blob_id).where(replicas.c.object_id == object_id)).scalars())
    _write(conn, [(object_id, version, dataset_id, placement)])
    gone = before - set(listed)
    if gone:  # released in the meantime: looked after until no late put can come
        _bury(conn, gone, note="replaced before this entry", now_us=entry["at_us"])
    if placement.raw.attempt:  # our write-back is committed: it is the user's object again, not a blob of ours
        conn.execute(sa.delete(blobs).where(blobs.c.id == placement.raw.attempt, blobs.c.tier_id.is_(None)))


def _bury(conn: sa.Connection, ids: Iterable[str], *, note: str, now_us: int) -> None:
    conn.execute(
        sa.update(blobs)
        .where(blobs.c.id.in_(list(ids)))
        .where(~sa.exists().where(replicas.c.blob_id == blobs.c.id))
        .values(state=BlobState.TOMBSTONE.value, note=note, sign_us=now_us)
    )


def _upsert_blob(
    conn: sa.Connection, told: Entry, known: Mapping[str, int], dataset_id: int, replica: Replica, now_us: int
) -> None:
    if told["tier"] not in known:
        raise CatalogError(
            f"the journal speaks of tier {told['tier']!r}, which the configuration does not name",
            hint="add it back to storaged.yaml with its old url",
        )
    state = BlobState.RELEASING if replica.state is ReplicaState.RELEASING else BlobState.LIVE
    values = {
        "dataset_id": dataset_id,
        "tier_id": known[told["tier"]],
        "key": told["key"],
        "state": state.value,
        "codec": told["codec"],
        "size": told["size"],
        "identity": told["identity"],
        "digest": told["digest"],
    }
    if conn.execute(sa.update(blobs).where(blobs.c.id == told["id"]).values(values)).rowcount == 0:
        conn.execute(sa.insert(blobs).values(id=told["id"], created_us=now_us, sign_us=now_us, **values))


def _tier_ids(conn: sa.Connection) -> dict[str, int]:
    return {row.name: row.id for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}


def _all_or_nothing(touched: int, wanted: int) -> None:
    if touched != wanted:
        raise CatalogError(f"{wanted - touched} of {wanted} objects changed under this transaction; nothing was done")


def _write(conn: sa.Connection, rows: Sequence[tuple[int, int, int, Placement]]) -> None:
    """Rows of (object id, version as read, dataset id, new placement) into objects and replicas."""
    ids = [object_id for object_id, *_ in rows]
    for start in range(0, len(ids), CHUNK):
        conn.execute(sa.delete(replicas).where(replicas.c.object_id.in_(ids[start : start + CHUNK])))
    made = [
        {
            "object_id": i,
            "blob_id": r.blob,
            "offset": r.offset,
            "length": r.length,
            "state": r.state.value,
            "until_us": r.until_us,
        }
        for i, _, _, p in rows
        for r in p.replicas
    ]
    if made:
        conn.execute(sa.insert(replicas), made)
    where = _current_blobs(conn, [p.current.blob for *_, p in rows if p.current])
    homes = {row.id: row.tier_id for row in conn.execute(sa.select(datasets.c.id, datasets.c.tier_id))}
    known = _tier_ids(conn)
    values = []
    for object_id, version, dataset_id, p in rows:
        tier_id, codec, stored = where[p.current.blob] if p.current else (homes[dataset_id], "identity", p.size)
        values.append(
            {
                "b_id": object_id,
                "b_version": version,
                "b_generation": p.generation,  # what verify found goes with the generation
                "generation": p.generation,
                "version": version + 1,
                "size": p.size,
                "mtime_us": p.mtime_us,
                "created_us": p.created_us,
                "digest": p.digest,
                "raw_state": p.raw.state.value,
                "raw_identity": p.raw.identity,
                "raw_attempt": p.raw.attempt,
                "raw_until_us": p.raw.until_us,
                "tier_id": tier_id if p.exists else None,
                "codec": codec,
                "stored_bytes": stored,
                "hold": p.hold,
                "pin_tier_id": known.get(p.pin) if p.pin else None,
                "removed_us": p.removed_us,
                "metadata": json.dumps(p.metadata, sort_keys=True),
            }
        )
    done = conn.execute(
        sa.update(objects)
        .where(
            objects.c.id == sa.bindparam("b_id"),
            objects.c.version == sa.bindparam("b_version"),
            objects.c.fact_id.is_(None),
        )
        .values(
            damaged=sa.case((objects.c.generation == sa.bindparam("b_generation"), objects.c.damaged)),
            **{k: sa.bindparam(k) for k in values[0] if not k.startswith("b_")},
        ),
        values,
    )
    _all_or_nothing(done.rowcount, len(rows))


def _current_blobs(conn: sa.Connection, ids: Sequence[str]) -> dict[str, tuple[int | None, str, int]]:
    found: dict[str, tuple[int | None, str, int]] = {}
    for start in range(0, len(ids), CHUNK):
        query = sa.select(blobs.c.id, blobs.c.tier_id, blobs.c.codec, blobs.c.size)
        for row in conn.execute(query.where(blobs.c.id.in_(ids[start : start + CHUNK]))):
            found[row.id] = (row.tier_id, row.codec, row.size)
    return found


def _tell(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why, fact: bool) -> list[str]:
    """The changes' entries into the outbox, and their audit rows. Returns the entries' ids."""
    stored: dict[str, Entry] = {}
    ids = sorted({r.blob for c in changes for r in c.placement.replicas})
    for start in range(0, len(ids), CHUNK):
        query = (
            sa.select(blobs, tiers.c.name.label("tier"))
            .outerjoin(tiers, tiers.c.id == blobs.c.tier_id)
            .where(blobs.c.id.in_(ids[start : start + CHUNK]))
        )
        for b in conn.execute(query):
            stored[b.id] = {
                "id": b.id, "tier": b.tier, "key": b.key, "codec": b.codec,
                "size": b.size, "identity": b.identity, "digest": b.digest,
            }  # fmt: skip
    rows = []
    for c in changes:
        entry = {
            "id": new_id(),
            "kind": c.kind,
            "at": iso(now_us),
            "at_us": now_us,
            "why": {k: v for k, v in asdict(why).items() if v},
            "placement": asdict(c.placement),
            "blobs": [stored[r.blob] for r in c.placement.replicas],
        }
        text = json.dumps(entry, ensure_ascii=True, separators=(",", ":"))
        rows.append({"id": entry["id"], "object_id": c.held.id, "fact": fact, "entry": text})
    conn.execute(sa.insert(outbox), rows)
    _note(conn, changes, now_us=now_us, why=why)
    return [str(row["id"]) for row in rows]


def _note(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why) -> None:
    conn.execute(
        sa.insert(audit),
        [
            {
                "at_us": now_us,
                "kind": c.kind,
                "dataset": c.placement.dataset,
                "object": c.placement.name,
                "job_id": why.job_id,
                "plan_id": why.plan_id,
                "actor": why.actor,
                "detail": json.dumps({"reason": why.reason, "generation": c.placement.generation}),
            }
            for c in changes
        ],
    )


def _placement(told: Entry) -> Placement:
    raw = told["raw"]
    return Placement(
        **{k: v for k, v in told.items() if k not in ("raw", "replicas")},
        raw=Raw(RawState(raw["state"]), raw["identity"], raw["attempt"], raw["until_us"]),
        replicas=tuple(
            Replica(r["blob"], r["offset"], r["length"], ReplicaState(r["state"]), r["until_us"])
            for r in told["replicas"]
        ),
    )
