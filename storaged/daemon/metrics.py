"""What /metrics shows: what this daemon counted since it started, and what the catalog held when it was last measured.

Every daemon of a catalog shows the same of the catalog, so that dashboards take the `max` of that and the `sum` of
what daemons counted. Names are in base units; docs/metrics.md has them all.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from storaged.daemon import events
from storaged.daemon.events import Event
from storaged.daemon.gauges import FAMILIES
from storaged.daemon.jobs import Ran
from storaged.model import ItemState
from storaged.version import __version__
from storaged.work.show.measure import Measured

_DURATIONS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200)  # seconds


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
