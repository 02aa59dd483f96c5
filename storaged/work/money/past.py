"""A trace of the catalog's own past: what its access rollups tell of the objects that it holds now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.engine import Catalog
from storaged.catalog.placements import dataset_ids
from storaged.catalog.schema import access, objects
from storaged.clock import DAY
from storaged.decide.evidence import Window
from storaged.decide.simulate.trace import Trace
from storaged.errors import UsageError
from storaged.work.money.usage import windows as windows_of

STALE_DAYS: Final = 7  # a log that ended so long before the newest one does not decide when the past ends
_BATCH: Final = 100_000  # rows


@dataclass(frozen=True, slots=True)
class Past:
    """A trace, the ids of its objects, its first day (since 1970 UTC), and datasets whose reads are not known of all of
    its days."""

    trace: Trace
    ids: NDArray[np.int64]
    first_day: int
    left_out: tuple[str, ...]
    older: int  # objects that are older than the trace, and begin with it


def read_past(catalog: Catalog, days: int) -> Past:
    """The last so many days that heat sources tell of, whole UTC days, for the objects that exist now.

    Raises UsageError where no heat source covers so many days.
    """
    with catalog.read() as conn:
        names = {number: name for name, number in dataset_ids(conn).items()}
        windows = windows_of(conn)
        begin, end = _span(windows, days)
        covered = sorted(i for i, w in windows.items() if w.from_us <= begin * DAY and w.until_us >= end * DAY)
        held = (
            objects.c.dataset_id.in_(covered),
            objects.c.removed_us.is_(None),
            objects.c.tier_id.is_not(None),
            objects.c.created_us < end * DAY,
        )
        about = (objects.c.id, objects.c.dataset_id, objects.c.size, objects.c.created_us // DAY)
        known = whole_numbers(conn, sa.select(*about).where(*held).order_by(objects.c.id))
        told = list(conn.execute(sa.select(objects.c.format).where(*held).order_by(objects.c.id)).scalars())
        counts = (access.c.object_id, access.c.day, access.c.reads, access.c.read_bytes)
        during = (access.c.day >= begin, access.c.day < end, access.c.reads > 0)
        rows = whole_numbers(
            conn,
            sa.select(*counts).join(objects, objects.c.id == access.c.object_id).where(*held, *during)
            .order_by(access.c.object_id, access.c.day),
        )  # fmt: skip
    if not len(known):
        raise UsageError("the catalog holds no objects whose reads are known", hint="`storagectl scan` finds them")
    trace, order = trace_of(known, rows, begin, end, [names[i] for i in covered], covered)
    formats, of_format = np.unique(np.array(told, dtype=str), return_inverse=True)
    return Past(
        replace(trace, formats=tuple(map(str, formats)), format=of_format[order].astype(np.int32)),
        known[order, 0],
        begin,
        tuple(sorted(name for i, name in names.items() if i not in covered)),
        int((known[:, 3] < begin).sum()),
    )


def _span(windows: dict[int, Window], days: int) -> tuple[int, int]:
    """First day, and the day after the last: what the most recent logs all tell of."""
    ends = [window.until_us // DAY for window in windows.values()]
    end = min((e for e in ends if e > max(ends) - STALE_DAYS), default=0)
    longest = max((end - -(-w.from_us // DAY) for w in windows.values() if w.until_us >= end * DAY), default=0)
    if longest < 1:
        raise UsageError("no heat source tells of a whole day of reads", hint="`storagectl ingest` reads the logs")
    if longest < days:
        raise UsageError(f"heat sources tell of {longest} days of reads, not of {days}", hint=f"--history {longest}d")
    return end - days, end


def whole_numbers(conn: sa.Connection, query: sa.Select[Any]) -> NDArray[np.int64]:
    """All rows of whole numbers."""
    width = len(query.selected_columns)
    found = [np.zeros((0, width), np.int64)]
    found += [np.array([tuple(row) for row in rows], np.int64) for rows in conn.execute(query).partitions(_BATCH)]
    return np.concatenate(found)


def trace_of(
    known: NDArray[np.int64], rows: NDArray[np.int64], begin: int, end: int, names: list[str], ids: list[int]
) -> tuple[Trace, NDArray[np.int64]]:
    """A trace of objects (id, dataset id, size, day of creation) in the order of their ids, and rows of reads (object
    id, day, reads, bytes) in the order of objects and days, from the day `begin` to the one before `end`. `names`: of
    the datasets `ids`, which are in order.

    Objects begin on their first day that the trace has: of creation, or of a read (an earlier generation's). With the
    order in which it has them."""
    at = np.searchsorted(known[:, 0], rows[:, 0])
    created = np.maximum(known[:, 3], begin)
    np.minimum.at(created, at, rows[:, 1])
    order = np.argsort(created, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    object_ = place[at]
    by_object = np.lexsort((rows[:, 1], object_))
    trace = Trace(
        days=end - begin,
        created=(created[order] - begin).astype(np.int32),
        sizes=known[order, 2],
        starts=np.searchsorted(object_[by_object], np.arange(len(known) + 1)),
        read_day=(rows[by_object, 1] - begin).astype(np.int32),
        reads=rows[by_object, 2],
        read_bytes=rows[by_object, 3],
        datasets=tuple(names),
        dataset=np.searchsorted(np.array(ids), known[order, 1]).astype(np.int32),
    )
    return trace, order
