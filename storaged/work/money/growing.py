"""Bills of months ahead, each made as `cost` makes it, and what each place of each dataset comes to then.

What comes to a dataset comes to its home; what goes, goes from each place of it in proportion to what is there. What
is kept through grace stays, and so do reads and writes, as `cost` has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from storaged.decide.growth import WAYS, Floats, interval
from storaged.prices.amount import PICODOLLAR, ZERO
from storaged.work.money.arrivals import Arrivals
from storaged.work.money.cost import Bill, BillBasis, BillPart, Group, line
from storaged.work.money.usage import StoredAlike

Place = tuple[str, str]  # dataset (empty: nobody's) and tier
BYTES, OBJECTS = 0, 1


@dataclass(frozen=True, slots=True)
class Within:
    """What is expected of one quantity, and the ends of the interval that it is within."""

    low: Decimal
    mean: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class _Growth:
    """Of a dataset by how much more there is than now: BYTES and OBJECTS, then a row a way, a column a month. `ends`:
    of the two the low end, the mean and the high end, a column a month."""

    ways: tuple[Floats, Floats]
    ends: tuple[Floats, Floats, Floats]


class GrowingBills:
    """`ways`: of each dataset of which something is said; the others stand. `classes`: of the tiers, by number."""

    def __init__(
        self,
        basis: BillBasis,
        told: Sequence[Arrivals],
        ways: Mapping[str, tuple[Floats, Floats]],
        classes: Mapping[int, str],
        months: int,
    ) -> None:
        self._basis, self._classes, self._columns = basis, classes, months + 1
        self._told = {one.dataset: one for one in told}
        self._ids = {one.dataset_id: one.dataset for one in told}
        self._growth = {name: _growth(*both) for name, both in ways.items()}
        lows, self.bills, highs = ([self._bill(end, month) for month in range(months + 1)] for end in range(3))
        self._parts = [_by_place(bill) for bill in self.bills]
        self._ends = [_by_place(bill) for bill in lows], [_by_place(bill) for bill in highs]
        self.places = sorted({place for parts in self._parts for place in parts})

    def _bill(self, end: int, month: int) -> Bill:
        """With each dataset at this end of its growth in this month."""
        rows: list[StoredAlike] = []
        more = {name: growth.ends[end][:, month] for name, growth in self._growth.items()}
        for row, _ in self._basis.stock:
            name = "" if row.dataset_id is None else self._ids[row.dataset_id]
            rows.append(row if row.in_grace or name not in more else _shrunk(row, self._told[name], more[name]))
        for name, change in more.items():
            nbytes, number = (round(max(float(value), 0.0)) for value in change)
            if nbytes or number:
                rows.append(self._added(self._told[name], nbytes, number))
        return replace(self._basis, stock=[(row, [row]) for row in rows]).bill()

    def _added(self, one: Arrivals, nbytes: int, number: int) -> StoredAlike:
        storage_class = self._classes[one.home_id]
        prices = self._basis.prices.get((one.home_id, storage_class))
        billable, monitored = nbytes, 0
        if prices is not None:
            billable = max(nbytes, number * prices.minimum_bytes)
            monitored = number if nbytes >= number * prices.monitoring_bytes else 0
        return StoredAlike(
            dataset_id=one.dataset_id,
            tier_id=one.home_id,
            storage_class=storage_class,
            in_grace=False,
            idle_days=0,
            objects=number,
            stored=number,
            bytes=nbytes,
            billable=billable,
            monitored=monitored,
            byte_days=0,
            object_days=0,
        )

    def beside(self, place: Place, what: int) -> Floats:
        """A row a way, a column a month: by how much more of BYTES or OBJECTS there is than expected."""
        growth = self._growth.get(place[0])
        if growth is None:
            return np.zeros((WAYS, self._columns))
        return self._of(place, what, growth.ways[what]) - self._of(place, what, growth.ends[1][what])

    def more(self, place: Place) -> Floats:
        """The same, bytes beside what is there now."""
        growth = self._growth.get(place[0])
        if growth is None:
            return np.zeros((WAYS, self._columns))
        return self._of(place, BYTES, growth.ways[BYTES])

    def _of(self, place: Place, what: int, change: Floats) -> Floats:
        """The place's part of what comes to its dataset or goes from it."""
        one = self._told[place[0]]
        now = line("", (part for part in self._parts[0].get(place, []) if not part.in_grace))
        here, whole = ((now.bytes, one.bytes_now), (now.objects, one.objects_now))[what]
        home = float(self._basis.names[one.home_id] == place[1])
        came: Floats = np.maximum(change, 0.0) * home
        return came + np.minimum(change, 0.0) * (here / whole if whole else 0.0)

    def _rates(self, place: Place) -> Floats:
        """USD per month for each byte more, by month: as the bills of both ends differ."""
        low, high = ([line("", parts.get(place, [])) for parts in end] for end in self._ends)
        nbytes = np.array([b.bytes - a.bytes for a, b in zip(low, high, strict=True)], float)
        paid = np.array([float(b.cost.total - a.cost.total) for a, b in zip(low, high, strict=True)])
        rates: Floats = np.divide(paid, nbytes, out=np.zeros_like(paid), where=nbytes > 0)
        return rates

    def together(self, places: Sequence[Place]) -> list[tuple[Group, Within, Within, Within]]:
        """Of these places, by month: the line of its bill; bytes, objects and USD per month."""
        beside = [np.zeros((WAYS, self._columns)) for _ in range(3)]
        for place in places:
            nbytes = self.beside(place, BYTES)
            for found, values in zip(
                beside, (nbytes, self.beside(place, OBJECTS), nbytes * self._rates(place)), strict=True
            ):
                found += values
        told = []
        for month, parts in enumerate(self._parts):
            group = line("", (part for place in places for part in parts.get(place, [])))
            nbytes, objects, usd = (values[:, month] for values in beside)
            told.append(
                (
                    group,
                    _around(Decimal(group.bytes), nbytes, Decimal(1)),
                    _around(Decimal(group.objects), objects, Decimal(1)),
                    _around(group.cost.total, usd, PICODOLLAR),
                )
            )
        return told


def _growth(nbytes: Floats, objects: Floats) -> _Growth:
    low, mean, high = (np.stack(pair) for pair in zip(interval(nbytes), interval(objects), strict=True))
    return _Growth((nbytes, objects), (low, mean, high))


def _shrunk(row: StoredAlike, one: Arrivals, change: Floats) -> StoredAlike:
    """What is left of it."""
    of_bytes, of_objects = (
        1 + min(float(value), 0.0) / whole if whole else 1.0
        for value, whole in zip(change, (one.bytes_now, one.objects_now), strict=True)
    )
    if of_bytes == of_objects == 1:
        return row
    sizes = {name: round(getattr(row, name) * of_bytes) for name in ("bytes", "billable", "byte_days")}
    numbers = {
        name: round(getattr(row, name) * of_objects) for name in ("objects", "stored", "monitored", "object_days")
    }
    return replace(row, **sizes, **numbers)


def _by_place(bill: Bill) -> dict[Place, list[BillPart]]:
    found: dict[Place, list[BillPart]] = {}
    for part in bill.parts:
        found.setdefault((part.dataset, part.tier), []).append(part)
    return found


def _around(mean: Decimal, beside: Floats, unit: Decimal) -> Within:
    """The interval of what is beside the mean; never below nothing."""
    low, _, high = interval(beside[:, None])
    down, up = (Decimal(float(end[0])).quantize(unit) for end in (low, high))
    return Within(max(min(mean + down, mean), ZERO), mean, max(mean + up, mean))
