"""Policies that would move an object to and fro are told when they are checked, and those that cannot are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import Settings
from storaged.decide.load import load_policies
from tests.decide.seeding import policies

DOWN = ("events/*", "hot", "warm")
UP = ("*", "warm", "hot")


def one(name: str, way: tuple[str, str | None, str], holds: str, mode: str = "active") -> str:
    dataset, source, to = way
    tier = f", tier: {source}" if source else ""
    where = to if to.startswith("{") else f"{{tier: {to}}}"
    lines = (
        f"- name: {name}",
        f'  target: {{dataset: "{dataset}"{tier}}}',
        f"  {holds}",
        f"  to: {where}",
        f"  mode: {mode}",
    )
    return "".join(f"  {line}\n" for line in lines)


def told(settings: Settings, tmp_path: Path, *parts: str) -> list[str]:
    found = policies(tmp_path / "p", settings, "policies:\n" + "".join(parts))
    return [warning.message for warning in found.warnings]


POSSIBLE = [
    ("when: {read_share_below: 5%/month}", "when: {reads_above: 1/day}"),
    ("when: {tier_full_above: 85%, read_share_below: 5%/month}", "when: {reads_above: 1/day}"),
    ("when: {idle_for: 7d}", "when: {reads_above: 1/day}"),
    ("when: {reads_below: 2/day}", "when: {reads_above: 1/day}"),
    ("when: {age_over: 1d}", "when: {size_under: 1MiB}"),
    ("when: {size_over: 10}", "when: {size_under: 12}"),
    ("when: {format: [csv, json]}", "when: {format: [json, log]}"),
    ("when: {age_over: 1d}", "where: size > 5 OR format = 'csv'"),
    ("where: size > 5", "where: size < 7"),
    ("where: size > stored_bytes", "where: size < 7"),
    ("where: tags->>'team' = 'growth'", "when: {tags: {class: A}}"),
    ("when: {partition: {dt: '<2025'}}", "when: {partition: {dt: '>=2024'}}"),
    ("when: {partition: {dt: '<2025-06'}}", "when: {partition: {dt: '>2025-01'}}"),
    ("where: stored_bytes > 100", "where: stored_bytes < 50"),
    ("where: tier = 'hot' AND size > 5", "where: tier IN ('warm', 'cold')"),
]
IMPOSSIBLE = [
    ("when: {reads_below: 1/day}", "when: {reads_above: 1/day}"),
    ("when: {reads_below: 1/week}", "when: {reads_above: 1/day}"),
    ("when: {size_over: 10}", "when: {size_under: 11}"),
    ("when: {format: csv}", "when: {format: json}"),
    ("when: {tags: {team: growth}}", "when: {tags: {team: core}}"),
    ("when: {tags: {team: nobody}}", "when: {age_over: 1d}"),
    ("where: size > 7", "where: size < 7 AND format = 'csv'"),
    ("where: size > 7", "when: {size_under: 7}"),
    ("where: 7 < size", "where: size <= 7"),
    ("where: size BETWEEN 5 AND 7", "where: (size BETWEEN 8 AND 9)"),
    ("where: format IN ('csv', 'json')", "when: {format: log}"),
    ("where: owner = 'ann'", "where: owner = 'bob'"),
    ("where: dataset = 'events/web'", "where: dataset = 'events/app'"),
    ("where: reads_per_day < 1", "when: {reads_above: 1/day}"),
    ("where: tags->>'team' = 'growth'", "where: tags->>'team' = 'core'"),
    ("when: {partition: {dt: '<2025'}}", "when: {partition: {dt: '>=2025'}}"),
    ("when: {partition: {hour: '<9'}}", "when: {partition: {hour: '>=10'}}"),
    ("when: {partition: {dt: '<2025-01'}}", "when: {partition: {dt: '>2025-06'}}"),
    ("where: name = 'a'", "where: object = 'b'"),
]


# MUST Rest
@pytest.mark.parametrize(("down", "up"), POSSIBLE)
def test_conditions_that_can_hold_together_are_told(down: str, up: str, settings: Settings, tmp_path: Path) -> None:
    [message] = told(settings, tmp_path, one("down", DOWN, down), one("up", UP, up))
    assert message == (
        "the conditions of down and up can hold for the same object: "
        "down moves it to warm, up moves it to hot, and so on"
    )


@pytest.mark.parametrize(("down", "up"), IMPOSSIBLE)
def test_conditions_that_exclude_each_other_are_not(down: str, up: str, settings: Settings, tmp_path: Path) -> None:
    assert told(settings, tmp_path, one("down", DOWN, down), one("up", UP, up)) == []


ANY = "when: {age_over: 1d}"


# MUST Rest
@pytest.mark.parametrize(
    ("one_way", "other_way", "count"),
    [
        (DOWN, ("logs/*", "warm", "hot"), 0),  # no dataset in common
        (DOWN, ("*", "cold", "hot"), 0),  # not from where the other moves to
        (("*", None, "warm"), ("*", None, "hot"), 1),
        (("*", None, "warm"), ("*", "hot", "cold"), 0),  # from cold the first brings it to warm, and there it stays
        (("*", None, "warm"), ("*", "warm", "cold"), 1),
        (("*", "hot", "{codec: zstd}"), ("*", None, "{codec: identity}"), 1),
        (("*", "hot", "{tier: warm, codec: zstd}"), ("*", "warm", "{tier: hot, codec: identity}"), 1),
        (("*", "hot", "{tier: warm, codec: zstd}"), ("*", "warm", "{codec: identity}"), 0),
        (("s3/*", "standard", "{tier: rare, in_place: true}"), ("s3/*", "rare", "{tier: standard, in_place: true}"), 1),
        (("s3/*", "standard", "{tier: rare, in_place: true}"), ("s3/*", "rare", "{tier: standard}"), 0),
    ],
)
def test_where_policies_lead_decides(
    one_way: tuple[str, str | None, str],
    other_way: tuple[str, str | None, str],
    count: int,
    settings: Settings,
    tmp_path: Path,
) -> None:
    assert len(told(settings, tmp_path, one("a", one_way, ANY), one("b", other_way, ANY))) == count


def test_three_policies_can_go_round_too(settings: Settings, tmp_path: Path) -> None:
    ways = [("*", "hot", "warm"), ("*", "warm", "cold"), ("*", "cold", "hot")]
    [message] = told(settings, tmp_path, *(one(name, way, ANY) for name, way in zip("abc", ways, strict=True)))
    assert message.startswith("the conditions of a and b and c can hold for the same object: a moves it to warm")


def test_a_disabled_policy_moves_nothing(settings: Settings, tmp_path: Path) -> None:
    assert told(settings, tmp_path, one("a", DOWN, ANY), one("b", UP, ANY, "disabled")) == []
    assert len(told(settings, tmp_path, one("a", DOWN, ANY), one("b", UP, ANY, "dry-run"))) == 1


def test_policies_of_several_files_are_held_against_each_other(settings: Settings, tmp_path: Path) -> None:
    policies(tmp_path / "p", settings, "policies:\n" + one("down", DOWN, ANY), "a.yaml")
    policies(tmp_path / "p", settings, "policies:\n" + one("up", UP, ANY), "b.yaml")
    [warning] = load_policies(tmp_path / "p", settings).warnings
    assert (Path(warning.file).name, warning.line) == ("b.yaml", 2)
    assert "`rest` (7d)" in str(warning.hint)
