"""What happens, as lines of the log: who, what, why and what came of it, by the same keys everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, assert_never

from structlog.stdlib import BoundLogger

from storaged.catalog.items import InPlace, To, codec_of, tier_of
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.catalog.suspensions import Suspension
from storaged.catalog.turns import MAX_TRIES
from storaged.clock import iso
from storaged.daemon import events
from storaged.daemon.events import Event
from storaged.daemon.jobs import Ran
from storaged.errors import ConfigError, StoragedError
from storaged.model import ItemState, JobState
from storaged.work.journal import told_holes
from storaged.work.plan.policies import PolicyChange
from storaged.work.recover.rebuild import Reconciled


class Teller:
    """Writes down what a daemon does: one line for each object, job and task, and for each turn that it takes itself.

    Keys: task, job, policy, plan, dataset, object, tier, codec, before_bytes, after_bytes, seconds; `reason` is why it
    was done, `note` why it came out so. What has no value is left out.
    """

    def __init__(self, log: BoundLogger) -> None:
        self._log = log

    def hear(self, event: Event) -> None:
        log = self._log
        match event:
            case events.Started(name, address):
                log.info("started", daemon=name, address=address)
            case events.Stopped(name, left):
                log.info("stopped", daemon=name, left_behind=left)
            case events.TaskStarted(run):
                log.info("task started", task=run.task, run=run.id, due=iso(run.due_us), tries=run.tries)
            case events.TaskEnded(run, state, message, seconds):
                say = log.info if state == "done" else log.warning
                say(f"task {state}", task=run.task, run=run.id, note=message or None, seconds=round(seconds, 3))
            case events.JobStarted(claimed):
                facts = _job(claimed)
                log.info("job started", **facts, kind=claimed.kind, tries=claimed.tries, objects=claimed.objects)
            case events.JobEnded(ran):
                self._job_ended(ran)
            case events.JobsWait(problem):
                if problem is None:
                    log.info("jobs run again")
                else:
                    log.warning("jobs wait", note=problem)
            case events.Abandoned(what):
                log.warning("abandoned", what=what)
            case events.Suspended(what):
                self._suspended(what)
            case events.Resumed(what):
                log.info("resumed", **{what.kind: what.name}, suspended_for=what.reason, since=iso(what.since_us))
            case events.Reloaded(changes):
                self._reloaded(changes)
            case events.ReloadFailed(error):
                self._reload_failed(error)
            case events.Leads(leading):
                log.info("leads" if leading else "leads no more")
            case events.Waits(problem):
                if problem is None:
                    log.info("acts")
                else:
                    log.warning("waits", note=problem)
            case events.CaughtUp(found):
                self._caught_up(found)
            case events.Draining(jobs, tasks):
                log.info("draining", jobs=jobs, tasks=tasks)
            case events.Undelivered(receiver, subject, problem, tries, last):
                said = "notice not delivered" if last else "notice not delivered yet"
                log.warning(said, receiver=receiver, subject=subject, error=problem, tries=tries)
            case events.Approved(wanted, state, note):
                say = log.info if state == "done" else log.warning
                say(f"approval {state}", plan=wanted.plan_id, verb=wanted.verb, approver=wanted.approver, note=note)
            case events.Faulted(error):
                log.error("fault in storaged", exc_info=error)
            case _:
                assert_never(event)

    def _job_ended(self, ran: Ran) -> None:
        claimed, outcomes, state = ran.claimed, ran.outcomes, ran.state
        to = {item.seen.id: item.to for item in claimed.items}
        found: Counter[ItemState] = Counter()
        before_bytes = after_bytes = 0
        for outcome in outcomes:
            found[outcome.state] += 1
            if outcome.state is ItemState.DONE:
                before_bytes += outcome.before_bytes
                after_bytes += outcome.after_bytes
            aim = to[outcome.object_id] if claimed.many is None else claimed.many.to
            self._object(claimed, aim, outcome)
        if state is None:
            said = "job taken over or given back"
        else:
            said = "job queued again" if state is JobState.QUEUED else f"job {state}"
        say = self._log.warning if state is JobState.FAILED else self._log.info
        say(
            said,
            **_job(claimed),
            done=found[ItemState.DONE],
            skipped=found[ItemState.SKIPPED] + claimed.skipped,
            failed=found[ItemState.FAILED],
            waiting=found[ItemState.PENDING],
            before_bytes=before_bytes,
            after_bytes=after_bytes,
            seconds=round(ran.seconds, 3),
        )

    def _object(self, claimed: ClaimedJob, to: To, outcome: ItemOutcome) -> None:
        facts: dict[str, Any] = _job(claimed) | {
            "object": outcome.name,
            "tier": tier_of(to),
            "storage_class": to.storage_class if isinstance(to, InPlace) else None,
            "codec": None if isinstance(to, InPlace) else outcome.codec or codec_of(to),
            "note": outcome.note or None,
            "error": outcome.error or None,
        }
        match outcome.state:
            case ItemState.DONE:
                sizes = {"before_bytes": outcome.before_bytes, "after_bytes": outcome.after_bytes}
                otherwise = tier_of(to) is None and outcome.note  # than it left: it came back
                say = self._log.warning if otherwise else self._log.info
                say("object moved", **facts, **sizes)
            case ItemState.PENDING:
                self._log.info("object waits", **facts, until=iso(outcome.not_before_us))
            case ItemState.FAILED if outcome.again and claimed.tries < MAX_TRIES:
                self._log.warning("object failed, to be tried again", **facts)
            case state:
                self._log.warning(f"object {state}", **facts)

    def _suspended(self, what: Suspension) -> None:
        only = "writes" if what.writes else None
        by_hand = None if what.retry_us else f"storagectl resume {what}"
        self._log.warning(
            "suspended", **{what.kind: what.name}, reason=what.reason, only=only, retry=iso(what.retry_us), hint=by_hand
        )

    def _reloaded(self, changes: Sequence[PolicyChange]) -> None:
        self._log.info("configuration loaded")
        for change in changes:
            said = "policy changed" if change.digest else "policy removed"
            self._log.info(said, policy=change.name, file=change.file, digest=change.digest[:12] or None)

    def _reload_failed(self, error: StoragedError) -> None:
        if isinstance(error, ConfigError):
            for p in error.problems:
                self._log.error(
                    "problem in the configuration", file=p.file, line=p.line, at=p.path, note=p.message, hint=p.hint
                )
        self._log.error("configuration not loaded, the one before stays", note=error.message, hint=error.hint)

    def _caught_up(self, found: Reconciled) -> None:
        facts: dict[str, Any] = {"entries": found.entries, "strays": found.strays, "kept": len(found.kept)}
        if found.holes:
            facts |= {"holes": told_holes(found.holes), "retold": found.retold}
        self._log.warning("catalog brought up to its journal", **facts)


def _job(claimed: ClaimedJob) -> dict[str, Any]:
    return {
        "job": claimed.id,
        "policy": claimed.policy,
        "plan": claimed.plan_id,
        "dataset": claimed.dataset,
        "reason": claimed.reason or None,
    }
