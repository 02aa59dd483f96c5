"""What came into each dataset and what went, week by week, as the catalog knows it: by when objects were written and
when they were found to be gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from storaged.catalog.schema import datasets, objects, scans
from storaged.clock import DAY
from storaged.decide.growth import LEAST, LONGEST, WEEK, Floats

WEEK_US: Final = WEEK * DAY


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Bytes and objects that came, less those that went, in each week up to the last scan, the newest week last. The
    week in which the first objects came is none of them: what is there at the beginning is no growth.

    `objects_now`, `bytes_now`: what is not gone, content. `scanned_us` is never after now; None: it was never scanned.
    `watched_us`: since when scans are known to tell what is gone. `overwritten`: objects that their users wrote anew;
    when they came first is not known, and they count as if they had always been there. `from_the_future`: objects that
    will have been written, as their times say. `clock_jumped`: so will the last scan have been made.
    """

    dataset_id: int
    dataset: str
    home_id: int
    objects_now: int
    bytes_now: int
    bytes: Floats
    objects: Floats
    scanned_us: int | None
    watched_us: int | None
    overwritten: int = 0
    from_the_future: int = 0
    clock_jumped: bool = False

    @property
    def weeks(self) -> int:
        return len(self.bytes)

    @property
    def removals_known(self) -> bool:
        """Whether scans tell what went for long enough that something can be said of it."""
        if self.scanned_us is None or self.watched_us is None:
            return False
        return self.scanned_us - self.watched_us >= LEAST * WEEK_US


def arrivals(conn: sa.Connection, now_us: int) -> list[Arrivals]:
    """Of every dataset that the catalog has, by name."""
    return [_of(conn, row, now_us) for row in conn.execute(sa.select(datasets).order_by(datasets.c.name))]


def _of(conn: sa.Connection, row: Any, now_us: int) -> Arrivals:
    o = objects.c
    mine, here = o.dataset_id == row.id, o.removed_us.is_(None)
    end = min(now_us, now_us if row.scanned_us is None else row.scanned_us)

    def number(condition: sa.ColumnElement[bool], value: Any = 1) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, value), else_=0)), 0)

    told = conn.execute(
        sa.select(
            sa.func.min(o.created_us).label("first_us"),
            sa.func.min(o.removed_us).label("gone_us"),
            number(here).label("objects"),
            number(here, o.size).label("bytes"),
            number(sa.and_(here, o.generation > 1)).label("overwritten"),
            number(sa.and_(here, o.created_us > now_us)).label("later"),
        ).where(mine)
    ).one()
    scan = conn.execute(sa.select(sa.func.min(scans.c.finished_us)).where(scans.c.dataset_id == row.id)).scalar()
    seen = [us for us in (scan, told.gone_us) if us is not None]
    weeks = 0 if told.first_us is None else min(max((end - told.first_us) // WEEK_US, 0), LONGEST)
    came = _weekly(conn, o.created_us, sa.and_(mine, o.generation == 1), end, weeks)
    went = _weekly(conn, o.removed_us, mine, end, weeks)
    return Arrivals(
        row.id,
        row.name,
        row.tier_id,
        int(told.objects),
        int(told.bytes),
        came[0] - went[0],
        came[1] - went[1],
        None if row.scanned_us is None else end,
        min(seen, default=None),
        int(told.overwritten),
        int(told.later),
        row.scanned_us is not None and row.scanned_us > now_us,
    )


def _weekly(
    conn: sa.Connection, at: sa.ColumnElement[Any], which: sa.ColumnElement[bool], end_us: int, weeks: int
) -> tuple[Floats, Floats]:
    """Bytes and objects by week, the newest last."""
    found = np.zeros((2, weeks))
    ago = ((sa.literal(end_us, sa.BigInteger()) - at) // WEEK_US).label("ago")
    sums = sa.select(ago, sa.func.sum(objects.c.size), sa.func.count())
    since = sa.and_(at <= end_us, at > end_us - weeks * WEEK_US)
    for week, nbytes, number in conn.execute(sums.where(which, since).group_by(ago)):
        found[:, weeks - 1 - int(week)] = float(nbytes), number
    return found[0], found[1]
