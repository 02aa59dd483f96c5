"""What the daemon and its user wait for on a catalog of millions of objects.

    python -m benchmarks.large [--objects 10000000] [--postgres URL] [--keep DIRECTORY]

The catalog is made up (benchmarks/large/catalog.py); the commands are those that users run, each in a process of its
own, with its seconds, those of the processor, and its largest memory. Postgres: URL of an empty database; what the
server itself takes is not counted then. No store is behind the objects, so what reads or writes content is not here.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.large.command import run, show
from storaged.clock import DAY, SystemClock, to_datetime

VIEWS: Final = ("v_datasets", "v_objects", "v_jobs", "v_plans", "v_restores", "v_audit")
FEW: Final = """\
policies:
  - name: logs
    target: {dataset: logs, tier: hot}
    when: {idle_for: 90d, size_over: 256KiB}
    to: {tier: cold, codec: zstd}
    require: {payback_within: 365d}
  - name: events
    target: {dataset: events, tier: hot}
    when: {idle_for: 60d, age_over: 30d, size_over: 2MiB}
    to: {tier: warm, codec: zstd}
    require: {payback_within: 180d}
  - name: images
    target: {dataset: images, tier: hot}
    when: {reads_below: 1/month, size_over: 400KiB}
    to: {tier: warm}
  - name: exports
    target: {dataset: exports}
    when: {format: [csv], size_over: 64MiB, idle_for: 30d}
    to: {tier: warm, codec: zstd}
  - name: checkpoints
    target: {dataset: checkpoints}
    when: {idle_for: 150d}
    to: {tier: cold}
    limits: {max_objects: 1000}
  - name: back
    target: {dataset: "*", tier: cold}
    when: {reads_above: 30/month}
    to: {tier: hot}
"""
MANY: Final = """\
policies:
  - {name: logs, target: {dataset: logs, tier: hot}, when: {idle_for: 30d}, to: {tier: cold, codec: zstd}}
  - {name: events, target: {dataset: events, tier: hot}, when: {idle_for: 90d}, to: {tier: warm, codec: zstd}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000_000)
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY")
    args = parser.parse_args()
    place = (args.keep or Path(tempfile.mkdtemp(prefix="storaged-large-"))).resolve()
    try:
        begin = time.perf_counter()
        config = place / "storaged.yaml"
        if not config.exists():
            place.mkdir(exist_ok=True)
            url = args.postgres or f"sqlite:///{place}/catalog.db"  # in a process of its own: its memory is not ours
            subprocess.run(
                [sys.executable, "-m", "benchmarks.large.catalog", place, url, str(args.objects)], check=True
            )
            print(f"{args.objects:,} objects, made in {time.perf_counter() - begin:.0f} s", flush=True)
        if not args.postgres:
            print(f"the catalog has {(place / 'catalog.db').stat().st_size / 2**30:.2f} GiB", flush=True)
        measure(place, config)
    finally:
        if not args.keep:
            shutil.rmtree(place)


def measure(place: Path, config: Path) -> None:
    """All of it, the quick ones first."""
    policies = place / "policies" / "policies.yaml"
    policies.write_text(FEW)
    show("status", config, "status", "--json")
    [found] = json.loads(
        show("sql: one object", config, "sql", "--json", "SELECT object FROM v_objects WHERE dataset = 'logs' LIMIT 1")
    )
    show("explain", config, "explain", f"logs/{found['object']}", "--json")
    for view in VIEWS:
        show(f"sql: count {view}", config, "sql", "--json", f"SELECT count(*) AS n FROM {view}")
    for what, text in (("few", FEW), ("many", MANY)):
        policies.write_text(text)
        told = json.loads(show(f"plan, {what}", config, "plan", "--json"))
        print(f"{'':34} {told['actions']:,} actions", flush=True)
        show(f"plan --why, {what}", config, "plan", "--why", "--json")
    told = json.loads(show("advise", config, "advise", "--json"))
    print(f"{'':34} {len(told['proposals'])} proposals", flush=True)
    reconcile = (sys.executable, "-m", "benchmarks.large.reconcile", str(config))
    cost, out = run("logs", config=config, program=reconcile)
    print(f"{'scan: reconcile':34} {out.strip()}  {cost.memory:.0f} MiB", flush=True)
    number = write_log(place, config)
    show(f"ingest, {number:,} lines", config, "ingest", "--json")


def write_log(place: Path, config: Path) -> int:
    """A log of the day that is ending, with a line for every tenth object. Returns how many."""
    query = "SELECT dataset, object, size FROM v_objects WHERE object LIKE '%7._%' OR object LIKE '%3._%'"
    names = place / "names.csv"
    run("sql", query, "--format", "csv", "-o", str(names), config=config)
    chance, now_us = random.Random(7), SystemClock().now_us()
    lines = [line.rsplit(",", 1) for line in names.read_text().splitlines()[1:]]
    chance.shuffle(lines)
    lines = lines[: len(lines) // 2]
    with (place / "day.jsonl").open("w") as out:
        for n, (path, size) in enumerate(lines):
            dataset, name = path.split(",", 1)
            at = to_datetime(now_us - DAY + n * DAY // len(lines)).isoformat(timespec="milliseconds")
            told = {"ts": at, "op": "GET", "url": f"file://{place}/lake/{dataset}/{name}", "bytes": int(size)}
            out.write(json.dumps(told) + "\n")
    return len(lines)


if __name__ == "__main__":
    main()
