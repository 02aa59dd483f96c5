"""What policies said when: every change is a row, so that what ran can be read beside what it ran by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from storaged.catalog.schema import job_items, jobs, plans
from storaged.catalog.schema_daemon import policies
from storaged.decide.policy import LoadedPolicy
from storaged.work.context import Context


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy's text from an instant on. `body` empty: it was removed. `digest` is the SHA-256 of the text."""

    name: str
    file: str
    digest: str
    body: str
    loaded_us: int


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """A plan that a policy was part of, and what came of it. Bytes are stored bytes of the objects that are done.
    `packs`: jobs that make one each."""

    plan: int
    made_us: int
    state: str
    done: int
    failed: int
    skipped: int
    pending: int
    before_bytes: int
    after_bytes: int
    packs: int = 0


def record(context: Context, loaded: Iterable[LoadedPolicy]) -> list[PolicyChange]:
    """Write down what changed since the last time: new texts, and policies that are gone. Returns the changes."""
    now = context.now_us()
    wanted = {p.name: PolicyChange(p.name, p.file, p.digest, p.text, now) for p in loaded}
    with context.catalog.begin() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(sa.text("LOCK TABLE policies IN SHARE ROW EXCLUSIVE MODE"))
        newest = sa.select(sa.func.max(policies.c.id)).group_by(policies.c.name)
        known = {row.name: row for row in conn.execute(sa.select(policies).where(policies.c.id.in_(newest)))}
        changes = [c for c in wanted.values() if c.name not in known or known[c.name].digest != c.digest]
        changes += [
            PolicyChange(name, row.file, "", "", now)
            for name, row in known.items()
            if name not in wanted and row.digest
        ]
        if changes:
            conn.execute(
                sa.insert(policies), [{name: getattr(c, name) for name in PolicyChange.__slots__} for c in changes]
            )
    return changes


def changes_of(context: Context, name: str | None = None) -> list[PolicyChange]:
    """Every text that a policy (None: any) had, newest first."""
    query = sa.select(policies).order_by(policies.c.id.desc())
    if name is not None:
        query = query.where(policies.c.name == name)
    with context.catalog.read() as conn:
        return [PolicyChange(*(getattr(row, n) for n in PolicyChange.__slots__)) for row in conn.execute(query)]


def runs_of(context: Context, name: str, *, limit: int = 50) -> list[PolicyRun]:
    """The newest plans that a policy was part of, newest first, with what became of its objects."""
    with context.catalog.read() as conn:
        made = [
            row
            for row in conn.execute(sa.select(plans).where(plans.c.state != "draft").order_by(plans.c.id.desc()))
            if name in json.loads(row.policies)
        ][:limit]
        counts = (
            sa.select(
                jobs.c.plan_id,
                job_items.c.state,
                sa.func.count().label("objects"),
                sa.func.coalesce(sa.func.sum(job_items.c.before_bytes), 0).label("before"),
                sa.func.coalesce(sa.func.sum(job_items.c.after_bytes), 0).label("after"),
            )
            .join(job_items, job_items.c.job_id == jobs.c.id)
            .where(jobs.c.plan_id.in_([row.id for row in made]), jobs.c.policy == name)
            .group_by(jobs.c.plan_id, job_items.c.state)
        )
        found = {(row.plan_id, row.state): row for row in conn.execute(counts)}
        packed = (
            sa.select(jobs.c.plan_id, sa.func.count().label("packs"))
            .where(jobs.c.plan_id.in_([row.id for row in made]), jobs.c.policy == name, jobs.c.pack.is_not(None))
            .group_by(jobs.c.plan_id)
        )
        packs = {row.plan_id: row.packs for row in conn.execute(packed)}

    def of(plan: int, state: str, what: str = "objects") -> int:
        row = found.get((plan, state))
        return int(getattr(row, what)) if row else 0

    return [
        PolicyRun(
            row.id,
            row.made_us,
            row.state,
            of(row.id, "done"),
            of(row.id, "failed"),
            of(row.id, "skipped"),
            of(row.id, "pending"),
            of(row.id, "done", "before"),
            of(row.id, "done", "after"),
            packs.get(row.id, 0),
        )
        for row in made
    ]
