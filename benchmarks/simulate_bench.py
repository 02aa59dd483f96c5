"""A simulation of 100,000 objects over 2,000 days, all baselines, `auto`, a policy and the optimum: three minutes and
2 GiB at most.

    python -m benchmarks.simulate_bench [--objects 100000] [--days 2000] [--reads 50] [--traces DIRECTORY]

The trace is made up: sizes log-normal around 1 MB, days of reads per object around --reads. It is written as Parquet
and simulated by the command that users run, in a process of its own. With --traces (or $STORAGED_TRACES) the totals
over real traces are compared with those of an independent implementation of the same rules, to the cent.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import command
from benchmarks.command import Cost

AWS = "aws/us-east-1/standard,aws/us-east-1/standard-ia,aws/us-east-1/glacier-ir"
GCS = "gcs/us-central1/standard,gcs/us-central1/nearline,gcs/us-central1/coldline,gcs/us-central1/archive"
POLICY = """\
policies:
  - {name: down, target: {dataset: "*", tier: hot}, when: {idle_for: 60d, size_over: 1MiB}, to: {tier: cold}}
  - {name: back, target: {dataset: "*"}, when: {reads_above: 1/month}, to: {tier: hot}}
"""
NAMES = ("optimum", "stay", "intelligent-tiering", "idle-30-90-return", "lifecycle-30-90")
TOTALS = {  # of an independent implementation, by trace, in the order of NAMES
    "dandi_datasets_until_2023": ("125978.20", "460228.15", "443988.95", "467021.32", "185028.84"),
    "sundials_releases": ("3.58", "5.12", "3.75", "86.58", "901.30"),
    "fontsource_assigned_sizes": ("193.94", "196.57", "194.28", "7368.45", "52192.04"),
}
SECONDS, GIB = 180, 2
AUTO = {  # at most so many times the optimum: of the tiers, and with the class that moves objects by itself
    "dandi_datasets_until_2023": (1.15, None),
    "sundials_releases": (None, 1.10),
    "fontsource_assigned_sizes": (None, 1.02),
}
FAR = 1.05  # times what simple things cost, at most


def make(path: Path, objects: int, days: int, reads: float) -> int:
    """Write a trace; returns its rows."""
    chance = np.random.default_rng(1)
    counts = chance.poisson(reads * chance.lognormal(-0.5, 1, objects))
    at = np.repeat(np.arange(objects), counts)
    created = chance.integers(0, days // 4, objects)
    created[0] = 0
    day = created[at] + (chance.random(len(at)) * (days - created[at])).astype(np.int64)
    at, day = np.concatenate((np.arange(objects), at)), np.concatenate((created, day))
    op = np.where(np.arange(len(at)) < objects, "write", "read")
    columns = {
        "ts": day * 86_400,
        "object_id": at,
        "op": pa.array(op).dictionary_encode(),
        "size_bytes": chance.lognormal(14, 2, objects).astype(np.int64)[at],
        "count": chance.integers(1, 5, len(at)),
    }
    pq.write_table(pa.table(columns), path)
    return len(at)


def simulate(*words: str) -> tuple[Any, Cost]:
    """What the command says, and what it took."""
    with tempfile.TemporaryFile() as out:
        cost = command.run([str(command.BIN / "storagectl"), "simulate", "--json", *words], out=out)
        out.seek(0)
        return json.load(out), cost


def large(objects: int, days: int, reads: float, directory: Path) -> None:
    trace, policy = directory / "trace.parquet", directory / "mine.yaml"
    policy.write_text(POLICY)
    rows = make(trace, objects, days, reads)
    print(f"{objects} objects, {days} days, {rows} rows", flush=True)
    for name, tiers in (("AWS, 3 tiers", AWS), ("GCS, 4 tiers", GCS)):
        told, cost = simulate("--trace", str(trace), "--tiers", tiers, "--policy", str(policy))
        rate = objects * days * len(told["policies"]) / cost.wall / 1e6
        print(
            f"{name:24} {cost.wall:7.2f} s, cpu {cost.cpu:7.2f} s, {cost.memory / 1024:.2f} GiB, "
            f"{rate:.0f} million object-days/s over all policies",
            flush=True,
        )
        print(f"{'':24} of the three minutes {cost.wall / SECONDS:.2f}, of 2 GiB {cost.memory / 1024 / GIB:.2f}")


def real(directory: Path) -> None:
    for stem, totals in TOTALS.items():
        told, cost = simulate("--trace", str(directory / f"{stem}.parquet"), "--tiers", AWS)
        ours = tuple(f"{float(told['policies'][name]['total']):.2f}" for name in NAMES)
        print(
            f"{stem:28} {cost.wall:6.2f} s, {'as expected' if ours == totals else f'{ours}, not {totals}'}", flush=True
        )
        assert ours == totals, stem
        _auto(stem, {name: float(of["total"]) for name, of in told["policies"].items()})


def _auto(stem: str, totals: dict[str, float]) -> None:
    """What `auto` costs beside the optimum and the cheaper of simple things, and that it is not too much."""
    simple = totals["stay"], min(totals["stay"], totals["intelligent-tiering"])
    for name, than, most in zip(("auto", "auto-intelligent-tiering"), simple, AUTO[stem], strict=True):
        of_best, of_simple = totals[name] / totals["optimum"], totals[name] / than
        print(f"{'':28} {name} {totals[name]:.2f}: {of_best:.3f} of the optimum, {of_simple:.3f} of what is simple")
        assert of_simple <= FAR, stem
        assert most is None or of_best <= most, stem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=2_000)
    parser.add_argument("--reads", type=float, default=50)
    parser.add_argument("--traces", type=Path, default=os.environ.get("STORAGED_TRACES"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        large(chosen.objects, chosen.days, chosen.reads, Path(directory))
    if chosen.traces is None:
        print("no real traces: give --traces DIRECTORY, or set STORAGED_TRACES")
    else:
        real(Path(chosen.traces))


if __name__ == "__main__":
    main()
