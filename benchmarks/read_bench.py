"""Random 4 KiB reads of a compressed object through storaged://, against the plain file through fsspec's own."""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import IO

import fsspec

from benchmarks.scan_bench import world
from storaged.catalog.queue import NewItem
from storaged.catalog.schema import objects
from storaged.model import CodecSpec, JobKind
from storaged.work import targets
from storaged.work.rewrite.returns import Enqueued, enqueue_batches
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan

READ = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--reads", type=int, default=500)
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        (place / "lake").mkdir()
        size = _text(place / "lake" / "big.csv", args.mib << 20)
        shutil.copy(place / "lake" / "big.csv", place / "plain.csv")
        context = world(place, 0, readers="storaged")
        scan(context, "lake")
        held = targets.one(context, "lake/big.csv")
        item = NewItem(held.id, held.version, size, "hot", CodecSpec("zstd", 3), 0)
        made = Enqueued()
        enqueue_batches(context, JobKind.REWRITE, "lake", [item], reason="bench", result=made)
        start = time.perf_counter()
        with Worker(context) as worker:
            report = worker.run()
        seconds = time.perf_counter() - start
        assert report.done == 1, report
        with context.catalog.read() as conn:
            assert conn.execute(objects.select()).one().codec == "zstd"
        print(f"rewrite with proof and read-back: {size / seconds / 1e6:.0f} MB/s, to {report.after_bytes / size:.3f}")
        ours = fsspec.filesystem("storaged", config=str(place / "storaged0.yaml"))
        plain = fsspec.filesystem("file")
        chance = random.Random(1)
        at = [chance.randrange(size - READ) for _ in range(args.reads)]
        fast, slow = [], []
        with ours.open("lake/big.csv", cache_type="none") as a, plain.open(str(place / "plain.csv")) as b:
            for offset in at:
                fast.append(_read(b, offset))
                slow.append(_read(a, offset))
        print(
            f"4 KiB read: {statistics.median(slow) * 1e3:.3f} ms through storaged://, "
            f"{statistics.median(fast) * 1e3:.4f} plain, ratio {statistics.median(slow) / statistics.median(fast):.0f}"
        )
        context.catalog.close()
    finally:
        shutil.rmtree(place)


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
