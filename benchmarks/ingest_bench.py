"""Ingest against what it could be at best: bare DuckDB over the same lines, and against a plain Python loop.

    python -m benchmarks.ingest_bench [--lines 5000000] [--objects 100000] [--days 7] [--format s3-access|jsonl]

Prints lines per second and ratios. Bare DuckDB and the Python loop only split the lines, keep the successful GETs and
add up reads and bytes by object and day: they survive no malformed line, and know no ledger, no catalog and no heat.
Ingest does all of it into a fresh SQLite catalog; the second ingest of the same file finds every line counted, and the
third one finds them in another order.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb
import sqlalchemy as sa

from storaged.catalog.engine import create_catalog
from storaged.catalog.schema import datasets, objects, tiers
from storaged.clock import DAY, to_datetime
from storaged.work.ingest import IngestReport, LogSource, ingest

START_US = 1_790_000_000_000_000
OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
AGENTS = (
    "Boto3/1.26.90 Python/3.10.6 Linux/5.15.0-1031-aws Botocore/1.29.90",
    "[aws-cli/2.9.19 Python/3.9.11 Linux/5.10.167 exe/x86_64.amzn.2]",
    "S3Console/0.4, aws-internal/3 aws-sdk-java/1.12.488",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
)
REQUESTS = [  # operation, method, status, share
    ("REST.GET.OBJECT", "GET", 200, 75),
    ("REST.GET.OBJECT", "GET", 206, 8),
    ("REST.HEAD.OBJECT", "HEAD", 200, 7),
    ("REST.PUT.OBJECT", "PUT", 200, 5),
    ("REST.GET.OBJECT", "GET", 404, 5),
]
T = TypeVar("T")


def name(key: int) -> str:
    return f"dt=2026-01-{key % 28 + 1:02d}/part-{key:07d}.json"


def s3_lines(lines: int, count: int, days: int, chance: random.Random) -> Iterator[str]:
    step = days * DAY // lines
    dealt = [request for request in REQUESTS for _ in range(request[3])]
    for n in range(lines):
        operation, method, status, _ = dealt[chance.randrange(100)]
        key, size = name(int(count * chance.random() ** 2)), chance.randrange(1_000, 1_000_000)
        sent = size if method == "GET" and status < 300 else "-"
        yield (
            f"{OWNER} bucket [{to_datetime(START_US + n * step):%d/%b/%Y:%H:%M:%S} +0000] 10.0.{n % 250}.{n % 249} "
            f"arn:aws:sts::123456789012:assumed-role/etl/i-{n % 97:04x} {chance.getrandbits(64):016X} {operation} "
            f'events/{key.replace("=", "%253D")} "{method} /events/{key.replace("=", "%3D")} HTTP/1.1" {status} '
            f'{"NoSuchKey" if status == 404 else "-"} {sent} {size} {n % 300} {n % 200} "-" "{AGENTS[n % 4]}" - '
            f"{chance.getrandbits(200):050x}+Ab/cdEfghiJklmn= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader "
            f"bucket.s3.us-west-1.amazonaws.com TLSv1.3 - -\n"
        )


def json_lines(lines: int, count: int, days: int, chance: random.Random) -> Iterator[str]:
    step = days * DAY // lines
    for n in range(lines):
        key = int(count * chance.random() ** 2)
        told = {
            "ts": to_datetime(START_US + n * step).isoformat(timespec="milliseconds"),
            "op": "GET",
            "url": f"s3://bucket/events/{name(key)}",
            "bytes": chance.randrange(1_000, 1_000_000),
            "agent": f"python/3.{key % 9}",
        }
        yield json.dumps(told) + "\n"


BARE = {
    "s3-access": """
        SELECT count(*), sum(reads) FROM (
            SELECT f[9] AS key, f[3][2:12] AS day, count(*) AS reads, sum(CAST(f[15] AS BIGINT)) AS bytes
            FROM (SELECT string_split(line, ' ') AS f FROM read_csv(?, columns = {line: 'VARCHAR'}, header = false,
                delim = e'\\x01', quote = '', escape = '', auto_detect = false, strict_mode = false))
            WHERE f[8] = 'REST.GET.OBJECT' AND f[13] IN ('200', '206') GROUP BY ALL)
    """,
    "jsonl": """
        SELECT count(*), sum(reads) FROM (
            SELECT url, CAST(ts AS DATE) AS day, count(*) AS reads, sum(bytes) AS bytes
            FROM read_json(?, format = 'newline_delimited', columns =
                {ts: 'TIMESTAMPTZ', op: 'VARCHAR', url: 'VARCHAR', bytes: 'BIGINT', agent: 'VARCHAR'})
            WHERE op = 'GET' GROUP BY ALL)
    """,
}


def bare_duckdb(path: Path, kind: str) -> tuple[int, int]:
    """One query over the file: (groups, reads)."""
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        groups, reads = connection.execute(BARE[kind], [str(path)]).fetchall()[0]
    return int(groups), int(reads)


def python_loop(path: Path, kind: str) -> tuple[int, int]:
    """A dict, and split or json.loads: (groups, reads)."""
    reads: dict[tuple[str, str], int] = defaultdict(int)
    moved: dict[tuple[str, str], int] = defaultdict(int)
    with path.open() as file:
        for line in file:
            if kind == "jsonl":
                event = json.loads(line)
                if event["op"] != "GET":
                    continue
                key, nbytes = (event["url"], event["ts"][:10]), event["bytes"]
            else:
                f = line.split(" ")
                if f[7] != "REST.GET.OBJECT" or f[12] not in ("200", "206"):
                    continue
                key, nbytes = (f[8], f[2][1:12]), int(f[14])
            reads[key] += 1
            moved[key] += nbytes
    return len(reads), sum(reads.values())


def timed(label: str, lines: int, work: Callable[[], T]) -> tuple[float, T]:
    """The seconds it took (of the clock) and the result."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    result = work()
    took, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    print(f"{label:24} {took:7.2f} s, cpu {cpu:7.2f} s {lines / took / 1e6:7.3f} million lines/s", flush=True)
    return took, result


