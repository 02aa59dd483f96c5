"""What is kept and read, in whole numbers: set by set, by dataset, tier and storage class. work/cost.py prices them.

Every stored thing that the catalog knows counts where it is: current places, and what is kept through grace. Uploads
under way, what discarded attempts left and noncurrent versions do not: what they take is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.allocated import TAKEN
from storaged.catalog.homes import homes
from storaged.catalog.schema import access, audit, blobs, datasets, heat_coverage, objects, replicas, tiers
from storaged.clock import DAY
from storaged.decide.evidence import Evidence, Window, best_window
from storaged.decide.sql import larger
from storaged.model import RawState, ReplicaState
from storaged.prices.book import ClassPrices
from storaged.work.money.cuts import Cut

Prices = Mapping[tuple[int, str], ClassPrices]  # by tier id and the store's own name of the class


LAST_DAYS: Final = 30  # whole days before today whose reads stand for a month's
_MIB: Final = 1 << 20
_NO_LABEL: Final = sa.literal("", sa.Text())


@dataclass(frozen=True, slots=True)
class StoredAlike:
    """Stored things in one place that are alike: bytes, billable bytes, and how many of them are monitored.

    `stored`: how many they are; `objects`: how many objects answer to their names there, of which a pack holds many.

    `idle_days`: for so many days, at least, nobody has read them, as far as the logs tell. `byte_days` and
    `object_days`: billable bytes, and objects, each times the days left of its class's minimum duration.
    """

    dataset_id: int | None
    tier_id: int
    storage_class: str
    in_grace: bool
    idle_days: int
    objects: int
    stored: int
    bytes: int
    billable: int
    monitored: int
    byte_days: int
    object_days: int
    label: str | None = ""  # of a cut; empty where there is none


@dataclass(frozen=True, slots=True)
class Touched:
    """Reads and writes of the last month in one place, as the logs told them: not yet scaled to a month."""

    dataset_id: int
    tier_id: int
    storage_class: str
    reads: int = 0
    bytes: int = 0
    writes: int = 0
    label: str | None = ""


def last_month(windows: Mapping[int, Window], now_us: int) -> dict[int, Window]:
    """The part of the last 30 days, and of today, of which the logs tell; by dataset. Less than a day of it tells
    nothing of a month. It begins with a day, or where the logs begin, as accesses are counted by UTC days."""
    begin = (now_us // DAY - LAST_DAYS) * DAY
    parts = {i: Window(max(w.from_us, begin), min(w.until_us, now_us)) for i, w in windows.items()}
    return {i: part for i, part in parts.items() if part.length_us >= DAY}


def windows(conn: sa.Connection) -> dict[int, Window]:
    """How far the logs reach, by dataset."""
    found: dict[int, list[Window]] = {}
    for row in conn.execute(sa.select(heat_coverage)):
        found.setdefault(row.dataset_id, []).append(Window(row.from_us, row.until_us))
    best = {dataset_id: best_window(several) for dataset_id, several in found.items()}
    return {dataset_id: window for dataset_id, window in best.items() if window is not None}


def kept(
    conn: sa.Connection, prices: Prices, known: Mapping[int, Window], now_us: int, cut: Cut | None = None
) -> Iterator[StoredAlike]:
    """Everything that is stored. Without `prices` of its place the billable sums mean nothing. `cut`: by what else it
    is told apart."""
    every = sa.union_all(*_stored(conn, Evidence(now_us, 1, windows=known), cut)).subquery()
    offer = _offer(prices)
    billable = larger(every.c.size, sa.func.coalesce(offer.c.minimum_bytes, 0))
    monitored = every.c.size >= offer.c.monitoring_bytes
    age = (sa.literal(now_us, sa.BigInteger()) - every.c.since_us) // DAY
    left = larger(sa.func.coalesce(offer.c.minimum_days, 0) - larger(age, sa.literal(0)), sa.literal(0))
    idle = _steps(
        every.c.idle_us, sorted({inner.idle_days for p in prices.values() for inner in p.inner}, reverse=True)
    )
    keys = (
        every.c.dataset_id,
        every.c.tier_id,
        every.c.storage_class,
        every.c.in_grace,
        sa.case((monitored, idle), else_=0).label("idle_days"),  # what is not monitored is never moved
        every.c.label,
    )
    sums = {
        "objects": every.c.objects,
        "bytes": every.c.size,
        "billable": billable,
        "monitored": sa.case((monitored, 1), else_=0),
        "mib_days": billable // _MIB * left,  # in two sums, that neither outgrows 64 bits
        "rest_days": billable % _MIB * left,
        "object_days": left,
    }
    query = (
        sa.select(*keys, sa.func.count().label("stored"), *(sa.func.sum(s).label(name) for name, s in sums.items()))
        .select_from(every)
        .outerjoin(offer, sa.and_(offer.c.tier_id == every.c.tier_id, offer.c.storage_class == every.c.storage_class))
        .group_by(*keys)
    )
    for row in conn.execute(query):
        yield StoredAlike(
            row.dataset_id,
            row.tier_id,
            row.storage_class,
            bool(row.in_grace),
            row.idle_days,
            int(row.objects),
            row.stored,
            int(row.bytes),
            int(row.billable),
            int(row.monitored),
            int(row.mib_days) * _MIB + int(row.rest_days),
            int(row.object_days),
            row.label,
        )


def _label(cut: Cut | None, size: ColumnElement[Any]) -> ColumnElement[Any]:
    return (_NO_LABEL if cut is None else cut.label(size)).label("label")


def _stored(conn: sa.Connection, evidence: Evidence, cut: Cut | None) -> Iterator[sa.Select[Any]]:
    """Original keys, current and superseded, and blobs of ours: one row each, whatever is in a blob.

    `since_us`: since when it is in its class. `idle_us`: for how long the logs say that nobody read it; NULL where
    they do not say.
    """
    end = evidence.at_window(lambda window: window.until_us, sa.BigInteger())
    begin = evidence.at_window(lambda window: window.from_us, sa.BigInteger())

    def idle(since: ColumnElement[Any], last_read: ColumnElement[Any]) -> ColumnElement[Any]:
        touched = larger(since, sa.func.coalesce(last_read, 0))
        return (end - larger(touched, begin)).label("idle_us")

    changed = _class_changes()
    since = larger(objects.c.created_us, sa.func.coalesce(changed.c.at_us, 0))
    in_grace = objects.c.raw_state != RawState.CURRENT.value
    yield (
        sa.select(
            objects.c.dataset_id,
            sa.case((in_grace, _home(conn)), else_=objects.c.tier_id).label("tier_id"),
            objects.c.raw_class.label("storage_class"),
            sa.case((in_grace, 1), else_=0).label("in_grace"),
            sa.literal(1, sa.Integer()).label("objects"),
            TAKEN.label("size"),
            since.label("since_us"),
            idle(since, objects.c.last_read_us),
            _label(cut, TAKEN),
        )
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .outerjoin(changed, sa.and_(changed.c.dataset == datasets.c.name, changed.c.object == objects.c.name))
        .where(objects.c.raw_state.in_([s.value for s in (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING)]))
    )
    current = sa.and_(replicas.c.blob_id == blobs.c.id, replicas.c.state == ReplicaState.CURRENT.value)
    yield (
        sa.select(
            sa.func.coalesce(objects.c.dataset_id, blobs.c.dataset_id),
            blobs.c.tier_id,
            _class_of_blob(),
            sa.case((objects.c.id.is_(None), 1), else_=0),
            sa.literal(1, sa.Integer()),
            blobs.c.size,
            blobs.c.created_us,
            idle(blobs.c.created_us, objects.c.last_read_us),
            _label(cut, blobs.c.size),
        )
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .outerjoin(replicas, current)
        .outerjoin(objects, objects.c.id == replicas.c.object_id)
        .where(blobs.c.packed_bytes == 0)
    )
    inside = (
        sa.select(
            replicas.c.blob_id,
            sa.func.min(replicas.c.object_id).label("one"),
            sa.func.count().label("objects"),
            sa.func.max(objects.c.last_read_us).label("last_read_us"),
            (_NO_LABEL if cut is None else cut.of_pack(blobs.c.size)).label("label"),
        )
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .join(objects, objects.c.id == replicas.c.object_id)
        .where(replicas.c.state == ReplicaState.CURRENT.value, blobs.c.packed_bytes > 0)
        .group_by(replicas.c.blob_id)
        .subquery()
    )
    yield (  # packs, each as what its store bills: whole, whatever of it is nobody's any more
        sa.select(
            blobs.c.dataset_id,
            blobs.c.tier_id,
            _class_of_blob(),
            sa.case((inside.c.blob_id.is_(None), 1), else_=0),
            sa.func.coalesce(inside.c.objects, 1),
            blobs.c.size,
            blobs.c.created_us,
            idle(blobs.c.created_us, inside.c.last_read_us),
            inside.c.label,
        )
        .select_from(blobs)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .outerjoin(inside, inside.c.blob_id == blobs.c.id)
        .outerjoin(objects, objects.c.id == inside.c.one)  # whose dataset's window is all of theirs
        .where(blobs.c.packed_bytes > 0)
    )


def touched(conn: sa.Connection, month: Mapping[int, Window], cut: Cut | None = None) -> Iterator[Touched]:
    """Accesses within each dataset's part of the last month to what there is now: reads where it is now, writes at the
    original keys, where users write. `cut`: by what else they are told apart."""
    evidence = Evidence(0, 1, windows=month)
    first = evidence.at_window(lambda window: window.from_us // DAY, sa.BigInteger())
    last = evidence.at_window(lambda window: (window.until_us - 1) // DAY, sa.BigInteger())
    told = sa.and_(access.c.day >= first, access.c.day <= last, objects.c.tier_id.is_not(None))
    current = sa.and_(replicas.c.object_id == objects.c.id, replicas.c.state == ReplicaState.CURRENT.value)
    place = (
        objects.c.dataset_id,
        objects.c.tier_id,
        sa.case((blobs.c.id.is_(None), objects.c.raw_class), else_=_class_of_blob()).label("storage_class"),
        _label(cut, sa.func.coalesce(blobs.c.size, TAKEN)),
    )
    reads = (
        sa.select(*place, sa.func.sum(access.c.reads), sa.func.sum(access.c.read_bytes))
        .select_from(access)
        .join(objects, objects.c.id == access.c.object_id)
        .outerjoin(replicas, current)
        .outerjoin(blobs, blobs.c.id == replicas.c.blob_id)
        .outerjoin(tiers, tiers.c.id == blobs.c.tier_id)
        .where(told, access.c.reads > 0)
        .group_by(*place)
    )
    for dataset_id, tier_id, storage_class, label, count, nbytes in conn.execute(reads):
        yield Touched(dataset_id, tier_id, storage_class, reads=int(count), bytes=int(nbytes), label=label)
    at_root = (objects.c.dataset_id, _home(conn).label("tier_id"), objects.c.raw_class, _label(cut, TAKEN))
    writes = (
        sa.select(*at_root, sa.func.sum(access.c.writes))
        .select_from(access)
        .join(objects, objects.c.id == access.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(told, access.c.writes > 0)
        .group_by(*at_root)
    )
    for dataset_id, tier_id, storage_class, label, count in conn.execute(writes):
        yield Touched(dataset_id, tier_id, storage_class, writes=int(count), label=label)


def _class_of_blob() -> ColumnElement[str]:
    """The class that a blob was made in; older rows do not tell and have their tier's."""
    return sa.case((blobs.c.storage_class == "", tiers.c.storage_class), else_=blobs.c.storage_class)


