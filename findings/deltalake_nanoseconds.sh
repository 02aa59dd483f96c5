#!/usr/bin/env bash
# deltalake 1.6.6, write_deltalake of a pyarrow table with a column of timestamps in nanoseconds; Delta has microseconds.
# Expected: an error where digits would be lost, as pyarrow's cast and its writer of Parquet make one for the same column.
# Seen: they are cut off without a word, towards 1970, and come back as microseconds. So a Delta table may hold other values
# than were given to be written, and a move of tables into Delta is no copy. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1 2>/dev/null
"$place/venv/bin/python" -W ignore - "$place" <<'P'
import sys

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

place = sys.argv[1]
given = [1_234_567_890_123_456_789, -1]
column = pa.array(given, pa.timestamp("ns"))
refused = []
for name, ask in {
    "cast": lambda: column.cast(pa.timestamp("us")),
    "Parquet": lambda: pq.write_table(pa.table({"t": column}), f"{place}/x.parquet", coerce_timestamps="us"),
}.items():
    try:
        ask()
    except pa.ArrowInvalid:
        refused.append(name)
write_deltalake(f"{place}/t", pa.table({"t": column}))
back = DeltaTable(f"{place}/t").to_pyarrow_table()["t"]
values = back.cast(pa.int64()).to_pylist()
print(f"deltalake {deltalake.__version__}: pyarrow refuses: {refused}; of {given} came back {values} as {back.type}")
raise SystemExit((refused, values, str(back.type)) != (["cast", "Parquet"], [1_234_567_890_123_456, 0], "timestamp[us]"))
P
