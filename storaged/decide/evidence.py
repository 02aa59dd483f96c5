"""What a decision knows besides the catalog's rows: the time, the tiers, and how far the access logs reach.

Unknown is not cold: everything about reads is judged at the end of a *window*, the time of which some heat source says
that it tells of all accesses to a dataset. Without a window, nothing is idle and no rate is low.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.decide.sql import exp, in_ids
from storaged.heat import threshold

T = TypeVar("T")
STALE_US: Final = 7 * DAY  # behind the newest source


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """From when until when a heat source tells of every access to a dataset (microseconds since 1970)."""

    from_us: int
    until_us: int

    @property
    def length_us(self) -> int:
        """How long it is, in microseconds."""
        return self.until_us - self.from_us


@dataclass(frozen=True, slots=True)
class Evidence:
    """`tiers`: id by name. `windows`: by dataset id. `full`: share of its capacity in use, by tier id (0 to 1);
    `high`: at which share it is to be emptied. `asked`: the datasets that it is asked about; None: any."""

    now_us: int
    half_life_us: int
    tiers: Mapping[str, int] = field(default_factory=dict)
    windows: Mapping[int, Window] = field(default_factory=dict)
    full: Mapping[int, float] = field(default_factory=dict)
    high: Mapping[int, float] = field(default_factory=dict)
    asked: frozenset[int] | None = None

    def at_window(self, value: Callable[[Window], T | None], kind: TypeEngine[T]) -> ColumnElement[T]:
        """`value` of the window of an object's dataset, as a column: NULL where it has no window or `value` is None."""
        known: dict[Any, list[int]] = {}
        for dataset_id, window in self.windows.items():
            found = value(window) if self.asked is None or dataset_id in self.asked else None
            if found is not None:
                known.setdefault(found, []).append(dataset_id)
        if not known:
            return sa.cast(sa.null(), kind)
        first, ids = next(iter(known.items()))
        if self.asked is not None and self.asked <= set(ids):  # the same for all, and asked of no row
            return sa.literal(first, kind)
        return sa.case(*((in_ids(objects.c.dataset_id, ids), sa.literal(found, kind)) for found, ids in known.items()))

    def rate(self, score: ColumnElement[float], half_life_us: int | None = None) -> ColumnElement[float]:
        """The rate per day that a score means at the end of the window; NULL without one (heat.py's formula).
        `half_life_us`: of the score; None: it is heat's."""
        given = self.half_life_us if half_life_us is None else half_life_us
        one = self.at_window(lambda window: threshold(1.0, window.until_us, given), sa.Double())
        return sa.case((one.is_(None), None), (score.is_(None), 0.0), else_=exp(score - one))

    def covered(self, at_least_us: int) -> ColumnElement[bool]:
        """Whether the object's dataset has a window of at least this length (microseconds)."""
        return in_ids(objects.c.dataset_id, [i for i, w in self.windows.items() if w.length_us >= at_least_us])


def best_window(windows: list[Window]) -> Window | None:
    """Of several sources' windows, together: time without a break in which some of them tells of all accesses, as a
    read that any source told of counts. What ended (`STALE_US` before the newest) adds to what goes on where it reaches
    that, and is none else; of several that go on the longest."""
    whole: list[Window] = []
    for window in sorted(windows):
        if whole and window.from_us <= whole[-1].until_us:
            whole[-1] = Window(whole[-1].from_us, max(whole[-1].until_us, window.until_us))
        else:
            whole.append(window)
    newest = max((window.until_us for window in whole), default=0)
    going_on = (window for window in whole if window.until_us > newest - STALE_US)
    return max(going_on, key=lambda window: (window.length_us, window.until_us), default=None)
