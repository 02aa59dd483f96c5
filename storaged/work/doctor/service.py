"""Daemons: whether one runs, what it does not get done, and the copies of the catalog that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema_daemon import daemons, runs, tasks
from storaged.clock import DAY, SECOND, iso
from storaged.config.schedules import next_fire
from storaged.config.service import BackupSettings
from storaged.stores.notes import Notes
from storaged.work.context import Context
from storaged.work.doctor.base import LATE_US, Finding, FindingKind, Severity, carefully, our_tiers
from storaged.work.recover.backup import find

OVERDUE_US: Final = 3600 * SECOND  # a task may have to wait for another

NO_DAEMON = FindingKind(
    "no-daemon",
    Severity.WARNING,
    "There is recurring work, it is overdue, and no daemon gives a sign of life.",
    "Start it: `systemctl start storaged`; or do the work by hand (scan, ingest, plan, apply, sweep).",
)
TASK_LATE = FindingKind(
    "task-late",
    Severity.WARNING,
    "A daemon runs and does not get to a task that has been due for more than an hour.",
    "`storagectl status` shows what it is at; `{command}` does the task now.",
)
RUN_FAILED = FindingKind(
    "run-failed",
    Severity.WARNING,
    "A recurring task failed when it was last tried.",
    "See the reason; `{command}` tries it now.",
)
DAEMON_SILENT = FindingKind(
    "daemon-silent",
    Severity.WARNING,
    "A daemon gave no sign of life and did not end in good order: its machine is away, or it was killed.",
    "See its machine and its log; start it again there.",
)
DAEMON_GONE = FindingKind(
    "daemon-gone",
    Severity.WARNING,
    "A daemon gave no sign of life for more than a day: it will not come back under this name.",
    "`storagectl doctor --fix` forgets it.",
    fixable=True,
)
DAEMON_TROUBLED = FindingKind(
    "daemon-troubled",
    Severity.WARNING,
    "A daemon runs with an older configuration than the file's, or does not act.",
    "`storagectl config check` and `storagectl policy check` say what is wrong with the files.",
)
NO_BACKUP = FindingKind(
    "no-backup",
    Severity.INFO,
    "No copies of the catalog are made. If it is lost, it is built anew from its journal and tiers; what only it knows "
    "(heat, holds' history, plans) is lost.",
    "Add `backup:` under `daemon:` in storaged.yaml.",
)
BACKUP_LATE = FindingKind(
    "backup-late",
    Severity.WARNING,
    "The newest copy of the catalog is older than the configuration wants.",
    "`storagectl catalog backup` makes one now; `storaged run` makes them by schedule.",
)
BACKUP_UNREADABLE = FindingKind(
    "backup-unreadable",
    Severity.WARNING,
    "What should be a copy of the catalog cannot be read as one.",
    "`storagectl catalog backup` makes a new one; see what happened to the tier.",
)

_COMMANDS: Final = {  # of tasks, by kind; a name comes after it
    "scan": ("storagectl", "scan"),
    "ingest": ("storagectl", "ingest"),
    "plan": ("storagectl", "plan", "--policy"),
    "sweep": ("storagectl", "sweep", "--yes"),
    "verify": ("storagectl", "verify", "--sample", "1%"),
    "backup": ("storagectl", "catalog", "backup"),
}


def work(context: Context) -> Iterator[Finding]:
    """Daemons and their tasks."""
    now, lease = context.now_us(), context.settings.daemon.lease
    with context.catalog.read() as conn:
        known = conn.execute(sa.select(daemons).order_by(daemons.c.name)).all()
        last = sa.select(runs.c.message).where(runs.c.task == tasks.c.name).order_by(runs.c.id.desc()).limit(1)
        all_tasks = conn.execute(sa.select(tasks, last.scalar_subquery().label("last")).order_by(tasks.c.name)).all()
    alive = False
    for daemon in known:
        if daemon.seen_us >= now - lease:
            alive = True
            if daemon.problem:
                yield DAEMON_TROUBLED.found(f"daemon:{daemon.name}", daemon.problem)
        else:
            kind = DAEMON_GONE if daemon.seen_us < now - DAY else DAEMON_SILENT
            yield kind.found(f"daemon:{daemon.name}", f"last seen {iso(daemon.seen_us)}, {daemon.state}")
    late = [t for t in all_tasks if t.due_us < now - OVERDUE_US and (t.lease is None or t.lease_until_us < now)]
    if late and not alive:
        first = min(late, key=lambda task: task.due_us)
        yield NO_DAEMON.found("daemon", f"{len(late):,} tasks are overdue, {first.name} since {iso(first.due_us)}")
    for task in late if alive else []:
        yield TASK_LATE.found(f"task:{task.name}", f"due since {iso(task.due_us)}", command=_command(task.name))
    for task in all_tasks:
        if task.failures:
            says = f"failures in a row: {task.failures:,}: {task.last or 'no reason is known'}"
            yield RUN_FAILED.found(f"task:{task.name}", says, command=_command(task.name))


def _command(task: str) -> tuple[str, ...]:
    """What a person runs to do a task."""
    kind, named, name = task.partition(":")
    command = _COMMANDS.get(kind, ("storagectl", "status"))
    return (*command, name) if named else command


def backups(context: Context) -> Iterator[Finding]:
    """When the catalog was copied last."""
    wanted = context.settings.daemon.backup
    if wanted is None:
        yield NO_BACKUP.found("catalog", "`daemon.backup` is not configured")
        return
    store = dict(our_tiers(context)).get(wanted.tier)
    if store is not None:
        yield from carefully(f"tier:{wanted.tier}", _copies(context, wanted, store))


def _copies(context: Context, wanted: BackupSettings, store: Notes) -> Iterator[Finding]:
    found = find({wanted.tier: store}, context.identity.catalog)
    for problem in found.problems:
        yield BACKUP_UNREADABLE.found(f"tier:{wanted.tier}", problem)
    if not found.backups:
        yield BACKUP_LATE.found(f"tier:{wanted.tier}", "there is none yet")
    elif next_fire(wanted.schedule, found.backups[0].made_us) < context.now_us() - LATE_US:
        yield BACKUP_LATE.found(f"tier:{wanted.tier}", f"the newest was made at {iso(found.backups[0].made_us)}")


KINDS: Final = (
    NO_DAEMON,
    TASK_LATE,
    RUN_FAILED,
    DAEMON_SILENT,
    DAEMON_GONE,
    DAEMON_TROUBLED,
    NO_BACKUP,
    BACKUP_LATE,
    BACKUP_UNREADABLE,
)