def _home(conn: sa.Connection) -> ColumnElement[Any]:
    """The tier that an object's original key counts as being in, whether or not it is the current place."""
    of = homes(conn)
    classes = conn.execute(sa.select(tiers.c.storage_class).distinct()).scalars().all()
    elsewhere = [
        (sa.and_(objects.c.dataset_id == row.id, objects.c.raw_class == name), of(row.id, name))
        for row in conn.execute(sa.select(datasets.c.id, datasets.c.tier_id))
        for name in classes
        if of(row.id, name) != row.tier_id
    ]
    return sa.case(*elsewhere, else_=datasets.c.tier_id) if elsewhere else datasets.c.tier_id


def _class_changes() -> sa.Subquery:
    """When the class of an original key was last changed in place, by us or by the store's own rules."""
    return (
        sa.select(audit.c.dataset, audit.c.object, sa.func.max(audit.c.at_us).label("at_us"))
        .where(audit.c.kind.in_(("transition", "reclass")))
        .group_by(audit.c.dataset, audit.c.object)
        .subquery()
    )


def _offer(prices: Prices) -> sa.CTE:
    """What the sums need of the prices, as a table."""
    columns = ("minimum_bytes", "minimum_days", "monitoring_bytes")
    rows = [(tier_id, name, *(getattr(p, c) for c in columns)) for (tier_id, name), p in prices.items()]
    table = sa.values(
        sa.column("tier_id", sa.Integer()),
        sa.column("storage_class", sa.Text()),
        *(sa.column(name, sa.BigInteger()) for name in columns),
        name="offer",
        literal_binds=True,
    )
    return table.data(rows or [(0, "", 0, 0, 0)]).cte()  # no tier has the id 0, and a list of values is never empty


def _steps(idle_us: ColumnElement[Any], days: Sequence[int]) -> ColumnElement[Any]:
    """The largest of these that the idle time has reached, else 0; 0 as well where it is not known."""
    return sa.case(*((idle_us >= n * DAY, n) for n in days), else_=0) if days else sa.literal(0)
