"""storaged.yaml: what it becomes, and every way in which it can be wrong."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from storaged.config.settings import find_config, load_settings, settings_schema
from storaged.config.starter import starter_text
from storaged.errors import ConfigError, Problem, UsageError
from storaged.model import Dataset, Readers, Tier

DAY = 86_400_000_000
FULL = """\
catalog: sqlite:///lake.db
state_dir: var
policies: rules
quiet_for: 2h
grace: 14d
late_put_window: 3d
half_life: 60d
tiers:
  cold:
    rank: 2
    url: s3://bucket/cold/
    storage_class: STANDARD_IA
    read_latency: 50ms
    capacity: {size: 4TiB, high: 85%, low: 70%}
    prices: aws/us-east-1
  hot: {rank: 0, url: "file:///srv/hot"}
datasets:
  events/clicks:
    root: file:///srv/data/clicks
    owner: ana
    tags: {team: growth}
    partitions: dt={dt}/hour={hour}
    readers: storaged
    hold: case 7
    pin: cold
  plain: {root: "file:///srv/data/plain", tier: cold}
heat:
  - {name: reads, format: jsonl, path: logs/*.jsonl, lag: 30m, since: "2026-01-31T00:00:00Z"}
limits: {max_objects: 10, max_bytes: 1GB, max_percent: 20, stop_on_error_rate: 2%, max_spend: 50 USD}
workers: {threads: 4, batch_objects: 50, batch_bytes: 1MiB, lease: 90s}
"""
TIERS = "tiers:\n  hot: {rank: 0, url: 'file:///srv/hot'}\n"


def write(path: Path, text: str) -> Path:
    """storaged.yaml with this text."""
    file = path / "storaged.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(path: Path, text: str) -> list[Problem]:
    """All that is wrong with it."""
    file = write(path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert {problem.file for problem in caught.value.problems} == {str(file)}
    return list(caught.value.problems)


def test_a_full_file_becomes_values_in_bytes_and_microseconds(tmp_path: Path) -> None:
    """Every key of the file arrives, relative paths from the file's directory."""
    loaded = load_settings(write(tmp_path, FULL))
    assert loaded.file == tmp_path / "storaged.yaml"
    assert loaded.catalog == f"sqlite:///{tmp_path}/lake.db"
    assert (loaded.state_dir, loaded.policies) == (tmp_path / "var", tmp_path / "rules")
    assert (loaded.quiet_for, loaded.grace, loaded.late_put_window, loaded.half_life) == (
        DAY // 12,
        14 * DAY,
        3 * DAY,
        60 * DAY,
    )
    assert loaded.hottest == "hot"
    assert loaded.tier_values == {
        "cold": Tier("cold", 2, "s3://bucket/cold", "STANDARD_IA", 0.05, 2**42, 0.85, 0.70, "aws/us-east-1"),
        "hot": Tier("hot", 0, "file:///srv/hot"),
    }
    assert loaded.dataset_values == {
        "events/clicks": Dataset(
            "events/clicks",
            "file:///srv/data/clicks",
            "hot",
            "ana",
            {"team": "growth"},
            "dt={dt}/hour={hour}",
            Readers.STORAGED,
            "case 7",
            "cold",
        ),
        "plain": Dataset("plain", "file:///srv/data/plain", "cold"),
    }
    (source,) = loaded.heat
    assert (source.name, source.format, source.path) == ("reads", "jsonl", f"{tmp_path}/logs/*.jsonl")
    assert (source.lag, source.since) == (DAY // 48, dt.datetime(2026, 1, 31, tzinfo=dt.UTC))
    assert loaded.limits.model_dump() == {
        "max_objects": 10,
        "max_bytes": 10**9,
        "max_percent": 0.2,
        "stop_on_error_rate": 0.02,
        "max_spend": "50 USD",
    }
    assert loaded.workers.model_dump() == {"threads": 4, "batch_objects": 50, "batch_bytes": 2**20, "lease": 90_000_000}


def test_a_file_of_one_tier_is_enough(tmp_path: Path) -> None:
    """Everything else has a default."""
    loaded = load_settings(write(tmp_path, TIERS))
    assert loaded.catalog == f"sqlite:///{tmp_path}/storaged.db"
    assert (loaded.state_dir, loaded.policies) == (tmp_path / "state", tmp_path / "policies")
    assert (loaded.quiet_for, loaded.grace, loaded.late_put_window, loaded.half_life) == (
        DAY // 24,
        7 * DAY,
        7 * DAY,
        30 * DAY,
    )
    assert (loaded.datasets, loaded.heat, loaded.limits.max_objects) == ({}, [], None)
    assert (loaded.workers.threads, loaded.workers.batch_objects) == (2, 1000)
    assert (loaded.workers.batch_bytes, loaded.workers.lease) == (256 * 2**20, 60_000_000)


def test_a_directory_with_odd_characters_keeps_its_catalog(tmp_path: Path) -> None:
    """Spaces, question marks and percent signs in our own directory survive the way through a URL."""
    odd = tmp_path / "a b?c#d%20é"
    odd.mkdir()
    assert make_url(load_settings(write(odd, TIERS)).catalog).database == str(odd / "storaged.db")


@pytest.mark.parametrize("catalog", ["postgresql://user@host/lake", "postgresql+psycopg:///lake?host=/run/postgresql"])
def test_a_postgres_catalog_is_kept_as_written(tmp_path: Path, catalog: str) -> None:
    """Only SQLite files are made absolute."""
    assert load_settings(write(tmp_path, f"catalog: {catalog}\n{TIERS}")).catalog == catalog


Case = tuple[str, int, str, str, str]  # text, line, YAML path, part of the message, part of the hint


def in_file(line: str, path: str, message: str, hint: str) -> Case:
    """A line after the tiers."""
    return f"{TIERS}{line}\n", 3, path, message, hint


def in_tier(line: str, key: str, message: str, hint: str) -> Case:
    """A line of a tier, after its rank."""
    return f"tiers:\n  hot:\n    rank: 0\n    {line}\n", 4, f"tiers.hot.{key}", message, hint


def in_capacity(values: str, key: str, message: str, hint: str) -> Case:
    """The capacity of a tier."""
    text = f"{TIERS}  w:\n    rank: 1\n    url: memory://x\n    capacity: {{{values}}}\n"
    return text, 6, f"tiers.w.capacity.{key}", message, hint


def in_dataset(line: str, key: str, message: str, hint: str) -> Case:
    """A line of a dataset, after its root."""
    text = f"{TIERS}datasets:\n  x:\n    root: memory://x\n    {line}\n"
    return text, 6, f"datasets.x.{key}", message, hint


def named(dataset: str, path: str) -> Case:
    """A dataset of this name."""
    text = f"{TIERS}datasets:\n  {dataset}: {{root: 'memory://x'}}\n"
    return text, 4, f"datasets.{path}", "cannot be the name of a dataset", "letters, digits"


def in_source(line: str, key: str, message: str, hint: str) -> Case:
    """A line of a heat source, before those that it needs."""
    source = {"name": "a", "format": "jsonl", "path": "x"}
    rest = "".join(f"    {name}: {value}\n" for name, value in source.items() if name != key)
    return f"{TIERS}heat:\n  - {line}\n{rest}", 4, f"heat[0].{key}", message, hint


WRONG = [
    ("datasets: {}\n", 1, "tiers", "`tiers` is missing", "The tiers by name"),
    ("grace: 1d\ntiers: {}\n", 2, "tiers", "at least 1 entry is needed", ""),
    ("- tiers\n", 1, "", "a mapping of keys to values is wanted", "catalog, datasets"),
    in_file("grcae: 7d", "grcae", "unknown key `grcae`", "did you mean `grace`?"),
    in_file("grace: 7", "grace", "7 has no unit of time", "14d"),
    in_file("grace: 1month", "grace", "'1month' is not a duration", "30d for a month"),
    in_file("half_life: 1m", "half_life", "1m is too short", "at least 1h"),
    in_file("state_dir: ~/state", "state_dir", "~ does not stand for a home directory", "whole path"),
    in_file("policies: 5", "policies", "text is wanted here, not 5", '"5"'),
    in_file("catalog: lake.db", "catalog", "not the URL of a database", "sqlite:///"),
    in_file("catalog: 'sqlite://'", "catalog", "three slashes", "sqlite:///"),
    in_file("catalog: 'sqlite:///:memory:'", "catalog", "not a plain file", "sqlite:///"),
    in_file("catalog: sqlite:///a?mode=ro", "catalog", "three slashes", "sqlite:///"),
    in_file("catalog: sqlite:///%00", "catalog", "three slashes", "sqlite:///"),
    in_file("catalog: postgres://h/d", "catalog", "'postgres' is no kind of catalog", "postgresql://"),
    in_file("catalog: mysql://h/d", "catalog", "'mysql' is no kind of catalog", "postgresql://"),
    in_file("catalog: postgresql://u:hunter2@h/d", "catalog", "a password cannot stand", "CATALOG_PASSWORD_FILE"),
    in_file("catalog: postgresql://h/d?password=hunter2", "catalog", "a password cannot stand", "PGPASSWORD"),
    ("tiers:\n  auto: {rank: 0, url: 'memory://x'}\n", 2, "tiers.auto", "cannot be the name of a tier", "cheapest"),
    ("tiers:\n  a b: {rank: 0, url: 'memory://x'}\n", 2, 'tiers."a b"', "cannot be a name", "letters, digits"),
    ("tiers:\n  hot:\n    rank: 0\n", 2, "tiers.hot.url", "`url` is missing", "file:///srv/tiers/hot"),
    ("tiers:\n  hot:\n    rank: -1\n    url: memory://x\n", 3, "tiers.hot.rank", "-1 is not at least 0", ""),
    ("tiers:\n  hot:\n    rank: true\n    url: memory://x\n", 3, "tiers.hot.rank", "a whole number is wanted", ""),
    in_file("  w: {rank: 0, url: 'memory://x'}", "tiers.w.rank", "rank 0 is the rank of tiers.hot too", "hottest"),
    in_tier("url: /srv/hot", "url", "no scheme", "write file:///srv/hot"),
    in_tier("url: srv/hot", "url", "no scheme", "file:///srv/data"),
    in_tier("url: file:hot", "url", "not an absolute path", "file:///srv/data"),
    in_tier("url: file:/srv/hot", "url", "not an absolute path", "three slashes"),
    in_tier("url: file://srv/hot", "url", "not an absolute path", "three slashes"),
    in_tier("url: file:///hot/../x", "url", ". or .. segment", "plain path"),
    in_tier("url: file:///a%20b", "url", "one of the characters %", "spaces too"),
    in_tier('url: "file:///a\\nb"', "url", "broken in two", "file:///srv/data"),
    in_tier("url: S3://b", "url", "not in lower case", "s3://bucket"),
    in_tier("url: 's3:'", "url", "no // after its scheme", "s3://bucket"),
    in_tier("url: s3:///x", "url", "names no bucket or host", "s3://bucket"),
    in_tier("url: s3://key:hun/ter2@b", "url", "a password cannot stand", "credentials"),
    in_tier(f"url: s3://{'b' * 2000}", "url", "longer than 2000", "s3://bucket"),
    in_capacity("size: 1TB, high: 50%, low: 60%", "low", "low (60%) is not below high (50%)", "high: 85%"),
    in_capacity("size: 1TB, high: 50%, low: 50%", "low", "low (50%) is not below high (50%)", "high: 85%"),
    in_capacity("size: 0, high: 9%, low: 8%", "size", "0 is not more than 0", ""),
    in_capacity("size: 1B, high: 900%, low: 8%", "high", "'900%' is not between", "20%"),
    in_capacity("size: 1B, high: 0.9, low: 8%", "high", "0.9 could be meant as", "% sign"),
    in_capacity("size: 1B, high: 9%", "low", "`low` is missing", "Moving out stops"),
    (f"{TIERS}datasets:\n  x:\n    tier: hot\n", 4, "datasets.x.root", "`root` is missing", "file:///srv/data"),
    named("/x", "/x"),
    named("x//y", "x//y"),
    named("x/../y", '"x/../y"'),
    named("x/.", '"x/."'),
    named(".storaged", '".storaged"'),
    named("''", '""'),
    named("x y", '"x y"'),
    named("x" * 201, "x" * 201),
    in_dataset("pin: hto", "pin", "there is no tier `hto`", "did you mean `hot`?"),
    in_dataset("tier: ice", "tier", "there is no tier `ice`", "known here: hot"),
    in_dataset("tier: ''", "tier", "this text is empty", ""),
    in_dataset("hold: ''", "hold", "this text is empty", ""),
    in_dataset("hold:", "hold", "there is no value here", "remove the line"),
    in_dataset("readers: rwa", "readers", "'rwa' is not one of raw, storaged", "did you mean `raw`?"),
    in_dataset("owner: 7", "owner", "text is wanted here, not 7", '"7"'),
    in_dataset("tags: {year: 2026}", "tags.year", "text is wanted", '"2026"'),
    in_source("format: csv", "format", "'csv' is not one of jsonl", ""),
    in_source("since: yesterday", "since", "a date and time is wanted", "2026-01-31T00:00:00Z"),
    in_source("since: 2026-01-31T00:00:00", "since", "a time zone is wanted", "2026-01-31T00:00:00Z"),
    in_source("name: b c", "name", "cannot be a name", "letters, digits"),
    in_file("heat: {name: a}", "heat", "a list is wanted here, not a mapping", "- "),
    in_file("limits: {max_objects: 0}", "limits.max_objects", "0 is not at least 1", ""),
    in_file("limits: {max_bytes: 1XB}", "limits.max_bytes", "'1XB' is not a size", "1TiB"),
    in_file("limits: {max_percent: 120%}", "limits.max_percent", "not between 0% and 100%", "20%"),
    in_file("limits: {max_spend: $50}", "limits.max_spend", "'$50' is not an amount of money", "50 USD"),
    in_file("workers: {threads: 0}", "workers.threads", "0 is not at least 1", ""),
    in_file("workers: {lease: 10ms}", "workers.lease", "10ms is too short", "at least 1s"),
]


@pytest.mark.parametrize(("text", "line", "path", "message", "hint"), WRONG)
def test_bad_input_is_told_with_line_path_words_and_hint(
    tmp_path: Path, text: str, line: int, path: str, message: str, hint: str
) -> None:
    """One mistake each, and exactly one problem for it; nothing that may be a password is repeated."""
    (problem,) = problems(tmp_path, text)
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message
    assert hint in (problem.hint or "")
    assert "hunter2" not in str(problem)
    assert "ter2@" not in str(problem)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("dt={dt}/{dt}", "twice"),
        ("dt={1x}", "not a plain word"),
        ("dt={}", "not a plain word"),
        ("dt={dt!r}", "not a plain word"),
        ("dt={dt", "brace too many"),
        ("{{dt}}", "brace too many"),
        ("plain", "no placeholder"),
        ("{a}{b}", "nothing between"),
        ("/dt={dt}", "slash too many"),
        ("dt={dt}//h={h}", "slash too many"),
    ],
)
def test_a_partition_pattern_has_each_placeholder_once(tmp_path: Path, pattern: str, message: str) -> None:
    """Anything that could be read in two ways is refused."""
    (problem,) = problems(tmp_path, f"{TIERS}datasets:\n  x: {{root: 'memory://x', partitions: '{pattern}'}}\n")
    assert (problem.line, problem.path) == (4, "datasets.x.partitions")
    assert message in problem.message
    assert "dt={dt}" in (problem.hint or "") or "one place" in (problem.hint or "")


@pytest.mark.parametrize(
    ("tier", "root", "line", "path", "message"),
    [
        ("file:///srv/lake", "file:///srv/lake/data", 6, "datasets.d.root", "the root of `d` lies inside tier `t`"),
        ("file:///srv/lake/hot", "file:///srv/lake", 3, "tiers.t.url", "tier `t` lies inside the root of `d`"),
        (
            "file:///srv/lake",
            "file:///srv/lake/",
            6,
            "datasets.d.root",
            "the root of `d` is the same place as tier `t`",
        ),
        ("s3://lake/hot", "s3://lake", 3, "tiers.t.url", "tier `t` lies inside the root of `d`"),
        ("s3://lake/hot", "s3://lake/hot/data", 6, "datasets.d.root", "the root of `d` lies inside tier `t`"),
        ("memory://lake", "memory://lake", 6, "datasets.d.root", "the same place"),
        ("file:///srv/lake", "file:///", 3, "tiers.t.url", "tier `t` lies inside the root of `d`"),
    ],
)
def test_roots_and_tiers_must_lie_apart(
    tmp_path: Path, tier: str, root: str, line: int, path: str, message: str
) -> None:
    """One inside the other would be scanned as data; the inner one is blamed."""
    text = f"tiers:\n  t:\n    url: {tier}\n    rank: 0\ndatasets:\n  d: {{root: '{root}'}}\n"
    found = [problem for problem in problems(tmp_path, text) if problem.path == path]
    assert [(problem.line, problem.path) for problem in found] == [(line, path)]
    assert message in found[0].message


def test_names_that_only_begin_alike_are_apart(tmp_path: Path) -> None:
    """Prefixes count on the borders of segments, and stores of other kinds never meet."""
    text = (
        "tiers:\n  a: {rank: 0, url: 's3://lake/hot'}\n  b: {rank: 1, url: 's3://lake/hotter'}\n"
        "datasets:\n  d: {root: 's3://lake2'}\n  e: {root: 'memory://lake/hot'}\n  f: {root: 'file:///lake/hot'}\n"
        "  g: {root: 'file:///lake/hot2'}\n"
    )
    assert len(load_settings(write(tmp_path, text)).datasets) == 4


def test_two_logs_have_two_names(tmp_path: Path) -> None:
    """What was counted of a log is remembered by its name."""
    text = f"{TIERS}heat:\n  - {{name: a, format: jsonl, path: x}}\n  - {{name: a, format: jsonl, path: y}}\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.line, problem.path) == (5, "heat[1].name")
    assert problem.message == "name a is the name of heat[0] too"


def test_two_tiers_and_two_roots_must_lie_apart_too(tmp_path: Path) -> None:
    """Nesting among tiers and among roots is as bad."""
    text = (
        "tiers:\n  a: {rank: 0, url: 'memory://t/a'}\n  b: {rank: 1, url: 'memory://t/a/b'}\n"
        "datasets:\n  c: {root: 'memory://d/c/x'}\n  d: {root: 'memory://d/c'}\n"
    )
    assert [(p.line, p.path) for p in problems(tmp_path, text)] == [(3, "tiers.b.url"), (5, "datasets.c.root")]


def test_a_symbolic_link_does_not_hide_nesting(tmp_path: Path) -> None:
    """What counts is where a path leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = f"tiers:\n  t: {{rank: 0, url: 'file://{tmp_path}/real'}}\ndatasets:\n  d: {{root: 'file://{tmp_path}/link/in'}}\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.line, problem.path) == (4, "datasets.d.root")
    assert f"{tmp_path}/real/in is in {tmp_path}/real" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ("catalog: sqlite:///in/storaged.db\nstate_dir: out\n", 1, "catalog"),
        ("catalog: sqlite:///out.db\nstate_dir: in/state\n", 2, "state_dir"),
        ("catalog: sqlite:///out.db\nstate_dir: in\n", 2, "state_dir"),
        ("catalog: sqlite:///link/a.db\nstate_dir: out\n", 1, "catalog"),
    ],
)
@pytest.mark.parametrize(
    "section",
    [
        "tiers:\n  t: {{rank: 0, url: '{0}'}}\n",
        "tiers:\n  t: {{rank: 0, url: 'memory://t'}}\ndatasets:\n  d: {{root: '{0}'}}\n",
    ],
)
def test_our_own_files_lie_outside_of_roots_and_tiers(
    tmp_path: Path, section: str, text: str, line: int, path: str
) -> None:
    """A scan or a sweep must never meet the catalog or the state directory, by whatever name."""
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (problem,) = problems(tmp_path, text + section.format(f"file://{tmp_path}/in"))
    assert (problem.line, problem.path) == (line, path)


def test_the_default_catalog_and_state_are_checked_too(tmp_path: Path) -> None:
    """A tier around storaged.yaml would hold the catalog beside it."""
    found = problems(tmp_path, f"tiers:\n  t: {{rank: 0, url: 'file://{tmp_path}'}}\n")
    assert {(problem.line, problem.path) for problem in found} == {(1, "state_dir"), (1, "catalog")}


def test_tiers_may_lie_inside_the_state_directory(tmp_path: Path) -> None:
    """A daemon may keep everything under one directory."""
    text = f"state_dir: .\ntiers:\n  t: {{rank: 0, url: 'file://{tmp_path}/hot'}}\n"
    assert load_settings(write(tmp_path, text)).state_dir == tmp_path


def test_contradictions_and_bad_values_come_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    """A bad value in an entry does not hide that the entry lies in a wrong place."""
    text = (
        "tiers:\n  a: {rank: 0, url: 'memory://t', colour: blue}\n"
        "  b: {rank: 0, url: 'memory://t/b', read_latency: 5}\n"
        "datasets:\n  d: {root: 'memory://t/d', pin: c, readers: x}\nworkers: {threads: many}\n"
    )
    assert [(problem.line, problem.path) for problem in problems(tmp_path, text)] == [
        (2, "tiers.a.colour"),
        (3, "tiers.b.rank"),
        (3, "tiers.b.url"),
        (3, "tiers.b.read_latency"),
        (5, "datasets.d.pin"),
        (5, "datasets.d.root"),
        (5, "datasets.d.readers"),
        (6, "workers.threads"),
    ]


def _mutated(data: st.DataObject) -> str:
    lines = FULL.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(("drop", "double", "indent", "value", "cut", "insert"))):
            case "drop":
                lines[index] = ""
            case "double":
                lines.insert(index, lines[index])
            case "indent":
                lines[index] = f"  {lines[index]}"
            case "value":
                value = data.draw(
                    st.one_of(
                        st.text(max_size=20), st.integers().map(str), st.sampled_from(["[]", "{}", "~", "-1", "0"])
                    )
                )
                lines[index] = f"{lines[index].partition(':')[0]}: {value}"
            case "cut":
                lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))]
            case _:
                lines.insert(index, data.draw(st.text(max_size=20)))
    return "\n".join(lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_mutated_file_loads_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Nothing but ConfigError comes out, and each problem has a place in the file."""
    file = tmp_path / "storaged.yaml"
    file.write_bytes(_mutated(data).encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        load_settings(file)


_TREE = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-5, 5),
        st.floats(-2, 200),
        st.text(max_size=8),
        st.sampled_from(["1d", "5%", "memory://x"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "catalog",
                    "tiers",
                    "hot",
                    "rank",
                    "url",
                    "datasets",
                    "root",
                    "tier",
                    "heat",
                    "name",
                    "limits",
                    "capacity",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(st.sampled_from(["catalog", "state_dir", "tiers", "datasets", "heat", "limits", "workers"]), _TREE)
)
def test_a_file_of_wrong_kinds_is_refused(tmp_path: Path, tree: dict[str, Any]) -> None:
    """Lists for mappings, numbers for text, anything anywhere: problems, no crash."""
    with suppress(ConfigError):
        load_settings(write(tmp_path, yaml.safe_dump(tree, allow_unicode=True)))


def test_the_starter_loads_as_it_is(tmp_path: Path) -> None:
    """Three local tiers, one dataset, and limits."""
    loaded = load_settings(write(tmp_path, starter_text()))
    assert sorted(loaded.tiers, key=lambda name: loaded.tiers[name].rank) == ["hot", "warm", "cold"]
    assert loaded.hottest == "hot"
    assert list(loaded.datasets) == ["example"]
    assert loaded.limits.max_percent == 0.2


def test_what_the_starter_has_in_comments_loads_too(tmp_path: Path) -> None:
    """Uncommenting an example never breaks the file."""
    options = re.sub(
        r"(?m)^( *)# (?=(capacity|partitions|pin|hold|heat|  - name|    (format|path|since)):)", r"\1", starter_text()
    )
    loaded = load_settings(write(tmp_path, options))
    assert loaded.tiers["cold"].capacity is not None
    assert loaded.datasets["example"].pin == "hot"
    assert loaded.datasets["example"].hold == "case 2026-17"
    assert loaded.datasets["example"].partitions == "dt={dt}/hour={hour}"
    assert [source.name for source in loaded.heat] == ["reads"]


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section in {"Settings": schema, **schema["$defs"]}.items():
        for key, value in section.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_every_field_of_the_schema_has_a_description() -> None:
    """Editors show it while one types."""
    undescribed = [name for name, value in _properties(settings_schema()) if not value.get("description")]
    assert undescribed == []
    assert len(list(_properties(settings_schema()))) > 35
    json.dumps(settings_schema())


def test_defaults_in_the_schema_are_as_people_write_them() -> None:
    """A default that an editor fills in must be read as the same value."""
    defaults = {name: value["default"] for name, value in _properties(settings_schema()) if "default" in value}
    assert defaults["Settings.grace"] == "7d"
    assert defaults["WorkerSettings.batch_bytes"] == "256MiB"
    assert defaults["WorkerSettings.lease"] == "60s"
    assert "DatasetSettings.tier" not in defaults


def test_the_configuration_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As named, then the environment, then here, then the home directory."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home/.config/storaged/storaged.yaml"
    home.parent.mkdir(parents=True)
    for file in (home, tmp_path / "named.yaml", tmp_path / "env.yaml", tmp_path / "storaged.yaml"):
        file.touch()
    environ = {"STORAGED_CONFIG": str(tmp_path / "env.yaml"), "HOME": str(tmp_path / "home")}
    assert find_config(tmp_path / "named.yaml", environ) == tmp_path / "named.yaml"
    assert find_config(None, environ) == tmp_path / "env.yaml"
    del environ["STORAGED_CONFIG"]
    assert find_config(None, environ) == Path("storaged.yaml")
    (tmp_path / "storaged.yaml").unlink()
    assert find_config(None, environ) == home


def test_a_configuration_that_is_nowhere_is_told_with_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it looked, and the command that writes one; what was named is not replaced by something else."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path}/.config/storaged/storaged.yaml")) as caught:
        find_config(None, {"HOME": str(tmp_path)})
    assert "/etc/storaged/storaged.yaml" in caught.value.message
    assert "storagectl init" in str(caught.value.hint)
    (tmp_path / "storaged.yaml").touch()
    with pytest.raises(UsageError, match=re.escape("env.yaml")):
        find_config(None, {"STORAGED_CONFIG": "env.yaml"})
    with pytest.raises(UsageError, match=re.escape("named.yaml")):
        find_config(Path("named.yaml"), {})
