"""What came true of applied plans: what they really took once, what they save by what is stored and read now.

A *part* is one policy's part of a plan. Its saving is what its objects would cost per month where they came from, less
what they cost where they are; those that are no longer where the plan put them stop counting from that day on. Reads
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
from storaged.catalog.schema import access, audit, datasets, job_items, objects, replicas, tiers
from storaged.catalog.schema_money import charges, ledger, ledger_items
from storaged.clock import DAY
from storaged.decide.evidence import Window
from storaged.decide.money import Volumes
from storaged.decide.places import PricedPlace
from storaged.errors import UsageError
from storaged.model import ItemState, RawState, ReplicaState
from storaged.prices.amount import ZERO, Amount
from storaged.prices.book import DAYS_PER_MONTH, ClassPrices
from storaged.prices.formulas import Stock, Traffic, read, stored
from storaged.work.context import Context
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
    """Objects of one part that came from and went to the same classes on one day, and are there or left on one day."""

    dataset_id: int
    here: bool
    done_day: int
    end_day: int
    objects: int
    before: Stock
    after: Stock

    @property
    def days(self) -> int:
        return max(self.end_day - self.done_day, 0)

    @property
    def shrunk(self) -> Decimal:
        """By what share of the bytes a reader reads fewer since: what is stored, over what was."""
        return min(Decimal(self.after.bytes) / self.before.bytes, Decimal(1)) if self.before.bytes else Decimal(1)


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
            before = stored(source, g.before, above=back.of(source))
            after = stored(target, g.after, above=forth.of(target))
            if traffic is not None:
                before += read(source, traffic)
                after += read(target, Traffic(traffic.reads, traffic.bytes * g.shrunk))
            saved = (before.total - after.total) * g.days / DAYS_PER_MONTH
            result = replace(result, saved=result.saved + saved)
            if g.here:
                back.add(source, g.before.billable)
                forth.add(target, g.after.billable)
                unread = result.unread + (g.objects if traffic is None else 0)
                result = replace(result, before=result.before + before, after=result.after + after, unread=unread)
        return result

    def _volumes(self, groups: Iterable[_Group]) -> tuple[Volumes, Volumes]:
        """What else the classes hold, on top of which these objects are stored: where they came from, and where they
        are."""
        known = self.prices.volumes() if self.prices else Volumes()
        for _, target, g, _ in groups:
            if g.here and target is not None:
                known.add(target, -g.after.billable)
        return known, known.copy()

    def _groups(self, mine: sa.ColumnElement[bool]) -> Iterator[_Group]:
        """Objects by where they came from and went to, with their prices, and their reads per month (None: unknown)."""
        routes = (
            ledger_items.c.source_tier_id,
            ledger_items.c.source_class,
            ledger_items.c.tier_id,
            sa.func.coalesce(ledger_items.c.storage_class, "").label("storage_class"),
        )
        moved = sa.and_(mine, ledger_items.c.done_us.is_not(None))
        for route in self.conn.execute(sa.select(*routes).where(moved).distinct().order_by(*routes)).all():
            source = self._of(route.source_tier_id, route.source_class)
            target = self._of(route.tier_id, route.storage_class)
            along = sa.and_(moved, *(column == value for column, value in zip(routes, route, strict=True)))
            groups = list(self._alike(along, source, target))
            reads = dict(self._reads(along, {g.dataset_id for g in groups}))
            for g in groups:
                days = self._read_days(g)
                count, nbytes = reads.get((g.dataset_id, g.here, g.done_day, g.end_day), (0, 0))
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
        self, mine: sa.ColumnElement[bool], source: ClassPrices | None, target: ClassPrices | None
    ) -> Iterator[_Alike]:
        items, sides = _items(mine, self.today), []
        one: ColumnElement[int] = sa.literal(1, sa.Integer())
        for size, stored_size, counted, prices in (
            (items.c.before_bytes, items.c.before_bytes, one, source),
            (items.c.after_bytes, items.c.blob_bytes, items.c.counted, target),  # a blob is billed once
        ):
            least, watched = (prices.minimum_bytes, prices.monitoring_bytes) if prices else (0, 0)
            sides += [
                sa.func.sum(counted),
                sa.func.sum(size),
                sa.func.sum(size + sa.case((stored_size < least, least - stored_size), else_=0) * counted),
                sa.func.sum(sa.case((stored_size >= watched, counted), else_=0)),
            ]
        keys = (items.c.dataset_id, items.c.here, items.c.done_day, items.c.end_day)
        for row in self.conn.execute(sa.select(*keys, sa.func.count(), *sides).group_by(*keys)):
            dataset_id, here, done_day, end_day, count, *sums = row
            stocks = [Stock(*map(int, sums[i : i + 4])) for i in (0, 4)]
            yield _Alike(dataset_id, bool(here), done_day, end_day, count, *stocks)

    def _reads(
        self, mine: sa.ColumnElement[bool], dataset_ids: Iterable[int]
    ) -> Iterator[tuple[tuple[int, bool, int, int], tuple[int, int]]]:
        """Reads, and bytes of them, on the days that `_read_days` counts."""
        items = _items(mine, self.today)
        keys = (items.c.dataset_id, items.c.here, items.c.done_day, items.c.end_day)
        for dataset_id in dataset_ids:
            if dataset_id not in self.windows:
                continue
            first, last = _whole_days(self.windows[dataset_id])
            query = (
                sa.select(*keys, sa.func.sum(access.c.reads), sa.func.sum(access.c.read_bytes))
                .join(access, access.c.object_id == items.c.object_id)
                .where(items.c.dataset_id == dataset_id, access.c.day.between(first, last))
                .where(access.c.day > items.c.done_day, access.c.day < items.c.end_day)
                .group_by(*keys)
            )
            for dataset, here, done_day, end_day, count, nbytes in self.conn.execute(query):
                yield (dataset, bool(here), done_day, end_day), (int(count), int(nbytes))

    def _read_days(self, g: _Alike) -> int:
        """Whole days between the day of the move and the last, of which the logs tell."""
        if g.dataset_id not in self.windows:
            return 0
        first, last = _whole_days(self.windows[g.dataset_id])
        return min(last, g.end_day - 1) - max(first, g.done_day + 1) + 1


def _whole_days(window: Window) -> tuple[int, int]:
    """The first and the last UTC day that a window covers whole."""
    return -(-window.from_us // DAY), window.until_us // DAY - 1


def _items(mine: sa.ColumnElement[bool], today: int) -> sa.Subquery:
    """The objects that were moved: whether each is where it was put, and if not, on which day it left. `blob_bytes`:
    what it and those that share its blob store."""
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
    blob = (sa.func.coalesce(ledger_items.c.blob_id, sa.cast(ledger_items.c.object_id, sa.Text())),)
    stays = sa.case((here, 0), else_=1)  # who stays in a pack has its least billed size, not who left it
    place = sa.func.row_number().over(partition_by=blob, order_by=(stays, ledger_items.c.object_id))
    return (
        sa.select(
            ledger_items.c.object_id,
            ledger_items.c.dataset_id,
            ledger_items.c.before_bytes,
            ledger_items.c.after_bytes,
            sa.func.sum(ledger_items.c.after_bytes).over(partition_by=blob).label("blob_bytes"),
            sa.case((place == 1, 1), else_=0).label("counted"),  # one of those that share a blob
            here.label("here"),
            done_day.label("done_day"),
            sa.case((here, today), else_=sa.func.coalesce(left // DAY, done_day)).label("end_day"),
        )
        .select_from(ledger_items)
        .outerjoin(objects, objects.c.id == ledger_items.c.object_id)
        .outerjoin(datasets, datasets.c.id == objects.c.dataset_id)
        .outerjoin(replicas, current)
        .where(mine)
        .subquery()
    )


# An object's place:
LEAVING: Final = ("swap", "derive", "undo", "eject", "adopt", "remove", "drop", "transition", "reclass")
