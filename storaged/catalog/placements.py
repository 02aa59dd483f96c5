"""Placements in the catalog: read them, change them under guard, and put each change into the outbox.

Two ways lead to a change. `change` applies it now and tells the journal later (swap, undo, release intents): its entry
waits in the outbox, and nothing is deleted before that entry is durable. `propose` is for *facts* (adoption, removal,
write-back of a moved object): the change is applied only when its entry is durable, and until then the object is
locked against every other change. `apply_entries` is the one place that makes entries true, for facts and for replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from storaged.catalog.schema import audit, blobs, datasets, objects, outbox, replicas, tiers
from storaged.clock import iso, new_id
from storaged.errors import CatalogError
from storaged.model import Blob, BlobState, Placement, Raw, RawState, Replica, ReplicaState

CHUNK: Final = 1_000  # ids in one IN list; SQLite and Postgres both take far more

Entry = dict[str, Any]
T = TypeVar("T")


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
    for part in _chunks(wanted):
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
                Replica(r.blob_id, r.offset, r.length, r.generation, ReplicaState(r.state), r.until_us)
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
            replicas.c.generation,
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


def apply_entries(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Make journal entries true in their order, whatever the catalog held: each states a whole placement.

    Raises CatalogError if an entry's dataset or a tier is not known to this catalog.
    """
    run: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        of = (entry["placement"]["dataset"], entry["placement"]["name"])
        if of in run:  # the same object again: its earlier entry first
            _apply(conn, list(run.values()))
            run = {}
        run[of] = entry
    _apply(conn, list(run.values()))


