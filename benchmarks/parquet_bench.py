"""Parquet files page by page, proof included, against pyarrow reading and writing them with zstd of the same level.

    python -m benchmarks.parquet_bench [--rows 600000] [--level 3] [--rounds 3] [--dir DIRECTORY]

Each file is written by another program: pyarrow, DuckDB, and polars and fastparquet where the environment has them.
Ours decompresses, compresses and compares every page, finds what made it, and digests both sides, on one thread;
pyarrow does none of that, and may use all threads. Backwards ours makes the identical file again and compares each
page; pyarrow reads the zstd file and writes snappy. Anew is what `fidelity: table` with `reencode` makes, proof
included. All in turns; seconds of the processor, and ratios of medians.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.zstd_bench import ORIGIN, FileReader, write_all
from storaged.codecs.identity import Identity
from storaged.codecs.parquet.codec import Parquet
from storaged.model import CodecSpec, Fidelity

MIB = 1024 * 1024
SPEED, BACK, SIZE = 1.8, 1.0, 1.02  # wanted: times as fast as pyarrow, there and back; times its size at most,
ANEW = 0.95  # and with other encodings
PIECE = 4 * MIB  # bytes of content that one read asks for
WRITERS = ("pyarrow snappy", "pyarrow none", "pyarrow lz4", "DuckDB snappy", "polars snappy", "fastparquet snappy")


def events(rows: int) -> pa.Table:
    """What services log: times, keys, amounts, paths, tokens. A third of the bytes are digits at random."""
    chance = np.random.default_rng(5)
    paths = np.array([f"/api/v{n % 3}/{n * 7919 % 10_007:x}/items" for n in range(20_000)])
    agents = np.array([f"agent/{n}.{n % 7} (system {n % 11}; build {n * 31})" for n in range(300)])
    answers = chance.choice([200, 204, 301, 404, 500], rows, p=[0.8, 0.1, 0.04, 0.05, 0.01])
    return pa.table(
        {
            "id": np.arange(rows) * 3 + chance.integers(0, 3, rows),
            "at": pa.array(1_767_225_600_000_000 + chance.integers(0, 80_000, rows).cumsum(), pa.timestamp("us")),
            "user": chance.zipf(1.3, rows) % 1_000_000,
            "amount": np.round(chance.lognormal(3, 1, rows), 2),
            "score": chance.random(rows),
            "path": paths[chance.integers(0, len(paths), rows)],
            "agent": agents[chance.zipf(1.5, rows) % len(agents)],
            "token": [f"{n:016x}" for n in chance.integers(0, 1 << 62, rows).tolist()],
            "status": pa.array(answers, pa.int16()),
            "bytes": pa.array(chance.lognormal(8, 2, rows).astype(np.int64), mask=chance.random(rows) < 0.2),
        }
    )


def trips(rows: int) -> pa.Table:
    """What a city publishes of its taxis: times, zones, flags, fares. Most columns have few values."""
    chance = np.random.default_rng(6)
    begin = 1_767_225_600 + np.sort(chance.integers(0, 31 * 86_400, rows))
    miles = np.round(chance.lognormal(0.7, 0.9, rows), 2)
    minutes = miles * 4 + chance.exponential(4, rows)
    fare = np.round(3 + miles * 2.5 + minutes * 0.3, 1)
    unknown = chance.random(rows) < 0.05
    tip = np.where(chance.random(rows) < 0.6, np.round(fare * chance.choice([0.15, 0.2, 0.25], rows), 2), 0)
    tolls = np.where(chance.random(rows) < 0.07, 6.94, 0)
    return pa.table(
        {
            "vendor": chance.integers(1, 3, rows),
            "begin": pa.array(begin * 1_000_000, pa.timestamp("us")),
            "end": pa.array((begin + minutes * 60).astype(np.int64) * 1_000_000, pa.timestamp("us")),
            "passengers": pa.array(chance.choice([1, 2, 3, 4, 5], rows, p=[0.7, 0.15, 0.05, 0.05, 0.05]), mask=unknown),
            "miles": miles,
            "rate": pa.array(chance.choice([1, 2, 5], rows, p=[0.95, 0.04, 0.01]), mask=unknown),
            "kept": pa.array(np.where(chance.random(rows) < 0.01, "Y", "N"), mask=unknown),
            "from": 1 + chance.zipf(1.4, rows) % 265,
            "to": 1 + chance.zipf(1.3, rows) % 265,
            "payment": chance.choice([1, 2, 3, 4], rows, p=[0.75, 0.2, 0.03, 0.02]),
            "fare": fare,
            "extra": chance.choice([0, 0.5, 1, 2.5], rows),
            "tip": tip,
            "tolls": tolls,
            "total": np.round(fare + tip + tolls + 3.3, 2),
        }
    )


def write(made: pa.Table, writer: str, path: Path) -> None:
    program, compression = writer.split()
    match program:
        case "pyarrow":
            pq.write_table(made, path, compression=compression)
        case "DuckDB":
            with duckdb.connect() as db:
                db.register("made", made)
                db.sql(f"COPY made TO '{path}' (FORMAT parquet, COMPRESSION {compression})")
        case "polars":
            importlib.import_module("polars").from_arrow(made).write_parquet(path, compression=compression)
        case _:
            importlib.import_module("fastparquet").write(str(path), made.to_pandas(), compression=compression.upper())


def pages(source: Path, target: Path, level: int) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        spec = CodecSpec("parquet", level)
        Parquet().encode(Identity().open(reader), lambda data: write_all(file, data), spec=spec, origin=ORIGIN)


def pages_back(source: Path, target: Path) -> None:
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        content = Parquet().open(reader)
        for at in range(0, content.size, PIECE):
            write_all(file, content.read_at(at, PIECE))


def anew(source: Path, target: Path, level: int) -> None:
    """With other encodings, and the proof that it is the same table."""
    spec = CodecSpec("parquet", level, Fidelity.TABLE, reencode=True)
    with FileReader(source) as reader, target.open("wb", buffering=0) as file:
        Parquet().derive(Identity().open(reader), lambda data: write_all(file, data), spec=spec, origin=ORIGIN)
    with FileReader(source) as reader, FileReader(target) as other:
        Parquet().require_same(Identity().open(reader), Identity().open(other), spec=spec)


def values(source: Path, target: Path, level: int | None, compression: str) -> None:
    pq.write_table(pq.read_table(source), target, compression=compression, compression_level=level)


def seconds(run: Callable[[], object]) -> float:
    """Of the processor, all threads."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def compare(title: str, source: Path, level: int, rounds: int) -> bool:
    """One file, there and back; whether all that is wanted was reached."""
    names = ("ours", "theirs", "again", "snappy", "anew")
    ours, theirs, again, snappy, other_encodings = (source.with_suffix(f".{name}") for name in names)
    runs: dict[str, Callable[[], object]] = {
        "theirs": lambda: values(source, theirs, level, "zstd"),
        "ours": lambda: pages(source, ours, level),
        "theirs back": lambda: values(theirs, snappy, None, "snappy"),
        "ours back": lambda: pages_back(ours, again),
        "anew": lambda: anew(source, other_encodings, level),
    }
    for run in runs.values():  # what is done once by a process is not measured
        run()
    assert again.read_bytes() == source.read_bytes()
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            took[name].append(seconds(run))
    median = {name: statistics.median(each) for name, each in took.items()}
    there, back = median["theirs"] / median["ours"], median["theirs back"] / median["ours back"]
    was, new, other, smallest = (os.path.getsize(path) / MIB for path in (source, ours, theirs, other_encodings))
    print(
        f"{title:26} {was:6.1f} MiB -> {new:6.1f} ({new / was:.1%}), pyarrow {other:6.1f}   "
        f"{median['ours']:.2f} s, pyarrow {median['theirs']:.2f}   "
        f"back {median['ours back']:.2f} s, pyarrow {median['theirs back']:.2f}   "
        f"anew {smallest:.1f} MiB ({smallest / was:.1%}), {median['anew']:.2f} s",
        flush=True,
    )
    verdicts = (
        ("size", new / other, new / other <= SIZE, f"of pyarrow's, at most {SIZE}"),
        ("speed", there, there >= SPEED, f"times pyarrow's, at least {SPEED}"),
        ("back", back, back >= BACK, f"times pyarrow's, at least {BACK}"),
        ("anew", smallest / other, smallest / other <= ANEW, f"of pyarrow's size, at most {ANEW}"),
    )
    for name, ratio, good, wanted in verdicts:
        print(f"  {name:6} {ratio:5.2f} {wanted}: {'reached' if good else 'MISSED'}", flush=True)
    return all(good for _, _, good, _ in verdicts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", nargs="*", default=WRITERS, choices=WRITERS)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary directory)")
    given = parser.parse_args()
    there = [writer for writer in given.writers if importlib.util.find_spec(writer.split()[0].lower()) is not None]
    for writer in sorted(set(given.writers) - set(there)):
        print(f"{writer} is not installed")
    reached = []
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        for made in (events, trips):
            rows = made(given.rows)
            for writer in there:
                source = Path(directory) / f"{made.__name__}-{writer.replace(' ', '-')}.parquet"
                write(rows, writer, source)
                reached.append(compare(f"{made.__name__}, {writer}", source, given.level, given.rounds))
    print(f"{sum(reached)} of {len(reached)} files reach all that is wanted")


if __name__ == "__main__":
    main()
