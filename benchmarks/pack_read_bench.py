"""Members of a pack in a bucket through storaged://, against ranged GETs of the same server in the same run.

    python -m benchmarks.pack_read_bench [--objects 5000] [--bytes 4096] [--reads 300] [--cat 1000]

A member is read out of one frame: the ratio is against a ranged GET of that frame's stored bytes, by the client that
storaged uses itself; and, for who would have packed without compression, of the member's own bytes. Reads take turns.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import statistics
import tempfile
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.lake import configured
from storaged.catalog.engine import create_catalog
from storaged.catalog.items import IntoPack, NewItem
from storaged.catalog.placements import Seen
from storaged.clock import SystemClock
from storaged.codecs.pack.ending import of_index
from storaged.config.settings import load_settings
from storaged.filesystem import StoragedFileSystem
from storaged.model import PACK, CodecSpec
from storaged.testing.servers import ENVIRONMENT, S3Server, moto_server, rclone_server
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.rewrite.enqueue import Enqueued, enqueue_pack
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan

THREADS = 8  # as `cat` has them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=5_000)
    parser.add_argument("--bytes", type=int, default=4_096)
    parser.add_argument("--reads", type=int, default=300)
    parser.add_argument("--cat", type=int, default=1_000)
    parser.add_argument("--server", choices=("moto", "rclone"), default="moto")
    args = parser.parse_args()
    os.environ |= ENVIRONMENT
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        (place / "served").mkdir()
        with rclone_server(place / "served") if args.server == "rclone" else moto_server() as server:
            _measure(place, server, args)
    finally:
        shutil.rmtree(place)


def _measure(place: Path, server: S3Server, args: argparse.Namespace) -> None:
    server.make_bucket("bench")
    config = configured(place, server, root=f"file://{place}/lake", cold="s3://bench/cold")
    (place / "lake").mkdir()
    seen = _packed(place, config, args.objects, args.bytes)
    names = sorted(seen)
    fs = StoragedFileSystem(str(config), skip_instance_cache=True)
    one = seen[names[0]]
    [blob] = one.blobs.values()
    table = of_index(blob.index, blob.size, blob.key)
    print(f"{len(names):,} members of {args.bytes:,} bytes in a pack of {blob.size:,}, {len(table.starts) - 1} frames")
    reader = fs.reader.context.tier("cold").open(blob.key)

    def get(low: int, high: int) -> None:
        assert len(reader.read_at(low, high - low)) == high - low

    chance = random.Random(1)
    found: list[float] = []
    ours: list[float] = []
    frame: list[float] = []
    bare: list[float] = []
    fs.cat_file(f"data/{names[0]}")
    of = {bisect_right(table.contents, _offset(one)) - 1: name for name, one in seen.items()}
    turn = chance.sample(sorted(of), len(of))  # frame after frame: none is kept until its turn comes again
    for n in itertools.islice(itertools.cycle(turn), args.reads):
        name = of[n]
        low, high = table.starts[n], table.starts[n + 1]

        def member(name: str = name) -> None:
            begun = perf_counter()
            with fs.reader.open(f"data/{name}") as opened:
                found.append(perf_counter() - begun)
                ours.append(_seconds(lambda: opened.read_at(0, args.bytes)))

        def bytes_of(into: list[float], low: int, high: int, name: str = name) -> None:
            fs.reader.find([f"data/{name}"])  # or the server and its client have not paused, as they have for a member
            into.append(_seconds(lambda: get(low, high)))

        turns: list[Callable[[], None]] = [
            member,
            partial(bytes_of, frame, low, high),
            partial(bytes_of, bare, low, min(low + args.bytes, high)),
        ]
        chance.shuffle(turns)
        for act in turns:
            act()
    a, b, c, d = (statistics.median(times) * 1e3 for times in (found, ours, frame, bare))
    print(f"a random member: found by name in {a:.2f} ms, read in {b:.2f} ms")
    print(f"    ranged GET of its frame {c:.2f} ms, ratio {b / c:.2f}, found and read {(a + b) / c:.2f}")
    print(f"    ranged GET of so many bytes {d:.2f} ms, ratio {b / d:.2f}, found and read {(a + b) / d:.2f}")

    far = [f"data/{name}" for name in chance.sample(names, min(args.reads, len(names)))]
    fs.reader.packs.close()
    scattered = _seconds(lambda: fs.cat_ranges(far, 0, None, max_gap=0))
    print(f"{len(far):,} random members by one call: {scattered / len(far) * 1e3:.2f} ms each")

    wanted = [f"data/{name}" for name in names[: args.cat]]
    fs.reader.packs.close()
    together = _seconds(lambda: fs.cat(wanted))
    spans = [(chance.randrange(blob.size - args.bytes)) for _ in wanted]
    with ThreadPoolExecutor(THREADS) as pool:
        single = _seconds(lambda: list(pool.map(lambda low: get(low, low + args.bytes), spans)))
    print(f"cat of {len(wanted):,} members: {together:.2f} s; so many ranged GETs on {THREADS} threads {single:.2f} s")
    fs.close()


def _offset(seen: Seen) -> int:
    """Where a member begins in its pack's tar."""
    assert seen.placement.current is not None
    return seen.placement.current.offset


def _packed(place: Path, config: Path, objects: int, size: int) -> dict[str, Seen]:
    """So many objects in one pack, by name."""
    chance = random.Random(7)
    for number in range(objects):
        lines = (f'{{"id": {n}, "at": {chance.random()}, "who": "{chance.randbytes(8).hex()}"}}\n' for n in range(size))
        text = ""
        while len(text) < size:
            text += next(lines)
        (place / "lake" / f"{number:06}.jsonl").write_text(text[:size])
    with create_catalog(f"sqlite:///{place}/catalog.db") as catalog:
        context = Context(load_settings(config), catalog, SystemClock(), actor="bench")
        context.register()
        scan(context, "data")
        seen = [h for page in targets.pages(context, "data") for h in page]
        to = IntoPack("cold", CodecSpec(PACK, 3), 0)
        made = Enqueued()
        items = [NewItem(h.id, h.version, h.placement.size, to) for h in seen]
        enqueue_pack(context, "data", items, pack="0001", reason="bench", result=made)
        with Worker(context) as worker:
            assert worker.run().done == objects
        return {h.placement.name: h for page in targets.pages(context, "data") for h in page}


def _seconds(act: Callable[[], object]) -> float:
    begun = perf_counter()
    act()
    return perf_counter() - begun


if __name__ == "__main__":
    main()
