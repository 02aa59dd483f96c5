"""What there is, in numbers: for /metrics, for dashboards, and for `storagectl status`.

One pass over the objects and one over the blobs, so that it takes seconds on a large catalog: it is asked once in a
while, and what it found is shown until the next time. It reads in several short transactions, as a writer's commit
may have to wait for each (see Catalog.read), so that numbers beside each other may differ by what went on meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, datasets, heat_coverage, job_items, jobs, objects, plans, tiers
from storaged.clock import DAY
from storaged.errors import StoragedError
from storaged.model import ItemState, RawState, Tier
from storaged.work.context import Context
from storaged.work.live import LIVE_STATES, Live, live

PLANS: Final = 100  # the newest ones, in which proposals of dry runs are looked for
SPOOL: Final = "spool"  # the source that our own reader writes
PAGE: Final = 250_000  # ids of objects looked at in one transaction


@dataclass(frozen=True, slots=True)
class Placed:
    """Objects by the tier and codec of their current place: bytes of content, and what they take there."""

    tier: str
    codec: str
    objects: int
    bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Blobs of a tier (empty: at original keys) in a state."""

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
    made at `proposed_us`, if nobody applied that. `failed`: objects whose jobs ended in the last day, or go on.
    """

    policy: str
    pending: int = 0
    pending_bytes: int = 0
    since_us: int | None = None
    proposed: int = 0
    proposed_us: int | None = None
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """From when up to when a log tells of a dataset's accesses. `configured`: both stand in storaged.yaml."""

    source: str
    dataset: str
    from_us: int
    until_us: int
    configured: bool


@dataclass(frozen=True, slots=True)
class Room:
    """How much a tier may hold, and how much its filesystem would still take. None: no limit, or it does not tell."""

    tier: str
    capacity_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class Measured:
    """All of it. `at_us` is when the measuring began."""

    at_us: int
    live: Live
    places: tuple[Placed, ...]
    stored: tuple[Stored, ...]
    grace: Grace
    damaged_objects: int
    damaged_blobs: int
    jobs: tuple[JobCount, ...]
    backlog: tuple[Backlog, ...]
    coverage: tuple[Coverage, ...]
    rooms: tuple[Room, ...]

    @property
    def saved_bytes(self) -> int:
        """By how much the content of all objects is larger than what they take."""
        return sum(p.bytes - p.stored_bytes for p in self.places)


def measure(context: Context) -> Measured:
    """Count everything. Reads only. Raises CatalogError; a tier that does not answer merely has no free bytes."""
    now = context.now_us()
    with context.catalog.read() as conn:
        names = {row.id: row.name for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}
        counted, backlog, coverage = _jobs(conn), _backlog(conn, now), _coverage(context, conn)
    places, grace, damaged_objects = _objects(context, names)
    stored, damaged_blobs = _blobs(context, names)
    return Measured(
        at_us=now,
        live=live(context),
        places=places,
        stored=stored,
        grace=grace,
        damaged_objects=damaged_objects,
        damaged_blobs=damaged_blobs,
        jobs=counted,
        backlog=backlog,
        coverage=coverage,
        rooms=tuple(_room(context, tier) for tier in sorted(context.tiers.values(), key=lambda t: t.rank)),
    )


def _objects(context: Context, names: dict[int, str]) -> tuple[tuple[Placed, ...], Grace, int]:
    kept = objects.c.raw_state == RawState.SUPERSEDED.value
    query = (
        sa.select(
            objects.c.tier_id,
            objects.c.codec,
            sa.func.count().label("objects"),
            sa.func.sum(objects.c.size).label("bytes"),
            sa.func.sum(objects.c.stored_bytes).label("stored"),
            sa.func.count().filter(kept).label("kept"),
            sa.func.coalesce(sa.func.sum(objects.c.size).filter(kept), 0).label("kept_bytes"),
            sa.func.min(objects.c.raw_until_us).filter(kept).label("until"),
            sa.func.count(objects.c.damaged).label("damaged"),
        )
        .where(objects.c.id > sa.bindparam("after"), objects.c.id <= sa.bindparam("upto"))
        .group_by(objects.c.tier_id, objects.c.codec)
    )
    with context.catalog.read() as conn:
        # One by one: for both at once SQLite looks at every row.
        first = int(conn.execute(sa.select(sa.func.min(objects.c.id))).scalar() or 0)
        last = int(conn.execute(sa.select(sa.func.max(objects.c.id))).scalar() or -1)
    sums: dict[tuple[str, str], list[int]] = {}
    kept_objects = kept_bytes = damaged = 0
    ends: list[int] = []
    for low in range(first - 1, last, PAGE):
        with context.catalog.read() as conn:
            rows = conn.execute(query, {"after": low, "upto": low + PAGE}).all()
        for row in rows:
            kept_objects += row.kept
            kept_bytes += int(row.kept_bytes)
            damaged += row.damaged
            if row.until is not None:
                ends.append(row.until)
            if row.tier_id is not None:  # else its users removed it
                place = sums.setdefault((names[row.tier_id], row.codec), [0, 0, 0])
                for n, number in enumerate((row.objects, row.bytes, row.stored)):
                    place[n] += int(number)
    places = tuple(Placed(tier, codec, *counts) for (tier, codec), counts in sorted(sums.items()))
    return places, Grace(kept_objects, kept_bytes, min(ends, default=None)), damaged


def _blobs(context: Context, names: dict[int, str]) -> tuple[tuple[Stored, ...], int]:
    """In one pass, a second for a million: their ids are random, and page by page it takes six times as long."""
    query = sa.select(
        blobs.c.tier_id,
        blobs.c.state,
        sa.func.count().label("blobs"),
        sa.func.sum(blobs.c.size).label("bytes"),
        sa.func.count(blobs.c.damaged).label("damaged"),
    ).group_by(blobs.c.tier_id, blobs.c.state)
    with context.catalog.read() as conn:
        rows = conn.execute(query).all()
    stored = [Stored(names.get(row.tier_id, ""), row.state, row.blobs, int(row.bytes)) for row in rows]
    return tuple(sorted(stored, key=lambda s: (s.tier, s.state))), sum(row.damaged for row in rows)


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
    for name, objects_, made_us in _proposals(conn):
        found[name] = replace(found.get(name, Backlog(name)), proposed=objects_, proposed_us=made_us)
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


def _proposals(conn: sa.Connection) -> Iterator[tuple[str, int, int]]:
    """Policies whose newest plan would act and was not applied: name, objects, when it was made."""
    made = sa.select(plans.c.state, plans.c.made_us, plans.c.summary).where(plans.c.state.in_(("saved", "applied")))
    seen: set[str] = set()
    for row in conn.execute(made.order_by(plans.c.id.desc()).limit(PLANS)):
        # Two facts of a `storaged.decide.summary.Summary`, read without the planner, which takes long to load.
        for policy in json.loads(row.summary)["policies"]:
            name, objects = policy["name"], policy["actions"]["objects"]
            if name not in seen and row.state == "saved" and objects:
                yield name, objects, row.made_us
            seen.add(name)


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


def _room(context: Context, tier: Tier) -> Room:
    try:
        return Room(tier.name, tier.capacity_bytes, context.tier(tier.name).free_bytes())
    except StoragedError:
        return Room(tier.name, tier.capacity_bytes, None)
