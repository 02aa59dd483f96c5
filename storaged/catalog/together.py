"""The swap of members that go into one pack, written in a few statements for all of them: what is the same of each is
said once, and the rest is put beside their rows.

Each is judged as any other change is (storaged.catalog.changes), on its row as it is in this very transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog import columns, each, moves, placements
from storaged.catalog.placements import Change, Why
from storaged.catalog.schema import Id, blobs, job_items, objects, replicas
from storaged.model import ItemState, RawState, ReplicaState

_KIND: Final = "swap"

_page: Final = sa.Table(  # what differs from one to the next
    "swapped_together",
    sa.MetaData(),
    sa.Column("object_id", Id, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),  # as read
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("packed_before", sa.BigInteger, nullable=False),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("until_us", sa.BigInteger, nullable=False),  # that its place before is kept
    sa.Column("purge", sa.Boolean, nullable=False),
    prefixes=["TEMPORARY"],
)


class Swapped(NamedTuple):
    """A change into a pack, of which `stored_bytes` are the object's share. The place before is kept until `until_us`;
    `purge`: its older versions go with it."""

    change: Change
    offset: int
    packed_before: int
    stored_bytes: int
    until_us: int
    purge: bool


def record(conn: sa.Connection, moved: Sequence[Swapped], *, blob: str, job_id: int, now_us: int, why: Why) -> None:
    """Write changes that a Page of this very transaction made of members of the job that makes this pack, whose blob is
    there already; tell of them, and that these items are done. Raises CatalogError as `placements.change` does,
    ValueError for what is no swap into a pack."""
    changes = [m.change for m in moved]
    if any(c.kind != _KIND or c.placement.edition != c.seen.placement.edition for c in changes):
        raise ValueError("a fact, or no swap")
    if not changes:
        return
    conn.execute(_MAKE)
    rows = [
        {
            "object_id": m.change.seen.id,
            "version": m.change.seen.version,
            "offset": m.offset,
            "packed_before": m.packed_before,
            "stored_bytes": m.stored_bytes,
            "digest": m.change.placement.digest,
            "metadata": columns.metadata_text(m.change.placement.metadata),
            "until_us": m.until_us,
            "purge": m.purge,
        }
        for m in moved
    ]
    each.execute(conn, sa.insert(_page), rows)
    conn.execute(_DONE, {"b_job": job_id, "b_blob": blob})  # before the objects' own rows, that tell what it was before
    moves.note(conn, [c.seen.id for c in changes], now_us=now_us)
    conn.execute(_SUPERSEDE)
    conn.execute(_INTO, {"b_blob": blob})
    placements.all_or_nothing(conn.execute(_MOVE, {"b_blob": blob}).rowcount, len(changes))
    conn.execute(_FORGET)
    placements.tell(conn, changes, now_us=now_us, why=why, fact=False)


_MAKE: Final = sa.schema.CreateTable(_page)
_FORGET: Final = sa.schema.DropTable(_page)

_BLOB: Final = blobs.c.id == sa.bindparam("b_blob")
_THEM: Final = sa.select(_page.c.object_id)


def _told(column: sa.Column[int], owner: sa.Column[int]) -> sa.ScalarSelect[int]:
    """What the page has beside a row. A join may be read from either side, and there are fewer rows in the page."""
    return sa.select(column).where(_page.c.object_id == owner).scalar_subquery()


def _of_blob(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    return sa.select(column).where(_BLOB).correlate(objects).scalar_subquery()


_AT_ITS_KEY: Final = objects.c.raw_state == RawState.CURRENT.value

_DONE: Final = (
    sa.update(job_items)
    .where(job_items.c.job_id == sa.bindparam("b_job"), job_items.c.object_id.in_(_THEM))
    .values(
        state=ItemState.DONE.value,
        note=None,
        before_bytes=sa.select(objects.c.stored_bytes).where(objects.c.id == job_items.c.object_id).scalar_subquery(),
        after_bytes=_told(_page.c.stored_bytes, job_items.c.object_id),
    )
)
_SUPERSEDE: Final = (
    sa.update(replicas)
    .where(replicas.c.object_id.in_(_THEM), replicas.c.state == ReplicaState.CURRENT.value)
    .values(state=ReplicaState.SUPERSEDED.value, until_us=_told(_page.c.until_us, replicas.c.object_id))
)
_NEW: Final[dict[str, Any]] = {
    "object_id": objects.c.id,
    "blob_id": sa.bindparam("b_blob", type_=sa.Text()),
    "offset": _told(_page.c.offset, objects.c.id),
    "packed_before": _told(_page.c.packed_before, objects.c.id),
    "length": objects.c.size,
    "generation": objects.c.generation,
    "state": sa.literal(ReplicaState.CURRENT.value),
    "edition": objects.c.edition,
    "overwritten": sa.false(),
}
_INTO: Final = sa.insert(replicas).from_select(
    [*_NEW], sa.select(*_NEW.values()).where(objects.c.id.in_(_THEM)), include_defaults=False
)
_MOVE: Final = (
    sa.update(objects)
    .where(
        objects.c.id.in_(_THEM),
        objects.c.version == _told(_page.c.version, objects.c.id),
        objects.c.fact_id.is_(None),
    )
    .values(
        version=objects.c.version + 1,
        digest=_told(_page.c.digest, objects.c.id),
        metadata=_told(_page.c.metadata, objects.c.id),
        raw_until_us=sa.case((_AT_ITS_KEY, _told(_page.c.until_us, objects.c.id)), else_=objects.c.raw_until_us),
        raw_state=sa.case((_AT_ITS_KEY, RawState.SUPERSEDED.value), else_=objects.c.raw_state),
        tier_id=_of_blob(blobs.c.tier_id),
        codec=_of_blob(blobs.c.codec),
        stored_bytes=_told(_page.c.stored_bytes, objects.c.id),
        purge=_told(_page.c.purge, objects.c.id),
    )
)
