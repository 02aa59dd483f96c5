"""The queue of jobs: enqueue, claim with a lease, renew, finish. (People retry and cancel: storaged.catalog.control.)

A job is a batch of objects of one dataset. Its states change only under a guard in SQL: a worker that outlived its
lease updates zero rows and gets LeaseLost. Claiming writes the rows of the attempts that the batch may make (of what
moves whole each page of it does, before its first byte), so no byte is ever written that the catalog does not know of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog import each, members
from storaged.catalog.among import among
from storaged.catalog.attempts import begin, discard, sign
from storaged.catalog.items import ROWS, Item, NewItem, columns, of_row, tier_of
from storaged.catalog.members import Members, WholeParts, not_as_planned, own_attempt
from storaged.catalog.placements import chunks, load, paged, tier_ids
from storaged.catalog.schema import datasets, job_items, jobs
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.turns import MAX_TRIES, due, lapsed, turn
from storaged.clock import SECOND, new_id
from storaged.errors import LeaseLost
from storaged.model import CodecSpec, ItemState, JobKind, JobState

BACKOFF_US: Final = 10 * SECOND  # doubled at every try
RACES: Final = 5  # in which others may enqueue the same objects before us, one after the other


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job in our hands until its lease ends. Of one that makes a pack, or moves a collection whole, `items` are a
    page at most: see storaged.catalog.members."""

    id: int
    kind: JobKind
    lease: str
    dataset: str
    policy: str | None
    plan_id: int | None
    reason: str
    tries: int
    items: tuple[Item, ...]
    skipped: int  # items that were not as planned any more
    pack: str | None = None  # that its objects become, as people call it
    members: Members | None = None  # of the pack; None: none is left, or there is no pack
    whole: str | None = None  # prefix of the collection that its objects are: all of them are moved or none
    parts: WholeParts | None = None  # of that; None: none is left, or there is no such collection

    @property
    def many(self) -> Members | WholeParts | None:
        """What its objects are if they are gone through page by page."""
        return self.members or self.parts

    @property
    def objects(self) -> int:
        """How many are to be dealt with."""
        return len(self.items) if self.many is None else self.many.objects

    def into(self) -> list[tuple[str | None, Set[int] | None]]:
        """The tiers that it writes to (None: its root), each with the objects that go there; None: all of them."""
        if self.many is not None:
            return [(tier_of(self.many.to), None)]
        found: dict[str | None, set[int]] = {}
        for item in self.items:
            found.setdefault(tier_of(item.to), set()).add(item.seen.id)
        return list(found.items())


class ItemOutcome(NamedTuple):  # not a dataclass: there is one for each member of a pack
    """What became of one item. `again`: the cause may pass, so the item stays pending while tries are left.
    `not_before_us`: it stays pending until then, and that is no try: its source must be warmed first."""

    object_id: int
    name: str
    state: ItemState
    note: str = ""
    again: bool = False
    before_bytes: int = 0
    after_bytes: int = 0
    not_before_us: int | None = None
    error: str = ""  # the kind of error, such as StoreFull
    codec: str = ""  # that it has now, if it was done: what does not shrink is moved as it is
    instead: CodecSpec | None = None  # it is tried with this one next


def held_by(conn: sa.Connection, ids: Sequence[int]) -> dict[int, int]:
    """The live jobs of those of these objects that have one."""
    found: dict[int, int] = {}
    pending = job_items.c.state == ItemState.PENDING.value
    for part in chunks(ids):
        query = sa.select(job_items.c.object_id, job_items.c.job_id).where(among(job_items.c.object_id, part), pending)
        found |= {row.object_id: row.job_id for row in conn.execute(query)}
    return found


