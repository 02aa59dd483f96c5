"""What /metrics shows: what this daemon counted since it started, and what the catalog held when it was last measured.

Every daemon of a catalog shows the same of the catalog, so that dashboards take the `max` of that and the `sum` of
what daemons counted. Names are in base units; docs/metrics.md has them all.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from storaged.clock import SECOND
from storaged.daemon import events
from storaged.daemon.events import Event
from storaged.daemon.jobs import Ran
from storaged.model import ItemState
from storaged.version import __version__
from storaged.work.show.measure import Measured

_DURATIONS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200)  # seconds

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
        "Content of these objects. Less storaged_stored_bytes, it is what codecs save.",
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
)


class _Catalog(Collector):
    """The catalog as it was last measured. Nothing before the first time."""

    measured: Measured | None = None

    def collect(self) -> Iterator[Metric]:
        measured = self.measured
        if measured is None:
            return
        for family in FAMILIES:
            gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for labels, value in family.rows(measured):
                gauge.add_metric(labels, value)
            yield gauge


class Meters:
    """One daemon's metrics, in `registry`. It hears what the daemon does; `show` gives it what was measured."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._catalog = _Catalog()
        registry.register(self._catalog)
        ProcessCollector(registry=registry)
        build = Info("storaged_build", "The program.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._leads = Gauge("storaged_leads", "1: this daemon leads, and does the recurring tasks.", registry=registry)
        self._ready = Gauge("storaged_ready", "1: this daemon acts. 0: it waits; /readyz says why.", registry=registry)
        self._valid = Gauge(
            "storaged_config_valid",
            "0: what stands in storaged.yaml or the policies now does not hold, and what held before goes on.",
            registry=registry,
        )
        self._valid.set(1)
        self._reloads = Counter(
            "storaged_reloads", "How often the configuration was loaded anew.", ("result",), registry=registry
        )
        for result in ("applied", "refused"):
            self._reloads.labels(result)
        self._jobs = Counter(
            "storaged_jobs_run",
            "Jobs that this daemon ran, by what became of them; queued: put back for another try, lost: taken over "
            "or given back.",
            ("kind", "state"),
            registry=registry,
        )
        self._job_seconds = Histogram(
            "storaged_job_duration_seconds", "How long they took.", ("kind",), registry=registry, buckets=_DURATIONS
        )
        self._objects = Counter(
            "storaged_job_objects",
            "Objects of these jobs by what became of them, and by policy (empty: a person asked).",
            ("policy", "state"),
            registry=registry,
        )
        self._errors = Counter(
            "storaged_object_errors",
            "Objects that could not be dealt with at a try, by the kind of error, such as StoreFull.",
            ("error",),
            registry=registry,
        )
        self._before = Counter(
            "storaged_rewritten_before_bytes", "What the objects that are done took.", ("policy",), registry=registry
        )
        self._after = Counter("storaged_rewritten_after_bytes", "What they take now.", ("policy",), registry=registry)
        self._runs = Counter(
            "storaged_task_runs",
            "Runs of recurring tasks by what became of them.",
            ("task", "state"),
            registry=registry,
        )
        self._run_seconds = Histogram(
            "storaged_task_duration_seconds",
            "How long they took, by the kind of task: scan, ingest, plan, ...",
            ("kind",),
            registry=registry,
            buckets=_DURATIONS,
        )
        self._faults = Counter("storaged_faults", "Faults in storaged itself; please report them.", registry=registry)

    def show(self, measured: Measured) -> None:
        """From now on show this of the catalog."""
        self._catalog.measured = measured

    def hear(self, event: Event) -> None:
        match event:
            case events.TaskEnded(run, state, _, seconds):
                self._runs.labels(run.task, state).inc()
                self._run_seconds.labels(run.task.partition(":")[0]).observe(seconds)
            case events.JobEnded(ran):
                self._job_ended(ran)
            case events.Reloaded():
                self._reloads.labels("applied").inc()
                self._valid.set(1)
            case events.ReloadFailed():
                self._reloads.labels("refused").inc()
                self._valid.set(0)
            case events.Leads(leading):
                self._leads.set(leading)
            case events.Waits(problem):
                self._ready.set(problem is None)
            case events.Faulted():
                self._faults.inc()
            case _:
                pass  # of the rest, what counts is in the catalog

    def _job_ended(self, ran: Ran) -> None:
        claimed = ran.claimed
        self._jobs.labels(claimed.kind.value, "lost" if ran.state is None else ran.state.value).inc()
        self._job_seconds.labels(claimed.kind.value).observe(ran.seconds)
        policy = claimed.policy or ""
        if ran.state is not None and claimed.skipped:
            self._objects.labels(policy, ItemState.SKIPPED.value).inc(claimed.skipped)
        for o in ran.outcomes:
            self._objects.labels(policy, o.state.value).inc()
            if o.state is ItemState.FAILED:
                self._errors.labels(o.error or "other").inc()
            self._before.labels(policy).inc(o.before_bytes)
            self._after.labels(policy).inc(o.after_bytes)
