"""What everything costs per month as it is now, with the last month's accesses: exact, and the same however it is cut.

The bill consists of parts, each of one dataset, tier and storage class, in whole picodollars; every table and every
export is a sum of parts. What volume steps make of a class in one region is shared out by billable bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from storaged.catalog.schema import datasets, tiers
from storaged.clock import DAY, to_datetime
from storaged.config.settings import Settings
from storaged.decide.evidence import Window
from storaged.errors import UsageError
from storaged.prices.amount import PICODOLLAR, ZERO, Amount
from storaged.prices.book import DAYS_PER_MONTH, ClassPrices, PriceBook
from storaged.prices.formulas import Stock, Traffic, allotted, inside, owed_early, read, stored, written
from storaged.prices.load import load_prices
from storaged.prices.tiers import tier_prices
from storaged.work.context import Context
from storaged.work.money.cuts import CUTS, Cut
from storaged.work.money.usage import Prices, StoredAlike, Touched, kept, last_month, touched, windows

MONTHLY: Final = ("storage", "requests", "retrieval", "monitoring", "overhead")  # the kinds that a bill has
GROUPINGS: Final = ("dataset", "tier", "owner", "tag:KEY", "kind", "class", *CUTS)
_STOCK: Final = ("objects", "stored", "bytes", "billable", "monitored", "byte_days", "object_days")
_TRAFFIC: Final = ("reads", "bytes", "writes")
R = TypeVar("R", StoredAlike, Touched)
FIGURES: Final = (  # of a price book that a bill is made from
    "storage",
    "requests.get",
    "requests.put",
    "retrieval.standard",
    "minimum",
    "overhead",
    "monitoring",
    "inner",
    "disk",
)


@dataclass(frozen=True, slots=True)
class BillPart:
    """What is alike on the bill. `cost`: USD per month; None: its tier's prices are not known. `leaving_today`: USD
    once, for the rest of the minimum duration, if it were deleted now; no part of the bill. `inner`: the tier inside a
    class that moves objects by itself; empty: the class's own price. `reads_known`: whether logs tell of its reads.
    `label`: of what it is, as the bill is cut; empty: it is not cut. `objects` answer to their names there; `places`:
    stored things, of which a pack is one.
    """

    dataset: str
    owner: str
    tags: Mapping[str, str]
    tier: str
    storage_class: str  # the store's name
    prices: ClassPrices | None
    inner: str = ""
    in_grace: bool = False
    reads_known: bool = True
    objects: int = 0
    places: int = 0
    bytes: int = 0
    billable: int = 0
    cost: Amount | None = None
    leaving_today: Decimal = ZERO
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """`at_us`: when. `parts` in a fixed order. `months`: of which part of the last month the logs tell, by dataset;
    `unread`: datasets of whose reads they tell nothing."""

    at_us: int
    parts: tuple[BillPart, ...]
    months: Mapping[str, Window]
    unread: tuple[str, ...]

    @property
    def month(self) -> str:
        """The calendar month in which it was made (UTC), such as 2026-11."""
        return f"{to_datetime(self.at_us):%Y-%m}"

    @property
    def total(self) -> Amount:
        """USD per month of all that has prices."""
        return _sum(part.cost for part in self.parts)

    @property
    def leaving_today(self) -> Decimal:
        """USD once, for early deletion, if everything were deleted now. No part of the total."""
        return sum((part.leaving_today for part in self.parts), ZERO)

    @property
    def unpriced(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Objects and bytes whose prices are not known, by tier and storage class."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for part in self.parts:
            if part.prices is None and part.objects:
                objects, nbytes = found.get((part.tier, part.storage_class), (0, 0))
                found[part.tier, part.storage_class] = (objects + part.objects, nbytes + part.bytes)
        return dict(sorted(found.items()))

    @property
    def prices(self) -> tuple[ClassPrices, ...]:
        """Those that were used, by id."""
        return tuple(sorted({p.prices.id: p.prices for p in self.parts if p.prices}.values(), key=lambda p: p.id))


@dataclass(frozen=True, slots=True)
class Group:
    """A line of the bill. `grace`: the part of `cost` that is kept through grace. Objects and bytes: all of them, and
    of those the ones without prices, which are not in `cost`."""

    name: str
    cost: Amount = field(default_factory=Amount)
    grace: Amount = field(default_factory=Amount)
    objects: int = 0
    places: int = 0  # stored things: a pack is one of many objects; of what is in grace there are two
    bytes: int = 0
    unpriced_objects: int = 0
    unpriced_places: int = 0
    unpriced_bytes: int = 0
    reads_known: bool = True

    @property
    def priced(self) -> bool:
        """Whether anything of it has prices."""
        return self.places > self.unpriced_places or self.cost.total > 0


def make_bill(context: Context, by: str | Cut = "") -> Bill:
    """What everything in the catalog costs now. Reads only. `by`: one of CUTS, where it is to be grouped by that.
    Raises ConfigError for price books and `prices:` of tiers that do not hold together, CatalogError."""
    return bill_basis(context, by).bill()


@dataclass(frozen=True, slots=True)
class BillBasis:
    """All that a bill is made from. `names` of tiers and `owners` (rows of datasets) by number; `month`: what the logs
    tell of the last one, by dataset."""

    at_us: int
    names: Mapping[int, str]
    owners: Mapping[int, Any]
    prices: Prices
    month: Mapping[int, Window]
    cut: Cut | None
    stock: list[tuple[StoredAlike, list[StoredAlike]]]
    traffic: list[tuple[Touched, list[Touched]]]

    def bill(self) -> Bill:
        """What that costs."""
        cut, month, owners = self.cut, self.month, self.owners
        parts: list[BillPart] = []
        wholes = _with_storage([_stored(self._part(row), row) for row, _ in self.stock])
        for whole, (_, rows) in zip(wholes, self.stock, strict=True):
            parts += _cut(whole, [_stored(self._part(row), row) for row in rows], rows, cut)
        for row, some in self.traffic:
            span = month[row.dataset_id]
            each = [_accessed(self._part(r), r, span) for r in some]
            parts += _cut(_accessed(self._part(row), row, span), each, some, cut)
        stored_in = {row.dataset_id for row, _ in self.stock if row.dataset_id is not None}
        return Bill(
            self.at_us,
            tuple(sorted(parts, key=_place)),
            {owners[i].name: month[i] for i in sorted(stored_in & month.keys(), key=lambda i: str(owners[i].name))},
            tuple(sorted(owners[i].name for i in stored_in - month.keys())),
        )

    def _part(self, row: StoredAlike | Touched) -> BillPart:
        owner = self.owners.get(row.dataset_id) if row.dataset_id is not None else None
        return BillPart(
            dataset=owner.name if owner else "",
            owner=owner.owner if owner else "",
            tags=json.loads(owner.tags) if owner else {},
            tier=self.names[row.tier_id],
            storage_class=row.storage_class,
            prices=self.prices.get((row.tier_id, row.storage_class)),
            reads_known=row.dataset_id in self.month,
        )


def bill_basis(context: Context, by: str | Cut = "") -> BillBasis:
    """What everything is that a bill counts. Raises as `make_bill` does."""
    book = load_prices(context.settings.price_books)
    now = context.now_us()
    cut = by if isinstance(by, Cut) else Cut.of(by, now)
    with context.catalog.read() as conn:
        prices = _prices(conn, context.settings, book)
        known = windows(conn)
        month = last_month(known, now)
        return BillBasis(
            now,
            {row.id: row.name for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))},
            {row.id: row for row in conn.execute(sa.select(datasets))},
            prices,
            month,
            cut,
            _alike(kept(conn, prices, known, now, cut), _STOCK),
            _alike(touched(conn, month, cut), _TRAFFIC),
        )


def _prices(conn: sa.Connection, settings: Settings, book: PriceBook) -> Prices:
    """The prices of every class that may be found in a tier that has some: the tier's own, and its region's others."""
    named = tier_prices(settings, book)
    found: dict[tuple[int, str], ClassPrices] = {}
    for row in conn.execute(sa.select(tiers.c.id, tiers.c.name, tiers.c.storage_class)):
        if own := named.get(row.name):
            found |= {(row.id, p.storage_class): p for p in book.classes.values() if p.region == own.region}
            found[row.id, row.storage_class] = own
    return found


def _stored(part: BillPart, row: StoredAlike) -> BillPart:
    """All that is kept. Its storage is left out: volume steps need the whole first."""
    counted = replace(
        part,
        in_grace=row.in_grace,
        objects=row.objects,
        places=row.stored,
        bytes=row.bytes,
        billable=row.billable,
    )
    if part.prices is None:
        return counted
    inner = [i.name for i in part.prices.inner if i.idle_days <= row.idle_days]
    stock = Stock(row.stored, row.bytes, row.billable, row.monitored)
    return replace(
        counted,
        inner=inner[-1] if inner else "",
        cost=replace(stored(part.prices, stock).rounded(), storage=ZERO),
        leaving_today=owed_early(part.prices, row.byte_days, row.object_days).quantize(PICODOLLAR),
    )


def _with_storage(parts: Sequence[BillPart]) -> list[BillPart]:
    """With each part's share of what its class's storage costs altogether."""
    found = list(parts)
    alike: dict[tuple[str, str], list[int]] = {}
    rates: dict[tuple[str, str], ClassPrices] = {}
    for number, part in enumerate(parts):
        if part.prices is not None:
            key = (part.prices.id, part.inner)
            alike.setdefault(key, []).append(number)
            rates[key] = next((inside(part.prices, i) for i in part.prices.inner if i.name == part.inner), part.prices)
    for key, same in alike.items():
        same.sort(key=lambda number: _place(parts[number]))  # so that the last picodollars always fall to the same
        whole = stored(rates[key], Stock(billable=sum(parts[n].billable for n in same))).storage
        for number, share in zip(same, allotted(whole, [parts[n].billable for n in same]), strict=True):
            found[number] = replace(parts[number], cost=replace(parts[number].cost or Amount(), storage=share))
    return found


def _alike(rows: Iterable[R], sums: Sequence[str]) -> list[tuple[R, list[R]]]:
    """Rows that differ in their label alone, together: what they come to, and each. `sums`: the fields that add up."""
    found: dict[R, list[R]] = {}
    for row in rows:
        bare: dict[str, Any] = dict.fromkeys(sums, 0)
        found.setdefault(replace(row, label="", **bare), []).append(row)
    return [
        (replace(same, **{name: sum(getattr(row, name) for row in some) for name in sums}), some)
        for same, some in found.items()
    ]


def _cut(
    whole: BillPart, pieces: list[BillPart], rows: Sequence[StoredAlike | Touched], cut: Cut | None
) -> list[BillPart]:
    """A part of the bill, shared out among its pieces: whichever way a bill is cut, it has the same total."""
    if cut is None:
        return [whole]
    named = [replace(piece, label=cut.named(row.label)) for piece, row in zip(pieces, rows, strict=True)]
    if whole.cost is None:
        return named
    by_billable = [piece.billable for piece in named]
    shares: dict[str, list[Decimal]] = {}
    for kind in MONTHLY:
        own = [int(getattr(piece.cost, kind) / PICODOLLAR) for piece in named]
        shares[kind] = _shared(getattr(whole.cost, kind), by_billable if kind == "storage" else own)
    leaving = _shared(whole.leaving_today, [int(piece.leaving_today / PICODOLLAR) for piece in named])
    return [
        replace(
            piece,
            inner=whole.inner,
            cost=Amount(**{kind: shares[kind][number] for kind in MONTHLY}),
            leaving_today=leaving[number],
        )
        for number, piece in enumerate(named)
    ]


def _shared(whole: Decimal, weights: list[int]) -> list[Decimal]:
    """In proportion; what is less than a picodollar of each is the first one's."""
    return allotted(whole, weights if any(weights) else [1, *[0] * (len(weights) - 1)])