def enqueue(
    conn: sa.Connection,
    kind: JobKind,
    dataset_id: int,
    items: Iterable[NewItem],
    *,
    reason: str,
    now_us: int,
    plan_id: int | None = None,
    policy: str | None = None,
    pack: str | None = None,
    whole: str | None = None,
) -> tuple[int | None, dict[int, int]]:
    """A job of these objects, which come more than once: there may be a million of them. Those that another live job
    holds are left out. They become a `pack` that people call so; or are the collection of the prefix `whole`, of which
    none is left out alone. Those of either come in the order of their ids. Returns its id, or None, and of what is left
    out the other job by object id."""
    job = {"kind": kind.value, "dataset_id": dataset_id, "plan_id": plan_id, "policy": policy, "reason": reason}
    if pack is None and whole is None:
        items = sorted(items, key=attrgetter("object_id"))
    return _put(conn, {**job, "pack": pack, "whole": whole}, items, now_us)


def _put(
    conn: sa.Connection, job: Mapping[str, Any], items: Iterable[NewItem], now_us: int
) -> tuple[int | None, dict[int, int]]:
    """In the order of their ids: two that want the same objects wait for each other but once."""
    for left in reversed(range(RACES)):
        busy: dict[int, int] = {}
        objects = nbytes = 0
        for part in paged(items):
            theirs = held_by(conn, [i.object_id for i in part])
            objects += len(part) - len(theirs)
            nbytes += sum(i.size for i in part if i.object_id not in theirs)
            busy |= theirs
        if not objects or (busy and job.get("whole") is not None):
            break
        values = {**job, "turn_us": turn(now_us, objects, nbytes)}
        try:
            with conn.begin_nested():
                return _insert(conn, values, (i for i in items if i.object_id not in busy), now_us), busy
        except sa.exc.IntegrityError:  # somebody else's job was committed between the two statements
            if not left:
                raise
    return None, busy


def _insert(conn: sa.Connection, job: Mapping[str, Any], free: Iterable[NewItem], now_us: int) -> int:
    values = {**job, "state": JobState.QUEUED.value, "created_us": now_us}
    job_id = int(conn.execute(sa.insert(jobs).values(values).returning(jobs.c.id)).scalar_one())
    known = tier_ids(conn)
    for part in paged(free):
        each.execute(
            conn,
            sa.insert(job_items),
            [
                {
                    "job_id": job_id,
                    "object_id": i.object_id,
                    "version": i.version,
                    "size": i.size,
                    **columns(i.to, known),
                }
                for i in part
            ],
        )
    return job_id


def claim(
    conn: sa.Connection, worker: str, *, now_us: int, lease_us: int, only: Iterable[int] | None = None
) -> ClaimedJob | None:
    """Take the job whose turn it is, or whose lease ran out, and write its intents; of a job that makes a pack one, of
    which all its items are, and of what moves whole none yet. None: nothing is due."""
    mine = sa.true() if only is None else jobs.c.id.in_(list(only))
    first = sa.select(jobs.c.id).where(due(conn, now_us, lease_us), mine).order_by(jobs.c.turn_us, jobs.c.id).limit(1)
    job_id = conn.execute(first.with_for_update(skip_locked=True)).scalar()
    if job_id is None:
        return None
    lease = new_id()
    job = conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            state=JobState.RUNNING.value,
            lease=lease,
            lease_until_us=now_us + lease_us,
            worker=worker,
            tries=jobs.c.tries + 1,
            started_us=sa.func.coalesce(jobs.c.started_us, now_us),
            error=None,
        )
        .returning(jobs)
    ).one()
    bury_attempts(conn, job.id, note="its worker's lease ran out", now_us=now_us)
    dataset = conn.execute(sa.select(datasets.c.name).where(datasets.c.id == job.dataset_id)).scalar_one()
    items: tuple[Item, ...] = ()
    together = parts = None
    if job.pack is not None:
        together, skipped = members.claim(conn, job, dataset, now_us=now_us)
    elif job.whole is not None:
        parts, skipped = members.claim_parts(conn, job)
    else:
        items, skipped = _claim_items(conn, job.id, now_us)
    return ClaimedJob(
        job.id,
        JobKind(job.kind),
        lease,
        dataset,
        job.policy,
        job.plan_id,
        job.reason,
        job.tries,
        items,
        skipped,
        job.pack,
        together,
        job.whole,
        parts,
    )


