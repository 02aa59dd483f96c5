"""storaged.yaml: what it becomes, and every way in which it can be wrong."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from storaged.config.settings import load_settings
from storaged.model import Dataset, Readers, Tier
from tests.config.lake import FULL, TIERS, problems, write

DAY = 86_400_000_000


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
        "cold": Tier(
            "cold", 2, "s3://bucket/cold", "STANDARD_IA", 0.05, 2**42, 0.85, 0.70, "aws/us-east-1/standard-ia"
        ),
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
        "max_spend_per_month": None,
    }
    assert loaded.workers.model_dump() == {
        "engine": "threads",
        "address": None,
        "threads": 4,
        "batch_objects": 50,
        "batch_bytes": 2**20,
        "lease": 90_000_000,
    }


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
    assert (loaded.workers.threads, loaded.workers.batch_objects) == (8, 1000)
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
    ("- tiers\n", 1, "", "a mapping of keys to values is wanted", "catalog, cpu_hour, daemon, datasets"),
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
    in_source("format: spool", "format", "is not one of jsonl, s3-access", ""),
    in_source("datasets: []", "datasets", "at least 1", ""),
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


def test_true_is_no_rank_that_another_tier_could_share(tmp_path: Path) -> None:
    """In Python true equals 1; in the file it does not."""
    text = "tiers:\n  a: {rank: 1, url: 'memory://a'}\n  b: {rank: true, url: 'memory://b'}\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.line, problem.message) == (3, "a whole number is wanted here, not true")


def test_logs_may_be_in_a_store_and_tell_of_some_datasets(tmp_path: Path) -> None:
    """Their place is left as it is, and how late they are is the format's to say."""
    log = (
        "{name: lake, format: s3-access, path: s3://logs/lake/**, datasets: [lake/*], exclude_requesters: ['*:role/x']}"
    )
    (source,) = load_settings(write(tmp_path, f"{TIERS}heat: [{log}]\n")).heat
    assert (source.format, source.path, source.lag) == ("s3-access", "s3://logs/lake/**", None)
    assert (source.datasets, source.exclude_requesters) == (["lake/*"], ["*:role/x"])


def test_two_logs_have_two_names(tmp_path: Path) -> None:
    """What was counted of a log is remembered by its name."""
    text = f"{TIERS}heat:\n  - {{name: a, format: jsonl, path: x}}\n  - {{name: a, format: jsonl, path: y}}\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.line, problem.path) == (5, "heat[1].name")
    assert problem.message == "name a is the name of heat[0] too"


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
