"""Credentials in a URL of storaged.yaml are refused, all at once, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from tests.config.lake import TIERS, problems, write

SECRET = "hunter2hunter2"  # noqa: S105


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIA:{SECRET}@bucket/x",
        f"s3://{SECRET}@bucket",
        f"file://ana:{SECRET}@host/srv",
        f"file:///srv?X-Amz-Signature={SECRET}",
        f"ana:{SECRET}@host/x",
        f"S3://ana:{SECRET}@bucket" + "x" * 3_000,
        f"s3://bucket/x?x-amz-security-token={SECRET}",
        f"s3://ana%3A{SECRET}%40bucket",
    ],
)
def test_every_url_that_carries_one_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    text = f"""\
tiers:
  hot: {{rank: 0, url: "{url}"}}
datasets:
  d: {{root: "{url}"}}
buckets:
  b: {{endpoint: "https://ana:{SECRET}@host"}}
heat:
  - {{name: l, format: jsonl, path: "s3://ana:{SECRET}@logs/*"}}
workers: {{engine: dask, address: "tcp://ana:{SECRET}@host:8786"}}
"""
    found = problems(tmp_path, text)
    told = {(p.line, p.path) for p in found}
    assert told >= {
        (2, "tiers.hot.url"),
        (4, "datasets.d.root"),
        (6, "buckets.b.endpoint"),
        (8, "heat[0].path"),
        (9, "workers.address"),
    }
    assert SECRET not in " ".join(f"{p} {p.hint}" for p in found)


@pytest.mark.parametrize(
    "endpoint",
    [
        f"https://ana:{SECRET}@host:9000",
        f"https://{SECRET}@host",
        f"https://host/?X-Amz-Signature={SECRET}",
        f"https://host/?x=1&Signature={SECRET}",
        f"ana:{SECRET}@host:9000",
        "host:9000",
        "ftp://host",
        "https://",
        "https://host?list",
        "https://host/#x",
        "https://ho st",
    ],
)
def test_an_endpoint_is_the_url_of_a_server_and_nothing_more(tmp_path: Path, endpoint: str) -> None:
    [found] = problems(tmp_path, f'{TIERS}buckets:\n  b: {{endpoint: "{endpoint}"}}\n')
    assert (found.line, found.path) == (4, "buckets.b.endpoint")
    assert SECRET not in f"{found} {found.hint}"


@pytest.mark.parametrize(
    "endpoint", ["https://minio.example.org:9000", "http://127.0.0.1:9000", "http://[::1]:9000/", "https://h/tenant/a"]
)
def test_a_good_endpoint_is_taken(tmp_path: Path, endpoint: str) -> None:
    settings = load_settings(write(tmp_path, f'{TIERS}buckets:\n  b: {{endpoint: "{endpoint}"}}\n'))
    assert settings.buckets["b"].endpoint == endpoint
