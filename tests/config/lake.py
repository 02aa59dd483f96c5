"""A full storaged.yaml, the smallest one, and what loading either says."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.errors import ConfigError, Problem

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
    prices: aws/us-east-1/standard-ia
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