def _claim_items(conn: sa.Connection, job_id: int, now_us: int) -> tuple[tuple[Item, ...], int]:
    """The items of a job, with an intent each, and how many were not as planned any more: these are skipped."""
    pending = conn.execute(
        ROWS.where(job_items.c.job_id == job_id, job_items.c.state == ItemState.PENDING.value).order_by(
            job_items.c.object_id
        )
    ).all()
    seen = load(conn, [row.object_id for row in pending], lock=True)
    items, stale = [], []
    for row in pending:
        it = seen.get(row.object_id)
        why = not_as_planned(it, row.version)
        if it is None or why:
            name = it.placement.name if it else ""
            stale.append(ItemOutcome(row.object_id, name, ItemState.SKIPPED, why))
            continue
        to = of_row(row)
        attempt, key = own_attempt(it, to)
        items.append(Item(it, attempt, to, key))
    settle(conn, job_id, stale)
    begin(conn, job_id, items, now_us)
    return tuple(items), len(stale)


def give_up_leases(conn: sa.Connection, *, now_us: int, lease_us: int) -> None:
    """Jobs whose lease ran out go back to the queue, or fail if every try ended so; what they staged is buried."""
    dead = sa.and_(jobs.c.state == JobState.RUNNING.value, lapsed(jobs.c.lease_until_us, now_us, lease_us))
    for job_id, tries in conn.execute(sa.select(jobs.c.id, jobs.c.tries).where(dead)).all():
        bury_attempts(conn, job_id, note="its worker's lease ran out", now_us=now_us)
        values: dict[str, Any] = {"state": JobState.QUEUED.value, "lease": None, "lease_until_us": None}
        if tries >= MAX_TRIES:
            why = f"its worker died {tries} times"
            values |= {"state": JobState.FAILED.value, "error": why, "finished_us": now_us}
            conn.execute(
                sa.update(job_items)
                .where(job_items.c.job_id == job_id, job_items.c.state == ItemState.PENDING.value)
                .values(state=ItemState.FAILED.value, note=why)
            )
        conn.execute(sa.update(jobs).where(jobs.c.id == job_id, dead).values(values))


def give_back(conn: sa.Connection, claimed: ClaimedJob, *, now_us: int) -> bool:
    """Put a claimed job back at once, if it is its worker's still. What it staged becomes tombstones."""
    back = conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == claimed.id, jobs.c.lease == claimed.lease, jobs.c.state == JobState.RUNNING.value)
        .values(state=JobState.QUEUED.value, lease=None, lease_until_us=None, tries=jobs.c.tries - 1)
    )
    if back.rowcount:
        bury_attempts(conn, claimed.id, note="its worker was stopped", now_us=now_us)
    return bool(back.rowcount)


def forgive(conn: sa.Connection, claimed: ClaimedJob) -> bool:
    """What a job met when it was last worked on was no fault of its objects: no try, unless it is over or claimed."""
    waits = sa.and_(jobs.c.id == claimed.id, jobs.c.state == JobState.QUEUED.value, jobs.c.tries == claimed.tries)
    return bool(conn.execute(sa.update(jobs).where(waits).values(tries=claimed.tries - 1)).rowcount)


def bury_attempts(
    conn: sa.Connection, job_id: int, *, note: str, now_us: int, only: Iterable[str] | None = None
) -> int:
    """What a job's attempts staged becomes tombstones: nothing is deleted here, the sweeper looks after the keys."""
    which = attempts.c.job_id == job_id
    return discard(
        conn, which if only is None else sa.and_(which, attempts.c.id.in_(list(only))), note=note, now_us=now_us
    )


