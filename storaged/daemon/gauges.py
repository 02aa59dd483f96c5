"""The gauges of the catalog in /metrics: what each is called, what it tells, and how it comes of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from storaged.clock import SECOND
from storaged.prices.amount import ZERO
from storaged.work.show.measure import Measured
from storaged.work.show.survey import PackLine, SavingLine

Row = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge of the catalog. `rows` takes the values, with their labels, from what was measured."""

    name: str
    help: str
    labels: tuple[str, ...]
    rows: Callable[[Measured], Iterable[Row]]


def _one(value: float | None) -> list[Row]:
    return [] if value is None else [((), value)]


def _dollars(value: Decimal | None) -> list[Row]:
    return [] if value is None else [((), float(value))]


def _saved(m: Measured, what: Callable[[SavingLine], Decimal]) -> list[Row]:
    """Of applied plans, by policy."""
    found: dict[str, Decimal] = {}
    for line in m.survey.savings if m.survey else ():
        found[line.policy] = found.get(line.policy, ZERO) + what(line)
    return [((policy,), float(usd)) for policy, usd in found.items()]


def _packs(m: Measured, what: Callable[[PackLine], int]) -> list[Row]:
    return [((line.tier,), what(line)) for line in m.survey.packs] if m.survey else []


def _at(us: int | None) -> float | None:
    return None if us is None else us / SECOND


def _daemons(m: Measured) -> list[Row]:
    states = [d.state if d.alive else "silent" for d in m.live.daemons]
    return [((state,), states.count(state)) for state in ("running", "waiting", "draining", "silent")]


FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        "storaged_measured_timestamp_seconds",
        "When the catalog was last measured; the other metrics of the catalog are from then.",
        (),
        lambda m: _one(_at(m.at_us)),
    ),
    Family(
        "storaged_objects",
        "Objects by the tier and codec of their current place.",
        ("tier", "codec"),
        lambda m: [((p.tier, p.codec), p.objects) for p in m.places],
    ),
    Family(
        "storaged_content_bytes",
        "Content of these objects. Less storaged_stored_bytes, it is what codecs save, or filesystems do.",
        ("tier", "codec"),
        lambda m: [((p.tier, p.codec), p.bytes) for p in m.places],
    ),
    Family(
        "storaged_stored_bytes",
        "What these objects take at their current places.",
        ("tier", "codec"),
        lambda m: [((p.tier, p.codec), p.stored_bytes) for p in m.places],
    ),
    Family(
        "storaged_blobs",
        "Blobs that storaged wrote, or may have written, by tier (empty: at original keys) and state.",
        ("tier", "state"),
        lambda m: [((s.tier, s.state), s.blobs) for s in m.stored],
    ),
    Family(
        "storaged_blob_bytes",
        "What these blobs take.",
        ("tier", "state"),
        lambda m: [((s.tier, s.state), s.bytes) for s in m.stored],
    ),
    Family(
        "storaged_grace_objects",
        "Originals that are superseded and kept through their grace.",
        (),
        lambda m: _one(m.grace.objects),
    ),
    Family("storaged_grace_bytes", "What these originals take.", (), lambda m: _one(m.grace.bytes)),
    Family(
        "storaged_damaged",
        "Originals (what: object) and blobs in which verify found damage.",
        ("what",),
        lambda m: [(("object",), m.damaged_objects), (("blob",), m.damaged_blobs)],
    ),
    Family(
        "storaged_jobs",
        "Jobs by state and kind. Those that ended are there until retention.",
        ("state", "kind"),
        lambda m: [((j.state, j.kind), j.jobs) for j in m.jobs],
    ),
    Family(
        "storaged_jobs_suspended",
        "Queued jobs that wait because something they touch is suspended.",
        (),
        lambda m: _one(m.live.suspended_jobs),
    ),
    Family(
        "storaged_job_due_since_timestamp_seconds",
        "Since when the queued job that waits longest could have run. Absent: none is due.",
        (),
        lambda m: _one(_at(m.live.due_since_us)),
    ),
    Family(
        "storaged_journal_waiting",
        "Entries that wait to become durable in the journal.",
        (),
        lambda m: _one(m.live.journal_waiting),
    ),
    Family(
        "storaged_daemons",
        "Daemons by state; silent: without a sign of life, and nobody saw their end.",
        ("state",),
        _daemons,
    ),
    Family(
        "storaged_daemon_problems",
        "Living daemons that do not act, or keep an older configuration because the new one does not hold.",
        (),
        lambda m: _one(sum(d.alive and d.problem is not None for d in m.live.daemons)),
    ),
    Family(
        "storaged_led",
        "1: some daemon holds the lead, and recurring tasks are done.",
        (),
        lambda m: _one(m.live.leader is not None),
    ),
    Family(
        "storaged_task_due_timestamp_seconds",
        "When a recurring task is due. In the past: it was not taken up, or takes longer than its schedule allows.",
        ("task",),
        lambda m: [((t.name,), t.due_us / SECOND) for t in m.live.tasks],
    ),
    Family(
        "storaged_task_failures",
        "How often in a row a recurring task failed.",
        ("task",),
        lambda m: [((t.name,), t.failures) for t in m.live.tasks],
    ),
    Family(
        "storaged_task_last_success_timestamp_seconds",
        "When a recurring task was last done. Absent: never yet.",
        ("task",),
        lambda m: [((t.name,), t.done_us / SECOND) for t in m.live.tasks if t.done_us is not None],
    ),
    Family(
        "storaged_policy_pending_objects",
        "Objects in jobs of a policy (empty: that a person asked for) that are not yet dealt with.",
        ("policy",),
        lambda m: [((b.policy,), b.pending) for b in m.backlog],
    ),
    Family(
        "storaged_policy_pending_bytes",
        "Content of these objects.",
        ("policy",),
        lambda m: [((b.policy,), b.pending_bytes) for b in m.backlog],
    ),
    Family(
        "storaged_policy_pending_since_timestamp_seconds",
        "When the oldest plan was made that these objects come from.",
        ("policy",),
        lambda m: [((b.policy,), b.since_us / SECOND) for b in m.backlog if b.since_us is not None],
    ),
    Family(
        "storaged_policy_proposed_objects",
        "Objects that a policy's newest plan would act on, if nobody applied it.",
        ("policy",),
        lambda m: [((b.policy,), b.proposed) for b in m.backlog],
    ),
    Family(
        "storaged_policy_proposed_timestamp_seconds",
        "When that plan was made.",
        ("policy",),
        lambda m: [((b.policy,), b.proposed_us / SECOND) for b in m.backlog if b.proposed_us is not None],
    ),
    Family(
        "storaged_policy_failed_objects",
        "Objects of a policy that failed in jobs that ended in the last 24 hours, or go on.",
        ("policy",),
        lambda m: [((b.policy,), b.failed) for b in m.backlog],
    ),
    Family(
        "storaged_suspended_since_timestamp_seconds",
        "Since when nothing is done for a policy, tier or dataset. Absent: it is not suspended.",
        ("kind", "name"),
        lambda m: [((s.kind, s.name), s.since_us / SECOND) for s in m.live.suspensions],
    ),
    Family(
        "storaged_heat_covered_until_timestamp_seconds",
        "Up to when a log tells who read a dataset. Nothing is known to be idle later than that.",
        ("source", "dataset"),
        lambda m: [((c.source, c.dataset), c.until_us / SECOND) for c in m.coverage if c.configured],
    ),
    Family(
        "storaged_tier_capacity_bytes",
        "How much a tier may hold, as the configuration says.",
        ("tier",),
        lambda m: [((r.tier,), r.capacity_bytes) for r in m.rooms if r.capacity_bytes is not None],
    ),
    Family(
        "storaged_tier_free_bytes",
        "How much the filesystem of a tier would still take. Absent: it does not tell.",
        ("tier",),
        lambda m: [((r.tier,), r.free_bytes) for r in m.rooms if r.free_bytes is not None],
    ),
    Family(
        "storaged_notice_deliveries",
        "What receivers of `notify` are or were told, by state: waiting for a try, delivered, failed.",
        ("receiver", "state"),
        lambda m: [((receiver, state), number) for receiver, state, number in m.deliveries],
    ),
    Family(
        "storaged_format_objects",
        "Objects by their own format (empty: not known) and the codec of their current place. Of more than 50 formats "
        "those with the least content are (others).",
        ("format", "codec"),
        lambda m: [((f.format, f.codec), f.objects) for f in m.forms],
    ),
    Family(
        "storaged_format_content_bytes",
        "Content of these objects.",
        ("format", "codec"),
        lambda m: [((f.format, f.codec), f.bytes) for f in m.forms],
    ),
    Family(
        "storaged_format_stored_bytes",
        "What they take at their current places.",
        ("format", "codec"),
        lambda m: [((f.format, f.codec), f.stored_bytes) for f in m.forms],
    ),
    Family(
        "storaged_policy_proposed_spending_dollars",
        "What a policy's newest plan would cost once, if nobody applied it. Absent: its prices are not known.",
        ("policy",),
        lambda m: [((b.policy,), float(b.proposed_once)) for b in m.backlog if b.proposed_once is not None],
    ),
    Family(
        "storaged_policy_proposed_saving_dollars_per_month",
        "What that plan would save per month.",
        ("policy",),
        lambda m: [((b.policy,), float(b.proposed_saving)) for b in m.backlog if b.proposed_saving is not None],
    ),
    Family(
        "storaged_survey_timestamp_seconds",
        "When all was last counted in money: what is in dollars, but for proposals, and of packs is from then.",
        (),
        lambda m: _one(_at(m.survey.at_us if m.survey else None)),
    ),
    Family(
        "storaged_bill_dollars_per_month",
        "What everything costs by dataset (empty: none), tier and kind of cost, as it is now, in USD per month.",
        ("dataset", "tier", "kind"),
        lambda m: [((b.dataset, b.tier, b.kind), float(b.usd)) for b in (m.survey.bill if m.survey else ())],
    ),
    Family(
        "storaged_bill_grace_dollars_per_month",
        "What of that is kept through grace.",
        (),
        lambda m: _dollars(m.survey.grace if m.survey else None),
    ),
    Family(
        "storaged_unpriced_bytes",
        "Stored where no prices are known, and so in no figure in dollars.",
        (),
        lambda m: _one(m.survey.unpriced_bytes if m.survey else None),
    ),
    Family(
        "storaged_policy_spent_dollars",
        "What applied plans of a policy took once.",
        ("policy",),
        lambda m: _saved(m, lambda line: line.once),
    ),
    Family(
        "storaged_policy_expected_spending_dollars",
        "What they were expected to take.",
        ("policy",),
        lambda m: _saved(m, lambda line: line.expected_once),
    ),
    Family(
        "storaged_policy_saving_dollars_per_month",
        "What they save per month now, in USD.",
        ("policy",),
        lambda m: _saved(m, lambda line: line.saving),
    ),
    Family(
        "storaged_policy_expected_saving_dollars_per_month",
        "What they were expected to save per month.",
        ("policy",),
        lambda m: _saved(m, lambda line: line.expected_saving),
    ),
    Family(
        "storaged_policy_saved_dollars",
        "What they saved so far, what they took once not taken off.",
        ("policy",),
        lambda m: _saved(m, lambda line: line.saved),
    ),
    Family("storaged_packs", "Packs by tier.", ("tier",), lambda m: _packs(m, lambda line: line.packs)),
    Family(
        "storaged_pack_stored_bytes",
        "What packs take.",
        ("tier",),
        lambda m: _packs(m, lambda line: line.stored_bytes),
    ),
    Family(
        "storaged_pack_content_bytes",
        "Content that was in packs when they were made.",
        ("tier",),
        lambda m: _packs(m, lambda line: line.content_bytes),
    ),
    Family(
        "storaged_pack_live_bytes",
        "What of that content is still somebody's; where it is little, packs are worn.",
        ("tier",),
        lambda m: _packs(m, lambda line: line.live_bytes),
    ),
)
