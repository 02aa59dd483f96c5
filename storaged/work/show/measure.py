"""What there is, in numbers: for /metrics, for dashboards, and for `storagectl status`.

It looks at no object and no blob: the catalog's totals tell of them (storaged.catalog.totals). What goes on right now
is read in a transaction of its own, so that its numbers may differ by what went on meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import add
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import notices, rooms
from storaged.catalog.allocated import LESS, MORE, TAKEN
from storaged.catalog.schema import (
    datasets,
    heat_coverage,
    job_items,
    jobs,
    objects,
    plans,
    replicas,
    tiers,
)
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_totals import blob_totals, object_totals
from storaged.clock import DAY
from storaged.errors import StoragedError
from storaged.model import IDENTITY, ItemState, RawState, Tier
from storaged.work.context import Context
from storaged.work.money.planned import newest_plans
from storaged.work.show.live import LIVE_STATES, Live, live
from storaged.work.show.survey import MoneySurvey, newest_money

FORMATS: Final = 50  # that stand for themselves: part.000001 has one of its own, and each is a series of metrics
OTHERS: Final = "(others)"  # all further ones; no name's end has parentheses
SPOOL: Final = "spool"  # the source that our own reader writes


@dataclass(frozen=True, slots=True)
class Placed:
    """Objects by the tier and codec of their current place: bytes of content, and what they take there."""

    tier: str
    codec: str
    objects: int
    bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Formed:
    """Objects by their own format (csv, parquet, ...) and the codec of their current place: content, and stored. Of
    many formats those with the most content stand for themselves, and OTHERS for the rest."""

    format: str
    codec: str
    objects: int
    bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Blobs of a tier, or attempts there (empty: at original keys), in a state."""

    tier: str
    state: str
    blobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Grace:
    """Original keys that are superseded and not yet released."""

    objects: int
    bytes: int
    until_us: int | None  # when the first may be released


@dataclass(frozen=True, slots=True)
class JobCount:
    """Jobs of a kind in a state."""

    state: str
    kind: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a policy (empty: a person) wants and has not got.

    `pending`: objects of its jobs, the oldest of them planned at `since_us`. `proposed`: objects of its newest plan,
    `proposed_plan`, made at `proposed_us`, if nobody applied that, what they would cost (USD once) and save (USD per
    month; None: their prices are not known). `failed`: objects whose jobs ended in the last day, or go on.
    """

    policy: str
    pending: int = 0
    pending_bytes: int = 0
    since_us: int | None = None
    proposed: int = 0
    proposed_us: int | None = None
    failed: int = 0
    proposed_once: Decimal | None = None
    proposed_saving: Decimal | None = None
    proposed_plan: int | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """From when up to when a log tells of a dataset's accesses. `configured`: both stand in storaged.yaml."""

    source: str
    dataset: str
    from_us: int
    until_us: int
    configured: bool


@dataclass(frozen=True, slots=True)
class MeasuredRoom:
    """How much a tier may hold, what is there by the rules of `capacity`, and how much its filesystem would still take.
    None: no limit, or it does not tell. `high`, `low`: its marks (0 to 1)."""

    tier: str
    capacity_bytes: int | None
    free_bytes: int | None
    used_bytes: int = 0
    high: float | None = None
    low: float | None = None


