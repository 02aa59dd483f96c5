"""Packing small objects into a bucket, with digest, proof, catalog and journal, against other tools.

    python -m benchmarks.pack_bench [--objects 20000] [--bytes 4096] [--members 50000] [--rounds 3] [--from-bucket]

From a directory, `s5cmd cp` copies each object by itself; `tar | zstd -3 | s5cmd pipe` makes one object of all of them,
of which nobody has an index. From a bucket s5cmd copies them to a directory, and from there to the other bucket. Judge
by the client's seconds of processor, as in `transfer_bench`. Aims: 0.25 of s5cmd's, 1.5 of tar's; from a bucket 0.5 of
s5cmd's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shlex
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.command import BIN, Cost
from benchmarks.transfer_bench import Bench, Tool, compare
from storaged.testing.servers import rclone_server

FOLDER = 1_000  # objects in one


class Packing(Bench):
    """The same server, and tools that make one object of many."""

    def through(self, source: str, name: str) -> Cost:
        """`s5cmd cp` to a directory, and from there to the bucket."""
        words = [str(BIN / "s5cmd"), "--endpoint-url", self.server.endpoint, "--numworkers", "64", "cp"]
        with tempfile.TemporaryDirectory(dir=self.place) as between:
            down = self.run([*words, f"{source}/*", f"{between}/"])
            up = self.s5cmd(f"file://{between}", name)
        return Cost(down.wall + up.wall, down.cpu + up.cpu, max(down.memory, up.memory))

    def tar(self, source: str, name: str) -> Cost:
        """`tar | zstd -3 | s5cmd pipe`."""
        upload = [str(BIN / "s5cmd"), "--endpoint-url", self.server.endpoint, "pipe", f"s3://target/{name}/all.tar.zst"]
        folder = shlex.quote(source.removeprefix("file://"))
        return self.run(["sh", "-c", f"tar -C {folder} -c . | zstd -q -3 | {shlex.join(upload)}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=4_096)
    parser.add_argument("--members", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--from-bucket", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storaged-bench-") as directory:
        place = Path(directory)
        (place / "buckets").mkdir()
        _write(place / "buckets" / "small" if given.from_bucket else place / "small", given.objects, given.bytes)
        with rclone_server(place / "buckets", caching=True) as server:
            os.environ.update(server.environment)
            server.make_bucket("target")
            bench = Packing(place, server)
            tools: dict[str, Tool] = {"ours": partial(bench.ours, members=given.members)}
            tools |= {"through": bench.through} if given.from_bucket else {"s5cmd": bench.s5cmd, "tar": bench.tar}
            what = "bucket" if given.from_bucket else "directory"
            title = f"{given.objects:,} objects of {given.bytes:,} bytes, {what} to bucket, {given.members:,} a pack"
            source = "s3://small" if given.from_bucket else f"file://{place}/small"
            compare(bench, title, tools, source, given.rounds, itertools.count())


def _write(place: Path, objects: int, size: int) -> None:
    """Lines of JSON, as events are."""
    chance = random.Random(7)
    for number in range(objects):
        folder = place / f"{number // FOLDER:04}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        while sum(map(len, lines)) < size:
            event = {"id": chance.randrange(10**9), "user": f"u{chance.randrange(1000)}", "value": chance.random()}
            lines.append(json.dumps(event) + "\n")
        (folder / f"{number:06}.json").write_text("".join(lines)[:size])


if __name__ == "__main__":
    main()