def _accessed(part: BillPart, row: Touched, month: Window) -> BillPart:
    if part.prices is None:
        return part
    scale = DAYS_PER_MONTH * DAY / month.length_us
    traffic = Traffic(row.reads * scale, row.bytes * scale)
    return replace(part, cost=(read(part.prices, traffic) + written(part.prices, row.writes * scale)).rounded())


def _place(part: BillPart) -> tuple[str, str, str, str, bool, str, int]:
    return part.dataset, part.tier, part.storage_class, part.inner, part.in_grace, part.label, -part.objects


def grouped(bill: Bill, by: str) -> list[Group]:
    """The bill's lines by one of GROUPINGS, in order; by one of CUTS, if it was made so. Raises UsageError for any
    other."""
    if by == "kind":
        return _by_kind(bill)
    cut = Cut.of(by, bill.at_us)
    named = _namer(by) if cut is None else lambda part: part.label
    lines: dict[str, list[BillPart]] = {}
    for part in bill.parts:
        lines.setdefault(named(part), []).append(part)
    return [line(name, lines[name]) for name in sorted(lines, key=None if cut is None else cut.order)]


def line(name: str, parts: Iterable[BillPart]) -> Group:
    parts = list(parts)
    return Group(
        name,
        _sum(p.cost for p in parts),
        _sum(p.cost for p in parts if p.in_grace),
        sum(p.objects for p in parts if not p.in_grace),
        sum(p.places for p in parts),
        sum(p.bytes for p in parts),
        sum(p.objects for p in parts if p.prices is None),
        sum(p.places for p in parts if p.prices is None),
        sum(p.bytes for p in parts if p.prices is None),
        all(p.reads_known for p in parts),
    )


