"""What a policy names and no object of the catalog has is a warning, by line, with the nearest that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings
from storaged.decide import known as module
from storaged.decide.known import unmatched
from storaged.work.plan.known import known_datasets
from tests.cli.lake import POLICY, Lake
from tests.decide.seeding import policies

ODD = """\
policies:
  - name: odd
    target: {dataset: [events/*, kept, unseen/*], tier: deep}
    when:
      format: [cvs, csv]
      tags: {team: grwth, clas: A}
      partition: {dt: "<2020-01-01", hour: "7", hours: ">=1"}
    where: "tier = 'hott' AND owner IN ('ann', 'anne') AND dataset = 'events/wep' AND partition ->> 'hour' = '05'"
    to: {tier: cold}
  - name: even
    target: {dataset: events/*}
    when: {format: CSV, tags: {team: growth, class: A}, partition: {dt: ">2026-01-01", hour: "=5"}}
    to: {tier: cold}
  - {name: off, target: {dataset: kept}, when: {format: nothing}, to: {tier: cold}, mode: disabled}
  - {name: empty, target: {dataset: s3/*}, when: {tags: {a: b}, partition: {dt: x}}, to: {tier: cold}}
"""
TOLD = [
    (3, "none of its objects is in the tier 'deep'", "they are in cold, hot, warm"),
    (5, "none of its objects has the format 'cvs'", "did you mean `csv`?"),
    (6, "of none of its objects the tag team is 'grwth'", "did you mean `growth`?"),
    (6, "none of its objects has the tag 'clas'", "did you mean `class`?"),
    (7, "of none of its objects the partition key dt is < '2020-01-01'", "known here: 2025-01-31 to 2026-07-01"),
    (7, "of none of its objects the partition key hour is '7'", "known here: 00, 05, 12, x"),
    (7, "none of its objects has the partition key 'hours'", "did you mean `hour`?"),
    (8, "none of its objects has the tier 'hott'", "did you mean `hot`?"),
    (8, "none of its objects has the owner 'anne'", "did you mean `ann`?"),
    (8, "none of its objects has the dataset 'events/wep'", "did you mean `events/web`?"),
    (15, "none of its objects has the tag 'a'", "they have none: give the dataset `tags` in …"),
    (15, "none of its objects has the partition key 'dt'", "they have none: give the dataset `partitions` in …"),
]


def test_what_no_object_has_is_told_by_line(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Numbers compare as the statements compare them: hour 5 is the partition 05. What is disabled is left alone."""
    loaded = policies(tmp_path / "p", settings, ODD)
    found = list(unmatched(loaded, known_datasets(seeded, loaded), settings.datasets))
    assert [(p.line, p.message, str(p.hint).replace("storaged.yaml", "…")) for p in found] == TOLD
    assert all(problem.path.startswith("policies[") for problem in found)


def test_of_too_many_partitions_nothing_is_concluded(
    seeded: Catalog, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partitions that were not read may be those that are named."""
    monkeypatch.setattr("storaged.work.plan.known.MOST_PARTITIONS", 7)
    assert module.MOST_PARTITIONS > 7
    loaded = policies(tmp_path / "p", settings, ODD)
    found = unmatched(loaded, known_datasets(seeded, loaded), settings.datasets)
    assert not any("partition" in p.message for p in found if p.line == 7)


def test_the_command_compares_where_there_is_a_catalog(tmp_path: Path) -> None:
    """Without one it says so; a dataset that was never scanned is told as that; the exit code stays 0."""
    lake = Lake(tmp_path)
    lake.policy(POLICY.replace("format = 'csv'", "format = 'cvs'"))
    answer = lake.good("policy", "check")
    assert "not compared with what the catalog has" in answer.err
    assert "storagectl catalog create" in lake.good("policy", "check", "--json").json["not_compared"]
    lake.good("catalog", "create")
    assert "the catalog has no object of 'lake'" in lake.good("policy", "check").err
    lake.write("a.csv")
    lake.good("scan")
    told = lake.good("policy", "check", "--json")
    assert told.json["not_compared"] is None
    (warning,) = told.json["warnings"]
    assert (warning["line"], warning["hint"]) == (4, "did you mean `csv`?")
    assert "policy.yaml:4 at where" in told.err
