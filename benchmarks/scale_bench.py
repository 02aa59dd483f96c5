"""How work scales: objects a second with 1, 2, 4 and 8 threads, and with 1, 2 and 3 processes on one Postgres catalog.

    python -m benchmarks.scale_bench [--objects 4000] [--rounds 3] [--postgres URL]

Small logs (2 KiB) go from a directory to another as zstd, with all of the proof. Seconds are those of the clock, from
the start of the first process to the end of the last, medians of rounds; each begins with files and a catalog made
anew. A machine with other work on it shows less than there is. `--postgres`: an empty server to make databases on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from benchmarks.command import BIN
from benchmarks.large import life
from benchmarks.large.command import run
from storaged.catalog.engine import parse_url

THREADS = (1, 2, 4, 8)
PROCESSES = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL", help="such as postgresql://postgres@host:5432/postgres")
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    print(f"{args.objects:,} objects of 2 KiB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}")
    try:
        asked = [(threads, 1, "") for threads in THREADS]
        if args.postgres:
            asked += [(2, processes, args.postgres) for processes in PROCESSES]
        took: dict[tuple[int, int, str], list[tuple[float, float]]] = {one: [] for one in asked}
        for _ in range(args.rounds):
            for one in asked:
                took[one].append(_work(place / "life", args.objects, *one))
        for (threads, processes, server), costs in took.items():
            wall, cpu = (statistics.median(one[n] for one in costs) for n in (0, 1))
            print(
                f"{'Postgres' if server else 'SQLite':8} {processes} processes of {threads} threads: "
                f"{args.objects / wall:7,.0f} objects/s, {cpu / args.objects * 1e3:5.2f} ms of processor an object, "
                f"{cpu / wall:4.2f} cores"
            )
    finally:
        shutil.rmtree(place)


def _work(place: Path, number: int, threads: int, processes: int, server: str) -> tuple[float, float]:
    """Seconds by the clock and of the processor of all processes, which share the jobs of one plan."""
    config = life.world(place, number, "zstd")
    text = config.read_text() + f"workers: {{threads: {threads}}}\n"
    if server:
        text = text.replace("sqlite:///catalog.db", _database(server))
    config.write_text(text)
    for words in (("catalog", "create"), ("scan",)):
        run(*words, config=config)
    plan = json.loads(run("plan", "--json", config=config)[1])["plan"]
    run("apply", str(plan), "--yes", "--no-wait", config=config)
    command = [str(BIN / "storagectl"), "--config", str(config), "work", "--json"]
    before, start = os.times(), time.perf_counter()
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    said = [one.communicate()[0] for one in started]
    wall, after = time.perf_counter() - start, os.times()
    done = sum(json.loads(text)["done"] for text in said)
    assert done == number, (done, number)
    shutil.rmtree(place)
    return wall, sum(after[2:4]) - sum(before[2:4])


def _database(server: str) -> str:
    """A new one, by its URL."""
    url, name = parse_url(server), "scale"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