def _by_kind(bill: Bill) -> list[Group]:
    whole = line("", bill.parts)
    return [
        replace(
            whole,
            name=kind,
            cost=Amount(**{kind: getattr(whole.cost, kind)}),
            grace=Amount(**{kind: getattr(whole.grace, kind)}),
        )
        for kind in MONTHLY
    ]


def _namer(by: str) -> Callable[[BillPart], str]:
    if by.startswith("tag:") and len(by) > len("tag:"):
        key = by.removeprefix("tag:")
        return lambda part: part.tags.get(key, f"(no {key})")
    namers: dict[str, Callable[[BillPart], str]] = {
        "dataset": lambda part: part.dataset or "(no dataset)",
        "tier": lambda part: part.tier,
        "owner": lambda part: part.owner or "(no owner)",
        "class": _class_name,
    }
    if by not in namers:
        raise UsageError(f"costs cannot be grouped by {by!r}", hint=f"one of {', '.join(GROUPINGS)}")
    return namers[by]


def _class_name(part: BillPart) -> str:
    if part.prices is None:
        return f"{part.storage_class} in tier {part.tier}"
    return f"{part.prices.id}, {part.inner}" if part.inner else part.prices.id


def _sum(amounts: Iterable[Amount | None]) -> Amount:
    return sum((a for a in amounts if a is not None), Amount())