_MOVED: Final = [s.value for s in (RawState.SUPERSEDED, RawState.RELEASING, RawState.RELEASED)]
_MADE_SMALLER: Final = sa.and_(
    objects.c.raw_state.in_(_MOVED), objects.c.codec != IDENTITY.name, objects.c.tier_id.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Measured:
    """All of it. `at_us` is when the measuring began."""

    at_us: int
    live: Live
    places: tuple[Placed, ...]
    stored: tuple[Stored, ...]
    grace: Grace
    hollow: int  # bytes of what codecs made smaller that originals never took
    damaged_objects: int
    damaged_blobs: int
    damaged_in_blobs: int  # objects: a pack holds many
    jobs: tuple[JobCount, ...]
    backlog: tuple[Backlog, ...]
    coverage: tuple[Coverage, ...]
    rooms: tuple[MeasuredRoom, ...]
    forms: tuple[Formed, ...]
    deliveries: tuple[tuple[str, str, int], ...]  # of notices: receiver, state, how many
    survey: MoneySurvey | None  # the newest

    @property
    def saved_bytes(self) -> int:
        """By how much codecs made what objects take smaller."""
        return sum(p.bytes - p.stored_bytes for p in self.places if p.codec != IDENTITY.name) - self.hollow


def measure(context: Context) -> Measured:
    """Count everything. Reads only. Raises CatalogError; a tier that does not answer merely has no free bytes."""
    now = context.now_us()
    with context.catalog.read() as conn:
        names = {row.id: row.name for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}
        counted, backlog, coverage = _jobs(conn), _backlog(conn, now), _coverage(context, conn)
        places, grace, damaged_objects = _objects(conn, names)
        hollow = conn.execute(sa.select(sa.func.sum(objects.c.size - TAKEN)).where(LESS, _MADE_SMALLER)).scalar()
        stored, (damaged_blobs, damaged_in_blobs) = _blobs(conn, names)
        used = {names[number]: nbytes for number, nbytes in rooms.stored(conn).items() if number in names}
        delivered = notices.counted(conn)
        forms, survey = tuple(_forms(conn)), newest_money(conn)
    return Measured(
        at_us=now,
        live=live(context),
        places=places,
        stored=stored,
        grace=grace,
        hollow=int(hollow or 0),
        damaged_objects=damaged_objects,
        damaged_blobs=damaged_blobs,
        damaged_in_blobs=damaged_in_blobs,
        jobs=counted,
        backlog=backlog,
        coverage=coverage,
        rooms=tuple(
            _room(context, tier, used.get(tier.name, 0))
            for tier in sorted(context.tiers.values(), key=lambda t: t.rank)
        ),
        forms=forms,
        deliveries=delivered,
        survey=survey,
    )


def _objects(conn: sa.Connection, names: dict[int, str]) -> tuple[tuple[Placed, ...], Grace, int]:
    held = object_totals.c
    kept = held.raw_state == RawState.SUPERSEDED.value
    counts = (held.objects, held.size, held.stored_bytes)
    of_place = sa.select(held.tier_id, held.codec, *(sa.func.sum(count) for count in counts))
    of_place = of_place.where(held.tier_id.is_not(None)).group_by(held.tier_id, held.codec)  # None: users removed them
    places = [
        Placed(names[tier_id], codec, int(number), int(size), int(stored))
        for tier_id, codec, number, size, stored in conn.execute(of_place.having(sa.func.sum(held.objects) > 0))
    ]
    in_grace = sa.select(sa.func.coalesce(sa.func.sum(held.objects), 0), sa.func.coalesce(sa.func.sum(held.size), 0))
    number, size = conn.execute(in_grace.where(kept)).one()
    for which, bytes_more in MORE if number else ():
        more = sa.select(sa.func.coalesce(sa.func.sum(bytes_more), 0)).where(which)
        size += conn.execute(more.where(objects.c.raw_state == RawState.SUPERSEDED.value)).scalar_one()
    until = sa.select(sa.func.min(objects.c.raw_until_us)).where(objects.c.raw_state == RawState.SUPERSEDED.value)
    until = until.where(sa.text("raw_state IN ('superseded', 'releasing')"))  # the index's words, that SQLite takes it
    grace = Grace(int(number), int(size), conn.execute(until).scalar() if number else None)
    damaged = conn.execute(sa.select(sa.func.coalesce(sa.func.sum(held.damaged), 0))).scalar_one()
    return tuple(sorted(places, key=lambda p: (p.tier, p.codec))), grace, int(damaged)


def _forms(conn: sa.Connection) -> Iterator[Formed]:
    held = object_totals.c
    sums = (sa.func.sum(held.objects), sa.func.sum(held.size), sa.func.sum(held.stored_bytes))
    query = sa.select(held.format, held.codec, *sums).where(held.tier_id.is_not(None)).group_by(held.format, held.codec)
    found = [(form, codec, *map(int, rest)) for form, codec, *rest in conn.execute(query.having(sums[0] > 0))]
    nbytes: Counter[str] = Counter()
    for form, _, _, size, _ in found:
        nbytes[form] += size
    named = {form for form, _ in sorted(nbytes.items(), key=lambda item: (-item[1], item[0]))[:FORMATS]}
    sizes: dict[tuple[str, str], list[int]] = {}
    for form, codec, *numbers in found:
        mine = sizes.setdefault((form if form in named else OTHERS, codec), [0, 0, 0])
        mine[:] = map(add, mine, numbers)
    for key, numbers in sorted(sizes.items()):
        yield Formed(*key, *numbers)


def _blobs(conn: sa.Connection, names: dict[int, str]) -> tuple[tuple[Stored, ...], tuple[int, int]]:
    held = blob_totals.c
    sums = (sa.func.sum(held.blobs), sa.func.sum(held.size))
    query = sa.select(held.tier_id, held.state, *sums).group_by(held.tier_id, held.state).having(sums[0] > 0)
    kinds = sa.select(attempts.c.tier_id, attempts.c.state, sa.func.count(), sa.func.sum(attempts.c.size))
    rows = [*conn.execute(query), *conn.execute(kinds.group_by(attempts.c.tier_id, attempts.c.state))]
    stored = [Stored(names.get(tier_id, ""), state, int(number), int(size)) for tier_id, state, number, size in rows]
    inside = sa.select(sa.func.count(replicas.c.blob_id.distinct()), sa.func.count(replicas.c.object_id.distinct()))
    damaged = conn.execute(inside.where(replicas.c.damaged.is_not(None))).one()
    return tuple(sorted(stored, key=lambda s: (s.tier, s.state))), (damaged[0], damaged[1])


def _jobs(conn: sa.Connection) -> tuple[JobCount, ...]:
    query = sa.select(jobs.c.state, jobs.c.kind, sa.func.count()).group_by(jobs.c.state, jobs.c.kind)
    return tuple(JobCount(*row) for row in conn.execute(query.order_by(jobs.c.state, jobs.c.kind)))


def _backlog(conn: sa.Connection, now: int) -> tuple[Backlog, ...]:
    found: dict[str, Backlog] = {}
    pending = (
        sa.select(
            sa.func.coalesce(jobs.c.policy, "").label("policy"),
            sa.func.count().label("objects"),
            sa.func.sum(job_items.c.size).label("bytes"),
            sa.func.min(sa.func.coalesce(plans.c.made_us, jobs.c.created_us)).label("since"),
        )
        .select_from(jobs)
        .join(job_items, job_items.c.job_id == jobs.c.id)
        .outerjoin(plans, plans.c.id == jobs.c.plan_id)
        .where(jobs.c.state.in_(LIVE_STATES), job_items.c.state == ItemState.PENDING.value)
        .group_by(jobs.c.policy)
    )
    for row in conn.execute(pending):
        found[row.policy] = Backlog(row.policy, row.objects, int(row.bytes), row.since)
    for name, proposal in _proposals(conn):
        found[name] = replace(found.get(name, Backlog(name)), **proposal)
    failed = (
        sa.select(sa.func.coalesce(jobs.c.policy, "").label("policy"), sa.func.count().label("objects"))
        .select_from(jobs)
        .join(job_items, job_items.c.job_id == jobs.c.id)
        .where(
            sa.or_(jobs.c.finished_us.is_(None), jobs.c.finished_us > now - DAY),
            job_items.c.state == ItemState.FAILED.value,
        )
        .group_by(jobs.c.policy)
    )
    for row in conn.execute(failed):
        found[row.policy] = replace(found.get(row.policy, Backlog(row.policy)), failed=row.objects)
    return tuple(found[name] for name in sorted(found))


def _proposals(conn: sa.Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Policies whose newest plan would act and was not applied, and what is known of that."""
    for name, plan in newest_plans(conn).items():
        if plan.state == "saved" and plan.objects:
            told = {"proposed": plan.objects, "proposed_us": plan.made_us, "proposed_plan": plan.plan}
            yield name, {**told, "proposed_once": plan.once, "proposed_saving": plan.saving}


def _coverage(context: Context, conn: sa.Connection) -> tuple[Coverage, ...]:
    query = (
        sa.select(heat_coverage.c.source, datasets.c.name, heat_coverage.c.from_us, heat_coverage.c.until_us)
        .join(datasets, datasets.c.id == heat_coverage.c.dataset_id)
        .order_by(heat_coverage.c.source, datasets.c.name)
    )
    sources = {SPOOL, *(source.name for source in context.settings.heat)}
    return tuple(
        Coverage(source, name, low, high, source in sources and name in context.datasets)
        for source, name, low, high in conn.execute(query)
    )


def _room(context: Context, tier: Tier, used: int) -> MeasuredRoom:
    try:
        free = context.tier(tier.name).free_bytes()
    except StoragedError:
        free = None
    return MeasuredRoom(tier.name, tier.capacity_bytes, free, used, tier.high_watermark, tier.low_watermark)
