"""Advice about a bucket: a class that changes in place, or another form in a colder tier."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from storaged.cli.app import run
from storaged.testing.servers import ENVIRONMENT, REGION, MotoServer
from tests.pages.trades import market

CONFIG = """\
catalog: sqlite:///storaged.db
tiers:
  hot: {{rank: 0, url: "s3://acme-tiers/hot", prices: aws/us-east-1/standard}}
  cold: {{rank: 1, url: "s3://acme-tiers/cold", storage_class: STANDARD_IA, prices: aws/us-east-1/standard-ia}}
datasets:
  ticks: {{root: "s3://acme-market/ticks", readers: {readers}}}
heat:
  - {{name: s3, format: s3-access, path: "s3://acme-access-logs/acme-market/**", since: 2025-10-01T00:00:00Z}}
buckets:
  "acme-*": {{endpoint: "{endpoint}", region: {region}, path_style: true}}
"""


@pytest.mark.parametrize(
    ("readers", "proposed", "dropped"),
    [
        ("storaged", ["advised-3-idle-parquet", "advised-6-parquet"], {"advised-1-class": "others save more"}),
        (
            "raw",
            ["advised-1-class", "advised-6-parquet"],
            {"advised-3-idle-parquet": "beside the policies before it: no object is left for it"},
        ),
    ],
)
def test_a_class_in_place_is_proposed_where_programs_read_the_keys_or_it_saves_more(
    readers: str,
    proposed: list[str],
    dropped: dict[str, str],
    moto: MotoServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("storaged.yaml").write_text(CONFIG.format(readers=readers, endpoint=moto.endpoint, region=REGION))
    with market(moto):
        for words in (["catalog", "create"], ["scan"], ["ingest"]):
            assert run(words) == 0
        with redirect_stdout(StringIO()) as out:
            assert run(["advise", "--json"]) == 0
    told = json.loads(out.getvalue())
    assert sorted(p["policy"] for p in told["proposals"]) == proposed
    assert {p["policy"]: p["why"] for p in told["not_proposed"]} == dropped
