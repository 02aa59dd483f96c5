"""Random 4 KiB reads of a compressed object through storaged://: against the plain file through fsspec's own and, with
`--bucket`, of a blob in a bucket against bare ranged GETs of the same bytes by the same client.

    python -m benchmarks.read_bench [--bucket] [--mib 1024] [--reads 500]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import fsspec
import obstore

from benchmarks.lake import configured
from benchmarks.scan_bench import world
from storaged.catalog.engine import create_catalog
from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.schema import objects
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.model import CodecSpec, JobKind
from storaged.stores.s3.session import S3Session
from storaged.testing.servers import MotoServer, moto_server
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.rewrite.returns import Enqueued, enqueue_batches
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan

READ = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", action="store_true")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--reads", type=int, default=500)
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        (place / "lake").mkdir()
        size = _text(place / "lake" / "big.csv", args.mib << 20)
        chance = random.Random(1)
        at = [chance.randrange(size - READ) for _ in range(args.reads)]
        if args.bucket:
            with moto_server() as server:
                os.environ.update(server.environment)
                _of_a_bucket(place, server, at)
        else:
            _of_a_file(place, size, at)
    finally:
        shutil.rmtree(place)


def _of_a_file(place: Path, size: int, at: list[int]) -> None:
    shutil.copy(place / "lake" / "big.csv", place / "plain.csv")
    context = world(place, 0, readers="storaged")
    seconds, stored = _compressed(context, "lake", "hot")
    print(f"rewrite with proof and read-back: {size / seconds / 1e6:.0f} MB/s, to {stored / size:.3f}")
    ours = fsspec.filesystem("storaged", config=str(place / "storaged0.yaml"))
    fast, slow = [], []
    with ours.open("lake/big.csv", cache_type="none") as a, (place / "plain.csv").open("rb") as b:
        for offset in at:
            fast.append(_read(b, offset))
            slow.append(_read(a, offset))
    print(
        f"4 KiB read: {statistics.median(slow) * 1e3:.3f} ms through storaged://, "
        f"{statistics.median(fast) * 1e3:.4f} plain, ratio {statistics.median(slow) / statistics.median(fast):.0f}"
    )
    context.catalog.close()


def _of_a_bucket(place: Path, server: MotoServer, at: list[int]) -> None:
    server.make_bucket("cold")
    config = configured(place / "home", server, root=f"file://{place}/lake", cold="s3://cold/blobs")
    with create_catalog(f"sqlite:///{place}/home/catalog.db") as catalog:
        context = Context(load_settings(config), catalog, SystemClock(), actor="bench")
        context.register()
        _compressed(context, "data", "cold")
    ours = fsspec.filesystem("storaged", config=str(config))
    bare = S3Session("s3://cold", server.access).objects
    with ours.open("data/big.csv", cache_type="none") as file:
        _read(file, at[0])
        server.clear_log()
        for offset in at:
            _read(file, offset)
        asked = server.log()
        [key] = {request.key for request in asked}
        told = [request.headers["range"].removeprefix("bytes=").split("-") for request in asked]
        spans = [(int(first), int(last) + 1) for first, last in told]
        fetched = sum(end - start for start, end in spans)
        print(
            f"{len(at)} reads of {READ // 1024} KiB took {len(asked)} requests, each a ranged GET of "
            f"{fetched / len(asked) / 1024:.0f} KiB on average"
        )
        costs: dict[str, list[tuple[float, float]]] = {"through storaged://": [], "bare ranged GETs": []}
        for number, offset in enumerate(at):
            start, end = spans[number % len(spans)]
            costs["through storaged://"].append(_cost(lambda offset=offset: _read(file, offset)))
            costs["bare ranged GETs"].append(
                _cost(lambda start=start, end=end: obstore.get_range(bare, key, start=start, end=end))
            )
    wall = {name: statistics.median(each for each, _ in costs[name]) for name in costs}
    cpu = {name: statistics.fmean(each for _, each in costs[name]) for name in costs}
    for name in costs:
        print(f"  {name:20} {wall[name] * 1e3:7.3f} ms of wall (median), {cpu[name] * 1e3:6.3f} ms of processor (mean)")
    ratios = [one["through storaged://"] / one["bare ranged GETs"] for one in (wall, cpu)]
    print(f"  ratio {ratios[0]:.2f} by wall, {ratios[1]:.2f} by the client's processor; aim 1.25")


def _compressed(context: Context, dataset: str, tier: str) -> tuple[float, int]:
    """Scan a dataset of one object and move it to a tier as zstd; the seconds that took, and the bytes stored."""
    scan(context, dataset)
    held = targets.one(context, f"{dataset}/big.csv")
    made = Enqueued()
    item = NewItem(held.id, held.version, held.placement.size, ToTier(tier, CodecSpec("zstd", 3), 0))
    enqueue_batches(context, JobKind.REWRITE, dataset, [item], reason="bench", result=made)
    start = time.perf_counter()
    with Worker(context) as worker:
        report = worker.run()
    seconds = time.perf_counter() - start
    assert report.done == 1, report
    with context.catalog.read() as conn:
        assert conn.execute(objects.select()).one().codec == "zstd"
    return seconds, report.after_bytes


def _cost(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process's processor."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def _read(file: IO[bytes], offset: int) -> float:
    start = time.perf_counter()
    file.seek(offset)
    data = file.read(READ)
    assert len(data) == READ
    return time.perf_counter() - start


def _text(path: Path, size: int) -> int:
    chance = random.Random(7)
    words = [f"{chance.choice('abcdefgh')}{chance.randrange(10**6)}" for _ in range(20_000)]
    with path.open("wb") as file:
        while file.tell() < size:
            lines = (f"{chance.randrange(10**9)},{chance.choice(words)},{chance.random():.4f}" for _ in range(20_000))
            file.write("\n".join(lines).encode() + b"\n")
        return file.tell()


if __name__ == "__main__":
    main()
