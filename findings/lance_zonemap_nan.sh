#!/usr/bin/env bash
# pylance 14.0.2 (Lance): a column of doubles half of whose values are what 0/0 gives on x86, which is a NaN whose sign
# is set (numpy.nan has none). Expected: x < 0 finds no NaN, as in DuckDB 2.0.0 and polars 2.1.0, or else finds the same
# with and without an index. Seen: compared in the total order of IEEE 754, as DataFusion 55.0.0 does in memory, these
# are below all numbers, and numpy.nan above them; so x < 0 finds them and x > 0 does not. With a ZONEMAP index on the
# column, whose bounds leave NaN out, x < 0 finds none of them, and x <= 100 those that share a zone with other numbers:
# three answers to one question. delete("x < 0") goes by the same: it takes all those rows, or none. A BTREE index finds
# what none finds.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
  datafusion==55.0.0 duckdb==2.0.0 polars==2.1.0 pyarrow==26.0.1 pylance==14.0.2 2>/dev/null
environment/bin/python -W ignore - <<'P'
import datafusion
import duckdb
import lance
import numpy as np
import polars as pl
import pyarrow as pa

ASKED = ("x < 0", "x > 0", "x <= 100")
signed = np.array([0xFFF8000000000000], "u8").view("f8")
values = np.concatenate([np.repeat(signed, 10_000), np.arange(1.0, 10_001.0)])
rows = pa.table({"x": values})
context = datafusion.SessionContext()
context.from_arrow(rows, "t")
frames = pl.SQLContext(t=pl.from_arrow(rows))
found = {
    "DataFusion": [context.sql(f"SELECT count(*) AS n FROM t WHERE {told}").to_pydict()["n"][0] for told in ASKED],
    "DuckDB": [duckdb.execute(f"SELECT count(*) FROM rows WHERE {told}").fetchall()[0][0] for told in ASKED],
    "polars": [frames.execute(f"SELECT count(*) AS n FROM t WHERE {told}").collect().item() for told in ASKED],
}
left = {}
for index in (None, "BTREE", "ZONEMAP"):
    path = f"{index}.lance"
    dataset = lance.write_dataset(rows, path)
    if index:
        dataset.create_scalar_index("x", index)
        dataset = lance.dataset(path)
    found[f"Lance, index {index}"] = [dataset.count_rows(filter=told) for told in ASKED]
    dataset.delete("x < 0")
    left[index] = lance.dataset(path).count_rows()
for name, counts in found.items():
    print(f"{name}: " + ", ".join(f"{told}: {count}" for told, count in zip(ASKED, counts)))
print(f"after delete('x < 0') of {len(values)} rows there are left, by index: {left}")
shared = found["Lance, index ZONEMAP"][2]
below = [10_000, 10_000, 10_100]
seen = {
    "DataFusion": below,
    "DuckDB": [0, 20_000, 100],
    "polars": [0, 20_000, 100],
    "Lance, index None": below,
    "Lance, index BTREE": below,
    "Lance, index ZONEMAP": [0, 10_000, shared],
}
raise SystemExit(found != seen or not 100 < shared < 10_100 or left != {None: 10_000, "BTREE": 10_000, "ZONEMAP": 20_000})
P
