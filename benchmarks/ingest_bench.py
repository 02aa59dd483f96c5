"""Ingest against what it could be at best: bare DuckDB over the same lines, and against a plain Python loop.

    python benchmarks/ingest_bench.py [--lines 2000000] [--objects 100000]

Prints lines per second and ratios. Bare DuckDB and the Python loop only add up reads and bytes by url and day: they
know no ledger, no catalog and no heat. Ingest does all of it into a fresh SQLite catalog; the second ingest of the same
file finds every line counted.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb
import sqlalchemy as sa

from storaged.catalog.engine import create_catalog
from storaged.catalog.schema import datasets, objects, tiers
from storaged.clock import DAY
from storaged.work.ingest import IngestReport, LogSource, ingest

START_US = 1_790_000_000_000_000
DAYS = 7
T = TypeVar("T")


def write_log(path: Path, lines: int, count: int, chance: random.Random) -> None:
    step = DAYS * DAY // lines
    with path.open("w") as file:
        for n in range(lines):
            when = dt.datetime.fromtimestamp((START_US + n * step) / 1e6, dt.UTC)
            key = chance.randrange(count)
            told = {
                "ts": when.isoformat(timespec="milliseconds"),
                "op": "GET",
                "url": f"s3://bucket/events/{name(key)}",
                "bytes": chance.randrange(1_000, 1_000_000),
                "agent": f"python/3.{key % 9}",
            }
            file.write(json.dumps(told) + "\n")


def name(key: int) -> str:
    return f"dt=2026-01-{key % 28 + 1:02d}/part-{key:07d}.json"


def bare_duckdb(path: Path) -> int:
    """DuckDB's own JSON reader with known columns, and one GROUP BY."""
    query = """
        SELECT count(*) FROM (
            SELECT url, CAST(ts AS DATE) AS day, count(*), sum(bytes)
            FROM read_json(?, format = 'newline_delimited', columns =
                {ts: 'TIMESTAMPTZ', op: 'VARCHAR', url: 'VARCHAR', bytes: 'BIGINT', agent: 'VARCHAR'})
            WHERE op = 'GET' GROUP BY ALL)
    """
    with duckdb.connect() as connection:
        return int(connection.execute(query, [str(path)]).fetchall()[0][0])


def python_loop(path: Path) -> int:
    """A dict and json.loads."""
    reads: dict[tuple[str, str], int] = defaultdict(int)
    moved: dict[tuple[str, str], int] = defaultdict(int)
    with path.open() as file:
        for line in file:
            event = json.loads(line)
            if event["op"] == "GET":
                key = event["url"], event["ts"][:10]
                reads[key] += 1
                moved[key] += event["bytes"]
    return len(reads)


def timed(label: str, lines: int, work: Callable[[], T]) -> tuple[float, T]:
    """The seconds it took (of the clock) and the result."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    result = work()
    took, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    print(f"{label:24} {took:7.2f} s, cpu {cpu:7.2f} s {lines / took / 1e6:7.3f} million lines/s", flush=True)
    return took, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--objects", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "access.jsonl")
        write_log(path, chosen.lines, chosen.objects, random.Random(1))
        print(f"{chosen.lines} lines, {path.stat().st_size / 1e6:.0f} MB, {chosen.objects} objects, {DAYS} days")
        source = LogSource("bench", "jsonl", str(path))
        now_us = START_US + (DAYS + 1) * DAY

        with create_catalog(f"sqlite:///{directory}/catalog.db") as catalog:
            with catalog.begin() as conn:
                conn.execute(sa.insert(tiers).values(id=1, name="hot", rank=0, url="s3://b", storage_class="STANDARD"))
                events = {"id": 1, "name": "events", "root": "s3://bucket/events", "tier_id": 1, "registered_us": 0}
                conn.execute(sa.insert(datasets).values(events))
                common = {"dataset_id": 1, "size": 1, "stored_bytes": 1, "mtime_us": 0, "created_us": 0, "tier_id": 1}
                rows = [common | {"name": n} for n in sorted(name(key) for key in range(chosen.objects))]
                conn.execute(sa.insert(objects), rows)

            def ours() -> IngestReport:
                return ingest(catalog, source, now_us=now_us, half_life_us=30 * DAY, state_dir=Path(directory))

            base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ingested, report = timed("storaged ingest", chosen.lines, ours)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"{'':24} peak memory {peak / 1024:.0f} MiB, {(peak - base) / 1024:.0f} above the start")
            assert report.counted == chosen.lines
            again, _ = timed("the same again", chosen.lines, ours)
        bare, groups = timed("bare DuckDB read_json", chosen.lines, lambda: bare_duckdb(path))
        loop, same = timed("Python loop", chosen.lines, lambda: python_loop(path))
        assert groups == same
        print(f"{groups} counts by url and day")
        print(f"ingest / bare DuckDB {bare / ingested:.2f}, / Python loop {loop / ingested:.2f}")
        print(f"again  / bare DuckDB {bare / again:.2f}, / Python loop {loop / again:.2f}")


if __name__ == "__main__":
    main()
