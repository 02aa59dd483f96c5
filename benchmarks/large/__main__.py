"""What the daemon and its user wait for on a catalog of millions of objects.

    python -m benchmarks.large [--objects 10000000] [--postgres URL] [--keep DIRECTORY]

The catalog is made up (benchmarks/large/catalog.py); the commands are those that users run, each in a process of its
own, with its seconds, those of the processor, and its largest memory. Postgres: URL of an empty database; what the
server itself takes is not counted then. No store is behind the objects, so what reads or writes content is not here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

PROGRAM: Final = (sys.executable, "-c", "from storaged.cli import main; main()")
AIMS: Final = {"plan": 10.0, "explain": 0.3, "status": 0.3}  # seconds at ten million objects
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


def run(*words: str, config: Path) -> tuple[float, float, float, str]:
    """Seconds, those of the processor, MiB of memory at most, and what a command prints."""
    with tempfile.TemporaryFile("w+") as out:
        begin = time.perf_counter()
        child = subprocess.Popen([*PROGRAM, *words], stdout=out, env=os.environ | {"STORAGED_CONFIG": str(config)})
        _, status, used = os.wait4(child.pid, 0)
        took = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
        out.seek(0)
        return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read()


def show(name: str, config: Path, *words: str, about: str = "") -> str:
    """Run a command and print what it took."""
    took, cpu, memory, out = run(*words, config=config)
    aim = f"aim {AIMS[words[0]]} s" if words[0] in AIMS else ""
    print(f"{name:34} {took:8.2f} s  cpu {cpu:8.2f} s  {memory:7.0f} MiB  {aim} {about}", flush=True)
    return out


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


if __name__ == "__main__":
    main()
