"""What recurs: which tasks a configuration wants, and what each does. When it is due stands in the catalog.

Each is safe to repeat and to interrupt, so that a daemon which dies in the middle is simply followed by another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from storaged.catalog import ledger, suspensions, tasks
from storaged.clock import DAY
from storaged.config.schedules import daily, next_fire, rests_a_day
from storaged.config.settings import Settings
from storaged.decide.policy import LoadedPolicy, Policy, PolicySet
from storaged.errors import (
    MarkerLost,
    OtherPlace,
    OverSpending,
    RootEmpty,
    StoreError,
    UsageError,
    VerificationFailed,
)
from storaged.model import Mode
from storaged.prices.amount import usd
from storaged.work import suspension
from storaged.work.context import Context
from storaged.work.doctor import examination, examine
from storaged.work.doctor.verify import verify
from storaged.work.ingest.sources import ingest_source
from storaged.work.plan.make import forget_plan, make_plan
from storaged.work.plan.sample import remember, sample_auto
from storaged.work.recover.backup import backup
from storaged.work.release.retention import forget
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.warming import refresh
from storaged.work.scan.run import scan
from storaged.work.show.make_survey import make_survey
from storaged.work.show.survey import keep
from storaged.work.targets import known, pages


@dataclass(frozen=True, slots=True)
class Beat:
    """What a task works with."""

    context: Context
    policies: PolicySet
    chance: random.Random


def wanted(settings: Settings, policies: Iterable[LoadedPolicy]) -> Mapping[str, str]:
    """The schedule of every task that this configuration asks for, by the task's name."""
    daemon = settings.daemon
    found = {f"scan:{name}": dataset.scan or daemon.scan for name, dataset in settings.datasets.items()}
    found |= {f"ingest:{source.name}": daemon.ingest for source in settings.heat}
    for loaded in policies:
        if loaded.policy.schedule is not None and loaded.policy.mode is not Mode.DISABLED:
            found[f"plan:{loaded.name}"] = _daily_if_it_chooses(loaded.policy)
        if loaded.policy.to.chooses and loaded.policy.mode is not Mode.DISABLED:  # by forecasts
            found["learn"] = daemon.learn
    found |= {"sweep": daemon.sweep, "verify": daemon.verify.schedule, "retention": daemon.retention.schedule}
    found |= {"survey": daemon.survey, "doctor": daemon.doctor}
    if daemon.backup is not None:
        found["backup"] = daemon.backup.schedule
    return found


def _daily_if_it_chooses(policy: Policy) -> str:
    """When a policy with a schedule is planned. What is read in a cold tier costs until it is back, so what chooses is
    planned each day: what its schedule does not fire for is planned for what comes back alone."""
    schedule = str(policy.schedule)
    return daily(schedule) if policy.to.chooses and rests_a_day(schedule) else schedule


def perform(beat: Beat, task: str) -> str:
    """Do a task once. Returns what came of it, in words. Raises StoragedError."""
    kind, _, name = task.partition(":")
    return _TASKS[kind](beat, name)


def _scan(beat: Beat, name: str) -> str:
    """A root that is away, or shows nothing where there was something, stops what touches its dataset, until a scan
    finds it as it was."""
    context = beat.context
    try:
        found = scan(context, name)
    except (StoreError, RootEmpty, MarkerLost, OtherPlace) as error:
        retry_us = context.now_us() + context.settings.daemon.retry
        suspension.suspend(context, "dataset", name, error.message, retry_us=retry_us)
        raise
    parts = (
        ("added", found.added),
        ("changed", found.changed),
        ("vanished", found.vanished),
        ("back", found.reappeared),
    )
    return ", ".join([f"{found.seen:,} seen", *(f"{n:,} {what}" for what, n in parts if n)])


def _ingest(beat: Beat, name: str) -> str:
    report = ingest_source(beat.context, name)
    if report.problems:
        raise StoreError("; ".join(report.problems[:3]))
    told = f"{report.lines:,} lines, {report.counted:,} counted"
    return "; ".join([told, *report.garbled[:3]])


