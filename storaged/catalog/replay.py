"""Make journal entries true: facts that became durable, and all that a catalog never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from storaged.catalog import each
from storaged.catalog.among import among
from storaged.catalog.attempts import bury, commit
from storaged.catalog.blobs import as_replicas_tell
from storaged.catalog.entries import Entry, placement, present
from storaged.catalog.placements import Row, Seen, chunks, dataset_ids, load, make, tier_ids, write
from storaged.catalog.schema import blobs, objects
from storaged.catalog.schema_attempts import attempts
from storaged.errors import CatalogError
from storaged.model import AttemptKind, BlobState, Placement


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
    told = [placement(e["placement"]) for e in entries]
    known = dataset_ids(conn)
    for p in told:
        if p.dataset not in known:
            raise CatalogError(
                f"the journal speaks of dataset {p.dataset!r}, which the configuration does not name",
                hint="add it back to storaged.yaml with its old root",
            )
    _upsert_blobs(conn, entries, told, known)
    there = _there(conn, told, known)
    waiting = [h.id for h in there.values() if h.fact_id is not None]
    if waiting:
        conn.execute(sa.update(objects).where(among(objects.c.id, waiting)).values(fact_id=None))
    found = [(p, there.get((known[p.dataset], p.name))) for p in told]
    write(conn, [Row(h.id, h.version, h.dataset_id, p, h.placement) for p, h in found if h is not None])
    make(conn, [(known[p.dataset], p) for p, h in found if h is None])
    gone = [
        blob
        for p, h in found
        if h is not None
        for blob in {r.blob for r in h.placement.replicas} - {r.blob for r in p.replicas}
    ]
    for part in chunks(sorted({*gone, *(r.blob for p in told for r in p.replicas)})):
        as_replicas_tell(conn, part)
    # released in the meantime: looked after until no late put can come
    bury(conn, sorted(set(gone)), note="replaced before this entry", now_us=entries[-1]["at_us"])
    for part in chunks([p.raw.attempt for p in told if p.raw.attempt]):
        # our write-back is committed: it is the user's object again
        committed = sa.and_(attempts.c.id.in_(part), attempts.c.kind == AttemptKind.RETURN.value)
        conn.execute(sa.delete(attempts).where(committed))


def _there(conn: sa.Connection, told: Sequence[Placement], known: Mapping[str, int]) -> dict[tuple[int, str], Seen]:
    """The objects that have rows, by (dataset id, name)."""
    wanted: dict[int, list[str]] = {}
    for p in told:
        wanted.setdefault(known[p.dataset], []).append(p.name)
    ids = [
        number
        for dataset_id, names in wanted.items()
        for part in chunks(names)
        for number in conn.execute(
            sa.select(objects.c.id).where(objects.c.dataset_id == dataset_id, among(objects.c.name, part))
        ).scalars()
    ]
    return {(h.dataset_id, h.placement.name): h for h in load(conn, ids).values()}


def _upsert_blobs(
    conn: sa.Connection, entries: Sequence[Entry], told: Sequence[Placement], known: Mapping[str, int]
) -> None:
    known_tiers = tier_ids(conn)
    values: dict[str, dict[str, Any]] = {}
    for entry, p in zip(entries, told, strict=True):
        listed = {b["id"]: b for b in entry["blobs"]}
        for replica in p.replicas:
            blob = listed[replica.blob]
            if blob["tier"] not in known_tiers:
                raise CatalogError(
                    f"the journal speaks of tier {blob['tier']!r}, which the configuration does not name",
                    hint="add it back to storaged.yaml with its old url",
                )
            values[replica.blob] = {
                "b_id": replica.blob,
                "dataset_id": known[p.dataset],
                "tier_id": known_tiers[blob["tier"]],
                **{k: blob[k] for k in ("key", "codec", "size", "digest")},
                "identity": present(blob["identity"]),
                "storage_class": blob.get("storage_class", ""),
                "packed_bytes": blob.get("packed_bytes", 0),
            }
    have: dict[str, Mapping[Any, Any]] = {}
    for part in chunks(list(values)):
        have |= {row["id"]: row for row in conn.execute(sa.select(blobs).where(among(blobs.c.id, part))).mappings()}
    began: dict[str, int] = {}  # of an old copy, or released and current again
    for part in chunks([i for i in values if i not in have]):
        query = sa.select(attempts.c.id, attempts.c.created_us).where(among(attempts.c.id, part))
        began |= {row.id: row.created_us for row in conn.execute(query)}
    commit(conn, list(began))
    old = [v for i, v in values.items() if i in have and any(have[i][k] != x for k, x in v.items() if k != "b_id")]
    if old:
        columns: dict[str, Any] = {k: sa.bindparam(k) for k in old[0] if k != "b_id"}
        each.execute(conn, sa.update(blobs).where(blobs.c.id == sa.bindparam("b_id")).values(columns), old)
    if len(have) < len(values):
        told_us = entries[-1]["at_us"]
        new = [
            {
                **{k: x for k, x in v.items() if k != "b_id"},
                "id": i,
                "state": BlobState.LIVE.value,
                "created_us": began.get(i, told_us),
                "index": b"",  # the blob has it at its end
            }
            for i, v in values.items()
            if i not in have
        ]
        each.execute(conn, sa.insert(blobs), new)