def compare(kind: str, lines: int, count: int, days: int, directory: Path) -> None:
    path = directory / f"access.{kind}"
    made = (s3_lines if kind == "s3-access" else json_lines)(lines, count, days, random.Random(1))
    with path.open("w") as file:
        file.writelines(made)
    print(f"\n{kind}: {lines} lines, {path.stat().st_size / 1e6:.0f} MB, {count} objects, {days} days")
    source = LogSource("bench", kind, str(path))
    with create_catalog(f"sqlite:///{directory}/{kind}.db") as catalog:
        with catalog.begin() as conn:
            conn.execute(sa.insert(tiers).values(id=1, name="hot", rank=0, url="s3://b", storage_class="STANDARD"))
            events = {"id": 1, "name": "events", "root": "s3://bucket/events", "tier_id": 1, "registered_us": 0}
            conn.execute(sa.insert(datasets).values(events))
            common = {"dataset_id": 1, "size": 1, "stored_bytes": 1, "mtime_us": 0, "created_us": 0, "tier_id": 1}
            rows = [common | {"name": n} for n in sorted(name(key) for key in range(count))]
            conn.execute(sa.insert(objects), rows)

        def ours(block_bytes: int = 4 << 20) -> IngestReport:
            return ingest(
                catalog,
                source,
                now_us=START_US + (days + 1) * DAY,
                half_life_us=30 * DAY,
                state_dir=directory,
                block_bytes=block_bytes,
            )

        bare, groups = timed("bare DuckDB", lines, lambda: bare_duckdb(path, kind))
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ingested, report = timed("storaged ingest", lines, ours)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{'':24} peak memory {peak / 1024:.0f} MiB, {(peak - base) / 1024:.0f} above the start")
        again, _ = timed("the same again", lines, ours)
        other, recut = timed("in other blocks", lines, lambda: ours(3 << 20))
        bare = min(bare, timed("bare DuckDB", lines, lambda: bare_duckdb(path, kind))[0])
    loop, same = timed("Python loop", lines, lambda: python_loop(path, kind))
    assert groups == same
    assert recut.counted == 0
    print(f"{report.counted} events; {groups[1]} reads in {groups[0]} counts by object and day")
    print(f"ingest / bare DuckDB {bare / ingested:.2f}, / Python loop {loop / ingested:.2f}")
    print(f"again {bare / again:.2f} and {loop / again:.2f}; in other blocks {bare / other:.2f} and {loop / other:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--format", choices=tuple(BARE), action="append")
    chosen = parser.parse_args()
    for kind in chosen.format or BARE:
        with tempfile.TemporaryDirectory() as directory:
            compare(kind, chosen.lines, chosen.objects, chosen.days, Path(directory))


if __name__ == "__main__":
    main()
