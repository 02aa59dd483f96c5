"""`storagectl ingest`, of logs that are in a store."""

from __future__ import annotations

import json

from tests.cli.lake import Lake

LINE = (
    "79a5 bucket [01/Feb/2026:00:00:38 +0000] 192.0.2.3 {who} {n} REST.GET.OBJECT {key}"
    ' "GET /x HTTP/1.1" 200 - 113 5 7 2 "-" "curl/8" - h= SigV4 c AuthHeader h TLSv1.2 - -\n'
)


def test_server_access_logs_in_a_store_are_ingested_as_configured(lake: Lake) -> None:
    """The source's store, datasets and excluded requesters are those of storaged.yaml."""
    logs = lake.place / "logs"
    logs.mkdir()
    log = {
        "name": "s3",
        "format": "s3-access",
        "path": f"file://{logs}/**",
        "since": "2026-01-01T00:00:00Z",
        "datasets": ["elsewhere"],
        "exclude_requesters": ["*:role/storaged"],
    }
    lake.configure(more=f"heat: [{json.dumps(log)}]\n")
    lake.fill()
    lines = [LINE.format(who=who, n=n, key="a.csv") for n, who in enumerate(("aws:role/storaged", "aws:role/etl"))]
    (logs / "2026-02-01").write_text("".join(lines))
    (told,) = lake.good("ingest", "s3", "--json").json["sources"]
    assert (told["files"], told["excluded"], told["unknown"], told["coverage"]) == (1, 1, 1, {})
    assert lake.good("ingest", "s3", "--json").json["sources"][0]["files"] == 0
