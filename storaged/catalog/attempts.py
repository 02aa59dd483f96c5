"""Attempts: what may have been written or changed, from before anybody can meet it until it is committed or forgotten.

An attempt is staged; then it is committed, and its row goes; or it is discarded, and its row is a tombstone until no
late write can come. One that writes into a tier is committed as a blob of its id (`become_blobs`). It is proposed
meanwhile, where this is a fact that the journal has to have first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog import each
from storaged.catalog.blobs import UNUSED
from storaged.catalog.entries import Entry
from storaged.catalog.items import InPlace, Item, To, ToRoot, ToTier, codec_of, stored_as, tier_of
from storaged.catalog.placements import chunks, tier_ids
from storaged.catalog.schema import blobs, job_items, tiers
from storaged.catalog.schema_attempts import attempts
from storaged.errors import CatalogError, LeaseLost
from storaged.model import AttemptKind, AttemptState, BlobState

STAGED: Final = attempts.c.state == AttemptState.STAGED.value
PROPOSED: Final = attempts.c.state == AttemptState.PROPOSED.value
TOMBSTONE: Final = attempts.c.state == AttemptState.TOMBSTONE.value


@dataclass(frozen=True, slots=True)
class Proven:
    """What an attempt stored and proved: what is recorded of it as a blob."""

    attempt: str
    codec: str
    size: int
    identity: str
    digest: str
    index: bytes
    packed_bytes: int = 0  # of a pack, content of all objects in it


def kind_of(to: To) -> AttemptKind:
    if isinstance(to, InPlace):
        return AttemptKind.TRANSITION
    return AttemptKind.RETURN if isinstance(to, ToRoot) else AttemptKind.BLOB


def begin_together(
    conn: sa.Connection,
    job_id: int,
    which: sa.ColumnElement[bool],
    *,
    dataset_id: int,
    attempt: str,
    to: ToTier,
    key: str,
    now_us: int,
) -> None:
    """The intent of one attempt at all these items of a job, into one blob. Raises CatalogError as `begin` does."""
    row = _intent(_known(conn), job_id, dataset_id=dataset_id, attempt=attempt, to=to, key=key, now_us=now_us)
    _insert(conn, {attempt: row})
    conn.execute(sa.update(job_items).where(which).values(attempt_id=attempt))


def begin(conn: sa.Connection, job_id: int, items: Sequence[Item], now_us: int) -> None:
    """The intents: what each attempt may write, and in which class; or whose class it may change. Raises CatalogError
    (and so rolls everything back) where an id is an attempt's or a blob's already."""
    if not items:
        return
    known = _known(conn)
    rows = {
        i.attempt: _intent(
            known, job_id, dataset_id=i.seen.dataset_id, attempt=i.attempt, to=i.to, key=i.key, now_us=now_us
        )
        | ({"source_identity": i.seen.placement.raw.identity} if isinstance(i.to, InPlace) else {})
        for i in items
    }
    _insert(conn, rows)
    each.execute(
        conn,
        sa.update(job_items)
        .where(job_items.c.job_id == job_id, job_items.c.object_id == sa.bindparam("b_object"))
        .values(attempt_id=sa.bindparam("b_attempt")),
        [{"b_object": i.seen.id, "b_attempt": i.attempt} for i in items],
    )


def _known(conn: sa.Connection) -> dict[str, Any]:
    """The tiers by name."""
    return {row.name: row for row in conn.execute(sa.select(tiers.c.name, tiers.c.id, tiers.c.storage_class))}


def _intent(
    known: Mapping[str, Any], job_id: int, *, dataset_id: int, attempt: str, to: To, key: str, now_us: int
) -> dict[str, Any]:
    """The row of an attempt that has done nothing yet."""
    tier = tier_of(to)
    into = known[tier] if tier else None
    return {
        "id": attempt,
        "dataset_id": dataset_id,
        "tier_id": into.id if into else None,
        "key": key,
        "kind": kind_of(to).value,
        "state": AttemptState.STAGED.value,
        "codec": stored_as(codec_of(to)),
        "storage_class": into.storage_class if into else to.storage_class if isinstance(to, InPlace) else "",
        "source_identity": "",
        "job_id": job_id,
        "created_us": now_us,
        "sign_us": now_us,
    }


def _insert(conn: sa.Connection, rows: Mapping[str, dict[str, Any]]) -> None:
    if taken := known_ids(conn, rows):
        raise CatalogError(f"attempt {min(taken)} was made before; nothing was done")
    each.execute(conn, sa.insert(attempts), list(rows.values()))


def rekey(conn: sa.Connection, job_id: int, rows: Sequence[tuple[str, str, str]]) -> None:
    """Other keys and codecs for attempts that have written nothing yet: (attempt, key, codec). Raises LeaseLost."""
    done = conn.execute(
        sa.update(attempts)
        .where(attempts.c.id == sa.bindparam("b_id"), STAGED, attempts.c.job_id == job_id)
        .values(key=sa.bindparam("b_key"), codec=sa.bindparam("b_codec")),
        [{"b_id": attempt, "b_key": key, "b_codec": codec} for attempt, key, codec in rows],
    )
    _mine(done.rowcount, len(rows), job_id)


def note_checksums(conn: sa.Connection, job_id: int, checksums: Mapping[str, str]) -> None:
    """What the store says of all bytes that a transition starts from, by attempt, before anything is changed: whoever
    meets the changed key after a crash knows by it whose doing it is. Raises LeaseLost."""
    done = conn.execute(
        sa.update(attempts)
        .where(attempts.c.id == sa.bindparam("b_id"), STAGED, attempts.c.job_id == job_id)
        .values(source_checksum=sa.bindparam("b_checksum")),
        [{"b_id": attempt, "b_checksum": checksum} for attempt, checksum in checksums.items()],
    )
    _mine(done.rowcount, len(checksums), job_id)


def _mine(touched: int, wanted: int, job_id: int) -> None:
    if touched != wanted:
        raise LeaseLost(f"job {job_id} was taken over")


class Visible(NamedTuple):
    """What an attempt has put at an original key: identity and digest of it."""

    attempt: str
    identity: str
    digest: str


def made_visible(conn: sa.Connection, made: Iterable[Visible]) -> None:
    """Note what attempts have put at original keys. Should it never be recorded, then whoever meets such a key knows
    by this whose doing it is; and that its user deleted it, if nothing is there. The first note stands: what a sweep
    made of it since is not taken back."""
    conn.execute(_VISIBLE, [{"b_id": m.attempt, "b_identity": m.identity, "b_digest": m.digest} for m in made])


_VISIBLE: Final = (
    sa.update(attempts)
    .where(attempts.c.id == sa.bindparam("b_id"), attempts.c.visible_identity == "")
    .values(visible_identity=sa.bindparam("b_identity"), visible_digest=sa.bindparam("b_digest"))
)


def takes_away(conn: sa.Connection, attempt: str) -> None:
    """Note that what an attempt made visible is about to be deleted by us: from here on its absence tells nothing."""
    conn.execute(sa.update(attempts).where(attempts.c.id == attempt).values(visible_digest=""))


def sign(conn: sa.Connection, job_id: int, *, now_us: int) -> None:
    """A sign of life of a job's attempts."""
    conn.execute(sa.update(attempts).where(attempts.c.job_id == job_id, STAGED).values(sign_us=now_us))


