#!/usr/bin/env bash
# fastparquet 2026.9.0 on DELTA_BINARY_PACKED int64 columns of pyarrow 26.0.1: which numbers come back.
# Expected: all; pyarrow, DuckDB, polars, DataFusion and daft read them. Seen: all whose differences within a block fit into
# 28 bits; from 29 bits on nearly every number is another one, without an error. So regular counters and timestamps of
# milliseconds are read right, and timestamps of microseconds that are minutes apart are wrong.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check fastparquet==2026.9.0 pyarrow==26.0.1 2>/dev/null
environment/bin/python -W ignore - <<'P'
import fastparquet, numpy as np, pyarrow as pa, pyarrow.parquet as pq

wrong = {}
for bits in (16, 27, 28, 29, 30, 32, 33, 40):
    steps = np.random.default_rng(bits).integers(0, 2**bits, 1000)
    steps[::64] = 2**bits - 1  # each block has one of so many bits,
    steps[32::64] = 0  # and one of none
    numbers = np.cumsum(steps)
    pq.write_table(pa.table({"n": numbers}), "a", use_dictionary=False, column_encoding={"n": "DELTA_BINARY_PACKED"})
    assert (pq.read_table("a")["n"].to_numpy() == numbers).all()
    wrong[bits] = int((fastparquet.ParquetFile("a").to_pandas()["n"].to_numpy() != numbers).sum())
print(f"numbers of 1,000 that are other ones, by bits of their differences: {wrong}")
right = all(count == 0 for bits, count in wrong.items() if bits <= 28)
raise SystemExit(not (right and all(count > 900 for bits, count in wrong.items() if bits >= 29)))
P