def _plan(beat: Beat, name: str) -> str:
    """Plan what a policy wants now, and where it is active do it: its jobs go into the queue."""
    context = beat.context
    policy = next((p.policy for p in beat.policies if p.name == name), None)
    if policy is None:
        raise UsageError(f"policy {name} is not configured any more")
    with context.catalog.read() as conn:
        stopped = next((s for s in suspensions.suspended(conn) if (s.kind, s.name) == ("policy", name)), None)
    if stopped is not None:
        return f"suspended: {stopped.reason}"
    if policy.mode is Mode.ACTIVE:
        with context.catalog.read() as conn:
            begun = ledger.unfinished(conn, name, "daemon:")
        if begun is not None:  # its daemon died before all of it was in the queue; no other daemon is at this task
            return _applied(beat, begun)
    only_back = _only_back(context, policy)
    if only_back and policy.mode is not Mode.ACTIVE:
        return "its schedule has no plan for today, and in dry run nothing comes back"
    told = sample_auto(context, beat.policies)
    remember(context, told)
    plan = make_plan(
        context.catalog,
        context.settings,
        beat.policies,
        context.clock,
        only=[name],
        ratios=told.ratios,
        not_taken=told.not_taken,
        choices=told.choices,
        only_back=only_back,
    )
    actions = plan.summary.actions
    if policy.mode is not Mode.ACTIVE:
        return f"plan {plan.id}: {actions:,} objects, dry run"
    if not actions:
        forget_plan(context.catalog, plan.id)
        return "nothing to do"
    return _applied(beat, plan.id)


def _only_back(context: Context, policy: Policy) -> bool:
    """Whether its schedule has not fired since it was planned last, or within a day where that is not known."""
    if not policy.to.chooses or policy.schedule is None:
        return False
    now_us = context.now_us()
    with context.catalog.read() as conn:
        before = tasks.last_done(conn, f"plan:{policy.name}")
    return next_fire(policy.schedule, now_us - DAY if before is None else min(before, now_us)) > now_us


def _applied(beat: Beat, plan_id: int) -> str:
    """The plan stays where it costs more than may be spent; the next due time makes another."""
    try:
        made = apply_plan(beat.context, plan_id, beat.policies)
    except OverSpending as error:
        return error.message
    return f"plan {plan_id}: {made.objects:,} objects in {len(made.jobs):,} jobs"


def _sweep(beat: Beat, _name: str) -> str:
    context = beat.context
    refresh(context)
    swept = sweep(context)
    words = f"{swept.sources:,} originals and {swept.blobs:,} blobs released, {swept.freed_bytes:,} bytes freed"
    if swept.errors:
        raise StoreError(f"{words}; {len(swept.errors):,} keys could not be released: {swept.errors[0]}")
    return words


def _verify(beat: Beat, _name: str) -> str:
    context, share = beat.context, beat.context.settings.daemon.verify.sample
    held = chain.from_iterable(pages(context, name) for name in known(context))
    found = verify(context, held, sample=share, chance=beat.chance)
    if found.damaged:
        name, why = found.damaged[0]
        raise VerificationFailed(f"{len(found.damaged):,} of {found.checked:,} objects are damaged: {name}: {why}")
    return f"{found.checked:,} objects read, {found.bytes:,} bytes"


def _retention(beat: Beat, _name: str) -> str:
    return str(forget(beat.context))


def _backup(beat: Beat, _name: str) -> str:
    wanted = beat.context.settings.daemon.backup
    return "none is configured" if wanted is None else str(backup(beat.context, wanted.tier, wanted.keep))


def _survey(beat: Beat, _name: str) -> str:
    found = make_survey(beat.context)
    keep(beat.context.catalog, found)
    return f"{usd(found.money.total)} a month, {len(found.cells):,} kinds of objects by dataset, age and heat"


def _doctor(beat: Beat, _name: str) -> str:
    found = examination.gathered(examine(beat.context), beat.context.now_us())
    examination.keep(beat.context, found)
    return f"{found.to_mend:,} to mend" if found.to_mend else "all is well"


def _learn(beat: Beat, _name: str) -> str:
    """Too few days to learn from are no fault of the daemon: logs tell of one more each day."""
    from storaged.work.learn.lesson import give_lesson

    try:
        lesson = give_lesson(beat.context)
    except UsageError as error:
        return f"nothing learnt: {error.message}"
    if lesson.renewed is not None:
        return f"not kept: {lesson.why}; what was in use is renewed as version {lesson.renewed}"
    if lesson.version is None:
        return f"not kept: {lesson.why}"
    return f"version {lesson.version}: {lesson.why}"


_TASKS: Final[Mapping[str, Callable[[Beat, str], str]]] = {
    "scan": _scan,
    "ingest": _ingest,
    "plan": _plan,
    "sweep": _sweep,
    "verify": _verify,
    "retention": _retention,
    "backup": _backup,
    "survey": _survey,
    "doctor": _doctor,
    "learn": _learn,
}