def renew(conn: sa.Connection, claimed: ClaimedJob, *, now_us: int, lease_us: int) -> None:
    """A sign of life of a job and its attempts. Raises LeaseLost as `hold` does."""
    hold(conn, claimed, now_us=now_us, lease_us=lease_us)
    sign(conn, claimed.id, now_us=now_us)


def hold(conn: sa.Connection, claimed: ClaimedJob, *, now_us: int, lease_us: int) -> None:
    """Keep the job ours until the transaction ends, and for a lease from now on. Raises LeaseLost if it is not ours any
    more (taken over, or cancelled)."""
    done = conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == claimed.id, jobs.c.lease == claimed.lease, jobs.c.state == JobState.RUNNING.value)
        .values(lease_until_us=now_us + lease_us)
    )
    if done.rowcount == 0:
        raise LeaseLost(f"job {claimed.id} was taken over or cancelled")


def finish(conn: sa.Connection, claimed: ClaimedJob, outcomes: Iterable[ItemOutcome], *, now_us: int) -> JobState:
    """End the job or put it back for another try, by what became of its items, which is recorded (see `settle`). Needs
    the lease (see renew)."""
    cold: int | None = None
    again, failure = False, None
    for o in outcomes:
        if o.not_before_us is not None:
            cold = o.not_before_us if cold is None else min(cold, o.not_before_us)
        again = again or _again(o, claimed.tries)
        if failure is None and o.state is ItemState.FAILED:
            failure = o.note
    failed = conn.execute(
        sa.select(sa.func.count()).where(job_items.c.job_id == claimed.id, job_items.c.state == ItemState.FAILED.value)
    ).scalar_one()
    values: dict[str, Any] = {"lease": None, "lease_until_us": None, "error": failure}
    if again or cold is not None:
        state = JobState.QUEUED
        backoff = [now_us + BACKOFF_US * 2 ** (claimed.tries - 1)] if again else []
        values["not_before_us"] = min(backoff + ([] if cold is None else [cold]))
        values["tries"] = claimed.tries if again else claimed.tries - 1
    else:
        state = JobState.FAILED if failed else JobState.DONE
        values["finished_us"] = now_us
    conn.execute(sa.update(jobs).where(jobs.c.id == claimed.id).values(state=state.value, **values))
    return state


def _again(o: ItemOutcome, tries: int) -> bool:
    """Whether an item stays pending, as its cause may pass and a try is left."""
    return o.again and tries < MAX_TRIES


def note_timings(conn: sa.Connection, job_id: int, told: Mapping[str, Any]) -> None:
    """Where the time of a job's last try went (storaged.clock.Timings)."""
    conn.execute(sa.update(jobs).where(jobs.c.id == job_id).values(timings=json.dumps(told)))


def settle(conn: sa.Connection, job_id: int, outcomes: Sequence[ItemOutcome], *, tries: int = MAX_TRIES) -> None:
    """Record what became of these items of a job, in a try of this number."""
    if not outcomes:
        return
    each.execute(
        conn,
        sa.update(job_items)
        .where(job_items.c.job_id == job_id, job_items.c.object_id == sa.bindparam("b_object"))
        .values(
            state=sa.bindparam("b_state"),
            note=sa.bindparam("b_note"),
            before_bytes=sa.bindparam("b_before"),
            after_bytes=sa.bindparam("b_after"),
        ),
        [
            {
                "b_object": o.object_id,
                "b_state": (ItemState.PENDING if _again(o, tries) else o.state).value,
                "b_note": o.note or None,
                "b_before": o.before_bytes,
                "b_after": o.after_bytes,
            }
            for o in outcomes
        ],
    )
    for o in outcomes:
        if o.instead is not None:
            mine = sa.and_(job_items.c.job_id == job_id, job_items.c.object_id == o.object_id)
            instead = {
                "codec": o.instead.name,
                "level": o.instead.level,
                "fidelity": o.instead.fidelity.value,
                "reencode": o.instead.reencode,
            }
            conn.execute(sa.update(job_items).where(mine).values(instead))
