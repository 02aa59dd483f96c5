"""How a survey is made: a look at every object, in a few statements."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.placements import dataset_ids
from storaged.catalog.schema import blobs, objects, tiers
from storaged.clock import DAY
from storaged.heat import threshold
from storaged.prices.amount import KINDS, ZERO
from storaged.work.context import Context
from storaged.work.money.cost import Bill, make_bill
from storaged.work.money.savings import AppliedPart, savings
from storaged.work.money.usage import windows
from storaged.work.show.survey import BillLine, Cell, MoneySurvey, PackLine, SavingLine, Survey

AGES: Final = (30, 90, 365)  # days: younger than each, or older than all
HEATS: Final = (1 / 30, 1.0)  # reads per day: fewer than each, or more


def make_survey(context: Context) -> Survey:
    """Look at everything. Reads only. Raises ConfigError for prices that do not hold together, CatalogError."""
    now = context.now_us()
    bill = make_bill(context)
    applied = savings(context)
    with context.catalog.read() as conn:
        packs, cells = tuple(_packs(conn)), tuple(_cells(context, conn, now))
    unpriced = sum(nbytes for _, nbytes in bill.unpriced.values())
    grace = sum((part.cost.total for part in bill.parts if part.in_grace and part.cost is not None), ZERO)
    return Survey(
        MoneySurvey(now, tuple(_lines(bill)), grace, unpriced, bill.unread, tuple(_saved(applied)), packs), cells
    )


def of_cell(context: Context, dataset_id: int, at_us: int, age: int, heat: int) -> ColumnElement[bool]:
    """Whether an object is of this age and heat, as a survey at `at_us` had it."""
    with context.catalog.read() as conn:
        known = dataset_id in windows(conn)
    return sa.and_(_age(at_us) == age, _heat(context, at_us, [dataset_id] if known else []) == heat)


def _lines(bill: Bill) -> Iterator[BillLine]:
    found: dict[tuple[str, str, str], Decimal] = {}
    for part in bill.parts:
        for kind in KINDS if part.cost is not None else ():
            if amount := getattr(part.cost, kind):
                key = (part.dataset, part.tier, kind)
                found[key] = found.get(key, ZERO) + amount
    return (BillLine(*key, amount) for key, amount in sorted(found.items()))


def _saved(applied: list[AppliedPart]) -> Iterator[SavingLine]:
    alike: dict[tuple[str, str], list[AppliedPart]] = {}
    for part in applied:
        if part.priced:
            alike.setdefault((part.month, part.policy), []).append(part)
    for (month, policy), parts in sorted(alike.items()):
        expected = [part.expected for part in parts if part.expected is not None]
        yield SavingLine(
            month,
            policy,
            len(parts),
            sum((e.one_time.total for e in expected), ZERO),
            sum((p.outcome.one_time for p in parts), ZERO),
            sum((e.saving for e in expected), ZERO),
            sum((p.outcome.saving for p in parts), ZERO),
            sum((p.outcome.saved for p in parts), ZERO),
        )


def _packs(conn: sa.Connection) -> Iterator[PackLine]:
    sums = (sa.func.sum(column) for column in (blobs.c.size, blobs.c.packed_bytes, blobs.c.live_bytes))
    query = (
        sa.select(tiers.c.name, sa.func.count(), *sums)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .where(sa.text("packed_bytes > 0"))  # the index's words, that SQLite takes it
        .group_by(tiers.c.name)
        .order_by(tiers.c.name)
    )
    for name, *numbers in conn.execute(query):
        yield PackLine(name, *map(int, numbers))


def _cells(context: Context, conn: sa.Connection, now: int) -> Iterator[Cell]:
    age, heat = _age(now).label("age"), _heat(context, now, list(windows(conn))).label("heat")
    query = (
        sa.select(objects.c.dataset_id, age, heat, sa.func.count(), sa.func.sum(objects.c.stored_bytes))
        .where(objects.c.tier_id.is_not(None))
        .group_by(objects.c.dataset_id, age, heat)
    )
    names = {number: name for name, number in dataset_ids(conn).items()}
    found = [Cell(names[number], *map(int, rest)) for number, *rest in conn.execute(query)]
    yield from sorted(found, key=lambda cell: (cell.dataset, cell.age, cell.heat))


def _age(at_us: int) -> ColumnElement[int]:
    steps = ((objects.c.created_us > at_us - days * DAY, n) for n, days in enumerate(AGES))
    return sa.case(*steps, else_=len(AGES))


def _heat(context: Context, at_us: int, known: list[int]) -> ColumnElement[int]:
    """The number of its name in HEAT_NAMES. `known`: datasets of whose reads logs tell."""
    score, half_life = objects.c.heat_reads, context.settings.half_life
    steps = ((score < sa.literal(threshold(rate, at_us, half_life), sa.Double()), n) for n, rate in enumerate(HEATS, 2))
    return sa.case((objects.c.dataset_id.not_in(known), 0), (score.is_(None), 1), *steps, else_=len(HEATS) + 2)
