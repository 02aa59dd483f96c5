"""What came true of applied plans: what they really took once, what they save by what is stored and read now.

A *part* is one policy's part of a plan. Its saving is what its objects would cost per month where they came from, less
what they cost where they are; those that are no longer where the plan put them stop counting from that day on
(storaged.work.money.moved says what of blobs that several share). Reads
are those that logs tell of since the day after the move, scaled to a month: the same reads, priced at both places.
Days are UTC days, of which the day of a move is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.ledger import total
from storaged.catalog.schema import access, job_items, tiers
from storaged.catalog.schema_money import charges, ledger, ledger_items
from storaged.clock import DAY
from storaged.decide.evidence import Window
from storaged.decide.money import Volumes
from storaged.decide.places import PricedPlace
from storaged.errors import UsageError
from storaged.model import ItemState
from storaged.prices.amount import ZERO, Amount
from storaged.prices.book import DAYS_PER_MONTH, ClassPrices
from storaged.prices.formulas import Stock, Traffic, read, stored
from storaged.work.context import Context
from storaged.work.money.moved import ROUTE, SPAN, moved
from storaged.work.money.plans import known_prices
from storaged.work.money.spending import dollars
from storaged.work.money.usage import windows

KINDS: Final = ("apply", "try", "refund")  # of charges


@dataclass(frozen=True, slots=True)
class Expected:
    """What a part was planned to come to: USD once, and per month before and after. `unpriced` objects are not in it,
    of `unread` objects no log told the reads."""

    one_time: Amount
    before: Amount
    after: Amount
    unpriced: int = 0
    unread: int = 0

    @property
    def saving(self) -> Decimal:
        """USD per month."""
        return self.before.total - self.after.total


@dataclass(frozen=True, slots=True)
class RealOutcome:
    """What came true. `charged`: USD by kind of charge. `done`: objects that were moved; `here`: those of them that are
    where the plan put them; `before`, `after`: USD per month of these. `saved`: USD since the moves. `unpriced`,
    `unread`: objects that are here and whose prices, or reads since then, are not known."""

    done: int = 0
    here: int = 0
    waiting: int = 0  # objects whose jobs are not over
    unpriced: int = 0
    unread: int = 0
    charged: Mapping[str, Decimal] = field(default_factory=dict)
    before: Amount = field(default_factory=Amount)
    after: Amount = field(default_factory=Amount)
    saved: Decimal = ZERO

    @property
    def one_time(self) -> Decimal:
        """USD that it really took: what was charged, less what was paid back."""
        return sum(self.charged.values(), ZERO)

    @property
    def saving(self) -> Decimal:
        """USD per month."""
        return self.before.total - self.after.total

    def to_json(self) -> str:
        """As the ledger keeps it of parts whose objects it has forgotten."""
        counts = {name: getattr(self, name) for name in ("done", "here", "waiting", "unpriced", "unread")}
        charged = {kind: str(amount) for kind, amount in self.charged.items()}
        months = {name: getattr(self, name).as_json() for name in ("before", "after")}
        return json.dumps({**counts, "charged": charged, **months, "saved": str(self.saved)})

    @classmethod
    def from_json(cls, text: str) -> RealOutcome:
        told = json.loads(text)
        charged = {kind: Decimal(amount) for kind, amount in told.pop("charged").items()}
        before, after = (Amount.from_json(told.pop(name)) for name in ("before", "after"))
        return cls(charged=charged, before=before, after=after, saved=Decimal(told.pop("saved")), **told)


@dataclass(frozen=True, slots=True)
class AppliedPart:
    """One policy's part of an applied plan. `expected` None: no prices were known. `closed_us`: its objects are
    forgotten, and `outcome` is as it was then."""

    plan: int
    policy: str
    applied_us: int
    month: str
    objects: int
    expected: Expected | None
    outcome: RealOutcome
    closed_us: int | None = None

    @property
    def priced(self) -> bool:
        """Whether anything of it can be told in money."""
        return self.expected is not None and self.outcome.unpriced < max(self.outcome.here, 1)

    @property
    def paid_back(self) -> bool:
        """Whether it has saved as much as it took."""
        return self.outcome.saved >= self.outcome.one_time

    @property
    def error(self) -> Decimal | None:
        """USD per month that it saves beyond what was expected; None: nothing was, or not all is known now."""
        if self.expected is None or self.expected.unpriced or self.outcome.unpriced:
            return None
        return self.outcome.saving - self.expected.saving

    @property
    def one_time_error(self) -> Decimal | None:
        """USD that it took beyond what was expected; None: nothing was."""
        if self.expected is None or self.expected.unpriced:
            return None
        return self.outcome.one_time - self.expected.one_time.total

    @property
    def error_share(self) -> Decimal | None:
        """The error over what was expected (0.1: it saves a tenth more); None where there is none, or nothing was."""
        if self.error is None or self.expected is None or self.expected.saving == 0:
            return None
        return self.error / abs(self.expected.saving)


def savings(context: Context, *, plan: int | None = None, month: str | None = None) -> list[AppliedPart]:
    """Every part of applied plans (of this one; of those applied in this UTC month, 2026-11), newest plan first.

    Reads only. Raises UsageError for a plan that was never applied, ConfigError for prices that do not hold together.
    """
    query = sa.select(ledger).order_by(ledger.c.plan_id.desc(), ledger.c.policy)
    if plan is not None:
        query = query.where(ledger.c.plan_id == plan)
    if month is not None:
        query = query.where(ledger.c.month == month)
    with context.catalog.read() as conn:
        rows = conn.execute(query).all()
        if plan is not None and not rows:
            raise UsageError(f"no plan {plan} was applied", hint="`storagectl plan list` shows plans and their states")
        look = _Look(context, conn)
        return [_part(look, row) for row in rows]


def close(context: Context, row: sa.Row[Any]) -> None:
    """Keep what came true of a part (a row of the ledger) before its objects are forgotten."""
    with context.catalog.read() as conn:
        outcome = _part(_Look(context, conn), row).outcome
    mine = sa.and_(ledger.c.plan_id == row.plan_id, ledger.c.policy == row.policy, ledger.c.closed_us.is_(None))
    with context.catalog.begin() as conn:
        conn.execute(sa.update(ledger).where(mine).values(closed_us=context.now_us(), outcome=outcome.to_json()))


def _part(look: _Look, row: sa.Row[Any]) -> AppliedPart:
    expected = None
    if row.expected is not None:
        told = json.loads(row.expected)
        one_time, before, after = (Amount.from_json(told.pop(name)) for name in ("one_time", "before", "after"))
        expected = Expected(one_time, before, after, **told)
    outcome = look.at(row.plan_id, row.policy) if row.outcome is None else RealOutcome.from_json(row.outcome)
    return AppliedPart(
        row.plan_id, row.policy, row.applied_us, row.month, row.objects, expected, outcome, row.closed_us
    )


@dataclass(frozen=True, slots=True)
class _Alike:
    """Objects of one part that went the same way and have the same `moved.SPAN`. `before`, `after`: what is theirs of
    what was, and is, stored. `shrunk`: what a reader reads of the bytes that were read before, as a share."""

    dataset_id: int
    here: int
    done_day: int
    end_day: int
    source_here: int
    source_end: int
    blob_here: int
    blob_end: int
    objects: int
    before: Stock
    after: Stock
    shrunk: Decimal

    def days(self, until: int) -> int:
        """From the day of the move, which is not counted, to this one."""
        return max(until - self.done_day, 0)


_Span = tuple[Any, ...]  # values of `moved.SPAN`
_Group = tuple[ClassPrices | None, ClassPrices | None, _Alike, Traffic | None]


class _Look:
    """One look at the catalog: prices, what the classes hold, and how far the logs reach."""

    def __init__(self, context: Context, conn: sa.Connection) -> None:
        self.conn = conn
        self.today = context.now_us() // DAY
        self.windows = windows(conn)
        rows = conn.execute(sa.select(tiers.c.id, tiers.c.name, tiers.c.storage_class)).all()
        self.prices = known_prices(conn, context.settings, rows, self.windows, context.now_us())

    def at(self, plan_id: int, policy: str) -> RealOutcome:
        """What came true of a part up to now."""
        mine = sa.and_(ledger_items.c.plan_id == plan_id, ledger_items.c.policy == policy)
        pending = sa.exists().where(
            job_items.c.job_id == ledger_items.c.job_id,
            job_items.c.object_id == ledger_items.c.object_id,
            job_items.c.state == ItemState.PENDING.value,
        )
        waiting = self.conn.execute(sa.select(sa.func.count()).select_from(ledger_items).where(mine, pending))
        charged = {kind: dollars(self._charged(plan_id, policy, kind)) for kind in KINDS}
        result = RealOutcome(waiting=waiting.scalar_one(), charged=charged)
        groups = list(self._groups(mine))
        back, forth = self._volumes(groups)
        for source, target, g, traffic in groups:
            here = g.objects if g.here else 0
            result = replace(result, done=result.done + g.objects, here=result.here + here)
            if source is None or target is None:
                result = replace(result, unpriced=result.unpriced + here)
                continue
            kept = stored(source, g.before, above=back.of(source)), stored(target, g.after, above=forth.of(target))
            reads = Amount(), Amount()
            if traffic is not None:
                fewer = Traffic(traffic.reads, traffic.bytes * g.shrunk)
                reads = read(source, traffic), read(target, fewer)
            saved = kept[0].total * g.days(g.source_end) - kept[1].total * g.days(g.blob_end)
            saved += (reads[0].total - reads[1].total) * g.days(g.end_day)
            result = replace(result, saved=result.saved + saved / DAYS_PER_MONTH)
            if g.source_here:
                back.add(source, g.before.billable)
                result = replace(result, before=result.before + kept[0])
            if g.blob_here:
                forth.add(target, g.after.billable)
                result = replace(result, after=result.after + kept[1])
            if g.here:
                unread = result.unread + (g.objects if traffic is None else 0)
                result = replace(result, before=result.before + reads[0], after=result.after + reads[1], unread=unread)
        return result

    def _volumes(self, groups: Iterable[_Group]) -> tuple[Volumes, Volumes]:
        """What else the classes hold, on top of which these objects are stored: where they came from, and where they
        are."""
        known = self.prices.volumes() if self.prices else Volumes()
        for _, target, g, _ in groups:
            if g.blob_here and target is not None:
                known.add(target, -g.after.billable)
        return known, known.copy()

    def _groups(self, mine: sa.ColumnElement[bool]) -> Iterator[_Group]:
        """Objects by where they came from and went to, with their prices, and their reads per month (None: unknown)."""
        items = moved(mine, self.today)
        routes = [items.c[name] for name in ROUTE]
        for route in self.conn.execute(sa.select(*routes).distinct().order_by(*routes)).all():
            source = self._of(route.source_tier_id, route.source_class)
            target = self._of(route.tier_id, route.storage_class)
            along = sa.and_(*(column == value for column, value in zip(routes, route, strict=True)))
            groups = list(self._alike(items, along, source, target))
            reads = dict(self._reads(items, along, {g.dataset_id for _, g in groups}))
            for span, g in groups:
                days = self._read_days(g)
                count, nbytes = reads.get(span, (0, 0))
                scale = DAYS_PER_MONTH / days if days > 0 else None
                yield source, target, g, None if scale is None else Traffic(count * scale, nbytes * scale)

    def _of(self, tier_id: int, storage_class: str) -> ClassPrices | None:
        if self.prices is None or tier_id not in self.prices.classes:
            return None
        return self.prices.of(PricedPlace(tier_id, bool(storage_class), storage_class))

    def _charged(self, plan_id: int, policy: str, kind: str) -> int:
        mine = sa.and_(charges.c.plan_id == plan_id, charges.c.policy == policy, charges.c.kind == kind)
        return total(self.conn, charges.c.amount, mine)

    def _alike(
        self, items: sa.Subquery, along: ColumnElement[bool], source: ClassPrices | None, target: ClassPrices | None
    ) -> Iterator[tuple[_Span, _Alike]]:
        sides = []
        for own, whole, counted, prices in (
            (items.c.before_bytes, items.c.source_bytes, items.c.source_counted, source),
            (items.c.after_bytes, items.c.blob_bytes, items.c.blob_counted, target),  # a blob is billed once
        ):
            least, watched = (prices.minimum_bytes, prices.monitoring_bytes) if prices else (0, 0)
            sides += [
                sa.func.sum(counted),
                sa.func.sum(own),
                sa.func.sum(own + sa.case((whole < least, least - whole), else_=0) * counted),
                sa.func.sum(sa.case((whole >= watched, counted), else_=0)),
            ]
        sides += [sa.func.sum(items.c.before_share), sa.func.sum(items.c.after_share)]
        keys = [items.c[name] for name in SPAN]
        for row in self.conn.execute(sa.select(*keys, sa.func.count(), *sides).where(along).group_by(*keys)):
            span, count, sums = tuple(row[: len(keys)]), row[len(keys)], [*map(int, row[len(keys) + 1 :])]
            *stocks, (was, is_now) = Stock(*sums[:4]), Stock(*sums[4:8]), sums[8:]
            shrunk = min(Decimal(is_now) / was, Decimal(1)) if was else Decimal(1)
            yield (
                span,
                _Alike(
                    **dict(zip(SPAN, span, strict=True)),
                    objects=count,
                    before=stocks[0],
                    after=stocks[1],
                    shrunk=shrunk,
                ),
            )

    def _reads(
        self, items: sa.Subquery, along: ColumnElement[bool], dataset_ids: Iterable[int]
    ) -> Iterator[tuple[_Span, tuple[int, int]]]:
        """Reads, and bytes of them, on the days that `_read_days` counts."""
        keys = [items.c[name] for name in SPAN]
        for dataset_id in dataset_ids:
            if dataset_id not in self.windows:
                continue
            first, last = _whole_days(self.windows[dataset_id])
            query = (
                sa.select(*keys, sa.func.sum(access.c.reads), sa.func.sum(access.c.read_bytes))
                .join(access, access.c.object_id == items.c.object_id)
                .where(along, items.c.dataset_id == dataset_id, access.c.day.between(first, last))
                .where(access.c.day > items.c.done_day, access.c.day < items.c.end_day)
                .group_by(*keys)
            )
            for *span, count, nbytes in self.conn.execute(query):
                yield tuple(span), (int(count), int(nbytes))

    def _read_days(self, g: _Alike) -> int:
        """Whole days between the day of the move and the last, of which the logs tell."""
        if g.dataset_id not in self.windows:
            return 0
        first, last = _whole_days(self.windows[g.dataset_id])
        return min(last, g.end_day - 1) - max(first, g.done_day + 1) + 1


def _whole_days(window: Window) -> tuple[int, int]:
    """The first and the last UTC day that a window covers whole."""
    return -(-window.from_us // DAY), window.until_us // DAY - 1
