"""Moving objects to a bucket, with digest, proof, catalog and journal, against tools that only copy.

    python -m benchmarks.transfer_bench [--server rclone] [--small 2000] [--large 4] [--mib 256] [--rounds 3]
                                        [--against s5cmd]

The server is on the same machine, so wall time is mostly its own: judge by the client's seconds of processor (user and
system, start of the program included) and peak memory. `rclone serve s3` knows neither conditions nor checksums, so
that `storagectl work` reads each source, digests it, writes it, reads it back, and moves the catalog and the journal.
`--server moto` knows both, as Amazon S3 does (storaged.testing.s3_semantics): what was written is proven by a HEAD, and
between buckets the server copies. `s5cmd cp` and `rclone copy` prove nothing. Between buckets s5cmd asks the server to
copy; rclone is measured with its bytes passing through it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import command
from benchmarks.command import BIN, Cost
from benchmarks.lake import configured
from storaged.catalog.engine import create_catalog
from storaged.catalog.items import IntoPack, NewItem, ToTier
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.model import IDENTITY, PACK, CodecSpec, JobKind
from storaged.stores.notes import CLAIM
from storaged.stores.s3.session import S3Session
from storaged.testing.servers import MotoServer, S3Server, moto_server, rclone_server
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches, enqueue_pack
from storaged.work.scan.run import scan

MIB = 1 << 20
SMALL = 64 << 10
Tool = Callable[[str, str], Cost]  # from a source to a new place in the bucket `target`, by its name


@dataclass(frozen=True, slots=True)
class Bench:
    """One server, and a directory for everything else."""

    place: Path
    server: S3Server

    def empty(self, target: str) -> None:
        """Remove what was brought to a place in the bucket `target`."""
        if isinstance(self.server, MotoServer):
            self.server.drop_bucket("target")
            self.server.make_bucket("target")
        else:
            shutil.rmtree(self.place / "buckets" / "target" / target)

    def run(self, words: list[str]) -> Cost:
        """Run a program and take its measure."""
        with (self.place / "log").open("wb") as log:
            try:
                return command.run(words, out=log, err=log, environment={**os.environ, "RCLONE_CONFIG": os.devnull})
            except subprocess.CalledProcessError:
                sys.exit(f"{words}: {(self.place / 'log').read_text()[-2000:]}")

    def ours(self, source: str, name: str, *, members: int = 0) -> Cost:
        """A worker's run over everything below `source`, to a new place in the bucket `target`; with `members`, in
        packs of so many objects."""
        home = self.place / name
        config = configured(home, self.server, root=source, cold=f"s3://target/{name}")
        with create_catalog(f"sqlite:///{home}/catalog.db") as catalog:
            context = Context(load_settings(config), catalog, SystemClock(), actor="bench")
            context.root("data").delete_note(CLAIM)  # of the catalog of the round before
            context.register()
            scan(context, "data")
            result = Enqueued()
            held = [h for page in targets.pages(context, "data") for h in page]
            to = IntoPack("cold", CodecSpec(PACK, 3), 0) if members else ToTier("cold", IDENTITY, 0)
            items = [NewItem(h.id, h.version, h.placement.size, to) for h in held]
            for number, start in enumerate(range(0, len(items), members or len(items))):
                some = items[start : start + (members or len(items))]
                if members:
                    enqueue_pack(context, "data", some, pack=f"{number:04}", reason="bench", result=result)
                else:
                    enqueue_batches(context, JobKind.REWRITE, "data", some, reason="bench", result=result)
        return self.run([str(BIN / "storagectl"), "--config", str(config), "work"])

    def s5cmd(self, source: str, name: str, *, bucket: str = "target") -> Cost:
        """`s5cmd cp`, with as many workers as it has by default for small objects."""
        return self.run(
            [
                str(BIN / "s5cmd"), "--endpoint-url", self.server.endpoint, "--numworkers", "64",
                "cp", f"{source.removeprefix('file://')}/*", f"s3://{bucket}/{name}{'/' if name else ''}",
            ]
        )  # fmt: skip

    def rclone(self, source: str, name: str) -> Cost:
        """`rclone copy`, with its bytes passing through it."""
        remote = (
            f":s3,provider=Other,env_auth=true,endpoint='{self.server.endpoint}',force_path_style=true,"
            "use_multipart_etag=false:"
        )
        what = source.replace("s3://", remote) if source.startswith("s3:") else source.removeprefix("file://")
        return self.run(
            [
                str(BIN / "rclone"), "copy", what, f"{remote}target/{name}", "--transfers", "16", "--disable", "copy",
                "--no-traverse", "--s3-no-check-bucket",
            ]
        )  # fmt: skip


def compare(
    bench: Bench, title: str, tools: Mapping[str, Tool], source: str, rounds: int, numbers: Iterator[int]
) -> None:
    """All of them in turns, and the ratios of the medians of the first, which is ours, to each."""
    costs: dict[str, list[Cost]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            target = f"{name}{next(numbers)}"
            costs[name].append(tool(source, target))
            bench.empty(target)
    print(title)
    ours, *_ = [statistics.median(c.cpu for c in each) for each in costs.values()]
    for name, each in costs.items():
        cpu = statistics.median(c.cpu for c in each)
        print(
            f"  {name:7} {cpu:6.2f} s of processor "
            f"({min(c.cpu for c in each):.2f} to {max(c.cpu for c in each):.2f})   "
            f"{statistics.median(c.wall for c in each):6.1f} s of wall   "
            f"{max(c.memory for c in each):5.0f} MiB   ours / {name}: {ours / cpu:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=("rclone", "moto"), default="rclone")
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--large", type=int, default=4)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", choices=("s5cmd", "rclone"), nargs="+", default=["s5cmd", "rclone"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storaged-bench-") as directory:
        place = Path(directory)
        (place / "buckets").mkdir()
        of_rclone = given.server == "rclone"
        with rclone_server(place / "buckets", caching=True) if of_rclone else moto_server() as server:
            os.environ.update(server.environment)
            bench = Bench(place, server)
            for bucket in ("small", "large", "target"):
                server.make_bucket(bucket)
            if not of_rclone:  # as buckets are made today: without ACLs, of which each object would be asked
                enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
                for bucket in ("small", "large"):
                    session = S3Session(f"s3://{bucket}", server.access)
                    session.call("put_bucket_ownership_controls", OwnershipControls=enforced)
            chance = random.Random(11)
            for kind, count, size in (("small", given.small, SMALL), ("large", given.large, given.mib * MIB)):
                (place / kind).mkdir()
                for n in range(count):
                    data = b"".join(chance.randbytes(min(MIB, size)) for _ in range(max(1, size // MIB)))
                    (place / kind / f"part-{n:05}.bin").write_bytes(data)
                bench.s5cmd(f"file://{place}/{kind}", "", bucket=kind)
            others: dict[str, Tool] = {"s5cmd": bench.s5cmd, "rclone": bench.rclone}
            tools: dict[str, Tool] = {"ours": bench.ours} | {name: others[name] for name in given.against}
            numbers = itertools.count()
            for kind, what in (
                ("small", f"{given.small:,} objects of 64 KiB"),
                ("large", f"{given.large} objects of {given.mib} MiB"),
            ):
                for way, source in (("directory", f"file://{place}/{kind}"), ("bucket", f"s3://{kind}")):
                    compare(bench, f"{what}, {way} to bucket", tools, source, given.rounds, numbers)


if __name__ == "__main__":
    main()