def discard(conn: sa.Connection, which: sa.ColumnElement[bool], *, note: str, now_us: int) -> int:
    """Of these attempts those that are staged become tombstones. How many: nothing is deleted here, the sweeper looks
    after the keys."""
    return _bury(conn, sa.and_(which, STAGED), note=note, now_us=now_us)


def _bury(conn: sa.Connection, which: sa.ColumnElement[bool], *, note: str, now_us: int) -> int:
    buried = {"state": AttemptState.TOMBSTONE.value, "note": note, "sign_us": now_us}
    return conn.execute(sa.update(attempts).where(which).values(buried)).rowcount


def staged(conn: sa.Connection, job_id: int, ids: Iterable[str]) -> dict[str, Any]:
    """Of these attempts of a job those that were not discarded, by id, kept so until the transaction ends."""
    found: dict[str, Any] = {}
    for part in chunks(sorted(ids)):
        mine = (attempts.c.id.in_(part), attempts.c.job_id == job_id, STAGED)
        query = sa.select(attempts).where(*mine).order_by(attempts.c.id).with_for_update()
        found |= {row.id: row for row in conn.execute(query)}
    return found


def become_blobs(conn: sa.Connection, staged: Mapping[str, Any], proven: Iterable[Proven]) -> None:
    """These attempts, of those that are `staged` and kept so, become blobs."""
    rows = []
    for p in proven:
        attempt = staged[p.attempt]
        rows.append(
            {
                "id": p.attempt,
                "dataset_id": attempt.dataset_id,
                "tier_id": attempt.tier_id,
                "key": attempt.key,
                "state": BlobState.LIVE.value,
                "codec": p.codec,
                "size": p.size,
                "identity": p.identity,
                "digest": p.digest,
                "index": p.index,
                "packed_bytes": p.packed_bytes,
                "created_us": attempt.created_us,
                "storage_class": attempt.storage_class,
            }
        )
    if rows:
        each.execute(conn, sa.insert(blobs), rows)
        commit(conn, [str(row["id"]) for row in rows])


