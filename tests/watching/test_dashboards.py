"""The dashboard and the alerts ask only for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from storaged.catalog.engine import create_catalog
from tests.watching.scene import busy_meters, seeded

DOCS = Path(__file__).resolve().parents[2] / "docs"
DASHBOARD: Any = json.loads((DOCS / "grafana" / "storaged.json").read_text())
RULES: Any = yaml.safe_load((DOCS / "alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SCRAPED = frozenset({"job", "instance"})  # labels that Prometheus adds


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, frozenset[str]]:
    """Labels by the name of a sample, of everything that a busy daemon exposes."""
    place = tmp_path_factory.mktemp("scene")
    with create_catalog(f"sqlite:///{place}/catalog.db") as catalog:
        metrics = list(busy_meters(seeded(catalog, place)).registry.collect())
    return {s.name: SCRAPED | set(s.labels) for m in metrics for s in m.samples} | {"up": SCRAPED}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$job", "storaged")
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all within it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from parts(inner)
    for argument in getattr(expression, "args", ()):
        yield from parts(argument)


def mistakes(expression: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """Metrics and labels that are asked for and do not exist."""
    every = list(parts(promql.parse(expression)))
    selectors = [p for p in every if isinstance(p, promql.VectorSelector)]
    wrong = [s.name for s in selectors if s.name not in known]
    labels = frozenset().union(*(known.get(s.name, frozenset()) for s in selectors))
    for s in selectors:
        wrong += [m.name for m in s.matchers.matchers if m.name not in known.get(s.name, frozenset())]
    for p in every:
        modifier = getattr(p, "modifier", None)
        if isinstance(p, promql.AggregateExpr) and modifier is not None:
            wrong += [label for label in modifier.labels if label not in labels]
    return wrong


@pytest.mark.parametrize(("where", "expression"), [*expressions()])
def test_every_expression_asks_for_what_there_is(
    where: str, expression: str, known: Mapping[str, frozenset[str]]
) -> None:
    assert mistakes(expression, known) == [], where


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("storaged_nothing", ["storaged_nothing"]),
        (
            "time() - max by (task) (storaged_task_sue_timestamp_seconds)",
            ["storaged_task_sue_timestamp_seconds", "task"],
        ),
        ('rate(storaged_jobs_run_total{colour="red"}[5m])', ["colour"]),
        ("histogram_quantile(0.9, sum by (shape) (rate(storaged_job_duration_seconds_bucket[5m])))", ["shape"]),
        ("storaged_jobs_run", ["storaged_jobs_run"]),  # a counter's sample ends in _total
        ("predict_linear(storaged_none[6h], 60) < 0", ["storaged_none"]),
    ],
)
def test_a_wrong_expression_would_be_found(
    expression: str, wrong: list[str], known: Mapping[str, frozenset[str]]
) -> None:
    assert mistakes(expression, known) == wrong


def test_what_is_the_same_from_every_daemon_is_never_added_up(known: Mapping[str, frozenset[str]]) -> None:
    from storaged.daemon.gauges import FAMILIES

    catalog = {family.name for family in FAMILIES}
    for where, expression in expressions():
        for part in parts(promql.parse(expression)):
            if isinstance(part, promql.AggregateExpr) and isinstance(part.expr, promql.VectorSelector):
                assert part.expr.name not in catalog or str(part.op) == "max", where


def test_every_alert_says_how_bad_it_is_what_it_means_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 15
    for rule in ALERTS:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))


def test_alerts_only_name_labels_that_their_expression_leaves(known: Mapping[str, frozenset[str]]) -> None:
    for rule in ALERTS:
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        outer = next((p for p in parts(promql.parse(rule["expr"])) if isinstance(p, promql.AggregateExpr)), None)
        [left] = [set(outer.modifier.labels)] if outer else [
            set(known[s.name]) for s in parts(promql.parse(rule["expr"])) if isinstance(s, promql.VectorSelector)
        ]  # fmt: skip
        assert named <= left, rule["alert"]


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert {v["name"]: v["type"] for v in DASHBOARD["templating"]["list"]} == {
        "datasource": "datasource",
        "job": "query",
    }
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert all("$job" in target["expr"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_do_not_overlap_and_stay_on_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
