"""What goes on right now, as `status` and `top` show it: the same facts for programs and for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from storaged.cli.render import count, size
from storaged.cli.table import Table
from storaged.clock import SECOND, iso
from storaged.model import JobState

if TYPE_CHECKING:
    from storaged.work.show.live import Live, Running

_DETAILS: Final = frozenset({"kind", "policy", "rate", "content", "worker"})
LATE: Final = 60 * SECOND  # a task that has been due for less is taken up any moment

Instant = Callable[[int | None], str]  # how instants are written
Rates = dict[int, tuple[float, float]]  # objects and bytes per second, by job


def facts(live: Live) -> dict[str, Any]:
    """Everything as JSON has it: instants as text, spans in seconds."""
    return {
        "leader": live.leader,
        "daemons": [_plain(one) for one in live.daemons],
        "tasks": [_plain(one) for one in live.tasks],
        "due_since": iso(live.due_since_us),
        "suspended_jobs": live.suspended_jobs,
        "running": [_plain(one) for one in live.running],
        "suspensions": [
            {
                "kind": s.kind,
                "name": s.name,
                "reason": s.reason,
                "since": iso(s.since_us),
                "actor": s.actor,
                "tried_again": iso(s.retry_us),
                "writes_only": s.writes,
            }
            for s in live.suspensions
        ],
        "failures": [_plain(one) for one in live.failures],
    }


def _plain(one: Any) -> dict[str, Any]:
    """A value's fields; those in microseconds as text, and what is overdue as seconds."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        if field.name == "overdue_us":
            found["overdue_seconds"] = value / SECOND
        elif field.name.endswith("_us"):
            found[field.name.removesuffix("_us")] = iso(value)
        else:
            found[field.name] = value
    return found


def queue_words(live: Live, others: dict[str, int], at: Instant) -> str:
    """The queue in one line. `others`: how many jobs are in states that they ended in."""
    numbers = {state: live.count(JobState(state)) for state in ("queued", "running")} | others
    words = ", ".join(f"{number:,} {state}" for state, number in numbers.items() if number) or "empty"
    if live.suspended_jobs:
        words += f"; {count(live.suspended_jobs, 'job')} suspended"
    if live.due_since_us is not None:
        words += f"; the oldest is due since {at(live.due_since_us)}"
    return words


def daemon_words(live: Live) -> str:
    alive = sum(d.alive for d in live.daemons)
    if not alive:
        return "none runs: recurring tasks and queued jobs wait"
    return f"{count(alive, 'daemon')}, {live.leader + ' leads' if live.leader else 'nobody leads'}"


def daemon_table(live: Live, at: Instant) -> Table:
    """Those that run, and those that went silent."""
    rows = [
        (d.name, d.state if d.alive else "silent", "yes" if d.leads else "", at(d.seen_us), d.version, d.problem or "")
        for d in live.daemons
    ]
    return Table(("daemon", "state", "leads", "last sign", "version", "problem"), rows, prose="problem")


def task_table(live: Live, at: Instant, *, only_late: bool = False, limit: int | None = None) -> Table:
    """Recurring tasks, the next one first. `only_late`: only those that are overdue or failed last."""
    shown = [t for t in live.tasks if not only_late or t.overdue_us > LATE or t.failures]
    rows = [
        (
            t.name,
            "runs" if t.running else "overdue" if t.overdue_us > LATE else "",
            at(t.due_us),
            f"{t.ended} {at(t.finished_us)}" if t.ended else "never ran",
            t.failures or None,
            t.message,
        )
        for t in sorted(shown, key=lambda t: (t.due_us, t.name))[:limit]
    ]
    return Table(("task", "state", "due", "last run", "failures", "message"), rows, prose="message")


def suspension_table(live: Live, at: Instant) -> Table:
    """What nothing is done for, and how it goes on."""
    rows = [
        (str(s), at(s.since_us), s.actor, "by hand" if s.retry_us is None else at(s.retry_us), s.reason)
        for s in live.suspensions
    ]
    return Table(("suspended", "since", "by", "resumes", "why"), rows, prose="why")


def running_table(live: Live, rates: Rates, at: Instant) -> Table:
    """Running jobs and how far they are."""
    rows = [
        (
            r.job,
            r.kind,
            r.dataset,
            r.policy or "",
            f"{r.done:,}/{r.objects:,}",
            f"{rates[r.job][0]:,.1f}/s",
            f"{size(r.done_bytes)}/{size(r.bytes)}",
            f"{size(round(rates[r.job][1]))}/s",
            at(r.started_us),
            f"{r.worker} (its lease is over)" if r.lapsed else r.worker,
        )
        for r in live.running
    ]
    columns = ("job", "kind", "dataset", "policy", "objects", "speed", "content", "rate", "started", "worker")
    return Table(columns, rows, frozenset({"objects", "speed", "content", "rate"}), details=_DETAILS)


def failure_table(live: Live, at: Instant) -> Table:
    """The newest failures of the last day."""
    return Table(("failed", "when", "why"), [(f.what, at(f.at_us), f.error) for f in live.failures], prose="why")


def rates(live: Live, before: Live | None) -> Rates:
    """How fast running jobs are: since `before`, or where they were not running then, since they started."""
    known = {r.job: r for r in before.running} if before else {}

    def of(now: Running) -> tuple[float, float]:
        old = known.get(now.job)
        same = old is not None and old.started_us == now.started_us and old.done <= now.done
        since = before.at_us if before and same else now.started_us
        done, nbytes = (old.done, old.done_bytes) if old and same else (0, 0)
        seconds = max(live.at_us - since, 1) / SECOND
        return (now.done - done) / seconds, max(now.done_bytes - nbytes, 0) / seconds

    return {r.job: of(r) for r in live.running}
