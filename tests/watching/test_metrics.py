"""What /metrics shows is right, keeps the formats, and stands in docs/metrics.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest, parser
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from storaged.daemon import events
from storaged.daemon.gauges import FAMILIES
from storaged.daemon.metrics import Meters
from storaged.testing.clock import START_US as NOW
from storaged.work.context import Context
from tests.watching.scene import HOUR, busy_meters

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def documented(registry: CollectorRegistry) -> list[str]:
    """A row of the table of docs/metrics.md for each metric; `process_*` are those of prometheus_client."""
    lines = []
    for metric in registry.collect():
        if metric.name.startswith("process_"):
            continue
        samples = [s for s in metric.samples if not s.name.endswith("_created")]
        labels = dict.fromkeys(label for s in samples for label in s.labels if label != "le")
        name = samples[0].name if metric.type in ("info", "counter") else metric.name
        kind = "gauge" if metric.type == "info" else metric.type
        told = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {told} | {metric.documentation} |")
    return lines


def value(meters: Meters, metric: str, /, **labels: str) -> float | None:
    return meters.registry.get_sample_value(metric, labels)


def test_every_metric_is_documented_as_it_is(scene: Context) -> None:
    written = re.findall(r"^\| `.*$", DOCS.read_text(), flags=re.M)
    assert written == documented(busy_meters(scene).registry)


def test_every_metric_is_named_for_us_in_base_units_and_has_help(scene: Context) -> None:
    for metric in busy_meters(scene).registry.collect():
        assert re.fullmatch("(storaged|process)_[a-z_]+", metric.name)
        assert not re.search("_(us|ms|mib|kb|percent)(_|$)", metric.name)
        assert metric.documentation.endswith(".")
        assert metric.samples, "the scene has one of everything"


def test_the_catalogs_metrics_are_what_was_measured(scene: Context) -> None:
    meters = busy_meters(scene)
    assert value(meters, "storaged_objects", tier="cold", codec="zstd") == 2
    assert value(meters, "storaged_stored_bytes", tier="cold", codec="zstd") == 11
    assert value(meters, "storaged_blobs", tier="", state="tombstone") == 1
    assert value(meters, "storaged_jobs", state="queued", kind="return") == 1
    assert value(meters, "storaged_job_due_since_timestamp_seconds") == (NOW - 3 * HOUR) / 1e6
    assert value(meters, "storaged_daemons", state="silent") == 1
    assert value(meters, "storaged_daemons", state="draining") == 0
    assert value(meters, "storaged_daemon_problems") == 1
    assert value(meters, "storaged_policy_proposed_objects", policy="tidy") == 7
    assert value(meters, "storaged_suspended_since_timestamp_seconds", kind="policy", name="stopped")
    assert value(meters, "storaged_heat_covered_until_timestamp_seconds", source="nginx", dataset="events")
    assert value(meters, "storaged_heat_covered_until_timestamp_seconds", source="retired", dataset="events") is None
    assert value(meters, "storaged_tier_free_bytes", tier="away") is None


def test_money_is_that_of_the_newest_survey_and_of_proposals(scene: Context) -> None:
    meters = busy_meters(scene)
    assert value(meters, "storaged_survey_timestamp_seconds") == (NOW - 2 * HOUR) / 1e6
    assert value(meters, "storaged_bill_dollars_per_month", dataset="events", tier="cold", kind="storage") == 3
    assert value(meters, "storaged_bill_grace_dollars_per_month") == 0.1
    assert value(meters, "storaged_unpriced_bytes") == 77
    assert value(meters, "storaged_policy_saved_dollars", policy="tidy") == 13
    assert value(meters, "storaged_policy_saving_dollars_per_month", policy="tidy") == 9
    assert value(meters, "storaged_policy_expected_saving_dollars_per_month", policy="tidy") == 10
    assert value(meters, "storaged_policy_spent_dollars", policy="tidy") == 6
    assert value(meters, "storaged_policy_expected_spending_dollars", policy="tidy") == 5
    assert value(meters, "storaged_policy_proposed_spending_dollars", policy="tidy") == 2
    assert value(meters, "storaged_policy_proposed_saving_dollars_per_month", policy="tidy") == 5
    assert value(meters, "storaged_pack_live_bytes", tier="cold") == 400
    assert value(meters, "storaged_format_stored_bytes", format="", codec="zstd") == 11


def test_what_a_daemon_does_is_counted(scene: Context) -> None:
    meters = busy_meters(scene)
    assert value(meters, "storaged_jobs_run_total", kind="rewrite", state="failed") == 1
    assert value(meters, "storaged_jobs_run_total", kind="rewrite", state="lost") == 1
    assert value(meters, "storaged_job_objects_total", policy="shrink", state="failed") == 2
    assert value(meters, "storaged_job_objects_total", policy="shrink", state="skipped") == 2  # stale when claimed
    assert value(meters, "storaged_object_errors_total", error="StoreFull") == 1
    assert value(meters, "storaged_object_errors_total", error="other") == 1
    assert value(meters, "storaged_rewritten_before_bytes_total", policy="shrink") == 100
    assert value(meters, "storaged_rewritten_after_bytes_total", policy="shrink") == 10
    assert value(meters, "storaged_task_runs_total", task="scan:events", state="done") == 1
    assert value(meters, "storaged_task_duration_seconds_sum", kind="scan") == 2.0
    assert value(meters, "storaged_reloads_total", result="refused") == 1
    assert value(meters, "storaged_config_valid") == 0
    assert (value(meters, "storaged_leads"), value(meters, "storaged_ready")) == (1, 1)
    meters.hear(events.Leads(False))
    meters.hear(events.Waits("the catalog is behind"))
    meters.hear(events.Reloaded(()))
    assert (value(meters, "storaged_leads"), value(meters, "storaged_ready")) == (0, 0)
    assert value(meters, "storaged_config_valid") == 1


def test_before_anything_was_measured_the_catalogs_metrics_are_absent_rather_than_zero() -> None:
    names = {metric.name for metric in Meters().registry.collect()}
    assert names.isdisjoint(f.name for f in FAMILIES)
    assert "storaged_build" in names


def test_two_daemons_in_one_process_do_not_share_metrics() -> None:
    one, other = Meters(), Meters()
    one.hear(events.Leads(True))
    assert value(other, "storaged_leads") == 0


@pytest.mark.parametrize("odd", ["a\nb", 'say "x"', "back\\slash", "emoji 😀", ""])
def test_both_formats_parse_again_whatever_names_hold(scene: Context, odd: str) -> None:
    meters = busy_meters(scene)
    meters._runs.labels(odd, "done").inc()
    plain = parser.text_string_to_metric_families(generate_latest(meters.registry).decode())
    opened = parse_openmetrics(generate_openmetrics(meters.registry).decode())
    for families in (list(plain), list(opened)):
        samples = {(s.name, *sorted(s.labels.items())): s.value for f in families for s in f.samples}
        assert samples["storaged_task_runs_total", ("state", "done"), ("task", odd)] == 1
        assert len(samples) == sum(len(f.samples) for f in families), "no sample is there twice"
