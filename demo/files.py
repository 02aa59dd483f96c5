"""The demo's storaged.yaml and policies: as anybody would write them, but for the times, which are a demo's."""

from __future__ import annotations

from typing import Final

from demo.lake import Lake

LEASE_S: Final = 3  # seconds, as in the text below
CATALOG: Final = "storaged.db"

_CONFIG: Final = """\
catalog: sqlite:///{catalog}
state_dir: state
policies: policies
grace: 2s                     # 7d is the default: a demo cannot wait

{tiers}
datasets:
  flights: {{root: "file://{place}/data/flights", partitions: "dt={{dt}}", readers: storaged, owner: ops}}
  weather: {{root: "file://{place}/data/weather", partitions: "dt={{dt}}", readers: storaged, owner: ops}}
  events:  {{root: "file://{place}/data/events", partitions: "dt={{dt}}", readers: storaged, owner: apps}}
  exports: {{root: "file://{place}/data/exports", readers: storaged, owner: ops}}
  charts:  {{root: "file://{place}/data/charts", readers: raw}}     # notebooks read its paths

heat:
  - name: gateway
    format: jsonl
    path: logs/reads-*.jsonl
    since: {since}     # the log is known to be complete from here

workers: {{threads: 2, batch_objects: 200, lease: {lease}s}}     # a lease is 60s unless one is in a hurry
"""

_POLICIES: Final = """\
policies:
  - name: cool-idle-events
    target: {dataset: events, tier: hot}
    when: {idle_for: 30d}
    to: {tier: cold, codec: {pack: {target: 16MiB, level: 9}}}     # many small files: one blob, one request
    schedule: "0 2 * * *"
    mode: active

  - name: cool-idle-tables
    target: {dataset: [flights, weather, charts], tier: hot}
    when: {reads_below: 2/month, size_over: 1KiB}
    to: {tier: warm, codec: {zstd: {level: 9}}}
    limits: {max_objects: 5000}
    schedule: "0 3 * * *"
    mode: active

  - name: archive-exports
    target: {dataset: exports}
    when: {age_over: 365d}
    to: {tier: cold, codec: {zstd: {level: 13}}}
    keep_source: 15s          # its grace; 7d is the default
    mode: dry-run             # the default: its schedule would only plan
"""


def write_files(lake: Lake, *, since: str) -> None:
    """Write storaged.yaml and policies/lake.yaml. `since`: ISO 8601, from when on the access log is complete."""
    for folder in ("logs", "policies"):
        (lake.place / folder).mkdir()
    text = _CONFIG.format(catalog=CATALOG, place=lake.place, tiers=lake.tiers.config(), since=since, lease=LEASE_S)
    (lake.place / "storaged.yaml").write_text(text)
    (lake.place / "policies" / "lake.yaml").write_text(_POLICIES)


def read_raw(lake: Lake, dataset: str) -> None:
    """Say `readers: raw` of a dataset in storaged.yaml, so that no policy moves it any more."""
    path = lake.place / "storaged.yaml"
    before = path.read_text().splitlines(keepends=True)
    after = [
        line.replace("readers: storaged", "readers: raw") if line.startswith(f"  {dataset}:") else line
        for line in before
    ]
    path.write_text("".join(after))
