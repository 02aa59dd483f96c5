"""Our zstd codec against the zstd command, and random reads against a plain file.

    python benchmarks/zstd_bench.py [--mib 1024] [--level 3] [--rounds 3] [--dir DIR]

Throughput: both read the same file and write a blob beside it, in turns, on two threads. Ours decodes and compares
every frame and digests both sides; the command does neither. Seconds of wall and of processor are printed, since other
load on the machine disturbs the former; judge by the ratios. What decoding and comparing costs is measured by itself.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import zstandard

from storaged.codecs.base import Encoded
from storaged.codecs.identity import Identity
from storaged.codecs.zstd import Zstd
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Stat

MIB = 1024 * 1024
THREADS = 2
ORIGIN = Origin("0" * 32, "1" * 32, "bench", "text.csv", 1, "bench")


class FileReader:
    """A Reader over a local file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._stat = Stat(str(path), path.stat().st_size, identity="bench", mtime_us=0)

    @property
    def stat(self) -> Stat:
        return self._stat

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_text(path: Path, size: int) -> None:
    """An access log as CSV, the same bytes every time: some 20 MiB of lines, again and again in another order."""
    chance = random.Random(7)
    words = ["".join(chance.choices("etaoinshrdlucmfwyp", k=chance.randint(3, 11))) for _ in range(5_000)]
    lines = [
        f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T{chance.randint(0, 86_399):05}Z,"
        f"{chance.randint(1, 9_999_999)},{chance.choice(words)},{chance.random() * 1000:.2f},"
        f"{chance.choice(('GET', 'PUT', 'LIST'))},{chance.choice(words)} {chance.choice(words)},"
        f"{chance.randint(200, 504)}\n"
        for _ in range(400_000)
    ]
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            file.write("".join(chance.sample(lines, len(lines))).encode()[:left])


def write_all(file: io.FileIO, data: bytes) -> None:
    assert file.write(data) == len(data)


def ours(source: Path, target: Path, level: int) -> Encoded:
    with ThreadPoolExecutor(THREADS) as executor, FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content, spec = Identity().open(reader), CodecSpec("zstd", level)
        return Zstd().encode(content, lambda data: write_all(file, data), spec=spec, origin=ORIGIN, executor=executor)


def command(source: Path, target: Path, level: int) -> None:
    subprocess.run(["zstd", "-q", "-f", f"-T{THREADS}", f"-{level}", source, "-o", target], check=True)


def timed(run: Callable[[], object], who: int) -> tuple[float, float]:
    """Seconds of wall and of processor."""
    before, begun = resource.getrusage(who), time.perf_counter()
    run()
    wall, after = time.perf_counter() - begun, resource.getrusage(who)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def throughput(source: Path, place: Path, level: int, rounds: int) -> None:
    size = source.stat().st_size / MIB
    ratios = []
    print(f"level {level}, {size:.0f} MiB, {THREADS} threads; MiB/s of content (seconds of processor)")
    for number in range(1, rounds + 1):
        theirs_wall, theirs_cpu = timed(lambda: command(source, place / "theirs.zst", level), resource.RUSAGE_CHILDREN)
        our_wall, our_cpu = timed(lambda: ours(source, place / "ours.zst", level), resource.RUSAGE_SELF)
        ratios.append((theirs_wall / our_wall, theirs_cpu / our_cpu))
        print(
            f"  round {number}: zstd command {size / theirs_wall:6.0f} ({theirs_cpu:.1f} s)   "
            f"ours, proof included {size / our_wall:6.0f} ({our_cpu:.1f} s)   "
            f"ratio {theirs_wall / our_wall:.2f} ({theirs_cpu / our_cpu:.2f})"
        )
    wall, cpu = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(f"  median ratio of throughput {wall:.2f}, of work per processor second {cpu:.2f}")
    stored = [(place / name).stat().st_size / MIB for name in ("theirs.zst", "ours.zst")]
    print(f"  stored MiB: zstd command {stored[0]:.1f}, ours {stored[1]:.1f} ({stored[1] / stored[0] - 1:+.1%})")


def proof(source: Path, level: int) -> None:
    """What decoding and comparing alone cost, on one thread and a part of the file."""
    with FileReader(source) as reader:
        frames = [reader.read_at(at, MIB) for at in range(0, min(128 * MIB, reader.stat.size), MIB)]
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    decompressor = zstandard.ZstdDecompressor()
    begun = time.process_time()
    compressed = [compressor.compress(frame) for frame in frames]
    middle = time.process_time()
    assert all(decompressor.decompress(c) == frame for c, frame in zip(compressed, frames, strict=True))
    ended = time.process_time()
    print(f"  proof: {(ended - middle) / (middle - begun):.0%} of the time of compressing, by itself on one thread")


def random_reads(source: Path, blob: Path, index: bytes, count: int = 400) -> None:
    """4 KiB at random places: each opens a frame of its own, the worst case."""
    chance = random.Random(11)
    size = source.stat().st_size
    offsets = [chance.randrange(size - 4096) for _ in range(count)]
    with FileReader(source) as plain, FileReader(blob) as reader:
        content = Zstd().open(reader, index=index)
        times: dict[str, list[float]] = {"plain": [], "zstd": []}
        for offset in offsets:
            begun = time.perf_counter()
            expected = plain.read_at(offset, 4096)
            middle = time.perf_counter()
            got = content.read_at(offset, 4096)
            ended = time.perf_counter()
            assert got == expected
            times["plain"].append(middle - begun)
            times["zstd"].append(ended - middle)
    medians = {name: statistics.median(each) * 1_000 for name, each in times.items()}
    slowest = statistics.quantiles(times["zstd"], n=20)[-1] * 1_000
    print(
        f"random 4 KiB reads: plain file {medians['plain']:.4f} ms, ours {medians['zstd']:.2f} ms "
        f"(95 % within {slowest:.2f} ms), ratio {medians['zstd'] / medians['plain']:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary directory)")
    given = parser.parse_args()
    if shutil.which("zstd") is None:
        sys.exit("the zstd command is not installed")
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        place = Path(directory)
        source = place / "text.csv"
        write_text(source, given.mib * MIB)
        throughput(source, place, given.level, given.rounds)
        proof(source, given.level)
        random_reads(source, place / "ours.zst", ours(source, place / "ours.zst", given.level).index)


if __name__ == "__main__":
    main()
