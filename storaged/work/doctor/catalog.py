"""The catalog: its journal, its queue, its plans, and what is suspended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.schema import jobs, outbox, plans
from storaged.catalog.suspensions import suspended, untouched
from storaged.catalog.turns import lapsed
from storaged.clock import SECOND, iso
from storaged.errors import CatalogError, ForeignClaim, UsageError
from storaged.model import JobState
from storaged.stores.notes import Notes
from storaged.work.context import Context
from storaged.work.doctor.base import LATE_US, Finding, FindingKind, Severity, carefully, our_tiers
from storaged.work.journal import Journal
from storaged.work.plan.make import DRAFT_IS_DEAD

SLOW_US: Final = 3600 * SECOND  # an entry is on its way for moments; the next command that acts sends it

JOURNAL_AWAY = FindingKind(
    "journal-away",
    Severity.ERROR,
    "The configuration does not name the tier that holds the journal: nothing can be done.",
    "Put that tier back into storaged.yaml, with its old url.",
)
JOURNAL_BEHIND = FindingKind(
    "journal-behind",
    Severity.ERROR,
    "The journal holds entries that this catalog never saw: it is an old copy, or its reconcile did not come to its "
    "end. Nothing is done until it is.",
    "`storagectl catalog reconcile --yes`",
)
JOURNAL_GAP = FindingKind(
    "journal-gap",
    Severity.ERROR,
    "Entries are missing from the journal that this catalog wrote: if it were lost, they could not be replayed. "
    "Without the last one nothing is done.",
    "Put them back from a copy of the tier (.storaged/journal there). If they are lost for good, "
    "`storagectl catalog reconcile` tells anew what this catalog knows.",
)
JOURNAL_DAMAGED = FindingKind(
    "journal-damaged",
    Severity.ERROR,
    "An entry of the journal is not as it was written: if the catalog were lost, it could not be replayed.",
    "Put it back from a copy of the tier (.storaged/journal there).",
)
ENTRIES_WAIT = FindingKind(
    "entries-wait",
    Severity.WARNING,
    "Journal entries are on their way for a long time: what they speak of cannot change until they are durable.",
    "`storagectl sweep --yes` sends them, or says what refuses them.",
)
DEAD_LEASE = FindingKind(
    "dead-lease",
    Severity.WARNING,
    "A job is running, says the catalog, and its worker gave no sign of life within its lease.",
    "`storagectl doctor --fix` puts it back into the queue; so does the next sweep.",
    fixable=True,
)
JOBS_WAIT = FindingKind(
    "jobs-wait",
    Severity.WARNING,
    "Jobs have been due for more than a day, and nobody takes them up.",
    "`storagectl work`, or see why `storaged run` does not.",
)
DRAFT_LEFT = FindingKind(
    "draft-left",
    Severity.WARNING,
    "A plan was never finished: whoever made it died.",
    "`storagectl doctor --fix` deletes it; so does the next plan.",
    fixable=True,
)
SUSPENDED = FindingKind(
    "suspended",
    Severity.WARNING,
    "Jobs that touch it wait, until a person lets it go on.",
    "When the reason is gone: `storagectl resume {what}`",
)
SUSPENDED_FOR_NOW = FindingKind(
    "suspended-for-now",
    Severity.INFO,
    "Jobs that touch it wait; it is tried again, by the daemon or by the next command that needs it.",
    "At once, when the reason is gone: `storagectl resume {what}`",
)


def journal(context: Context) -> Iterator[Finding]:
    """The journal's entries against the catalog's number."""
    with context.catalog.read() as conn:
        unfinished = facts.get(conn, "reconciling")
    if unfinished:
        yield JOURNAL_BEHIND.found("catalog", "a reconcile was begun and not finished")
    found = _home(context)
    if isinstance(found, Finding):
        yield found
    elif found is not None:
        name, store = found
        yield from carefully(f"tier:{name}", _gaps(context, f"tier:{name}", store))
        yield from carefully(f"tier:{name}", _head(context, f"tier:{name}", store))


def entries(context: Context) -> Iterator[Finding]:
    """Read every entry of the journal."""
    found = _home(context)
    if found is not None and not isinstance(found, Finding):
        name, store = found
        yield from carefully(f"tier:{name}", _damaged(context, f"tier:{name}", store))


def _home(context: Context) -> tuple[str, Notes] | Finding | None:
    """The tier that holds the journal, if it is ours and answers."""
    try:
        home = context.journal_tier
    except UsageError as error:
        return JOURNAL_AWAY.found("catalog", error.message)
    return next(((name, store) for name, store in our_tiers(context) if name == home), None)


def _number(context: Context) -> int:
    with context.catalog.read() as conn:
        return facts.journal_number(conn)


def _gaps(context: Context, subject: str, store: Notes) -> Iterator[Finding]:
    with context.catalog.read() as conn:
        number, first = facts.journal_number(conn), int(facts.get(conn, "journal_from") or 0)
    for low, high in Journal(context.catalog, store, context.identity).holes(first, number):
        which = f"entry {low} is" if low == high else f"entries {low} to {high} are"
        yield JOURNAL_GAP.found(subject, f"{which} missing of the {number:,} that this catalog wrote or saw")


def _head(context: Context, subject: str, store: Notes) -> Iterator[Finding]:
    """Whether the journal ends where the catalog says. An entry that waits in our outbox too is one that a process
    wrote before it died; the next that acts goes on from there."""
    try:
        unseen = Journal(context.catalog, store, context.identity).unseen()
    except (CatalogError, ForeignClaim) as error:
        yield JOURNAL_DAMAGED.found(subject, error.message)
        return
    if unseen is not None:
        yield JOURNAL_BEHIND.found(subject, f"this catalog has seen {unseen:,} entries, and there are more")


def _damaged(context: Context, subject: str, store: Notes) -> Iterator[Finding]:
    told = Journal(context.catalog, store, context.identity)
    for number in range(_number(context)):
        try:
            told.read(number)
        except (CatalogError, ForeignClaim) as error:
            yield JOURNAL_DAMAGED.found(subject, error.message)


def queue(context: Context) -> Iterator[Finding]:
    """Journal entries and jobs that do not get on."""
    now = context.now_us()
    with context.catalog.read() as conn:
        number = facts.journal_waiting(conn)
        oldest = conn.execute(sa.select(outbox.c.entry).order_by(outbox.c.seq).limit(1)).scalar()
        gone = lapsed(jobs.c.lease_until_us, now, context.settings.workers.lease)
        running = sa.and_(jobs.c.state == JobState.RUNNING.value, gone)
        dead = conn.execute(
            sa.select(jobs.c.id, jobs.c.worker, jobs.c.lease_until_us).where(running).order_by(jobs.c.id)
        ).all()
        since = sa.case((jobs.c.not_before_us > jobs.c.created_us, jobs.c.not_before_us), else_=jobs.c.created_us)
        free = untouched(conn)
        late = sa.and_(jobs.c.state == JobState.QUEUED.value, since < now - LATE_US)
        waits = sa.select(sa.func.count(), sa.func.min(since)).where(late if free is None else sa.and_(late, free))
        jobs_late, first = conn.execute(waits).one()
    if oldest is not None and (at := int(json.loads(oldest)["at_us"])) < now - SLOW_US:
        yield ENTRIES_WAIT.found("catalog", f"{number:,} wait, the oldest from {iso(at)}")
    for row in dead:
        yield DEAD_LEASE.found(f"job:{row.id}", f"worker {row.worker}, its lease ended at {iso(row.lease_until_us)}")
    if jobs_late:
        yield JOBS_WAIT.found("catalog", f"{jobs_late:,} jobs, the first due since {iso(first)}")


def drafts(context: Context) -> Iterator[Finding]:
    """Plans that were never finished."""
    left = sa.and_(plans.c.state == "draft", plans.c.made_us < context.now_us() - DRAFT_IS_DEAD)
    with context.catalog.read() as conn:
        rows = conn.execute(sa.select(plans.c.id, plans.c.made_us).where(left).order_by(plans.c.id)).all()
    for row in rows:
        yield DRAFT_LEFT.found(f"plan:{row.id}", f"a draft since {iso(row.made_us)}")


def stopped(context: Context) -> Iterator[Finding]:
    with context.catalog.read() as conn:
        found = suspended(conn)
    for what in found:
        says = f"since {iso(what.since_us)}, by {what.actor}: {what.reason}"
        if what.retry_us is None:
            yield SUSPENDED.found(str(what), says, what=str(what))
        else:
            yield SUSPENDED_FOR_NOW.found(str(what), f"{says}; tried again at {iso(what.retry_us)}", what=str(what))


KINDS: Final = (
    JOURNAL_AWAY,
    JOURNAL_BEHIND,
    JOURNAL_GAP,
    JOURNAL_DAMAGED,
    ENTRIES_WAIT,
    DEAD_LEASE,
    JOBS_WAIT,
    DRAFT_LEFT,
    SUSPENDED,
    SUSPENDED_FOR_NOW,
)
