#!/usr/bin/env bash
# deltalake 1.6.6 (delta-rs): rows of a table that it wrote itself, one of whose doubles is infinite, read with a filter
# by to_pyarrow_table(filters=...), or by to_pyarrow_dataset() with pyarrow's or DuckDB's filters. Expected: the rows
# that match. Seen: all rows of the file are left out, without an error, those of ordinary numbers too, where the filter
# has to do with the end that is infinite: JSON has no infinity, so that end of the column's statistics is null, and of
# null is made the condition "x <= null", which nothing fulfils. DuckDB 2.0.0, asked of the same dataset, loses them of
# +inf alone. Without a filter all is there, and polars 2.1.0's scan_delta, which reads the same log, finds the rows. So
# one row of 1/0 hides its file from those who ask for anything else.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
  deltalake==1.6.6 duckdb==2.0.0 polars==2.1.0 pyarrow==26.0.1 2>/dev/null
environment/bin/python -W ignore - <<'P'
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake

INF = float("inf")
found = []
for values, sign, asked in (([INF, 1.0, 7.0], "<", 5.0), ([-INF, 1.0, 7.0], ">", 0.5), ([9.0, 1.0, 7.0], "<", 5.0)):
    path = f"table{len(found)}"
    write_deltalake(path, pa.table({"x": values}))
    table = DeltaTable(path)
    dataset = table.to_pyarrow_dataset()
    where = ds.field("x") < asked if sign == "<" else ds.field("x") > asked
    said = {
        "no filter": len(table.to_pyarrow_table()),
        "filters": table.to_pyarrow_table(filters=[("x", sign, asked)])["x"].to_pylist(),
        "dataset": dataset.to_table(filter=where)["x"].to_pylist(),
        "DuckDB": [x for x, in duckdb.execute(f"SELECT x FROM dataset WHERE x {sign} {asked}").fetchall()],
        "polars": pl.scan_delta(path).sql(f"SELECT x FROM self WHERE x {sign} {asked}").collect()["x"].to_list(),
    }
    print(f"{values}, x {sign} {asked}: {said}")
    found.append(said)
nothing = [{by for by in said if not said[by]} for said in found]
matching = [(said["no filter"], said["polars"]) for said in found]
hidden = {"filters", "dataset"}
raise SystemExit(nothing != [hidden | {"DuckDB"}, hidden, set()] or matching != [(3, [1.0]), (3, [1.0, 7.0]), (3, [1.0])])
P