def told(conn: sa.Connection, staged: Mapping[str, Any], proven: Iterable[Proven]) -> dict[str, Entry]:
    """These attempts, of those that are `staged`, as an entry tells the blobs that they shall become."""
    names = {number: name for name, number in tier_ids(conn).items()}
    return {
        p.attempt: {
            "id": p.attempt, "tier": names[staged[p.attempt].tier_id], "key": staged[p.attempt].key, "codec": p.codec,
            "size": p.size, "identity": p.identity, "digest": p.digest,
            "storage_class": staged[p.attempt].storage_class,
        }
        for p in proven
        if p.attempt in staged
    }  # fmt: skip


def propose(conn: sa.Connection, ids: Iterable[str]) -> None:
    """These attempts become blobs when the journal has their fact; until then nobody clears anything of them away."""
    proposed = attempts.c.id.in_(list(ids))
    conn.execute(sa.update(attempts).where(proposed, STAGED).values(state=AttemptState.PROPOSED.value))


def bury_unfinished(conn: sa.Connection, *, note: str, now_us: int, hole: bool) -> None:
    """Nobody is at these attempts any more, staged or proposed, and the journal has no end of any: they become
    tombstones. Where it has a hole, their end may have stood there and their sources be released since: then nothing is
    known of those that write into a tier, and what they wrote is a blob that may be the only copy."""
    unfinished = sa.or_(STAGED, PROPOSED)
    if hole:
        conn.execute(sa.delete(attempts).where(unfinished, attempts.c.kind == AttemptKind.BLOB.value))
    _bury(conn, unfinished, note=note, now_us=now_us)


def commit(conn: sa.Connection, ids: Sequence[str]) -> None:
    """What these attempts did is recorded: their rows go."""
    for part in chunks(ids):
        conn.execute(sa.delete(attempts).where(attempts.c.id.in_(part)))


def bury(conn: sa.Connection, ids: Sequence[str], *, note: str, now_us: int) -> None:
    """Of these blobs those that hold nothing become tombstones: what is at their keys is cleared away as what a
    discarded attempt left."""
    for part in chunks(ids):
        query = sa.select(blobs).where(blobs.c.id.in_(part), UNUSED).order_by(blobs.c.id)
        gone = conn.execute(query.with_for_update()).all()
        if not gone:
            continue
        kept = ("id", "dataset_id", "tier_id", "key", "codec", "size", "created_us", "storage_class")
        dead = {
            "kind": AttemptKind.BLOB.value,
            "state": AttemptState.TOMBSTONE.value,
            "note": note,
            "sign_us": now_us,
        }
        conn.execute(sa.delete(blobs).where(blobs.c.id.in_([row.id for row in gone])))
        conn.execute(sa.insert(attempts), [{**{k: row._mapping[k] for k in kept}, **dead} for row in gone])


def known_ids(conn: sa.Connection, ids: Collection[str]) -> set[str]:
    """Which of these ids an attempt or a blob has. One statement: an attempt becomes a blob in one moment."""
    found: set[str] = set()
    for part in chunks(list(ids)):
        of_attempts = sa.select(attempts.c.id).where(attempts.c.id.in_(part))
        found |= set(conn.execute(of_attempts.union_all(sa.select(blobs.c.id).where(blobs.c.id.in_(part)))).scalars())
    return found


def known_keys(conn: sa.Connection, tier_id: int, keys: Sequence[str]) -> set[str]:
    """At which of these keys of a tier an attempt may have written, or a blob is. One statement, as for ids."""
    found: set[str] = set()
    for part in chunks(keys):
        at = [sa.select(t.c.key).where(t.c.tier_id == tier_id, t.c.key.in_(part)) for t in (attempts, blobs)]
        found |= set(conn.execute(sa.union_all(*at)).scalars())
    return found
