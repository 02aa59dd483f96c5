"""Listing a bucket of many small objects, bare and into the catalog (SQLite), against `s5cmd ls` of the same bucket.

The server is `rclone serve s3` on the same machine, so its work counts in all of them; each client's own CPU is told
beside its rate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.scan_bench import fresh
from storaged.cli import collect_less
from storaged.stores.s3.listing import list_pages
from storaged.stores.s3.session import S3Session
from storaged.testing.servers import RcloneServer, program, rclone_server
from storaged.work.context import Context
from storaged.work.scan.run import scan

BUCKET = "lake"
AIM = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    collect_less()  # as `storagectl` does
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        _fill(place / "s3" / BUCKET, args.objects, args.folders)
        with rclone_server(place / "s3", caching=True) as server:
            os.environ.update(server.environment)
            _compare(place, server, args.objects, args.rounds)
    finally:
        shutil.rmtree(place)


def _compare(place: Path, server: RcloneServer, objects: int, rounds: int) -> None:
    session = S3Session(f"s3://{BUCKET}", server.access)
    _expect(_s5cmd(server), objects)  # rclone sums up what it has not yet listed
    took: dict[str, list[tuple[float, float]]] = {}

    def run(name: str, work: Callable[[], int]) -> None:
        start, cpu = time.perf_counter(), os.times()
        _expect(work(), objects)
        end = os.times()
        used = end.user + end.system - cpu.user - cpu.system
        used += end.children_user + end.children_system - cpu.children_user - cpu.children_system
        took.setdefault(name, []).append((time.perf_counter() - start, used))

    for n in range(rounds):
        context = _world(place, session, n)
        run("s5cmd ls", lambda: _s5cmd(server))
        run("bare listing", lambda: sum(map(len, list_pages(session, "", ""))))
        run("first scan", lambda: scan(context, "lake").added)  # noqa: B023 (called before the next round)
        run("unchanged scan", lambda: scan(context, "lake").unchanged)  # noqa: B023 (the same)
        context.catalog.close()
    peer = [seconds for seconds, _ in took["s5cmd ls"]]
    for name, both in took.items():
        seconds = [s for s, _ in both]
        line = f"{name:15} {objects / statistics.median(seconds):9,.0f} keys/s  "
        line += f"{statistics.median(cpu for _, cpu in both):6.2f} s CPU"
        if name != "s5cmd ls":
            ratios = [p / s for p, s in zip(peer, seconds, strict=True)]
            line += f"   {statistics.median(ratios):.2f} of s5cmd ls ({min(ratios):.2f}-{max(ratios):.2f}), aim {AIM}"
        print(line)


def _fill(root: Path, objects: int, folders: int) -> None:
    for d in range(folders):
        folder = root / f"dt=2026-{d // 28 + 1:02}-{d % 28 + 1:02}" / f"part{d:04}"
        folder.mkdir(parents=True)
        for i in range(objects // folders):
            (folder / f"events-{i:06}.json").touch()


def _s5cmd(server: RcloneServer) -> int:
    command = [str(program("s5cmd", "s5cmd")), "--endpoint-url", server.endpoint, "ls", f"s3://{BUCKET}/*"]
    done = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, check=True)
    return sum(b"events-" in line for line in done.stdout.splitlines())


def _world(place: Path, session: S3Session, n: int) -> Context:
    """A context on the bucket with one tier in a directory and a fresh catalog."""
    for note in session.call("list_objects_v2", Prefix=".storaged/").get("Contents", []):  # the claim of the last round
        session.call("delete_object", Key=note["Key"])
    access = session.access
    reached = f"{{endpoint: {access.endpoint}, region: {access.region}, path_style: true}}"
    return fresh(place, n, f'root: "s3://{BUCKET}"', f"buckets:\n  {BUCKET}: {reached}\n")


def _expect(found: int, wanted: int) -> int:
    assert found == wanted, (found, wanted)
    return found


if __name__ == "__main__":
    main()
