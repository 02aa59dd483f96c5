"""What plans moved, row by row: where each object came from, where it went, and whether it is still there.

A blob that several objects share is billed once and whole, as long as any of them is in it. So each row has its part of
the blob that it went into, and of the pack that it came out of. As long as anybody is in that pack still, it is billed
as before, and nothing of it counts as left behind.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.blobs import share_of
from storaged.catalog.schema import audit, blobs, datasets, objects, replicas
from storaged.catalog.schema_money import ledger_items
from storaged.clock import DAY
from storaged.decide import sql
from storaged.model import RawState, ReplicaState

LEAVING: Final = ("swap", "derive", "undo", "eject", "adopt", "remove", "drop", "transition", "reclass")
ROUTE: Final = ("source_tier_id", "source_class", "tier_id", "storage_class")
SPAN: Final = ("dataset_id", "here", "done_day", "end_day", "source_here", "source_end", "blob_here", "blob_end")
_ONE: Final = sa.literal(1, sa.Integer())
_NONE: Final = sa.literal(0, sa.BigInteger())


def moved(mine: ColumnElement[bool], today: int) -> sa.Subquery:
    """The objects of a part that were moved (`mine`: its rows in the ledger), and of each `ROUTE`, `SPAN` and

    - `here`: whether it is where it was put; if not, it left on `end_day`, which is today for those that are here.
    - `blob_here`, `blob_end`: the same of any that shares its blob; `source_here`, `source_end`: of any of the part
      that came out of its pack.
    - `before_bytes`, `after_bytes`: its parts of what was stored, and is: they add up to the whole pack, or blob.
    - `source_bytes`, `blob_bytes`: that whole; `source_counted`, `blob_counted`: 1 of one of those that share it.
    - `before_share`, `after_share`: what counted as its own when it was planned, and moved.
    """
    each = _each(mine, today).subquery()
    left = _left_packs(mine, today)
    source = sa.func.coalesce(each.c.source_blob, each.c.alone)
    blob = sa.func.coalesce(each.c.blob_id, each.c.alone)
    first = sa.func.row_number().over(partition_by=blob, order_by=each.c.object_id) == 1
    shares = sql.big(sa.func.sum(each.c.after_share).over(partition_by=blob))
    blob_bytes = sa.func.coalesce(blobs.c.size, shares)
    packed = each.c.source_blob.is_not(None)
    return (
        sa.select(
            each,
            sa.func.max(each.c.here).over(partition_by=source).label("source_here"),
            sa.func.max(each.c.end_day).over(partition_by=source).label("source_end"),
            sa.func.max(each.c.here).over(partition_by=blob).label("blob_here"),
            sa.func.max(each.c.end_day).over(partition_by=blob).label("blob_end"),
            sa.case((packed, sa.func.coalesce(left.c.bytes, _NONE)), else_=each.c.before_share).label("before_bytes"),
            sa.case((packed, each.c.pack_bytes), else_=each.c.before_share).label("source_bytes"),
            sa.case((packed, sa.func.coalesce(left.c.counted, 0)), else_=_ONE).label("source_counted"),
            # what nobody has of a blob is stored all the same
            (each.c.after_share + sa.case((first, blob_bytes - shares), else_=0)).label("after_bytes"),
            blob_bytes.label("blob_bytes"),
            sa.case((first, _ONE), else_=0).label("blob_counted"),
        )
        .select_from(each)
        .outerjoin(left, sa.and_(left.c.plan_id == each.c.plan_id, left.c.object_id == each.c.object_id))
        .outerjoin(blobs, blobs.c.id == each.c.blob_id)
        .subquery()
    )


def _each(mine: ColumnElement[bool], today: int) -> sa.Select[Any]:
    current = sa.and_(replicas.c.object_id == ledger_items.c.object_id, replicas.c.state == ReplicaState.CURRENT.value)
    in_place = sa.and_(
        objects.c.raw_state == RawState.CURRENT.value,
        objects.c.raw_class == ledger_items.c.storage_class,
        objects.c.generation == ledger_items.c.generation,
    )
    here = sa.case(
        (replicas.c.blob_id.is_not(None), sa.func.coalesce(replicas.c.blob_id == ledger_items.c.blob_id, sa.false())),
        else_=sa.func.coalesce(sa.and_(ledger_items.c.blob_id.is_(None), in_place), sa.false()),
    )
    left = (
        sa.select(sa.func.min(audit.c.at_us))
        .where(audit.c.object == objects.c.name, audit.c.dataset == datasets.c.name)
        .where(audit.c.at_us > ledger_items.c.done_us, audit.c.kind.in_(LEAVING))
        .scalar_subquery()
    )
    done_day = ledger_items.c.done_us // DAY
    return (
        sa.select(
            ledger_items.c.plan_id,
            ledger_items.c.object_id,
            ledger_items.c.dataset_id,
            ledger_items.c.size,
            ledger_items.c.source_tier_id,
            ledger_items.c.source_class,
            ledger_items.c.tier_id,
            sa.func.coalesce(ledger_items.c.storage_class, "").label("storage_class"),
            ledger_items.c.source_blob,
            ledger_items.c.source_bytes.label("pack_bytes"),
            ledger_items.c.blob_id,
            sa.cast(ledger_items.c.object_id, sa.Text()).label("alone"),  # shorter than any blob's id
            ledger_items.c.before_bytes.label("before_share"),
            ledger_items.c.after_bytes.label("after_share"),
            sa.case((here, 1), else_=0).label("here"),
            done_day.label("done_day"),
            sa.case((here, today), else_=sa.func.coalesce(left // DAY, done_day)).label("end_day"),
        )
        .select_from(ledger_items)
        .outerjoin(objects, objects.c.id == ledger_items.c.object_id)
        .outerjoin(datasets, datasets.c.id == objects.c.dataset_id)
        .outerjoin(replicas, current)
        .where(mine, ledger_items.c.done_us.is_not(None))
    )


def _left_packs(mine: ColumnElement[bool], today: int) -> sa.Subquery:
    """Of the packs that this part's objects came out of, and in which nobody is any more, the parts of all that plans
    took out of them, whichever plan it was. Of an object that was taken out twice, as it was put back, the last time
    counts; and of some that are no longer where they were put, only the others, if there are any."""
    inside = sa.exists().where(
        replicas.c.blob_id == ledger_items.c.source_blob, replicas.c.state == ReplicaState.CURRENT.value
    )
    left = sa.select(ledger_items.c.source_blob).where(mine, ledger_items.c.source_blob.is_not(None), ~inside)
    each = _each(ledger_items.c.source_blob.in_(left.distinct().correlate(None)), today).subquery()
    of_object = (each.c.source_blob, each.c.object_id)
    ranked = sa.select(
        each,
        sa.func.row_number().over(partition_by=of_object, order_by=each.c.plan_id.desc()).label("last"),
        sa.func.max(each.c.here).over(partition_by=each.c.source_blob).label("any"),
    ).subquery()
    counts = sa.and_(ranked.c.last == 1, ranked.c.here == ranked.c.any)
    weight = sa.case((counts, sql.larger(ranked.c.size, sa.literal(1, sa.BigInteger()))), else_=0)
    weighed = sa.select(ranked, weight.label("weight")).subquery()
    w, order = weighed.c, (weighed.c.plan_id, weighed.c.object_id)
    until = sql.big(sa.func.sum(w.weight).over(partition_by=w.source_blob, order_by=order, rows=(None, 0)))
    whole = sql.big(sa.func.sum(w.weight).over(partition_by=w.source_blob))
    columns = (w.plan_id, w.object_id, w.pack_bytes, w.weight)
    s = sa.select(*columns, until.label("until"), whole.label("whole")).subquery().c
    return sa.select(
        s.plan_id,
        s.object_id,
        share_of(s.pack_bytes, s.whole, s.weight, s.until - s.weight).label("bytes"),
        sa.case((sa.and_(s.weight > 0, s.until == s.whole), _ONE), else_=0).label("counted"),
    ).subquery()