def _apply(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Entries of different objects, all at once."""
    if not entries:
        return
    told = [_placement(e["placement"]) for e in entries]
    known = {row.name: row.id for row in conn.execute(sa.select(datasets.c.name, datasets.c.id))}
    for p in told:
        if p.dataset not in known:
            raise CatalogError(
                f"the journal speaks of dataset {p.dataset!r}, which the configuration does not name",
                hint="add it back to storaged.yaml with its old root",
            )
    _upsert_blobs(conn, entries, told, known)
    rows = _rows_of(conn, told, known)
    ids = [rows[known[p.dataset], p.name].id for p in told]
    before: dict[int, set[str]] = {}
    for part in _chunks(ids):
        conn.execute(sa.update(objects).where(objects.c.id.in_(part)).values(fact_id=None))
        theirs = sa.select(replicas.c.object_id, replicas.c.blob_id).where(replicas.c.object_id.in_(part))
        for object_id, blob_id in conn.execute(theirs):
            before.setdefault(object_id, set()).add(blob_id)
    versions = [rows[known[p.dataset], p.name].version for p in told]
    _write(conn, [(i, v, known[p.dataset], p) for i, v, p in zip(ids, versions, told, strict=True)])
    gone = [
        blob for i, p in zip(ids, told, strict=True) for blob in before.get(i, set()) - {r.blob for r in p.replicas}
    ]
    for part in _chunks(gone):  # released in the meantime: looked after until no late put can come
        conn.execute(
            sa.update(blobs)
            .where(blobs.c.id.in_(part), ~sa.exists().where(replicas.c.blob_id == blobs.c.id))
            .values(state=BlobState.TOMBSTONE.value, note="replaced before this entry", sign_us=entries[-1]["at_us"])
        )
    for part in _chunks([p.raw.attempt for p in told if p.raw.attempt]):
        # our write-back is committed: it is the user's object again, not a blob of ours
        conn.execute(sa.delete(blobs).where(blobs.c.id.in_(part), blobs.c.tier_id.is_(None)))


def _rows_of(conn: sa.Connection, told: Sequence[Placement], known: Mapping[str, int]) -> dict[tuple[int, str], Any]:
    """The objects' rows by (dataset id, name); those that are missing are made."""
    wanted: dict[int, list[str]] = {}
    for p in told:
        wanted.setdefault(known[p.dataset], []).append(p.name)

    def look() -> dict[tuple[int, str], Any]:
        return {
            (dataset_id, row.name): row
            for dataset_id, names in wanted.items()
            for part in _chunks(names)
            for row in conn.execute(
                sa.select(objects.c.id, objects.c.version, objects.c.name).where(
                    objects.c.dataset_id == dataset_id, objects.c.name.in_(part)
                )
            )
        }

    found = look()
    missing = [p for p in told if (known[p.dataset], p.name) not in found]
    if not missing:
        return found
    conn.execute(
        sa.insert(objects),
        [
            {
                "dataset_id": known[p.dataset],
                "name": p.name,
                "size": p.size,
                "mtime_us": p.mtime_us,
                "created_us": p.created_us,
                "stored_bytes": p.size,
            }
            for p in missing
        ],
    )
    return look()


def _upsert_blobs(
    conn: sa.Connection, entries: Sequence[Entry], told: Sequence[Placement], known: Mapping[str, int]
) -> None:
    tier_ids = _tier_ids(conn)
    values: dict[str, dict[str, Any]] = {}
    for entry, p in zip(entries, told, strict=True):
        listed = {b["id"]: b for b in entry["blobs"]}
        for replica in p.replicas:
            blob = listed[replica.blob]
            if blob["tier"] not in tier_ids:
                raise CatalogError(
                    f"the journal speaks of tier {blob['tier']!r}, which the configuration does not name",
                    hint="add it back to storaged.yaml with its old url",
                )
            releasing = replica.state is ReplicaState.RELEASING
            values[replica.blob] = {
                "b_id": replica.blob,
                "dataset_id": known[p.dataset],
                "tier_id": tier_ids[blob["tier"]],
                "state": (BlobState.RELEASING if releasing else BlobState.LIVE).value,
                **{k: blob[k] for k in ("key", "codec", "size", "identity", "digest")},
            }
    have: set[str] = set()
    for part in _chunks(list(values)):
        have |= set(conn.execute(sa.select(blobs.c.id).where(blobs.c.id.in_(part))).scalars())
    old = [v for i, v in values.items() if i in have]
    if old:
        columns: dict[str, Any] = {k: sa.bindparam(k) for k in old[0] if k != "b_id"}
        conn.execute(sa.update(blobs).where(blobs.c.id == sa.bindparam("b_id")).values(columns), old)
    if len(have) < len(values):
        at = {"created_us": entries[-1]["at_us"], "sign_us": entries[-1]["at_us"]}
        conn.execute(
            sa.insert(blobs),
            [
                {"id": i, **{k: x for k, x in v.items() if k != "b_id"}, **at}
                for i, v in values.items()
                if i not in have
            ],
        )


def _chunks(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]


def _tier_ids(conn: sa.Connection) -> dict[str, int]:
    return {row.name: row.id for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}


def _all_or_nothing(touched: int, wanted: int) -> None:
    if touched != wanted:
        raise CatalogError(f"{wanted - touched} of {wanted} objects changed under this transaction; nothing was done")


def _write(conn: sa.Connection, rows: Sequence[tuple[int, int, int, Placement]]) -> None:
    """Rows of (object id, version as read, dataset id, new placement) into objects and replicas."""
    ids = [object_id for object_id, *_ in rows]
    for part in _chunks(ids):
        conn.execute(sa.delete(replicas).where(replicas.c.object_id.in_(part)))
    made = [
        {
            "object_id": i,
            "blob_id": r.blob,
            "offset": r.offset,
            "length": r.length,
            "generation": r.generation,
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
    for part in _chunks(ids):
        query = sa.select(blobs.c.id, blobs.c.tier_id, blobs.c.codec, blobs.c.size)
        for row in conn.execute(query.where(blobs.c.id.in_(part))):
            found[row.id] = (row.tier_id, row.codec, row.size)
    return found


def _tell(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: Why, fact: bool) -> list[str]:
    """The changes' entries into the outbox, and their audit rows. Returns the entries' ids."""
    stored: dict[str, Entry] = {}
    ids = sorted({r.blob for c in changes for r in c.placement.replicas})
    for part in _chunks(ids):
        query = (
            sa.select(blobs, tiers.c.name.label("tier"))
            .outerjoin(tiers, tiers.c.id == blobs.c.tier_id)
            .where(blobs.c.id.in_(part))
        )
        for b in conn.execute(query):
            stored[b.id] = {
                "id": b.id, "tier": b.tier, "key": b.key, "codec": b.codec,
                "size": b.size, "identity": b.identity, "digest": b.digest,
            }  # fmt: skip
    said = {f.name: getattr(why, f.name) for f in fields(why) if getattr(why, f.name)}
    rows = []
    for c in changes:
        entry = {
            "id": new_id(),
            "kind": c.kind,
            "at": iso(now_us),
            "at_us": now_us,
            "why": said,
            "placement": _told(c.placement),
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


def _told(p: Placement) -> Entry:
    """A placement as the journal states it (dataclasses.asdict copies deeply, at ten times the cost)."""
    flat = {f: getattr(p, f) for f in _FLAT}
    return flat | {"raw": _fields(p.raw), "replicas": [_fields(r) for r in p.replicas]}


def _fields(value: Raw | Replica) -> Entry:
    return {f.name: getattr(value, f.name) for f in fields(value)}


_FLAT: Final = tuple(f.name for f in fields(Placement) if f.name not in ("raw", "replicas"))


def _placement(told: Entry) -> Placement:
    raw = told["raw"]
    return Placement(
        **{k: v for k, v in told.items() if k not in ("raw", "replicas")},
        raw=Raw(RawState(raw["state"]), raw["identity"], raw["attempt"], raw["until_us"]),
        replicas=tuple(Replica(**r | {"state": ReplicaState(r["state"])}) for r in told["replicas"]),
    )
