"""A dataset, a hot tier in a directory and a cold one in a bucket, for benchmarks."""

from __future__ import annotations

from pathlib import Path

from storaged.testing.servers import S3Server


def configured(home: Path, server: S3Server, *, root: str, cold: str) -> Path:
    """A storaged.yaml in `home`, and the directories that it names. `root`, `cold`: URLs of dataset `data` and of the
    cold tier."""
    for folder in ("hot", "state", "policies"):
        (home / folder).mkdir(parents=True)
    config = home / "storaged.yaml"
    config.write_text(
        f"""\
catalog: sqlite:///{home}/catalog.db
state_dir: {home}/state
tiers:
  hot: {{rank: 0, url: "file://{home}/hot"}}
  cold: {{rank: 1, url: "{cold}"}}
datasets:
  data: {{root: "{root}", readers: storaged}}
buckets:
  "*": {{endpoint: "{server.endpoint}", region: us-east-1, path_style: true}}
"""
    )
    return config
