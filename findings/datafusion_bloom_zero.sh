#!/usr/bin/env bash
# DataFusion 55.0.0 on a Parquet column of doubles with a bloom filter, as DuckDB 2.0.0 writes one of its own accord,
# whose zeros are all -0.0: WHERE x = 0.0. Expected: those rows, as of the same rows in memory, where -0.0 = 0.0. Seen:
# none. The filter holds hashes of bytes, and is asked for those of +0.0; so it goes the other way round too, with +0.0
# in the file and x = -0.0. The same of filters that pyarrow 26.0.1 and DataFusion itself write; statistics, which know
# the two zeros, do not help, since either may end it. Of a file without a filter (polars' and pyarrow's own default)
# the rows are found, and DuckDB finds them in all. So a file that is written anew by another writer, every bit of it
# the same, gives other rows, and a row group with one +0.0 among them gives all.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check datafusion==55.0.0 duckdb==2.0.0 pyarrow==26.0.1 2>/dev/null
environment/bin/python -W ignore - <<'P'
import datafusion
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq


def by_datafusion(context, told):
    return context.sql(f"SELECT count(*) AS n FROM t WHERE {told}").to_pydict()["n"][0]


found = {}
for zero, other in ((-0.0, "0.0"), (0.0, "-0.0")):
    rows = pa.table({"x": [zero, 5.0] * 500})
    memory = datafusion.SessionContext()
    memory.from_arrow(rows, "t")
    duckdb.sql("COPY (FROM rows) TO 'duckdb.parquet'")
    pq.write_table(rows, "pyarrow.parquet", bloom_filter_options={"x": {"ndv": 10}})
    pq.write_table(rows, "without.parquet")
    memory.sql("COPY t TO 'datafusion.parquet' OPTIONS ('format.bloom_filter_on_write' 'true')").collect()
    for name in ("duckdb", "pyarrow", "datafusion", "without"):
        file = f"{name}.parquet"
        assert repr(pq.read_table(file)["x"].to_pylist()) == repr(rows["x"].to_pylist())
        context = datafusion.SessionContext()
        context.register_parquet("t", file)
        by_duckdb = duckdb.execute(f"SELECT count(*) FROM '{file}' WHERE x = {other}").fetchall()[0][0]
        told = [by_datafusion(memory, f"x = {other}"), by_duckdb, by_datafusion(context, f"x = {other}")]
        told.append(by_datafusion(context, f"x = {zero}"))
        print(f"zeros are {zero}, file of {name}: x = {other} finds {told[0]} in memory, DuckDB {told[1]}, DataFusion {told[2]};"
              f" x = {zero} finds {told[3]}")
        found[name, zero] = told
seen = {key: [500, 500, 500 if key[0] == "without" else 0, 500] for key in found}
raise SystemExit(found != seen)
P
