"""What `--fix` does: only what cannot take anything from anybody. Each step says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from storaged.catalog import queue
from storaged.catalog.attempts import discard
from storaged.catalog.schema import jobs, plan_items, plans
from storaged.catalog.schema_daemon import daemons
from storaged.catalog.turns import lapsed
from storaged.clock import DAY
from storaged.model import JobState
from storaged.work.context import Context
from storaged.work.doctor.stored import unworked
from storaged.work.plan.make import DRAFT_IS_DEAD
from storaged.work.release.strays import bury_strays


@dataclass(frozen=True, slots=True)
class Mended:
    """How many of each were mended."""

    leases: int  # jobs that went back into the queue, or failed as they were tried too often
    attempts: int  # abandoned, now tombstones
    strays: int  # dark blobs and unknown parts, now tombstones
    drafts: int  # deleted
    daemons: int  # forgotten


def mend(context: Context) -> Mended:
    """Mend what is safely mended. No store is written to: what is dark becomes a tombstone, which the sweeper looks
    after. Raises CatalogBehind and ForeignClaim where this process may not act, StoreError where a tier fails."""
    context.ready()
    return Mended(
        leases=_leases(context),
        attempts=_attempts(context),
        strays=bury_strays(context).buried,
        drafts=_drafts(context),
        daemons=_daemons(context),
    )


def _leases(context: Context) -> int:
    """Safe: what a worker does after its lease is refused by the guard of its swap, which needs the lease; every sweep
    does the same."""
    now, lease = context.now_us(), context.settings.workers.lease
    dead = sa.and_(jobs.c.state == JobState.RUNNING.value, lapsed(jobs.c.lease_until_us, now, lease))
    with context.catalog.begin() as conn:
        number = conn.execute(sa.select(sa.func.count()).select_from(jobs).where(dead)).scalar_one()
        queue.give_up_leases(conn, now_us=now, lease_us=lease)
    return int(number)


def _attempts(context: Context) -> int:
    """Safe: a swap needs a running job's lease and a staged row, and these have no running job. A tombstone's key is
    deleted only if what is there carries this attempt's id."""
    with context.catalog.begin() as conn:
        return discard(conn, unworked(), note="staged, and no job was writing it", now_us=context.now_us())


def _drafts(context: Context) -> int:
    """Safe: nothing is ever done from a draft, and making a plan takes no day (as in storaged.work.plan.make)."""
    left = sa.and_(plans.c.state == "draft", plans.c.made_us < context.now_us() - DRAFT_IS_DEAD)
    with context.catalog.begin() as conn:
        ids = list(conn.execute(sa.select(plans.c.id).where(left)).scalars())
        conn.execute(sa.delete(plan_items).where(plan_items.c.plan_id.in_(ids)))
        return conn.execute(sa.delete(plans).where(plans.c.id.in_(ids), left)).rowcount


def _daemons(context: Context) -> int:
    """Safe: the row only tells of a daemon. One that lives after all writes it again at its next sign of life."""
    with context.catalog.begin() as conn:
        return conn.execute(sa.delete(daemons).where(daemons.c.seen_us < context.now_us() - DAY)).rowcount
